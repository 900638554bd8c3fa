"""The payload format `stock_level`: the stock webhook of the KornitX articles, with a few fields more.

Each item says what is now, never what changed, so that whoever has the newest needs no other.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.linked_products import LinkedPart

# Made once: json.dumps with any option makes a new encoder for each call.
JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class StockNow:
    """A base stock product as it is now; `told_available` and `changes` are seen from one endpoint.

    `told_available` is what that endpoint last acknowledged, else what was before the last change. `changes` counts
    the ledger entries since then.
    """

    product_id: int
    sku: str
    available: int
    told_available: int
    version: int
    changes: int
    occurred_at: datetime


def item(stock: StockNow, linked: Sequence[LinkedPart], *, legacy_key: bool = False) -> bytes:
    """One item of the payload, as JSON: the base stock product first, then `linked` in the order given.

    With `legacy_key` it has the quantity under the article's misspelt key too (compatibility.md A).
    """
    return JSON.encode(
        {
            "quantity_available": stock.available,
            **({"quantity_availble": stock.available} if legacy_key else {}),
            "linked": [
                {"product": {"id": stock.product_id, "sku": stock.sku}, "variant": None},
                *(_linked(part) for part in linked),
            ],
            "version": stock.version,
            "occurred_at": stock.occurred_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "previous_quantity_available": stock.told_available,
            "changes": stock.changes,
        }
    ).encode()


def body(items: Sequence[bytes]) -> bytes:
    """The payload of one call."""
    return b'{"stock":[' + b",".join(items) + b"]}"


def _linked(part: LinkedPart) -> dict[str, object]:
    return {"product": {"id": part.product_id, "sku": part.sku}, "variant": part.variant}
