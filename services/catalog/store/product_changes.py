"""Changes of products, their variants and links.

Locks: the products referred to are share locked and the changed one is locked for itself, all in the order of their
ids, before anything is decided. So two changes that would break a rule together wait for one another.
"""

import json
from collections.abc import Iterable
from dataclasses import replace

from sqlalchemy import TextClause, text
from sqlalchemy.exc import IntegrityError

from services.catalog.domain import Component, Dependant, Facts, Known, Product
from services.catalog.store.companies import find_roles
from services.catalog.store.ids import take_id
from services.catalog.store.products import find_chain, find_own, find_products
from shared.database import Session
from shared.events import catalog as contract
from shared.messaging.outbox import publish

SKU_CONSTRAINT = "uq_products_owner_id_type_sku"

FIND_KNOWN = text("""
    select product_id, owner_id, type from products
    where product_id = any(cast(:product_ids as bigint[])) and removed_at is null
""")
COUNT_LEVELS_BELOW = text("""
    with recursive below as (
        select product_id, 1 as level from products where base_product_id = :product_id and removed_at is null
        union all
        select p.product_id, b.level + 1 from below b join products p
            on p.base_product_id = b.product_id and p.removed_at is null
    )
    select coalesce(max(level), 0) from below
""")
FIND_CONNECTED = text("""
    select case when supplier_id = :owner_id then retailer_id else supplier_id end as company_id from connections
    where :owner_id in (supplier_id, retailer_id) and state = 'active'
""")
FIND_DEPENDANTS = text("""
    select p.product_id, p.owner_id, p.sku, 'links to it' as how from products p
    where p.product_id in (select product_id from components where base_stock_product_id = :product_id)
    union all
    select p.product_id, p.owner_id, p.sku, 'is virtual and based on it' from products p
    where p.base_product_id = :product_id and p.removed_at is null and (p.owner_id = :owner_id or exists (
        select from connections c
        where c.supplier_id = :owner_id and c.retailer_id = p.owner_id and c.state <> 'ended'))
    order by product_id
""")

SHARE_LOCK = text("""
    select product_id from products
    where product_id = any(cast(:product_ids as bigint[])) and removed_at is null
    order by product_id for key share
""")
LOCK = text("select version from products where product_id = :product_id for update")

# A removed product's id may be used again by its owner; its version goes on.
ADD_PRODUCT = text("""
    insert into products as known (product_id, owner_id, type, is_tracked, is_unlinked, sku, title, barcode,
        base_product_id, visibility, visible_to, version)
    values (:product_id, :owner_id, :type, :is_tracked, :is_unlinked, :sku, :title, :barcode, :base_product_id,
        :visibility, cast(:visible_to as bigint[]), 1)
    on conflict (product_id) do update set type = excluded.type, is_tracked = excluded.is_tracked,
        is_unlinked = excluded.is_unlinked, sku = excluded.sku, title = excluded.title, barcode = excluded.barcode,
        base_product_id = excluded.base_product_id, visibility = excluded.visibility, visible_to = excluded.visible_to,
        removed_at = null, changed_at = clock_timestamp(), version = known.version + 1
    where known.removed_at is not null and known.owner_id = excluded.owner_id
    returning product_id
""")
CHANGE_PRODUCT = text("""
    update products set type = :type, is_tracked = :is_tracked, is_unlinked = :is_unlinked, sku = :sku, title = :title,
        barcode = :barcode, base_product_id = :base_product_id, visibility = :visibility,
        visible_to = cast(:visible_to as bigint[]), changed_at = clock_timestamp(), version = version + 1
    where product_id = :product_id and removed_at is null
    returning product_id
""")
REMOVE_PRODUCT = text("""
    update products set removed_at = clock_timestamp(), is_tracked = false, is_unlinked = false,
        changed_at = clock_timestamp(), version = version + 1
    where product_id = :product_id returning version
""")
DROP_COMPONENTS = text("delete from components where product_id = :product_id")
DROP_VARIANTS = text("""
    delete from variants where product_id = :product_id and sku <> all(cast(:kept_skus as text[]))
""")
KEEP_VARIANTS = text("""
    insert into variants (product_id, sku, attributes, position)
    select :product_id, v.sku, v.attributes, v.position
    from jsonb_to_recordset(cast(:variants as jsonb)) as v (sku text, attributes jsonb, position integer)
    order by v.position
    on conflict (product_id, sku) do update set attributes = excluded.attributes, position = excluded.position
""")
ADD_COMPONENTS = text("""
    insert into components (product_id, variant_id, owner_id, base_stock_product_id, quantity)
    select :product_id, v.variant_id, :owner_id, c.base_stock_product_id, c.quantity
    from jsonb_to_recordset(cast(:components as jsonb)) as c (variant_sku text, base_stock_product_id bigint,
        quantity bigint, position integer)
    left join variants v on v.product_id = :product_id and v.sku = c.variant_sku
    order by c.position
""")


