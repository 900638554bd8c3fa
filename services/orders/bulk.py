"""Many orders in one request: each row is accepted or refused by itself, all through the one intake path."""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from services.orders.accept import Verdict, accept_orders
from services.orders.domain.orders import SubmittedOrder
from services.orders.store.companies import find_unknown_companies
from services.orders.submissions import OrderRequest
from shared.access import Caller
from shared.database import Session
from shared.errors import FieldError, ProblemError, field_errors


class OrderResult(BaseModel):
    """What became of row `row` (from 0): the order that it made, or that was there already, or why it is refused."""

    row: int
    external_ref: str | None
    result: Literal["created", "existing", "refused"]
    order_id: UUID | None
    errors: list[FieldError] = []


def parse_line(line: bytes) -> object:
    """A line of NDJSON; what is no JSON comes back as the `ValueError` that says so."""
    try:
        return from_json(line)
    except ValueError as error:
        return ValueError(f"is no JSON: {error}")


async def accept_rows(session: Session, rows: Sequence[object], caller: Caller, first: int = 0) -> list[OrderResult]:
    """Accept these rows, parsed bodies of orders, numbered from `first`; one result for each, in their order."""
    results: dict[int, OrderResult] = {}
    orders: dict[int, SubmittedOrder] = {}
    for number, row in enumerate(rows, first):
        read = _read(number, row, caller)
        if isinstance(read, SubmittedOrder):
            orders[number] = read
        else:
            results[number] = _refused(number, _ref_of(row), read)
    unknown = await find_unknown_companies(session, {order.seller_id for order in orders.values()})
    known = {number: order for number, order in orders.items() if order.seller_id not in unknown}
    for number in orders.keys() - known.keys():
        detail = f"no company {orders[number].seller_id} is known to orders: create it in catalog"
        results[number] = _refused(number, orders[number].external_ref, [_error(number, "seller_id", detail)])
    verdicts = await accept_orders(session, list(known.values())) if known else []
    for (number, order), verdict in zip(known.items(), verdicts, strict=True):
        results[number] = _result(number, order, verdict)
    return [results[number] for number in sorted(results)]


def _read(number: int, row: object, caller: Caller) -> SubmittedOrder | list[FieldError]:
    """The order in a row, or what is wrong with it."""
    if isinstance(row, ValueError):
        return [FieldError(field=f"[{number}]", detail=str(row))]
    try:
        body = OrderRequest.model_validate(row)
        return body.submitted(caller.company(body.seller_id), body.source)
    except ValidationError as error:
        return field_errors([{**one, "loc": (number, *one["loc"])} for one in error.errors()])
    except ProblemError as error:
        return [_error(number, "seller_id", str(error.detail))]


def _ref_of(row: object) -> str | None:
    """The reference in a row that is no order, where it has one, so that its sender finds it again."""
    ref = row.get("external_ref") if isinstance(row, dict) else None
    return ref[:200] if isinstance(ref, str) else None


def _result(number: int, order: SubmittedOrder, verdict: Verdict) -> OrderResult:
    if verdict.kind == "conflict":
        return _refused(number, order.external_ref, [_error(number, "external_ref", verdict.conflict("order"))])
    if verdict.kind == "refused":
        errors = [_error(number, refusal.field, refusal.detail) for refusal in verdict.refusals]
        return _refused(number, order.external_ref, errors)
    return OrderResult(row=number, external_ref=order.external_ref, result=verdict.kind, order_id=verdict.id)


def _refused(number: int, external_ref: str | None, errors: list[FieldError]) -> OrderResult:
    return OrderResult(row=number, external_ref=external_ref, result="refused", order_id=None, errors=errors)


def _error(number: int, field: str, detail: str) -> FieldError:
    return FieldError(field=f"[{number}].{field}", detail=detail)
