"""Where a fulfillment feed may begin."""

from shared.errors import FieldError, ProblemError


def require_kept(oldest: int | None) -> None:
    """Raise a 422 problem where a feed cannot begin so early: `oldest` is the logical timestamp to begin with."""
    if oldest is not None:
        detail = f"Events before logical timestamp {oldest} are forgotten: begin after {oldest - 1} or later."
        raise ProblemError(422, "events_forgotten", detail, errors=[FieldError(field="after", detail=detail)])
