"""Dropship connections; each is given as the event that tells its full state."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.exc import IntegrityError

from services.catalog.store.audit import Change, State
from services.catalog.store.ids import take_id
from services.catalog.store.states import change_state, read_states
from shared.database import Session
from shared.events.catalog import ConnectionChanged

REF_CONSTRAINT = "uq_connections_retailer_id_external_ref"

# A connection that has ended comes back under its old id, with a higher version.
CONNECT = text("""
    insert into connections as known
        (connection_id, supplier_id, retailer_id, external_ref, default_location, state, version)
    values (:connection_id, :supplier_id, :retailer_id, :external_ref, :default_location, 'active', 1)
    on conflict (supplier_id, retailer_id) do update set external_ref = excluded.external_ref,
        default_location = excluded.default_location, state = 'active', changed_at = clock_timestamp(),
        version = known.version + 1
    where known.state = 'ended'
    returning *
""")
LIST_CONNECTIONS = text("""
    select * from connections where connection_id > :after
        and (cast(:company_id as bigint) is null or cast(:company_id as bigint) in (supplier_id, retailer_id))
    order by connection_id limit :limit
""")
FIND_CONNECTION = text("""
    select * from connections where connection_id = :connection_id
        and (cast(:company_id as bigint) is null or cast(:company_id as bigint) in (supplier_id, retailer_id))
""")
LOCK_BETWEEN = text("""
    select * from connections where supplier_id = :supplier_id and retailer_id = :retailer_id for no key update
""")
LOCK_CONNECTION = text("select from connections where connection_id = :connection_id for no key update")
# A change that changes nothing changes no version. One that has ended stays as it was.
CHANGE_CONNECTION = text("""
    update connections set external_ref = :external_ref, default_location = :default_location, state = :state,
        changed_at = clock_timestamp(), version = version + 1
    where connection_id = :connection_id and state <> 'ended'
        and (external_ref, default_location, state)
            is distinct from (cast(:external_ref as text), cast(:default_location as text), cast(:state as text))
    returning *
""")
END_CONNECTION = text("""
    update connections set state = 'ended', changed_at = clock_timestamp(), version = version + 1
    where connection_id = :connection_id and state <> 'ended' returning *
""")
# The admin's company is null, which no comparison finds.
FIND_CUT_OFF = text("""
    select p.product_id from products p
    where p.product_id = any(cast(:product_ids as bigint[])) and p.owner_id <> cast(:company_id as bigint)
        and not exists (
            select from connections c
            where c.supplier_id = p.owner_id and c.retailer_id = :company_id and c.state = 'active')
    order by array_position(cast(:product_ids as bigint[]), p.product_id) limit 1
""")


class RefTakenError(Exception):
    """The retailer has another connection with this `external_ref`; the text says so."""


async def connect(
    session: Session,
    actor: str,
    supplier_id: int,
    retailer_id: int,
    external_ref: str | None,
    default_location: str | None,
) -> ConnectionChanged | None:
    """Make (or make again) an active connection and publish it; `None` when there is one that has not ended.

    Raises `RefTakenError`.
    """
    values = {
        "connection_id": await take_id(session, "connection_ids"),
        "supplier_id": supplier_id,
        "retailer_id": retailer_id,
        "external_ref": external_ref,
        "default_location": default_location,
    }
    before = next(iter(await read_states(session, ConnectionChanged, LOCK_BETWEEN, values)), None)
    return await _change(session, actor, CONNECT, values, before)


async def list_connections(session: Session, company_id: int | None, after: int, limit: int) -> list[ConnectionChanged]:
    """A company's connections (all, for `None`) with ids above `after`."""
    values = {"company_id": company_id, "after": after, "limit": limit}
    return await read_states(session, ConnectionChanged, LIST_CONNECTIONS, values)


async def find_connection(session: Session, connection_id: int, company_id: int | None) -> ConnectionChanged | None:
    """A connection of this company (of any, for `None`)."""
    values = {"connection_id": connection_id, "company_id": company_id}
    return next(iter(await read_states(session, ConnectionChanged, FIND_CONNECTION, values)), None)


async def find_cut_off(session: Session, product_ids: Sequence[int], company_id: int | None) -> int | None:
    """The first of these products whose owner is not connected with this company (`None`, the admin, sees all)."""
    found = await session.execute(FIND_CUT_OFF, {"product_ids": list(product_ids), "company_id": company_id})
    return found.scalar_one_or_none()


async def lock_connection(session: Session, connection_id: int, company_id: int | None) -> ConnectionChanged | None:
    """Lock and read a connection of this company (of any, for `None`)."""
    await session.execute(LOCK_CONNECTION, {"connection_id": connection_id})
    return await find_connection(session, connection_id, company_id)


async def change_connection(
    session: Session, actor: str, before: ConnectionChanged, wanted: ConnectionChanged
) -> ConnectionChanged:
    """Save a locked connection that has not ended (`before`) as it is `wanted`, and publish that if it is news.

    Raises `RefTakenError`.
    """
    values = wanted.model_dump(include={"connection_id", "external_ref", "default_location", "state"})
    return await _change(session, actor, CHANGE_CONNECTION, values, before) or wanted


async def _change(
    session: Session, actor: str, statement: TextClause, values: dict[str, Any], before: ConnectionChanged | None
) -> ConnectionChanged | None:
    try:
        return await change_state(session, actor, ConnectionChanged, statement, values, partial(_changes, before))
    except IntegrityError as error:
        if REF_CONSTRAINT in str(error.orig):
            message = f"This retailer has another connection with the external_ref {values['external_ref']!r}."
            raise RefTakenError(message) from error
        raise


async def end_connection(session: Session, actor: str, connection_id: int, company_id: int | None) -> bool:
    """End a connection of this company (of any, for `None`) and publish that; says whether it has such a one."""
    before = await lock_connection(session, connection_id, company_id)
    if before is not None:
        values = {"connection_id": connection_id}
        await change_state(session, actor, ConnectionChanged, END_CONNECTION, values, partial(_changes, before))
    return before is not None


def _changes(before: ConnectionChanged | None, after: ConnectionChanged) -> list[Change]:
    """The same in the trails of both companies."""
    action = "connection_changed"
    if before is None or (before.state == "ended" and after.state != "ended"):
        action = "connection_created"
    elif after.state == "ended":
        action = "connection_ended"
    was, now = (None if state is None else _said(state) for state in (before, after))
    subject = f"connection {after.connection_id}"
    return [Change(company_id, action, subject, was, now) for company_id in (after.supplier_id, after.retailer_id)]


def _said(state: ConnectionChanged) -> State:
    return state.model_dump(exclude={"connection_id", "version"})
