"""The HTTP side of inventory."""

from services.inventory.api import checking, export, history, locations, reservations, stock

# Paths like /v1/stock/check and /v1/stock/ledger before /v1/stock/{product_id}.
ROUTERS = (checking.router, export.router, history.router, locations.router, stock.router, reservations.router)
