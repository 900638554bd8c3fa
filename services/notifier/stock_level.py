"""The payload format `stock_level`: the stock webhook of the KornitX articles, with a few fields more.

Each item says what is now, never what changed, so that whoever has the newest needs no other.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.linked_products import Linked, LinkedPart

# Made once: json.dumps with any option makes a new encoder for each call.
JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
# Bytes of a call's body (architecture.md section 8).
CALL_BYTES = 256 * 1024
START, END = b'{"stock":[', b"]}"
ITEM_BYTES = CALL_BYTES - len(START + END)


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


def item(stock: StockNow, linked: Linked, *, legacy_key: bool = False) -> bytes:
    """One item of the payload, as JSON: the base stock product first, then `linked` in the order given.

    With `legacy_key` it has the quantity under the article's misspelt key too (compatibility.md A). It always fits into
    a call: what does not is left out, of others' products before the retailer's own, and `linked_more` says so.
    """
    encoded = _encoded(stock, linked, legacy_key=legacy_key)
    while len(encoded) > ITEM_BYTES and linked.parts:
        own_first = sorted(linked.parts, key=lambda part: not part.is_own)[: len(linked.parts) // 2]
        linked = Linked(sorted(own_first, key=lambda part: (part.product_id, part.variant_sku)), more=True)
        encoded = _encoded(stock, linked, legacy_key=legacy_key)
    return encoded


def fitting(items: Iterable[bytes]) -> Iterator[bytes]:
    """The first items that fit into one call together; no more of `items` are asked for than one that does not."""
    size = len(START + END)
    for number, one in enumerate(items):
        size += len(one) + (number > 0)  # the comma
        if size > CALL_BYTES:
            return
        yield one


def body(items: Sequence[bytes]) -> bytes:
    """The payload of one call."""
    return START + b",".join(items) + END


def _encoded(stock: StockNow, linked: Linked, *, legacy_key: bool) -> bytes:
    return JSON.encode(
        {
            "quantity_available": stock.available,
            **({"quantity_availble": stock.available} if legacy_key else {}),
            "linked": [
                {"product": {"id": stock.product_id, "sku": stock.sku}, "variant": None},
                *(_linked(part) for part in linked.parts),
            ],
            **({"linked_more": True} if linked.more else {}),
            "version": stock.version,
            "occurred_at": stock.occurred_at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "previous_quantity_available": stock.told_available,
            "changes": stock.changes,
        }
    ).encode()


def _linked(part: LinkedPart) -> dict[str, object]:
    return {"product": {"id": part.product_id, "sku": part.sku}, "variant": part.variant}
