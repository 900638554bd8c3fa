"""`make revision s=SERVICE m="what changes"`: write a migration from the difference between tables and migrations."""

import asyncio
import sys

from alembic import command

from shared.migrations import config_for, upgrade
from tests.servers.postgres import postgres_server

SERVICES = ("catalog", "orders", "inventory", "notifier")


def main() -> None:
    """Write the migration against a private PostgreSQL that is thrown away."""
    service, message = [*sys.argv[1:], "", ""][:2]
    if service not in SERVICES or not message:
        sys.exit(f'Say which service and what changes: make revision s={"|".join(SERVICES)} m="add a note to orders"')
    with postgres_server() as server:
        asyncio.run(upgrade(service, server.dsn))
        command.revision(config_for(service, server.dsn), message, autogenerate=True)


if __name__ == "__main__":
    main()
