"""The HTTP side of inventory."""

from services.inventory.api import locations, reservations, stock

ROUTERS = (locations.router, stock.router, reservations.router)
