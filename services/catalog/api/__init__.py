"""The HTTP side of catalog."""

from services.catalog.api import api_keys, audit, companies, connections, products

ROUTERS = (companies.router, api_keys.router, connections.router, products.router, audit.router)
