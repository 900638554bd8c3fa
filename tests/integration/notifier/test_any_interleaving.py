"""Whatever two senders, the events and the retailers do, and whenever they die: P1, P2, P3 and P7 hold."""

import asyncio
import json
from collections import defaultdict
from itertools import chain
from random import Random

import pytest

from services.notifier import fan_out
from services.notifier.calls import Answered, Call, send
from services.notifier.claiming import claim
from services.notifier.fan_out import ask_connected, catch_up_one, fan_out_chunk
from services.notifier.finishing import finish
from services.notifier.store import endpoints as endpoint_store
from services.notifier.store.replay import ask_to_replay
from shared.events.catalog import ConnectionState
from shared.events.inventory import StockChanged
from tests.integration.notifier.conftest import (
    RETAILER_A,
    RETAILER_B,
    TIMEOUT_SECONDS,
    WINDOW_SECONDS,
    connection,
    stock_changed,
)
from tests.integration.notifier.stories import ANSWERS, LOST, Step, Story, run_stories

PRODUCTS = (100, 101, 200)
RETAILERS = (RETAILER_A, RETAILER_B)
# Retailer B asks for peace: its window is twice the platform's.
WINDOWS = {RETAILER_A: WINDOW_SECONDS, RETAILER_B: 2 * WINDOW_SECONDS}
MOODS = [*ANSWERS, *LOST, *["fine"] * 6]
WORKERS = (0, 1)
# The last three are the two windows, and what a call that may be under way lasts.
WAITS_SECONDS = [6, 130, WINDOW_SECONDS + 1, 2 * WINDOW_SECONDS + 1, TIMEOUT_SECONDS + 1]
# Until the lease of what a sender claimed ends, and until it is due again, at either retailer.
LEASE_SECONDS = TIMEOUT_SECONDS + 1
SLEEPS_SECONDS = [
    LEASE_SECONDS,
    LEASE_SECONDS,
    *(window_seconds + LEASE_SECONDS for window_seconds in WINDOWS.values()),
]


