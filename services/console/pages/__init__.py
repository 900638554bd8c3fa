"""The console's pages: importing this registers them all."""

from services.console.pages import overview

__all__ = ["overview"]
