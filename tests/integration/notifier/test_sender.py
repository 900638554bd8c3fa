"""The sender as it runs by itself: what it does when it cannot go on."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import pytest

from services.notifier import claiming, finishing, sender
from services.notifier.calls import Answered
from services.notifier.claiming import Claimed
from services.notifier.sender import Sender
from shared import clock
from shared.database import Database
from shared.draining import DRAIN_SECONDS
from shared.messaging.in_process import InProcessBus
from shared.service_context import Context
from tests.end_to_end.system import eventually
from tests.integration.notifier.conftest import Desk, stock_at, stock_changed
from tests.receiver import receiver

ACKNOWLEDGED = "select endpoint_id from slots where acked_version = 1 and lease_id is null order by endpoint_id"


async def test_one_call_that_cannot_be_written_down_ends_the_sender_and_takes_no_other_with_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AsyncExitStack() as stack:
        _, bad, beside, slow = shops = [await stack.enter_async_context(receiver()) for _ in range(4)]
        ids = [await desk.register(shop) for shop in shops]
        writing, may_write = asyncio.Event(), asyncio.Event()

        async def finish(database: Database, answered: Sequence[Answered], *, with_alerts: bool) -> None:
            writing.set()
            await may_write.wait()
            if any(item.call.endpoint.endpoint_id == ids[1] for item in answered):
                message = "a bug"
                raise ValueError(message)
            await original(database, answered, with_alerts=with_alerts)

        original = finishing.finish
        monkeypatch.setattr(sender, "finish", finish)
        for shop in (bad, beside, slow):
            shop.hold()
        await desk.hear_stock(stock_changed(100, 5, 1))
        await desk.fan_out()
        running = Sender(
            Context("notifier", desk.settings, desk.database, InProcessBus(publish_timeout_seconds=1)), asyncio.Event()
        )
        task = asyncio.create_task(running.run())
        for shop in shops:
            await shop.wait_for_calls(1)
        async with asyncio.timeout(DRAIN_SECONDS):
            await writing.wait()
        bad.release()
        beside.release()

        async def both_wait() -> bool:
            return len(running._answered) == 2

        # The first one's answer is being written: what came meanwhile goes into one transaction.
        await eventually("two answers wait to be written down", both_wait)
        may_write.set()

        async def acknowledged() -> list[int]:
            return [row.endpoint_id for row in await desk.execute(ACKNOWLEDGED)]

        async def written() -> bool:
            return await acknowledged() == [ids[0], ids[2]]

        await eventually("the answer beside the bad one is written down", written)
        assert not task.done(), "a call is under way"
        slow.release()
        done, _ = await asyncio.wait([task], timeout=DRAIN_SECONDS / 2)
        assert done, "it waits for nothing"
        with pytest.raises(ExceptionGroup) as ended:
            task.result()
        assert ended.group_contains(ValueError, match="a bug")
        assert await acknowledged() == [ids[0], ids[2], ids[3]]
        assert [len(shop.calls) for shop in shops] == [1, 1, 1, 1]


async def test_the_end_of_a_call_and_nothing_else_has_the_next_one_claimed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    woken = asyncio.Event()

    async def claim(*claiming: Any) -> Claimed:  # noqa: ANN401 - what claim takes
        claimed = await original_claim(*claiming)
        steps.append("called" if claimed.calls else "found nothing")
        return claimed

    async def wait_until_set(event: asyncio.Event, timeout_seconds: float) -> bool:
        if event is not woken:
            return await original_wait(event, timeout_seconds)
        steps.append("waited")
        # However long it takes: nothing may depend on looking again after a while.
        await woken.wait()
        woken.clear()
        return True

    original_claim, original_wait = claiming.claim, clock.wait_until_set
    monkeypatch.setattr(sender, "claim", claim)
    monkeypatch.setattr(clock, "wait_until_set", wait_until_set)
    async with receiver() as shop:
        endpoint_id = await desk.register(shop)
        await desk.ask_for(endpoint_id, format="variant_stock")
        await desk.hear_stock(stock_at(100, 1, {"main": 5, "shop": 3}), stock_at(101, 1, {"main": 1}))
        await desk.fan_out()
        context = Context("notifier", desk.settings, desk.database, InProcessBus(publish_timeout_seconds=1))
        task = asyncio.create_task(Sender(context, woken).run())
        await shop.wait_for_calls(3)
        task.cancel()
        await asyncio.wait([task])
    after_calls = [then for before, then in pairwise(steps) if before == "called"]
    assert after_calls[:2] == ["waited", "waited"], steps


async def test_a_round_that_finds_nobody_to_call_is_followed_by_a_pause_however_many_claims_it_took(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Endpoints whose secrets cannot be read are found due each time, and fill claims."""
    steps: list[str] = []
    woken, paused = asyncio.Event(), asyncio.Event()

    async def claim(*_: object) -> Claimed:
        assert len(steps) < 4, "it goes round and round"
        steps.append("claimed")
        return Claimed((), 512 if len(steps) == 1 else 0, may_find_more=False)

    async def wait_until_set(event: asyncio.Event, _: float) -> bool:
        assert event is woken
        steps.append("paused")
        paused.set()
        return await event.wait()

    monkeypatch.setattr(sender, "claim", claim)
    monkeypatch.setattr(clock, "wait_until_set", wait_until_set)
    context = Context("notifier", desk.settings, desk.database, InProcessBus(publish_timeout_seconds=1))
    task = asyncio.create_task(Sender(context, woken).run())
    await asyncio.wait([task, asyncio.ensure_future(paused.wait())], return_when=asyncio.FIRST_COMPLETED)
    assert steps == ["claimed", "claimed", "paused"]
    task.cancel()
    await asyncio.wait([task])
