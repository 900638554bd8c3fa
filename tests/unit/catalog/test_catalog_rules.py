"""The seeds' catalogue, and everything rules 1-9 refuse."""

from dataclasses import replace

import pytest

from services.catalog import domain
from services.catalog.domain import (
    Component,
    Dependant,
    Facts,
    Known,
    Product,
    Variant,
    Violation,
    connection_violations,
    dependants_in_words,
    violations,
)
from shared import catalog_view
from shared.events.catalog import CompanyRole, ProductType

SUPPLIER, OTHER_SUPPLIER, RETAILER = 1, 2, 3

KNOWN = {
    100: Known(SUPPLIER, "stock"),
    101: Known(SUPPLIER, "stock"),
    102: Known(SUPPLIER, "customisable"),
    200: Known(SUPPLIER, "stock"),
    202: Known(SUPPLIER, "stock_customisable"),
    300: Known(RETAILER, "virtual"),
    900: Known(OTHER_SUPPLIER, "stock"),
}


def facts(
    owner_role: CompanyRole | None = "supplier",
    chain: tuple[int, ...] = (),
    levels_below: int = 0,
    connected: frozenset[int] = frozenset(),
) -> Facts:
    return Facts(owner_role, KNOWN, chain, levels_below, connected)


def product(product_id: int, product_type: ProductType, sku: str = "S7") -> Product:
    return Product(owner_id=SUPPLIER, type=product_type, sku=sku, name="A thing", product_id=product_id)


def linked(variant_sku: str, *targets: int) -> Variant:
    return Variant(variant_sku, (("Size", variant_sku),), tuple(Component(target) for target in targets))


T_SHIRT = replace(
    product(102, "customisable", "T01"),
    variants=(
        Variant("T01-S", (("Size", "Small"),), (Component(100),)),
        Variant("T01-L", (("Size", "Large"),), (Component(101),)),
    ),
)
PHONE_CASE = replace(product(201, "customisable"), components=(Component(200),))
OWN_VERSION = replace(product(300, "virtual", "T01"), owner_id=RETAILER, base_product_id=102)
AS_RETAILER = facts("retailer", chain=(102,), connected=frozenset({SUPPLIER}))


def fields(found: list[Violation]) -> list[str]:
    return [violation.field for violation in found]


@pytest.mark.parametrize(
    "allowed",
    [
        product(100, "stock", "T01-S"),
        product(101, "stock", "T01-L"),
        T_SHIRT,
        product(200, "stock"),
        PHONE_CASE,
        product(202, "stock_customisable"),
    ],
    ids=str,
)
def test_the_products_of_supplier_a_in_the_article_are_allowed(allowed: Product) -> None:
    assert violations(allowed, facts()) == []


def test_retailer_a_may_have_its_own_version_of_the_suppliers_t_shirt() -> None:
    assert violations(OWN_VERSION, AS_RETAILER) == []


def test_only_types_that_include_stock_are_tracked() -> None:
    tracked = {kind for kind in ("stock", "stock_customisable") if product(1, kind).is_tracked}
    untracked = {kind for kind in ("customisable", "configurable_stock", "virtual") if not product(1, kind).is_tracked}

    assert (len(tracked), len(untracked)) == (2, 3)


@pytest.mark.parametrize("kind", ["stock", "stock_customisable"])
def test_stock_has_neither_variants_nor_a_base_stock_product(kind: ProductType) -> None:
    with_variants = replace(product(100, kind), variants=(linked("S", 200),))
    with_link = replace(product(100, kind), components=(Component(200),))

    assert fields(violations(with_variants, facts())) == ["variants"]
    assert violations(with_link, facts()) == [
        Violation("base_stock_product_id", f"product 100 is {kind} and cannot have a base stock product: it is one")
    ]


def test_a_customisable_product_links_itself_or_its_variants_but_not_both() -> None:
    both = replace(PHONE_CASE, variants=(linked("S", 100),))

    assert violations(both, facts()) == [
        Violation("base_stock_product_id", "product 201 cannot have both variants and a base stock product")
    ]


def test_a_half_linked_product_is_refused_and_the_unlinked_variant_is_named() -> None:
    half = replace(T_SHIRT, variants=(linked("T01-S", 100), linked("T01-L")))

    assert violations(half, facts()) == [
        Violation(
            "variants[1].base_stock_product_id",
            "variant 'T01-L' of product 102 has no base stock product: link all variants or none",
        )
    ]


