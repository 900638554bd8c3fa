"""A service's own copy of what it needs from catalog: companies, keys, connections, products and their links.

Every event carries full state and a version: the newest wins, whatever the order of arrival. A product that is needed
before its event came has a placeholder row (version 0), so that whoever waits for it and whoever brings it lock the
same row and neither can miss the other.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from shared.database import Session
from shared.events import Event
from shared.events.catalog import ApiKeyChanged, CompanyChanged, ConnectionChanged, ProductChanged, ProductRemoved
from shared.scopes import scopes_of_today

E = TypeVar("E", bound=Event)

# Deeper chains of virtual products are refused by catalog (rule 6).
VIRTUAL_DEPTH_LIMIT = 8


def add_access_tables(metadata: MetaData) -> None:
    """Add `companies`, `api_keys` and `connections`: catalog's own, and the copies in the other services."""
    Table(
        "companies",
        metadata,
        Column("company_id", BigInteger, primary_key=True, autoincrement=False),
        Column("ref", Text, nullable=False, unique=True),
        Column("display_name", Text, nullable=False),
        Column("role", Text, nullable=False),
        Column("oversell_policy", Text, nullable=False),
        Column("version", BigInteger, nullable=False),
    )
    Table(
        "api_keys",
        metadata,
        Column("key_id", BigInteger, primary_key=True, autoincrement=False),
        Column("key_sha256", Text, nullable=False, unique=True),
        Column("company_id", BigInteger),
        Column("role", Text, nullable=False),
        Column("scopes", ARRAY(Text), nullable=False),
        Column("expires_at", DateTime(timezone=True)),
        Column("revoked_at", DateTime(timezone=True)),
        Column("version", BigInteger, nullable=False),
    )
    Table(
        "connections",
        metadata,
        Column("connection_id", BigInteger, primary_key=True, autoincrement=False),
        Column("supplier_id", BigInteger, nullable=False),
        Column("retailer_id", BigInteger, nullable=False),
        Column("external_ref", Text),
        Column("default_location", Text),
        Column("state", Text, nullable=False),
        Column("version", BigInteger, nullable=False),
        UniqueConstraint("supplier_id", "retailer_id"),
        Index("ix_connections_retailer_id", "retailer_id"),
    )


def add_product_tables(metadata: MetaData) -> None:
    """Add `products` and `product_parts`, the copy of catalog's products and links."""
    Table(
        "products",
        metadata,
        Column("product_id", BigInteger, primary_key=True, autoincrement=False),
        # All that follows is null in a placeholder, whose version is 0.
        Column("owner_id", BigInteger),
        Column("type", Text),
        Column("sku", Text),
        Column("title", Text),
        Column("barcode", Text),
        Column("base_product_id", BigInteger),
        # `private`, `connected` or `listed`; the list is in `visible_to`.
        Column("visibility", Text),
        Column("visible_to", ARRAY(BigInteger)),
        # A removed product keeps its links: an order that was accepted before must still lower its stock.
        Column("removed", Boolean, nullable=False, server_default=text("false")),
        Column("version", BigInteger, nullable=False),
        # The version of the state above: lower than `version` where a tombstone came before what it buried.
        Column("state_version", BigInteger, nullable=False, server_default=text("0")),
        # One company's versions of a product, in order, without a look at those of others.
        Index("ix_products_base_product_id_owner_id", "base_product_id", "owner_id", "product_id"),
        Index("ix_products_owner_id_sku", "owner_id", "sku"),
    )
    Table(
        "product_parts",
        metadata,
        # What can be ordered and linked by itself: the product ('' as variant) or one of its variants.
        Column("product_id", BigInteger, primary_key=True, autoincrement=False),
        Column("variant_sku", Text, primary_key=True),
        Column("variant_id", BigInteger),
        Column("attributes", JSONB, nullable=False),
        # Parallel arrays: one unit draws `quantities[i]` of `component_ids[i]`; both empty means untracked.
        Column("component_ids", ARRAY(BigInteger), nullable=False),
        Column("quantities", ARRAY(BigInteger), nullable=False),
        # Read by every webhook and written by few events: none wait to be added, which each look-up would read as well.
        Index(
            "ix_product_parts_component_ids",
            "component_ids",
            postgresql_using="gin",
            postgresql_with={"fastupdate": "off"},
        ),
    )


