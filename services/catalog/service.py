"""Catalog as a service."""

import sys

import structlog

from services.catalog.api import BODY_LIMITS_BYTES, ROUTERS
from services.catalog.handlers import SUBSCRIPTIONS
from services.catalog.importing import carry_out_imports, tidy_imports
from services.catalog.store import api_keys as store
from services.catalog.tables import METADATA
from shared import clock
from shared.access import new_key, sha256_of
from shared.faults import is_infrastructure
from shared.scopes import ADMIN
from shared.service import Service
from shared.service_context import Context

log = structlog.get_logger()

RETRY_SECONDS = 1
# Who acts in the audit trail where nobody asked.
SYSTEM = "system"


async def make_admin_key(context: Context) -> None:
    """Worker: where no admin key is set and none was ever made, make one and tell it once, on standard error.

    Where one is set, those that were made are revoked: nothing else could end them.
    """
    while True:
        try:
            key = await _add_admin_key(context)
        except Exception as error:
            if not is_infrastructure(error):
                raise
            log.warning("admin_key_paused", service=context.service, error=str(error))
            await clock.sleep(RETRY_SECONDS)
        else:
            break
    if key is not None:
        # Not a log line: logs are kept and passed on.
        sys.stderr.write(f"The platform admin's API key, shown only this once: {key}\n")
        sys.stderr.flush()


async def _add_admin_key(context: Context) -> str | None:
    async with context.database.transaction() as session:
        if context.settings.admin_key is not None:
            await store.revoke_admin_keys(session, SYSTEM)
            return None
        if await store.has_admin_key(session):
            return None
        key = new_key()
        await store.add_key(session, SYSTEM, sha256_of(key), "admin", None, (ADMIN,))
    return key


SERVICE = Service(
    name="catalog",
    summary="Companies, API keys, connections, products and what they link to",
    metadata=METADATA,
    routers=ROUTERS,
    note_key_uses=store.note_uses,
    subscriptions=SUBSCRIPTIONS,
    workers=(make_admin_key, carry_out_imports, tidy_imports),
    body_limits_bytes=BODY_LIMITS_BYTES,
)
