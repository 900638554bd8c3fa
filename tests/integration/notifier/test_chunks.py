"""How much fan-out, catching up and a claim do at once: by slots, and less after what took too long."""

import asyncio

import pytest
from sqlalchemy import text

from services.notifier import fan_out
from services.notifier.fan_out import Chunks, mark_all
from services.notifier.store import slots as slot_store
from services.notifier.store.due import find_due_endpoints
from tests.integration.notifier.conftest import RETAILER_A, WINDOW_SECONDS, Desk, stock_at, stock_changed
from tests.integration.notifier.test_races import DEADLINE_SECONDS


async def test_what_runs_into_the_time_limit_is_tried_again_in_halves(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fan_out, "PAUSE_SECONDS", 0)
    asked: list[int] = []
    woken = asyncio.Event()

    async def mark(slots: int) -> int:
        asked.append(slots)
        if slots > 25:
            async with desk.database.transaction() as session:
                await session.execute(text("set local statement_timeout = 1"))
                await session.execute(text("select pg_sleep(3600)"))
        return 1

    worker = asyncio.create_task(mark_all(mark, Chunks(100), 2, 3600, woken))
    waiting = asyncio.ensure_future(woken.wait())
    await asyncio.wait([worker, waiting], return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE_SECONDS)
    assert not worker.done(), worker
    assert asked == [100, 50, 25]
    worker.cancel()
    await asyncio.wait([worker])


def test_chunks_grow_again_slowly_and_have_a_slot_at_least() -> None:
    chunks = Chunks(100)
    for _ in range(9):
        chunks.halve()
    assert chunks.slots == 1
    sizes = []
    while chunks.slots < 100:
        chunks.grow()
        sizes.append(chunks.slots)
    assert (sizes[:3], sizes[-1], len(sizes)) == ([2, 3, 4], 100, 32)


async def test_a_chunk_of_fan_out_has_as_many_slots_however_many_locations_there_are(desk: Desk) -> None:
    for format_ in ("stock_level", "variant_stock"):
        endpoint_id = await desk.register_url("https://shop.example/", RETAILER_A)
        await desk.ask_for(endpoint_id, format=format_)
    levels = {f"shop {number}": 1 for number in range(4)}
    await desk.hear_stock(*(stock_at(number, 1, levels) for number in range(100, 106)))
    chunks = [await fan_out.fan_out_chunk(desk.database, slots=slots) for slots in (10, 1, 1000)]
    assert [(chunk.products, chunk.is_full) for chunk in chunks] == [
        ([100, 101], True),
        ([102], True),
        ([103, 104, 105], False),
    ]
    assert len(await desk.execute("select 1 from slots")) == 6 * 5


async def test_a_claim_looks_at_no_more_endpoints_than_have_enough_due(desk: Desk) -> None:
    for _ in range(4):
        await desk.register_url("https://shop.example/", RETAILER_A)
    await desk.hear_stock(*(stock_changed(1000 + number, 5, 1) for number in range(3)))
    await desk.fan_out()
    async with desk.database.transaction() as session:
        due = await find_due_endpoints(session, 0, 10, WINDOW_SECONDS)
        for limit, count in ((1, 1), (3, 1), (4, 2), (7, 3), (100, 4)):
            assert await slot_store.first_of(session, due, limit) == due[:count]
