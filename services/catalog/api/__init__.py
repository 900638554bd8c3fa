"""The HTTP side of catalog."""

from services.catalog.api import api_keys, companies, connections, products, sessions, users

ROUTERS = (
    companies.router,
    api_keys.router,
    users.router,
    sessions.router,
    connections.router,
    products.router,
)
