"""Checking the books: whether levels are what the ledger says, and what is held is what somebody holds.

Orders that are on their way are no drift: inventory saves an order's version, what it takes, its entries and the levels
in one transaction, and each chunk is read in one snapshot.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog
from prometheus_client import Counter, Gauge

from services.inventory.domain.checking import Drift, drifts_of, listing_drifts, total_drifts, version_drift
from services.inventory.domain.stock import DEFAULT_LOCATION, Cause, Stock
from services.inventory.record import record
from services.inventory.store import checking as store
from services.inventory.store import stock as stock_store
from services.inventory.store.listing import find_wrong_listings, renew_listings
from shared import clock
from shared.database import Database, Session
from shared.faults import is_infrastructure
from shared.service_context import Context

log = structlog.get_logger()

# Items read at once. Each chunk reads all open takings once, so few big ones are cheaper than many small ones.
CHUNK_ITEMS = 20_000
# One chunk at a time: a round over a million items takes four hours, and costs next to nothing.
PAUSE_SECONDS = 300
ORDERS_NAMED = 20
# For so many drifts of a chunk: each is a search of its own, and who has more will not look at them one by one.
DRIFTS_WITH_ORDERS = 100
DRIFTS_LOGGED = 20
# What items keep for their lists, and for nothing else: nobody is told of it.
FOR_LISTS = frozenset({"total", "listing"})
DRIFT_ITEMS = Gauge("basestock_stock_drift_items", "Items that did not add up in the last whole check of this process")
ROUNDS = Counter("basestock_stock_checks_total", "Checks of all items that this process has ended")


@dataclass(frozen=True, slots=True)
class Checked:
    """Some items that were checked, and what did not add up; `next_after` is the id to go on after, or null."""

    items: int
    drifts: Sequence[Drift]
    next_after: int | None


async def check_some(database: Database, supplier_id: int | None, after: int, limit: int = CHUNK_ITEMS) -> Checked:
    """Check the next `limit` items with ids above `after`, of this supplier or of all; changes nothing."""
    async with database.transaction() as session:
        await store.see_one_moment(session)
        product_ids = await store.find_items(session, supplier_id, after, limit)
        drifts = await _find(session, product_ids)
    return Checked(len(product_ids), drifts, product_ids[-1] if len(product_ids) == limit else None)


async def repair(database: Database, drifts: Sequence[Drift], actor: str) -> list[Drift]:
    """Make levels and versions anew from the ledger where these drifts say so; returns what was changed.

    What is found is looked at again under the lock of its item. Each repaired level gets an entry that changes no
    quantity and says what was and what is, so that it has a version of its own, which is told like any change. What is
    kept for lists follows from the levels and from the products: it is set, and there is nothing to tell.
    """
    repaired: list[Drift] = []
    for product_id in sorted({drift.product_id for drift in drifts if drift.repairable}):
        async with database.transaction() as session:
            repaired += await _repair_item(session, product_id, actor)
    return repaired


async def check_all_the_time(context: Context) -> None:
    """Worker: check all items, chunk after chunk, with a pause after each; says what it found as a metric and a log.

    What is kept for lists it makes right: that which a process of a version before has left behind.
    """
    after, drifting = 0, set[int]()
    while True:
        await clock.sleep(PAUSE_SECONDS)
        try:
            checked = await check_some(context.database, None, after, CHUNK_ITEMS)
            await repair(context.database, [one for one in checked.drifts if one.kind in FOR_LISTS], "system")
        except Exception as error:
            if not is_infrastructure(error):
                raise
            log.warning("stock_check_paused", error=str(error))
            continue
        drifting |= {drift.product_id for drift in checked.drifts}
        for drift in checked.drifts[:DRIFTS_LOGGED]:
            log.error("stock_drift", product_id=drift.product_id, location=drift.location, what=drift.what)
        after = checked.next_after or 0
        if not after:
            DRIFT_ITEMS.set(len(drifting))
            ROUNDS.inc()
            drifting.clear()


async def _find(session: Session, product_ids: Sequence[int]) -> list[Drift]:
    drifts = [drift for figures in await store.find_figures(session, product_ids) for drift in drifts_of(figures)]
    of_orders = [number for number, drift in enumerate(drifts) if drift.kind == "takings"]
    for number in of_orders[:DRIFTS_WITH_ORDERS]:
        drift = drifts[number]
        orders = await store.find_orders(session, drift.product_id, drift.location or "", ORDERS_NAMED)
        drifts[number] = replace(drift, orders=orders)
    # With its level a total is mended too.
    levels = {drift.product_id for drift in drifts if drift.kind == "level"}
    totals = [row for row in await store.find_totals(session, product_ids) if row[0] not in levels]
    drifts += [drift for row in totals for drift in total_drifts(*row)]
    drifts += [drift for row in await find_wrong_listings(session, product_ids) for drift in listing_drifts(*row)]
    versions = (version_drift(*row) for row in await store.find_versions(session, product_ids))
    return sorted(
        [*drifts, *(drift for drift in versions if drift is not None)],
        key=lambda drift: (drift.product_id, drift.location or ""),
    )


async def _repair_item(session: Session, product_id: int, actor: str) -> list[Drift]:
    stock = await stock_store.lock_stock(session, [product_id])
    item = stock.items[product_id]
    places = {None, *(location.code for location in stock.locations[item.supplier_id])}
    found = await _find(session, [product_id])
    drifts = [drift for drift in found if drift.repairable and drift.location in places]
    if any(drift.kind == "total" for drift in drifts):
        await store.set_totals(session, product_id, item.totals())
    if any(drift.kind == "listing" for drift in drifts):
        await renew_listings(session, [product_id])
    for drift in drifts:
        if drift.kind == "version":
            # Never back: what was told under the higher one would stay for ever.
            item.version = max(drift.stored, drift.expected)
            await store.set_versions(session, {product_id: item.version})
    by_location: dict[str, list[Drift]] = {}
    for drift in drifts:
        if drift.kind not in FOR_LISTS:
            by_location.setdefault(drift.location or DEFAULT_LOCATION, []).append(drift)
    for code, some in by_location.items():
        _restate(stock, product_id, code, some, actor)
    await record(session, stock)
    return drifts


def _restate(stock: Stock, product_id: int, code: str, drifts: Sequence[Drift], actor: str) -> None:
    locations = stock.locations[stock.items[product_id].supplier_id]
    location_id = next(location.location_id for location in locations if location.code == code)
    level = stock.level(product_id, location_id)
    told = []
    for drift in drifts:
        name = drift.what.partition(",")[0] if drift.kind == "level" else "version"
        if drift.kind == "level":
            setattr(level, name, drift.expected)
        told.append(f"{name} {drift.stored} -> {drift.expected}")
    cause = Cause("repaired", actor, "check", actor, ", ".join(told))
    stock.restate(product_id, location_id, cause)
