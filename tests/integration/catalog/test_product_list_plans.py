"""Every list of products finds its way by an index: at 20,000 products PostgreSQL reads none of them in vain."""

from bench.catalog_lists import ADMIN, CASES, FILL, RETAILER, Case, deep_position, indexes_in, plan_of
from bench.servers import filled

PRODUCTS = 20_000
WORDS = {"ix_products_words", "ix_products_sku_key"}
# What must be in the plan, for each filter.
FILTERS: dict[str, set[str]] = {
    "sku": {"ix_products_sku_key"},
    "barcode": {"ix_products_barcode"},
    "name": {"ix_products_words"},
    "q": WORDS,
    "linked_to": {"ix_components_base_stock_product_id", "ix_products_base_product_id"},
    "unlinked": {"ix_products_unlinked"},
}
ADMINS = {"id": {"pk_products"}, "sku": {"ix_products_sku_key"}, "name": {"ix_products_name_key"}}


def expected(case: Case) -> set[str]:
    """The indexes that the plan of this list must use."""
    for name, indexes in FILTERS.items():
        if getattr(case.wanted, name):
            return indexes
    if case.company_id is ADMIN and case.wanted.owner_id is None:
        return {"ix_products_type"} if case.wanted.type and case.sort == "id" else ADMINS[case.sort]
    return {f"ix_products_shelf_{case.sort}"}


def is_expected(case: Case, used: set[str]) -> bool:
    """Whether a list's plan is the one that was meant."""
    # A retailer sees so little that looking through it may be cheaper than looking for a word in all products: its own
    # (of one type) and what is shown to it.
    own = "uq_products_owner_id_type_sku" if case.wanted.type else "ix_products_shelf_sku"
    looked_through = {own, "ix_products_visible_to"}
    return expected(case) <= used or (
        case.company_id == RETAILER and case.wanted.q is not None and looked_through <= used
    )


async def test_no_list_reads_all_products(database_dsn: str) -> None:
    wrong = []
    async with filled("catalog", FILL, database_dsn, PRODUCTS) as database, database.transaction() as session:
        for case in CASES:
            for after in (None, await deep_position(session, case)):
                plan = await plan_of(session, case, after)
                if not is_expected(case, set(indexes_in(plan))):
                    wrong.append(f"{case} after {after}: {indexes_in(plan)}, not {expected(case)}")
                wrong += [
                    f"{case} after {after}: {node['Node Type']}"
                    for node in plan
                    if node["Node Type"] == "Seq Scan" and node["Relation Name"] in {"products", "components"}
                ]
    assert not wrong, "\n".join(wrong)
