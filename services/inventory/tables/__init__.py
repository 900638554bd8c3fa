"""The tables of inventory."""

from sqlalchemy import Index, text

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
# What a supplier's list of stock is walked along (`store/stock_lists.py`); other products would only be in the way.
# With nothing behind it the collation would be the index's, and Alembic does not read that.
for name in ("sku", "title"):
    columns = METADATA.tables["inventory.products"].c
    Index(
        f"ix_products_owner_id_{name}_key",
        columns.owner_id,
        text(f"""((lower({name}) collate "C") || '')"""),
        columns.product_id,
        postgresql_where=text("not removed and type in ('stock', 'stock_customisable')"),
    )

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
