"""The dangerous places, and a launcher that lets a service die in one of them: `python -m tests.fault.crash_points`.

`... crash_points <service>` serves one service as `python -m services.<service>` does, `... crash_points <service>
migrate` makes its schema; both with the seams of the real code wrapped that `POINTS` names for it. Nothing of this is
in production code. `BASESTOCK_TEST_CRASH_AT` names a file: while it holds the name of a crash (`str(Crash)`), the
process writes a line to standard error and kills itself, -9, as soon as it comes by; with `STOPS` behind the name it
stops itself instead, until it is sent SIGCONT. The file may change while it runs.

A seam is an attribute of a module or class that is looked up at each call. One that has been renamed ends the launcher,
and with it the tests, with an `AttributeError`. Of a point that the code does not come by any more, its test says so.
"""

import asyncio
import inspect
import os
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from shared.migrations import upgrade
from shared.program import settings_or_exit
from shared.serve import serve

REACHED = "crash point reached: "
STOPS = " stops"
WRITING = {"POST", "PUT", "PATCH", "DELETE"}
CATALOG, ORDERS, INVENTORY, NOTIFIER = "catalog", "orders", "inventory", "notifier"
CONSUMED = (
    "orders.catalog",
    "orders.catalog.urgent",
    "orders.inventory",
    "orders.submitted",
    "inventory.catalog",
    "inventory.catalog.urgent",
    "inventory.orders",
    "notifier.catalog",
    "notifier.catalog.urgent",
    "notifier.inventory",
)


@dataclass(frozen=True, slots=True)
class Passed:
    """One call of a seam: at which place, with which positional arguments, and what came of it (`None` before it).

    `under_way` is how many calls of it there are at this moment in this process, this one included.
    """

    place: str
    arguments: tuple[Any, ...]
    result: Any
    under_way: int


@dataclass(frozen=True, slots=True)
class Point:
    """A dangerous place in the code. `seam` is `module:attribute`, `when` on which side of its calls the process dies.

    `places` are the services that have it, or the queues. A call counts when `counts` says so. Those of `one_by_one`
    go through the seam one after the other, where they otherwise would together.
    """

    name: str
    meaning: str
    seam: str
    when: Literal["before", "after"]
    places: tuple[str, ...]
    counts: Callable[[Passed], bool] = lambda _: True
    one_by_one: bool = False

    @property
    def kind(self) -> str:
        """What dies: `request`, `relay`, `consumer`, ..."""
        return self.name.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Crash:
    """One point at one place; its name is what the file of orders holds, and the name of its test."""

    point: Point
    place: str

    @property
    def service(self) -> str:
        """The service whose process dies."""
        return self.place.partition(".")[0]

    def __str__(self) -> str:
        """As it is called everywhere."""
        return f"{self.place}-{self.point.name}"


def _of_this_source(passed: Passed) -> bool:
    return bool(passed.arguments[1].queue.name == passed.place)


def _of_this_queue(passed: Passed) -> bool:
    return bool(passed.arguments[0]._queue == passed.place)


def _acknowledges_some(passed: Passed) -> bool:
    return _of_this_queue(passed) and bool(passed.arguments[1])


def _is_half_of_a_batch(passed: Passed) -> bool:
    return _of_this_queue(passed) and passed.under_way > 1


def _answers_a_write(passed: Passed) -> bool:
    response, scope = passed.arguments[:2]
    return scope["method"] in WRITING and response.status_code < 300


