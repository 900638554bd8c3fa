"""Catalog owns companies, API keys, dropship connections, products, variants and base-stock links.

Publishes `company_changed`, `api_key_changed`, `connection_changed`, `product_changed` and `product_removed`; hears
nothing.
"""
