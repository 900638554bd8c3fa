"""Whatever two senders, the events and the retailers do, and whenever they die: P1, P2, P3 and P7 hold."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from random import Random
from typing import Any, cast

import aiohttp
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from services.notifier.calls import Answered, Call, send
from services.notifier.claiming import claim
from services.notifier.deliver import Deliverer
from services.notifier.finishing import finish
from shared import clock
from shared.events.catalog import ConnectionState
from shared.events.inventory import StockChanged
from tests.integration.notifier.conftest import (
    RETAILER_A,
    RETAILER_B,
    TIMEOUT_SECONDS,
    WINDOW_SECONDS,
    Desk,
    a_desk,
    connection,
    stock_changed,
)

PRODUCTS = (100, 101, 200)
RETAILERS = (RETAILER_A, RETAILER_B)
# Retailer B asks for peace: its window is twice the platform's.
WINDOWS = {RETAILER_A: WINDOW_SECONDS, RETAILER_B: 2 * WINDOW_SECONDS}
ANSWERS = {
    "fine": HTTPStatus.NO_CONTENT,
    "broken": HTTPStatus.INTERNAL_SERVER_ERROR,
    "too much": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "slow down": HTTPStatus.TOO_MANY_REQUESTS,
    "gone": HTTPStatus.GONE,
}
# What comes of a call that is not answered: whether the request had arrived.
LOST = {"times out": True, "resets": True, "is not there": False}
MOODS = [*ANSWERS, *LOST, *["fine"] * 6]
WORKERS = (0, 1)
# The last three are the two windows, and what a call that may be under way lasts.
WAITS_SECONDS = [6, 130, WINDOW_SECONDS + 1, 2 * WINDOW_SECONDS + 1, TIMEOUT_SECONDS + 1]
# About 15 s on a quiet machine; derandomized, so that whoever breaks it breaks it for all. Finding the shortest story
# that fails takes minutes: add Phase.shrink for it.
BOUNDED = settings(
    max_examples=30,
    stateful_step_count=100,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
EMPTY = """
    do $$ declare names text; begin
        select string_agg(quote_ident(tablename), ', ') into names from pg_tables
        where schemaname = 'notifier' and tablename <> 'alembic_version';
        execute 'truncate ' || names || ' restart identity';
    end $$
"""


class Body:
    """The body of an empty answer, as aiohttp gives it."""

    chunks = b""

    async def iter_any(self) -> AsyncIterator[bytes]:
        if self.chunks:
            yield self.chunks


class Network:
    """Stands where aiohttp's session does: each URL is a retailer in some mood, and what arrives is noted."""

    def __init__(self, story: "Story") -> None:
        self._story = story

    @asynccontextmanager
    async def post(self, url: str, *, data: bytes, **_: Any) -> AsyncIterator[Any]:  # noqa: ANN401 - aiohttp's
        mood = self._story.moods[url]
        if LOST.get(mood, True):
            self._story.arrived(url, data)
        if mood == "is not there":
            raise aiohttp.ConnectionTimeoutError
        if mood == "times out":
            raise TimeoutError
        if mood == "resets":
            raise aiohttp.ClientOSError
        headers = {"Retry-After": "1200"} if mood == "slow down" else {}
        yield cast("Any", type("Answer", (), {"status": ANSWERS[mood], "headers": headers, "content": Body()}))


