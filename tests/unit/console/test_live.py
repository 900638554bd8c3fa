"""Pages that follow what changes, as long as somebody looks at them."""

from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import pytest

from services.console import widgets


async def test_a_page_that_was_left_asks_for_nothing_more_until_its_browser_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks: list[Callable[[], Awaitable[None]]] = []
    client = SimpleNamespace(has_socket_connection=True)
    drawn_with = SimpleNamespace(
        context=SimpleNamespace(client=client), timer=lambda _seconds, tick, **_: ticks.append(tick)
    )
    monkeypatch.setattr(widgets, "ui", drawn_with)
    asked: list[str] = []

    async def refresh() -> None:
        asked.append("once more")

    widgets.live(refresh)
    (tick,) = ticks
    await tick()
    client.has_socket_connection = False
    await tick()
    await tick()
    assert len(asked) == 1
    client.has_socket_connection = True
    await tick()
    assert len(asked) == 2
