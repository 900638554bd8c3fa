"""Products: the list, a page for each, new ones, and files of them."""

from services.console.pages.products import editing, importing, listing

__all__ = ["editing", "importing", "listing"]
