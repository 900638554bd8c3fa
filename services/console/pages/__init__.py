"""The console's pages: importing this registers them all."""

from services.console.pages import (
    account,
    company,
    dead_letters,
    inventory,
    orders,
    overview,
    platform,
    products,
    suppliers,
    webhooks,
)

__all__ = [
    "account",
    "company",
    "dead_letters",
    "inventory",
    "orders",
    "overview",
    "platform",
    "products",
    "suppliers",
    "webhooks",
]
