"""Inventory owns locations, stock levels, the stock ledger and what each order line took.

Publishes `stock_changed`, `stock_removed`, `order_allocated`, `order_short`; hears orders, fulfillment, returns and
catalog.
"""