class Story(RuleBasedStateMachine):
    """Stock changes and its events, two senders that are taken through their steps by hand, and retailers with moods.

    `committed` is what inventory told of each product: `(available, version)`, newest last. `told` is what arrived at
    each endpoint: `{(url, product): [(when, available, version)]}`, on the clock that moves the database's.
    """

    runner: asyncio.Runner
    desk: Desk
    real_monotonic: Any

    @initialize()
    def begin(self) -> None:
        self.urls = {company_id: f"https://retailer-{company_id}.example/stock" for company_id in RETAILERS}
        self.moods = dict.fromkeys(self.urls.values(), "fine")
        self.committed: dict[int, list[tuple[int, int]]] = {product_id: [] for product_id in PRODUCTS}
        self.events: list[StockChanged] = []
        self.told: dict[tuple[str, int], list[tuple[float, int, int]]] = defaultdict(list)
        self.connected: dict[int, bool] = {RETAILER_A: True, RETAILER_B: True}
        self.connection_version = 1
        self.wrong: list[str] = []
        # Of each sender: calls that are claimed and not made, and calls that are made and not written down.
        self.claimed: tuple[list[Call], list[Call]] = ([], [])
        self.answered: tuple[list[Answered], list[Answered]] = ([], [])
        self.runner.run(self._start_anew())

    async def _start_anew(self) -> None:
        await self.desk.execute(EMPTY)
        self.desk.deliverer = Deliverer(cast("Any", Network(self)))
        await self.desk.learn()
        await self.desk.hear_connections(connection("active", 1, RETAILER_B))
        for company_id, url in self.urls.items():
            await self.desk.register_url(url, company_id, window_seconds=WINDOWS[company_id])

    def now(self) -> float:
        seconds: float = self.real_monotonic() + self.desk.offset_seconds
        return seconds

    def arrived(self, url: str, body: bytes) -> None:
        """P1 and P3, and that nothing is made up; noted, as a sender outlives whatever its network raises."""
        (company_id,) = (one for one in RETAILERS if self.urls[one] == url)
        for product_id, available, version in _read(body):
            before = self.told[url, product_id]
            if (available, version) not in self.committed[product_id]:
                self.wrong.append(f"{version} was never {available}: {self.committed[product_id]}")
            if before and self.now() - before[-1][0] < WINDOWS[company_id]:
                self.wrong.append(f"a second call in the window of {before[-1]}, at {self.now()}")
            if before and version < before[-1][2]:
                self.wrong.append(f"version {version} after {before[-1]}")
            before.append((self.now(), available, version))

    @invariant()
    def nothing_is_wrong(self) -> None:
        assert self.wrong == []

    # One rule for all: Hypothesis leaves some rules out of each story, and without one of these nothing is told.
    # Each step is one draw, as what may happen depends on a database and its clock.
    @rule(chance=st.randoms(use_true_random=True))
    def something_happens(self, chance: Random) -> None:
        self.runner.run(chance.choice(self.what_may_happen())(chance))

    def what_may_happen(self) -> list[Callable[[Random], Coroutine[Any, Any, None]]]:
        """What means anything now, the likely more than once."""
        may = [self.a_sender_claims, self.both_senders_claim, *[self.a_sender_works] * 2]
        may += [*[self.stock_changes] * 3, *[self.time_passes] * 3]
        may += [self.a_retailer_changes_its_mood, self.a_connection_begins_or_ends, self.a_retailer_pauses_or_resumes]
        if self.events:
            may += [*[self.events_come] * 5, self.events_come_without_fan_out]
        if any(self.claimed):
            may += [*[self.a_sender_calls] * 8, self.a_sender_dies]
        if any(self.answered):
            may += [*[self.a_sender_writes_it_down] * 6, self.a_sender_dies]
        return may

    async def stock_changes(self, chance: Random) -> None:
        product_id = chance.choice(PRODUCTS)
        states = self.committed[product_id]
        available, previous = chance.randint(-1, 3), states[-1][0] if states else 0
        states.append((available, len(states) + 1))
        self.events.append(stock_changed(product_id, available, len(states), previous=previous))

    async def events_come(self, chance: Random) -> None:
        """Some of them, in any order; perhaps they will come again."""
        come = chance.sample(self.events, min(len(self.events), chance.randint(1, 4)))
        await self.desk.hear_stock(*come)
        await self.desk.fan_out()
        if chance.random() < 0.7:
            self.events = [event for event in self.events if event not in come]

    async def events_come_without_fan_out(self, _: Random) -> None:
        await self.desk.hear_stock(*self.events)

    async def a_sender_claims(self, chance: Random) -> None:
        await self._claim(chance.choice(WORKERS))

    async def both_senders_claim(self, _: Random) -> None:
        await asyncio.gather(self._claim(0), self._claim(1))

    async def _claim(self, worker: int) -> None:
        calls = (await claim(self.desk.database, self.desk.settings, 0, 10)).calls
        assert all(self.connected[call.endpoint.company_id] for call in calls), "a call without a connection"
        self.claimed[worker].extend(calls)

    async def a_sender_works(self, chance: Random) -> None:
        """Without a stop from its claim to the end."""
        worker = chance.choice(WORKERS)
        await self._claim(worker)
        while self.claimed[worker]:
            self.answered[worker].append(await send(self.desk.deliverer, self.desk.vault, self.claimed[worker].pop()))
        await finish(self.desk.database, self.answered[worker])
        self.answered[worker].clear()

    async def a_sender_calls(self, chance: Random) -> None:
        worker = chance.choice([one for one in WORKERS if self.claimed[one]])
        call = chance.choice(self.claimed[worker])
        self.claimed[worker].remove(call)
        self.answered[worker].append(await send(self.desk.deliverer, self.desk.vault, call))

    async def a_sender_writes_it_down(self, chance: Random) -> None:
        worker = chance.choice([one for one in WORKERS if self.answered[one]])
        await finish(self.desk.database, self.answered[worker])
        self.answered[worker].clear()

    async def a_sender_dies(self, chance: Random) -> None:
        """After its claim, or after its calls, as the case may be; before the commit of either is before either."""
        self._die(chance.choice(WORKERS))

    def _die(self, worker: int) -> None:
        self.claimed[worker].clear()
        self.answered[worker].clear()

    async def time_passes(self, chance: Random) -> None:
        await self.desk.move(chance.choice(WAITS_SECONDS))

    async def a_retailer_changes_its_mood(self, chance: Random) -> None:
        self.moods[chance.choice(list(self.moods))] = chance.choice(MOODS)

    async def a_connection_begins_or_ends(self, chance: Random) -> None:
        retailer_id = chance.choice(RETAILERS)
        self.connected[retailer_id] = not self.connected[retailer_id]
        await self._tell_of_connection(retailer_id)

    async def _tell_of_connection(self, retailer_id: int) -> None:
        self.connection_version += 1
        state: ConnectionState = "active" if self.connected[retailer_id] else "paused"
        await self.desk.hear_connections(connection(state, self.connection_version, retailer_id))

    async def a_retailer_pauses_or_resumes(self, chance: Random) -> None:
        await self.desk.execute(
            "update endpoints set state = :state where company_id = :retailer_id and state <> 'disabled'",
            state=chance.choice(["active", "active", "paused"]),
            retailer_id=chance.choice(RETAILERS),
        )

    def teardown(self) -> None:
        """P2 and P7: once retailers are well and connected, each soon knows what is now, and nothing is left to do."""
        self.runner.run(self._all_is_well())
        self.runner.run(self._tell_in_time())

    async def _all_is_well(self) -> None:
        self._die(0)
        self._die(1)
        for retailer_id, url in self.urls.items():
            self.moods[url] = "fine"
            self.connected[retailer_id] = True
            await self._tell_of_connection(retailer_id)
        await self.desk.enable_all()
        if self.events:
            await self.desk.hear_stock(*self.events)

    async def _tell_in_time(self) -> None:
        # What a dead sender had claimed waits for a window and its time-out, what was told just before for a window,
        # and what was asked for more peace than that had it meanwhile.
        for _ in range(3):
            await self.desk.tell()
            await self.desk.move(2 * WINDOW_SECONDS + TIMEOUT_SECONDS + 1)
        for url in self.urls.values():
            for product_id, states in self.committed.items():
                if states:
                    assert self.told[url, product_id], f"{url} never heard of {product_id}"
                    _, available, _ = self.told[url, product_id][-1]
                    assert available == states[-1][0], f"{url} knows {self.told[url, product_id]}, not {states}"
        assert await self.desk.execute("select * from slots where dirty or lease_id is not null") == []
        self.nothing_is_wrong()


def _read(body: bytes) -> list[tuple[int, int, int]]:
    items = json.loads(body)["stock"]
    return [(one["linked"][0]["product"]["id"], one["quantity_available"], one["version"]) for one in items]


def test_whatever_happens_to_whom_each_is_told_what_is_now_once_a_window(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def begin() -> Desk:
        return await desks.enter_async_context(a_desk(database_dsn))

    desks = AsyncExitStack()
    with asyncio.Runner() as runner:
        Story.runner, Story.desk, Story.real_monotonic = runner, runner.run(begin()), staticmethod(clock.monotonic)
        # A sender's clock goes as the database's does: who sleeps past its lease knows it.
        monkeypatch.setattr(clock, "monotonic", lambda: Story.real_monotonic() + Story.desk.offset_seconds)
        try:
            run_state_machine_as_test(Story, settings=BOUNDED)
        finally:
            runner.run(desks.aclose())
