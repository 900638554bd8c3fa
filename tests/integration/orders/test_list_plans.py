"""Every list of orders finds its way by an index: at 50,000 orders PostgreSQL reads none of them in vain."""

from bench.order_lists import CASES, FILL, deep, plan_of
from bench.servers import filled

ORDERS = 50_000
# What brings the few of these lists, one of them.
NEEDED = {
    "external_ref": {"uq_orders_external_ref_seller_id"},
    "product, of one small seller": {"ix_order_lines_product_id_order_id"},
    "status, none": {
        "ix_orders_status_order_id",
        "ix_orders_seller_id_status_order_id",
        "ix_order_parts_supplier_id_status_order_id",
    },
}


async def test_no_list_reads_all_orders(database_dsn: str) -> None:
    wrong = []
    async with filled("orders", FILL, database_dsn, ORDERS) as database, database.transaction() as session:
        for case in CASES:
            for filters in (case.filters, deep(case.filters, ORDERS)):
                plan = await plan_of(session, filters)
                wrong += [f"{case.what}: {node['Relation Name']}" for node in plan if node["Node Type"] == "Seq Scan"]
                used = {node.get("Index Name") for node in plan}
                wrong += [
                    f"{case.what}: {sorted(map(str, used))} without one of {sorted(indexes)}"
                    for what, indexes in NEEDED.items()
                    if case.what.endswith(f": {what}") and not indexes & used
                ]
    assert not wrong, "\n".join(wrong)