POINTS = (
    # Requests, and the outbox that all effects share.
    Point(
        "effect: outbox written, before commit",
        "all statements of a transaction that publishes are made; nothing is committed: it never happened",
        "shared.messaging.outbox:write",
        "after",
        (CATALOG, ORDERS, INVENTORY, NOTIFIER),
        counts=lambda passed: bool(passed.result),
    ),
    Point(
        "request: after commit, before the answer",
        "the effect is there, the client does not know: it asks again",
        "starlette.responses:Response.__call__",
        "before",
        (CATALOG, ORDERS, INVENTORY, NOTIFIER),
        counts=_answers_a_write,
    ),
    Point(
        "relay: after commit, before publish",
        "an effect is committed, its events lie in the outbox and nobody has heard them",
        "shared.messaging.rabbitmq:RabbitBus.publish",
        "before",
        (CATALOG, ORDERS, INVENTORY, NOTIFIER),
    ),
    Point(
        "relay: one of a batch confirmed, others not sent",
        "some events of the outbox are out, others are not, and all rows are there: the first will go twice",
        "shared.messaging.rabbitmq:RabbitBus._publish_one",
        "after",
        (CATALOG, ORDERS, INVENTORY),
        counts=lambda passed: passed.under_way > 1,
        one_by_one=True,
    ),
    Point(
        "relay: after publish, before outbox delete",
        "everything is confirmed and nothing is deleted: all of it will go twice",
        "shared.messaging.rabbitmq:RabbitBus.publish",
        "after",
        (CATALOG, ORDERS, INVENTORY, NOTIFIER),
    ),
    # Consumers, queue by queue.
    Point(
        "consumer: handled, before commit",
        "inbox and effect are written and not committed: the message comes again and must count as new",
        "shared.messaging.consumer:handle",
        "after",
        CONSUMED,
        counts=_of_this_source,
    ),
    Point(
        "consumer: after commit, before ack",
        "inbox and effect are committed, the broker does not know: the message comes again and must count as known",
        "shared.messaging.rabbitmq.inflow:RabbitInflow.ack",
        "before",
        CONSUMED,
        counts=_acknowledges_some,
    ),
    Point(
        "consumer: half of a failing batch committed",
        "a batch with one bad order is being split: some of its message is committed, the rest is not tried yet",
        "shared.messaging.consumer:Consumer._bisect",
        "after",
        ("orders.submitted",),
        counts=_is_half_of_a_batch,
    ),
    Point(
        "consumer: dead letter kept, before ack",
        "a bad message is kept as a dead letter, the broker does not know: it comes again and must be kept once",
        "shared.messaging.consumer:Consumer._bury",
        "after",
        CONSUMED,
        counts=_of_this_queue,
    ),
    # Notifier: whom to tell, and telling them.
    Point(
        "fan-out: slots marked, before commit",
        "who must be told is written and not committed",
        "services.notifier.store.stock:fan_out",
        "after",
        (NOTIFIER,),
        counts=lambda passed: bool(passed.result.products),
    ),
    Point(
        "fan-out: after commit",
        "who must be told is committed, the sender has not been woken",
        "services.notifier.fan_out:fan_out_chunk",
        "after",
        (NOTIFIER,),
        counts=lambda passed: bool(passed.result.products),
    ),
    Point(
        "sender: claimed, before commit",
        "window and lease are written and not committed: nobody was called",
        "services.notifier.store.slots:take",
        "after",
        (NOTIFIER,),
    ),
    Point(
        "sender: after claim, before send",
        "window and lease are committed, nobody was called: the next sender waits for a window",
        "services.notifier.deliver:Deliverer.post",
        "before",
        (NOTIFIER,),
    ),
    Point(
        "sender: answered, before acknowledgement",
        "the endpoint has heard and said so, nothing of it is written down: the same state goes again, a window later",
        "services.notifier.deliver:Deliverer.post",
        "after",
        (NOTIFIER,),
    ),
    Point(
        "sender: acknowledgement written, before commit",
        "acknowledgement, window and the log of attempts are written and not committed",
        "services.notifier.store.attempts:log_attempts",
        "after",
        (NOTIFIER,),
    ),
    Point(
        "sender: after acknowledgement",
        "the acknowledgement is committed: nothing must go again",
        "services.notifier.sender:finish",
        "after",
        (NOTIFIER,),
    ),
    # The schema.
    Point(
        "migration: steps made, before commit",
        "all tables are made and not committed: the next attempt must find nothing in its way",
        "alembic.runtime.environment:EnvironmentContext.run_migrations",
        "after",
        (CATALOG, ORDERS, INVENTORY, NOTIFIER),
    ),
)
CRASHES = tuple(Crash(point, place) for point in POINTS for place in point.places)


def install(crashes: list[Crash], orders: Path) -> None:
    """Wrap the seams of these crashes; raises `AttributeError` for one that is not there."""
    for crash in crashes:
        module, _, path = crash.point.seam.partition(":")
        owner: Any = import_module(module)
        *classes, name = path.split(".")
        for one in classes:
            owner = getattr(owner, one)
        setattr(owner, name, _wrapped(getattr(owner, name), crash, orders))


def _wrapped(seam: Callable[..., Any], crash: Crash, orders: Path) -> Callable[..., Any]:
    point, under_way = crash.point, 0

    def pass_by(when: str, arguments: tuple[Any, ...], result: object = None) -> None:
        number = _ordered(crash, orders) if when == point.when else None
        if number is not None and point.counts(Passed(crash.place, arguments, result, under_way)):
            os.write(2, f"{REACHED}{crash}\n".encode())
            os.kill(os.getpid(), number)

    if not inspect.iscoroutinefunction(seam):

        @wraps(seam)
        def through(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the seam takes and gives
            pass_by("before", arguments)
            result = seam(*arguments, **named)
            pass_by("after", arguments, result)
            return result

        return through

    turn = asyncio.Lock() if point.one_by_one else nullcontext()

    @wraps(seam)
    async def through_async(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the seam takes and gives
        nonlocal under_way
        under_way += 1
        try:
            async with turn:
                pass_by("before", arguments)
                result = await seam(*arguments, **named)
                pass_by("after", arguments, result)
                return result
        finally:
            under_way -= 1

    return through_async


def _ordered(crash: Crash, orders: Path) -> signal.Signals | None:
    ordered = orders.read_text() if orders.exists() else ""
    return {str(crash): signal.SIGKILL, f"{crash}{STOPS}": signal.SIGSTOP}.get(ordered)


def run(name: str, task: str) -> None:
    """Serve, or migrate, the service of this name, with its seams wrapped."""
    install([crash for crash in CRASHES if crash.service == name], Path(os.environ["BASESTOCK_TEST_CRASH_AT"]))
    if task == "migrate":
        asyncio.run(upgrade(name, settings_or_exit().dsn_of(name)))
    else:
        serve(import_module(f"services.{name}.service").SERVICE)


if __name__ == "__main__":
    run(*[*sys.argv[1:], "serve"][:2])
