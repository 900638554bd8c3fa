"""The HTTP side of catalog."""

from services.catalog.api import api_keys, companies, connections, product_files, products

# `product_files` first: its paths look like a product's.
ROUTERS = (companies.router, api_keys.router, connections.router, product_files.router, products.router)
BODY_LIMITS_BYTES = {product_files.IMPORT_PATH: product_files.FILE_LIMIT_BYTES}
