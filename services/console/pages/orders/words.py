"""Orders as people say them: how they and their lines stand, and what happened to them (docs/order-systems.md)."""

from collections.abc import Iterable, Mapping
from typing import Any

from services.console.product_names import ProductNames
from services.console.widgets import Tone

STATUS_WORDS: Mapping[str, str] = {
    "received": "Received",
    "allocated": "Allocated",
    "short": "Short",
    "parked": "Parked",
    "untracked": "Untracked",
    "partly_fulfilled": "Partly fulfilled",
    "fulfilled": "Fulfilled",
    "failed": "Failed",
    "cancelled": "Cancelled",
    "returned": "Returned",
}
STATUS_TONES: Mapping[str, Tone] = {
    "received": "accent",
    "allocated": "ok",
    "short": "bad",
    "parked": "warn",
    "partly_fulfilled": "accent",
    "fulfilled": "ok",
    "failed": "bad",
}
SOURCE_WORDS: Mapping[str, str] = {
    "api": "HTTP API",
    "amqp": "RabbitMQ",
    "pos": "Till",
    "integration": "Integration",
    "console": "Console",
    "import": "File",
}
CHANGE_WORDS: Mapping[str, str] = {
    "received": "Received",
    "decided": "Stock decided",
    "amended": "Amended",
    "cancelled": "Cancelled",
    "fulfillment_assigned": "Asked to send",
    "fulfillment_failed": "Not sent",
    "fulfillment_completed": "Sent",
    "returned": "Came back",
}
CHANGE_TONES: Mapping[str, Tone] = {
    "fulfillment_completed": "ok",
    "fulfillment_failed": "bad",
    "cancelled": "warn",
    "returned": "warn",
}
REQUEST_WORDS: Mapping[str, str] = {
    "open": "To be sent",
    "completed": "Sent",
    "failed": "Not sent",
    "partly_completed": "Partly sent",
}
REQUEST_TONES: Mapping[str, Tone] = {"open": "accent", "completed": "ok", "failed": "bad", "partly_completed": "warn"}
COUNTS = ("cancelled", "assigned", "fulfilled", "failed", "returned")
COUNT_WORDS: Mapping[str, str] = {"assigned": "to be sent", "fulfilled": "sent", "failed": "not sent"}


def waits_in_words(lines: Iterable[Mapping[str, Any]]) -> str:
    """What of an order waits, for a cell of a list; empty where nothing does."""
    parked = sum(line["status"] == "parked" for line in lines)
    short = sum(line["status"] == "short" for line in lines)
    missing = sum(line["shortfall"] for line in lines if line["status"] == "short")
    said = []
    if parked:
        said.append(f"{parked:,} {'line' if parked == 1 else 'lines'} parked")
    if short:
        said.append(f"{short:,} {'line' if short == 1 else 'lines'} short" + (f" by {missing:,}" if missing else ""))
    return ", ".join(said)


def line_in_words(line: Mapping[str, Any], names: ProductNames) -> str:
    """Why a line stands as it does, and what can be done about it; empty where nothing needs to be said."""
    if line["status"] == "parked":
        what = f"product {line['waits_for']}" if line["waits_for"] else "its product"
        return f"Waits for {what}, which is not known yet. It takes its stock by itself when that is there."
    if line["outcome"] == "refused":
        return f"Refused: {line['reason'] or 'the seller may not sell it'}."
    if line["status"] == "short":
        return (
            f"{line['shortfall']:,} missing: {names.sku(line['product_id'])} is not sold below its stock. Amend the "
            "order when there is more, or cancel the line."
        )
    if line["status"] == "untracked":
        return "Linked to no stock: there is nothing to count."
    return ""


def counts_in_words(line: Mapping[str, Any]) -> str:
    """Where the units of a line are: `2 sent, 1 to be sent`."""
    return ", ".join(f"{line[name]:,} {COUNT_WORDS.get(name, name)}" for name in COUNTS if line[name])


def open_units(line: Mapping[str, Any]) -> int:
    """Units that nobody was asked to send yet, as orders counts them (services/orders/domain/life.py)."""
    settled = line["cancelled"] + line["assigned"] + line["failed"] + max(line["fulfilled"], line["returned"])
    return int(line["quantity"] - settled)


def actor_in_words(actor: str, companies: Mapping[int, str]) -> str:
    """Who did something: `company 4` by its name."""
    kind, _, company_id = actor.partition(" ")
    if kind == "company" and company_id.isdecimal():
        return companies.get(int(company_id), actor)
    return actor
