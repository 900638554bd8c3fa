"""Claims what is due, calls the endpoints, and writes down what came of it.

Claims and finishes are transactions over many calls at once; between them no transaction is open. What a crash leaves
behind is a lease that runs out and a window that is over one time-out later than usual: a delay, never a second call.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram

from services.notifier import domain, stock_level
from services.notifier.deliver import Deliverer, delivering
from services.notifier.signing import signed_headers
from services.notifier.store import endpoints as endpoint_store
from services.notifier.store import slots as slot_store
from services.notifier.store.endpoints import Made
from services.notifier.store.slots import DueEndpoint, DueSlot, Finished, Taken
from shared import clock
from shared.database import Database, Session
from shared.draining import DRAIN_SECONDS, SHORT_DRAIN_SECONDS, to_its_end
from shared.faults import is_infrastructure
from shared.linked_products import LinkedPart, find_linked
from shared.service_context import Context
from shared.settings import Settings

log = structlog.get_logger()

# Products in one call, and bytes of its body (architecture.md section 8).
CALL_PRODUCTS = 100
CALL_BYTES = 256 * 1024
# Calls under way in one process. Each endpoint has one at most, so this many retailers must be slow at once before
# anybody waits for them; it is also that many sockets, and bodies of at most 128 MiB together.
CALLS_AT_ONCE = 512
# Quick endpoints need no more than these to keep one core busy, and each call more costs all others (memory in
# use, garbage collection). Slow ones are given as many as there are calls that waited this long.
QUICK_LANES = 64
LANE_WAIT_SECONDS = 0.5
# A claim waits for room for this many, so that a busy sender's transactions are worth their round trips.
ROOM_FOR_CLAIM = 128
# Only fan-out in this process wakes the sender; windows end, and other replicas fan out, without a word.
POLL_SECONDS = 0.1
PAUSE_SECONDS = 1.0
CALLS = Counter("basestock_webhook_calls_total", "Webhook calls made", ["outcome"])
CALL_SECONDS = Histogram("basestock_webhook_call_seconds", "Time a webhook call took")

GONE_REASON = "it answered 410 Gone"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to make the calls of one claim, from `claimed_at` until `deadline` on the monotonic clock."""

    lease_id: UUID
    claimed_at: float
    deadline: float

    def age_seconds(self) -> float:
        """How long ago it was claimed."""
        return clock.monotonic() - self.claimed_at


@dataclass(frozen=True, slots=True)
class Call:
    """One call that is claimed: made under its lease, or not at all."""

    endpoint: DueEndpoint
    slots: tuple[DueSlot, ...]
    lease: Lease
    webhook_id: str
    body: bytes

    @property
    def versions(self) -> list[tuple[int, int]]:
        """`(product id, version)` of what it tells."""
        return [(slot.stock.product_id, slot.stock.version) for slot in self.slots]


@dataclass(frozen=True, slots=True)
class Answered:
    """A call that was made, as it was sent, and what came of it."""

    call: Call
    headers: dict[str, str]
    outcome: domain.Outcome
    seconds: float


@dataclass(frozen=True, slots=True)
class Claimed:
    """The calls of one claim; `last_endpoint_id` is where the next claim goes on, 0 at the end of the round."""

    calls: tuple[Call, ...]
    last_endpoint_id: int


async def claim(database: Database, settings: Settings, after: int, limit: int) -> Claimed:
    """Claim what is due for at most `limit` endpoints with ids above `after`, each in one call.

    The window and the lease are committed when this returns: before any socket is opened.
    """
    # Before the database's clock is read, so that the deadline comes before the end of the lease.
    claimed_at = clock.monotonic()
    lease = Lease(clock.uuid7(), claimed_at, claimed_at + settings.webhook_timeout_seconds)
    async with database.transaction() as session:
        due = await slot_store.find_due_endpoints(session, after, limit, settings.webhook_window_seconds)
        calls = await _claim_calls(session, due, lease) if due else []
        if calls:
            taken = [Taken(slot, call.endpoint.window_seconds) for call in calls for slot in call.slots]
            await slot_store.take(session, taken, lease.lease_id, settings.webhook_timeout_seconds)
    return Claimed(tuple(calls), due[-1].endpoint_id if len(due) == limit else 0)


