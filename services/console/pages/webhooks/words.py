"""Webhook endpoints and their calls, in words."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from services.console.widgets import Tone, ago

PATH = "/v1/webhook-endpoints"
FORMAT_WORDS = {
    "stock_level": "Stock levels (stock_level)",
    "variant_stock": "Stock of variants, by location (variant_stock)",
    "fulfillment": "Fulfillment events (fulfillment)",
}
FORMATS_OF_ROLE = {
    "retailer": ("stock_level", "variant_stock"),
    "supplier": ("fulfillment",),
    "admin": tuple(FORMAT_WORDS),
}
KIND_WORDS = {
    "stock_level": "Stock levels",
    "variant_stock": "Stock of a variant",
    "fulfillment": "Fulfillment event",
    "ping": "Ping",
    "test": "Test",
}
# docs/retailers.md, "What was sent, and sending it again".
ERROR_WORDS = {
    "dns": "The name of the host was not found, or leads to a private address",
    "refused": "Nobody listens at that address",
    "tls": "The certificate or the TLS handshake failed",
    "forbidden": "The URL leads to a private address",
    "late": "Not sent, by our own fault; it comes again",
    "timeout": "No answer within 15 seconds",
    "reset": "The connection broke before the answer",
    "http": "Not answered 2xx",
}
SIGNED_WITH = (
    "Each call is signed with it (Standard Webhooks): your receiver verifies calls with it, so bring it there."
)
EVENT_WORDS = {
    "variant_stock.updated": "updated",
    "variant_stock.deleted": "deleted",
    "variant_stock_delta.updated": "delta",
}
TEXTS_SHOWN = 3
SECONDS = ((604_800, "week"), (86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def health(endpoint: Mapping[str, Any]) -> tuple[str, Tone]:
    """How an endpoint is, in a word and its tone."""
    state = endpoint["state"]
    if state == "active":
        return ("failing", "bad") if endpoint["failing_since"] else ("active", "ok")
    return (state, "bad" if state == "disabled" else "warn")


def health_in_words(endpoint: Mapping[str, Any]) -> str:
    """Why an endpoint is as it is, and what brings it back; empty where all is well."""
    if endpoint["state"] == "disabled":
        return f"Disabled by Basestock: {endpoint['reason']}. Mend it, then enable it: nothing is lost meanwhile."
    if endpoint["state"] == "paused":
        return "Paused: it is not called, and told the last state once when it is resumed."
    if endpoint["failing_since"]:
        calls = "The last call" if endpoint["failures"] == 1 else f"The last {endpoint['failures']} calls"
        return f"{calls} failed, the first {ago(endpoint['failing_since'])}. After five days of failing it is disabled."
    return ""


def span(seconds: float) -> str:
    """A time span in its largest whole unit: `15 minutes`."""
    for size, unit in SECONDS:
        if seconds >= size and seconds % size == 0:
            count = int(seconds // size)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "none" if seconds == 0 else f"{seconds} seconds"


def window(endpoint: Mapping[str, Any]) -> str:
    """How often an endpoint is called of a product."""
    seconds = endpoint["window_seconds"]
    return f"every {span(seconds)}" if seconds else "at each change"


def outcome(attempt: Mapping[str, Any]) -> tuple[str, Tone]:
    """What came of a call, in a word and its tone."""
    if attempt["status"] is not None:
        return str(attempt["status"]), "bad" if attempt["error"] else "ok"
    return (attempt["error"] or "sent", "bad" if attempt["error"] else "ok")


def outcome_in_words(attempt: Mapping[str, Any]) -> str:
    """What went wrong with a call; empty where nothing did."""
    if attempt["error"] is None:
        return ""
    words = ERROR_WORDS[attempt["error"]]
    # The status is told beside it.
    says_more = attempt["detail"] and attempt["error"] != "http"
    return f"{words}: {attempt['detail']}" if says_more else words


def told(attempt: Mapping[str, Any]) -> str:
    """What a call told of: the SKUs in its body, or the request of a fulfillment event."""
    names: list[str] = []
    with suppress(ValueError, KeyError, TypeError, IndexError):
        body = json.loads(attempt["request_body"])
        if "stock" in body:
            names = [item["linked"][0]["product"]["sku"] for item in body["stock"]]
        elif "payload" in body:
            names = [f"{body['payload']['product_variant_number']} {EVENT_WORDS[body['event_type']]}"]
        elif "request_ref" in body:
            names = [f"{body['request_ref']} line {body['line_id']}"]
    more = len(names) - TEXTS_SHOWN
    return ", ".join(map(str, names[:TEXTS_SHOWN])) + (f" and {more} more" if more > 0 else "")


def ids_in(written: str | None) -> list[int | str]:
    """The ids in a field, between commas or blanks; what is no number is left for the API to refuse."""
    return [int(one) if one.isdecimal() else one for one in (written or "").replace(",", " ").split()]
