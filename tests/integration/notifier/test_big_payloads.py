"""One retailer's great lists: what a call leaves out, and that they make nobody else wait."""

import json

import pytest
from sqlalchemy import text

from services.notifier import claiming
from services.notifier.claiming import LINKED_LIMIT
from services.notifier.stock_level import CALL_BYTES
from shared.events.catalog import Component, Variant
from shared.linked_products import find_linked
from tests.integration.notifier.conftest import (
    RETAILER_A,
    RETAILER_B,
    SUPPLIER_A,
    Desk,
    connection,
    product,
    stock_changed,
)

MANY = LINKED_LIMIT + 200
FIRST_OF_A, FIRST_OF_B, FIRST_SHOWN = 100_000, 200_000, 50_000
STOCK_IDS = tuple(range(1000, 1100))


async def have_versions(desk: Desk, owner_id: int, first_id: int, count: int = MANY, base_id: int = 102) -> None:
    """The company has so many versions of this product."""
    for start in range(first_id, first_id + count, 1000):
        await desk.hear_products(
            *(
                product(
                    product_id,
                    f"V-{product_id}",
                    type="virtual",
                    owner_id=owner_id,
                    base_product_id=base_id,
                    visible_to="connected" if owner_id == SUPPLIER_A else "private",
                )
                for product_id in range(start, min(start + 1000, first_id + count))
            )
        )
    await desk.execute("analyze products")


async def have_a_hundred_sizes(desk: Desk) -> None:
    """Product 999 of Supplier A has a hundred sizes, each with a stock of its own."""
    sizes = tuple(
        Variant(variant_id=stock_id, sku=f"S-{stock_id}", components=(Component(product_id=stock_id, quantity=1),))
        for stock_id in STOCK_IDS
    )
    await desk.hear_products(
        *(product(stock_id, f"S-{stock_id}") for stock_id in STOCK_IDS),
        product(999, "SIZES", type="customisable", variants=sizes),
    )


async def told(desk: Desk) -> list[dict[str, object]]:
    """The items of the one call that is due."""
    (call,) = await desk.claim()
    assert len(call.body) <= CALL_BYTES
    items: list[dict[str, object]] = json.loads(call.body)["stock"]
    assert len(items) == len(call.slots)
    return items


def ids_of(item: dict[str, object]) -> list[int]:
    """The ids that it links, without the base stock product."""
    linked: list[dict[str, dict[str, int]]] = item["linked"]  # type: ignore[assignment] # JSON
    return [part["product"]["id"] for part in linked[1:]]


class TestLists:
    async def test_a_list_ends_at_the_limit_and_says_so(self, desk: Desk) -> None:
        await have_versions(desk, RETAILER_A, FIRST_OF_A)
        await desk.register_url("http://a.example/x", RETAILER_A)
        await desk.hear_stock(stock_changed(100, 5, 1), stock_changed(200, 5, 1))
        await desk.fan_out()
        great, small = await told(desk)
        assert ids_of(great) == [300, *range(FIRST_OF_A, FIRST_OF_A + LINKED_LIMIT - 1)]
        assert great["linked_more"] is True
        assert "linked_more" not in small

    async def test_just_so_many_are_all_of_them(self, desk: Desk) -> None:
        await have_versions(desk, RETAILER_A, FIRST_OF_A, LINKED_LIMIT - 1)
        await desk.register_url("http://a.example/x", RETAILER_A)
        await desk.hear_stock(stock_changed(100, 5, 1))
        await desk.fan_out()
        (item,) = await told(desk)
        assert len(ids_of(item)) == LINKED_LIMIT
        assert "linked_more" not in item

    async def test_its_own_are_told_before_those_of_the_supplier(self, desk: Desk) -> None:
        await have_versions(desk, SUPPLIER_A, FIRST_SHOWN)
        await have_versions(desk, RETAILER_A, FIRST_OF_A, 5, base_id=FIRST_SHOWN + MANY - 1)
        await desk.register_url("http://a.example/x", RETAILER_A)
        await desk.hear_stock(stock_changed(100, 5, 1))
        await desk.fan_out()
        (item,) = await told(desk)
        shown = range(FIRST_SHOWN, FIRST_SHOWN + LINKED_LIMIT - 6)
        assert ids_of(item) == [300, *shown, *range(FIRST_OF_A, FIRST_OF_A + 5)]
        assert item["linked_more"] is True

    async def test_polling_finds_all_of_them(self, desk: Desk) -> None:
        await have_versions(desk, RETAILER_A, FIRST_OF_A)
        async with desk.database.transaction() as session:
            found = (await find_linked(session, {(RETAILER_A, 100)}))[RETAILER_A, 100]
        assert (len(found.parts), found.more) == (MANY + 1, False)


