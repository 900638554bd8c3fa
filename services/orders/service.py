"""Orders as a service."""

from services.orders import api, bulk_api, handlers, intake
from services.orders.tables import METADATA
from shared.events.orders import ApiKeyUsedAtOrders
from shared.key_uses import publishing
from shared.service import Service

SERVICE = Service(
    name="orders",
    summary="Orders and returns, from every source through one intake path",
    metadata=METADATA,
    routers=(bulk_api.router, api.router),
    body_limits_bytes={bulk_api.PATH: bulk_api.STREAM_LIMIT_BYTES},
    note_key_uses=publishing(ApiKeyUsedAtOrders),
    subscriptions=handlers.SUBSCRIPTIONS,
    intake=intake.sources,
)
