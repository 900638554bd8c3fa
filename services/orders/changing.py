"""Amending and cancelling orders: locked, decided, saved and told in the caller's transaction."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from services.orders.accept import Links, stored_lines
from services.orders.domain import changing as domain
from services.orders.domain.changing import LineChange
from services.orders.domain.life import StoredLine, StoredOrder, actor_of
from services.orders.domain.orders import Line, Refusal, check_ordered
from services.orders.store.companies import find_suppliers
from services.orders.store.life import Change, ChangeKind, add_changes, lock_orders, save_orders
from services.orders.submissions import LINES, LINES_LIMIT, countable, storable
from services.orders.telling import told_as
from shared import clock
from shared.access import Caller
from shared.catalog_view import find_links
from shared.database import Session
from shared.entity_tags import require_version
from shared.errors import FieldError, ProblemError
from shared.events.orders import QUANTITY_LIMIT, OrderAmended, OrderCancelled
from shared.messaging.outbox import publish

Versions = Collection[int] | None
# The others are in `errors`.
PROBLEMS_SHOWN = 20
REASON = Field(None, min_length=1, max_length=500)


class AmendedLine(BaseModel):
    """A line as it is to be: one of the order's (`line_id`), or a new one (`product_id`, `quantity`).

    What is left out of one of the order's lines stays as it is.
    """

    model_config = ConfigDict(extra="forbid")

    line_id: int | None = Field(None, ge=1, strict=True)
    product_id: int | None = Field(None, gt=0, lt=2**63, strict=True)
    variant_sku: str | None = Field(None, min_length=1, max_length=200)
    quantity: int | None = Field(None, gt=0, le=QUANTITY_LIMIT, strict=True)
    location: str | None = Field(None, min_length=1, max_length=100)

    _storable = field_validator("variant_sku", "location")(storable)

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        """`ValueError` for what is neither one of the order's lines nor a new one."""
        if self.line_id is not None and (self.product_id is not None or self.variant_sku is not None):
            message = "a line_id keeps its product: cancel the line and add one with the other product_id"
            raise ValueError(message)
        if self.line_id is None and (self.product_id is None or self.quantity is None):
            message = "needs a line_id (to change a line of the order) or product_id and quantity (to add one)"
            raise ValueError(message)
        return self


class Amendment(BaseModel):
    """What changes of an order; lines that are not named stay as they are."""

    model_config = ConfigDict(extra="forbid")

    lines: tuple[AmendedLine, ...] = LINES
    reason: str | None = REASON

    _countable = field_validator("lines", mode="before")(countable)
    _storable = field_validator("reason")(storable)

    def changes(self) -> list[LineChange]:
        """The lines of the order that are to change."""
        return [
            LineChange(f"lines[{index}]", line.line_id, line.quantity, line.location)
            for index, line in enumerate(self.lines)
            if line.line_id is not None
        ]

    def added(self) -> dict[int, Line]:
        """The lines that are new, by where they stand in the request."""
        return {
            index: Line(line.product_id, line.variant_sku, line.quantity, line.location)
            for index, line in enumerate(self.lines)
            if line.product_id is not None and line.quantity is not None
        }


class CancelledLine(BaseModel):
    """`quantity` units of a line that are not wanted any more; all that are not settled when it is left out."""

    model_config = ConfigDict(extra="forbid")

    line_id: int = Field(ge=1, strict=True)
    quantity: int | None = Field(None, gt=0, le=QUANTITY_LIMIT, strict=True)


class Cancellation(BaseModel):
    """What is cancelled: these lines, or the whole order when none is named."""

    model_config = ConfigDict(extra="forbid")

    lines: tuple[CancelledLine, ...] | None = Field(None, min_length=1, max_length=LINES_LIMIT)
    reason: str | None = REASON

    _storable = field_validator("reason")(storable)


async def amend(session: Session, order_id: UUID, body: Amendment, caller: Caller, versions: Versions) -> None:
    """Amend one of the caller's orders; what is so already changes nothing.

    Raises a problem: 404 for no order of the caller's, 409 for a cancelled one or what is settled, 412 unless it is at
    one of `versions`, 422 for unknown lines and for products that the seller may not sell.
    """
    order = await _lock_own(session, order_id, caller, versions)
    if order.state == "cancelled":
        _refuse("order_cancelled", [Refusal("order_id", f"order {order_id} is cancelled, and stays so")])
    changes, added = body.changes(), body.added()
    _refuse("order_refused", domain.unknown_lines(order, changes), status=422)
    if len(order.lines) + len(added) > LINES_LIMIT:
        _refuse("order_refused", [Refusal("lines", f"an order has at most {LINES_LIMIT} lines")], status=422)
    await _check_more(session, order, domain.asks_for_more(order, changes))
    new = await _checked(session, order.seller_id, added)
    _refuse("in_fulfillment", domain.amend_refusals(order, changes, len(added)))
    amended = domain.amend(order, changes, new)
    if amended != order:
        await _save(session, order, amended, "amended", caller, body.reason)


