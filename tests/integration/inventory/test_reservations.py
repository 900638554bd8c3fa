"""Units that are reserved are there for who reserved them, are counted once, and come back when their time is over."""

import asyncio
from typing import Any, ClassVar
from uuid import UUID

import pytest

from services.inventory import reserving
from services.inventory.handlers import move_stock
from services.inventory.reserving import NewReservation, WantedLine
from services.inventory.store import reservations as store
from shared.errors import ProblemError
from shared.events.catalog import ProductRemoved
from shared.events.inventory import OrderAllocated, OrderShort, StockChanged
from tests.integration.inventory.callers import FOREIGN, Callers
from tests.integration.inventory.test_inventory_races import until_somebody_waits
from tests.integration.inventory.world import (
    CONNECTION,
    RETAILER,
    STRANGER,
    SUPPLIER,
    Asked,
    World,
    amended,
    cancelled,
    line,
    order,
)

REF = "X-1"


async def reserve(world: World, *asked: Asked, seller_id: int = RETAILER, location: str | None = None) -> UUID:
    """Reserve `(product id, variant, quantity)` lines for ten minutes."""
    lines = [
        WantedLine(product_id=one, variant_sku=sku, quantity=units, location=location) for one, sku, units in asked
    ]
    async with world.database.transaction() as session:
        return await reserving.reserve(session, seller_id, NewReservation(lines=lines))


async def confirm(world: World, reservation_id: UUID, external_ref: str = REF) -> None:
    async with world.database.transaction() as session:
        await reserving.confirm(session, RETAILER, reservation_id, external_ref)


async def release(world: World, reservation_id: UUID) -> None:
    async with world.database.transaction() as session:
        await reserving.release(session, RETAILER, reservation_id)


async def sweep(world: World, limit: int = 100) -> int:
    async with world.database.transaction() as session:
        return await reserving.expire(session, limit)


async def kept(world: World, product_id: int = 100, code: str = "main") -> tuple[int, int]:
    """On hand and reserved of a product at a location."""
    (found,) = await world.rows(f"""
        select v.on_hand, v.reserved from stock_levels v join locations l using (location_id)
        where v.product_id = {product_id} and l.code = '{code}'
    """)
    return int(found[0]), int(found[1])


async def state_of(world: World, reservation_id: UUID) -> str:
    ((state,),) = await world.rows(f"select state from reservations where reservation_id = '{reservation_id}'")
    return str(state)


async def kinds(world: World, product_id: int = 100) -> list[tuple[str, int, int]]:
    """`(kind, change of on hand, of reserved)` of a product's entries, without what was counted at the beginning."""
    return await world.rows(f"""
        select kind, on_hand_delta, reserved_delta from stock_ledger
        where product_id = {product_id} and kind <> 'manual' order by entry_id
    """)


async def deny(world: World) -> None:
    await world.rows("update stock_items set policy = 'deny' returning 1")


