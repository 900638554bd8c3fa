"""The secrets of endpoints: read for a call, and kept under the newest key."""

from collections.abc import Sequence
from dataclasses import replace

import structlog

from services.notifier.encryption import UnreadableSecretError, Vault, vault_of
from services.notifier.store import secrets as secret_store
from services.notifier.store.due import DueEndpoint
from services.notifier.store.secrets import StoredSecrets
from shared import clock
from shared.database import Database
from shared.faults import is_infrastructure
from shared.service_context import Context

log = structlog.get_logger()

SAY_AGAIN_SECONDS = 60.0
# Endpoints whose secrets are read in one transaction, which keeps them from being called meanwhile.
CHUNK_ENDPOINTS = 500
PAUSE_SECONDS = 1.0
# When it was last said of an endpoint that its secrets cannot be read: it is not news at each claim.
_said_at: dict[int, float] = {}


def read_secrets(vault: Vault, endpoint: DueEndpoint) -> tuple[list[str], dict[str, str]]:
    """The secrets that sign calls to this endpoint, newest first, and the header of its own, if it has one.

    Raises `UnreadableSecretError`.
    """
    stored = [endpoint.secret, *(old["secret"] for old in endpoint.old_secrets)]
    own_header: dict[str, str] = {}
    if endpoint.auth_header_name is not None and endpoint.auth_header_value is not None:
        own_header = {endpoint.auth_header_name: vault.decrypt(endpoint.auth_header_value)}
    return [vault.decrypt(secret) for secret in stored], own_header


def with_readable_secrets(vault: Vault, endpoints: Sequence[DueEndpoint]) -> list[DueEndpoint]:
    """Those whose secrets we can read. The others are not called: they are logged, once a minute."""
    readable = [endpoint for endpoint in endpoints if _can_read(vault, endpoint)]
    if len(readable) < len(endpoints):
        kept = {endpoint.endpoint_id for endpoint in readable}
        _complain([endpoint.endpoint_id for endpoint in endpoints if endpoint.endpoint_id not in kept])
    return readable


async def encrypt_secrets(context: Context) -> None:
    """Encrypt what was stored in clear, or with an older key, with the newest one."""
    vault, after = vault_of(context.settings.webhook_encryption_key), 0
    while True:
        try:
            last = await _encrypt_some(context.database, vault, after)
        except Exception as error:
            if not is_infrastructure(error):
                raise
            log.warning("encrypt_secrets_paused", error=str(error))
            await clock.sleep(PAUSE_SECONDS)
            continue
        if last is None:
            return
        after = last


async def _encrypt_some(database: Database, vault: Vault, after: int) -> int | None:
    async with database.transaction() as session:
        found = await secret_store.find_stored(session, after, CHUNK_ENDPOINTS)
        for stored in found:
            try:
                renewed = _renewed(vault, stored)
            except UnreadableSecretError:
                _complain([stored.endpoint_id])
                continue
            if renewed != stored:
                await secret_store.keep_stored(session, renewed)
    return found[-1].endpoint_id if found else None


def _renewed(vault: Vault, stored: StoredSecrets) -> StoredSecrets:
    value = stored.auth_header_value
    return replace(
        stored,
        secret=vault.renewed(stored.secret),
        old_secrets=[{**old, "secret": vault.renewed(old["secret"])} for old in stored.old_secrets],
        auth_header_value=None if value is None else vault.renewed(value),
    )


def _can_read(vault: Vault, endpoint: DueEndpoint) -> bool:
    try:
        read_secrets(vault, endpoint)
    except UnreadableSecretError:
        return False
    return True


def _complain(endpoint_ids: Sequence[int]) -> None:
    now = clock.monotonic()
    news = [one for one in endpoint_ids if now - _said_at.get(one, float("-inf")) >= SAY_AGAIN_SECONDS]
    if news:
        _said_at.update(dict.fromkeys(news, now))
        hint = "they are encrypted with a key that is not in BASESTOCK_WEBHOOK_ENCRYPTION_KEY: add it, at the end"
        log.error("webhook_secrets_unreadable", endpoint_ids=news, hint=hint)
