"""Orders: the list, a page for each, new ones by hand, and files of them."""

from services.console.pages.orders import importing, listing, new_order, order_page

__all__ = ["importing", "listing", "new_order", "order_page"]
