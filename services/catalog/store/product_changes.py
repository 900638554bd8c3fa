"""Changes of products, their variants and links: one or many, with one statement per table.

Locks: the products referred to are share locked and the changed ones are locked for themselves, all in the order of
their ids, before anything is decided. So two changes that would break a rule together wait for one another.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from sqlalchemy import TextClause, text
from sqlalchemy.exc import IntegrityError

from services.catalog.domain import Component, Dependant, Facts, Known, Product
from services.catalog.store.audit import Change, State, record
from services.catalog.store.companies import find_roles
from services.catalog.store.ids import take_ids, take_provisional_ids
from services.catalog.store.products import find_chains, find_own
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
        select base_product_id as lowest_id, product_id, 1 as level from products
        where base_product_id = any(cast(:product_ids as bigint[])) and removed_at is null
        union all
        select b.lowest_id, p.product_id, b.level + 1 from below b join products p
            on p.base_product_id = b.product_id and p.removed_at is null
    )
    select lowest_id, max(level) as levels from below group by lowest_id
""")
FIND_CONNECTED = text("""
    select o.owner_id, case when c.supplier_id = o.owner_id then c.retailer_id else c.supplier_id end as company_id
    from unnest(cast(:owner_ids as bigint[])) as o (owner_id)
    join connections c on o.owner_id in (c.supplier_id, c.retailer_id) and c.state = 'active'
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
LOCK = text("""
    select product_id, version from products where product_id = any(cast(:product_ids as bigint[]))
    order by product_id for update
""")

PROPOSED = """
    jsonb_to_recordset(cast(:products as jsonb)) as p (product_id bigint, owner_id bigint, type text,
        is_tracked boolean, is_unlinked boolean, sku text, title text, barcode text, base_product_id bigint,
        visibility text, visible_to bigint[])
"""
# A removed product's id may be used again by its owner; its version goes on.
ADD_PRODUCTS = text(f"""
    insert into products as known (product_id, owner_id, type, is_tracked, is_unlinked, sku, title, barcode,
        base_product_id, visibility, visible_to, version)
    select product_id, owner_id, type, is_tracked, is_unlinked, sku, title, barcode, base_product_id, visibility,
        visible_to, 1
    from {PROPOSED} order by product_id
    on conflict (product_id) do update set type = excluded.type, is_tracked = excluded.is_tracked,
        is_unlinked = excluded.is_unlinked, sku = excluded.sku, title = excluded.title, barcode = excluded.barcode,
        base_product_id = excluded.base_product_id, visibility = excluded.visibility, visible_to = excluded.visible_to,
        removed_at = null, changed_at = clock_timestamp(), version = known.version + 1
    where known.removed_at is not null and known.owner_id = excluded.owner_id
    returning product_id, version
""")  # noqa: S608 - a constant
CHANGE_PRODUCTS = text(f"""
    update products as known set type = p.type, is_tracked = p.is_tracked, is_unlinked = p.is_unlinked, sku = p.sku,
        title = p.title, barcode = p.barcode, base_product_id = p.base_product_id, visibility = p.visibility,
        visible_to = p.visible_to, changed_at = clock_timestamp(), version = known.version + 1
    from {PROPOSED} where known.product_id = p.product_id and known.removed_at is null
    returning known.product_id, known.version
""")  # noqa: S608 - a constant
REMOVE_PRODUCT = text("""
    update products set removed_at = clock_timestamp(), is_tracked = false, is_unlinked = false,
        changed_at = clock_timestamp(), version = version + 1
    where product_id = :product_id returning version
""")
DROP_COMPONENTS = text("delete from components where product_id = any(cast(:product_ids as bigint[]))")
DROP_VARIANTS = text("""
    delete from variants v where v.product_id = any(cast(:product_ids as bigint[])) and not exists (
        select from jsonb_to_recordset(cast(:kept as jsonb)) as k (product_id bigint, sku text)
        where k.product_id = v.product_id and k.sku = v.sku)
""")
KEEP_VARIANTS = text("""
    insert into variants (product_id, sku, attributes, position)
    select v.product_id, v.sku, v.attributes, v.position
    from jsonb_to_recordset(cast(:variants as jsonb)) as v (product_id bigint, sku text, attributes jsonb,
        position integer)
    order by v.product_id, v.position
    on conflict (product_id, sku) do update set attributes = excluded.attributes, position = excluded.position
    returning product_id, sku, variant_id
""")
# Components are read in the order of their ids, which is the order they are written in.
ADD_COMPONENTS = text("""
    insert into components (product_id, variant_id, owner_id, base_stock_product_id, quantity)
    select c.product_id, c.variant_id, c.owner_id, c.base_stock_product_id, c.quantity
    from jsonb_to_recordset(cast(:components as jsonb)) as c (product_id bigint, variant_id bigint, owner_id bigint,
        base_stock_product_id bigint, quantity bigint, position integer)
    order by c.position
""")


class ChangedMeanwhileError(Exception):
    """What was read before the locks is no longer so: start again in a new transaction."""


class SkuTakenError(Exception):
    """The owner has another product of this type and SKU (rule 9); the text says so."""

    def __init__(self, products: Sequence[Product]) -> None:
        """One of `products` could not be written."""
        skus = " or ".join(f"{item.type} {item.sku!r}" for item in products[:3])
        super().__init__(f"Company {products[0].owner_id} has another product of this type and SKU: {skus}.")


async def lock_with_facts(session: Session, products: Sequence[Product]) -> list[Facts]:
    """Lock the products (those that exist) and all they refer to; then read what `domain.violations` asks for, of each.

    Raises `ChangedMeanwhileError` when a version or a chain of bases is no longer what it was before the locks.
    """
    base_ids = {item.base_product_id for item in products if item.base_product_id is not None}
    chains = await find_chains(session, base_ids)
    referred = {target_id for item in products for target_id in item.target_ids}
    referred.update(base_id for chain in chains.values() for base_id in chain)
    versions = await _lock(session, {item.product_id for item in products if item.product_id}, referred)
    if any(item.version and item.version != versions.get(item.product_id) for item in products):
        raise ChangedMeanwhileError
    if base_ids and chains != await find_chains(session, base_ids):
        raise ChangedMeanwhileError
    return await _find_facts(session, products, chains, referred)


async def _lock(session: Session, own: set[int], referred: set[int]) -> dict[int, int]:
    """Lock `own` for themselves and the rest of `referred` shared, in the order of all ids; `{own id: version}`."""
    versions: dict[int, int] = {}
    for is_own, together in groupby(sorted(own | referred), own.__contains__):
        rows = await session.execute(LOCK if is_own else SHARE_LOCK, {"product_ids": list(together)})
        if is_own:
            versions.update({row.product_id: row.version for row in rows})
    return versions


async def _find_facts(
    session: Session, products: Sequence[Product], chains: Mapping[int, tuple[int, ...]], referred: set[int]
) -> list[Facts]:
    owner_ids = sorted({item.owner_id for item in products})
    roles = await find_roles(session, owner_ids)
    rows = await session.execute(FIND_KNOWN, {"product_ids": sorted(referred)})
    known = {row.product_id: Known(row.owner_id, row.type) for row in rows}
    connected: dict[int, set[int]] = {owner_id: set() for owner_id in owner_ids}
    for row in await session.execute(FIND_CONNECTED, {"owner_ids": owner_ids}):
        connected[row.owner_id].add(row.company_id)
    movable = [item.product_id for item in products if item.product_id and item.base_product_id is not None]
    below = await session.execute(COUNT_LEVELS_BELOW, {"product_ids": movable}) if movable else ()
    levels = {row.lowest_id: row.levels for row in below}
    frozen = {owner_id: frozenset(company_ids) for owner_id, company_ids in connected.items()}
    return [
        Facts(
            owner_role=roles.get(item.owner_id),
            known=known,
            chain=() if item.base_product_id is None else chains.get(item.base_product_id, ()),
            levels_below=levels.get(item.product_id, 0),
            connected=frozen[item.owner_id],
        )
        for item in products
    ]


async def lock_product(session: Session, product_id: int, company_id: int | None) -> Product | None:
    """Lock and read a product of this company (of any, for the admin, `None`); `None` when it has no such one."""
    await session.execute(LOCK, {"product_ids": [product_id]})
    return await find_own(session, product_id, company_id)


async def find_dependants(session: Session, product: Product) -> list[Dependant]:
    """The products that link to it or are based on it, but not versions of retailers whose connection has ended."""
    values = {"product_id": product.product_id, "owner_id": product.owner_id}
    rows = await session.execute(FIND_DEPENDANTS, values)
    return [Dependant(row.product_id, row.owner_id, row.sku, row.how) for row in rows]


async def add_products(
    session: Session,
    actor: str,
    products: Sequence[Product],
    *,
    source: str | None = None,
    is_dry_run: bool = False,
) -> list[Product | None]:
    """Add products and publish them; returns each with its ids, or `None` where its id is taken.

    Ids that were chosen must differ from one another; in a dry run no others are used up. `source` is what the products
    came with, for the audit trail. Raises `SkuTakenError`.
    """
    given = [item.product_id or None for item in products]
    ids = await (take_provisional_ids(session, given) if is_dry_run else take_ids(session, "product_ids", given))
    numbered = [replace(item, product_id=product_id) for item, product_id in zip(products, ids, strict=True)]
    versions = await _write(session, ADD_PRODUCTS, numbered)
    saved = await _save_parts(session, [item for item in numbered if item.product_id in versions], versions)
    created = [_change("product_created", None, product) for product in saved.values()]
    await record(session, actor, *created, source=source)
    return [saved.get(product_id) for product_id in ids]


async def change_products(
    session: Session, actor: str, pairs: Sequence[tuple[Product, Product]], *, source: str | None = None
) -> list[Product]:
    """Save locked products, each given as it was and as it is now, and publish them; raises `SkuTakenError`.

    `source` is what the changes came with, for the audit trail.
    """
    products = [now for _, now in pairs]
    ids = [item.product_id for item in products]
    versions = await _write(session, CHANGE_PRODUCTS, products)
    if len(versions) < len(ids):
        raise ChangedMeanwhileError
    await session.execute(DROP_COMPONENTS, {"product_ids": ids})
    kept = [{"product_id": item.product_id, "sku": variant.sku} for item in products for variant in item.variants]
    await session.execute(DROP_VARIANTS, {"product_ids": ids, "kept": json.dumps(kept)})
    saved = await _save_parts(session, products, versions)
    await record(session, actor, *(_change("product_changed", was, now) for was, now in pairs), source=source)
    return [saved[product_id] for product_id in ids]


async def remove_product(session: Session, actor: str, product: Product) -> None:
    """Remove a locked product that nothing depends on, and publish that."""
    await session.execute(DROP_COMPONENTS, {"product_ids": [product.product_id]})
    await session.execute(DROP_VARIANTS, {"product_ids": [product.product_id], "kept": "[]"})
    version = (await session.execute(REMOVE_PRODUCT, {"product_id": product.product_id})).scalar_one()
    publish(session, contract.ProductRemoved(product_id=product.product_id, owner_id=product.owner_id, version=version))
    await record(session, actor, _change("product_removed", product, None))


def _change(action: str, before: Product | None, after: Product | None) -> Change:
    product = after or before
    assert product is not None  # noqa: S101 - it was there before or is there now
    was, now = (None if item is None else _said(item) for item in (before, after))
    return Change(product.owner_id, action, f"product {product.product_id}", was, now)


def _said(product: Product) -> State:
    """What the audit trail says of a product, in the words of the API."""
    return {
        "type": product.type,
        "sku": product.sku,
        "name": product.name,
        "barcode": product.barcode,
        "base_product_id": product.base_product_id,
        "components": _said_links(product.components),
        "variants": [
            {
                "sku": variant.sku,
                "attributes": [{"name": name, "value": value} for name, value in variant.attributes],
                "components": _said_links(variant.components),
            }
            for variant in product.variants
        ],
        "visibility": product.visibility,
    }


def _said_links(components: Iterable[Component]) -> list[dict[str, int]]:
    return [{"product_id": item.product_id, "quantity": item.quantity} for item in components]


async def _write(session: Session, statement: TextClause, products: Sequence[Product]) -> dict[int, int]:
    """Write the products' own rows with `statement`; `{id: version}` of those that were written."""
    rows = [
        {
            "product_id": item.product_id,
            "owner_id": item.owner_id,
            "type": item.type,
            "is_tracked": item.is_tracked,
            "is_unlinked": item.is_unlinked,
            "sku": item.sku,
            "title": item.name,
            "barcode": item.barcode,
            "base_product_id": item.base_product_id,
            "visibility": item.visibility if isinstance(item.visibility, str) else "listed",
            "visible_to": [] if isinstance(item.visibility, str) else item.visibility,
        }
        for item in products
    ]
    try:
        written = (await session.execute(statement, {"products": json.dumps(rows)})).all()
    except IntegrityError as error:
        if SKU_CONSTRAINT in str(error.orig):
            raise SkuTakenError(products) from error
        raise
    return {row.product_id: row.version for row in written}


async def _save_parts(session: Session, products: Sequence[Product], versions: Mapping[int, int]) -> dict[int, Product]:
    """Write variants (those whose SKU stays keep their id) and links, none of which may be there; publish; by id."""
    variants = [
        {
            "product_id": item.product_id,
            "sku": variant.sku,
            "attributes": [{"name": name, "value": value} for name, value in variant.attributes],
            "position": position,
        }
        for item in products
        for position, variant in enumerate(item.variants)
    ]
    rows = await session.execute(KEEP_VARIANTS, {"variants": json.dumps(variants)}) if variants else ()
    variant_ids = {(row.product_id, row.sku): row.variant_id for row in rows}
    saved = [
        replace(
            item,
            version=versions[item.product_id],
            variants=tuple(
                replace(variant, variant_id=variant_ids[item.product_id, variant.sku]) for variant in item.variants
            ),
        )
        for item in products
    ]
    components = [component for item in saved for component in _component_rows(item)]
    if components:
        numbered = [component | {"position": position} for position, component in enumerate(components)]
        await session.execute(ADD_COMPONENTS, {"components": json.dumps(numbered)})
    for item in saved:
        publish(session, told(item))
    return {item.product_id: item for item in saved}


def _component_rows(product: Product) -> list[dict[str, int | None]]:
    links: list[tuple[int | None, Component]] = [(None, component) for component in product.components]
    links += [(variant.variant_id, component) for variant in product.variants for component in variant.components]
    return [
        {
            "product_id": product.product_id,
            "variant_id": variant_id,
            "owner_id": product.owner_id,
            "base_stock_product_id": component.product_id,
            "quantity": component.quantity,
        }
        for variant_id, component in links
    ]


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
