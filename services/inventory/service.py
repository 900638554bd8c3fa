"""What inventory is made of."""

from services.inventory.api import BODY_LIMITS_BYTES, ROUTERS, external_imports, kornitx
from services.inventory.checking import check_all_the_time
from services.inventory.expiring import expire_reservations
from services.inventory.handlers import SUBSCRIPTIONS
from services.inventory.importing import carry_out_imports, tidy_imports
from services.inventory.stock_feed import mark_changes
from services.inventory.sync_importing import carry_out_sync_imports, tidy_sync_imports
from services.inventory.tables import METADATA
from shared.events.inventory import ApiKeyUsedAtInventory
from shared.key_uses import publishing
from shared.service import Service

SERVICE = Service(
    name="inventory",
    summary="Stock levels and their ledger",
    metadata=METADATA,
    routers=ROUTERS,
    note_key_uses=publishing(ApiKeyUsedAtInventory),
    subscriptions=SUBSCRIPTIONS,
    workers=(
        expire_reservations,
        check_all_the_time,
        mark_changes,
        carry_out_imports,
        tidy_imports,
        carry_out_sync_imports,
        tidy_sync_imports,
    ),
    basic_paths=kornitx.BASIC_PATHS,
    query_key_paths=external_imports.QUERY_KEY_PATHS,
    body_limits_bytes=BODY_LIMITS_BYTES,
)
