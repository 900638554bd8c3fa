"""How each service gets on, as the platform admin is told over HTTP."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pytest

from services.all_in_one import SERVICES
from shared import clock
from shared.database import Database
from shared.messaging import dead_letters
from shared.messaging.bus import BusUnavailableError, Depth, Message
from shared.messaging.in_process import InProcessBus
from shared.settings import Settings
from tests.app import ENCRYPTION_KEY, Client, serving
from tests.end_to_end.system import eventually

ADMIN_KEY = "bsk_the-admin-of-the-tests"


class BreakableBus(InProcessBus):
    """A bus that can be away: nothing is published, and nobody can be asked."""

    away = False

    async def publish(self, exchange: str, messages: Sequence[Message]) -> Mapping[str, str]:
        """Fail while it is away."""
        self._raise_if_away()
        return await super().publish(exchange, messages)

    async def depths(self, queues: Sequence[str]) -> Mapping[str, Depth]:
        """Fail while it is away."""
        self._raise_if_away()
        return await super().depths(queues)

    def _raise_if_away(self) -> None:
        if self.away:
            message = "The broker is on holiday."
            raise BusUnavailableError(message)


@dataclass
class Platform:
    """All services in one process, and the admin's client."""

    bus: BreakableBus
    admin: Client
    dsn: str


@pytest.fixture
async def platform(database_dsn: str) -> AsyncIterator[Platform]:
    settings = Settings(
        dsn=database_dsn,
        admin_key=ADMIN_KEY,
        webhook_encryption_key=ENCRYPTION_KEY,
        queue_limit_messages=7,
        _env_file=None,
    )
    bus = BreakableBus(publish_timeout_seconds=5)
    async with serving(SERVICES, settings, bus) as url, Client(url, ADMIN_KEY) as admin:
        yield Platform(bus, admin, database_dsn)


async def test_a_quiet_system_has_consumers_and_nothing_that_waits(platform: Platform) -> None:
    for service in SERVICES:

        async def is_quiet(name: str = service.name) -> bool:
            answer = await platform.admin.get(f"/v1/operations/{name}")
            body = answer.body
            webhooks = {"active": 0, "failing": 0, "paused": 0, "disabled": 0}
            assert body.pop("webhooks", None) == (
                {"due": 0, "oldest_due_seconds": 0, "endpoints": webhooks} if name == "notifier" else None
            )
            assert body.pop("queues")
            return bool(
                body
                == {
                    "service": name,
                    "outbox": {"messages": 0, "oldest_seconds": 0},
                    "bus": {"reachable": True, "reason": None},
                    "dead_letters": {"messages": 0, "newest_at": None},
                }
            )

        async def is_consumed(name: str = service.name) -> bool:
            queues = (await platform.admin.get(f"/v1/operations/{name}")).body["queues"]
            names = [queue["name"] for queue in queues]
            assert names == sorted(names)
            assert all(one.startswith(f"{name}.") for one in names)
            return all((queue["messages"], queue["consumers"]) == (0, 1) for queue in queues)

        await eventually(f"{service.name} has nothing that waits", is_quiet)
        await eventually(f"{service.name} consumes its queues", is_consumed)
    orders = (await platform.admin.get("/v1/operations/orders")).body
    assert "orders.submitted" in [queue["name"] for queue in orders["queues"]], "the queue from outside is one of them"


async def test_a_bus_that_is_away_is_said_so_with_what_waits_for_it(platform: Platform) -> None:
    platform.bus.away = True
    made = await platform.admin.post("/v1/companies", {"ref": "supplier-a", "name": "Supplier A", "role": "supplier"})
    assert made.status == 201
    answer = await platform.admin.get("/v1/operations/catalog")
    assert answer.status == 200
    assert answer.body["bus"] == {"reachable": False, "reason": "The broker is on holiday."}
    assert {(queue["messages"], queue["consumers"]) for queue in answer.body["queues"]} == {(None, None)}
    assert answer.body["outbox"]["messages"] == 1
    assert answer.body["outbox"]["oldest_seconds"] > 0
    platform.bus.away = False

    async def is_told() -> bool:
        return bool((await platform.admin.get("/v1/operations/catalog")).body["outbox"]["messages"] == 0)

    await eventually("what waited is told", is_told)


async def test_dead_letters_are_counted_with_the_newest(platform: Platform) -> None:
    database = Database("inventory", platform.dsn, pool_size=1)
    for number in range(3):
        message = Message(f"message-{number}", "topic", "text/plain", b"{}")
        async with database.transaction() as session:
            await dead_letters.bury(session, "inventory.orders", message, "it failed")
    await database.close()
    letters = (await platform.admin.get("/v1/operations/inventory")).body["dead_letters"]
    [newest, *_] = (await platform.admin.get("/v1/dead-letters/inventory")).body["items"]
    assert letters["messages"] == 3
    assert datetime.fromisoformat(letters["newest_at"]) == datetime.fromisoformat(newest["dead_at"]) <= clock.utc_now()
