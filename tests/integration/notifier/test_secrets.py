"""Secrets of endpoints: encrypted at rest, rotated with overlap, and unreadable ones hold up nobody."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from services.notifier import endpoint_secrets
from services.notifier.encryption import NO_KEY, vault_of
from services.notifier.endpoint_secrets import encrypt_secrets
from services.notifier.service import SERVICE
from services.notifier.signing import new_secret
from services.notifier.store import endpoints as endpoint_store
from services.notifier.store import secrets as secret_store
from shared.messaging.in_process import InProcessBus
from shared.service import running
from shared.service_context import Context
from tests.integration.notifier.conftest import (
    RETAILER_A,
    RETAILER_B,
    Desk,
    connection,
    notifier_settings,
    stock_changed,
)
from tests.integration.notifier.running import Running, running_notifier
from tests.receiver import receiver

PATH = "/v1/webhook-endpoints"
DAY_SECONDS = 86_400


@pytest.fixture
async def notifier(database_dsn: str) -> AsyncIterator[Running]:
    async with running_notifier(database_dsn) as started:
        yield started


def context_of(desk: Desk, **changed: object) -> Context:
    settings = desk.settings.model_copy(update=changed)
    return Context("notifier", settings, desk.database, InProcessBus(publish_timeout_seconds=1))


async def test_secrets_are_encrypted_at_rest_and_shown_once(notifier: Running) -> None:
    async with notifier.client(RETAILER_A) as client:
        header = {"name": "X-Api-Key", "value": "open sesame"}
        made = await client.post(PATH, {"url": "https://shop.example/", "auth_header": header})
        path = f"{PATH}/{made.body['id']}"
        rotated = await client.post(f"{path}/rotate-secret")
        assert rotated.status == 200
        secrets = [made.body["secret"], rotated.body["secret"]]
        assert all(secret.startswith("whsec_") for secret in secrets)
        async with notifier.database.transaction() as session:
            stored = (
                await session.execute(text("select secret, old_secrets, auth_header_value, e::text from endpoints e"))
            ).one()
        for secret in (*secrets, "open sesame"):
            assert secret.removeprefix("whsec_") not in str(stored)
        vault = vault_of(notifier_settings("postgresql://nobody@nowhere/none").webhook_encryption_key)
        assert [vault.decrypt(stored.secret), vault.decrypt(stored.old_secrets[0]["secret"])] == secrets[::-1]
        assert vault.decrypt(stored.auth_header_value) == "open sesame"
        shown = (await client.get(path)).body
        assert shown["secrets"] == rotated.body["secrets"]
        assert [secret["until"] is None for secret in shown["secrets"]] == [True, False]
        assert "whsec_" not in str(shown)


async def test_old_secrets_are_at_most_five_and_end_when_they_are_told_to(notifier: Running) -> None:
    async with notifier.client(RETAILER_A) as client:
        made = (await client.post(PATH, {"url": "https://shop.example/"})).body
        path = f"{PATH}/{made['id']}/rotate-secret"
        for hours in (168, 24, 24, 48, 24):
            rotated = await client.post(path, {"overlap_hours": hours})
            assert rotated.status == 200
        assert len(rotated.body["secrets"]) == 6
        refused = await client.post(path)
        assert (refused.status, refused.body["code"]) == (409, "too_many_secrets")
        assert (await client.post(path, {"overlap_hours": 169})).body["errors"][0]["field"] == "overlap_hours"
        ended = await client.post(path, {"overlap_hours": 0})
        assert ended.body["secrets"] == [{"until": None}]


async def test_who_rotates_again_under_one_key_is_told_to_rotate_and_not_to_remove_the_endpoint(
    notifier: Running,
) -> None:
    async with notifier.client(RETAILER_A) as client:
        made = (await client.post(PATH, {"url": "https://shop.example/"})).body
        path, key = f"{PATH}/{made['id']}/rotate-secret", {"Idempotency-Key": "k1"}
        assert (await client.post(path, headers=key)).status == 200
        again = await client.post(path, headers=key)
        assert (again.status, again.body["code"]) == (409, "secret_shown_once")
        assert "rotate again" in again.body["detail"]
        assert "remove" not in again.body["detail"]


async def test_every_valid_secret_signs_until_its_time_is_over_by_the_databases_clock(desk: Desk) -> None:
    async with receiver() as shop:
        endpoint_id = await desk.register(shop)
        (old,) = shop.secrets
        new = new_secret()
        async with desk.database.transaction() as session:
            await secret_store.rotate(session, endpoint_id, desk.vault.encrypt(new), 24)
        await desk.hear_stock(stock_changed(100, 5, 1))
        await desk.tell()
        assert len(shop.calls[0].headers["webhook-signature"].split(" ")) == 2
        shop.verify()
        # Either of them is enough, and the new one comes first.
        for secret in (new, old):
            shop.secrets[:] = [secret]
            assert shop._is_signed(shop.calls[0], {k.lower(): v for k, v in shop.calls[0].headers.items()}, secret)
        await desk.move(DAY_SECONDS + 1)
        await desk.hear_stock(stock_changed(100, 6, 2))
        await desk.tell()
        shop.secrets[:] = [new]
        assert len(shop.calls[1].headers["webhook-signature"].split(" ")) == 1
        shop.verify()
        async with desk.database.transaction() as session:
            await secret_store.rotate(session, endpoint_id, desk.vault.encrypt(new_secret()), 1)
        (row,) = await desk.execute("select old_secrets from endpoints")
        assert [desk.vault.decrypt(kept["secret"]) for kept in row.old_secrets] == [new], "the ended one is forgotten"


async def test_an_endpoint_whose_secret_cannot_be_read_is_not_called_and_holds_up_nobody(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_secrets, "_said_at", {})
    said: list[object] = []
    monkeypatch.setattr(
        endpoint_secrets.log, "error", lambda event, **about: said.append((event, about["endpoint_ids"]))
    )
    async with receiver() as lost, receiver() as shop:
        lost_id, _ = await desk.register(lost), await desk.register(shop)
        foreign = SecretStr("x" * 32)
        await desk.execute(
            "update endpoints set secret = :secret where endpoint_id = :id",
            secret=vault_of((foreign,)).encrypt(lost.secrets[0]),
            id=lost_id,
        )
        await desk.hear_stock(stock_changed(100, 5, 1))
        await desk.tell()
        await desk.hear_stock(stock_changed(101, 5, 1))
        await desk.tell()
        assert [len(lost.calls), len(shop.calls)] == [0, 2]
        assert said == [("webhook_secrets_unreadable", [lost_id])], "once a minute"
        assert await desk.execute("select 1 from attempts where endpoint_id = :id", id=lost_id) == []
        # With the key it is called at once, and its secret is stored under the newest key.
        keys = (*desk.settings.webhook_encryption_key, foreign)
        await encrypt_secrets(context_of(desk, webhook_encryption_key=keys))
        await desk.tell()
        assert [call.available for call in lost.calls] == [{100: 5, 101: 5}]


async def test_secrets_in_clear_are_encrypted_when_notifier_starts(database_dsn: str, desk: Desk) -> None:
    await desk.hear_connections(connection("active", 1, RETAILER_B))
    async with receiver() as shop:
        secret = new_secret()
        shop.secrets.append(secret)
        async with desk.database.transaction() as session:
            await endpoint_store.add(session, RETAILER_A, shop.url, secret)
        settings = notifier_settings(database_dsn)
        bus = InProcessBus(publish_timeout_seconds=settings.publish_timeout_seconds)
        async with running(SERVICE, settings, bus):
            await desk.hear_stock(stock_changed(100, 5, 1))
            await shop.wait_for_calls(1)
        (row,) = await desk.execute("select secret, version from endpoints")
        assert (desk.vault.decrypt(row.secret), row.version) == (secret, 1)
        assert not row.secret.startswith("whsec_")
        await bus.close()


async def test_without_a_key_notifier_does_not_start_and_says_what_to_do(database_dsn: str) -> None:
    settings = notifier_settings(database_dsn, webhook_encryption_key="")
    with pytest.raises(RuntimeError, match=r"BASESTOCK_WEBHOOK_ENCRYPTION_KEY.*openssl rand -hex 32"):
        async with running(SERVICE, settings, InProcessBus(publish_timeout_seconds=1)):
            pytest.fail("it started")
    assert "keep it" in NO_KEY
