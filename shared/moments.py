"""Moments that requests name."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        message = "is out of range"
        raise ValueError(message) from error


# With an offset, as UTC; what is not in the years 1 to 9999 there is refused, as no database driver takes it.
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
