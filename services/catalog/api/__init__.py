"""The HTTP side of catalog."""

from services.catalog.api import (
    api_keys,
    companies,
    connections,
    product_files,
    product_lists,
    products,
    sessions,
    users,
)

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
)
BODY_LIMITS_BYTES = {
    product_files.IMPORT_PATH: product_files.FILE_LIMIT_BYTES,
    sessions.SIGN_IN_PATH: sessions.SIGN_IN_LIMIT_BYTES,
}
