"""Answers to orders that came by message: what became of them, and a rejection for each message that is set aside."""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from services.orders.accept import UnknownCompanyError, Verdict
from services.orders.bulk import OrderResult
from services.orders.domain.rejections import WHOLE, RefusedOrder, all_errors, queue_for_replies, refused_order
from services.orders.order_messages import NotYetError, ReceivedOrder, RefusedError, media_type
from services.orders.store.publishers import find_sellers
from shared import clock
from shared.database import Session
from shared.errors import FieldError
from shared.events import BATCH, Event, EventError
from shared.events.orders import OrderRejected
from shared.messaging.bus import Message
from shared.messaging.consumer import Failure
from shared.messaging.outbox import Reply, publish, reply


class OrderReply(OrderResult):
    """What the sender of a message is told of each of its orders, if it gave a queue for that (`reply_to`).

    `row` counts the orders of the message from 0. `rejection_id` is the dead letter's that keeps a refused one.
    """

    rejection_id: UUID | None = None

    def as_json(self) -> bytes:
        """As it is sent."""
        return self.model_dump_json().encode()


def answer_accepted(session: Session, event: ReceivedOrder, verdict: Verdict) -> None:
    """Tell the sender of an accepted order which one it is, if it wants to know."""
    arrival = event.arrival
    if arrival.reply_queue is not None:
        result: Literal["created", "existing"] = "created" if verdict.kind == "created" else "existing"
        answer = OrderReply(row=arrival.row, external_ref=event.external_ref, result=result, order_id=verdict.id)
        reply(session, Reply(arrival.reply_queue, arrival.correlation_id, answer.as_json()), caused_by=event)


async def reject(session: Session, dead_letter_id: UUID, message: Message, failures: Sequence[Failure]) -> None:
    """Say that a message, or some of its orders, is refused: to everybody by an event, to its sender by replies."""
    refused = sorted((one for event, error in failures for one in _refused_by(event, error)), key=lambda one: one.row)
    sender = message.user_id
    sellers = await find_sellers(session, set() if sender is None else {sender})
    (external_ref,) = {one.external_ref for one in refused} if len(refused) == 1 else (None,)
    rejected = OrderRejected(
        rejection_id=dead_letter_id,
        seller_id=None if sender is None else sellers.get(sender),
        external_ref=external_ref,
        source="amqp",
        errors=all_errors(refused, in_batch=media_type(message) == BATCH),
        rejected_at=clock.utc_now(),
    )
    publish(session, rejected)
    queue = queue_for_replies(sender, message.reply_to, message.correlation_id)
    if queue is None:
        return
    for one in refused:
        errors = [FieldError(field=error.field, detail=error.detail) for error in one.errors]
        answer = OrderReply(
            row=one.row,
            external_ref=one.external_ref,
            result="refused",
            order_id=None,
            errors=errors,
            rejection_id=dead_letter_id,
        )
        reply(session, Reply(queue, message.correlation_id, answer.as_json()))


def _refused_by(event: Event | None, error: Exception) -> Sequence[RefusedOrder]:
    """The orders that an error refuses; what nobody foresaw is for our log, not for a sender."""
    if isinstance(error, RefusedError | NotYetError):
        return error.orders
    row, ref = (event.arrival.row, event.external_ref) if isinstance(event, ReceivedOrder) else (0, None)
    if isinstance(error, UnknownCompanyError):
        return [refused_order(row, ref, [("seller_id", str(error))])]
    known = isinstance(error, EventError)
    return [
        refused_order(row, ref, [(WHOLE, str(error) if known else "it could not be handled: our side has to look")])
    ]
