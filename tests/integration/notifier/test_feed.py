"""How a supplier's endpoint hears of fulfillment: event by event, in their order, none missing, none overtaken."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from services.notifier import endpoint_secrets, fulfillment, handlers
from services.notifier.calls import Answered, Call
from services.notifier.encryption import vault_of
from services.notifier.endpoint_secrets import encrypt_secrets
from services.notifier.feeding import claim_events, forget_old_events, warn_of_gaps
from services.notifier.finishing import finish
from services.notifier.sender import Sender
from services.notifier.signing import new_secret
from services.notifier.store import endpoints as endpoint_store
from services.notifier.store import feeds as feed_store
from shared import clock
from shared.events.orders import (
    FulfillmentItem,
    FulfillmentRequestAssigned,
    FulfillmentRequestCompleted,
    FulfillmentRequestFailed,
)
from shared.messaging.in_process import InProcessBus
from shared.service_context import Context
from tests.integration.notifier.conftest import SUPPLIER_A, TIMEOUT_SECONDS, Desk
from tests.receiver import Receiver, receiver

SUPPLIER_B = 4
DAY_SECONDS = 86_400
# Longer than any wait after a failure.
PATIENCE_SECONDS = 600
REQUEST, ORDER = UUID(int=1), UUID(int=2)


def assigned(logical_timestamp: int, supplier_id: int = SUPPLIER_A, **more: Any) -> FulfillmentRequestAssigned:  # noqa: ANN401 - any field
    return FulfillmentRequestAssigned(**item(logical_timestamp, supplier_id) | more)


def item(logical_timestamp: int, supplier_id: int = SUPPLIER_A) -> dict[str, Any]:
    """An item of a request to a supplier, as orders tells it."""
    return {
        "request_id": REQUEST,
        "supplier_id": supplier_id,
        "seller_id": 2,
        "order_id": ORDER,
        "line_id": 1,
        "product_id": 102,
        "variant_sku": "T01-S",
        "quantity": 3,
        "location": "main",
        "external_ref": "R-1",
        "logical_timestamp": logical_timestamp,
        "occurred_at": datetime(2026, 11, 28, 12, 0, logical_timestamp % 60, tzinfo=UTC),
        "request_ref": "pick-1",
    }


async def hear(desk: Desk, *events: FulfillmentItem) -> None:
    """One batch of events."""
    async with desk.database.transaction() as session:
        await handlers.keep_fulfillment(session, events)


async def open_feed(
    desk: Desk, shop: Receiver, supplier_id: int = SUPPLIER_A, *, after: int | None = None, **columns: object
) -> int:
    """An endpoint of the supplier that leads to `shop`, with a feed; `columns` are others of the endpoint."""
    secret = new_secret()
    shop.secrets.append(secret)
    async with desk.database.transaction() as session:
        endpoint_id = (await endpoint_store.add(session, supplier_id, shop.url, secret, 0)).endpoint_id
        assert await feed_store.open_feed(session, endpoint_id, supplier_id, after) is None
    await change(desk, endpoint_id, format="fulfillment", **columns)
    return endpoint_id


async def change(desk: Desk, endpoint_id: int, **columns: object) -> None:
    """Set columns of an endpoint."""
    values = ", ".join(f"{name} = :{name}" for name in columns)
    await desk.execute(
        f"update endpoints set {values} where endpoint_id = :endpoint_id", endpoint_id=endpoint_id, **columns
    )


async def claimed(desk: Desk) -> tuple[Call, ...]:
    """The calls that are due."""
    return await claim_events(desk.database, desk.settings, 100)


async def tell(desk: Desk) -> list[Answered]:
    """Make calls until none is due."""
    made: list[Answered] = []
    while calls := await claimed(desk):
        answered = await desk.send(calls)
        await finish(desk.database, answered)
        made += answered
    return made


def told(shop: Receiver) -> list[int]:
    """The logical timestamps that came, in their order."""
    return [json.loads(call.body)["logical_timestamp"] for call in shop.calls]


async def rewind(desk: Desk, endpoint_id: int, after: int) -> int | None:
    async with desk.database.transaction() as session:
        return await feed_store.rewind(session, endpoint_id, after)


async def kept(desk: Desk, supplier_id: int = SUPPLIER_A) -> list[int]:
    """The logical timestamps of the events that are kept."""
    rows = await desk.execute(
        "select logical_timestamp from fulfillment_events where supplier_id = :supplier_id order by 1",
        supplier_id=supplier_id,
    )
    return [row.logical_timestamp for row in rows]


class TestOrder:
    async def test_what_comes_out_of_order_and_twice_is_told_once_and_in_order(self, desk: Desk) -> None:
        async with receiver() as shop:
            await open_feed(desk, shop)
            await hear(desk, assigned(3), assigned(1), assigned(3))
            await tell(desk)
            assert told(shop) == [1], "2 was not heard of yet: 3 waits"
            await hear(desk, assigned(5), assigned(1))
            await tell(desk)
            assert told(shop) == [1]
            await hear(desk, assigned(2), assigned(3))
            await tell(desk)
            await hear(desk, assigned(4))
            await tell(desk)
            await hear(desk, *(assigned(number) for number in range(1, 6)))
            assert await tell(desk) == []
            assert told(shop) == [1, 2, 3, 4, 5]

    async def test_each_supplier_has_its_own_numbers_and_each_endpoint_its_own_place(self, desk: Desk) -> None:
        async with receiver() as first, receiver() as second, receiver() as other:
            await open_feed(desk, first)
            await hear(desk, assigned(1), assigned(2), assigned(1, SUPPLIER_B), assigned(2, SUPPLIER_B))
            await open_feed(desk, second)
            await open_feed(desk, other, SUPPLIER_B, after=1)
            await hear(desk, assigned(3), assigned(3, SUPPLIER_B))
            await tell(desk)
            assert (told(first), told(second), told(other)) == ([1, 2, 3], [3], [2, 3])
            assert {json.loads(call.body)["supplier_id"] for call in other.calls} == {SUPPLIER_B}

    async def test_what_a_feed_waits_for_in_vain_is_logged(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await open_feed(desk, shop)
            await hear(desk, assigned(1), assigned(3))
            await tell(desk)

            async def logged() -> list[tuple[int, int]]:
                with capture_logs() as logs:
                    await warn_of_gaps(desk.database)
                return [(entry["endpoint_id"], entry["logical_timestamp"]) for entry in logs]

            assert await logged() == [], "it may still come"
            await desk.move(301)
            assert await logged() == [(endpoint_id, 2)]
            await hear(desk, assigned(2))
            await tell(desk)
            assert await logged() == []

    async def test_a_new_feed_begins_behind_the_newest_or_where_it_is_told(self, desk: Desk) -> None:
        async with receiver() as none_yet, receiver() as newest, receiver() as some, receiver() as all_of_them:
            await open_feed(desk, none_yet)
            await hear(desk, *(assigned(number) for number in range(1, 5)))
            await open_feed(desk, newest)
            await open_feed(desk, some, after=2)
            await open_feed(desk, all_of_them, after=0)
            await hear(desk, assigned(5))
            await tell(desk)
            assert told(none_yet) == told(all_of_them) == [1, 2, 3, 4, 5]
            assert (told(newest), told(some)) == ([5], [3, 4, 5])


class TestFailures:
    async def test_nothing_overtakes_what_fails(self, desk: Desk) -> None:
        async with receiver() as shop:
            await open_feed(desk, shop)
            await hear(desk, *(assigned(number) for number in range(1, 4)))
            (first,) = await desk.send(await claimed(desk))
            await finish(desk.database, [first])
            shop.answer_with(503)
            (refused,) = await desk.send(await claimed(desk))
            await finish(desk.database, [refused])
            await desk.move(PATIENCE_SECONDS)
            (refused_again,) = await desk.send(await claimed(desk))
            await finish(desk.database, [refused_again])
            shop.answer_with(204)
            await desk.move(PATIENCE_SECONDS)
            await tell(desk)
            assert told(shop) == [1, 2, 2, 2, 3]
            # The same event is the same bytes under the same id, so that a receiver can know it again.
            again = {(call.headers["webhook-id"], call.body) for call in shop.calls[1:4]}
            assert len(again) == 1
            assert len({call.headers["webhook-id"] for call in shop.calls}) == 3

    async def test_one_that_fails_holds_up_no_other(self, desk: Desk) -> None:
        async with receiver() as broken, receiver() as well:
            await open_feed(desk, broken)
            await open_feed(desk, well)
            broken.answer_with(500)
            await hear(desk, *(assigned(number) for number in range(1, 4)))
            for _ in range(3):
                await finish(desk.database, await desk.send(await claimed(desk)))
            assert told(well) == [1, 2, 3]
            assert set(told(broken)) == {1}

    async def test_what_cannot_be_reached_is_tried_again_after_a_while(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await open_feed(desk, shop)
            await change(desk, endpoint_id, url="http://127.0.0.1:1/")
            await hear(desk, assigned(1))
            for seconds in (5, 30, 120, 300, 300):
                (refused,) = await desk.send(await claimed(desk))
                assert refused.outcome.error == "refused"
                await finish(desk.database, [refused])
                # An endpoint may rest as a whole beside its feed.
                await change(desk, endpoint_id, next_call_at=datetime(2000, 1, 1, tzinfo=UTC))
                await desk.move(seconds - 2)
                assert await claimed(desk) == ()
                await desk.move(2)
            await change(desk, endpoint_id, url=shop.url)
            await tell(desk)
            assert told(shop) == [1]

    async def test_an_endpoint_that_is_gone_is_called_no_more(self, desk: Desk) -> None:
        async with receiver() as shop:
            await open_feed(desk, shop)
            await hear(desk, assigned(1), assigned(2))
            shop.answer_with(410)
            await tell(desk)
            await desk.move(PATIENCE_SECONDS)
            assert await tell(desk) == []
            assert [row.state for row in await desk.execute("select state from endpoints")] == ["disabled"]
            assert told(shop) == [1]

    async def test_each_call_is_logged(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await open_feed(desk, shop)
            await hear(desk, assigned(1))
            (answered,) = await tell(desk)
            (row,) = await desk.execute("select * from attempts")
            assert (row.endpoint_id, row.kind, row.status, row.product_ids) == (endpoint_id, "fulfillment", 204, [])
            assert (row.webhook_id, bytes(row.request_body)) == (answered.call.webhook_id, shop.calls[0].body)


class TestOneCallAtATime:
    async def test_the_next_event_waits_for_the_acknowledgement(self, desk: Desk) -> None:
        async with receiver() as shop:
            await open_feed(desk, shop)
            await hear(desk, assigned(1), assigned(2))
            calls = await claimed(desk)
            assert [call.logical_timestamp for call in calls] == [1]
            assert await claimed(desk) == ()
            answered = await desk.send(calls)
            assert await claimed(desk) == ()
            await finish(desk.database, answered)
            assert [call.logical_timestamp for call in await claimed(desk)] == [2]

    async def test_what_one_sender_is_claiming_no_other_claims(self, desk: Desk) -> None:
        async with receiver() as shop:
            await open_feed(desk, shop)
            await hear(desk, assigned(1))
            async with desk.database.transaction() as session:
                (due,) = await feed_store.find_due(session, 0, 10)
                assert due.logical_timestamp == 1
                assert await claimed(desk) == ()

    async def test_a_sender_that_dies_after_the_claim_delays_the_event_and_loses_none(self, desk: Desk) -> None:
        async with receiver() as shop:
            await open_feed(desk, shop)
            await hear(desk, assigned(1), assigned(2))
            assert len(await claimed(desk)) == 1
            await desk.move(TIMEOUT_SECONDS - 1)
            assert await claimed(desk) == ()
            await desk.move(2)
            await tell(desk)
            assert told(shop) == [1, 2]

    async def test_a_sender_that_dies_after_the_call_makes_it_come_twice_and_in_order(self, desk: Desk) -> None:
        async with receiver() as shop:
            await open_feed(desk, shop)
            await hear(desk, assigned(1), assigned(2))
            await desk.send(await claimed(desk))
            await desk.move(TIMEOUT_SECONDS + 1)
            await tell(desk)
            assert told(shop) == [1, 1, 2]

    async def test_a_sender_that_slept_past_its_lease_sends_nothing_and_spoils_nothing(self, desk: Desk) -> None:
        async with receiver() as shop:
            await open_feed(desk, shop)
            await hear(desk, assigned(1), assigned(2))
            (slept,) = await claimed(desk)
            await desk.move(TIMEOUT_SECONDS + 1)
            (awake,) = await claimed(desk)
            late = await desk.send([replace(slept, lease=replace(slept.lease, deadline=clock.monotonic() - 1))])
            assert [one.outcome.error for one in late] == ["late"]
            await finish(desk.database, late)
            assert await claimed(desk) == (), "the lease of the other one still holds"
            await finish(desk.database, await desk.send([awake]))
            await tell(desk)
            assert told(shop) == [1, 2]

    async def test_a_late_acknowledgement_does_not_skip_the_event_that_is_under_way(self, desk: Desk) -> None:
        async with receiver() as shop:
            await open_feed(desk, shop)
            await hear(desk, assigned(1), assigned(2))
            late = await desk.send(await claimed(desk))
            await desk.move(TIMEOUT_SECONDS + 1)
            (again,) = await claimed(desk)
            await finish(desk.database, late)
            assert await claimed(desk) == ()
            await finish(desk.database, await desk.send([again]))
            await tell(desk)
            assert told(shop) == [1, 1, 2]

    async def test_two_senders_at_once_keep_the_order_and_make_one_call_at_a_time(self, desk: Desk) -> None:
        async with receiver() as shop, receiver() as other:
            await open_feed(desk, shop)
            await open_feed(desk, other)
            await hear(desk, *(assigned(number) for number in range(1, 41)))
            async with running_senders(desk, 2):
                await shop.wait_for_calls(40)
                await other.wait_for_calls(40)
            assert told(shop) == told(other) == list(range(1, 41))


@asynccontextmanager
async def running_senders(desk: Desk, count: int) -> AsyncIterator[None]:
    """So many senders of the desk's database, as many processes have them."""
    bus = InProcessBus(publish_timeout_seconds=10)
    context = Context("notifier", desk.settings, desk.database, bus)
    tasks = [asyncio.create_task(Sender(context, asyncio.Event()).run()) for _ in range(count)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bus.close()


class TestEndpoints:
    @pytest.mark.parametrize(("state", "reason"), [("paused", None), ("disabled", "it failed for 5 days")])
    async def test_one_that_is_not_active_is_not_called_and_goes_on_where_it_was(
        self, desk: Desk, state: str, reason: str | None
    ) -> None:
        async with receiver() as shop:
            endpoint_id = await open_feed(desk, shop)
            await hear(desk, assigned(1))
            await tell(desk)
            await change(desk, endpoint_id, state=state, reason=reason)
            await hear(desk, assigned(2), assigned(3))
            assert await tell(desk) == []
            await change(desk, endpoint_id, state="active", reason=None)
            await tell(desk)
            assert told(shop) == [1, 2, 3]

    async def test_one_that_rests_is_not_called_before_its_time(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await open_feed(desk, shop)
            await hear(desk, assigned(1))
            await desk.execute(
                "update endpoints set next_call_at = db_now() + interval '1 hour' where endpoint_id = :endpoint_id",
                endpoint_id=endpoint_id,
            )
            assert await tell(desk) == []
            await desk.move(3601)
            await tell(desk)
            assert told(shop) == [1]

    @pytest.mark.parametrize(("column", "value"), [("window_seconds", 20), ("calls_per_second", 0.05)])
    async def test_its_calls_are_as_far_apart_as_it_wants(self, desk: Desk, column: str, value: float) -> None:
        async with receiver() as shop:
            await change(desk, await open_feed(desk, shop), **{column: value})
            await hear(desk, assigned(1), assigned(2))
            await tell(desk)
            await desk.move(18)
            assert await tell(desk) == []
            await desk.move(2)
            await tell(desk)
            assert told(shop) == [1, 2]

    async def test_one_that_is_removed_is_called_no_more(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await open_feed(desk, shop)
            await hear(desk, assigned(1))
            calls = await claimed(desk)
            async with desk.database.transaction() as session:
                await endpoint_store.remove(session, endpoint_id, SUPPLIER_A)
            await finish(desk.database, await desk.send(calls))
            assert await tell(desk) == []
            assert await desk.execute("select * from feeds") == []


class TestRewinding:
    async def test_it_goes_on_behind_the_given_event_back_or_forth(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await open_feed(desk, shop)
            await hear(desk, *(assigned(number) for number in range(1, 6)))
            await tell(desk)
            assert await rewind(desk, endpoint_id, 3) is None
            await tell(desk)
            assert told(shop) == [1, 2, 3, 4, 5, 4, 5]
            assert shop.calls[3].headers["webhook-id"] == shop.calls[5].headers["webhook-id"]
            assert await rewind(desk, endpoint_id, 6) is None
            await hear(desk, assigned(6), assigned(7))
            await tell(desk)
            assert told(shop)[7:] == [7]

    async def test_an_acknowledgement_that_comes_afterwards_does_not_undo_it(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await open_feed(desk, shop, after=0)
            await hear(desk, *(assigned(number) for number in range(1, 4)))
            for _ in range(2):
                await finish(desk.database, await desk.send(await claimed(desk)))
            answered = await desk.send(await claimed(desk))
            await rewind(desk, endpoint_id, 1)
            assert await claimed(desk) == (), "the call is still under way"
            await finish(desk.database, answered)
            await tell(desk)
            assert told(shop) == [1, 2, 3, 2, 3]


class TestForgetting:
    async def forget(self, desk: Desk) -> None:
        await forget_old_events(desk.database, 30)

    async def test_old_events_go_when_all_feeds_have_had_them(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("services.notifier.feeding.FORGET_CHUNK", 2)
        async with receiver() as shop, receiver() as slow:
            await open_feed(desk, shop)
            slow_id = await open_feed(desk, slow)
            await change(desk, slow_id, state="paused")
            await hear(desk, *(assigned(number) for number in range(1, 8)))
            await hear(desk, assigned(1, SUPPLIER_B))
            await tell(desk)
            await desk.move(29 * DAY_SECONDS)
            await hear(desk, assigned(8))
            await self.forget(desk)
            assert len(await kept(desk)) == 8
            await desk.move(2 * DAY_SECONDS)
            await self.forget(desk)
            assert await kept(desk) == list(range(1, 9)), "one feed still has all to come"
            assert await kept(desk, SUPPLIER_B) == [], "nobody is told of these"

            await rewind(desk, slow_id, 5)
            await self.forget(desk)
            assert await kept(desk) == [6, 7, 8]
            await change(desk, slow_id, state="active")
            await tell(desk)
            await self.forget(desk)
            assert await kept(desk) == [8]
            assert told(slow) == [6, 7, 8]

    async def test_what_is_forgotten_is_not_told_and_the_feed_stays_where_it_was(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await open_feed(desk, shop)
            await hear(desk, assigned(1), assigned(2), assigned(3))
            await tell(desk)
            await desk.move(31 * DAY_SECONDS)
            await self.forget(desk)
            assert await kept(desk) == []
            assert await rewind(desk, endpoint_id, 2) == 4
            # Heard again after all that time it would be the only one of the old ones.
            await hear(desk, assigned(2))
            assert await kept(desk) == []
            await hear(desk, assigned(4))
            await tell(desk)
            assert told(shop) == [1, 2, 3, 4]
            assert await rewind(desk, endpoint_id, 3) is None
            await tell(desk)
            assert told(shop) == [1, 2, 3, 4, 4]

    async def test_a_feed_that_is_opened_afterwards_begins_with_what_is_kept(self, desk: Desk) -> None:
        async with receiver() as shop, receiver() as newest:
            await hear(desk, assigned(1), assigned(2))
            await desk.move(31 * DAY_SECONDS)
            await self.forget(desk)
            async with desk.database.transaction() as session:
                endpoint_id = (await endpoint_store.add(session, SUPPLIER_A, shop.url, new_secret(), 0)).endpoint_id
                assert await feed_store.open_feed(session, endpoint_id, SUPPLIER_A, 1) == 3
            await open_feed(desk, newest)
            await open_feed(desk, shop, after=2)
            await hear(desk, assigned(3))
            await tell(desk)
            assert told(shop) == told(newest) == [3]

    async def test_what_came_late_leaves_no_gap_behind_it(self, desk: Desk) -> None:
        await hear(desk, assigned(1), assigned(3))
        await desk.move(20 * DAY_SECONDS)
        await hear(desk, assigned(2))
        await desk.move(20 * DAY_SECONDS)
        await self.forget(desk)
        assert await kept(desk) == [2, 3], "3 waits for 2"

    async def test_a_feed_that_is_set_back_while_events_are_forgotten_waits_and_is_told_what_is_left(
        self, desk: Desk
    ) -> None:
        async with receiver() as shop:
            endpoint_id = await open_feed(desk, shop)
            await hear(desk, assigned(1), assigned(2))
            await tell(desk)
            await desk.move(31 * DAY_SECONDS)
            async with desk.database.transaction() as session:
                assert await feed_store.forget_events(session, SUPPLIER_A, 30, 100) == 2
                rewound = asyncio.create_task(rewind(desk, endpoint_id, 0))
                await waiting_for_a_lock(desk, rewound)
            assert await rewound == 3

    async def test_events_are_not_forgotten_while_a_feed_is_set_back(self, desk: Desk) -> None:
        async with receiver() as shop:
            endpoint_id = await open_feed(desk, shop)
            await hear(desk, assigned(1), assigned(2))
            await tell(desk)
            await desk.move(31 * DAY_SECONDS)
            async with desk.database.transaction() as session:
                assert await feed_store.rewind(session, endpoint_id, 0) is None
                forgotten = asyncio.create_task(self.forget(desk))
                await waiting_for_a_lock(desk, forgotten)
            await forgotten
            await tell(desk)
            assert told(shop) == [1, 2, 1, 2]


async def waiting_for_a_lock(desk: Desk, task: "asyncio.Task[Any]") -> None:
    """Return once the task's transaction waits for another one's lock; fails if it ended instead."""
    waiting = (
        "select 1 from pg_catalog.pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(20):
        while not await desk.execute(waiting):
            assert not task.done(), "it did not wait"


class TestPayload:
    async def test_it_is_what_polling_answers(self, desk: Desk) -> None:
        async with receiver() as shop:
            await open_feed(desk, shop)
            await hear(
                desk,
                assigned(1),
                FulfillmentRequestFailed(**item(2), reason="broken ☂"),
                FulfillmentRequestCompleted(**item(3) | {"request_ref": None, "variant_sku": None}),
            )
            await tell(desk)
            bodies = [json.loads(call.body) for call in shop.calls]
            assert [(body["type"], body["reason"]) for body in bodies] == [
                ("fulfillment_request_assigned", None),
                ("fulfillment_request_failed", "broken ☂"),
                ("fulfillment_request_completed", None),
            ]
            assert bodies[0] == {
                "type": "fulfillment_request_assigned",
                "logical_timestamp": 1,
                "occurred_at": "2026-11-28T12:00:01Z",
                "supplier_id": SUPPLIER_A,
                "request_id": str(REQUEST),
                "request_ref": "pick-1",
                "line_id": 1,
                "quantity": 3,
                "location": "main",
                "reason": None,
                "order_id": str(ORDER),
                "external_ref": "R-1",
                "seller_id": 2,
                "product_id": 102,
                "variant_sku": "T01-S",
            }
            assert list(bodies[0]) == list(fulfillment.FIELDS)

    async def test_an_endpoint_may_want_the_names_of_the_event_stream(self, desk: Desk) -> None:
        async with receiver() as shop:
            await open_feed(desk, shop, dotted_names=True)
            await hear(desk, assigned(1), FulfillmentRequestFailed(**item(2)), FulfillmentRequestCompleted(**item(3)))
            await tell(desk)
            assert [json.loads(call.body)["type"] for call in shop.calls] == [
                "fulfillment_request.assigned",
                "fulfillment_request.items_failed",
                "fulfillment_request.items_completed",
            ]


class TestSecretsThatCannotBeRead:
    async def test_their_feed_waits_holds_up_no_other_and_goes_on_with_the_right_key(
        self, desk: Desk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(endpoint_secrets, "_said_at", {})
        foreign = SecretStr("x" * 32)
        async with receiver() as lost, receiver() as shop:
            lost_id = await open_feed(desk, lost)
            await change(desk, lost_id, secret=vault_of((foreign,)).encrypt(lost.secrets[0]))
            await desk.move(1)
            await open_feed(desk, shop)
            await hear(desk, assigned(1), assigned(2))
            with capture_logs() as logs:
                # The lost one is due for longer, and there is room for one.
                await finish(desk.database, await desk.send(await claim_events(desk.database, desk.settings, 1)))
                assert told(shop) == [1]
                await tell(desk)
            assert (told(lost), told(shop)) == ([], [1, 2])
            said = [(line["event"], line["endpoint_ids"]) for line in logs if line["log_level"] == "error"]
            assert said == [("webhook_secrets_unreadable", [lost_id])], "once a minute"
            assert await desk.execute("select 1 from attempts where endpoint_id = :id", id=lost_id) == []
            keys = (*desk.settings.webhook_encryption_key, foreign)
            settings = desk.settings.model_copy(update={"webhook_encryption_key": keys})
            bus = InProcessBus(publish_timeout_seconds=1)
            await encrypt_secrets(Context("notifier", settings, desk.database, bus))
            await tell(desk)
            assert told(lost) == [1, 2]
