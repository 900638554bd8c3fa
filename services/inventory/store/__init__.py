"""All of inventory's SQL.

Locks are taken in one order everywhere: an import of stock or of on hand (for its worker alone), companies, their
locations, products (`wait_for_products`, `keep_products`), sellers (`reservations.await_confirmations`,
`await_orders`), orders, returns, reservations, items, each by ascending id. Levels, ledger, takings, reserved units,
parked lines and fulfillment are only written under one of these. Only a product that comes while somebody waits for
it, and leads to others that are unknown, may take a product's lock out of turn, and, after those of what waited, the
locks of items whose links changed (`listing`); should two meet, PostgreSQL ends one of the transactions, and its
consumer does it again. A worker that writes an import row by row locks the import last, before it commits: it waits for
nothing behind it.
"""
