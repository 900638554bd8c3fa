"""A sender that is stopped between its claim and its call, and wakes when another has long made the call."""

import signal
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.end_to_end.system import eventually
from tests.fault.checker import check
from tests.fault.crash_points import CRASHES
from tests.fault.crashable import CrashableProcess
from tests.fault.journal import submit
from tests.fault.plant import Plant, running_plant
from tests.fault.settling import until_settled
from tests.fault.shop import Shop, open_shop
from tests.fault.test_crash_points import fetch

(CLAIMED,) = (crash for crash in CRASHES if crash.point.name == "sender: after claim, before send")
# The lease is over well before the window.
WINDOW_SECONDS, TIMEOUT_SECONDS = 3, 1


@pytest.fixture
def plant() -> Iterator[Plant]:
    with running_plant(
        {"notifier": 2},
        CrashableProcess,
        webhook_window_seconds=str(WINDOW_SECONDS),
        webhook_timeout_seconds=str(TIMEOUT_SECONDS),
    ) as prepared:
        yield prepared


@pytest_asyncio.fixture
async def shop(plant: Plant) -> AsyncIterator[Shop]:
    async with open_shop(plant) as opened:
        yield opened


async def test_it_sends_nothing_and_spoils_nothing(shop: Shop) -> None:
    plant, webhooks = shop.plant, shop.system.webhooks
    first, second = plant.of("notifier", 1), plant.of("notifier", 2)
    assert isinstance(first, CrashableProcess)
    second.kill()
    await until_settled(plant, shop.journal)
    first.stop_at(CLAIMED)
    counted = shop._operation("adjustment", {100: 5}, {"adjustment": 5})
    assert await submit(counted, shop.system.supplier)

    async def has_stopped() -> bool:
        return first.crashes() == [str(CLAIMED)]

    await eventually("the first sender has claimed the call and stopped", has_stopped)
    first.crash_at(None)
    assert webhooks.calls == []
    second.launch()
    await second.until_ready()
    await webhooks.wait_for_calls(1)
    first.send(signal.SIGCONT)

    async def has_woken() -> bool:
        return ("late",) in await fetch(plant.dsn, "select error from notifier.attempts")

    await eventually("the first sender has found that it is too late", has_woken)
    await until_settled(plant, shop.journal)
    assert [list(call.available) for call in webhooks.calls] == [[100]]
    again = shop._operation("adjustment", {100: 1}, {"adjustment": 1})
    assert await submit(again, shop.system.supplier)
    await webhooks.wait_for_calls(2)
    await until_settled(plant, shop.journal)
    verdict = await check(plant.dsn, shop.journal, [webhooks], WINDOW_SECONDS)
    assert not verdict.problems(), str(verdict)
    assert len(webhooks.calls) == 2
