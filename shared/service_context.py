"""What a running service hands to its routes, handlers and workers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from fastapi import Request

from shared.database import Database
from shared.idempotency import once_of
from shared.messaging.bus import Bus
from shared.messaging.consumer import Source
from shared.settings import Settings


@dataclass(frozen=True, slots=True)
class Context:
    """One service as it runs in this process; once `draining` is set it takes no new work, and ends what it has.

    `sources` are what its consumers drain, by the name of the queue. `key_uses` gathers when each API key (by its id)
    was last used, until it is told (`shared/key_uses.py`).
    """

    service: str
    settings: Settings
    database: Database
    bus: Bus
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    sources: dict[str, Source] = field(default_factory=dict)
    key_uses: dict[int, datetime] = field(default_factory=dict)


def context_of(service: str) -> Callable[[Request], Context]:
    """The dependency that gives a route its service's context, in an app of one service or of all.

    Of a request with an `Idempotency-Key` all transactions are one (`shared/idempotency.py`).
    """

    def context(request: Request) -> Context:
        found: Context = request.app.state.contexts[service]
        once = once_of(request)
        return found if once is None else replace(found, database=once.within(found.database))

    return context
