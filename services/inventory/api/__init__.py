"""The HTTP side of inventory."""

from services.inventory.api import checking, history, kornitx, locations, reservations, stock, sync_imports

# Paths like /v1/stock/check and /v1/stock/ledger before /v1/stock/{product_id}.
ROUTERS = (
    checking.router,
    history.router,
    locations.router,
    stock.router,
    reservations.router,
    kornitx.router,
    sync_imports.router,
)
