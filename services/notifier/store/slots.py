"""Who still has to be told of what: claim and finish."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from services.notifier.stock_level import StockNow
from services.notifier.store.due import HAS_ROOM, DueEndpoint
from services.notifier.store.wanted import KINDS, MATCHES, QUANTITY
from services.notifier.tables import SlotKind
from shared.database import Session

# One event in each call of `variant_stock`; a few more are looked at, so that those that nobody is owed take no turn.
VARIANTS_LOOKED_AT = 10
# Of `slots d`. What is in a call is due no earlier than that ends, whatever moved its turn meanwhile.
IS_DUE = """
    d.dirty and d.not_before <= (select db_now()) and coalesce(d.lease_until <= (select db_now()), true)
"""
# Asks for room again: another replica may have claimed between the statement above and its lock. What was refused in a
# call goes apart from all else, in calls as small as its limit says (domain/health.py).
FIND_DUE_SLOTS = text(f"""
    select s.endpoint_id, s.kind, s.location, s.attempt, s.call_limit, s.replays, s.not_before as due_at, s.frozen_body,
        s.sent_version, s.sent_available, s.sent_changes, s.sent_band, s.told_available, s.told_band, s.acked_version,
        s.sent_version > s.acked_version as is_unsure, p.product_id, p.sku, p.available, p.version, p.occurred_at,
        p.causes, p.band, p.fanned_out_band,
        coalesce(s.told_available, p.previous_available) as previous_available, p.changes as all_changes,
        p.changes - s.told_changes as changes, {QUANTITY} as quantity,
        exists (
            select from connections c
            where c.supplier_id = p.supplier_id and c.retailer_id = e.company_id and c.state = 'active'
        ) as is_connected,
        {MATCHES} and s.kind = any({KINDS}) as is_matched
    from unnest(cast(:endpoint_ids as bigint[]), cast(:sizes as integer[])) as due (endpoint_id, size)
    join endpoints e on e.endpoint_id = due.endpoint_id
    cross join lateral (
        select d.call_limit from slots d
        where d.endpoint_id = e.endpoint_id and {IS_DUE} order by d.not_before limit 1) next
    cross join lateral (
        select * from slots d
        where d.endpoint_id = e.endpoint_id and {IS_DUE} and d.call_limit is not distinct from next.call_limit
        order by d.not_before limit least(due.size, next.call_limit) for update skip locked) s
    join stock_products p on p.product_id = s.product_id
    where {HAS_ROOM}
    order by p.product_id for share of p
""")  # noqa: S608 - constants
# As many endpoints as have about so much due together; those behind them are not looked at.
FIRST_OF = text(f"""
    with recursive counted (endpoints, slots) as (
        select 0, cast(0 as bigint)
        union all
        select c.endpoints + 1, c.slots + n.slots from counted c cross join lateral (
            select count(*) as slots from (
                select from slots d
                where d.endpoint_id = (cast(:endpoint_ids as bigint[]))[c.endpoints + 1] and {IS_DUE}
                limit (cast(:sizes as integer[]))[c.endpoints + 1]) s) n
        where c.slots < :limit and c.endpoints < cardinality(cast(:endpoint_ids as bigint[])))
    select max(endpoints) from counted
""")  # noqa: S608 - constants
# The next crossing begins where this silent one ended. What was sent and acknowledged stays as it was: an endpoint that
# asks for more later is told what it does not know.
SETTLE = text("""
    update slots s set dirty = false, told_band = d.band
    from unnest(cast(:endpoint_ids as bigint[]), cast(:product_ids as bigint[]), cast(:locations as text[]),
        cast(:kinds as text[]), cast(:bands as smallint[])) as d (endpoint_id, product_id, location, kind, band)
    where s.endpoint_id = d.endpoint_id and s.product_id = d.product_id and s.location = d.location
      and s.kind = d.kind