KEEP_COMPANIES = text("""
    insert into companies (company_id, ref, display_name, role, oversell_policy, version)
    select * from unnest(cast(:ids as bigint[]), cast(:refs as text[]), cast(:names as text[]), cast(:roles as text[]),
        cast(:policies as text[]), cast(:versions as bigint[]))
    on conflict (company_id) do update set ref = excluded.ref, display_name = excluded.display_name,
        role = excluded.role, oversell_policy = excluded.oversell_policy, version = excluded.version
    where companies.version < excluded.version
""")
KEEP_KEY = text("""
    insert into api_keys (key_id, key_sha256, company_id, role, scopes, expires_at, revoked_at, version)
    values (:key_id, :key_sha256, :company_id, :role, :scopes, :expires_at, :revoked_at, :version)
    on conflict (key_id) do update set scopes = excluded.scopes, expires_at = excluded.expires_at,
        revoked_at = excluded.revoked_at, version = excluded.version
    where api_keys.version < excluded.version
""")
KEEP_CONNECTION = text("""
    insert into connections (connection_id, supplier_id, retailer_id, external_ref, default_location, state, version)
    values (:connection_id, :supplier_id, :retailer_id, :external_ref, :default_location, :state, :version)
    on conflict (connection_id) do update set external_ref = excluded.external_ref,
        default_location = excluded.default_location, state = excluded.state, version = excluded.version
    where connections.version < excluded.version
    returning connection_id
""")
# A tombstone that came before its product takes what the product was last, and stays one: orders that were accepted
# before need its links.
KEEP_PRODUCTS = text("""
    insert into products (product_id, owner_id, type, sku, title, barcode, base_product_id, visibility, visible_to,
        removed, version, state_version)
    select p.product_id, p.owner_id, p.type, p.sku, p.title, p.barcode, p.base_product_id, p.visibility,
        coalesce((select array_agg(cast(v as bigint)) from jsonb_array_elements_text(p.visible_to) v), '{}'), false,
        p.version, p.version
    from jsonb_to_recordset(cast(:products as jsonb)) as p (product_id bigint, owner_id bigint, type text, sku text,
        title text, barcode text, base_product_id bigint, visibility text, visible_to jsonb, version bigint)
    order by p.product_id
    on conflict (product_id) do update set owner_id = excluded.owner_id, type = excluded.type, sku = excluded.sku,
        title = excluded.title, barcode = excluded.barcode, base_product_id = excluded.base_product_id,
        visibility = excluded.visibility, visible_to = excluded.visible_to,
        removed = products.version >= excluded.version, version = greatest(products.version, excluded.version),
        state_version = excluded.state_version
    where products.state_version < excluded.state_version
    returning product_id
""")
CLEAR_PARTS = text("""
    delete from product_parts where product_id = any(cast(:product_ids as bigint[])) returning component_ids
""")
KEEP_PARTS = text("""
    insert into product_parts (product_id, variant_sku, variant_id, attributes, component_ids, quantities)
    select p.product_id, p.variant_sku, p.variant_id, p.attributes,
        coalesce((select array_agg(cast(v as bigint)) from jsonb_array_elements_text(p.component_ids) v), '{}'),
        coalesce((select array_agg(cast(v as bigint)) from jsonb_array_elements_text(p.quantities) v), '{}')
    from jsonb_to_recordset(cast(:parts as jsonb)) as p (product_id bigint, variant_sku text, variant_id bigint,
        attributes jsonb, component_ids jsonb, quantities jsonb)
""")
REMOVE_PRODUCT = text("""
    insert into products (product_id, owner_id, removed, version) values (:product_id, :owner_id, true, :version)
    on conflict (product_id) do update set removed = true, version = excluded.version
    where products.version < excluded.version
""")


async def keep_companies(session: Session, events: Sequence[CompanyChanged]) -> None:
    """Handler: copy companies."""
    newest = _newest(events)
    await session.execute(
        KEEP_COMPANIES,
        {
            "ids": [event.company_id for event in newest],
            "refs": [event.ref for event in newest],
            "names": [event.display_name for event in newest],
            "roles": [event.role for event in newest],
            "policies": [event.oversell_policy for event in newest],
            "versions": [event.version for event in newest],
        },
    )


