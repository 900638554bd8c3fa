"""What the platform admin looks after: companies, connections, the audit trail, how the services get on."""

from services.console.pages.platform import audit, companies, connections, operations

__all__ = ["audit", "companies", "connections", "operations"]
