"""The HTTP side of catalog."""

from services.catalog.api import access, products

ROUTERS = (access.router, products.router)
