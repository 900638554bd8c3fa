"""Notifier over HTTP: webhook endpoints, and what was sent to them."""
