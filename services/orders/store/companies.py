"""SQL over the copies of companies and connections."""

from collections.abc import Collection

from sqlalchemy import text

from shared.database import Session

COMPANY_IDS = text("select company_id from companies where company_id = any(cast(:ids as bigint[]))")
CONNECTED_SUPPLIERS = text("""
    select retailer_id, supplier_id from connections
    where retailer_id = any(cast(:retailer_ids as bigint[])) and (state = 'active' or :also_ended)
""")


async def find_unknown_companies(session: Session, company_ids: Collection[int]) -> set[int]:
    """Which of these ids are no companies known here."""
    rows = await session.execute(COMPANY_IDS, {"ids": sorted(company_ids)})
    return set(company_ids) - {row.company_id for row in rows}


async def find_suppliers(
    session: Session, retailer_ids: Collection[int], *, also_ended: bool = False
) -> dict[int, set[int]]:
    """`{retailer: suppliers with which it has an active connection}`, with an entry for each retailer.

    With `also_ended` those with which it ever had one.
    """
    suppliers: dict[int, set[int]] = {retailer_id: set() for retailer_id in retailer_ids}
    parameters = {"retailer_ids": sorted(suppliers), "also_ended": also_ended}
    for row in await session.execute(CONNECTED_SUPPLIERS, parameters):
        suppliers[row.retailer_id].add(row.supplier_id)
    return suppliers
