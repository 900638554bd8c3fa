"""What catalog does with each event it hears."""

from collections.abc import Sequence
from datetime import datetime

from services.catalog.store import api_keys as store
from shared.database import Session
from shared.events.inventory import ApiKeyUsedAtInventory
from shared.events.key_use import ApiKeyUse
from shared.events.notifier import ApiKeyUsedAtNotifier
from shared.events.orders import ApiKeyUsedAtOrders
from shared.messaging.consumer import on


async def note_key_uses(session: Session, events: Sequence[ApiKeyUse]) -> None:
    """Keep when API keys were last used at the other services; the latest use counts, whatever came when."""
    latest: dict[int, datetime] = {}
    for event in events:
        latest[event.key_id] = max(event.used_at, latest.get(event.key_id, event.used_at))
    await store.note_uses(session, latest)


SUBSCRIPTIONS = (
    on(ApiKeyUsedAtOrders, note_key_uses),
    on(ApiKeyUsedAtInventory, note_key_uses),
    on(ApiKeyUsedAtNotifier, note_key_uses),
)
