"""Notifier as a service."""

import asyncio

import structlog

from services.notifier import fan_out, feeding, handlers
from services.notifier.alerting import tell_operators
from services.notifier.api import attempts as attempts_api
from services.notifier.api import endpoints as endpoints_api
from services.notifier.api import operations as operations_api
from services.notifier.api import replays as replays_api
from services.notifier.api import samples as samples_api
from services.notifier.api import secrets as secrets_api
from services.notifier.api import states as states_api
from services.notifier.api import tellings as tellings_api
from services.notifier.api import webhooks
from services.notifier.backlog import measure_backlog
from services.notifier.encryption import vault_of
from services.notifier.endpoint_secrets import encrypt_secrets
from services.notifier.sender import Sender
from services.notifier.store import attempts as attempt_store
from services.notifier.tables import METADATA
from shared import clock
from shared.dead_letter_routes import dead_letter_router
from shared.events.notifier import ApiKeyUsedAtNotifier
from shared.faults import is_infrastructure
from shared.key_uses import publishing
from shared.service import Service
from shared.service_context import Context
from shared.settings import Settings

log = structlog.get_logger()

# In chunks, so that no purge ever holds many rows or much log at once.
FORGET_CHUNK = 5000
FORGET_SECONDS = 60


async def tell_retailers(context: Context) -> None:
    """Worker: fan out changes and send what is due, once no secret is stored in clear."""
    await encrypt_secrets(context)
    woken = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(fan_out.run(context.database, woken))
        group.create_task(Sender(context, woken).run())


async def forget_attempts(context: Context) -> None:
    """Worker: delete attempts from the log when they are old."""
    while True:
        try:
            gone = FORGET_CHUNK
            while gone == FORGET_CHUNK:
                async with context.database.transaction() as session:
                    keep_days = context.settings.webhook_attempts_keep_days
                    gone = await attempt_store.forget_attempts(session, keep_days, FORGET_CHUNK)
        except Exception as error:
            if not is_infrastructure(error):
                raise
            log.warning("forget_attempts_paused", error=str(error))
        await clock.sleep(FORGET_SECONDS)


def check_settings(settings: Settings) -> None:
    """Raise `RuntimeError`, in words, without a key for the secrets."""
    vault_of(settings.webhook_encryption_key)


SERVICE = Service(
    name="notifier",
    summary="Webhooks: tells every retailer the newest stock, at most once per window",
    metadata=METADATA,
    routers=(
        endpoints_api.router,
        states_api.router,
        secrets_api.router,
        samples_api.router,
        attempts_api.router,
        replays_api.router,
        tellings_api.router,
        dead_letter_router("notifier"),
        operations_api.router,
    ),
    note_key_uses=publishing(ApiKeyUsedAtNotifier),
    subscriptions=handlers.SUBSCRIPTIONS,
    workers=(tell_retailers, forget_attempts, feeding.look_after_feeds, tell_operators, measure_backlog),
    webhooks=webhooks.router,
    check_settings=check_settings,
)
