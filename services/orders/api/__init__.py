"""The HTTP side of orders."""

from services.orders.api import bulk, dead_letters, fulfillment, imports, orders, publishers, reading, returns
from shared.operation_routes import operations_router

# /v1/orders/bulk and /v1/orders/imports before /v1/orders/{order_id}.
ROUTERS = (
    bulk.router,
    imports.router,
    orders.router,
    reading.router,
    returns.router,
    fulfillment.router,
    publishers.router,
    *dead_letters.ROUTERS,
    operations_router("orders"),
)
BODY_LIMITS_BYTES = {bulk.PATH: bulk.STREAM_LIMIT_BYTES, imports.IMPORTS_PATH: imports.FILE_LIMIT_BYTES}
