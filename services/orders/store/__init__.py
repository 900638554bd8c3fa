"""All SQL of orders.

Locks are taken in one order everywhere: orders by ascending id, then what hangs on them.
"""
