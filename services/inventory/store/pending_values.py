"""Values that wait for their product."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text

from services.inventory.domain.external_imports import HeldOperation, Key
from shared.database import Session, copy_in

# Who keeps a value for a SKU that nobody has, and who brings the product, have no row in common that both could lock:
# so whoever keeps or replaces values of a supplier locks it alone, and those who bring its products share the lock.
LOCK = text("""
    select pg_advisory_xact_lock(hashtext('basestock.inventory.pending_values'),
        cast(cast(:supplier_id as bigint) % 1073741824 as integer))
""")
SHARE_LOCKS = text("""
    select pg_advisory_xact_lock_shared(hashtext('basestock.inventory.pending_values'),
        cast(supplier_id % 1073741824 as integer))
    from (select supplier_id from unnest(cast(:supplier_ids as bigint[])) as supplier_id order by supplier_id) as s
""")
COUNT = text("select count(*) from pending_values where supplier_id = :supplier_id")
COLUMNS = (
    *("supplier_id", "location_id", "product_key", "variant_sku", "operation", "quantity", "import_id", "row_number"),
    *("source", "actor", "waits_for"),
)
# In the order of their ids, like everybody who takes them.
REPLACE = text("""
    with gone as (
        select value_id from pending_values where supplier_id = :supplier_id
            and (product_key, variant_sku, location_id) in (select * from unnest(cast(:products as text[]),
                cast(:variants as text[]), cast(:location_ids as bigint[])))
        order by value_id for update)
    delete from pending_values where value_id in (select value_id from gone) returning import_id, row_number
""")
FIND = text("""
    select value_id, supplier_id, location_id, product_key, variant_sku, operation, quantity, import_id, row_number,
        source, actor, waits_for, received_at
    from pending_values where value_id in (
        select value_id from pending_values where waits_for = any(cast(:product_ids as bigint[]))
        union select v.value_id from unnest(cast(:owner_ids as bigint[]), cast(:keys as text[])) as n (owner_id, key)
            join pending_values v on v.supplier_id = n.owner_id and v.product_key = n.key)
    order by value_id
""")
TAKE = text("""
    with due as (
        select value_id from pending_values where value_id = any(cast(:value_ids as bigint[]))
        order by value_id for update)
    delete from pending_values where value_id in (select value_id from due) returning value_id
""")
WAIT_FOR = text("""
    update pending_values v set waits_for = n.waits_for
    from unnest(cast(:value_ids as bigint[]), cast(:waits_for as bigint[])) as n (value_id, waits_for)
    where v.value_id = n.value_id
""")


class NewValue(NamedTuple):
    """A value to be kept; see the table."""

    location_id: int
    key: Key
    operation: HeldOperation
    quantity: int
    row_number: int
    waits_for: int | None


class PendingValue(NamedTuple):
    """A value that is kept, as it was found."""

    value_id: int
    supplier_id: int
    location_id: int
    product: str
    variant: str
    operation: HeldOperation
    quantity: int
    import_id: int
    row_number: int
    source: str
    actor: str
    waits_for: int | None
    received_at: datetime


async def lock(session: Session, supplier_id: int) -> None:
    """Let nobody bring a product of this supplier, or keep a value of it, until the transaction ends."""
    await session.execute(LOCK, {"supplier_id": supplier_id})


async def share_locks(session: Session, supplier_ids: Collection[int]) -> None:
    """Let nobody keep a value of these suppliers until the transaction ends."""
    await session.execute(SHARE_LOCKS, {"supplier_ids": sorted(set(supplier_ids))})


async def count(session: Session, supplier_id: int) -> int:
    """How many values of this (locked) supplier are kept."""
    found: int = (await session.execute(COUNT, {"supplier_id": supplier_id})).scalar_one()
    return found


async def drop(session: Session, supplier_id: int, keys: Collection[tuple[int, Key]]) -> list[tuple[int, int]]:
    """Drop what is kept under these `(location id, key)`; returns `(import id, row number)` of each."""
    if not keys:
        return []
    some = sorted(set(keys))
    values = {
        "supplier_id": supplier_id,
        "products": [product for _, (product, _) in some],
        "variants": [variant for _, (_, variant) in some],
        "location_ids": [location_id for location_id, _ in some],
    }
    return [(row.import_id, row.row_number) for row in await session.execute(REPLACE, values)]


async def add(
    session: Session, supplier_id: int, import_id: int, source: str, actor: str, values: Sequence[NewValue]
) -> None:
    """Keep these values in this order."""
    rows = [
        (
            *(supplier_id, one.location_id, *one.key, one.operation, one.quantity, import_id, one.row_number),
            *(source, actor, one.waits_for),
        )
        for one in values
    ]
    if rows:
        await copy_in(session, "pending_values", COLUMNS, rows)


async def find(
    session: Session, product_ids: Collection[int], named: Collection[tuple[int, str]]
) -> list[PendingValue]:
    """What waits for these products, or is kept under these `(owner id, SKU or id)`; in the order of its coming."""
    some = sorted(set(named))
    values = {
        "product_ids": list(product_ids),
        "owner_ids": [owner_id for owner_id, _ in some],
        "keys": [key for _, key in some],
    }
    return [PendingValue(*row) for row in (await session.execute(FIND, values)).all()]


async def take(session: Session, value_ids: Collection[int]) -> set[int]:
    """Take these out of the waiting; returns those that were there still."""
    rows = await session.execute(TAKE, {"value_ids": sorted(value_ids)})
    return {row.value_id for row in rows}


async def wait_for(session: Session, missing: Sequence[tuple[int, int | None]]) -> None:
    """Let values wait for other products: `(value id, product id)`."""
    ordered = sorted(missing)
    values = {"value_ids": [one for one, _ in ordered], "waits_for": [product_id for _, product_id in ordered]}
    await session.execute(WAIT_FOR, values)