class TestReserving:
    async def test_what_is_reserved_cannot_be_sold_and_is_still_there(self, world: World) -> None:
        reservation_id = await reserve(world, (102, "T01-S", 2), (400, None, 1))
        assert (await kept(world), await kept(world, 200)) == ((10, 4), (10, 1)), "two shirts, and a kit of two and one"
        told = {event.base_stock_product_id: event for event in await world.told(StockChanged)}
        assert (told[100].available, told[100].reserved, told[100].causes) == (6, 4, ("reserved",))
        references = await world.rows("select distinct reference from stock_ledger where kind = 'reserved'")
        assert references == [(str(reservation_id),)]
        await world.assert_the_ledger_explains_every_level()

    @pytest.mark.parametrize("policy", ["deny", "backorder"])
    async def test_what_does_not_fit_is_refused_whole_whatever_the_policy(self, world: World, policy: str) -> None:
        await world.rows(f"update stock_items set policy = '{policy}' returning 1")
        with pytest.raises(ProblemError) as refused:
            await reserve(world, (200, None, 1), (102, "T01-S", 6), (300, "T01-S", 6))
        assert (refused.value.status_code, refused.value.code) == (409, "not_enough_stock")
        assert [(one.field, one.detail) for one in refused.value.errors] == [
            ("lines[2].quantity", "2 of the units are not available")
        ]
        assert (await kept(world), await kept(world, 200)) == ((10, 0), (10, 0))
        assert await world.rows("select * from reservations") == []

    async def test_what_an_order_may_not_take_cannot_be_reserved(self, world: World) -> None:
        await world.hear(FOREIGN, ProductRemoved(product_id=200, owner_id=SUPPLIER, version=2))
        asked = [(999, None, 1), (900, None, 1), (102, None, 1), (102, "T01-XL", 1), (200, None, 1)]
        with pytest.raises(ProblemError) as refused:
            await reserve(world, *asked)
        assert (refused.value.status_code, refused.value.code) == (422, "cannot_be_reserved")
        assert [(one.field, one.detail) for one in refused.value.errors] == [
            (f"lines[{n}].product_id", detail)
            for n, detail in enumerate(
                [
                    "product 999 is not known, or not yours nor of a supplier you are connected with",
                    "product 900 is not known, or not yours nor of a supplier you are connected with",
                    "product 102 has variants, and the line names none",
                    "product 102 has no variant 'T01-XL'",
                    "product 200 was removed",
                ]
            )
        ]

    async def test_strangers_and_who_is_connected_no_more_reserve_nothing(self, world: World) -> None:
        await world.hear(CONNECTION.model_copy(update={"state": "paused", "version": 2}))
        for seller_id in (STRANGER, RETAILER):
            with pytest.raises(ProblemError) as refused:
                await reserve(world, (102, "T01-S", 1), seller_id=seller_id)
            assert refused.value.code == "cannot_be_reserved"
        await reserve(world, (102, "T01-S", 1), seller_id=SUPPLIER)
        assert await kept(world) == (10, 1), "the supplier itself may"

    async def test_at_a_location(self, world: World) -> None:
        shop = await world.locate("shop")
        with pytest.raises(ProblemError) as refused:
            await reserve(world, (100, None, 1), location="shop")
        assert refused.value.code == "not_enough_stock"
        with pytest.raises(ProblemError) as refused:
            await reserve(world, (100, None, 1), location="nowhere")
        assert refused.value.errors[0].field == "lines[0].location"
        await world.rows(f"insert into stock_levels (product_id, location_id) values (100, {shop}) returning 1")
        assert await kept(world, code="shop") == (0, 0)

    async def test_where_it_is_not_stocked_any_more_nothing_is_reserved(self, world: World) -> None:
        await world.rows("update stock_levels set removed_at = now() where product_id = 100 returning 1")
        with pytest.raises(ProblemError) as refused:
            await reserve(world, (100, None, 1))
        assert refused.value.code == "not_enough_stock"

    async def test_of_many_that_reserve_the_last_unit_one_gets_it(self, world: World) -> None:
        await deny(world)
        await world.count(_100=1)
        outcomes = await asyncio.gather(*(reserve(world, (102, "T01-S", 1)) for _ in range(64)), return_exceptions=True)
        refused = [one for one in outcomes if isinstance(one, ProblemError)]
        assert len(refused) == 63
        assert {one.code for one in refused} == {"not_enough_stock"}
        assert await kept(world) == (1, 1)
        await world.assert_the_ledger_explains_every_level()


class TestTheEnd:
    async def test_released_it_is_free_again_and_only_once(self, world: World) -> None:
        reservation_id = await reserve(world, (102, "T01-S", 3))
        await release(world, reservation_id)
        await release(world, reservation_id)
        assert await kept(world) == (10, 0)
        assert await kinds(world) == [("reserved", 0, 3), ("released", 0, -3)]
        assert await state_of(world, reservation_id) == "released"
        await world.assert_the_ledger_explains_every_level()

    async def test_it_expires_by_the_databases_clock(self, world: World) -> None:
        reservation_id = await reserve(world, (102, "T01-S", 3))
        await world.move_clock(599)
        assert await sweep(world) == 0
        await world.move_clock(601)
        with pytest.raises(ProblemError) as refused:
            await confirm(world, reservation_id)
        assert refused.value.code == "reservation_over", "late, though nobody has swept yet"
        assert await sweep(world) == 1
        assert await sweep(world) == 0
        assert await kept(world) == (10, 0)
        assert await kinds(world) == [("reserved", 0, 3), ("expired", 0, -3)]
        assert await state_of(world, reservation_id) == "expired"

    async def test_two_sweepers_share_the_work_and_free_each_once(self, world: World) -> None:
        for _ in range(6):
            await reserve(world, (102, "T01-S", 1))
        await world.move_clock(601)
        async with asyncio.TaskGroup() as group, world.database.transaction() as session:
            assert await reserving.expire(session, 4) == 4
            other = group.create_task(sweep(world))
            # It has the other two already, and waits for their item.
            await until_somebody_waits(world)
        assert other.result() == 2
        assert await kept(world) == (10, 0)
        assert [kind for kind, _, _ in await kinds(world)] == 6 * ["reserved"] + 6 * ["expired"]

    async def test_a_sweeper_that_dies_leaves_all_to_the_next(self, world: World) -> None:
        await reserve(world, (102, "T01-S", 3))
        await world.move_clock(601)

        async def die_halfway() -> None:
            async with world.database.transaction() as session:
                await reserving.expire(session, 100)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await die_halfway()
        assert await kept(world) == (10, 3)
        assert await sweep(world) == 1
        assert await kept(world) == (10, 0)
        await world.assert_the_ledger_explains_every_level()

    async def test_what_ended_long_ago_is_forgotten_and_the_ledger_keeps_it(self, world: World) -> None:
        await release(world, await reserve(world, (102, "T01-S", 3)))
        still = await reserve(world, (102, "T01-S", 1))
        await world.move_clock(100)
        async with world.database.transaction() as session:
            assert await store.forget(session, 1, 100) == 0
        await world.move_clock(25 * 60 * 60)
        async with world.database.transaction() as session:
            assert await store.forget(session, 1, 100) == 1
        assert await world.rows("select reservation_id from reservations") == [(still,)]
        await world.assert_the_ledger_explains_every_level()


