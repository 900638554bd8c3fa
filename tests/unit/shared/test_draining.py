"""What is cancelled finishes what it has begun, and a service that ends says so."""

import asyncio

import pytest
from fastapi.routing import APIRoute

from services.orders.service import SERVICE
from shared.database import Database
from shared.draining import to_its_end
from shared.errors import ProblemError
from shared.http import create_app
from shared.messaging.in_process import InProcessBus
from shared.service_context import Context
from shared.settings import Settings


class Work:
    """Work that goes on until somebody lets it end."""

    def __init__(self) -> None:
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()
        self.is_done = False

    async def do(self) -> None:
        self.begun.set()
        await self.may_end.wait()
        self.is_done = True


async def test_cancelled_work_ends_before_the_cancellation_goes_on() -> None:
    work = Work()
    part = asyncio.create_task(to_its_end(work.do()))
    await work.begun.wait()
    part.cancel()
    for _ in range(10):  # all that can go on now
        await asyncio.sleep(0)
    assert not part.done()
    work.may_end.set()
    await asyncio.wait([part])
    assert part.cancelled()
    assert work.is_done


async def test_what_does_not_end_is_cut_off() -> None:
    work = Work()
    part = asyncio.create_task(to_its_end(work.do(), within_seconds=0.01))
    await work.begun.wait()
    part.cancel()
    await asyncio.wait([part])
    assert part.cancelled()
    assert not work.is_done


async def test_work_that_is_not_cancelled_hands_on_its_result_and_its_error() -> None:
    async def divide(number: int) -> float:
        return 1 / number

    assert await to_its_end(divide(4)) == 0.25
    with pytest.raises(ZeroDivisionError):
        await to_its_end(divide(0))


async def test_a_service_that_ends_is_not_ready() -> None:
    database = Database("orders", "postgresql://nobody@localhost/nothing", pool_size=2)
    context = Context("orders", Settings(_env_file=None), database, InProcessBus(publish_timeout_seconds=1))
    app = create_app([SERVICE], {"orders": context})
    readyz = next(route for route in app.routes if getattr(route, "path", None) == "/readyz")
    assert isinstance(readyz, APIRoute)
    context.draining.set()
    with pytest.raises(ProblemError, match="ending"):
        await readyz.endpoint()
