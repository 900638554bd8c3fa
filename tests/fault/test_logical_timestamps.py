"""Many clients assign, complete and fail through two processes of orders at once; one of these dies of it.

A supplier's logical timestamps count what was committed, from 1 without a gap and each once; and who reads on from the
newest it has seen misses nothing, as numbers are given in the order of commits.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from shared import clock
from shared.idempotency import HEADER
from tests.app import Answer, Client
from tests.end_to_end.system import RETAILER, SUPPLIER, eventually
from tests.fault.crash_points import CRASHES
from tests.fault.crashable import CrashableProcess
from tests.fault.journal import ACKNOWLEDGED_SECONDS, ANSWER_SECONDS, PAUSE_SECONDS, Operation
from tests.fault.market import PRODUCT_IDS, Market, Stall, ask, running_market
from tests.fault.test_many_writers import alive_afterwards, everything_adds_up

WRITERS = 16
# Of each order; a writer has one of its own, and takes single units of its neighbour's.
UNITS = 30
PRODUCT_ID = PRODUCT_IDS[0]
SHELF = "shelf"
# All statements are made, the numbers taken among them, and nothing is committed.
WITH_NUMBERS_IN_HAND = "orders-effect: outbox written, before commit"
NEWEST = f"select last_timestamp from orders.fulfillment_counters where supplier_id = {SUPPLIER}"
REQUESTS, EVENTS = "/v1/fulfillment-requests", "/v1/fulfillment-events"


@pytest.fixture(scope="module")
def market() -> Iterator[Market]:
    with running_market({"orders": 2}, process_type=CrashableProcess) as running:
        yield running


@dataclass
class Writing:
    """What the writers have done so far."""

    orders: Sequence[str]
    answered: int = 0
    # Events that came of it, by kind; units by what became of them.
    events: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)

    def count(self, kind: str, units: int) -> None:
        """An event of this kind that was acknowledged."""
        self.events[kind] += 1
        self.units[kind] += units


async def send(writing: Writing, replicas: Sequence[Client], path: str, body: object) -> Answer:
    """Post under a key of its own, to one replica after the other, until it is answered."""
    headers, deadline, turn = {HEADER: str(uuid4())}, clock.monotonic() + ACKNOWLEDGED_SECONDS, cycle(replicas)
    while True:
        assert clock.monotonic() < deadline, f"{path} is not answered"
        try:
            timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
            answer = await next(turn).post(path, body, headers=headers, timeout=timeout)
        except (aiohttp.ClientError, TimeoutError, OSError):
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        if answer.status < 500:
            writing.answered += 1
            return answer


def items(units: int) -> list[dict[str, int]]:
    return [{"line_id": 1, "quantity": units}]


async def write(writing: Writing, number: int, replicas: Sequence[Client]) -> None:
    """What one client does: single requests and many at once, and some that are refused."""
    own, neighbours = writing.orders[number], writing.orders[(number + 1) % WRITERS]

    async def post(path: str, body: object, *expected: int) -> Any:  # noqa: ANN401 - JSON
        answer = await send(writing, replicas, REQUESTS + path, body)
        assert answer.status in expected, answer.body
        return answer.body

    for _ in range(3):
        made = await post("", {"order_id": own, "items": items(5)}, 201)
        writing.count("assigned", 5)
        at = f"/{made['request_id']}"
        await post(f"{at}/complete", {"items": items(2)}, 200)
        writing.count("completed", 2)
        await post("", {"order_id": own, "items": items(UNITS + 1)}, 422)
        await post(f"{at}/fail", {"items": items(1), "reason": "broken"}, 200)
        writing.count("failed", 1)
        # Orders and requests of two writers, the last row is refused.
        settled = {"request_id": made["request_id"], "items": items(1)}
        actions = [
            {"action": "assign", "order_id": neighbours, "items": items(1)},
            {"action": "complete", **settled},
            {"action": "assign", "order_id": own, "items": items(1)},
            {"action": "fail", **settled},
            {"action": "complete", **settled},
        ]
        done = await post("/bulk", {"actions": actions}, 207)
        assert [row["result"] for row in done["rows"]] == ["created", "completed", "created", "failed", "refused"]
        for kind in ("assigned", "completed", "assigned", "failed"):
            writing.count(kind, 1)
        await post(f"{at}/complete", None, 409)


async def read_on(client: Client, until: asyncio.Event) -> list[dict[str, Any]]:
    """Poll the feed while others write, and once more when they are done; a number that is not the next fails."""
    read: list[dict[str, Any]] = []
    while True:
        is_last = until.is_set()
        page = (await client.get(EVENTS, params={"after": len(read), "limit": 1000})).body
        read += page["items"]
        assert [one["logical_timestamp"] for one in read] == list(range(1, len(read) + 1)), "none is missed"
        if is_last:
            return read


async def die_with_numbers_in_hand(process: CrashableProcess, writing: Writing, all_of_them: int) -> None:
    async def is_midway() -> bool:
        return writing.answered > all_of_them // 3

    await eventually("a third of the requests is answered", is_midway, ACKNOWLEDGED_SECONDS)
    process.crash_at(next(one for one in CRASHES if str(one) == WITH_NUMBERS_IN_HAND))
    assert await process.until_ended() == -9
    assert writing.answered < all_of_them, "it died midway"


async def place(stall: Stall) -> list[str]:
    """An order for each writer, at a location where orders allocate."""
    made = await stall.supplier.post("/v1/locations", {"code": SHELF, "order_effect": "allocate"})
    assert made.status == 201, made.body
    ids = []
    for number in range(WRITERS):
        lines = [{"product_id": PRODUCT_ID, "quantity": UNITS, "location": SHELF}]
        order = Operation("order", RETAILER, f"to send {number}", {PRODUCT_ID: -UNITS}, {"lines": lines}, sent=1)
        answer = await stall.retailer.post("/v1/orders?wait=10", stall.market.journal.enter(order).payload())
        assert answer.body["status"] == "allocated", answer.body
        order.acknowledged, order.ids = 1, {answer.body["order_id"]}
        ids.append(answer.body["order_id"])
    return ids


async def test_logical_timestamps_have_no_gap_whoever_dies_and_a_reader_misses_none(market: Market) -> None:
    doomed = market.plant.of("orders", 1)
    assert isinstance(doomed, CrashableProcess)
    key = market.keys[SUPPLIER]
    async with (
        alive_afterwards(market, doomed),
        market.open() as stall,
        Client(doomed.url, key) as first,
        Client(market.plant.of("orders", 2).url, key) as second,
    ):
        writing, written = Writing(await place(stall)), asyncio.Event()
        reading = asyncio.create_task(read_on(second, written))
        async with asyncio.TaskGroup() as clients:
            for number in range(WRITERS):
                clients.create_task(write(writing, number, [first, second] if number % 2 else [second, first]))
            clients.create_task(die_with_numbers_in_hand(doomed, writing, WRITERS * 3 * 6))
        written.set()
        read = await reading
        kinds = Counter(one["type"].rpartition("_")[2] for one in read)
        assert kinds == writing.events, "each that was acknowledged is there, once"
        assert _units(read) == writing.units
        assert await ask(market.plant, NEWEST) == len(read)
        await stall.settled()
        shown = (await stall.supplier.get(f"/v1/stock/{PRODUCT_ID}")).body
        (shelf,) = [level for level in shown["levels"] if level["location"] == SHELF]
        done, failed = writing.units["completed"], writing.units["failed"]
        assert (shelf["on_hand"], shelf["allocated"]) == (-done, WRITERS * UNITS - done - failed)
        await everything_adds_up(market)


def _units(read: Sequence[dict[str, Any]]) -> Counter[str]:
    units = Counter[str]()
    for one in read:
        units[one["type"].rpartition("_")[2]] += one["quantity"]
    return units
