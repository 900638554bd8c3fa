"""Telling again what is: all that catalog has told, so that a copy that was lost or damaged becomes whole.

Every event carries the version that it had, so a healthy copy, which knows it, changes nothing.
"""

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import TextClause, text

from services.catalog.domain import LINKING_TYPES
from services.catalog.store.product_changes import told
from services.catalog.store.products import find_products, product_of
from services.catalog.store.states import read_states
from shared.database import Session
from shared.events.catalog import ApiKeyChanged, CompanyChanged, ConnectionChanged, ProductRemoved
from shared.messaging.outbox import publish

Kind = Literal["companies", "API keys", "connections", "products"]

STATES: dict[Kind, tuple[type[CompanyChanged | ApiKeyChanged | ConnectionChanged], TextClause]] = {
    "companies": (
        CompanyChanged,
        text("""
            select * from companies
            where company_id > :after and changed_at >= coalesce(cast(:since as timestamptz), '-infinity')
            order by company_id limit :limit
        """),
    ),
    "API keys": (
        ApiKeyChanged,
        text("""
            select * from api_keys
            where key_id > :after and changed_at >= coalesce(cast(:since as timestamptz), '-infinity')
            order by key_id limit :limit
        """),
    ),
    "connections": (
        ConnectionChanged,
        text("""
            select * from connections
            where connection_id > :after and changed_at >= coalesce(cast(:since as timestamptz), '-infinity')
            order by connection_id limit :limit
        """),
    ),
}
KINDS: tuple[Kind, ...] = (*STATES, "products")
COUNT = text("""
    with changed (kind, changed_at) as (
        select 'companies', changed_at from companies
        union all select 'API keys', changed_at from api_keys
        union all select 'connections', changed_at from connections
        union all select 'products', changed_at from products
    )
    select kind, count(*) as told from changed
    where changed_at >= coalesce(cast(:since as timestamptz), '-infinity') group by kind
""")
FIND_PRODUCTS = text("""
    select product_id, owner_id, type, sku, title, barcode, base_product_id, visibility, visible_to, version,
        removed_at is not null as removed
    from products
    where product_id > :after and changed_at >= coalesce(cast(:since as timestamptz), '-infinity')
    order by product_id limit :limit
""")


async def count(session: Session, since: datetime | None) -> dict[Kind, int]:
    """How many there are to tell of, removed products too; `since` leaves out what was not changed since then."""
    counts = {row.kind: row.told for row in await session.execute(COUNT, {"since": since})}
    return {kind: counts.get(kind, 0) for kind in KINDS}


async def tell_again(session: Session, kind: Kind, after: int, limit: int, since: datetime | None) -> int | None:
    """Publish the next `limit` of a kind behind the id `after`; returns the last one's id, `None` at the end."""
    page = {"after": after, "limit": limit, "since": since}
    if kind == "products":
        return await _tell_products_again(session, page)
    event, statement = STATES[kind]
    states = await read_states(session, event, statement, page)
    for state in states:
        publish(session, state)
    return int(states[-1].subject()) if states else None


async def _tell_products_again(session: Session, page: dict[str, Any]) -> int | None:
    rows = (await session.execute(FIND_PRODUCTS, page)).mappings().all()
    for product in await find_products(session, [row["product_id"] for row in rows if not row["removed"]]):
        publish(session, told(product))
    for row in rows:
        if row["removed"]:
            _tell_removed_again(session, row)
    return rows[-1]["product_id"] if rows else None


def _tell_removed_again(session: Session, row: Any) -> None:  # noqa: ANN401 - a row
    """What a removed product was, where that is still known, and that it was removed.

    Orders that were accepted before still lower its stock. The links of a product went with it: who had heard of them
    knows them still, and whoever had not must not take it for one without links.
    """
    if row["type"] not in LINKING_TYPES:
        last = {**row, "components": (), "variants": (), "version": row["version"] - 1}
        publish(session, told(product_of(last)))
    removed = ProductRemoved(product_id=row["product_id"], owner_id=row["owner_id"], version=row["version"])
    publish(session, removed)
