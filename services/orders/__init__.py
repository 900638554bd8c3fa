"""Orders owns orders, their lines, returns, and every way they come in.

Publishes `order_created` and `items_returned`; hears catalog, and what inventory decided.
"""