class ChangedMeanwhileError(Exception):
    """What was read before the locks is no longer so: start again in a new transaction."""


class SkuTakenError(Exception):
    """The owner has another product of this type and SKU (rule 9); the text says so."""


async def lock_with_facts(session: Session, product: Product) -> Facts:
    """Lock the product (where it exists) and all it refers to; then read what `domain.violations` asks for.

    Raises `ChangedMeanwhileError` when its version or its chain of bases is no longer what it was before the locks.
    """
    base_id = product.base_product_id
    chain = () if base_id is None else await find_chain(session, base_id)
    referred = product.target_ids | set(chain)
    await session.execute(SHARE_LOCK, {"product_ids": sorted(item for item in referred if item < product.product_id)})
    version = (await session.execute(LOCK, {"product_id": product.product_id})).scalar_one_or_none()
    await session.execute(SHARE_LOCK, {"product_ids": sorted(item for item in referred if item > product.product_id)})
    if product.version and product.version != version:
        raise ChangedMeanwhileError
    if base_id is not None and chain != await find_chain(session, base_id):
        raise ChangedMeanwhileError
    return await _find_facts(session, product, chain, referred)


async def _find_facts(session: Session, product: Product, chain: tuple[int, ...], referred: set[int]) -> Facts:
    roles = await find_roles(session, [product.owner_id])
    known = await session.execute(FIND_KNOWN, {"product_ids": sorted(referred)})
    connected = await session.execute(FIND_CONNECTED, {"owner_id": product.owner_id})
    below = await session.execute(COUNT_LEVELS_BELOW, {"product_id": product.product_id})
    return Facts(
        owner_role=roles.get(product.owner_id),
        known={row.product_id: Known(row.owner_id, row.type) for row in known},
        chain=chain,
        levels_below=below.scalar_one(),
        connected=frozenset(connected.scalars()),
    )


async def lock_product(session: Session, product_id: int, company_id: int | None) -> Product | None:
    """Lock and read a product of this company (of any, for the admin, `None`); `None` when it has no such one."""
    await session.execute(LOCK, {"product_id": product_id})
    return await find_own(session, product_id, company_id)


async def find_dependants(session: Session, product: Product) -> list[Dependant]:
    """The products that link to it or are based on it, but not versions of retailers whose connection has ended."""
    values = {"product_id": product.product_id, "owner_id": product.owner_id}
    rows = await session.execute(FIND_DEPENDANTS, values)
    return [Dependant(row.product_id, row.owner_id, row.sku, row.how) for row in rows]


async def add_product(session: Session, product: Product) -> Product | None:
    """Add a product and publish it; returns it with its ids, or `None` when its id is taken.

    Raises `SkuTakenError`.
    """
    product_id = await take_id(session, "product_ids", product.product_id or None)
    return await _save(session, ADD_PRODUCT, replace(product, product_id=product_id))


