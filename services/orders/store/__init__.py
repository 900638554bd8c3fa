"""All SQL of orders.

Locks are taken in one order everywhere: orders by ascending id, then what hangs on them (lines, parts, changes), then
fulfillment requests, last the suppliers' counters of logical timestamps by ascending id.
"""
