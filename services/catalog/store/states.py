"""Rows that are told as they are: each is given as the event that tells its full state."""

from typing import Any, TypeVar

from sqlalchemy import TextClause

from shared.database import Session
from shared.events import Event
from shared.messaging.outbox import publish

E = TypeVar("E", bound=Event)


async def read_states(session: Session, state: type[E], statement: TextClause, values: dict[str, Any]) -> list[E]:
    """The rows that `statement` returns."""
    rows = (await session.execute(statement, values)).mappings()
    return [state.model_validate(dict(row)) for row in rows]


async def change_state(session: Session, state: type[E], statement: TextClause, values: dict[str, Any]) -> E | None:
    """Run a statement that changes one row and returns it, or none; publish the row as it is now."""
    changed = next(iter(await read_states(session, state, statement, values)), None)
    if changed is not None:
        publish(session, changed)
    return changed
