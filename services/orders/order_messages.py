"""What order systems send by message, read: orders, and in clear words what is none.

A message is a CloudEvent `basestock.orders.order_submitted.v1`, a batch of them, or one plain JSON order, the same
body as `POST /v1/orders`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import structlog
from pydantic import PrivateAttr, ValidationError
from pydantic_core import from_json, to_json

from services.orders.domain.rejections import WHOLE, RefusedOrder, in_words, queue_for_replies, refused_order
from services.orders.submissions import OrderBody
from shared.errors import field_errors
from shared.events import BATCH, SINGLE, Event, EventError
from shared.events.orders import OrderSubmitted
from shared.messaging import dead_letters
from shared.messaging.bus import Message
from shared.messaging.consumer import Decoder

log = structlog.get_logger()

PLAIN = "application/json"


class Arrival(NamedTuple):
    """How an order came: number `row` of its message, from 0; `sender` is the user that RabbitMQ validated, if any."""

    sender: str | None
    row: int
    reply_queue: str | None
    correlation_id: str | None


class ReceivedOrder(OrderBody):
    """An order as the queue brought it."""

    _arrival: Arrival = PrivateAttr(default=Arrival(None, 0, None, None))

    @property
    def arrival(self) -> Arrival:
        """How it came."""
        return self._arrival

    def came(self, arrival: Arrival) -> Self:
        """Remember how it came; returns itself."""
        self._arrival = arrival
        return self


class UnreadableOrder(Event):
    """What stands in a message beside orders and is none: it is refused, and they are not."""

    name: ClassVar[str] = "orders.order_unreadable"

    refused: RefusedOrder

    def subject(self) -> str:
        """Nothing is known of it."""
        return ""

    def sequence(self) -> int:
        """It is stated once."""
        return 1


class RefusedError(EventError):
    """Orders that are refused for what they say."""

    def __init__(self, orders: Sequence[RefusedOrder]) -> None:
        """Refuse these."""
        super().__init__(in_words(orders))
        self.orders = orders


class NotYetError(LookupError):
    """Orders that may pass later: catalog's event about a company or a connection may be on its way."""

    def __init__(self, orders: Sequence[RefusedOrder]) -> None:
        """Refuse these, unless they pass."""
        super().__init__(in_words(orders))
        self.orders = orders


class NotConnectedError(NotYetError):
    """The seller may not sell a product."""


class UnknownSenderError(NotYetError):
    """The sender is nobody's publisher, and no company's ref."""


@dataclass(frozen=True, slots=True)
class _Envelope:
    """One order in a message: its parsed `data`, under which id it came, and how to call it in a reason."""

    row: int
    data: Any
    event_id: str
    source: str
    traceparent: str | None
    label: str


def order_decoder(*, trust_seller_id: bool) -> Decoder:
    """A decoder of order messages.

    Of a message with orders in it, what is none is an `UnreadableOrder`. A message with none raises `EventError`.
    """

    def decode_orders(message: Message) -> list[Event]:
        if message.user_id is None and not trust_seller_id:
            detail = "nobody vouches for its sender: publish with the AMQP property user_id set to your own user name"
            raise _unreadable(detail)
        events = [_event_of(item, message) for item in _envelopes(message)]
        refused = [event.refused for event in events if isinstance(event, UnreadableOrder)]
        if len(refused) == len(events):
            raise RefusedError(refused)
        return [*events]

    return decode_orders


def media_type(message: Message) -> str:
    """The content type without its parameters."""
    return message.content_type.partition(";")[0].strip().lower()


def _envelopes(message: Message) -> list[_Envelope | RefusedOrder]:
    content_type = media_type(message)
    if content_type not in {PLAIN, SINGLE, BATCH}:
        detail = f"content type {message.content_type!r} is none of {PLAIN}, {SINGLE}, {BATCH}"
        raise _unreadable(detail)
    try:
        parsed = from_json(message.body)
    except ValueError as error:
        detail = f"the body is not JSON: {error}"
        raise _unreadable(detail) from error
    traceparent = message.headers.get("traceparent")
    if content_type == PLAIN:
        return [_Envelope(0, parsed, message.message_id, "", traceparent, "")]
    if content_type == SINGLE:
        return [_envelope(0, parsed, traceparent, "the CloudEvent")]
    if not isinstance(parsed, list) or not parsed:
        detail = "a CloudEvents batch must be a JSON array with at least one event"
        raise _unreadable(detail)
    return [_envelope(row, item, traceparent, f"event {row} of the batch") for row, item in enumerate(parsed)]


def _unreadable(detail: str) -> RefusedError:
    return RefusedError([refused_order(0, None, [(WHOLE, detail)])])


def _envelope(row: int, item: object, traceparent: str | None, what: str) -> _Envelope | RefusedOrder:
    if not isinstance(item, dict):
        return refused_order(row, None, [(WHOLE, f"{what} must be a JSON object")])
    event_id, wire_name, trace = item.get("id"), item.get("type"), item.get("traceparent")
    if not isinstance(event_id, str) or not event_id:
        return refused_order(row, None, [(WHOLE, f"{what} has no id")])
    if wire_name != OrderSubmitted.cloudevents_type():
        belongs = f"only {OrderSubmitted.cloudevents_type()} belongs here"
        return refused_order(row, None, [(WHOLE, f"{what} ({event_id}) is of type {wire_name!r}; {belongs}")])
    return _Envelope(
        row=row,
        data=item.get("data"),
        event_id=event_id,
        source=str(item.get("source", "")),
        traceparent=trace if isinstance(trace, str) else traceparent,
        label=f"CloudEvent {event_id}: ",
    )


def _event_of(item: _Envelope | RefusedOrder, message: Message) -> ReceivedOrder | UnreadableOrder:
    if isinstance(item, RefusedOrder):
        return _unreadable_event(item, message)
    try:
        order = ReceivedOrder.model_validate(item.data)
    except ValidationError as error:
        # In the words of the HTTP API, whose body this is.
        errors = [(one.field, one.detail) for one in field_errors(error.errors())]
        ref = item.data.get("external_ref") if isinstance(item.data, dict) else None
        return _unreadable_event(refused_order(item.row, ref, errors, item.label), message)
    reply_queue = queue_for_replies(message.user_id, message.reply_to, message.correlation_id)
    if message.reply_to is not None and reply_queue is None:
        log.warning("reply_not_allowed", user=message.user_id, reply_to=message.reply_to)
    # The content counts too: two orders must not pass for one because their sender numbers messages anew each day. So
    # does the question: who asks again, because no answer came, must get one.
    asked = [reply_queue, message.correlation_id] if reply_queue is not None else []
    identity = to_json([message.user_id, item.source, item.event_id, item.data, *asked])
    order.received_as(hashlib.sha256(identity).hexdigest(), item.traceparent)
    return order.came(Arrival(message.user_id, item.row, reply_queue, message.correlation_id))


def _unreadable_event(refused: RefusedOrder, message: Message) -> UnreadableOrder:
    identity = f"unreadable {refused.row} of {dead_letters.identity(message).hex()}"
    return UnreadableOrder(refused=refused).received_as(identity, None)