""")
# Whoever connects the company, or changes the filters, waits for the endpoint, and then asks it to catch up.
PARK = text("""
    update slots s set not_before = 'infinity'
    from unnest(cast(:endpoint_ids as bigint[]), cast(:product_ids as bigint[]), cast(:locations as text[]),
        cast(:kinds as text[])) as d (endpoint_id, product_id, location, kind)
    where s.endpoint_id = d.endpoint_id and s.product_id = d.product_id and s.location = d.location
      and s.kind = d.kind
""")
# Before the socket is opened: whatever happens to the sender, the next call is a window after its last moment.
TAKE = text("""
    update slots s set lease_id = :lease_id, lease_until = db_now() + make_interval(secs => :timeout_seconds),
        not_before = db_now() + make_interval(secs => t.window_seconds + :timeout_seconds),
        sent_version = t.version, sent_available = t.quantity, sent_changes = t.changes, sent_band = t.band,
        frozen_body = t.frozen_body
    from unnest(cast(:endpoint_ids as bigint[]), cast(:product_ids as bigint[]), cast(:locations as text[]),
        cast(:kinds as text[]), cast(:window_seconds as double precision[]), cast(:versions as bigint[]),
        cast(:quantities as bigint[]), cast(:changes as bigint[]), cast(:bands as smallint[]),
        cast(:frozen_bodies as bytea[]))
        as t (endpoint_id, product_id, location, kind, window_seconds, version, quantity, changes, band, frozen_body)
    where s.endpoint_id = t.endpoint_id and s.product_id = t.product_id and s.location = t.location
      and s.kind = t.kind
""")
# Slots before products, as the claim has it; endpoints before their slots, as their removal has it.
LOCK_TAKEN = text("""
    select s.product_id from endpoints e join slots s on s.endpoint_id = e.endpoint_id
    where e.endpoint_id = any(cast(:endpoint_ids as bigint[]))
      and s.lease_until is not null and s.lease_id = any(cast(:lease_ids as uuid[]))
    order by e.endpoint_id, s.product_id, s.location, s.kind for key share of e for no key update of s
""")
# The share lock: an acknowledgement of version 5 sees version 6, or fan-out of version 6 sees the acknowledgement.
# It is a statement of its own, so that the next one reads what is locked, and finds it by its key.
SHARE_STOCK = text("""
    select product_id from stock_products where product_id = any(cast(:product_ids as bigint[]))
    order by product_id for share
""")
# Dirty by all that an endpoint may ask to be told of, whether or not this one does: its options may change meanwhile.
FINISH = text(f"""
    update slots s set lease_id = null, lease_until = null, attempt = d.attempt,
        call_limit = d.call_limit, not_before = db_now() + make_interval(secs => d.delay_seconds),
        dirty = not d.delivered or s.sent_available is distinct from ({QUANTITY})
            or (s.kind = 'stock_level' and s.sent_band is distinct from p.band),
        acked_version = case when d.delivered then s.sent_version else s.acked_version end,
        acked_at = case when d.delivered then db_now() else s.acked_at end,
        told_available = case when d.delivered then s.sent_available else s.told_available end,
        told_changes = case when d.delivered then s.sent_changes else s.told_changes end,
        told_band = case when d.delivered then s.sent_band else s.told_band end,
        frozen_body = case when d.delivered then null else s.frozen_body end
    from unnest(cast(:endpoint_ids as bigint[]), cast(:product_ids as bigint[]), cast(:locations as text[]),
        cast(:kinds as text[]), cast(:lease_ids as uuid[]), cast(:delivered as boolean[]),
        cast(:delay_seconds as double precision[]), cast(:attempts as integer[]), cast(:call_limits as smallint[]))
        as d (endpoint_id, product_id, location, kind, lease_id, delivered, delay_seconds, attempt, call_limit)
    join stock_products p on p.product_id = d.product_id
    where s.endpoint_id = d.endpoint_id and s.product_id = d.product_id and s.location = d.location
      and s.kind = d.kind and s.lease_id = d.lease_id
