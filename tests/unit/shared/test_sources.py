"""Which queues a service hears, and what it understands in them."""

from datetime import UTC, datetime

import pytest

from services.inventory.handlers import SUBSCRIPTIONS
from shared.events import SINGLE, EventError, encode
from shared.events.catalog import ApiKeyChanged, CompanyChanged
from shared.messaging.bus import Message
from shared.messaging.consumer import sources_of

KEY = ApiKeyChanged(key_id=1, key_sha256="0", company_id=1, role="supplier", scopes=("stock:read",), version=1)
COMPANY = CompanyChanged(company_id=1, ref="a", display_name="A", role="supplier", version=1)


def message_of(event: ApiKeyChanged | CompanyChanged) -> Message:
    return Message("m", event.name, SINGLE, encode(event, "e", datetime(2026, 11, 24, tzinfo=UTC), None))


def test_urgent_events_have_a_queue_of_their_own_and_are_understood_where_they_went_before() -> None:
    sources = {source.queue.name: source for source in sources_of("inventory", SUBSCRIPTIONS, 1)}
    ordinary, urgent = sources["inventory.catalog"], sources["inventory.catalog.urgent"]

    assert urgent.queue.topics == (KEY.name,)
    assert KEY.name not in ordinary.queue.topics
    assert ordinary.decode(message_of(KEY)) == urgent.decode(message_of(KEY)) == [KEY]
    assert ordinary.decode(message_of(COMPANY)) == [COMPANY]
    with pytest.raises(EventError, match="unknown type"):
        urgent.decode(message_of(COMPANY))
