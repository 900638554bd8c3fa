"""Messages between services: the bus, the outbox that feeds it, the consumer that drains it."""