""")  # noqa: S608 - constants


@dataclass(frozen=True, slots=True)
class Frozen:
    """A delta that was sent and never acknowledged: it is sent again as it was, whatever has happened since."""

    body: bytes
    version: int
    quantity: int
    all_changes: int


@dataclass(frozen=True, slots=True)
class DueSlot:
    """A slot that is due since `due_at`.

    `quantity` is what it tells as it is now (`None`: not stocked there), `told_quantity` what was last acknowledged.
    The endpoint may know any of `known_bands`; none after a replay. `was_stocked`: a variant was at its location when
    that was last told, or looked at and not asked for. It is `unsure` what it knows when the last attempt
    was not acknowledged. `is_matched` says that the endpoint's filters and options let it through.
    """

    endpoint_id: int
    kind: SlotKind
    location: str
    attempt: int
    call_limit: int | None
    replays: int
    due_at: datetime
    stock: StockNow
    all_changes: int
    causes: Sequence[str]
    quantity: int | None
    told_quantity: int | None
    band: int
    known_bands: tuple[int, ...]
    was_stocked: bool
    is_unsure: bool
    is_connected: bool
    is_matched: bool
    frozen: Frozen | None

    @property
    def is_wanted(self) -> bool:
        """Whether the endpoint may be told, and wants to be."""
        return self.is_connected and self.is_matched

    @property
    def is_news(self) -> bool:
        """Whether the endpoint does not know what is now, or it is not known whether it does."""
        told = self.told_quantity or 0 if self.kind == "variant_stock_delta" else self.told_quantity
        return self.is_unsure or told != self.quantity or (self.was_stocked and self.quantity is None)

    @property
    def kept_band(self) -> int | None:
        """The band that is kept as known: none where a location does not stock it."""
        return None if self.quantity is None else self.band

    @property
    def version(self) -> int:
        """The version that a call tells."""
        return self.stock.version if self.frozen is None else self.frozen.version

    @property
    def state(self) -> str:
        """What a call tells, for its id: the version, and which replay of it."""
        return f"{self.version}.{self.replays}" if self.replays else str(self.version)


@dataclass(frozen=True, slots=True)
class Taken:
    """A slot that a call carries; `frozen_body` is what it is sent with until it is acknowledged."""

    slot: DueSlot
    window_seconds: int
    frozen_body: bytes | None


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of a slot that a call carried."""

    endpoint_id: int
    product_id: int
    lease_id: UUID
    delivered: bool
    delay_seconds: float
    attempt: int
    call_limit: int | None = None
    location: str = ""
    kind: SlotKind = "stock_level"


async def first_of(session: Session, endpoints: Sequence[DueEndpoint], limit: int) -> list[DueEndpoint]:
    """The first of these endpoints, in the order of ids: they have about `limit` slots due that may go into calls."""
    values = {"endpoint_ids": [one.endpoint_id for one in endpoints], "sizes": _sizes(endpoints), "limit": limit}
    return list(endpoints[: (await session.execute(FIRST_OF, values)).scalar_one()])


async def find_due_slots(session: Session, endpoints: Sequence[DueEndpoint]) -> list[DueSlot]:
    """Lock what is due for these locked endpoints, and share-lock its stock.

    Of each endpoint as much as may go into one call.
    """
    rows = await session.execute(
        FIND_DUE_SLOTS,
        {
            "endpoint_ids": [endpoint.endpoint_id for endpoint in endpoints],
            "sizes": _sizes(endpoints),
        },
    )
    return [_due_slot(row) for row in rows]


def _sizes(endpoints: Sequence[DueEndpoint]) -> list[int]:
    return [VARIANTS_LOOKED_AT if one.format == "variant_stock" else one.products_per_call for one in endpoints]


