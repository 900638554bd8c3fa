"""What an order is when it comes in, whether it is the same order again, and whether it may be sold. No I/O."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from shared.catalog_view import Link
from shared.events.orders import OrderSource


@dataclass(frozen=True, slots=True)
class Line:
    """`quantity` units of a product, or of its variant; drawn from `location` when one is named."""

    product_id: int
    variant_sku: str | None
    quantity: int
    location: str | None

    @property
    def part(self) -> tuple[int, str]:
        """What is ordered, as `find_links` asks for it."""
        return self.product_id, self.variant_sku or ""


@dataclass(frozen=True, slots=True)
class SubmittedOrder:
    """An order as it came in, whichever way; `order_id` is the id it gets if it is a new one."""

    order_id: UUID
    seller_id: int
    external_ref: str
    source: OrderSource
    placed_at: datetime | None
    lines: tuple[Line, ...]

    @property
    def key(self) -> tuple[int, str]:
        """What makes it the same order: one reference of one seller."""
        return self.seller_id, self.external_ref

    def fingerprint(self) -> bytes:
        """SHA-256 of what was ordered, to tell the same order again from another one under its reference.

        How it came in is no part of it. It is kept for ever: a field that is added later may only count where it is
        set, or every earlier order would look changed.
        """
        lines = [[line.product_id, line.variant_sku, line.quantity, line.location] for line in self.lines]
        return _sha256([_in_utc(self.placed_at), lines])


@dataclass(frozen=True, slots=True)
class ReturnedLine(Line):
    """Units that came back; they go into stock again only when `restock` says so (rule 15)."""

    restock: bool


@dataclass(frozen=True, slots=True)
class SubmittedReturn:
    """Items that came back, with or without a known order; `return_id` is the id it gets if it is a new one."""

    return_id: UUID
    seller_id: int
    external_ref: str
    source: OrderSource
    order_id: UUID | None
    returned_at: datetime | None
    lines: tuple[ReturnedLine, ...]

    def fingerprint(self) -> bytes:
        """As of an order: SHA-256 of what came back."""
        lines = [[line.product_id, line.variant_sku, line.quantity, line.location, line.restock] for line in self.lines]
        return _sha256([_in_utc(self.returned_at), str(self.order_id) if self.order_id else None, lines])


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a submission is refused: `field` is a path like `lines[0].product_id`, `detail` is for people.

    `passing` when only a connection is missing: catalog's event about it may be on its way.
    """

    field: str
    detail: str
    passing: bool = False


def check_ordered(
    lines: Sequence[Line],
    links: Mapping[tuple[int, str], Link],
    seller_id: int,
    connected_suppliers: Collection[int],
) -> list[Refusal]:
    """Why this seller may not sell these lines; empty when it may.

    `links` says where each line's part leads. What is not known here is accepted: inventory parks it until the
    catalog's event arrives, and checks it then (architecture, section 5).
    """
    refusals = _check(lines, links, seller_id, connected_suppliers, "it has an active connection")
    refused = {refusal.field for refusal in refusals}
    removed = [
        Refusal(field, f"product {line.product_id}, or one that it is a version of, was removed: nobody can order it")
        for field, line in ((f"lines[{index}].product_id", line) for index, line in enumerate(lines))
        if links[line.part].removed and field not in refused
    ]
    return refusals + removed


def check_returned(
    lines: Sequence[Line],
    links: Mapping[tuple[int, str], Link],
    seller_id: int,
    ever_connected_suppliers: Collection[int],
) -> list[Refusal]:
    """Why this company may not take these lines back.

    As for ordering, but goods may come back late: after their product was removed or the connection has ended.
    """
    return _check(lines, links, seller_id, ever_connected_suppliers, "it ever had a connection")


def was_checked(link: Link) -> bool:
    """Whether the owners of a line's product are known here, so that `check_ordered` has looked at them."""
    return link.owner_id is not None


def _check(
    lines: Sequence[Line],
    links: Mapping[tuple[int, str], Link],
    seller_id: int,
    suppliers: Collection[int],
    connected: str,
) -> list[Refusal]:
    """Refuse products of others than the seller and these suppliers (with which `connected`), and wrong variants."""
    allowed = {seller_id, *suppliers}
    refusals = []
    for index, line in enumerate(lines):
        link = links[line.part]
        owners = {link.owner_id, link.supplier_id} - {None}
        # Rule 10. First, so that nothing is told about the products of strangers.
        if not owners <= allowed:
            detail = (
                f"product {line.product_id} is neither company {seller_id}'s own nor of a supplier with which "
                f"{connected}"
            )
            refusals.append(Refusal(f"lines[{index}].product_id", detail, passing=True))
        elif owners and link.reason:
            refusals.append(Refusal(f"lines[{index}].variant_sku", link.reason))
    return refusals


def _in_utc(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None


def _sha256(content: object) -> bytes:
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).digest()
