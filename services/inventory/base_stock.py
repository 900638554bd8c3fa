"""Which base stock a supplier's system means by a SKU or an id, or by a variant of it."""

import re
from collections.abc import Collection, Mapping, Sequence

from services.inventory.domain.external_imports import Candidate, Found, Key, choose
from services.inventory.links import find_known_links
from services.inventory.store import external_imports as store
from shared.catalog_view import Link, wait_for_products
from shared.database import Session

# As ids are written: 0001 is a SKU.
ID = re.compile(r"[1-9][0-9]{0,18}", re.ASCII)
ID_LIMIT = 2**63


async def find_base_stock(session: Session, supplier_id: int, keys: Collection[Key]) -> dict[Key, Found]:
    """Where each key leads, as far as it is known now: a SKU of the supplier's before an id (rule 9)."""
    products = await _find_products(session, supplier_id, {product for product, _ in keys})
    meant = {(product_id, variant) for product, variant in keys for product_id in products.get(product, ())}
    links = await find_known_links(session, meant | {(product_id, "") for product_id, _ in meant})
    return {
        (product, variant): choose(
            [_candidate(links, product_id, variant) for product_id in products.get(product, ())], supplier_id, variant
        )
        for product, variant in keys
    }


async def find_base_stock_or_wait(session: Session, supplier_id: int, keys: Collection[Key]) -> dict[Key, Found]:
    """The same; products that one of them waits for stay locked until the transaction ends.

    Who keeps a value must hold the supplier's lock of `store.pending_values` as well: a key that nobody has is no row.
    """
    found = await find_base_stock(session, supplier_id, keys)
    locked: set[int] = set()
    while missing := {one.waits_for for one in found.values() if one.waits_for is not None} - locked:
        await wait_for_products(session, missing)
        locked |= missing
        found |= await find_base_stock(session, supplier_id, [key for key, one in found.items() if one.is_open])
    return found


async def _find_products(session: Session, supplier_id: int, names: Collection[str]) -> dict[str, Sequence[int]]:
    """The supplier's products that each name may mean: those of that SKU, else the one of that id."""
    found: dict[str, Sequence[int]] = {**await store.find_by_sku(session, supplier_id, names)}
    ids = {name: int(name) for name in names if name not in found and ID.fullmatch(name) and int(name) < ID_LIMIT}
    own = await store.find_by_id(session, supplier_id, ids.values()) if ids else set()
    return found | {name: [product_id] for name, product_id in ids.items() if product_id in own}


def _candidate(links: Mapping[tuple[int, str], Link], product_id: int, variant: str) -> Candidate:
    link = links[product_id, variant]
    return Candidate(
        link.supplier_id,
        link.end_id,
        link.components,
        link.removed,
        link.waits_for,
        # Its owner is known, so what is missing is a variant, or the name of one.
        lacks_variant=link.waits_for is not None and link.owner_id is not None and not link.components,
        has_no_variants=bool(links[product_id, ""].components),
    )
