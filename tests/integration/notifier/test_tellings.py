"""Who was told of a base stock product, and when, as the supplier and the retailers read it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from services.notifier.store.tellings import Telling, list_of_retailer, list_of_supplier
from tests.app import Client
from tests.integration.notifier.conftest import (
    RETAILER_A,
    RETAILER_B,
    SUPPLIER_A,
    WINDOW_SECONDS,
    Desk,
    connection,
    stock_at,
    stock_changed,
    stock_removed,
)
from tests.integration.notifier.running import ADMIN_KEY, Running, running_notifier
from tests.receiver import receiver

SHIRT = 100
SUPPLIER_B = 9


@pytest.fixture
async def notifier(database_dsn: str) -> AsyncIterator[Running]:
    async with running_notifier(database_dsn) as started:
        yield started


async def read_by_supplier(desk: Desk, supplier_id: int = SUPPLIER_A, *, after: int = 0) -> list[Telling]:
    async with desk.database.transaction() as session:
        return await list_of_supplier(session, SHIRT, supplier_id, after, 100)


async def read_by_retailer(desk: Desk, company_id: int | None = RETAILER_A) -> list[Telling]:
    async with desk.database.transaction() as session:
        return await list_of_retailer(session, SHIRT, company_id, 0, 100)


async def standing(desk: Desk) -> tuple[str, int | None, bool, bool]:
    """How the only endpoint stands, what it was told, whether that is current and whether it is told more."""
    (by_supplier,) = await read_by_supplier(desk)
    (by_retailer,) = await read_by_retailer(desk)
    told = [
        (one.state, one.told_at, one.told_available, one.is_current, one.next_at) for one in (by_supplier, by_retailer)
    ]
    assert told[0] == told[1], "both read the same"
    return by_supplier.state, by_supplier.told_available, by_supplier.is_current, by_supplier.next_at is not None


async def test_a_retailer_is_never_told_due_told_waiting_and_told_again(desk: Desk) -> None:
    async with receiver() as shop:
        assert await read_by_supplier(desk) == []
        await desk.register(shop)
        assert await read_by_supplier(desk) == [], "notifier has not heard of the product"
        await desk.hear_stock(stock_changed(SHIRT, 10, 1))
        assert await standing(desk) == ("never", None, False, False)
        await desk.fan_out()
        assert await standing(desk) == ("due", None, False, True)
        await desk.tell()
        assert await standing(desk) == ("told", 10, True, False)
        await desk.hear_stock(stock_changed(SHIRT, 7, 2, previous=10))
        assert await standing(desk) == ("told", 10, False, False), "not fanned out yet"
        await desk.tell()
        assert await standing(desk) == ("waiting", 10, False, True)
        await desk.move(WINDOW_SECONDS)
        assert await standing(desk) == ("due", 10, False, True)
        await desk.tell()
        assert await standing(desk) == ("told", 7, True, False)


async def test_it_says_who_cannot_hear(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        shop.answer_with(503)
        await desk.hear_stock(stock_changed(SHIRT, 10, 1))
        await desk.tell()
        assert await standing(desk) == ("failing", None, False, True)
        await desk.execute("update endpoints set state = 'disabled', reason = 'it failed'")
        assert await standing(desk) == ("failing", None, False, False)
        await desk.execute("update endpoints set state = 'paused', reason = null")
        assert await standing(desk) == ("paused", None, False, False)
        await desk.enable_all()
        await desk.execute("update endpoints set next_call_at = db_now() + interval '2 hours'")
        assert await standing(desk) == ("waiting", None, False, True), "it rests"


async def test_what_was_told_is_the_retailers_own_when_the_connection_has_ended(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        await desk.hear_stock(stock_changed(SHIRT, 10, 1))
        await desk.tell()
        for version, state in ((2, "paused"), (3, "ended")):
            await desk.hear_connections(connection(state, version))  # type: ignore[arg-type] # one of the states
            assert await read_by_supplier(desk) == []
            (own,) = await read_by_retailer(desk)
            assert (own.state, own.told_available, own.is_current, own.next_at) == ("paused", 10, False, None)
        await desk.hear_stock(stock_changed(SHIRT, 3, 2, previous=10))
        (later,) = await read_by_retailer(desk)
        assert replace(later, now=own.now, knows_all=own.knows_all) == own, "nor does it learn that something changed"
        assert not later.is_current


async def test_a_supplier_reads_one_of_each_retailer_and_a_retailer_all_of_its_own(desk: Desk) -> None:
    await desk.hear_connections(connection("active", 1, RETAILER_B))
    async with receiver() as quick, receiver() as silent:
        silent.answer_with(503)
        failing, hearing = await desk.register(silent), await desk.register(quick)
        other = await desk.register(quick, RETAILER_B)
        await desk.hear_stock(stock_changed(SHIRT, 10, 1))
        await desk.tell()
        assert [(one.endpoint_id, one.state) for one in await read_by_supplier(desk)] == [
            (hearing, "told"),
            (other, "told"),
        ]
        assert [one.endpoint_id for one in await read_by_retailer(desk)] == [failing, hearing]
        assert [one.endpoint_id for one in await read_by_retailer(desk, RETAILER_B)] == [other]
        assert [one.endpoint_id for one in await read_by_retailer(desk, None)] == [failing, hearing, other]
        assert [one.endpoint_id for one in await read_by_supplier(desk, after=RETAILER_A)] == [other]
        assert await read_by_supplier(desk, SUPPLIER_B) == []
        await desk.execute("update endpoints set state = 'paused' where endpoint_id = :hearing", hearing=hearing)
        assert [one.endpoint_id for one in await read_by_supplier(desk)] == [failing, other], "one that is called"


async def test_who_does_not_ask_for_the_product_is_not_listed(desk: Desk) -> None:
    async with receiver() as shop:
        endpoint_id = await desk.register(shop)
        await desk.hear_stock(stock_changed(SHIRT, 10, 1))
        await desk.ask_for(endpoint_id, product_ids=[101])
        assert await read_by_supplier(desk) == await read_by_retailer(desk) == []
        await desk.ask_anew(endpoint_id, product_ids=None)
        await desk.tell()
        assert await standing(desk) == ("told", 10, True, False)


@pytest.mark.parametrize("event_types", [None, ["variant_stock_delta.updated"]])
async def test_variants_are_told_by_location_and_shown_in_sum(desk: Desk, event_types: list[str] | None) -> None:
    async with receiver() as shop:
        endpoint_id = await desk.register(shop)
        await desk.ask_for(endpoint_id, format="variant_stock", window_seconds=0, event_types=event_types)
        await desk.hear_stock(stock_at(SHIRT, 1, {"main": 7, "north": 5}))
        await desk.tell()
        assert await standing(desk) == ("told", 12, True, False)
        await desk.hear_stock(stock_at(SHIRT, 2, {"main": 7, "north": 4}, previous=12))
        assert await standing(desk) == ("told", 12, False, False)
        await desk.tell()
        assert await standing(desk) == ("told", 11, True, False)
        await desk.hear_stock(stock_at(SHIRT, 3, {"main": 7, "north": 3, "south": 1}, previous=11))
        assert await standing(desk) == ("told", 11, False, False), "the sum is the same, its parts are not"
        await desk.tell()
        await desk.hear_stock(stock_removed(SHIRT, 4, previous=11))
        await desk.tell()
        assert (await standing(desk))[0] == "told"


async def test_it_is_answered_page_by_page_without_the_endpoint_to_its_supplier(notifier: Running) -> None:
    path = "/v1/tellings"
    async with (
        notifier.client(SUPPLIER_A) as supplier,
        notifier.client(RETAILER_A) as retailer,
        notifier.client(RETAILER_B) as other,
        Client(notifier.url, ADMIN_KEY) as admin,
        receiver() as shop,
    ):
        made = [(await retailer.post("/v1/webhook-endpoints", {"url": shop.url})).body for _ in range(2)]
        shop.secrets += [one["secret"] for one in made]
        await notifier.publish(stock_changed(SHIRT, 10, 1))
        await notifier.wait_for_rows(2, "select 1 from slots where not dirty and acked_version = 1")

        async def read(client: Client, **query: Any) -> Any:  # noqa: ANN401 - JSON
            answer = await client.get(path, params={"product_id": SHIRT, **query})
            assert answer.status == 200, answer.body
            return answer.body

        (to_supplier,) = (await read(supplier))["items"]
        first = await read(retailer, limit=1)
        second = await read(retailer, limit=1, cursor=first["next_cursor"])
        own = [*first["items"], *second["items"]]
        told = {
            "retailer_id": RETAILER_A,
            "format": "stock_level",
            "told_available": 10,
            "is_current": True,
            "next_at": None,
            "state": "told",
        }
        assert {key: value for key, value in to_supplier.items() if key != "told_at"} == told
        assert [one | told for one in own] == own
        assert [one["endpoint_id"] for one in own] == [one["id"] for one in made]
        assert second["next_cursor"] is None
        assert (await read(admin))["items"] == own
        nothing: dict[str, Any] = {"items": [], "next_cursor": None}
        assert await read(other) == await read(supplier, product_id=999) == nothing
        wrong = await supplier.get(path)
        assert (wrong.status, wrong.body["errors"][0]["field"]) == (422, "product_id")