async def _claim_calls(session: Session, due: Sequence[DueEndpoint], lease: Lease) -> list[Call]:
    found = await slot_store.find_due_slots(session, due, CALL_PRODUCTS)
    company_ids = {endpoint.endpoint_id: endpoint.company_id for endpoint in due}
    await slot_store.park(session, [(slot, company_ids[slot.endpoint_id]) for slot in found if not slot.is_connected])
    await slot_store.settle(session, [slot for slot in found if slot.is_connected and not slot.is_owed])
    owed: dict[int, list[DueSlot]] = defaultdict(list)
    for slot in found:
        if slot.is_connected and slot.is_owed:
            owed[slot.endpoint_id].append(slot)
    wanted = {(company_ids[endpoint_id], slot.stock.product_id) for endpoint_id in owed for slot in owed[endpoint_id]}
    linked = await find_linked(session, wanted) if wanted else {}
    return [
        _call(endpoint, owed[endpoint.endpoint_id], linked, lease) for endpoint in due if endpoint.endpoint_id in owed
    ]


def _call(
    endpoint: DueEndpoint,
    slots: Sequence[DueSlot],
    linked: dict[tuple[int, int], list[LinkedPart]],
    lease: Lease,
) -> Call:
    """Render as much as fits into one call; the rest stays due."""
    items = [
        stock_level.item(slot.stock, linked.get((endpoint.company_id, slot.stock.product_id), ())) for slot in slots
    ]
    count = domain.fitting([len(item) for item in items], CALL_BYTES)
    versions = [(slot.stock.product_id, slot.stock.version) for slot in slots[:count]]
    return Call(
        endpoint=endpoint,
        slots=tuple(slots[:count]),
        webhook_id=domain.webhook_id(endpoint.endpoint_id, versions),
        body=stock_level.body(items[:count]),
        lease=lease,
    )


async def send(deliverer: Deliverer, call: Call) -> Answered:
    """Sign and make the call; raises nothing, as one retailer's call must not end everybody's."""
    timestamp = int(clock.utc_now().timestamp())
    headers: dict[str, str] = {}
    started = clock.monotonic()
    try:
        headers = signed_headers(call.endpoint.secret, call.webhook_id, timestamp, call.body)
        outcome = await deliverer.post(call.endpoint.url, headers, call.body, call.lease.deadline)
    except Exception as error:
        # Ours to mend, and nobody knows how far the call got: it counts as one that may have arrived.
        log.exception("webhook_call_broke", endpoint_id=call.endpoint.endpoint_id, webhook_id=call.webhook_id)
        outcome = domain.Outcome("reset", detail=f"the sender failed: {type(error).__name__}")
    seconds = clock.monotonic() - started
    CALLS.labels(outcome.error or "delivered").inc()
    CALL_SECONDS.observe(seconds)
    if not outcome.delivered:
        log.info("webhook_failed", endpoint_id=call.endpoint.endpoint_id, error=outcome.error, detail=outcome.detail)
    return Answered(call, headers, outcome, seconds)


async def finish(database: Database, answered: Sequence[Answered]) -> None:
    """Write down what became of these calls: acknowledgements, windows, the log, and who is gone."""
    async with database.transaction() as session:
        gone = [item.call.endpoint.endpoint_id for item in answered if domain.disables(item.outcome)]
        await endpoint_store.disable(session, gone, GONE_REASON)
        await slot_store.finish(session, [finished for item in answered for finished in _finished(item)])
        await endpoint_store.log_attempts(
            session,
            [
                Made(
                    endpoint_id=item.call.endpoint.endpoint_id,
                    webhook_id=item.call.webhook_id,
                    versions=item.call.versions,
                    request_headers=item.headers,
                    request_body=item.call.body,
                    outcome=item.outcome,
                    seconds=item.seconds,
                )
                for item in answered
            ],
        )


def _finished(item: Answered) -> list[Finished]:
    call = item.call
    turns = [(slot, domain.next_turn(item.outcome, slot.attempt, call.endpoint.window_seconds)) for slot in call.slots]
    return [
        Finished(
            endpoint_id=slot.endpoint_id,
            product_id=slot.stock.product_id,
            lease_id=call.lease.lease_id,
            delivered=item.outcome.delivered,
            delay_seconds=turn.delay_seconds,
            attempt=turn.attempt,
        )
        for slot, turn in turns
    ]


