"""Orders from the queue `orders.submitted`: who sent them, what they say, and clear reasons for those that are refused.

A message is a CloudEvent `basestock.orders.order_submitted.v1`, a batch of them, or one plain JSON order, the same
body as `POST /v1/orders`. The seller is the company whose `ref` is the message's `user_id`, which RabbitMQ has
validated; a deployment may choose to believe the body's `seller_id` where there is none (`intake_trust_seller_id`).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from pydantic import PrivateAttr, ValidationError
from pydantic_core import from_json, to_json

from services.orders.accept import UnknownCompanyError, Verdict, accept_orders
from services.orders.domain.orders import SubmittedOrder
from services.orders.store.companies import find_company_ids
from services.orders.submissions import OrderBody
from shared.database import Session
from shared.errors import field_errors
from shared.events import BATCH, SINGLE, Event, EventError
from shared.events.orders import OrderSubmitted
from shared.messaging.bus import INTAKE_EXCHANGE, Message, Queue
from shared.messaging.consumer import Decoder, Source, on
from shared.service_context import Context

PLAIN = "application/json"
# Enough to see what is wrong; a reason with a thousand lines is read by nobody.
PROBLEMS_SHOWN = 20


class ReceivedOrder(OrderBody):
    """An order as the queue brought it. `sender` is the validated user, `None` where the body's seller is believed."""

    _sender: str | None = PrivateAttr(default=None)

    @property
    def sender(self) -> str | None:
        """The user that RabbitMQ validated."""
        return self._sender

    def sent_by(self, sender: str | None) -> Self:
        """Remember who sent it; returns itself."""
        self._sender = sender
        return self


class NotConnectedError(LookupError):
    """The seller may not sell a product, or not yet: catalog's event about the connection may be on its way."""


@dataclass(frozen=True, slots=True)
class _Envelope:
    """One order in a message: its parsed `data`, under which id it came, and how to call it in a reason."""

    data: Any
    event_id: str
    source: str
    traceparent: str | None
    label: str


def sources(context: Context) -> Sequence[Source]:
    """The queue that order systems publish to."""
    queue = Queue(
        name="orders.submitted",
        topics=("orders.submitted",),
        exchange=INTAKE_EXCHANGE,
        limit_messages=context.settings.queue_limit_messages,
    )
    decoder = order_decoder(trust_seller_id=context.settings.intake_trust_seller_id)
    return [Source(queue, (on(ReceivedOrder, accept_received),), decoder)]


def order_decoder(*, trust_seller_id: bool) -> Decoder:
    """A decoder of order messages; it raises `EventError` with all that is wrong with a message."""

    def decode_orders(message: Message) -> list[Event]:
        if message.user_id is None and not trust_seller_id:
            text = "nobody vouches for its sender: publish with the AMQP property user_id set to your own user name"
            raise EventError(text)
        orders: list[Event] = []
        problems: list[str] = []
        for envelope in _envelopes(message):
            try:
                orders.append(_received(envelope, message.user_id))
            except ValidationError as error:
                # In the words of the HTTP API, whose body this is.
                problems += [f"{envelope.label}{item.field}: {item.detail}" for item in field_errors(error.errors())]
        if problems:
            raise EventError(_listed(problems))
        return orders

    return decode_orders


async def accept_received(session: Session, events: Sequence[ReceivedOrder]) -> None:
    """Accept orders from the queue.

    Raises `EventError` with all that was refused, and why; for what may pass, so that it is tried again,
    `UnknownCompanyError` (a sender who may yet turn up) and `NotConnectedError` (nothing but connections is missing).
    """
    companies = await find_company_ids(session, {event.sender for event in events if event.sender is not None})
    submitted = [event.submitted(_seller_of(event, companies), "amqp") for event in events]
    causes = {order.order_id: event for order, event in zip(submitted, events, strict=True)}
    verdicts = await accept_orders(session, submitted, causes)
    problems = [
        problem for order, verdict in zip(submitted, verdicts, strict=True) for problem in _problems(order, verdict)
    ]
    if problems and all(verdict.passing for verdict in verdicts):
        raise NotConnectedError(_listed(problems))
    if problems:
        raise EventError(_listed(problems))