class TestConfirming:
    async def test_the_order_takes_what_was_reserved_for_it(self, world: World) -> None:
        await deny(world)
        reservation_id = await reserve(world, (102, "T01-S", 10))
        await confirm(world, reservation_id)
        await world.hear(order((102, "T01-S", 1)))
        assert [line_.outcome for line_ in (await world.told(OrderShort))[0].lines] == ["short"], "others get nothing"
        mine = order((102, "T01-S", 10), external_ref=REF)
        await world.hear(mine)
        assert [event.order_id for event in await world.told(OrderAllocated)] == [mine.order_id]
        assert await kept(world) == (0, 0)
        assert await kinds(world) == [("reserved", 0, 10), ("converted", 0, -10), ("order", -10, 0)]
        assert await state_of(world, reservation_id) == "converted"
        await world.assert_the_ledger_explains_every_level()

    @pytest.mark.parametrize("policy", ["deny", "backorder"])
    async def test_even_where_the_units_were_counted_away_meanwhile(self, world: World, policy: str) -> None:
        await world.rows(f"update stock_items set policy = '{policy}' returning 1")
        await confirm(world, await reserve(world, (102, "T01-S", 4)))
        await world.count(_100=0)
        await world.told()
        await world.hear(order((102, "T01-S", 4), external_ref=REF))
        assert len(await world.told(OrderAllocated)) == 1
        assert await kept(world) == (-4, 0)

    async def test_one_that_wants_more_takes_the_rest_and_one_that_wants_less_frees_it(self, world: World) -> None:
        await deny(world)
        await confirm(world, await reserve(world, (102, "T01-S", 4)), "more")
        await confirm(world, await reserve(world, (102, "T01-S", 4)), "less")
        await world.hear(order((102, "T01-S", 6), external_ref="more"))
        assert await kept(world) == (4, 4)
        await world.hear(order((102, "T01-S", 1), external_ref="less"))
        assert await kept(world) == (3, 0)
        assert len(await world.told(OrderAllocated)) == 2
        await world.assert_the_ledger_explains_every_level()

    async def test_one_that_wants_more_than_there_is_is_short_and_the_reservation_over(self, world: World) -> None:
        await deny(world)
        await confirm(world, await reserve(world, (102, "T01-S", 4)))
        await world.hear(order((102, "T01-S", 11), external_ref=REF))
        assert len(await world.told(OrderShort)) == 1
        assert await kept(world) == (10, 0)

    async def test_it_draws_where_its_units_are_reserved(self, world: World) -> None:
        await deny(world)
        shop = await world.locate("shop")
        await world.hear(CONNECTION.model_copy(update={"default_location": "main", "version": 2}))
        await world.rows(
            f"insert into stock_levels (product_id, location_id, on_hand) values (100, {shop}, 3) returning 1"
        )
        await confirm(world, await reserve(world, (102, "T01-S", 3), location="shop"))
        await world.hear(order((102, "T01-S", 3), external_ref=REF))
        assert (await kept(world), await kept(world, code="shop")) == ((10, 0), (0, 0))

    async def test_several_reservations_of_one_order_and_those_of_others(self, world: World) -> None:
        for asked in ((102, "T01-S", 2), (200, None, 1)):
            await confirm(world, await reserve(world, asked))
        await reserve(world, (102, "T01-S", 3))
        other = await reserve(world, (102, "T01-S", 1), seller_id=SUPPLIER)
        async with world.database.transaction() as session:
            await reserving.confirm(session, SUPPLIER, other, REF)
        await world.hear(order((102, "T01-S", 2), (200, None, 1), external_ref=REF))
        assert (await kept(world), await kept(world, 200)) == ((8, 4), (9, 0))
        await world.assert_the_ledger_explains_every_level()

    async def test_an_order_that_came_before_has_its_own_and_nothing_is_held_twice(self, world: World) -> None:
        reservation_id = await reserve(world, (102, "T01-S", 3))
        placed = order((102, "T01-S", 3), external_ref=REF)
        await world.hear(placed)
        assert await kept(world) == (7, 3)
        await confirm(world, reservation_id)
        await confirm(world, reservation_id)
        assert await kept(world) == (7, 0)
        found = await world.rows("select state, external_ref, order_id from reservations")
        assert found == [("converted", REF, placed.order_id)]
        await world.assert_the_ledger_explains_every_level()

    async def test_confirmed_twice_is_once_and_to_another_order_never(self, world: World) -> None:
        reservation_id = await reserve(world, (102, "T01-S", 3))
        await confirm(world, reservation_id)
        await confirm(world, reservation_id)
        with pytest.raises(ProblemError) as refused:
            await confirm(world, reservation_id, "another")
        assert refused.value.code == "confirmed_to_another"
        await release(world, reservation_id)
        with pytest.raises(ProblemError) as refused:
            await confirm(world, reservation_id)
        assert refused.value.code == "reservation_over"

    async def test_it_waits_a_week_for_its_order(self, world: World) -> None:
        await confirm(world, await reserve(world, (102, "T01-S", 3)))
        await world.move_clock(6 * 24 * 60 * 60)
        assert await sweep(world) == 0
        await world.move_clock(8 * 24 * 60 * 60)
        assert await sweep(world) == 1
        assert await kept(world) == (10, 0)

    async def test_a_later_version_or_a_cancellation_brings_nothing_back(self, world: World) -> None:
        await confirm(world, await reserve(world, (102, "T01-S", 3)))
        placed = order((102, "T01-S", 3), external_ref=REF)
        await world.hear(placed, placed)
        await world.hear(amended(placed, line(placed, quantity=1)))
        assert await kept(world) == (9, 0)
        await world.hear(cancelled(placed))
        assert await kept(world) == (10, 0)
        await world.assert_the_ledger_explains_every_level()

    async def test_an_order_that_is_cancelled_before_it_came_frees_it(self, world: World) -> None:
        await confirm(world, await reserve(world, (102, "T01-S", 3)))
        await world.hear(cancelled(order((102, "T01-S", 3), external_ref=REF)))
        assert await kept(world) == (10, 0)

    async def test_a_batch_that_is_undone_converts_nothing(self, world: World) -> None:
        await confirm(world, await reserve(world, (102, "T01-S", 3)))
        placed = order((102, "T01-S", 3), external_ref=REF)
        with pytest.raises(ZeroDivisionError):
            await world.hear(placed, then=ZeroDivisionError())
        assert await kept(world) == (10, 3)
        await world.hear(placed)
        assert await kept(world) == (7, 0)

    @pytest.mark.parametrize("order_first", [True, False])
    async def test_an_order_and_its_confirmation_at_the_same_time(self, world: World, *, order_first: bool) -> None:
        """Each sees the other, whoever is first: nothing stays held."""
        reservation_id = await reserve(world, (102, "T01-S", 3))
        placed = order((102, "T01-S", 3), external_ref=REF)
        async with asyncio.TaskGroup() as group, world.database.transaction() as session:
            if order_first:
                await move_stock(session, [placed])
                group.create_task(confirm(world, reservation_id))
            else:
                await reserving.confirm(session, RETAILER, reservation_id, REF)
                group.create_task(world.hear(placed))
            await until_somebody_waits(world)
        assert await kept(world) == (7, 0)
        assert await state_of(world, reservation_id) == "converted"
        await world.assert_the_ledger_explains_every_level()

    async def test_the_end_of_its_time_and_its_order_at_the_same_time(self, world: World) -> None:
        reservation_id = await reserve(world, (102, "T01-S", 3))
        await confirm(world, reservation_id)
        await world.move_clock(8 * 24 * 60 * 60)
        async with asyncio.TaskGroup() as group, world.database.transaction() as session:
            assert await reserving.expire(session, 100) == 1
            group.create_task(world.hear(order((102, "T01-S", 3), external_ref=REF)))
            await until_somebody_waits(world)
        assert await kept(world) == (7, 0)
        assert await state_of(world, reservation_id) == "expired"
        await world.assert_the_ledger_explains_every_level()


