"""What does not add up: a level against its ledger, and what is held against who holds it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from services.inventory.domain.stock import Totals

DriftKind = Literal["level", "version", "ledger", "takings", "allocated", "reserved", "total", "listing"]


class Quantities(NamedTuple):
    """The three quantities of a level, in units."""

    on_hand: int
    allocated: int
    reserved: int


class Listing(NamedTuple):
    """What an item keeps for lists: whether it is listed, and whether nothing draws on it."""

    is_listed: bool
    is_unlinked: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """All that is known of an item at a location, in units.

    `level` is what is stored, `sums` what the ledger's deltas add up to, `last` what its last entry says. `allocating`
    is what open takings and completed items keep allocated, `held` all that orders hold or that has left, `drawn` what
    the ledger says they took; `reserving` is what open reservations hold.
    """

    product_id: int
    location: str
    level: Quantities
    sums: Quantities
    last: Quantities
    allocating: int
    held: int
    drawn: int
    reserving: int


@dataclass(frozen=True, slots=True)
class OrderDrift:
    """An order that holds other than the ledger says it took, in units of the item."""

    order_id: str
    held: int
    drawn: int


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that does not add up: what is `stored`, what was `expected`, in words what that is.

    `location` is null where it is the item's. `orders` are the first of those in question. What is `repairable` is a
    sum that is kept beside the ledger, and can be made anew from it.
    """

    product_id: int
    location: str | None
    kind: DriftKind
    what: str
    stored: int
    expected: int
    repairable: bool = False
    orders: Sequence[OrderDrift] = ()


def drifts_of(figures: Figures) -> list[Drift]:
    """What does not add up of an item at a location.

    The level can be made anew where orders and reservations agree with the ledger. Where they do not, the ledger itself
    may be what is wrong, and a person has to look. Entries that came after a level went wrong carry that on in their
    values, not in their deltas.
    """
    one, sums = figures, figures.sums
    held = [
        _drift(one, "allocated", "allocated by the ledger, and what orders keep so", sums.allocated, one.allocating),
        _drift(one, "takings", "what orders hold or sent, and what they took by the ledger", one.held, one.drawn),
        _drift(one, "reserved", "reserved by the ledger, and what reservations hold", sums.reserved, one.reserving),
    ]
    doubted = [drift for drift in held if drift is not None]
    levels = [
        _drift(one, "level", f"{name}, and the sum of the ledger", stored, total, repairable=not doubted)
        for name, stored, total in zip(Quantities._fields, figures.level, sums, strict=True)
    ]
    lasts = [
        _drift(one, "ledger", f"{name} after the last entry, and the sum of the entries", last, total)
        for name, stored, last, total in zip(Quantities._fields, figures.level, figures.last, sums, strict=True)
        if last != stored
    ]
    return [drift for drift in [*levels, *lasts] if drift is not None] + doubted


def _drift(
    figures: Figures, kind: DriftKind, what: str, stored: int, expected: int, *, repairable: bool = False
) -> Drift | None:
    if stored == expected:
        return None
    return Drift(figures.product_id, figures.location, kind, what, stored, expected, repairable)


def total_drifts(product_id: int, kept: Totals, sums: Totals) -> list[Drift]:
    """Which totals an item keeps are not the sums over its levels."""
    return [
        Drift(product_id, None, "total", f"{name} in lists, and the sum of the levels", one, two, repairable=True)
        for name, one, two in zip(Totals._fields, kept, sums, strict=True)
        if one != two
    ]


def listing_drifts(product_id: int, kept: Listing, expected: Listing) -> list[Drift]:
    """Which of what an item keeps for lists, 1 or 0, is not what its product and the links to it say."""
    return [
        Drift(product_id, None, "listing", f"{name}, and what the products say", one, two, repairable=True)
        for name, one, two in zip(("in lists", "unlinked"), kept, expected, strict=True)
        if one != two
    ]


def version_drift(product_id: int, version: int, newest: int) -> Drift | None:
    """Whether an item's version is not that of its newest entry."""
    if version == newest:
        return None
    what = "the item's version, and that of its newest entry"
    return Drift(product_id, None, "version", what, version, newest, repairable=True)