async def settle(session: Session, slots: Sequence[DueSlot]) -> None:
    """These endpoints are owed nothing: what they asked for they know, and where they know it not they did not ask."""
    if slots:
        await session.execute(SETTLE, _keys(slots) | {"bands": [slot.kept_band for slot in slots]})


async def park(session: Session, slots: Sequence[DueSlot]) -> None:
    """Leave these alone until their endpoints may be told of them, and want to be."""
    if slots:
        await session.execute(PARK, _keys(slots))


async def take(session: Session, taken: Sequence[Taken], lease_id: UUID, timeout_seconds: float) -> None:
    """Reserve the windows of slots that are about to be sent, under one lease; what is frozen stays as it was sent."""
    slots = [item.slot for item in taken]
    await session.execute(
        TAKE,
        _keys(slots)
        | {
            "lease_id": lease_id,
            "window_seconds": [item.window_seconds for item in taken],
            "versions": [slot.version for slot in slots],
            "quantities": [slot.quantity if slot.frozen is None else slot.frozen.quantity for slot in slots],
            "changes": [slot.all_changes if slot.frozen is None else slot.frozen.all_changes for slot in slots],
            "bands": [slot.kept_band for slot in slots],
            "frozen_bodies": [item.frozen_body for item in taken],
            "timeout_seconds": timeout_seconds,
        },
    )


async def finish(session: Session, finished: Sequence[Finished]) -> None:
    """Write down what became of slots, where the lease is still the caller's."""
    await session.execute(
        LOCK_TAKEN,
        {
            "endpoint_ids": sorted({item.endpoint_id for item in finished}),
            "lease_ids": list({item.lease_id for item in finished}),
        },
    )
    await session.execute(SHARE_STOCK, {"product_ids": sorted({item.product_id for item in finished})})
    await session.execute(
        FINISH,
        {
            "endpoint_ids": [item.endpoint_id for item in finished],
            "product_ids": [item.product_id for item in finished],
            "locations": [item.location for item in finished],
            "kinds": [item.kind for item in finished],
            "lease_ids": [item.lease_id for item in finished],
            "delivered": [item.delivered for item in finished],
            "delay_seconds": [item.delay_seconds for item in finished],
            "attempts": [item.attempt for item in finished],
            "call_limits": [item.call_limit for item in finished],
        },
    )


def _keys(slots: Sequence[DueSlot]) -> dict[str, Any]:
    return {
        "endpoint_ids": [slot.endpoint_id for slot in slots],
        "product_ids": [slot.stock.product_id for slot in slots],
        "locations": [slot.location for slot in slots],
        "kinds": [slot.kind for slot in slots],
    }


def _due_slot(row: Any) -> DueSlot:  # noqa: ANN401 - a row
    return DueSlot(
        endpoint_id=row.endpoint_id,
        kind=row.kind,
        location=row.location,
        attempt=row.attempt,
        call_limit=row.call_limit,
        replays=row.replays,
        due_at=row.due_at,
        stock=StockNow(
            product_id=row.product_id,
            sku=row.sku,
            available=row.available,
            told_available=row.previous_available,
            version=row.version,
            changes=row.changes,
            occurred_at=row.occurred_at,
        ),
        all_changes=row.all_changes,
        causes=row.causes,
        quantity=row.quantity,
        told_quantity=row.told_available,
        band=row.band,
        known_bands=_known_bands(row),
        was_stocked=row.told_band is not None,
        is_unsure=row.is_unsure,
        is_connected=row.is_connected,
        is_matched=row.is_matched,
        frozen=None
        if row.frozen_body is None
        else Frozen(bytes(row.frozen_body), row.sent_version, row.sent_available, row.sent_changes),
    )


def _known_bands(row: Any) -> tuple[int, ...]:  # noqa: ANN401 - a row
    if not row.acked_version and row.told_band is None:
        return ()
    told = row.fanned_out_band if row.told_band is None else row.told_band
    return (told, row.sent_band) if row.is_unsure and row.sent_band is not None else (told,)
