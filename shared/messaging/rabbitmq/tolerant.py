"""Decoding of AMQP properties that never fails on what a sender put into them.

RabbitMQ hands on property bytes as they were published. pamqp raises when it cannot read them (text that is not UTF-8,
an unknown field type, a time past the year 9999), and aiormq's reader ends with the whole connection: one such message
would drop the consumers of every queue again and again, and each drop counts a delivery on every message they hold. So
what cannot be read becomes a visibly odd value here, and the message goes the ordinary way, to its dead letter.
"""

from datetime import datetime

from pamqp import common, decode

# Raised by pamqp beside its ValueError: by a time or a decimal out of range, and by tables nested too deeply.
UNREADABLE = (ValueError, ArithmeticError, OSError, RecursionError)


def install() -> None:
    """Make pamqp decode tolerantly, in this whole process."""
    decode.METHODS.update(shortstr=short_text, timestamp=timestamp, table=table)


def short_text(value: bytes) -> tuple[int, str]:
    """A short string at the start of `value`, and its length in bytes; what is not UTF-8 shows as U+FFFD."""
    try:
        return decode.short_str(value)
    except UnicodeDecodeError:
        end = 1 + value[0]
        return end, value[1:end].decode(errors="replace")


def timestamp(value: bytes) -> tuple[int, datetime | None]:
    """A time at the start of `value`, `None` when there is no such time, and its length in bytes."""
    try:
        return decode.timestamp(value)
    except UNREADABLE:
        return common.Struct.timestamp.size, None


def table(value: bytes) -> tuple[int, common.FieldTable]:
    """A field table at the start of `value`, empty when a field in it is unreadable, and its length in bytes."""
    try:
        return decode.field_table(value)
    except UNREADABLE:
        size = common.Struct.integer
        return size.size + int(size.unpack_from(value)[0]), {}
