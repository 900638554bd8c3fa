"""All SQL of notifier, by what it is about.

Time is always `db_now()`, so that all replicas go by one clock and tests can move it. Claim and finish lock endpoints,
then slots, then stock products, each by id; a claim waits for no endpoint and no slot. Fan-out touches endpoints and
slots after products, but only slots that are clean: no claim and no finish holds such a one.
Whoever changes what an endpoint wants, replays or catches up locks the endpoint, then slots.
"""
