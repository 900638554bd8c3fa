"""The tables of orders."""

from services.orders.tables import fulfillment, imports, orders, publishers, returns
from services.orders.tables.table import METADATA
from shared.catalog_view import add_access_tables, add_product_tables
from shared.idempotency import add_idempotency_table
from shared.messaging.tables import add_messaging_tables

add_messaging_tables(METADATA)
add_idempotency_table(METADATA)
add_access_tables(METADATA)
add_product_tables(METADATA)

__all__ = ["METADATA", "fulfillment", "imports", "orders", "publishers", "returns"]