@pytest.mark.parametrize("variants", [(), (linked("S"), linked("L"))], ids=["no variants", "two variants"])
def test_a_customisable_product_without_any_link_is_untracked_not_wrong(variants: tuple[Variant, ...]) -> None:
    unlinked = replace(product(201, "customisable"), variants=variants)

    assert violations(unlinked, facts()) == []
    assert all(part.components == () for part in unlinked.parts)


def test_configurable_stock_has_variants_and_each_has_its_stock_product() -> None:
    shirt = product(103, "configurable_stock", "T02")

    assert violations(replace(shirt, variants=(linked("S", 100), linked("L", 101))), facts()) == []
    assert fields(violations(shirt, facts())) == ["variants"]
    assert fields(violations(replace(shirt, variants=(linked("S", 100), linked("L"))), facts())) == [
        "variants[1].base_stock_product_id"
    ]
    assert fields(violations(replace(shirt, variants=(linked("S"), linked("L"))), facts())) == [
        "variants[0].base_stock_product_id",
        "variants[1].base_stock_product_id",
    ]
    assert fields(violations(replace(shirt, variants=(linked("S", 100),), components=(Component(200),)), facts())) == [
        "base_stock_product_id"
    ]


def test_variants_of_configurable_stock_never_share_a_stock_product_but_customisable_ones_may() -> None:
    shirt = replace(product(103, "configurable_stock", "T02"), variants=(linked("S", 100), linked("M", 100)))
    kits = replace(shirt, variants=(linked("S", 100, 200), linked("M", 101, 200)))

    assert violations(shirt, facts()) == [
        Violation(
            "variants[1].base_stock_product_id",
            "variants 'S' and 'M' of product 103 share the stock product 100: "
            "each variant of configurable_stock needs its own",
        )
    ]
    assert fields(violations(kits, facts())) == ["variants[1].components[1].product_id"]
    assert violations(replace(shirt, type="customisable"), facts()) == []


def test_a_virtual_product_takes_everything_from_its_base() -> None:
    own_things = replace(OWN_VERSION, owner_id=SUPPLIER, variants=(linked("S", 100),), components=(Component(100),))

    assert fields(violations(own_things, facts(chain=(102,)))) == ["variants", "base_stock_product_id"]
    assert fields(violations(replace(OWN_VERSION, base_product_id=None), AS_RETAILER)) == ["base_product_id"]


def test_only_virtual_products_have_a_base_product() -> None:
    assert violations(replace(PHONE_CASE, base_product_id=102), facts()) == [
        Violation("base_product_id", "product 201 is customisable: only virtual products have a base product")
    ]


def test_a_kit_draws_several_base_stock_products_each_named_once() -> None:
    kit = replace(product(400, "customisable"), components=(Component(100, 2), Component(200)))
    twice = replace(kit, components=(Component(100, 2), Component(100)))

    assert violations(kit, facts()) == []
    assert domain.plain_target(kit.components) is None
    assert fields(violations(twice, facts())) == ["components"]


def test_a_link_leads_to_tracked_stock() -> None:
    to_a_t_shirt = replace(PHONE_CASE, components=(Component(102),))
    to_the_shortcut = replace(PHONE_CASE, components=(Component(202),))

    assert violations(to_a_t_shirt, facts()) == [
        Violation(
            "base_stock_product_id",
            "product 102 cannot be a base stock product: it is customisable, not stock or stock_customisable",
        )
    ]
    assert violations(to_the_shortcut, facts()) == []


def test_a_product_of_another_supplier_looks_like_one_that_does_not_exist() -> None:
    foreign, unknown = (
        violations(replace(PHONE_CASE, components=(Component(100), Component(target))), facts())
        for target in (900, 901)
    )

    assert fields(foreign) == fields(unknown) == ["components[1].product_id"]
    assert foreign[0].sentence.replace("900", "901") == unknown[0].sentence


def test_a_product_cannot_be_its_own_base_stock_product() -> None:
    assert violations(replace(PHONE_CASE, components=(Component(201),)), facts()) == [
        Violation("base_stock_product_id", "product 201 cannot be its own base stock product")
    ]


def test_variants_and_their_attributes_are_told_apart_by_case_sensitive_names() -> None:
    twins = replace(T_SHIRT, variants=(linked("S", 100), linked("s", 101), linked("S", 101)))
    two_sizes = replace(T_SHIRT, variants=(replace(linked("S", 100), attributes=(("Size", "S"), ("Size", "M"))),))

    assert violations(twins, facts()) == [Violation("variants[2].sku", "product 102 has two variants with SKU 'S'")]
    assert violations(two_sizes, facts()) == [
        Violation("variants[0].attributes", "variant 'S' of product 102 has two values of 'Size'")
    ]