async def products_read(desk: Desk, company_id: int) -> tuple[list[int], int]:
    """What the company is told to draw on product 100, and how many rows of products were read for that."""
    async with desk.database.transaction() as session:
        # As if the table were too large to be read whole.
        for way in ("seqscan", "hashjoin", "mergejoin"):
            await session.execute(text(f"set local enable_{way} = off"))
        found = await find_linked(session, {(company_id, 100)}, LINKED_LIMIT)
        read = await session.execute(
            text("""
                select seq_tup_read + idx_tup_fetch from pg_stat_xact_user_tables
                where schemaname = 'notifier' and relname = 'products'
            """)
        )
        return [part.product_id for part in found[company_id, 100].parts], read.scalar_one()


class TestWalk:
    async def test_versions_of_another_company_are_not_even_read(self, desk: Desk) -> None:
        await desk.hear_connections(connection("active", 1, RETAILER_B))
        await have_versions(desk, RETAILER_B, FIRST_OF_B, 5000)
        found, read = await products_read(desk, RETAILER_A)
        assert found == [300]
        assert read < 100, "the seeds, not the 5000 of Retailer B"

    async def test_versions_on_top_of_the_suppliers_own_versions_are_found(self, desk: Desk) -> None:
        await desk.hear_products(
            product(400, "T01-NEW", type="virtual", base_product_id=102),
            product(401, "T01-NEWER", type="virtual", base_product_id=400),
            product(500, "MINE", type="virtual", owner_id=RETAILER_A, base_product_id=401),
            product(501, "MINE-GIFT", type="virtual", owner_id=RETAILER_A, base_product_id=500),
        )
        assert (await products_read(desk, RETAILER_A))[0] == [300, 500, 501]
        assert (await products_read(desk, RETAILER_B))[0] == []


class TestCalls:
    async def test_what_does_not_fit_into_one_call_comes_in_the_next(self, desk: Desk) -> None:
        await have_a_hundred_sizes(desk)
        await have_versions(desk, RETAILER_A, FIRST_OF_A, 300, base_id=999)
        await desk.register_url("http://a.example/x", RETAILER_A)
        await desk.hear_stock(*(stock_changed(stock_id, 5, 1) for stock_id in STOCK_IDS))
        await desk.fan_out()
        heard: list[object] = []
        while len(heard) < len(STOCK_IDS):
            items = await told(desk)
            assert 1 <= len(items) < len(STOCK_IDS)
            heard += [item["linked"][0]["product"]["id"] for item in items]  # type: ignore[index] # JSON
            await desk.execute("update slots set lease_id = null, lease_until = null")
        assert heard == list(STOCK_IDS)


class TestClaims:
    @pytest.mark.parametrize("bound", ["CLAIM_BYTES", "CLAIM_LINKED", "CLAIM_SLOTS"])
    async def test_a_claim_ends_when_it_has_done_enough_and_the_next_goes_on_there(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch, bound: str
    ) -> None:
        monkeypatch.setattr(claiming, bound, 1)
        monkeypatch.setattr(claiming, "LOOKED_UP_AT_ONCE", 1)
        endpoints = [await desk.register_url("http://a.example/x", RETAILER_A) for _ in range(3)]
        for endpoint_id, stock_id in zip(endpoints, (100, 101, 200), strict=True):
            await desk.ask_for(endpoint_id, product_ids=[stock_id])
        await desk.hear_stock(*(stock_changed(stock_id, 5, 1) for stock_id in (100, 101, 200)))
        await desk.fan_out()
        after = 0
        for endpoint_id in endpoints:
            claimed = await claiming.claim(desk.database, desk.settings, after, 1000)
            assert [call.endpoint.endpoint_id for call in claimed.calls] == [endpoint_id]
            assert claimed.may_find_more == (endpoint_id != endpoints[-1])
            after = claimed.last_endpoint_id
        assert after == 0, "the last one ended the round"
        assert not await desk.claim()

    async def test_a_retailer_with_great_lists_and_many_endpoints_does_not_fill_a_claim(self, desk: Desk) -> None:
        await have_a_hundred_sizes(desk)
        await have_versions(desk, RETAILER_A, FIRST_OF_A, base_id=999)
        await desk.hear_connections(connection("active", 1, RETAILER_B))
        great = [await desk.register_url("http://a.example/x", RETAILER_A) for _ in range(3)]
        small = await desk.register_url("http://b.example/x", RETAILER_B)
        await desk.hear_stock(*(stock_changed(stock_id, 5, 1) for stock_id in STOCK_IDS[:30]))
        await desk.fan_out()
        first = await claiming.claim(desk.database, desk.settings, 0, 1000)
        second = await claiming.claim(desk.database, desk.settings, first.last_endpoint_id, 1000)
        assert [call.endpoint.endpoint_id for call in first.calls] == great
        assert [call.endpoint.endpoint_id for call in second.calls] == [small]
        assert len(second.calls[0].slots) == 30
