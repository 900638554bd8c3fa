"""What the requests share: who calls, the types of fields, pages, refusals."""

import base64
import binascii
from collections.abc import Iterable
from typing import Annotated

from fastapi import Depends, Path, Query

from services.catalog.domain import Violation
from shared.access import Caller, caller_of
from shared.errors import FieldError, ProblemError
from shared.service_context import Context, context_of

Calling = Annotated[Caller, Depends(caller_of("catalog"))]
# For what is about the caller itself, whatever it may do.
Anyone = Annotated[Caller, Depends(caller_of("catalog", any_scope=True))]
Here = Annotated[Context, Depends(context_of("catalog"))]
IdInPath = Annotated[int, Path(gt=0, lt=2**63)]
Limit = Annotated[int, Query(ge=1, le=200, description="Most items on a page.")]
Cursor = Annotated[str | None, Query(max_length=100, description="`next_cursor` of the page before.")]


def after(cursor: str | None) -> int:
    """The last id of the page before; 0 for the first page. Raises a 422 problem for what is no cursor of ours."""
    if cursor is None:
        return 0
    try:
        last_id = int(base64.urlsafe_b64decode(cursor.encode()))
    except (binascii.Error, ValueError):
        last_id = -1
    if not 0 <= last_id < 2**63 - 1:
        detail = "This is no cursor: send next_cursor of the page before, unchanged, or leave it out."
        raise ProblemError(422, "invalid_cursor", detail, errors=[FieldError(field="cursor", detail=detail)])
    return last_id


def next_cursor(ids: Iterable[int], limit: int) -> str | None:
    """The cursor behind the first `limit` of `ids`, `None` where these are all there are."""
    on_page = list(ids)
    if len(on_page) <= limit:
        return None
    return base64.urlsafe_b64encode(str(on_page[limit - 1]).encode()).decode()


def refuse(code: str, violations: list[Violation]) -> None:
    """Raise a 422 problem that names every violation, if there is any."""
    if violations:
        detail = "; ".join(violation.sentence for violation in violations)
        raise ProblemError(422, code, f"{detail}.", errors=field_errors_of(violations))


def field_errors_of(violations: Iterable[Violation]) -> list[FieldError]:
    """Violations as the problem's `errors`."""
    return [FieldError(field=violation.field, detail=violation.sentence) for violation in violations]
