"""Who was told of a base stock product, and when: read from the slots."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, text

from services.notifier.domain.tellings import TellingState, state_of
from services.notifier.store.wanted import KINDS, MATCHES, QUANTITY
from services.notifier.tables import EndpointState, Format
from shared.database import Session

# A variant's stock is told location by location. Where its changes are told beside it, what it was told is its levels.
# Its locations without a slot are missing in the sum, so both the parts and the sum have to be what is now.
FIND = f"""
    select e.endpoint_id, e.company_id as retailer_id, e.format, e.state as endpoint_state,
        e.state = 'disabled' or e.failing_since is not null as is_failing, c.retailer_id is not null as is_connected,
        t.told_at, t.told_available, coalesce(t.parts_are_known and t.told_available = p.available, false) as knows_all,
        case when t.turn_at is not null then greatest(t.turn_at, e.next_call_at) end as turn_at, db_now() as now
    from stock_products p
    join endpoints e on e.format in ('stock_level', 'variant_stock')
    left join connections c on c.supplier_id = p.supplier_id and c.retailer_id = e.company_id and c.state = 'active'
    cross join lateral (
        select max(s.acked_at) as told_at,
            cast(coalesce(sum(s.told_available) filter (where s.kind <> 'variant_stock_delta'), sum(s.told_available))
                as bigint) as told_available,
            bool_and(s.acked_version = s.sent_version and coalesce(s.told_available, 0) = coalesce({QUANTITY}, 0))
                as parts_are_known,
            min(s.not_before) filter (where s.dirty and s.not_before < 'infinity') as turn_at
        from slots s
        where s.endpoint_id = e.endpoint_id and s.product_id = p.product_id and s.kind = any({KINDS})
    ) t
    where p.product_id = :product_id
"""  # noqa: S608 - constants
IS_WANTED = f"(c.retailer_id is not null and {MATCHES})"
# One for each connected retailer: of its endpoints one that is called, and of these the one that was told last.
OF_SUPPLIER = text(f"""
    select distinct on (retailer_id) * from (
        {FIND} and p.supplier_id = :company_id and e.company_id > :after and {IS_WANTED}
    ) found
    order by retailer_id, endpoint_state <> 'active', told_at desc nulls last, endpoint_id limit :limit
""")  # noqa: S608 - constants
# What it was told stays readable to whoever was told it.
OF_RETAILER = text(f"""
    {FIND} and (e.company_id = :company_id or cast(:company_id as bigint) is null) and e.endpoint_id > :after
      and ({IS_WANTED} or t.told_at is not null)
    order by e.endpoint_id limit :limit
""")


@dataclass(frozen=True, slots=True)
class Telling:
    """An endpoint and a base stock product, `now` by the database.

    `told_at` and `told_available` are what it last acknowledged (of a variant's locations the newest, and their sum),
    null before the first time. `knows_all`: that is what is now, and the last call was acknowledged. `turn_at` is when
    it may be told what it still has to be, null where there is nothing.
    """

    endpoint_id: int
    retailer_id: int
    format: Format
    endpoint_state: EndpointState
    is_failing: bool
    is_connected: bool
    told_at: datetime | None
    told_available: int | None
    knows_all: bool
    turn_at: datetime | None
    now: datetime

    @property
    def state(self) -> TellingState:
        """How it stands."""
        return state_of(
            is_paused=self.endpoint_state == "paused" or not self.is_connected,
            is_failing=self.is_failing,
            told_at=self.told_at,
            turn_at=self.turn_at,
            now=self.now,
        )

    @property
    def is_current(self) -> bool:
        """Whether it knows what is now; who is not connected is not told even that."""
        return self.is_connected and self.told_at is not None and self.knows_all

    @property
    def next_at(self) -> datetime | None:
        """When it is told next; null where nothing is to be told, or not until somebody acts."""
        return self.turn_at if self.is_connected and self.endpoint_state == "active" else None


async def list_of_supplier(session: Session, product_id: int, company_id: int, after: int, limit: int) -> list[Telling]:
    """How each connected retailer that wants to hear of this supplier's product stands, after a retailer's id."""
    values = {"product_id": product_id, "company_id": company_id, "after": after, "limit": limit}
    return await _list(session, OF_SUPPLIER, values)


async def list_of_retailer(
    session: Session, product_id: int, company_id: int | None, after: int, limit: int
) -> list[Telling]:
    """How each of a retailer's endpoints stands (of all retailers', for `None`), after an endpoint's id."""
    values = {"product_id": product_id, "company_id": company_id, "after": after, "limit": limit}
    return await _list(session, OF_RETAILER, values)


async def _list(session: Session, statement: TextClause, values: dict[str, Any]) -> list[Telling]:
    rows = (await session.execute(statement, values)).mappings()
    return [Telling(**row) for row in rows]