def test_a_retailer_owns_only_virtual_products() -> None:
    assert fields(violations(replace(product(301, "stock"), owner_id=RETAILER), facts("retailer"))) == ["type"]


def test_a_retailer_bases_its_versions_on_products_of_connected_suppliers_only() -> None:
    unconnected = violations(OWN_VERSION, facts("retailer", chain=(102,)))
    unknown = violations(OWN_VERSION, facts("retailer"))

    assert fields(unconnected) == ["base_product_id"]
    assert unconnected == unknown


def test_a_supplier_bases_virtual_products_on_its_own_only() -> None:
    on_a_retailers = replace(product(301, "virtual"), base_product_id=300)

    assert fields(violations(on_a_retailers, facts(chain=(300, 102), connected=frozenset({RETAILER})))) == [
        "base_product_id"
    ]


def test_no_product_is_based_on_itself_even_through_others() -> None:
    direct = replace(OWN_VERSION, base_product_id=300)
    through_301 = replace(OWN_VERSION, base_product_id=301)

    for wrong, chain in ((direct, (300, 102)), (through_301, (301, 300, 102))):
        assert violations(wrong, facts("retailer", chain=chain)) == [
            Violation(
                "base_product_id",
                "product 300 cannot be based on itself, directly or through other virtual products",
            )
        ]


@pytest.mark.parametrize(("below", "refused"), [(0, []), (1, ["base_product_id"])])
def test_chains_of_virtual_products_end_at_eight_whichever_end_grows(below: int, refused: list[str]) -> None:
    known = {item: Known(SUPPLIER, "virtual") for item in range(501, 508)} | KNOWN
    eighth = replace(product(508, "virtual"), base_product_id=507)
    chain = (*range(507, 500, -1), 102)

    assert fields(violations(eighth, Facts("supplier", known, chain, below))) == refused
    assert domain.VIRTUAL_DEPTH_LIMIT == catalog_view.VIRTUAL_DEPTH_LIMIT == 8


def test_an_ended_connection_does_not_block_a_new_name() -> None:
    renamed = replace(OWN_VERSION, name="Our T-shirt", version=1)
    rebased = replace(renamed, base_product_id=201)

    assert violations(renamed, facts("retailer", chain=(102,)), OWN_VERSION) == []
    assert fields(violations(rebased, facts("retailer", chain=(201,)), OWN_VERSION)) == ["base_product_id"]


def test_a_product_is_shown_to_connected_retailers_only() -> None:
    shown = replace(PHONE_CASE, visibility=(RETAILER, 4))
    connected = facts(connected=frozenset({RETAILER}))

    assert fields(violations(shown, connected)) == ["visibility[1]"]
    assert violations(replace(shown, name="Case"), facts(), shown) == []


def test_a_retailer_sees_itself_only_among_those_a_product_is_shown_to() -> None:
    shown = replace(PHONE_CASE, visibility=(RETAILER, 4))

    assert domain.as_seen_by(shown, RETAILER) == replace(shown, visibility=(RETAILER,))
    assert domain.as_seen_by(shown, SUPPLIER) == domain.as_seen_by(shown, None) == shown
    for_all = replace(shown, visibility="connected")
    assert domain.as_seen_by(for_all, RETAILER) == for_all


def test_an_owner_must_exist() -> None:
    assert violations(PHONE_CASE, facts(None)) == [Violation("owner_id", "there is no company 1")]


def test_who_removes_a_linked_product_sees_its_own_and_a_count_of_others() -> None:
    dependants = [
        Dependant(102, SUPPLIER, "T01", "links to it"),
        Dependant(300, RETAILER, "T01", "is virtual and based on it"),
    ]

    assert dependants_in_words(dependants, SUPPLIER) == (
        "product 102 (T01), 1 product of other companies",
        [Violation("products[102]", "product 102 links to it")],
    )
    assert dependants_in_words(dependants, None)[0] == "product 102 (T01), product 300 (T01)"
    many = [Dependant(item, SUPPLIER, "X", "links to it") for item in range(12)]
    assert dependants_in_words(many, SUPPLIER)[0].endswith("product 9 (X), 2 more of them")


def test_a_connection_joins_a_supplier_and_a_retailer() -> None:
    assert connection_violations("supplier", "retailer") == []
    assert connection_violations("retailer", None) == [
        Violation("supplier_id", "this company is a retailer, not a supplier"),
        Violation("retailer_id", "there is no such retailer"),
    ]
