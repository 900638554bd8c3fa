"""Whatever happens to senders, calls and stock: the deltas that a receiver adds up are what is there."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from services.notifier.calls import Answered, Call
from services.notifier.claiming import claim
from services.notifier.domain.calls import Outcome
from services.notifier.finishing import finish
from services.notifier.store.replay import replay
from shared.events.catalog import ConnectionState
from shared.events.inventory import StockChanged
from tests.integration.notifier.conftest import RETAILER_A, TIMEOUT_SECONDS, Desk, a_desk, connection, stock_at
from tests.integration.notifier.test_any_interleaving import EMPTY

PRODUCTS = (100, 101)
LOCATIONS = ("main", "shop")
EVENTS = ["variant_stock.updated", "variant_stock.deleted", "variant_stock_delta.updated"]
# What comes of a call, and whether it had arrived.
OUTCOMES = {
    "fine": (Outcome(None, 204), True),
    "broken": (Outcome("http", 500), True),
    "too much": (Outcome("http", 413), True),
    "times out": (Outcome("timeout"), True),
    "resets on the way": (Outcome("reset"), False),
    "is not there": (Outcome("refused"), False),
}
BACK_OFF_SECONDS = 301
LEVELS = st.dictionaries(st.sampled_from(LOCATIONS), st.integers(-1, 4))

# About 10 s on a quiet machine; derandomized, so that whoever breaks it breaks it for all. Finding the shortest story
# that fails takes minutes: add Phase.shrink for it.
BOUNDED = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Sums(RuleBasedStateMachine):
    """Two senders that are taken through their steps by hand, and a receiver that knows each `webhook-id` once.

    `bodies` are those that it got, by their ids; `sums` what it adds up, `known` what it was told outright.
    """

    runner: asyncio.Runner
    desk: Desk

    @initialize()
    def begin(self) -> None:
        self.levels: dict[int, list[dict[str, int]]] = {product_id: [] for product_id in PRODUCTS}
        self.events: list[StockChanged] = []
        self.bodies: dict[str, bytes] = {}
        self.sums: dict[str, int] = defaultdict(int)
        self.known: dict[str, int | None] = {}
        self.claimed: list[Call] = []
        self.answered: list[Answered] = []
        self.connected, self.connection_version = True, 1
        self.run(self._start_anew())

    def run(self, what: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - what it returns
        return self.runner.run(what)

    async def _start_anew(self) -> None:
        await self.desk.execute(EMPTY)
        await self.desk.learn()
        self.endpoint_id = await self.desk.register_url("https://retailer.example/stock", RETAILER_A)
        await self.desk.ask_for(self.endpoint_id, format="variant_stock", event_types=EVENTS, calls_at_once=2)

    def arrived(self, call: Call) -> None:
        """Deltas are the same bytes under the same id, and are added once; what is told outright may be told again."""
        event = json.loads(call.body)
        payload = event["payload"]
        inventory_id = payload["inventory_id"]
        if event["event_type"] == "variant_stock_delta.updated":
            if call.webhook_id not in self.bodies:
                self.sums[inventory_id] += payload["delta"]
                assert self.sums[inventory_id] == payload["quantity_after"], "deltas do not add up"
            assert self.bodies.setdefault(call.webhook_id, call.body) == call.body, "two bodies under one id"
        else:
            self.known[inventory_id] = payload.get("quantity")

    @rule(product_id=st.sampled_from(PRODUCTS), levels=LEVELS)
    def stock_changes(self, product_id: int, levels: dict[str, int]) -> None:
        self.levels[product_id].append(levels)
        self.events.append(stock_at(product_id, len(self.levels[product_id]), levels))

    @precondition(lambda self: self.events)
    @rule(data=st.data(), again=st.booleans())
    def events_come(self, data: st.DataObject, again: bool) -> None:
        come = data.draw(st.lists(st.sampled_from(range(len(self.events))), min_size=1, max_size=3, unique=True))
        self.run(self.desk.hear_stock(*(self.events[index] for index in come)))
        if not again:
            self.events = [event for index, event in enumerate(self.events) if index not in come]
        self.run(self.desk.fan_out())

    @rule()
    def a_sender_claims(self) -> None:
        self.claimed += self.run(claim(self.desk.database, self.desk.settings, 0, 10)).calls

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), what=st.sampled_from([*OUTCOMES, "fine", "fine"]))
    def a_call_is_made(self, data: st.DataObject, what: str) -> None:
        call = self.claimed.pop(data.draw(st.integers(0, len(self.claimed) - 1)))
        outcome, has_arrived = OUTCOMES[what]
        if has_arrived:
            self.arrived(call)
        self.answered.append(Answered(call, {}, outcome, 0.0))

    @precondition(lambda self: self.answered)
    @rule()
    def what_came_of_calls_is_written_down(self) -> None:
        answered, self.answered = self.answered, []
        self.run(finish(self.desk.database, answered))

    @precondition(lambda self: self.claimed or self.answered)
    @rule()
    def the_senders_die(self) -> None:
        self.claimed, self.answered = [], []

    @rule(seconds=st.sampled_from([1, 6, TIMEOUT_SECONDS + 1, BACK_OFF_SECONDS]))
    def time_passes(self, seconds: int) -> None:
        self.run(self._move(seconds))

    async def _move(self, seconds: int) -> None:
        # A call whose lease is over is not made, nor written down: its sender knows the time.
        if seconds > TIMEOUT_SECONDS:
            self.claimed, self.answered = [], []
        await self.desk.move(seconds)

    @rule()
    def the_connection_begins_or_ends(self) -> None:
        self.connected = not self.connected
        self.run(self._tell_of_connection())

    async def _tell_of_connection(self) -> None:
        self.connection_version += 1
        state: ConnectionState = "active" if self.connected else "paused"
        await self.desk.hear_connections(connection(state, self.connection_version))

    @rule(semantics=st.sampled_from(["change", "total"]), hears_deltas=st.booleans())
    def the_endpoint_is_changed(self, semantics: str, hears_deltas: bool) -> None:
        event_types = EVENTS if hears_deltas else EVENTS[:2]
        self.run(self.desk.ask_anew(self.endpoint_id, delta_semantics=semantics, event_types=event_types))

    @rule()
    def it_asks_for_everything_again(self) -> None:
        async def again() -> None:
            async with self.desk.database.transaction() as session:
                await replay(session, self.endpoint_id, since=None, product_ids=None)

        self.run(again())

    def teardown(self) -> None:
        self.run(self._all_is_well())

    async def _all_is_well(self) -> None:
        self.connected = True
        await self._tell_of_connection()
        await self.desk.enable_all()
        await self.desk.ask_anew(self.endpoint_id, event_types=EVENTS)
        if self.events:
            await self.desk.hear_stock(*self.events)
        await self.desk.fan_out()
        await self._move(2 * BACK_OFF_SECONDS)
        while calls := (await claim(self.desk.database, self.desk.settings, 0, 10)).calls:
            for call in calls:
                self.arrived(call)
            await finish(self.desk.database, [Answered(call, {}, OUTCOMES["fine"][0], 0.0) for call in calls])
        for product_id, states in self.levels.items():
            for location in LOCATIONS:
                inventory_id = f"{location}:{product_id}"
                now = states[-1].get(location) if states else None
                assert self.sums[inventory_id] == (now or 0), inventory_id
                assert self.known.get(inventory_id) == now, inventory_id
        assert await self.desk.execute("select * from slots where dirty or lease_id is not null") == []


def test_the_sum_of_distinct_deltas_is_always_what_was_told_last_and_in_the_end_what_is_there(
    database_dsn: str,
) -> None:
    async def begin() -> Desk:
        return await desks.enter_async_context(a_desk(database_dsn))

    desks = AsyncExitStack()
    with asyncio.Runner() as runner:
        Sums.runner, Sums.desk = runner, runner.run(begin())
        try:
            run_state_machine_as_test(Sums, settings=BOUNDED)
        finally:
            runner.run(desks.aclose())
