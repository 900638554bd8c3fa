"""Whether a service's copy of the catalog says what catalog's own tables say: both lie in one database here."""

from tests.end_to_end.system import eventually, rows_of

COPIES = ("orders", "inventory", "notifier")
COMPARED = {
    "companies": ("select company_id, ref, display_name, role, oversell_policy, version from {}.companies",) * 2,
    "api_keys": (
        "select key_id, key_sha256, company_id, role, scopes, expires_at, revoked_at, version from {}.api_keys",
    )
    * 2,
    "connections": (
        """select connection_id, supplier_id, retailer_id, external_ref, default_location, state, version
           from {}.connections""",
    )
    * 2,
    "removals": (
        "select product_id, owner_id, version from {}.products where removed_at is not null",
        "select product_id, owner_id, version from {}.products where removed",
    ),
    "products": (
        """select product_id, owner_id, type, sku, title, barcode, base_product_id, visibility, visible_to, version
           from {}.products where removed_at is null""",
        """select product_id, owner_id, type, sku, title, barcode, base_product_id, visibility, visible_to, version
           from {}.products where not removed and version > 0""",
    ),
    "parts": (
        """
        select p.product_id, coalesce(v.sku, ''), v.variant_id, coalesce(v.attributes, '[]'),
            case when p.is_tracked then array[p.product_id] else coalesce(
                array_agg(c.base_stock_product_id order by c.component_id) filter (where c.component_id > 0), '{{}}')
            end,
            case when p.is_tracked then array[1] else coalesce(
                array_agg(c.quantity order by c.component_id) filter (where c.component_id > 0), '{{}}') end
        from {0}.products p left join {0}.variants v on v.product_id = p.product_id
        left join {0}.components c on c.product_id = p.product_id and c.variant_id is not distinct from v.variant_id
        where p.removed_at is null and p.type <> 'virtual' group by p.product_id, v.variant_id
        """,
        """
        select p.product_id, t.variant_sku, t.variant_id, t.attributes, t.component_ids, t.quantities
        from {0}.products p join {0}.product_parts t on t.product_id = p.product_id
        where not p.removed and p.version > 0
        """,
    ),
}


async def differences(dsn: str, service: str) -> list[str]:
    """Rows that only one of the two has."""
    found = []
    for what, (own, copied) in COMPARED.items():
        source, copy = own.format("catalog"), copied.format(service)
        for side, query in (
            ("only catalog", f"({source}) except ({copy})"),
            ("only the copy", f"({copy}) except ({source})"),
        ):
            found += [f"{what}, {side}: {tuple(row)}" for row in await rows_of(dsn, service, query)]
    return found


async def until_whole(dsn: str, *services: str) -> None:
    """Wait until these services' copies say what catalog says."""
    for service in services:

        async def whole(service: str = service) -> bool:
            return not await differences(dsn, service)

        try:
            await eventually(f"the copy in {service} is whole", whole)
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *await differences(dsn, service)])) from None
