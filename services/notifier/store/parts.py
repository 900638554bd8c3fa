"""How much of an endpoint's slots is changed in one transaction: a part of them, the next above a product's id.

A retailer may want a million products, each at fifty locations. While a part is done the endpoint's calls wait, and
fan-out of the same products.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from shared.database import Session

ALL_PRODUCTS = 2**63 - 1

FIND_SUPPLIERS = text("""
    select supplier_id from connections
    where retailer_id = :company_id and state = 'active'
      and (cast(:supplier_ids as bigint[]) is null or supplier_id = any(cast(:supplier_ids as bigint[])))
""")
# What is stocked at many locations has that many slots, where each is told by itself.
NEXT_PRODUCTS = text("""
    select count(*) as found, count(*) filter (where slots_before < :slots) as taken,
        max(product_id) filter (where slots_before < :slots) as last_id
    from (
        select product_id, sum(slots) over (order by product_id) - slots as slots_before from (
            select product_id, case when :format = 'variant_stock'
                then greatest(1, (select count(*) from jsonb_object_keys(levels))) else 1 end as slots
            from stock_products
            where supplier_id = any(cast(:supplier_ids as bigint[])) and product_id > :after
            order by product_id limit :slots) next) counted
""")
# A product's slots are in one part, all of them.
NEXT_SLOTS = text("""
    select count(*) as found, max(product_id) as last_id from (
        select product_id from slots where endpoint_id = :endpoint_id and product_id > :after
        order by product_id limit :slots) next
""")


@dataclass(frozen=True, slots=True)
class Part:
    """The products with ids above `after`, up to `last_id`."""

    after: int
    last_id: int

    @property
    def reached(self) -> int | None:
        """The `after` of the next part; `None` when this is the last one."""
        return self.last_id if self.last_id < ALL_PRODUCTS else None

    @property
    def values(self) -> dict[str, int]:
        """For a statement about these products."""
        return {"after": self.after, "last_id": self.last_id}


async def find_suppliers(session: Session, company_id: int, only: Sequence[int] | None) -> list[int]:
    """The suppliers that the company is connected with, of those in `only` (`None`: of all)."""
    found = await session.execute(FIND_SUPPLIERS, {"company_id": company_id, "supplier_ids": only})
    return list(found.scalars())


async def next_products(session: Session, format_: str, supplier_ids: Sequence[int], after: int, slots: int) -> Part:
    """The next of these suppliers' products, one at least: they have about `slots` slots at an endpoint."""
    wanted = {"format": format_, "supplier_ids": supplier_ids, "after": after, "slots": slots}
    next_ = (await session.execute(NEXT_PRODUCTS, wanted)).one()
    return _part(next_, after, is_last=next_.found < slots and next_.taken == next_.found)


async def next_slots(session: Session, endpoint_id: int, after: int, slots: int) -> Part:
    """The next products that the endpoint has slots of: so many `slots`, and those of the last product."""
    next_ = (await session.execute(NEXT_SLOTS, {"endpoint_id": endpoint_id, "after": after, "slots": slots})).one()
    return _part(next_, after, is_last=next_.found < slots)


def _part(next_: Any, after: int, *, is_last: bool) -> Part:  # noqa: ANN401 - a row
    return Part(after, ALL_PRODUCTS if is_last else next_.last_id)
