"""`ETag` and `If-Match`: whoever changes a thing says which version of it they have seen (RFC 9110, section 8.8.3)."""

import re
from collections.abc import Collection
from typing import Annotated

from fastapi import Depends, Header

from shared.errors import FieldError, Problem, ProblemError

# Our tags are versions in quotation marks; no other is that of one of our things.
TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]*"')
OUR_TAG = re.compile(r'"(\d{1,19})"')


def expected_versions(
    if_match: Annotated[
        str | None, Header(max_length=1000, description='`"VERSION"` as it was shown: 412 unless it is that still')
    ] = None,
) -> frozenset[int] | None:
    """The versions that `If-Match` names, `None` for any; raises a 422 problem for what is no tag."""
    if if_match is None or if_match.strip() == "*":
        return None
    tags = [tag.strip() for tag in if_match.split(",")]
    if not all(TAG.fullmatch(tag) for tag in tags):
        detail = 'Send the ETag as it was shown, in quotation marks, e.g. If-Match: "7".'
        raise ProblemError(422, "invalid_if_match", detail, errors=[FieldError(field="If-Match", detail=detail)])
    return frozenset(int(found[1]) for tag in tags if (found := OUR_TAG.fullmatch(tag)))


IfMatch = Annotated[frozenset[int] | None, Depends(expected_versions)]
VERSION_CHANGED: dict[int | str, dict[str, object]] = {
    412: {"model": Problem, "description": "It is at another version than If-Match names"}
}


def etag_of(version: int) -> str:
    """The entity tag of this version."""
    return f'"{version}"'


def require_version(what: str, version: int, expected: Collection[int] | None) -> None:
    """Raise a 412 problem unless `what`, a thing in words, is at one of the versions that `If-Match` names."""
    if expected is not None and version not in expected:
        named = ", ".join(str(one) for one in sorted(expected)) or "one of those in If-Match"
        detail = f"{what} is at version {version}, not {named}: somebody changed it. Look again and decide anew."
        raise ProblemError(412, "version_changed", detail, headers={"ETag": etag_of(version)})
