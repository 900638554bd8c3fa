"""Values of stock that another system sends: find what each means, keep what has to wait, write the others, tell all.

All of it in the request's transaction, so the job that is shown later is done from the first.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.inventory.as_of import as_of_now
from services.inventory.base_stock import find_base_stock, find_base_stock_or_wait
from services.inventory.domain.external_imports import (
    KINDS,
    REPLACED,
    Found,
    Key,
    Outcome,
    Value,
    contradictions,
    write_value,
)
from services.inventory.domain.stock import DEFAULT_LOCATION, Cause
from services.inventory.record import record
from services.inventory.store import external_imports as store
from services.inventory.store import pending_values as pending_store
from services.inventory.store import stock as stock_store
from services.inventory.store.pending_values import NewValue
from shared.database import Session
from shared.errors import FieldError, ProblemError
from shared.logs import current_traceparent

# Of one company: about what a big catalog has.
PENDING_LIMIT = 50_000
TOLD_LIMIT = 100


class Sent(NamedTuple):
    """What a system has sent: for which supplier, by whom, and the name of the system."""

    supplier_id: int
    actor: str
    source: str
    values: Sequence[Value]


async def carry_out(session: Session, sent: Sent) -> int:
    """Write these values, which all do the same or are resets among adjustments; returns the id of their import.

    Raises a 422 problem for locations that the supplier does not have, and 409 when too many values would wait.
    """
    locations = await _find_locations(session, sent)
    found = await _find(session, sent)
    contradictory = contradictions(sent.values, found)
    operations = {value.operation for value in sent.values}
    first = "adjust" if "adjust" in operations else sent.values[0].operation
    import_id = await store.add_import(
        session,
        supplier_id=sent.supplier_id,
        kind=KINDS[first],
        source=sent.source,
        actor=sent.actor,
        writes={"reset": "on_hand", "adjust": "adjustment"}.get(first),
        location=DEFAULT_LOCATION,
        traceparent=current_traceparent(),
        rows=len(sent.values),
    )
    open_values = [one for one in sent.values if found[one.key].is_open and one.number not in contradictory]
    dropped = await _keep(session, sent, import_id, open_values, locations, found) if open_values else []
    outcomes = await _write(session, sent, import_id, locations, found, contradictory)
    await store.settle(session, dict.fromkeys(dropped, Outcome("unchanged", note=("value", REPLACED))))
    rows = [store.Row(one.number, one.line, one.product, one.variant, one.location) for one in sent.values]
    await store.keep_outcomes(session, import_id, rows, outcomes)
    return import_id


async def _find_locations(session: Session, sent: Sent) -> dict[str, int]:
    known = (await stock_store.find_locations(session, {sent.supplier_id}))[sent.supplier_id]
    ids = {location.code: location.location_id for location in known}
    unknown = [code for code in dict.fromkeys(value.location for value in sent.values) if code not in ids]
    if unknown:
        errors = [FieldError(field=code, detail=f"You have no location {code!r}.") for code in unknown[:TOLD_LIMIT]]
        detail = f"You have no location {unknown[0]!r}. Nothing was changed."
        raise ProblemError(422, "unknown_location", detail, errors=errors)
    return ids


async def _find(session: Session, sent: Sent) -> dict[Key, Found]:
    """Where the values lead; with the locks under which those may be kept that lead nowhere yet."""
    found = await find_base_stock(session, sent.supplier_id, {value.key for value in sent.values})
    if any(one.is_open for one in found.values()):
        await pending_store.lock(session, sent.supplier_id)
        missing = [key for key, one in found.items() if one.is_open]
        found |= await find_base_stock_or_wait(session, sent.supplier_id, missing)
    return found


async def _keep(
    session: Session,
    sent: Sent,
    import_id: int,
    values: Sequence[Value],
    locations: Mapping[str, int],
    found: Mapping[Key, Found],
) -> list[tuple[int, int]]:
    """Keep these values until their products come; returns the rows of kept ones that they make void."""
    final = {(locations[value.location], value.key) for value in values if value.operation != "adjust"}
    dropped = await pending_store.drop(session, sent.supplier_id, final)
    kept = [
        NewValue(locations[one.location], one.key, one.operation, one.quantity, one.number, found[one.key].waits_for)
        for one in values
        if one.operation != "remove"
    ]
    if kept and await pending_store.count(session, sent.supplier_id) + len(kept) > PENDING_LIMIT:
        detail = (
            f"With these more than {PENDING_LIMIT:,} of your values would wait for products that do not exist. Nothing "
            "was changed. Make the products, or DELETE /imports/stock what is never to come."
        )
        raise ProblemError(409, "too_many_pending_values", detail)
    await pending_store.add(session, sent.supplier_id, import_id, sent.source, sent.actor, kept)
    return dropped


async def _write(
    session: Session,
    sent: Sent,
    import_id: int,
    locations: Mapping[str, int],
    found: Mapping[Key, Found],
    contradictory: set[int],
) -> list[Outcome]:
    """Write what can be written; returns what came of each value, in order."""
    stock = await stock_store.lock_stock(session, {one.product_id for one in found.values() if one.product_id})
    now = await as_of_now(session)
    outcomes = []
    for value in sent.values:
        stopped = _stopped(value, found[value.key], contradictory)
        if stopped is not None:
            outcomes.append(stopped)
            continue
        product_id = found[value.key].product_id
        assert product_id is not None  # noqa: S101 - else it was stopped
        cause = Cause(KINDS[value.operation], sent.actor, sent.source, str(import_id))
        level = (product_id, locations[value.location])
        outcomes.append(write_value(stock, level, value.operation, value.quantity, since=now, cause=cause))
    await record(session, stock)
    return outcomes


def _stopped(value: Value, found: Found, contradictory: set[int]) -> Outcome | None:
    """What comes of a value that is not written now."""
    if value.number in contradictory:
        words = "other values of this request say otherwise of the same stock, so none of them was written"
        return Outcome("refused", found.product_id, note=("on_hand", words))
    if found.problem is not None:
        return Outcome("refused", note=("product", f"{value.product!r} {found.problem}"))
    if found.product_id is None:
        return Outcome("unchanged" if value.operation == "remove" else "pending")
    return None
