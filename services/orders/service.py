"""Orders as a service."""

from services.orders import handlers, intake
from services.orders.api import BODY_LIMITS_BYTES, ROUTERS
from services.orders.importing import carry_out_imports, tidy_imports
from services.orders.tables import METADATA
from shared.events.orders import ApiKeyUsedAtOrders
from shared.key_uses import publishing
from shared.service import Service

SERVICE = Service(
    name="orders",
    summary="Orders and returns, from every source through one intake path",
    metadata=METADATA,
    routers=ROUTERS,
    body_limits_bytes=BODY_LIMITS_BYTES,
    note_key_uses=publishing(ApiKeyUsedAtOrders),
    subscriptions=handlers.SUBSCRIPTIONS,
    workers=(carry_out_imports, tidy_imports),
    intake=intake.sources,
)
