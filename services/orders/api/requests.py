"""What the routes of orders have in common."""

from typing import Annotated, Literal

from fastapi import Depends

from services.orders.accept import UnknownCompanyError, Verdict
from shared.access import Caller, caller_of
from shared.errors import FieldError, ProblemError
from shared.service_context import Context, context_of

Calling = Annotated[Caller, Depends(caller_of("orders"))]
Here = Annotated[Context, Depends(context_of("orders"))]


def unknown_company(error: UnknownCompanyError) -> ProblemError:
    """The answer to a seller that is not known here."""
    detail = str(error)
    return ProblemError(422, "unknown_company", detail, errors=[FieldError(field="seller_id", detail=detail)])


def raise_unless_accepted(verdict: Verdict, what: Literal["order", "return"]) -> None:
    """Raise what a submission that was not accepted is answered with."""
    if verdict.kind == "conflict":
        detail = verdict.conflict(what)
        error = FieldError(field="external_ref", detail=detail)
        raise ProblemError(409, f"{what}_ref_conflict", detail, errors=[error])
    if verdict.kind == "refused":
        errors = [FieldError(field=refusal.field, detail=refusal.detail) for refusal in verdict.refusals]
        detail = "; ".join(f"{error.field}: {error.detail}" for error in errors)
        raise ProblemError(422, f"{what}_refused", detail, errors=errors)