async def change_product(session: Session, product: Product) -> Product:
    """Save a locked product as it is now and publish it; raises `SkuTakenError`."""
    await session.execute(DROP_COMPONENTS, {"product_id": product.product_id})
    saved = await _save(session, CHANGE_PRODUCT, product)
    if saved is None:
        raise ChangedMeanwhileError
    return saved


async def remove_product(session: Session, product: Product) -> None:
    """Remove a locked product that nothing depends on, and publish that."""
    await session.execute(DROP_COMPONENTS, {"product_id": product.product_id})
    await session.execute(DROP_VARIANTS, {"product_id": product.product_id, "kept_skus": []})
    version = (await session.execute(REMOVE_PRODUCT, {"product_id": product.product_id})).scalar_one()
    publish(session, contract.ProductRemoved(product_id=product.product_id, owner_id=product.owner_id, version=version))


async def _save(session: Session, statement: TextClause, product: Product) -> Product | None:
    """Write the product's row with `statement`, then its variants and links; `None` when no row was written."""
    listed = not isinstance(product.visibility, str)
    row = {
        "product_id": product.product_id,
        "owner_id": product.owner_id,
        "type": product.type,
        "is_tracked": product.is_tracked,
        "is_unlinked": product.is_unlinked,
        "sku": product.sku,
        "title": product.name,
        "barcode": product.barcode,
        "base_product_id": product.base_product_id,
        "visibility": "listed" if listed else product.visibility,
        "visible_to": list(product.visibility) if listed else [],
    }
    try:
        written = (await session.execute(statement, row)).one_or_none()
    except IntegrityError as error:
        if SKU_CONSTRAINT in str(error.orig):
            message = f"Company {product.owner_id} has another {product.type} product with the SKU {product.sku!r}."
            raise SkuTakenError(message) from error
        raise
    if written is None:
        return None
    await _save_parts(session, product)
    (saved,) = await find_products(session, [product.product_id])
    publish(session, told(saved))
    return saved


async def _save_parts(session: Session, product: Product) -> None:
    """Write variants (those whose SKU stays keep their id) and, where there are none of it left, the links."""
    kept_skus = [variant.sku for variant in product.variants]
    await session.execute(DROP_VARIANTS, {"product_id": product.product_id, "kept_skus": kept_skus})
    variants = [
        {
            "sku": variant.sku,
            "attributes": [{"name": name, "value": value} for name, value in variant.attributes],
            "position": position,
        }
        for position, variant in enumerate(product.variants)
    ]
    await session.execute(KEEP_VARIANTS, {"product_id": product.product_id, "variants": json.dumps(variants)})
    links: list[tuple[str | None, Component]] = [(None, component) for component in product.components]
    links += [(variant.sku, component) for variant in product.variants for component in variant.components]
    components = [
        {
            "variant_sku": sku,
            "base_stock_product_id": component.product_id,
            "quantity": component.quantity,
            "position": position,
        }
        for position, (sku, component) in enumerate(links)
    ]
    await session.execute(
        ADD_COMPONENTS,
        {"product_id": product.product_id, "owner_id": product.owner_id, "components": json.dumps(components)},
    )


def told(product: Product) -> contract.ProductChanged:
    """The event that tells a product's full state."""
    return contract.ProductChanged(
        product_id=product.product_id,
        owner_id=product.owner_id,
        type=product.type,
        sku=product.sku,
        title=product.name,
        barcode=product.barcode,
        base_product_id=product.base_product_id,
        components=_wire(product.components),
        variants=tuple(
            contract.Variant(
                variant_id=variant.variant_id,
                sku=variant.sku,
                attributes=tuple(contract.Attribute(name=name, value=value) for name, value in variant.attributes),
                components=_wire(variant.components),
            )
            for variant in product.variants
        ),
        visible_to=product.visibility,
        version=product.version,
    )


def _wire(components: Iterable[Component]) -> tuple[contract.Component, ...]:
    return tuple(contract.Component(product_id=item.product_id, quantity=item.quantity) for item in components)
