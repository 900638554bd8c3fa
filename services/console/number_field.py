"""Fields of numbers, which are sent as they are typed."""

from collections.abc import Callable
from typing import Any

from nicegui import ui


class NumberField(ui.number):
    """A number as it is typed, for the API to judge.

    NiceGUI's own field rounds and clamps when it is left: of 50 units only 5 would be sent, and -5 would become 0,
    without a word. Here `least` and `most` are only where the arrows of the field end.
    """

    def __init__(
        self,
        label: str | None = None,
        *,
        value: float | None = None,
        least: float | None = None,
        most: float | None = None,
        on_change: Callable[..., Any] | None = None,
    ) -> None:
        """Draw it with this value."""
        super().__init__(label, value=value, min=least, max=most, on_change=on_change)

    def sanitize(self) -> None:
        """Leave what is typed."""


def whole(value: float | None) -> float | int | None:
    """What is in a field, as an integer where it is one; the API says what is wrong with others."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