async def cancel(session: Session, order_id: UUID, body: Cancellation, caller: Caller, versions: Versions) -> None:
    """Cancel one of the caller's orders, or some units of it; an order that is cancelled already stays as it is.

    Raises a problem: 404 for no order of the caller's, 409 for what is settled, 412 unless it is at one of `versions`,
    422 for unknown lines.
    """
    order = await _lock_own(session, order_id, caller, versions)
    if order.state == "cancelled":
        return
    if body.lines is None:
        _refuse("in_fulfillment", domain.whole_cancel_refusals(order))
        whole = {line.line_id: line.open for line in order.lines}
        cancelled = domain.cancel(order, whole)._replace(state="cancelled")
    else:
        changes = [LineChange(f"lines[{i}]", line.line_id, line.quantity) for i, line in enumerate(body.lines)]
        _refuse("order_refused", domain.unknown_lines(order, changes), status=422)
        _refuse("in_fulfillment", domain.cancel_refusals(order, changes))
        left = {line.line_id: line.open for line in order.lines}
        cancelled = domain.cancel(order, {one.line_id: one.quantity or left[one.line_id] for one in changes})
    await _save(session, order, cancelled, "cancelled", caller, body.reason)


async def _lock_own(session: Session, order_id: UUID, caller: Caller, versions: Versions) -> StoredOrder:
    order = (await lock_orders(session, [order_id])).get(order_id)
    if order is None or not (caller.is_admin or order.seller_id == caller.company()):
        raise ProblemError(404, "order_not_found", f"You have no order {order_id}.")
    require_version("The order", order.version, versions)
    return order


async def _check_more(session: Session, order: StoredOrder, changes: Sequence[LineChange]) -> None:
    """Raise a 422 problem unless the seller may sell what it wants more of, as if it ordered that anew."""
    lines = {line.line_id: line for line in order.lines}
    asked = {change.field: lines[change.line_id] for change in changes}
    wanted = {field: Line(one.product_id, one.variant_sku, one.quantity, None) for field, one in asked.items()}
    await _check(session, order.seller_id, wanted)


async def _checked(session: Session, seller_id: int, added: dict[int, Line]) -> list[StoredLine]:
    """The added lines, once it is clear that the seller may sell them."""
    links = await _check(session, seller_id, {f"lines[{index}]": line for index, line in added.items()})
    return list(stored_lines(list(added.values()), links))


async def _check(session: Session, seller_id: int, lines: dict[str, Line]) -> Links:
    """Raise a 422 problem unless the seller may sell these lines, given by their fields; returns their links."""
    links = await find_links(session, {line.part for line in lines.values()})
    suppliers = (await find_suppliers(session, {seller_id}))[seller_id]
    refusals = [
        replace(refusal, field=refusal.field.replace("lines[0]", field))
        for field, line in lines.items()
        for refusal in check_ordered([line], links, seller_id, suppliers)
    ]
    _refuse("order_refused", refusals, status=422)
    return links


async def _save(
    session: Session, before: StoredOrder, now: StoredOrder, kind: ChangeKind, caller: Caller, reason: str | None
) -> None:
    order = now._replace(version=before.version + 1)
    await save_orders(session, [order])
    units = _changed_units(before, order, -1 if kind == "cancelled" else 1)
    await add_changes(
        session, [Change(order, kind, actor_of(caller.company_id), units, reason=reason)], clock.utc_now()
    )
    publish(session, told_as(OrderCancelled if order.state == "cancelled" else OrderAmended, order))


def _changed_units(before: StoredOrder, now: StoredOrder, sign: int) -> dict[int, int]:
    """Of the lines that changed, how many more units are wanted (of a cancellation: how many are not any more)."""
    known = {line.line_id: line for line in before.lines}
    return {
        line.line_id: sign * (line.wanted - (known[line.line_id].wanted if line.line_id in known else 0))
        for line in now.lines
        if line != known.get(line.line_id)
    }


def _refuse(code: str, refusals: Sequence[Refusal], status: int = 409) -> None:
    """Raise a problem with these refusals, if there are any."""
    if refusals:
        errors = [FieldError(field=refusal.field, detail=refusal.detail) for refusal in refusals]
        detail = "; ".join(f"{error.field}: {error.detail}" for error in errors[:PROBLEMS_SHOWN])
        raise ProblemError(status, code, detail, errors=errors)
