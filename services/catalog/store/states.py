"""Rows that are told as they are: each is given as the event that tells its full state."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import TextClause

from services.catalog.store.audit import Change, record
from shared.database import Session
from shared.events import Event
from shared.messaging.outbox import publish

E = TypeVar("E", bound=Event)


async def read_states(session: Session, state: type[E], statement: TextClause, values: dict[str, Any]) -> list[E]:
    """The rows that `statement` returns."""
    rows = (await session.execute(statement, values)).mappings()
    return [state.model_validate(dict(row)) for row in rows]


async def change_state(
    session: Session,
    actor: str,
    state: type[E],
    statement: TextClause,
    values: dict[str, Any],
    changes_to: Callable[[E], Sequence[Change]],
) -> E | None:
    """Run a statement that changes one row and returns it, or none; publish the row as it is now.

    What `actor` changed is recorded: `changes_to` says of the row as it is now what became of it, and in whose trail.
    """
    changed = next(iter(await read_states(session, state, statement, values)), None)
    if changed is not None:
        publish(session, changed)
        await record(session, actor, *changes_to(changed))
    return changed
