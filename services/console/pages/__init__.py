"""The console's pages: importing this registers them all."""

from services.console.pages import (
    account,
    company,
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
    "inventory",
    "orders",
    "overview",
    "platform",
    "products",
    "suppliers",
    "webhooks",
]
