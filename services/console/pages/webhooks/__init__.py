"""Webhook endpoints: what is called, with what, and what came of it."""

from services.console.pages.webhooks import attempt_page, endpoint_list, endpoint_page, new_endpoint

__all__ = ["attempt_page", "endpoint_list", "endpoint_page", "new_endpoint"]