class Telling(Story):
    """Stock changes and its events, two senders that are taken through their steps by hand, and retailers with moods.

    `committed` is what inventory told of each product: `(available, version)`, newest last. `told` is what arrived at
    each endpoint: `{(url, product): [(when, available, version)]}`, on the clock that moves the database's.
    """

    async def begin(self) -> None:
        self.urls = {company_id: f"https://retailer-{company_id}.example/stock" for company_id in RETAILERS}
        self.moods.update(dict.fromkeys(self.urls.values(), "fine"))
        self.committed: dict[int, list[tuple[int, int]]] = {product_id: [] for product_id in PRODUCTS}
        self.events: list[StockChanged] = []
        self.told: dict[tuple[str, int], list[tuple[float, int, int]]] = defaultdict(list)
        self.connected: dict[int, bool] = {RETAILER_A: True, RETAILER_B: True}
        self.connection_version = 1
        # Of each sender: calls that are claimed and not made, and calls that are made and not written down.
        self.claimed: tuple[list[Call], list[Call]] = ([], [])
        self.answered: tuple[list[Answered], list[Answered]] = ([], [])
        await self.desk.hear_connections(connection("active", 1, RETAILER_B))
        for company_id, url in self.urls.items():
            await self.desk.register_url(url, company_id, window_seconds=WINDOWS[company_id])

    def arrived(self, url: str, _webhook_id: str, body: bytes, /) -> None:
        """P1 and P3, and that nothing is made up."""
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

    def what_may_happen(self) -> list[Step]:
        may = [self.a_sender_claims, self.both_senders_claim, *[self.a_sender_works] * 2]
        may += [*[self.stock_changes] * 3, *[self.time_passes] * 3]
        may += [self.all_is_well_for_a_while, self.a_retailer_changes_its_mood]
        may += [self.a_connection_begins_or_ends, self.a_retailer_pauses_or_resumes]
        may += [self.a_retailer_asks_for_everything_again, self.a_retailer_is_enabled_again]
        if self.events:
            may += [*[self.events_come] * 4, self.events_come_without_fan_out, self.one_catches_up_a_little]
        in_hand = [*[self.a_sender_sleeps_past_its_lease] * 2, *[self.stock_changes_during_a_call] * 4]
        if any(self.claimed):
            may += [*[self.a_sender_calls] * 8, *in_hand, self.a_sender_dies]
        if any(self.answered):
            may += [*[self.a_sender_writes_it_down] * 6, *in_hand, self.a_sender_dies]
        return may

    async def stock_changes(self, chance: Random) -> None:
        product_id = chance.choice(PRODUCTS)
        self.events += [self._change(product_id, chance) for _ in range(chance.choice([1, 1, 3]))]

    async def stock_changes_during_a_call(self, chance: Random) -> None:
        """Claimed, or made and not written down: all hear of it meanwhile."""
        calls = [*chain(*self.claimed), *(item.call for item in chain(*self.answered))]
        slot = chance.choice(chance.choice(calls).slots)
        await self.desk.hear_stock(self._change(slot.stock.product_id, chance))
        await self.desk.fan_out()

    def _change(self, product_id: int, chance: Random) -> StockChanged:
        states = self.committed[product_id]
        # Mostly some of it: when it runs out it crosses a band, which is looked at by itself.
        available, previous = chance.randint(-1, 6), states[-1][0] if states else 0
        states.append((available, len(states) + 1))
        return stock_changed(product_id, available, len(states), previous=previous)

    async def events_come(self, chance: Random) -> None:
        """Some of them, in any order; perhaps they will come again."""
        come = chance.sample(self.events, min(len(self.events), chance.randint(1, 4)))
        await self.desk.hear_stock(*come)
        await self.desk.fan_out()
        if chance.random() < 0.7:
            self.events = [event for event in self.events if event not in come]

    async def events_come_without_fan_out(self, _: Random) -> None:
        await self.desk.hear_stock(*self.events)

    async def one_catches_up_a_little(self, _: Random) -> None:
        """What connections let in is looked for in parts, and all else happens between them."""
        await self.desk.hear_stock(*self.events)
        await fan_out_chunk(self.desk.database)
        await ask_connected(self.desk.database)
        await catch_up_one(self.desk.database)

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
        await self._make_calls(worker)
        await finish(self.desk.database, self.answered[worker])
        self.answered[worker].clear()

    async def _make_calls(self, worker: int) -> None:
        while self.claimed[worker]:
            self.answered[worker].append(await send(self.desk.deliverer, self.desk.vault, self.claimed[worker].pop()))

    async def a_sender_sleeps_past_its_lease(self, chance: Random) -> None:
        """And perhaps what it had in hand is due again, for the other one, which may stop anywhere as well."""
        sleeps = chance.choice([one for one in WORKERS if self.claimed[one] or self.answered[one]])
        await self.desk.move(chance.choice(SLEEPS_SECONDS))
        await self._claim(1 - sleeps)
        if chance.random() < 0.5:
            await self._make_calls(1 - sleeps)

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

    async def a_retailer_asks_for_everything_again(self, chance: Random) -> None:
        url = self.urls[chance.choice(RETAILERS)]
        async with self.desk.database.transaction() as session:
            await ask_to_replay(session, await self._endpoint_at(url), None)

    async def a_retailer_is_enabled_again(self, chance: Random) -> None:
        """As from the console, whatever its state; what waits for it waits for its window at most."""
        url = self.urls[chance.choice(RETAILERS)]
        async with self.desk.database.transaction() as session:
            await endpoint_store.enable(session, await self._endpoint_at(url), WINDOW_SECONDS)

    async def _endpoint_at(self, url: str) -> int:
        (row,) = await self.desk.execute("select endpoint_id from endpoints where url = :url", url=url)
        return int(row.endpoint_id)

    async def all_is_well_for_a_while(self, _: Random) -> None:
        """Or what was lost would be mended by the next change before anybody looks."""
        await self.end()

    async def end(self) -> None:
        """P2 and P7: once retailers are well and connected, each soon knows what is now, and nothing is left to do."""
        await self._all_is_well()
        await self._tell_in_time()

    async def _all_is_well(self) -> None:
        for worker in WORKERS:
            await finish(self.desk.database, self.answered[worker])
            self._die(worker)
        for retailer_id, url in self.urls.items():
            self.moods[url] = "fine"
            # A new connection is told all anew, which would mend what was lost.
            if not self.connected[retailer_id]:
                self.connected[retailer_id] = True
                await self._tell_of_connection(retailer_id)
        await self.desk.enable_all()
        if self.events:
            await self.desk.hear_stock(*self.events)
            self.events.clear()

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
    monkeypatch.setattr(fan_out, "CATCH_UP_SLOTS", 1)
    # About 25 s of processor time.
    run_stories(Telling, database_dsn, monkeypatch, examples=30, steps=60)
