"""Stock in words: what happened to a level, who did it, and how a write is typed."""

import re
from collections.abc import Mapping
from typing import Any, Literal
from zoneinfo import ZoneInfo

from services.console.api import Api
from services.console.visits import Visit
from services.console.widgets import Tone, moment, number

Column = Literal["on_hand", "available"]
Json = Mapping[str, Any]

KINDS: Mapping[str, str] = {
    "order": "Ordered",
    "order_amended": "Order changed",
    "order_cancelled": "Order cancelled",
    "fulfilled": "Sent",
    "fulfillment_failed": "Could not be sent",
    "returned": "Came back",
    "manual": "Written by hand",
    "csv_import": "CSV import",
    "external_reset": "Set by another system",
    "external_adjustment": "Adjusted by another system",
    "stock_sync": "Stock sync",
    "reserved": "Reserved",
    "released": "Reservation released",
    "expired": "Reservation ran out",
    "converted": "Reservation became an order",
    "repaired": "Repaired by a check",
    "removed": "No longer stocked",
    "relisted": "Stocked again",
    "settings": "Settings changed",
    "count": "Counted",
}
STATES: Mapping[str, str] = {
    "low": "Low",
    "out": "Out",
    "backordered": "Backordered",
    "unlinked": "Not linked",
    "removed": "No longer stocked",
}
# As the ledger names settings in its reasons.
SETTINGS: Mapping[str, str] = {
    "low_stock_threshold": "low at",
    "lead_time_days": "lead time in days",
    "daily_capacity": "daily capacity",
    "safety_stock": "safety stock",
    "->": "\N{RIGHTWARDS ARROW}",
}
ACTORS: Mapping[str, str] = {
    "order": "an order",
    "reservation": "a reservation",
    "return": "a return",
    "fulfillment": "fulfillment",
    "platform admin": "the platform admin",
}
ORDER_KINDS = frozenset({"order", "order_amended", "order_cancelled", "fulfilled", "fulfillment_failed"})
IMPORT_KINDS = frozenset({"csv_import"})
TYPED = re.compile(r"(?P<sign>[-+=]?)(?P<units>-?(?:\d{1,3}(?:,\d{3})+|\d+))")
NAMES_LIMIT = 1_000


class Names:
    """Who stands behind `key 7` and `user 5`, where the visitor may know."""

    def __init__(self, names: Mapping[str, str]) -> None:
        """Know these names."""
        self._names = names

    @classmethod
    async def of(cls, visit: Visit) -> "Names":
        """The names in the visitor's company, which its admins may read."""
        if visit.company_id is None or not visit.may("admin"):
            return cls({})
        keys = await visit.api.pages(f"/v1/companies/{visit.company_id}/api-keys", NAMES_LIMIT)
        users = await visit.api.pages("/v1/users", NAMES_LIMIT, company_id=visit.company_id)
        of_keys = {f"key {key['id']}": f"API key {key['id']} ({key['label']})" for key in keys if key["label"]}
        return cls(of_keys | {f"user {user['id']}": user["email"] for user in users})

    def who(self, entry: Json) -> str:
        """Who made an entry of the ledger."""
        actor: str = entry["actor"]
        return self._names.get(actor) or ACTORS.get(actor) or actor.replace("key ", "API key ")


def typed_write(text: str, column: Column) -> dict[str, int]:
    """The part of a write that `text` stands for: `42` sets the column, `+5` and `-3` adjust, `=-3` sets below zero.

    Raises `ValueError`, in words.
    """
    found = TYPED.fullmatch(text.strip().replace("\N{MINUS SIGN}", "-"))
    sign = found["sign"] if found else ""
    if found is None or (sign in {"+", "-"} and found["units"].startswith("-")):
        message = "Write a whole number: 42 sets it, +5 or -3 adds or takes, =-3 sets it below zero."
        raise ValueError(message)
    units = int(found["units"].replace(",", ""))
    if sign in {"", "="}:
        return {column: units}
    return {"adjustment": units if sign == "+" else -units}


def as_typed(units: int) -> str:
    """A number as one would type it to set it."""
    return str(units) if units >= 0 else f"={units}"


def level_at(item: Json, location: str) -> Json:
    """The item's level at a location; an empty one where it is not stocked."""
    empty = {
        "location": location,
        **dict.fromkeys(("on_hand", "allocated", "reserved", "safety_stock", "available"), 0),
    }
    return next((level for level in item["levels"] if level["location"] == location), empty | {"removed_at": None})


def change_in_words(level: Json, write: Mapping[str, int]) -> str:
    """What a write would make of a level."""
    by = write.get("adjustment")
    if by is None:
        by = next(write[column] - level[column] for column in ("on_hand", "available") if column in write)
    if by == 0:
        return "Nothing changes"
    return ", ".join(
        f"{words} {number(level[name])} \N{RIGHTWARDS ARROW} {number(level[name] + by)}"
        for name, words in (("on_hand", "on hand"), ("available", "available"))
    ).capitalize()


def signed(units: int) -> str:
    """A difference with its sign."""
    return f"{units:+,}".replace("-", "\N{MINUS SIGN}")


def deltas_in_words(entry: Json) -> str:
    """By how much an entry changed a level, and to what."""
    names = (("on_hand", "on hand"), ("allocated", "allocated"), ("reserved", "reserved"))
    moved = [
        f"{words} {number(entry[f'{name}_after'] - entry[f'{name}_delta'])} \N{RIGHTWARDS ARROW} "
        f"{number(entry[f'{name}_after'])}"
        for name, words in names
        if entry[f"{name}_delta"]
    ]
    return ", ".join(moved)


def reason_in_words(entry: Json) -> str:
    """Why, as far as the ledger says."""
    reason: str = entry["reason"] or ""
    if entry["kind"] == "settings":
        for name, words in SETTINGS.items():
            reason = reason.replace(name, words)
    return reason


def entry_in_words(entry: Json, names: Names, zone: ZoneInfo) -> str:
    """An entry of the ledger in a line."""
    what = KINDS.get(entry["kind"], entry["kind"])
    return f"{moment(entry['occurred_at'], zone)}: {what} by {names.who(entry)}, {deltas_in_words(entry)}"


def state_of(item: Json) -> tuple[str, Tone]:
    """How an item stands, in a word; nothing where all is well."""
    threshold = item["low_stock_threshold"]
    if item["removed_at"] is not None:
        return "No longer stocked", ""
    if item["available"] < 0:
        return "Backordered", "bad"
    if item["available"] == 0:
        return "Out", "bad"
    if threshold is not None and item["available"] <= threshold:
        return "Low", "warn"
    return "", ""


async def locations_of(api: Api, supplier_id: int) -> list[dict[str, Any]]:
    """The supplier's locations."""
    return await api.pages("/v1/locations", NAMES_LIMIT, supplier_id=supplier_id)
