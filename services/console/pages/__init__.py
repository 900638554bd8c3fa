"""The console's pages: importing this registers them all."""

from services.console.pages import inventory, overview

__all__ = ["inventory", "overview"]
