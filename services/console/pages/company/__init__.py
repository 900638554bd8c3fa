"""A company: its settings, users, API keys and connections, as it sees itself and as the platform admin sees it."""

from services.console.pages.company import own

__all__ = ["own"]
