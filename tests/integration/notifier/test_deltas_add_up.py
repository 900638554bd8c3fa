"""Whatever happens to senders, calls and stock: the deltas that a receiver adds up are what is there."""

import json
from collections import defaultdict
from random import Random

import pytest

from services.notifier.calls import Answered, Call, send
from services.notifier.claiming import claim
from services.notifier.finishing import finish
from services.notifier.store.replay import ask_to_replay
from shared.events.catalog import ConnectionState
from shared.events.inventory import StockChanged
from tests.integration.notifier.conftest import RETAILER_A, TIMEOUT_SECONDS, connection, stock_at
from tests.integration.notifier.stories import Step, Story, run_stories

URL = "https://retailer.example/stock"
PRODUCTS = (100, 101)
LOCATIONS = ("main", "shop")
EVENTS = ["variant_stock.updated", "variant_stock.deleted", "variant_stock_delta.updated"]
# Of a call; half of them are not acknowledged, and of these most had arrived.
MOODS = ["broken", "too much", "times out", "resets", "is not there", *["fine"] * 5]
# The last one is longer than anything rests.
WAITS_SECONDS = [1, 6, TIMEOUT_SECONDS + 1, 301]
DAY_SECONDS = 86_400


class Sums(Story):
    """Stock at locations, senders that are taken through their steps by hand, and one receiver of all events.

    `are_deltas` says of each `webhook-id` what came under it; `bodies` are those of its deltas, each of which it adds
    once. `sums` is what that makes, and `known` what it was told outright, both by inventory id.
    """

    async def begin(self) -> None:
        self.levels: dict[int, list[dict[str, int]]] = {product_id: [] for product_id in PRODUCTS}
        self.events: list[StockChanged] = []
        self.are_deltas: dict[str, bool] = {}
        self.bodies: dict[str, bytes] = {}
        self.sums: dict[str, int] = defaultdict(int)
        self.known: dict[str, int | None] = {}
        self.claimed: list[Call] = []
        self.answered: list[Answered] = []
        self.connected, self.connection_version, self.event_types = True, 1, EVENTS
        self.moods[URL] = "fine"
        self.endpoint_id = await self.desk.register_url(URL, RETAILER_A)
        await self.desk.ask_for(self.endpoint_id, format="variant_stock", event_types=EVENTS, calls_at_once=2)

    def arrived(self, _url: str, webhook_id: str, body: bytes, /) -> None:
        event = json.loads(body)
        payload = event["payload"]
        is_delta = event["event_type"] == "variant_stock_delta.updated"
        if self.are_deltas.setdefault(webhook_id, is_delta) != is_delta:
            self.wrong.append(f"under the id of another event {event}")
        if is_delta:
            self._add(payload, webhook_id, body)
        else:
            self.known[payload["inventory_id"]] = payload.get("quantity")

    def _add(self, payload: dict[str, object], webhook_id: str, body: bytes) -> None:
        if webhook_id in self.bodies:
            if self.bodies[webhook_id] != body:
                self.wrong.append(f"under one id {self.bodies[webhook_id]!r} and {body!r}")
            return
        self.bodies[webhook_id] = body
        inventory_id = str(payload["inventory_id"])
        self.sums[inventory_id] += int(str(payload["delta"]))
        if self.sums[inventory_id] != payload["quantity_after"]:
            self.wrong.append(f"{self.sums[inventory_id]} is what was added up with {payload}")

    def what_may_happen(self) -> list[Step]:
        may = [*[self.stock_changes] * 3, *[self.time_passes] * 3, *[self.a_sender_works] * 4, self.a_sender_claims]
        may += [self.the_connection_begins_or_ends, self.the_endpoint_is_changed]
        may += [self.it_asks_for_everything_again] * 2
        if self.events:
            may += [self.events_come] * 5
        if self.claimed:
            may += [*[self.a_call_is_made] * 5, self.the_senders_die]
        if self.answered:
            may += [*[self.calls_are_written_down] * 4, self.the_senders_die]
        return may

    async def stock_changes(self, chance: Random) -> None:
        product_id = chance.choice(PRODUCTS)
        stocked = [location for location in LOCATIONS if chance.random() < 0.8]
        levels = {location: chance.randint(-1, 4) for location in stocked}
        self.levels[product_id].append(levels)
        self.events.append(stock_at(product_id, len(self.levels[product_id]), levels))

    async def events_come(self, chance: Random) -> None:
        """Some of them, in any order; perhaps they will come again."""
        come = chance.sample(self.events, min(len(self.events), chance.randint(1, 3)))
        await self.desk.hear_stock(*come)
        await self.desk.fan_out()
        if chance.random() < 0.7:
            self.events = [event for event in self.events if event not in come]

    async def a_sender_claims(self, _: Random) -> None:
        self.claimed += (await claim(self.desk.database, self.desk.settings, 0, 10)).calls

    async def a_call_is_made(self, chance: Random) -> None:
        call = self.claimed.pop(chance.randrange(len(self.claimed)))
        self.answered.append(await self._send(call, chance))

    async def _send(self, call: Call, chance: Random) -> Answered:
        self.moods[URL] = chance.choice(MOODS)
        return await send(self.desk.deliverer, self.desk.vault, call)

    async def calls_are_written_down(self, _: Random) -> None:
        await finish(self.desk.database, self.answered)
        self.answered.clear()

    async def a_sender_works(self, chance: Random) -> None:
        """Without a stop, until nothing is due or it has enough."""
        for _ in range(chance.randint(1, 6)):
            calls = (await claim(self.desk.database, self.desk.settings, 0, 10)).calls
            if not calls:
                return
            await finish(self.desk.database, [await self._send(call, chance) for call in calls])

    async def the_senders_die(self, _: Random) -> None:
        """After their claims, or after their calls, as the case may be."""
        self.claimed.clear()
        self.answered.clear()

    async def time_passes(self, chance: Random) -> None:
        await self.desk.move(chance.choice(WAITS_SECONDS))

    async def the_connection_begins_or_ends(self, _: Random) -> None:
        self.connected = not self.connected
        await self._tell_of_connection()

    async def _tell_of_connection(self) -> None:
        self.connection_version += 1
        state: ConnectionState = "active" if self.connected else "paused"
        await self.desk.hear_connections(connection(state, self.connection_version))

    async def the_endpoint_is_changed(self, chance: Random) -> None:
        semantics = chance.choice(["change", "total"])
        self.event_types = chance.choice([EVENTS, EVENTS, EVENTS[:2]])
        await self.desk.ask_anew(self.endpoint_id, delta_semantics=semantics, event_types=self.event_types)

    async def it_asks_for_everything_again(self, _: Random) -> None:
        async with self.desk.database.transaction() as session:
            await ask_to_replay(session, self.endpoint_id, None)

    async def end(self) -> None:
        self.claimed.clear()
        self.answered.clear()
        self.moods[URL] = "fine"
        await self.desk.enable_all()
        # Each of the two is told all anew, which would mend what was lost.
        if not self.connected:
            self.connected = True
            await self._tell_of_connection()
        if self.event_types != EVENTS:
            await self.desk.ask_anew(self.endpoint_id, event_types=EVENTS)
        if self.events:
            await self.desk.hear_stock(*self.events)
        await self.desk.move(DAY_SECONDS)
        await self.desk.tell()
        for product_id, states in self.levels.items():
            for location in LOCATIONS:
                inventory_id = f"{location}:{product_id}"
                now = states[-1].get(location) if states else None
                assert self.sums[inventory_id] == (now or 0), inventory_id
                assert self.known.get(inventory_id) == now, inventory_id
        assert await self.desk.execute("select * from slots where dirty or lease_id is not null") == []


def test_the_sum_of_distinct_deltas_is_always_what_was_told_last_and_in_the_end_what_is_there(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # About 10 s on a quiet machine.
    run_stories(Sums, database_dsn, monkeypatch, examples=12, steps=55)
