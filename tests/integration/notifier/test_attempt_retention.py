"""The log of attempts is kept for thirty days."""

from services.notifier.store import attempts as attempt_store
from tests.integration.notifier.conftest import Desk, stock_changed
from tests.receiver import receiver

KEEP_DAYS = 30


async def test_old_attempts_are_forgotten_in_chunks_and_young_ones_kept(desk: Desk) -> None:
    async with receiver() as shop:
        await desk.register(shop)
        for version in range(1, 4):
            await desk.hear_stock(stock_changed(100, version, version))
            await desk.tell()
            await desk.move(KEEP_DAYS * 86_400 - 10 if version == 2 else 1000)
        async with desk.database.transaction() as session:
            assert await attempt_store.forget_attempts(session, KEEP_DAYS, 1) == 1
            assert await attempt_store.forget_attempts(session, KEEP_DAYS, 10) == 1
            assert await attempt_store.forget_attempts(session, KEEP_DAYS, 10) == 0
        (left,) = await desk.execute("select versions from attempts")
        assert left.versions == [3]
