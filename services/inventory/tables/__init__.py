"""The tables of inventory."""

from services.inventory.tables import imports, orders, pending_values, reservations, stock, stock_feed, sync_imports
from services.inventory.tables.stock import LedgerKind
from services.inventory.tables.table import METADATA
from shared.catalog_view import add_access_tables, add_product_tables
from shared.idempotency import add_idempotency_table
from shared.messaging.tables import add_messaging_tables

add_messaging_tables(METADATA)
add_idempotency_table(METADATA)
add_access_tables(METADATA)
add_product_tables(METADATA)

__all__ = [
    "METADATA",
    "LedgerKind",
    "imports",
    "orders",
    "pending_values",
    "reservations",
    "stock",
    "stock_feed",
    "sync_imports",
]
