"""Whatever two senders, the events and the retailers do, and whenever they die: P1, P2, P3 and P7 hold."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import Any, cast

import aiohttp
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

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
MOODS = [*ANSWERS, *LOST, "fine", "fine"]
WORKER = st.sampled_from([0, 1])

# About 15 s on a quiet machine; derandomized, so that whoever breaks it breaks it for all. Finding the shortest story
# that fails takes minutes: add Phase.shrink for it.
BOUNDED = settings(
    max_examples=40,
    stateful_step_count=40,
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
            raise aiohttp.ClientConnectorError(cast("Any", None), ConnectionRefusedError())
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
        # Of each sender: calls that are claimed and not made, and calls that are made and not written down.
        self.claimed: tuple[list[Call], list[Call]] = ([], [])
        self.answered: tuple[list[Answered], list[Answered]] = ([], [])
        self.run(self._start_anew())

    def run(self, what: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - what it returns
        return self.runner.run(what)

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
        """P1 and P3, and that nothing is made up: checked for every call that reaches a retailer."""
        (company_id,) = (one for one in RETAILERS if self.urls[one] == url)
        for product_id, available, version in _read(body):
            before = self.told[url, product_id]
            assert (available, version) in self.committed[product_id], "what was never committed"
            if before:
                when, _, last_version = before[-1]
                assert self.now() - when >= WINDOWS[company_id], f"two calls in one window: {before}"
                assert version >= last_version, f"an older state after a newer one: {before}, {version}"
            before.append((self.now(), available, version))

    @rule(product_id=st.sampled_from(PRODUCTS), available=st.integers(-1, 3))
    def stock_changes(self, product_id: int, available: int) -> None:
        states = self.committed[product_id]
        previous = states[-1][0] if states else 0
        states.append((available, len(states) + 1))
        self.events.append(stock_changed(product_id, available, len(states), previous=previous))

    @precondition(lambda self: self.events)
    @rule(data=st.data(), again=st.booleans())
    def events_come(self, data: st.DataObject, again: bool) -> None:
        come = data.draw(st.lists(st.sampled_from(range(len(self.events))), min_size=1, max_size=4, unique=True))
        self.run(self.desk.hear_stock(*(self.events[index] for index in come)))
        if not again:
            self.events = [event for index, event in enumerate(self.events) if index not in come]

    @rule()
    def changes_are_fanned_out(self) -> None:
        self.run(self.desk.fan_out())

    @rule(worker=WORKER)
    def a_sender_claims(self, worker: int) -> None:
        self.run(self._claim(worker))

    @rule()
    def both_senders_claim_at_once(self) -> None:
        async def both() -> None:
            await asyncio.gather(self._claim(0), self._claim(1))

        self.run(both())

    async def _claim(self, worker: int) -> None:
        calls = (await claim(self.desk.database, self.desk.settings, 0, 10)).calls
        assert all(self.connected[call.endpoint.company_id] for call in calls), "a call without a connection"
        self.claimed[worker].extend(calls)

    @precondition(lambda self: any(self.claimed))
    @rule(data=st.data(), worker=WORKER)
    def a_sender_calls(self, data: st.DataObject, worker: int) -> None:
        calls = self.claimed[worker]
        if calls:
            call = calls.pop(data.draw(st.integers(0, len(calls) - 1)))
            self.answered[worker].append(self.run(send(self.desk.deliverer, call)))

    @precondition(lambda self: any(self.answered))
    @rule(worker=WORKER)
    def a_sender_writes_it_down(self, worker: int) -> None:
        answered = self.answered[worker][:]
        self.answered[worker].clear()
        if answered:
            self.run(finish(self.desk.database, answered))

    @precondition(lambda self: any(self.claimed) or any(self.answered))
    @rule(worker=WORKER)
    def a_sender_dies(self, worker: int) -> None:
        """After its claim, or after its calls, as the case may be; before the commit of either is before either."""
        self.claimed[worker].clear()
        self.answered[worker].clear()

    @rule(seconds=st.sampled_from([1, 6, TIMEOUT_SECONDS + 1, 35, 130, 310, WINDOW_SECONDS + 1, 2 * WINDOW_SECONDS]))
    def time_passes(self, seconds: float) -> None:
        self.run(self.desk.move(seconds))

    @rule(retailer_id=st.sampled_from(RETAILERS), mood=st.sampled_from(MOODS))
    def a_retailer_changes_its_mood(self, retailer_id: int, mood: str) -> None:
        self.moods[self.urls[retailer_id]] = mood

    @rule(retailer_id=st.sampled_from(RETAILERS))
    def a_connection_begins_or_ends(self, retailer_id: int) -> None:
        self.connected[retailer_id] = not self.connected[retailer_id]
        self.run(self._tell_of_connection(retailer_id))

    async def _tell_of_connection(self, retailer_id: int) -> None:
        self.connection_version += 1
        state: ConnectionState = "active" if self.connected[retailer_id] else "paused"
        await self.desk.hear_connections(connection(state, self.connection_version, retailer_id))

    @rule(retailer_id=st.sampled_from(RETAILERS), state=st.sampled_from(["active", "paused"]))
    def a_retailer_pauses_or_resumes(self, retailer_id: int, state: str) -> None:
        self.run(
            self.desk.execute(
                "update endpoints set state = :state where company_id = :retailer_id and state <> 'disabled'",
                state=state,
                retailer_id=retailer_id,
            )
        )

    def teardown(self) -> None:
        """P2 and P7: once retailers are well and connected, each soon knows what is now, and nothing is left to do."""
        self.run(self._all_is_well())
        self.run(self._tell_in_time())

    async def _all_is_well(self) -> None:
        for worker in (0, 1):
            self.a_sender_dies(worker)
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
