"""What the routes of inventory have in common: who calls, and parameters of their requests."""

import re
from typing import Annotated

from fastapi import Depends, Header, Path, Query

from shared.access import Caller, caller_of
from shared.errors import FieldError, Problem, ProblemError
from shared.service_context import Context, context_of

ID_LIMIT = 2**63

Calling = Annotated[Caller, Depends(caller_of("inventory"))]
Here = Annotated[Context, Depends(context_of("inventory"))]
ProductId = Annotated[int, Path(gt=0, lt=ID_LIMIT, description="The base stock product's id")]
SupplierId = Annotated[int | None, Query(gt=0, lt=ID_LIMIT, description="For the platform admin")]
Cursor = Annotated[int | None, Query(gt=0, lt=ID_LIMIT, description="next_cursor of the page before")]
Limit = Annotated[int, Query(ge=1, le=200)]

# RFC 9110, section 8.8.3. Our tags are versions in quotation marks; no other is that of an item.
TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')
OUR_TAG = re.compile(r'"(\d{1,19})"')


def expected_versions(
    if_match: Annotated[
        str | None, Header(max_length=1000, description='`"VERSION"` of the item: 412 unless it is that still')
    ] = None,
) -> frozenset[int] | None:
    """The versions of an item that `If-Match` names, `None` for any; raises a 422 problem for what is no tag."""
    if if_match is None or if_match.strip() == "*":
        return None
    tags = [tag.strip() for tag in if_match.split(",")]
    if not all(TAG.fullmatch(tag) for tag in tags):
        detail = 'Send the ETag of the item as it was shown, in quotation marks, e.g. If-Match: "7".'
        raise ProblemError(422, "invalid_if_match", detail, errors=[FieldError(field="If-Match", detail=detail)])
    return frozenset(int(found[1]) for tag in tags if (found := OUR_TAG.fullmatch(tag)))


IfMatch = Annotated[frozenset[int] | None, Depends(expected_versions)]
VERSION_CHANGED: dict[int | str, dict[str, object]] = {
    412: {"model": Problem, "description": "The item is at another version than If-Match names"}
}


def etag_of(version: int) -> str:
    """The entity tag of an item at this version."""
    return f'"{version}"'
