"""Where a page of a sorted list ends, as an opaque cursor: which list it is of, the last row's sort key, and its id."""

import base64
import json
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter

from shared.errors import FieldError, ProblemError

NO_CURSOR = "This is no cursor: send next_cursor of the page before, unchanged, or leave it out."
OTHER_LIST = "This cursor is of another list: keep sort and filters as they were, or leave it out."


def _storable(key: str) -> str:
    """The same text. Raises `ValueError` for what PostgreSQL keeps in no text."""
    key.encode()
    if "\x00" in key:
        message = "has a character that cannot be stored"
        raise ValueError(message)
    return key


Bigint = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Key = Annotated[str, AfterValidator(_storable)] | Bigint | None
POSITION: TypeAdapter[tuple[str, Key, Bigint]] = TypeAdapter(tuple[str, Key, Bigint])


def cursor_behind(of_list: str, key: str | int | None, id_: int) -> str:
    """The cursor of the page that follows the row of this sort key and id; `of_list` tells this list from others."""
    whole = json.dumps([of_list, key, id_], separators=(",", ":"))
    return base64.urlsafe_b64encode(whole.encode()).decode()


def position_in(cursor: str, of_list: str) -> tuple[str | int | None, int]:
    """The sort key and id of such a cursor; a 422 problem for one of another list, and for what is none."""
    try:
        its_list, key, id_ = POSITION.validate_json(base64.b64decode(cursor, b"-_", validate=True))
    except ValueError as error:
        raise refused_cursor(NO_CURSOR) from error
    if its_list != of_list:
        raise refused_cursor(OTHER_LIST)
    return key, id_


def refused_cursor(detail: str) -> ProblemError:
    """The problem of a cursor that cannot be used."""
    return ProblemError(422, "invalid_cursor", detail, errors=[FieldError(field="cursor", detail=detail)])