def _envelopes(message: Message) -> list[_Envelope]:
    content_type = message.content_type.partition(";")[0].strip().lower()
    if content_type not in {PLAIN, SINGLE, BATCH}:
        text = f"content type {message.content_type!r} is none of {PLAIN}, {SINGLE}, {BATCH}"
        raise EventError(text)
    try:
        parsed = from_json(message.body)
    except ValueError as error:
        text = f"the body is not JSON: {error}"
        raise EventError(text) from error
    traceparent = message.headers.get("traceparent")
    if content_type == PLAIN:
        return [_Envelope(parsed, message.message_id, "", traceparent, "")]
    if content_type == SINGLE:
        return [_envelope(parsed, traceparent, "the CloudEvent")]
    if not isinstance(parsed, list) or not parsed:
        text = "a CloudEvents batch must be a JSON array with at least one event"
        raise EventError(text)
    return [_envelope(item, traceparent, f"event {index} of the batch") for index, item in enumerate(parsed)]


def _envelope(item: object, traceparent: str | None, what: str) -> _Envelope:
    if not isinstance(item, dict):
        text = f"{what} must be a JSON object"
        raise EventError(text)
    event_id, wire_name, trace = item.get("id"), item.get("type"), item.get("traceparent")
    if not isinstance(event_id, str) or not event_id:
        text = f"{what} has no id"
        raise EventError(text)
    if wire_name != OrderSubmitted.cloudevents_type():
        text = f"{what} ({event_id}) is of type {wire_name!r}; only {OrderSubmitted.cloudevents_type()} belongs here"
        raise EventError(text)
    return _Envelope(
        data=item.get("data"),
        event_id=event_id,
        source=str(item.get("source", "")),
        traceparent=trace if isinstance(trace, str) else traceparent,
        label=f"CloudEvent {event_id}: ",
    )


def _received(envelope: _Envelope, sender: str | None) -> ReceivedOrder:
    order = ReceivedOrder.model_validate(envelope.data).sent_by(sender)
    # The content counts too: two orders must not pass for one because their sender numbers messages anew each day.
    identity = to_json([sender, envelope.source, envelope.event_id, envelope.data])
    order.received_as(hashlib.sha256(identity).hexdigest(), envelope.traceparent)
    return order


def _seller_of(event: ReceivedOrder, companies: Mapping[str, int]) -> int:
    if event.sender is None:
        if event.seller_id is None:
            text = f"order {event.external_ref!r}: seller_id: nobody vouches for the sender, so the body must name it"
            raise EventError(text)
        return event.seller_id
    company_id = companies.get(event.sender)
    if company_id is None:
        text = (
            f"order {event.external_ref!r}: its sender, AMQP user {event.sender!r}, is not the ref of any company "
            "known here: create that company in catalog, or publish as a user who is called like one"
        )
        raise UnknownCompanyError(text)
    if event.seller_id not in {None, company_id}:
        text = (
            f"order {event.external_ref!r}: seller_id: AMQP user {event.sender!r} may only sell as company "
            f"{company_id}, not as {event.seller_id}: leave seller_id out"
        )
        raise EventError(text)
    return company_id


def _problems(order: SubmittedOrder, verdict: Verdict) -> list[str]:
    label = f"order {order.external_ref!r} of company {order.seller_id}"
    if verdict.kind == "conflict":
        return [f"{label}: external_ref: {verdict.conflict('order')}"]
    return [f"{label}: {refusal.field}: {refusal.detail}" for refusal in verdict.refusals]


def _listed(problems: Sequence[str]) -> str:
    more = len(problems) - PROBLEMS_SHOWN
    return "; ".join(problems[:PROBLEMS_SHOWN]) + (f"; and {more} more" if more > 0 else "")
