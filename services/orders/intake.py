"""Orders from the queue `orders.submitted`: who sent them, and whether they are accepted.

The seller is the company whose publisher the message's `user_id` is, which RabbitMQ has validated, else the company
that has it for a `ref`; a deployment may choose to believe the body's `seller_id` where there is none
(`intake_trust_seller_id`).
"""

from collections.abc import Mapping, Sequence

from services.orders.accept import Verdict, accept_orders
from services.orders.domain.orders import SubmittedOrder
from services.orders.domain.rejections import RefusedOrder, refused_order
from services.orders.order_messages import (
    NotConnectedError,
    ReceivedOrder,
    RefusedError,
    UnknownSenderError,
    UnreadableOrder,
    order_decoder,
)
from services.orders.rejecting import answer_accepted, reject
from services.orders.store.publishers import find_sellers
from shared.database import Session
from shared.messaging.bus import INTAKE_EXCHANGE, Queue
from shared.messaging.consumer import Source, on
from shared.service_context import Context

QUEUE = "orders.submitted"


def sources(context: Context) -> Sequence[Source]:
    """The queue that order systems publish to."""
    queue = Queue(
        name=QUEUE,
        topics=(QUEUE,),
        exchange=INTAKE_EXCHANGE,
        limit_messages=context.settings.queue_limit_messages,
    )
    decoder = order_decoder(trust_seller_id=context.settings.intake_trust_seller_id)
    return [Source(queue, (on((ReceivedOrder, UnreadableOrder), accept_received),), decoder, refuse=reject)]


async def accept_received(session: Session, events: Sequence[ReceivedOrder | UnreadableOrder]) -> None:
    """Accept orders from the queue, and answer those who want to know.

    Raises `RefusedError` with all that was refused, and why; for what may pass, so that it is tried again,
    `UnknownSenderError`, `UnknownCompanyError` and `NotConnectedError` (nothing but connections is missing).
    """
    unreadable = [event.refused for event in events if isinstance(event, UnreadableOrder)]
    if unreadable:
        raise RefusedError(unreadable)
    received = [event for event in events if isinstance(event, ReceivedOrder)]
    sellers = await find_sellers(session, {one.arrival.sender for one in received if one.arrival.sender is not None})
    submitted = [event.submitted(_seller_of(event, sellers), "amqp") for event in received]
    causes = {order.order_id: event for order, event in zip(submitted, received, strict=True)}
    verdicts = await accept_orders(session, submitted, causes)
    refused = [
        _refused(event, order, verdict)
        for event, order, verdict in zip(received, submitted, verdicts, strict=True)
        if verdict.kind in {"conflict", "refused"}
    ]
    if refused:
        raise (NotConnectedError if all(verdict.passing for verdict in verdicts) else RefusedError)(refused)
    for event, verdict in zip(received, verdicts, strict=True):
        answer_accepted(session, event, verdict)


def _seller_of(event: ReceivedOrder, sellers: Mapping[str, int]) -> int:
    sender = event.arrival.sender

    def refused(field: str, detail: str) -> list[RefusedOrder]:
        return [
            refused_order(event.arrival.row, event.external_ref, [(field, detail)], f"order {event.external_ref!r}: ")
        ]

    if sender is None:
        if event.seller_id is None:
            raise RefusedError(refused("seller_id", "nobody vouches for the sender, so the body must name it"))
        return event.seller_id
    company_id = sellers.get(sender)
    if company_id is None:
        detail = (
            f"its sender, AMQP user {sender!r}, is neither a publisher of a company (`basestock broker add-publisher`) "
            "nor the ref of one that is known here"
        )
        raise UnknownSenderError(refused("user_id", detail))
    if event.seller_id not in {None, company_id}:
        detail = (
            f"AMQP user {sender!r} may only sell as company {company_id}, not as {event.seller_id}: leave seller_id out"
        )
        raise RefusedError(refused("seller_id", detail))
    return company_id


def _refused(event: ReceivedOrder, order: SubmittedOrder, verdict: Verdict) -> RefusedOrder:
    label = f"order {order.external_ref!r} of company {order.seller_id}: "
    errors = [(refusal.field, refusal.detail) for refusal in verdict.refusals]
    if verdict.kind == "conflict":
        errors = [("external_ref", verdict.conflict("order"))]
    return refused_order(event.arrival.row, order.external_ref, errors, label)
