"""Fulfillment on its way through one transaction: requests are assigned, completed and fail, and it is numbered."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Annotated, Literal, NamedTuple
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator

from services.orders.domain import fulfillment as domain
from services.orders.domain.fulfillment import EventKind, Part, RefusedError, Request
from services.orders.domain.life import StoredLine, StoredOrder, actor_of
from services.orders.domain.orders import Refusal
from services.orders.store import fulfillment as store
from services.orders.store.fulfillment import NumberedEvent
from services.orders.store.life import Change, ChangeKind, add_changes, lock_orders, save_orders
from services.orders.store.orders import Known
from services.orders.submissions import LINES_LIMIT, storable
from shared import clock
from shared.database import Session
from shared.events.orders import (
    QUANTITY_LIMIT,
    FulfillmentItem,
    FulfillmentRequestAssigned,
    FulfillmentRequestCompleted,
    FulfillmentRequestFailed,
)
from shared.messaging.outbox import publish

Result = Literal["created", "existing", "completed", "failed"]
CHANGED_AS: dict[EventKind, ChangeKind] = {
    "assigned": "fulfillment_assigned",
    "completed": "fulfillment_completed",
    "failed": "fulfillment_failed",
}
TOLD_AS: dict[EventKind, type[FulfillmentItem]] = {
    "assigned": FulfillmentRequestAssigned,
    "completed": FulfillmentRequestCompleted,
    "failed": FulfillmentRequestFailed,
}


class ItemBody(BaseModel):
    """`quantity` units of a line; as many as there are where it is left out."""

    model_config = ConfigDict(extra="forbid")

    line_id: int = Field(gt=0, lt=2**31, strict=True)
    quantity: Annotated[int, Field(gt=0, le=QUANTITY_LIMIT, strict=True)] | None = None


class _Action(BaseModel):
    model_config = ConfigDict(extra="forbid")

    items: Annotated[list[ItemBody], Field(min_length=1, max_length=LINES_LIMIT)] | None = None

    @property
    def parts(self) -> list[Part] | None:
        """The lines that it names, as the domain knows them."""
        return None if self.items is None else [Part(item.line_id, item.quantity) for item in self.items]


class Assignment(_Action):
    """What to send of an order; without `items` all that is open of your lines.

    `location` is where from, by default where the lines drew from. `external_ref` is your own reference: assigned twice
    under it is one request.
    """

    order_id: UUID
    location: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    external_ref: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    _storable = field_validator("location", "external_ref")(storable)


class Completion(_Action):
    """What has left; without `items` all that is still assigned."""


class Failure(_Action):
    """What will not be sent; without `items` all that is still assigned."""

    reason: Annotated[str, Field(min_length=1, max_length=500)] | None = None

    _storable = field_validator("reason")(storable)


class AssignAction(Assignment):
    """A request to make."""

    action: Literal["assign"]


class CompleteAction(Completion):
    """Items of a request that have left."""

    action: Literal["complete"]
    request_id: UUID


class FailAction(Failure):
    """Items of a request that will not be sent."""

    action: Literal["fail"]
    request_id: UUID


Action = AssignAction | CompleteAction | FailAction


class Outcome(NamedTuple):
    """What became of an action, and the request that it was about."""

    result: Result
    request_id: UUID


class RefTakenError(Exception):
    """Somebody else has taken these references in the meantime; nothing may be committed."""


class _Happened(NamedTuple):
    kind: EventKind
    request: Request
    line: StoredLine
    order: StoredOrder
    quantity: int
    reason: str | None


class _Work:
    """Orders and requests, locked, as they stand after each action."""

    def __init__(
        self,
        supplier_id: int | None,
        orders: dict[UUID, StoredOrder],
        requests: dict[UUID, Request],
        known: dict[tuple[int, str], Known],
    ) -> None:
        self._supplier_id, self.orders, self.requests, self._known = supplier_id, orders, requests, known
        self.new: list[UUID] = []
        self.happened: list[_Happened] = []
        self.changes: list[Change] = []
        self.actor = actor_of(supplier_id)

    def do(self, action: Action) -> Outcome:
        """Carry out one action; raises `RefusedError`, and then nothing has changed."""
        return self._assign(action) if isinstance(action, AssignAction) else self._settle(action)

    def _assign(self, action: AssignAction) -> Outcome:
        order = self.orders.get(action.order_id)
        if order is None or self._supplier_id not in {None, *order.parts()}:
            detail = f"you supply no line of an order {action.order_id}"
            raise RefusedError(Refusal("order_id", detail), code="order_not_found")
        fingerprint = domain.fingerprint(action.order_id, action.parts, action.location)
        existing = self._existing(action, order, fingerprint)
        if existing is not None:
            return Outcome("existing", existing)
        supplier_id, location, units = domain.choose(order, self._supplier_id, action.parts, action.location)
        ref = action.external_ref
        if ref is not None and (supplier_id, ref) in self._known:
            raise _ref_conflict(self._known[supplier_id, ref].id)
        items = tuple(domain.RequestItem(line_id, units[line_id]) for line_id in sorted(units))
        request = Request(clock.uuid7(), supplier_id, order.order_id, location, ref, fingerprint, items)
        if ref is not None:
            self._known[supplier_id, ref] = Known(request.request_id, fingerprint)
        self.new.append(request.request_id)
        self._note("assigned", domain.assign(order, units), request, units)
        return Outcome("created", request.request_id)

    def _existing(self, action: AssignAction, order: StoredOrder, fingerprint: bytes) -> UUID | None:
        """The request that was made of the very same before."""
        if action.external_ref is None:
            return None
        known = [self._known[key] for key in _keys(action, order, self._supplier_id) if key in self._known]
        same = [one.id for one in known if one.fingerprint == fingerprint]
        if known and not same and self._supplier_id is not None:
            raise _ref_conflict(known[0].id)
        return same[0] if same else None

    def _settle(self, action: CompleteAction | FailAction) -> Outcome:
        request = self.requests.get(action.request_id)
        if request is None:
            detail = f"you have no fulfillment request {action.request_id}"
            raise RefusedError(Refusal("request_id", detail), code="request_not_found")
        settled: domain.Settled = "completed" if isinstance(action, CompleteAction) else "failed"
        order, request, units = domain.settle(self.orders[request.order_id], request, settled, action.parts)
        self._note(settled, order, request, units, action.reason if isinstance(action, FailAction) else None)
        return Outcome(settled, request.request_id)

    def _note(
        self, kind: EventKind, order: StoredOrder, request: Request, units: dict[int, int], reason: str | None = None
    ) -> None:
        self.orders[order.order_id], self.requests[request.request_id] = order, request
        lines = [line for line in order.lines if line.line_id in units]
        self.happened += [_Happened(kind, request, line, order, units[line.line_id], reason) for line in lines]
        cause = str(request.request_id)
        self.changes.append(Change(order, CHANGED_AS[kind], self.actor, units, cause, reason))


async def carry_out(
    session: Session, actions: Sequence[Action], supplier_id: int | None
) -> list[Outcome | RefusedError]:
    """Carry out these actions of a supplier, or of the platform admin (`None`), one after the other.

    One that is refused changes nothing. Raises `RefTakenError`.
    """
    work = await _lock(session, actions, supplier_id)
    outcomes: list[Outcome | RefusedError] = []
    for action in actions:
        try:
            outcomes.append(work.do(action))
        except RefusedError as error:
            outcomes.append(error)
    if work.happened:
        await _save(session, work)
    return outcomes


async def _lock(session: Session, actions: Sequence[Action], supplier_id: int | None) -> _Work:
    """Lock the orders, then the requests; find what is known by the references."""
    assigning = [action for action in actions if isinstance(action, AssignAction)]
    named = {action.request_id for action in actions if not isinstance(action, AssignAction)}
    own = await store.find_orders(session, named, supplier_id) if named else {}
    orders = await lock_orders(session, {*own.values(), *(action.order_id for action in assigning)})
    requests = await store.lock_requests(session, own) if own else {}
    keys = {
        key
        for action in assigning
        if action.order_id in orders
        for key in _keys(action, orders[action.order_id], supplier_id)
    }
    known = await store.find_known(session, keys) if keys else {}
    return _Work(supplier_id, orders, requests, known)


async def _save(session: Session, work: _Work) -> None:
    """Save it, and at last take the numbers: from here to the commit every other writer of these suppliers waits."""
    now = clock.utc_now()
    new = [work.requests[request_id] for request_id in work.new]
    if new and len(await store.insert_requests(session, new, now)) < len(new):
        raise RefTakenError
    touched = {one.request.request_id: work.requests[one.request.request_id] for one in work.happened}
    await store.save_requests(session, list(touched.values()))
    await save_orders(session, [work.orders[order_id] for order_id in {one.order_id for one in touched.values()}])
    await add_changes(session, work.changes, now)
    last = await store.take_timestamps(session, Counter(one.request.supplier_id for one in work.happened))
    events = []
    for one in work.happened:
        supplier_id = one.request.supplier_id
        last[supplier_id] += 1
        events.append(_numbered(one, last[supplier_id]))
    await store.add_events(session, events, now)
    publish(session, *(_told(one, event, now) for one, event in zip(work.happened, events, strict=True)))


def _numbered(one: _Happened, logical_timestamp: int) -> NumberedEvent:
    request = one.request
    return NumberedEvent(
        request.supplier_id,
        logical_timestamp,
        one.kind,
        request.request_id,
        one.line.line_id,
        one.quantity,
        one.reason,
    )


def _told(one: _Happened, event: NumberedEvent, now: datetime) -> FulfillmentItem:
    request, order, line = one.request, one.order, one.line
    told = {
        "request_id": request.request_id,
        "supplier_id": request.supplier_id,
        "seller_id": order.seller_id,
        "order_id": order.order_id,
        "line_id": line.line_id,
        "product_id": line.product_id,
        "variant_sku": line.variant_sku,
        "quantity": one.quantity,
        "location": request.location,
        "external_ref": order.external_ref,
        "logical_timestamp": event.logical_timestamp,
        "occurred_at": now,
        "request_ref": request.external_ref,
    }
    return TOLD_AS[one.kind].model_validate(told | ({"reason": one.reason} if one.kind == "failed" else {}))


def _keys(action: AssignAction, order: StoredOrder, supplier_id: int | None) -> Collection[tuple[int, str]]:
    """Under which `(supplier id, external reference)` the request may be known."""
    if action.external_ref is None:
        return []
    suppliers = order.parts() if supplier_id is None else [supplier_id]
    return [(one, action.external_ref) for one in suppliers]


def _ref_conflict(request_id: UUID) -> RefusedError:
    detail = (
        f"this reference belongs to fulfillment request {request_id}, which asks for something else: send exactly the "
        "same again, or use a new reference"
    )
    return RefusedError(Refusal("external_ref", detail), code="fulfillment_ref_conflict")
