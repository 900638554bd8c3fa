"""The HTTP side of inventory."""

from services.inventory.api import (
    checking,
    export,
    external_imports,
    history,
    imports,
    kornitx,
    locations,
    reservations,
    stock,
    stock_lists,
    sync_imports,
    takings,
)
from shared.dead_letter_routes import dead_letter_router
from shared.operation_routes import operations_router

# Paths like /v1/stock/check and /v1/stock/summary before /v1/stock/{product_id}.
ROUTERS = (
    checking.router,
    export.router,
    history.router,
    imports.router,
    locations.router,
    stock_lists.router,
    takings.router,
    stock.router,
    reservations.router,
    kornitx.router,
    sync_imports.router,
    external_imports.router,
    dead_letter_router("inventory"),
    operations_router("inventory"),
)
BODY_LIMITS_BYTES = {imports.IMPORTS_PATH: imports.FILE_LIMIT_BYTES}
