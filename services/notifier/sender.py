"""Claims what is due, calls the endpoints, and writes down what came of it.

Claims and finishes are transactions over many calls at once; between them no transaction is open. What a crash leaves
behind is a lease that runs out and a window that is over one time-out later than usual: a delay, never a second call.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import structlog

from services.notifier.calls import Answered, Call, send
from services.notifier.claiming import Claimed, claim
from services.notifier.deliver import Deliverer, delivering
from services.notifier.encryption import vault_of
from services.notifier.feeding import claim_events
from services.notifier.finishing import finish
from services.notifier.pinging import claim_samples
from shared import clock
from shared.draining import DRAIN_SECONDS, SHORT_DRAIN_SECONDS, to_its_end
from shared.faults import is_infrastructure
from shared.service_context import Context

log = structlog.get_logger()

# Calls under way in one process. Each endpoint has one at most, unless it wants more, so about this many retailers must
# be slow at once before anybody waits for them; it is also that many sockets, and bodies of at most 128 MiB together.
CALLS_AT_ONCE = 512
# Quick endpoints need no more than these to keep one core busy, and each call more costs all others (memory in
# use, garbage collection). Slow ones are given as many as there are calls that waited this long.
QUICK_LANES = 64
LANE_WAIT_SECONDS = 0.5
# A claim waits for room for this many, so that a busy sender's transactions are worth their round trips.
ROOM_FOR_CLAIM = 128
# Beside what is claimed of stock: they are few, and small.
SAMPLES_AT_ONCE = 32
# Only fan-out in this process wakes the sender; windows end, and other replicas fan out, without a word. Each look is
# three transactions, on an idle system too.
POLL_SECONDS = 0.25
PAUSE_SECONDS = 1.0


class Sender:
    """Sends what is due for as long as it runs."""

    def __init__(self, context: Context, woken: asyncio.Event) -> None:
        """Claim from the context's database; `woken` says that there may be something due at once."""
        self._database, self._settings, self._woken = context.database, context.settings, woken
        self._vault = vault_of(context.settings.webhook_encryption_key)
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
        after, more = 0, False
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
            more, after = more or claimed.may_find_more, claimed.last_endpoint_id
            if after == 0 and not more:
                # At the end of a round, however many claims it took: endpoints that cannot be called are found due
                # again and again. What is claimed waits for nothing, and sets `woken` when it is finished.
                self._open_lanes(deliverer, group)
                await clock.wait_until_set(self._woken, POLL_SECONDS)
            more = more and after != 0
        raise self._failure

    async def _claim_some(self, after: int, limit: int) -> Claimed:
        self._take(await claim_samples(self._database, self._settings, SAMPLES_AT_ONCE))
        # Half of the room, so that neither feeds nor stock ever take all of it.
        fed = await claim_events(self._database, self._settings, limit // 2)
        self._take(fed)
        claimed = await claim(self._database, self._settings, after, limit - len(fed))
        self._take(claimed.calls)
        return replace(claimed, calls=(*fed, *claimed.calls))

    def _take(self, calls: Sequence[Call]) -> None:
        self._under_way += len(calls)
        self._waiting.extend(calls)

    def _open_lanes(self, deliverer: Deliverer, group: asyncio.TaskGroup) -> None:
        wanted = min(len(self._waiting), QUICK_LANES - self._lanes)
        if self._waiting and self._waiting[0].lease.age_seconds() > LANE_WAIT_SECONDS:
            wanted = len(self._waiting)
        for _ in range(wanted):
            self._lanes += 1
            group.create_task(self._send_waiting(deliverer))

    async def _send_waiting(self, deliverer: Deliverer) -> None:
        while self._waiting:
            answered = await send(deliverer, self._vault, self._waiting.popleft())
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
            # An endpoint may have more due than one call carried.
            self._woken.set()

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
                await finish(self._database, batch, with_alerts=self._settings.alert_url is not None)
            except Exception as error:
                if not is_infrastructure(error):
                    raise
                log.warning("webhook_finish_paused", calls=len(batch), error=str(error))
                await clock.sleep(PAUSE_SECONDS)
            else:
                return
