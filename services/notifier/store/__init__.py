"""All SQL of notifier, by what it is about.

Time is always `db_now()`, so that all replicas go by one clock and tests can move it. Rows are locked in this order:
endpoints, slots that are due (skipping locked ones), stock products by id. Fan-out locks a product and then touches
clean slots only, which a claim never does, so the two do not wait for each other in a circle.
"""
