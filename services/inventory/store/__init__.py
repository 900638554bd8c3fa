"""All of inventory's SQL.

Locks are taken in one order everywhere: products (`wait_for_products`, `keep_products`), then orders, then returns,
then items, each by ascending id. Levels, ledger, takings and parked lines are only written under one of these. A batch
that brings returns beside orders, or a chain of virtual products that changes while somebody waits for it, may take a
lock out of turn; should two meet, PostgreSQL ends one of the transactions, and its consumer does it again.
"""
