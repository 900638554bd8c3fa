"""The one way in: every order, whoever brings it, is accepted here (rule 10), and so is every return."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from services.orders.domain.changing import take_back
from services.orders.domain.life import StoredLine, StoredOrder, actor_of
from services.orders.domain.orders import (
    Line,
    Refusal,
    SubmittedOrder,
    SubmittedReturn,
    check_ordered,
    check_returned,
    was_checked,
)
from services.orders.store import orders as order_store
from services.orders.store import returns as return_store
from services.orders.store.companies import find_suppliers, find_unknown_companies
from services.orders.store.life import Change, add_changes, lock_orders, save_lines, save_orders
from services.orders.store.orders import Known
from services.orders.telling import told_as
from shared import clock
from shared.catalog_view import Link, find_links
from shared.database import Session
from shared.events import Event
from shared.events.orders import ItemsReturned, OrderCreated, ReturnedLine
from shared.messaging.outbox import publish

NO_CAUSES: Mapping[UUID, Event] = {}

# Where each `(product id, variant sku or "")` leads.
Links = Mapping[tuple[int, str], Link]


class UnknownCompanyError(LookupError):
    """The seller is no company known here, or not yet: catalog's event may be on its way."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a submission.

    `id` is the new order's or return's, or that of the one that has the reference already (`existing`: the same
    content, `conflict`: another). `refusals` say why it was `refused`.
    """

    kind: Literal["created", "existing", "conflict", "refused"]
    id: UUID
    refusals: tuple[Refusal, ...] = ()

    @property
    def passing(self) -> bool:
        """Whether it may be accepted later: nothing was found wrong but connections that are missing."""
        return self.kind != "conflict" and all(refusal.passing for refusal in self.refusals)

    def conflict(self, what: Literal["order", "return"]) -> str:
        """Words for a conflict."""
        return (
            f"this reference belongs to {what} {self.id}, which says something else: send exactly the same again, or "
            "use a new reference"
        )


async def accept_orders(
    session: Session, submitted: Sequence[SubmittedOrder], causes: Mapping[UUID, Event] = NO_CAUSES
) -> list[Verdict]:
    """Accept new orders and publish each as created; one verdict for each, in their order.

    `causes` names the event that brought an order, by the order's id. An order that is here already is not checked
    again: it was accepted when it came. Raises `UnknownCompanyError`.
    """
    await _require_companies(session, {order.seller_id for order in submitted})
    known = await order_store.find_known_orders(session, [order.key for order in submitted])
    new = [order for order in submitted if order.key not in known]
    links = await find_links(session, {line.part for order in new for line in order.lines})
    refusals = await _refusals(session, new, links)
    wanted = [order for order in submitted if order.key not in known and not refusals[order.order_id]]
    received_at = clock.utc_now()
    created = await order_store.insert_orders(session, wanted, received_at)
    stored = {order.order_id: _stored(order, links, received_at) for order in wanted if order.order_id in created}
    await save_lines(session, list(stored.values()))
    # Somebody else may have brought the same reference in the meantime, or it stands twice in this batch.
    known |= await order_store.find_known_orders(
        session, [order.key for order in wanted if order.order_id not in created]
    )
    verdicts = []
    for order in submitted:
        if order.order_id in created:
            publish(session, told_as(OrderCreated, stored[order.order_id]), caused_by=causes.get(order.order_id))
            verdicts.append(Verdict("created", order.order_id))
        elif refusals.get(order.order_id):
            verdicts.append(Verdict("refused", order.order_id, refusals[order.order_id]))
        else:
            verdicts.append(_compared(known[order.key], order.fingerprint()))
    return verdicts


async def accept_return(session: Session, returned: SubmittedReturn) -> Verdict:
    """Accept a new return and publish it; raises `UnknownCompanyError`."""
    await _require_companies(session, {returned.seller_id})
    order = (await lock_orders(session, [returned.order_id])).get(returned.order_id) if returned.order_id else None
    known = await return_store.find_known_return(session, returned)
    if known:
        return _compared(known, returned.fingerprint())
    refusals = await _refusals_of_return(session, returned, order)
    now, units = order, dict[int, int]()
    if order is not None and not refusals:
        now, units, refusals = take_back(order, returned.lines)
    if refusals:
        return Verdict("refused", returned.return_id, tuple(refusals))
    received_at = clock.utc_now()
    if not await return_store.insert_return(session, returned, received_at):
        return await accept_return(session, returned)  # somebody else brought it in the meantime: compare with theirs
    if now is not None:
        await save_orders(session, [now])
        change = Change(now, "returned", actor_of(returned.seller_id), units, cause=str(returned.return_id))
        await add_changes(session, [change], received_at)
    publish(session, _returned(returned, received_at))
    return Verdict("created", returned.return_id)


async def _require_companies(session: Session, company_ids: set[int]) -> None:
    unknown = await find_unknown_companies(session, company_ids)
    if unknown:
        listed = ", ".join(str(company_id) for company_id in sorted(unknown))
        message = (
            f"no company {listed} is known to orders: create it in catalog; if that was just now, try again in a second"
        )
        raise UnknownCompanyError(message)


async def _refusals(
    session: Session, orders: Sequence[SubmittedOrder], links: Links
) -> dict[UUID, tuple[Refusal, ...]]:
    """Why each of these orders may not be accepted, by its id."""
    suppliers = await find_suppliers(session, {order.seller_id for order in orders})
    return {
        order.order_id: tuple(check_ordered(order.lines, links, order.seller_id, suppliers[order.seller_id]))
        for order in orders
    }


async def _refusals_of_return(session: Session, returned: SubmittedReturn, order: StoredOrder | None) -> list[Refusal]:
    links = await find_links(session, {line.part for line in returned.lines})
    suppliers = await find_suppliers(session, {returned.seller_id}, also_ended=True)
    refusals = check_returned(returned.lines, links, returned.seller_id, suppliers[returned.seller_id])
    if returned.order_id and (order is None or order.seller_id != returned.seller_id):
        detail = f"company {returned.seller_id} has no order {returned.order_id}"
        refusals.append(Refusal("order_id", detail))
    return refusals


def _compared(known: Known, fingerprint: bytes) -> Verdict:
    return Verdict("existing" if known.fingerprint == fingerprint else "conflict", known.id)


def stored_lines(lines: Sequence[Line], links: Links) -> tuple[StoredLine, ...]:
    """New lines of an order as they are kept, numbered from 1."""
    return tuple(
        StoredLine(
            line_id=line_id,
            product_id=line.product_id,
            variant_sku=line.variant_sku,
            quantity=line.quantity,
            location=line.location,
            checked=was_checked(links[line.part]),
            supplier_id=links[line.part].supplier_id,
        )
        for line_id, line in enumerate(lines, 1)
    )


def _stored(order: SubmittedOrder, links: Links, received_at: datetime) -> StoredOrder:
    return StoredOrder(
        order_id=order.order_id,
        seller_id=order.seller_id,
        external_ref=order.external_ref,
        source=order.source,
        state="open",
        placed_at=order.placed_at or received_at,
        version=1,
        decision=0,
        decided_version=0,
        lines=stored_lines(order.lines, links),
    )


def _returned(returned: SubmittedReturn, received_at: datetime) -> ItemsReturned:
    return ItemsReturned(
        return_id=returned.return_id,
        seller_id=returned.seller_id,
        external_ref=returned.external_ref,
        order_id=returned.order_id,
        source=returned.source,
        returned_at=returned.returned_at or received_at,
        lines=tuple(
            ReturnedLine(
                line_id=line_id,
                product_id=line.product_id,
                variant_sku=line.variant_sku,
                quantity=line.quantity,
                restock=line.restock,
                location=line.location,
            )
            for line_id, line in enumerate(returned.lines, 1)
        ),
    )
