"""Stories that Hypothesis makes up: what happens next is drawn, and what is wrong is noted wherever it shows.

Noted, and not raised: a sender outlives whatever its network raises (`calls.send`), so nobody would hear of it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from random import Random
from typing import Any, cast

import aiohttp
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from services.notifier.deliver import Deliverer
from shared import clock
from tests.integration.notifier.conftest import Desk, a_desk

ANSWERS = {
    "fine": HTTPStatus.NO_CONTENT,
    "broken": HTTPStatus.INTERNAL_SERVER_ERROR,
    "too much": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "slow down": HTTPStatus.TOO_MANY_REQUESTS,
    "gone": HTTPStatus.GONE,
}
# What comes of a call that is not answered: whether the request had arrived.
LOST = {"times out": True, "resets": True, "is not there": False}
EMPTY = """
    do $$ declare names text; begin
        select string_agg(quote_ident(tablename), ', ') into names from pg_tables
        where schemaname = 'notifier' and tablename <> 'alembic_version';
        execute 'truncate ' || names || ' restart identity';
    end $$
"""

Step = Callable[[Random], Coroutine[Any, Any, None]]


class Body:
    """The body of an empty answer, as aiohttp gives it."""

    chunks = b""

    async def iter_any(self) -> AsyncIterator[bytes]:
        if self.chunks:
            yield self.chunks


class Network:
    """Stands where aiohttp's session does: each URL is a retailer in some mood, and what arrives is told on."""

    def __init__(self, moods: Mapping[str, str], arrived: Callable[[str, str, bytes], None]) -> None:
        self._moods, self._arrived = moods, arrived

    @asynccontextmanager
    async def post(self, url: str, *, headers: Mapping[str, str], data: bytes, **_: Any) -> AsyncIterator[Any]:  # noqa: ANN401 - aiohttp's
        mood = self._moods[url]
        if LOST.get(mood, True):
            self._arrived(url, headers["webhook-id"], data)
        if mood == "is not there":
            raise aiohttp.ConnectionTimeoutError
        if mood == "times out":
            raise TimeoutError
        if mood == "resets":
            raise aiohttp.ClientOSError
        answered = {"Retry-After": "1200"} if mood == "slow down" else {}
        yield cast("Any", type("Answer", (), {"status": ANSWERS[mood], "headers": answered, "content": Body()}))


class Story(RuleBasedStateMachine):
    """A notifier that is taken through its steps by hand; `moods` are those of the URLs, `wrong` what was not right."""

    runner: asyncio.Runner
    desk: Desk
    real_monotonic: Any

    @initialize()
    def start_anew(self) -> None:
        self.moods: dict[str, str] = {}
        self.wrong: list[str] = []
        self.runner.run(self._start_anew())

    async def _start_anew(self) -> None:
        await self.desk.execute(EMPTY)
        self.desk.deliverer = Deliverer(cast("Any", Network(self.moods, self.arrived)))
        await self.desk.learn()
        await self.begin()

    def now(self) -> float:
        """The time on the clock that moves the database's."""
        seconds: float = self.real_monotonic() + self.desk.offset_seconds
        return seconds

    # One rule for all: Hypothesis leaves some rules out of each story, and without one of these nothing is told.
    # Each step is one draw, as what may happen depends on a database and its clock.
    @rule(chance=st.randoms(use_true_random=True))
    def something_happens(self, chance: Random) -> None:
        self.runner.run(chance.choice(self.what_may_happen())(chance))

    @invariant()
    def nothing_is_wrong(self) -> None:
        assert self.wrong == []

    def teardown(self) -> None:
        # What went wrong first says more than what comes of it.
        self.nothing_is_wrong()
        self.runner.run(self.end())
        self.nothing_is_wrong()

    async def begin(self) -> None:
        """Once the seeds are learnt."""
        raise NotImplementedError

    def arrived(self, url: str, webhook_id: str, body: bytes, /) -> None:
        """What a retailer hears; notes in `wrong`."""
        raise NotImplementedError

    def what_may_happen(self) -> list[Step]:
        """What means anything now, the likely more than once."""
        raise NotImplementedError

    async def end(self) -> None:
        """All is well again, and all is told; asserts, or notes in `wrong`."""
        raise NotImplementedError


def run_stories(
    story: type[Story], database_dsn: str, monkeypatch: pytest.MonkeyPatch, *, examples: int, steps: int
) -> None:
    """Make up so many stories, the same ones each time, so that whoever breaks one breaks it for all.

    Finding the shortest one that fails takes minutes: add Phase.shrink for it.
    """
    bounded = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )

    async def begin() -> Desk:
        return await desks.enter_async_context(a_desk(database_dsn))

    desks = AsyncExitStack()
    with asyncio.Runner() as runner:
        story.runner, story.desk, story.real_monotonic = runner, runner.run(begin()), staticmethod(clock.monotonic)
        # A sender's clock goes as the database's does: who sleeps past its lease knows it.
        monkeypatch.setattr(clock, "monotonic", lambda: story.real_monotonic() + story.desk.offset_seconds)
        try:
            run_state_machine_as_test(story, settings=bounded)
        finally:
            runner.run(desks.aclose())