class Sender:
    """Sends what is due for as long as it runs."""

    def __init__(self, context: Context, woken: asyncio.Event) -> None:
        """Claim from the context's database; `woken` says that there may be something due at once."""
        self._database, self._settings, self._woken = context.database, context.settings, woken
        # Claimed and not finished; of these, those that wait for a lane.
        self._under_way = 0
        self._waiting: deque[Call] = deque()
        self._lanes = 0
        self._room = asyncio.Event()
        self._answered: list[Answered] = []
        self._some_answered = asyncio.Event()
        self._failure: Exception | None = None

    async def run(self) -> None:
        """Send until cancelled; then make the calls that are claimed, as a restart need not cost them a window.

        When what came of a call cannot be written down, it ends in the same way by itself, and raises why.
        """
        async with (
            delivering(self._settings.webhook_allow_networks) as deliverer,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._finish())
            try:
                await self._claim(deliverer, group)
            finally:
                await self._drain(deliverer, group)

    async def _claim(self, deliverer: Deliverer, group: asyncio.TaskGroup) -> None:
        after = 0
        while not self._failure:
            self._open_lanes(deliverer, group)
            room = CALLS_AT_ONCE - self._under_way
            if room < ROOM_FOR_CLAIM:
                await clock.wait_until_set(self._room, POLL_SECONDS)
                continue
            try:
                claimed = await to_its_end(self._claim_some(after, room), SHORT_DRAIN_SECONDS)
            except Exception as error:
                if not is_infrastructure(error):
                    raise
                log.warning("webhook_claim_paused", error=str(error))
                await clock.sleep(PAUSE_SECONDS)
                continue
            ended, after = after == 0 and not claimed.calls, claimed.last_endpoint_id
            if ended and not after:
                await clock.wait_until_set(self._woken, POLL_SECONDS)
        raise self._failure

    async def _claim_some(self, after: int, limit: int) -> Claimed:
        claimed = await claim(self._database, self._settings, after, limit)
        self._under_way += len(claimed.calls)
        self._waiting.extend(claimed.calls)
        return claimed

    def _open_lanes(self, deliverer: Deliverer, group: asyncio.TaskGroup) -> None:
        wanted = min(len(self._waiting), QUICK_LANES - self._lanes)
        if self._waiting and self._waiting[0].lease.age_seconds() > LANE_WAIT_SECONDS:
            wanted = len(self._waiting)
        for _ in range(wanted):
            self._lanes += 1
            group.create_task(self._send_waiting(deliverer))

    async def _send_waiting(self, deliverer: Deliverer) -> None:
        while self._waiting:
            answered = await send(deliverer, self._waiting.popleft())
            # Only now may the list be looked up: while the call was made, another one has taken its place.
            self._answered.append(answered)
            self._some_answered.set()
        self._lanes -= 1

    async def _drain(self, deliverer: Deliverer, group: asyncio.TaskGroup) -> None:
        """Make what is claimed, and write it down: no call begins, or goes on, past the end of its lease."""
        deadline = clock.monotonic() + DRAIN_SECONDS
        while self._under_way and clock.monotonic() < deadline:
            self._open_lanes(deliverer, group)
            await clock.sleep(POLL_SECONDS)

    async def _finish(self) -> None:
        while True:
            await self._some_answered.wait()
            self._some_answered.clear()
            # What is answered meanwhile goes into the next transaction.
            batch, self._answered = self._answered, []
            try:
                await self._write(batch)
            except Exception:  # of one of them, perhaps, which must not take the others with it
                for answered in batch:
                    await self._write_alone(answered)
            self._under_way -= len(batch)
            self._room.set()

    async def _write_alone(self, answered: Answered) -> None:
        try:
            await self._write([answered])
        except Exception as error:
            endpoint_id, webhook_id = answered.call.endpoint.endpoint_id, answered.call.webhook_id
            log.exception("webhook_finish_failed", endpoint_id=endpoint_id, webhook_id=webhook_id)
            self._failure = error

    async def _write(self, batch: Sequence[Answered]) -> None:
        while True:
            try:
                await finish(self._database, batch)
            except Exception as error:
                if not is_infrastructure(error):
                    raise
                log.warning("webhook_finish_paused", calls=len(batch), error=str(error))
                await clock.sleep(PAUSE_SECONDS)
            else:
                return
