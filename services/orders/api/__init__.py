"""The HTTP side of orders."""

from services.orders.api import bulk, fulfillment, orders, returns

# /v1/orders/bulk before /v1/orders/{order_id}.
ROUTERS = (bulk.router, orders.router, returns.router, fulfillment.router)
BODY_LIMITS_BYTES = {bulk.PATH: bulk.STREAM_LIMIT_BYTES}
