"""What is said of orders that came by message and are refused, and whom an answer may be sent to. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.events.orders import RejectedField

# As many as show what is wrong: an answer that quotes a whole message helps nobody, and may be too big to be sent.
ERRORS_SHOWN = 100
# A reason with a thousand lines is read by nobody.
PROBLEMS_SHOWN = 20
CHARACTERS_SHOWN = 500
REFERENCE_CHARACTERS = 200
# What stands in an error's `field` where the message as a whole is meant.
WHOLE = "message"

# RabbitMQ's direct reply-to as it hands on a sender's `amq.rabbitmq.reply-to`; nobody can declare such a queue.
DIRECT_REPLY_TO = "amq.rabbitmq.reply-to."
# AMQP 0-9-1's short strings.
SHORT_STRING_BYTES = 255


@dataclass(frozen=True, slots=True)
class RefusedOrder:
    """An order of a message that is refused: number `row` in it, from 0; `label` calls it by a name in sentences."""

    row: int
    external_ref: str | None
    errors: tuple[RejectedField, ...]
    label: str = ""

    def problems(self) -> list[str]:
        """What is wrong with it, in sentences."""
        return [
            self.label + (error.detail if error.field == WHOLE else f"{error.field}: {error.detail}")
            for error in self.errors
        ]


def in_words(refused: Sequence[RefusedOrder]) -> str:
    """Why these orders are refused."""
    problems = [problem for order in refused for problem in order.problems()]
    more = len(problems) - PROBLEMS_SHOWN
    return "; ".join(problems[:PROBLEMS_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def refused_order(row: int, external_ref: object, errors: Sequence[tuple[str, str]], label: str = "") -> RefusedOrder:
    """A refused order with these `(field, detail)`, bounded: all of it may hold what its sender wrote."""
    more = len(errors) - ERRORS_SHOWN
    shown = [RejectedField(field=_cut(field), detail=_cut(detail)) for field, detail in errors[:ERRORS_SHOWN]]
    if more > 0:
        shown.append(RejectedField(field=WHOLE, detail=f"and {more} more errors"))
    ref = external_ref[:REFERENCE_CHARACTERS] if isinstance(external_ref, str) else None
    return RefusedOrder(row, ref, tuple(shown), _cut(label))


def all_errors(refused: Sequence[RefusedOrder], *, in_batch: bool) -> tuple[RejectedField, ...]:
    """The errors of these orders as one list; in a batch each field's path begins with the row, like `[1].lines`."""
    listed = [
        RejectedField(field=f"[{order.row}].{error.field}" if in_batch else error.field, detail=error.detail)
        for order in refused
        for error in order.errors
    ]
    more = len(listed) - ERRORS_SHOWN
    return (
        *listed[:ERRORS_SHOWN],
        *([RejectedField(field=WHOLE, detail=f"and {more} more errors")] if more > 0 else []),
    )


def queue_for_replies(user: str | None, reply_to: str | None, correlation_id: str | None) -> str | None:
    """The queue that an answer to this user's message goes to, `None` where it gets none.

    We may write into every queue, this user into none: so it may only name RabbitMQ's direct reply-to, which leads to
    a consumer that waits for it, or the queue that is called after the user.
    """
    if reply_to is None or any(
        len(text.encode(errors="replace")) > SHORT_STRING_BYTES for text in (reply_to, correlation_id or "")
    ):
        return None
    is_direct = reply_to.startswith(DIRECT_REPLY_TO)
    return reply_to if is_direct or (user is not None and reply_to == f"replies.{user}") else None


def _cut(words: str) -> str:
    return words if len(words) <= CHARACTERS_SHOWN else f"{words[:CHARACTERS_SHOWN]}..."