async def keep_api_keys(session: Session, events: Sequence[ApiKeyChanged]) -> None:
    """Handler: copy the hashes of API keys, and their revocation."""
    for event in _newest(events):
        await session.execute(KEEP_KEY, event.model_dump() | {"scopes": list(scopes_of_today(event.scopes))})


async def keep_connections(session: Session, events: Sequence[ConnectionChanged]) -> list[ConnectionChanged]:
    """Copy connections; returns those that were news."""
    return [
        event
        for event in _newest(events)
        if (await session.execute(KEEP_CONNECTION, event.model_dump())).one_or_none() is not None
    ]


async def keep_products(
    session: Session, events: Sequence[ProductChanged | ProductRemoved]
) -> tuple[list[ProductChanged], set[int]]:
    """Copy products and their links, mark those that are removed; returns the changes that were news, by id.

    And which base stock products these drew on before. News too is a product of which only its removal is known.
    Their rows stay locked until the transaction ends: whoever wants to wait for one of them waits for it here.
    """
    changed = [event for event in events if isinstance(event, ProductChanged)]
    removed = [event for event in events if isinstance(event, ProductRemoved)]
    if changed and removed:  # each kind goes through the rows by itself, so they are all locked before
        await wait_for_products(session, (event.product_id for event in events))
    news, drawn_on_before = await _keep_changed(session, changed) if changed else ([], set())
    await _mark_removed(session, removed)
    return news, drawn_on_before


async def _keep_changed(session: Session, events: Sequence[ProductChanged]) -> tuple[list[ProductChanged], set[int]]:
    newest = _newest(events)
    products = [
        event.model_dump(include={"product_id", "owner_id", "type", "sku", "title", "barcode", "base_product_id"})
        | {
            "visibility": event.visible_to if isinstance(event.visible_to, str) else "listed",
            "visible_to": [] if isinstance(event.visible_to, str) else list(event.visible_to),
            "version": event.version,
        }
        for event in newest
    ]
    kept = {row.product_id for row in await session.execute(KEEP_PRODUCTS, {"products": json.dumps(products)})}
    news = [event for event in newest if event.product_id in kept]
    cleared = (await session.execute(CLEAR_PARTS, {"product_ids": sorted(kept)})).scalars()
    await session.execute(KEEP_PARTS, {"parts": json.dumps([part for event in news for part in _parts(event)])})
    return news, {product_id for component_ids in cleared for product_id in component_ids}


async def _mark_removed(session: Session, events: Sequence[ProductRemoved]) -> None:
    for event in _newest(events):
        await session.execute(REMOVE_PRODUCT, event.model_dump(include={"product_id", "owner_id", "version"}))


def _newest(events: Sequence[E]) -> list[E]:
    """Of each subject the newest event, in the order of their numeric ids, which is the order of locks."""
    newest: dict[str, E] = {}
    for event in events:
        known = newest.get(event.subject())
        if known is None or known.sequence() < event.sequence():
            newest[event.subject()] = event
    return sorted(newest.values(), key=lambda event: int(event.subject()))


def _parts(event: ProductChanged) -> list[dict[str, object]]:
    """What of a product can be ordered by itself: tracked stock draws on itself, variants replace the product."""
    if event.variants:
        return [
            {
                "product_id": event.product_id,
                "variant_sku": variant.sku,
                "variant_id": variant.variant_id,
                "attributes": [attribute.model_dump() for attribute in variant.attributes],
                "component_ids": [component.product_id for component in variant.components],
                "quantities": [component.quantity for component in variant.components],
            }
            for variant in event.variants
        ]
    if event.type == "virtual":
        return []
    own = event.is_tracked_stock
    return [
        {
            "product_id": event.product_id,
            "variant_sku": "",
            "variant_id": None,
            "attributes": [],
            "component_ids": [event.product_id] if own else [item.product_id for item in event.components],
            "quantities": [1] if own else [item.quantity for item in event.components],
        }
    ]


@dataclass(frozen=True, slots=True)
class Link:
    """Where an ordered product or variant leads.

    `owner_id` owns the ordered product, `supplier_id` the product at the end of its chain of virtual bases, `end_id`;
    `removed` when any product of the chain is.
    `components` are `(base stock product id, quantity per unit)`; none means untracked. `waits_for` names the product
    whose event is missing, or has to change, before the link is known; `reason` says so in words.
    """

    owner_id: int | None = None
    supplier_id: int | None = None
    components: tuple[tuple[int, int], ...] = ()
    removed: bool = False
    waits_for: int | None = None
    reason: str | None = None
    end_id: int | None = None


