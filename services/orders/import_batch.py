"""Some orders of a file: read from their rows, accepted through the one intake path, and what came of each."""

from collections.abc import Sequence

from services.orders.accept import Verdict, accept_orders
from services.orders.domain.imports import FileOrder, errors_by_row, problems_of, told
from services.orders.domain.orders import SubmittedOrder
from services.orders.store.imports import Job, OrderResult
from services.orders.submissions import LINES_LIMIT
from shared import clock
from shared.database import Session


async def accept_batch(session: Session, job: Job, orders: Sequence[FileOrder]) -> list[OrderResult]:
    """Accept these orders, each whole or not at all; one result for each, in their order."""
    results = {order.place: result for order in orders if (result := _unfit(order)) is not None}
    good = [order for order in orders if order.place not in results]
    verdicts = await accept_orders(session, [_submitted(job, order) for order in good]) if good else []
    for order, verdict in zip(good, verdicts, strict=True):
        results[order.place] = _result(job, order, verdict)
    return [results[order.place] for order in orders]


def _unfit(order: FileOrder) -> OrderResult | None:
    """Why an order cannot be submitted, if it cannot."""
    if order.rows > LINES_LIMIT:
        detail = f"this order has {order.rows:,} rows; an order may have {LINES_LIMIT:,} lines"
        return OrderResult(order, "refused", error=("external_ref", detail))
    problems = problems_of(order)
    return OrderResult(order, "refused", errors=told(order, problems)) if problems else None


def _submitted(job: Job, order: FileOrder) -> SubmittedOrder:
    return SubmittedOrder(
        order_id=clock.uuid7(),
        seller_id=job.seller_id,
        external_ref=order.external_ref,
        source="import",
        placed_at=order.placed_at,
        lines=order.ordered(),
    )


def _result(job: Job, order: FileOrder, verdict: Verdict) -> OrderResult:
    if verdict.kind == "conflict":
        problems = errors_by_row(order, [("external_ref", verdict.conflict("order"))])
        return OrderResult(order, "refused", errors=told(order, problems))
    if verdict.kind == "refused":
        problems = errors_by_row(order, [(refusal.field, refusal.detail) for refusal in verdict.refusals])
        return OrderResult(order, "refused", errors=told(order, problems))
    # In a dry run a new order has no id that anybody could use.
    is_there = verdict.kind == "existing" or not job.dry_run
    return OrderResult(order, verdict.kind, verdict.id if is_there else None)