class TestOverHttp:
    BODY: ClassVar[Any] = {"lines": [{"product_id": 102, "variant_sku": "T01-S", "quantity": 2}]}

    async def test_made_shown_confirmed_and_listed(self, callers: Callers) -> None:
        made = await callers.retailer.post("/v1/reservations", self.BODY)
        assert made.status == 201
        assert made.body["state"] == "open"
        assert made.body["lines"] == [
            {
                "line_id": 1,
                "product_id": 102,
                "variant_sku": "T01-S",
                "quantity": 2,
                "location": None,
                "takes": [{"product_id": 100, "location": "main", "quantity": 2}],
            }
        ]
        path = f"/v1/reservations/{made.body['reservation_id']}"
        assert (await callers.retailer.get(path)).body == made.body
        confirmed = await callers.retailer.post(f"{path}/confirm", {"external_ref": REF})
        assert (confirmed.status, confirmed.body["state"], confirmed.body["external_ref"]) == (200, "confirmed", REF)
        listed = await callers.retailer.get("/v1/reservations?state=confirmed")
        assert listed.body == {"items": [confirmed.body], "next_cursor": None}
        assert (await callers.retailer.get("/v1/reservations?state=open")).body["items"] == []
        released = await callers.retailer.delete(path)
        assert (released.status, released.body["state"]) == (200, "released")

    async def test_page_by_page_each_comes_once(self, callers: Callers) -> None:
        made = [(await callers.retailer.post("/v1/reservations", self.BODY)).body for _ in range(3)]
        first = (await callers.retailer.get("/v1/reservations?limit=2")).body
        second = (await callers.retailer.get(f"/v1/reservations?limit=2&cursor={first['next_cursor']}")).body
        assert first["items"] + second["items"] == made[::-1]
        assert second["next_cursor"] is None

    async def test_late_ones_read_as_expired_and_the_worker_frees_them(self, world: World, callers: Callers) -> None:
        await callers.retailer.post("/v1/reservations", self.BODY)
        await world.move_clock(601)
        (shown,) = (await callers.retailer.get("/v1/reservations?state=expired")).body["items"]
        assert shown["state"] == "expired"
        async with asyncio.timeout(20):
            while await kept(world) != (10, 0):
                await asyncio.sleep(0.05)

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"lines": []},
            {"lines": [{"product_id": 102, "quantity": 0}]},
            {"lines": [{"product_id": 2**63, "quantity": 1}]},
            {"lines": [{"product_id": 102, "variant_sku": "\x00", "quantity": 1}]},
            {"lines": [{"product_id": 100, "quantity": 1, "location": "a\x00"}]},
            {"lines": [{"product_id": 100, "quantity": 1}], "expires_in_seconds": 0},
            {"lines": [{"product_id": 100, "quantity": 1}], "expires_in_seconds": 86_401},
            {"lines": [{"product_id": 100, "quantity": 1.5}]},
            {"lines": [{"product_id": 100, "quantity": 1}], "more": 1},
        ],
    )
    async def test_bad_input_is_named_and_reserves_nothing(self, world: World, callers: Callers, body: object) -> None:
        answer = await callers.retailer.post("/v1/reservations", body)
        assert answer.status == 422
        assert answer.body["errors"]
        assert await kept(world) == (10, 0)

    async def test_others_find_none_of_it(self, callers: Callers) -> None:
        made = (await callers.retailer.post("/v1/reservations", self.BODY)).body["reservation_id"]
        for path, call in (
            (f"/v1/reservations/{made}", callers.supplier.get),
            (f"/v1/reservations/{made}", callers.supplier.delete),
        ):
            assert (await call(path)).status == 404
        answer = await callers.supplier.post(f"/v1/reservations/{made}/confirm", {"external_ref": REF})
        assert answer.status == 404
        assert (await callers.supplier.get("/v1/reservations")).body["items"] == []
        assert (await callers.supplier.get(f"/v1/reservations?seller_id={RETAILER}")).status == 403
        assert len((await callers.admin.get(f"/v1/reservations?seller_id={RETAILER}")).body["items"]) == 1
        assert (await callers.admin.post("/v1/reservations", self.BODY)).status == 422
        as_retailer = await callers.admin.post(f"/v1/reservations?seller_id={RETAILER}", self.BODY)
        assert as_retailer.body["seller_id"] == RETAILER