class _Product(NamedTuple):
    owner_id: int
    type: str
    base_product_id: int | None
    removed: bool


FIND_PRODUCTS = text("""
    select product_id, owner_id, type, base_product_id, removed from products
    where product_id = any(cast(:product_ids as bigint[])) and version > 0 and type is not null
""")
FIND_PARTS = text("""
    select product_id, variant_sku, component_ids, quantities from product_parts
    where product_id = any(cast(:product_ids as bigint[]))
""")
# An update of nothing locks the rows that are there, in one order with those that are added. Adding first and locking
# then would wait for a known product while holding a later one that is new.
LOCK_PRODUCTS = text("""
    insert into products (product_id, version)
    select product_id, 0 from unnest(cast(:product_ids as bigint[])) as product_id order by product_id
    on conflict (product_id) do update set version = products.version where false
""")


async def find_links(session: Session, wanted: Collection[tuple[int, str]]) -> dict[tuple[int, str], Link]:
    """Where each `(product id, variant sku or "")` leads, as this service knows it now."""
    products: dict[int, _Product] = {}
    missing = {product_id for product_id, _ in wanted}
    for _ in range(VIRTUAL_DEPTH_LIMIT + 1):
        rows = await session.execute(FIND_PRODUCTS, {"product_ids": sorted(missing)})
        found = {
            product_id: _Product(owner_id, type_, base_product_id, removed)
            for product_id, owner_id, type_, base_product_id, removed in rows.all()
        }
        products |= found
        bases = {item.base_product_id for item in found.values() if item.type == "virtual" and item.base_product_id}
        missing = bases - products.keys()
        if not missing:
            break
    chains = {product_id: _chain(product_id, products) for product_id, _ in wanted}
    parts = await _find_parts(session, {chain[-1] for chain in chains.values() if chain[-1] in products})
    return {key: _link(key, chains[key[0]], products, parts) for key in wanted}


async def wait_for_products(session: Session, product_ids: Iterable[int]) -> None:
    """Lock these products' rows, as placeholders where they are unknown, until the transaction ends.

    Look them up again afterwards: whoever still finds them missing may wait, and `keep_products` comes after it.
    """
    await session.execute(LOCK_PRODUCTS, {"product_ids": sorted(set(product_ids))})


def _chain(product_id: int, products: Mapping[int, _Product]) -> list[int]:
    """The product and its virtual bases, down to the first that is not virtual, or is not known."""
    chain = [product_id]
    for _ in range(VIRTUAL_DEPTH_LIMIT + 1):
        product = products.get(chain[-1])
        if product is None or product.type != "virtual" or product.base_product_id is None:
            break
        chain.append(product.base_product_id)
    return chain


async def _find_parts(session: Session, product_ids: set[int]) -> dict[int, dict[str, tuple[tuple[int, int], ...]]]:
    parts: dict[int, dict[str, tuple[tuple[int, int], ...]]] = {}
    rows = await session.execute(FIND_PARTS, {"product_ids": sorted(product_ids)})
    for product_id, variant_sku, component_ids, quantities in rows.all():
        parts.setdefault(product_id, {})[variant_sku] = tuple(zip(component_ids, quantities, strict=True))
    return parts


def _link(
    key: tuple[int, str],
    chain: Sequence[int],
    products: Mapping[int, _Product],
    parts: Mapping[int, Mapping[str, tuple[tuple[int, int], ...]]],
) -> Link:
    (product_id, variant_sku), end = key, chain[-1]
    ordered, last = products.get(product_id), products.get(end)
    if ordered is None or last is None:
        return Link(waits_for=end, reason=f"product {end} is not known yet")
    removed = any(products[one].removed for one in chain)
    own = parts.get(end, {})
    components = own.get(variant_sku)
    if components is None and any(own.values()):
        what = f"has no variant {variant_sku!r}" if variant_sku else "has variants, and the line names none"
        return Link(ordered.owner_id, last.owner_id, waits_for=end, reason=f"product {end} {what}")
    return Link(ordered.owner_id, last.owner_id, components or (), removed=removed, end_id=end)
