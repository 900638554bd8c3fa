"""The HTTP side of catalog."""

from services.catalog.api import api_keys, companies, connections, product_lists, products, sessions, users

ROUTERS = (
    companies.router,
    api_keys.router,
    users.router,
    sessions.router,
    connections.router,
    product_lists.router,
    products.router,
)
