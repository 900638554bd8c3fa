"""The HTTP side of catalog."""

from services.catalog.api import (
    api_keys,
    audit,
    companies,
    connections,
    product_files,
    product_lists,
    products,
    sessions,
    users,
)
from shared.dead_letter_routes import dead_letter_router
from shared.operation_routes import operations_router

# `product_files` before `products`: its paths look like a product's.
ROUTERS = (
    companies.router,
    api_keys.router,
    users.router,
    sessions.router,
    connections.router,
    product_lists.router,
    product_files.router,
    products.router,
    audit.router,
    dead_letter_router("catalog"),
    operations_router("catalog"),
)
BODY_LIMITS_BYTES = {
    product_files.IMPORT_PATH: product_files.FILE_LIMIT_BYTES,
    sessions.SIGN_IN_PATH: sessions.SIGN_IN_LIMIT_BYTES,
}
