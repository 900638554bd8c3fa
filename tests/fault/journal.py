"""What the clients did, as they saw it: each operation, how often it was sent, and what came back.

A client that gets no answer does not know whether its operation arrived: it sends the same again, under the same
reference, until it is acknowledged. The checker (`tests/fault/checker.py`) holds the journal against the books.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Literal

import aiohttp

from shared import clock
from shared.idempotency import HEADER, REPLAYED
from tests.app import Answer, Client

Kind = Literal["order", "return", "adjustment"]

ANSWER_SECONDS = 30
ACKNOWLEDGED_SECONDS = 90
PAUSE_SECONDS = 0.05


@dataclass(slots=True)
class Operation:
    """An order, a return or an adjustment of one company, known by its reference.

    `effect` is by how many units it changes on hand: `{base stock product id: units}`, negative for an order; what is
    not tracked is left out. `body` is what is sent over HTTP, without its reference. `acknowledged` counts answers of
    2xx and broker's confirms, `ids` are all that it was answered with. An adjustment has no reference of its own on the
    wire, so it carries it as its reason, and each time that it is sent it may be applied.
    """

    kind: Kind
    company_id: int
    reference: str
    effect: Mapping[int, int]
    body: Mapping[str, Any] = field(default_factory=dict)
    sent: int = 0
    acknowledged: int = 0
    ids: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        """As people call it."""
        return f"{self.kind} {self.reference!r} of company {self.company_id}"

    @property
    def key(self) -> tuple[Kind, int, str]:
        """What tells it from all others."""
        return self.kind, self.company_id, self.reference

    @property
    def path(self) -> str:
        """Where it is posted to."""
        if self.kind == "adjustment":
            (product_id,) = self.effect
            return f"/v1/stock/{product_id}/adjustments"
        return f"/v1/{self.kind}s"

    def payload(self) -> dict[str, Any]:
        """What is posted."""
        return {**self.body, ("reason" if self.kind == "adjustment" else "external_ref"): self.reference}


class Journal:
    """All operations of all clients of a run."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._operations: dict[tuple[Kind, int, str], Operation] = {}

    def __len__(self) -> int:
        """How many operations there are."""
        return len(self._operations)

    @property
    def operations(self) -> Iterable[Operation]:
        """All of them, in the order they were entered."""
        return self._operations.values()

    def find(self, kind: Kind, company_id: int, reference: str) -> Operation | None:
        """The operation of this reference, if a client ever meant it."""
        return self._operations.get((kind, company_id, reference))

    def enter(self, operation: Operation) -> Operation:
        """Note what a client is about to do: before it does it, as nobody knows when it will be able to note again."""
        assert operation.key not in self._operations, f"{operation} is in the journal already"
        self._operations[operation.key] = operation
        return operation


async def submit(operation: Operation, client: Client, query: str = "") -> bool:
    """Send an operation once over HTTP; says whether it was acknowledged. A refusal is a failure of the test."""
    operation.sent += 1
    try:
        answer = await client.post(
            operation.path + query, operation.payload(), timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        )
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
    if answer.status >= 500:
        return False
    assert answer.status < 300, f"{operation} was refused: {answer.status} {answer.body}"
    operation.acknowledged += 1
    if operation.kind != "adjustment":
        operation.ids.add(answer.body[f"{operation.kind}_id"])
    return True


async def submit_until_acknowledged(operation: Operation, client: Client, query: str = "") -> None:
    """Send an order or return over HTTP, the same again and again, until it is acknowledged."""
    assert operation.kind != "adjustment", f"{operation} sent twice would count twice"
    deadline = clock.monotonic() + ACKNOWLEDGED_SECONDS
    while not await submit(operation, client, query):
        assert clock.monotonic() < deadline, f"{operation} is not acknowledged within {ACKNOWLEDGED_SECONDS} s"
        await asyncio.sleep(PAUSE_SECONDS)


async def submit_under_key(operation: Operation, replicas: Sequence[Client]) -> bool:
    """Send an operation over HTTP with its reference as its key, to one replica after the other, until it is answered.

    However often it is sent, under its key it is one. Says whether the answer is that to an earlier time.
    """
    operation.sent += 1
    deadline = clock.monotonic() + ACKNOWLEDGED_SECONDS
    turn = cycle(replicas)
    answer: Answer | None = None
    while answer is None or answer.status >= 500:
        assert clock.monotonic() < deadline, f"{operation} is not answered within {ACKNOWLEDGED_SECONDS} s"
        try:
            answer = await next(turn).post(
                operation.path,
                operation.payload(),
                headers={HEADER: operation.reference},
                timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS),
            )
        except (aiohttp.ClientError, TimeoutError, OSError):
            await asyncio.sleep(PAUSE_SECONDS)
    assert answer.status < 300, f"{operation} was refused: {answer.status} {answer.body}"
    operation.acknowledged += 1
    return answer.headers.get(REPLAYED) == "true"
