"""The HTTP side of inventory."""

from services.inventory.api import locations, stock

ROUTERS = (locations.router, stock.router)
