"""Orders: the list, a page for each, new ones by hand, and files of them."""

from services.console.pages.orders import listing, order_page

__all__ = ["listing", "order_page"]
