"""Pages of the inventory: the table, an item, and imports of stock."""

# `/inventory/imports` goes before `/inventory/{product_id}`.
from services.console.pages.inventory import imports, item, table

__all__ = ["imports", "item", "table"]
