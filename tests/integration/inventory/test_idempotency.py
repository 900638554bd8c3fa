"""A write that is sent again under its key has its effect once, whatever happens between the two."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

import asyncpg
import pytest

from services.inventory.store.stock import lock_stock
from shared import idempotency
from shared.access import sha256_of
from shared.catalog_view import keep_api_keys
from shared.database import Database
from shared.events.inventory import ApiKeyUsedAtInventory
from shared.idempotency import HEADER, REPLAYED
from shared.messaging.outbox import publish
from tests.app import Answer, Client
from tests.end_to_end.system import eventually
from tests.integration.inventory.callers import Callers, key
from tests.integration.inventory.world import MOMENT, SUPPLIER, World

ADJUSTMENTS = "/v1/stock/100/adjustments"
THREE_CAME = {"adjustment": 3, "reason": "delivery"}
UNDER_K1 = {HEADER: "k1"}


async def deliver(client: Client, body: object = THREE_CAME, name: str = "k1", path: str = ADJUSTMENTS) -> Answer:
    return await client.post(path, body, headers={HEADER: name})


async def on_hand(callers: Callers, product_id: int = 100) -> int:
    shown: int = (await callers.admin.get(f"/v1/stock/{product_id}")).body["on_hand"]
    return shown


@asynccontextmanager
async def database(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of one's own to inventory's schema."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "inventory"})
    try:
        yield connection
    finally:
        await connection.close()


async def test_the_same_again_is_answered_the_same_and_has_no_second_effect(world: World, callers: Callers) -> None:
    first, second = await deliver(callers.supplier), await deliver(callers.supplier)
    assert (first.status, first.body["on_hand"]) == (200, 13)
    assert (second.status, second.body) == (first.status, first.body)
    assert (first.headers.get(REPLAYED), second.headers.get(REPLAYED)) == (None, "true")
    assert second.headers["content-type"] == first.headers["content-type"]
    assert await on_hand(callers) == 13
    assert len(await world.told()) == 1


async def test_what_is_answered_again_is_the_stored_answer_not_the_state_of_now(callers: Callers) -> None:
    await deliver(callers.supplier)
    await deliver(callers.supplier, name="k2")
    assert (await deliver(callers.supplier)).body["on_hand"] == 13
    assert await on_hand(callers) == 16


@pytest.mark.parametrize(
    "another",
    [
        lambda client: deliver(client, {"adjustment": 4, "reason": "delivery"}),
        lambda client: deliver(client, path="/v1/stock/101/adjustments"),
        lambda client: deliver(client, path=f"{ADJUSTMENTS}?x=1"),
        lambda client: client.patch("/v1/stock/100", {"lead_time_days": 1}, headers=UNDER_K1),
        lambda client: client.delete("/v1/stock/100", headers=UNDER_K1),
        lambda client: client.post("/v1/locations", {"code": "shop"}, headers=UNDER_K1),
    ],
    ids=["another body", "another path", "another query", "PATCH", "DELETE", "another route"],
)
async def test_another_request_under_a_used_key_is_refused(callers: Callers, another: Callable[[Client], Any]) -> None:
    await deliver(callers.supplier)
    answer = await another(callers.supplier)
    assert answer.status == 422, answer.body
    assert answer.body["code"] == "idempotency_key_reused"
    assert answer.body["errors"][0]["field"] == HEADER
    assert (await on_hand(callers), await on_hand(callers, 101)) == (13, 10)


async def test_the_same_key_of_others_is_another_key(world: World, callers: Callers) -> None:
    await deliver(callers.supplier)
    theirs = await deliver(callers.other_supplier, path="/v1/stock/900/adjustments")
    assert (theirs.status, theirs.body["on_hand"]) == (200, 3)
    assert (await deliver(callers.admin)).body["on_hand"] == 16
    # Another program of the same company.
    async with world.database.transaction() as session:
        second = key(17, SUPPLIER, "supplier").model_copy(update={"key_sha256": sha256_of("bsk_17")})
        await keep_api_keys(session, [second])
    async with Client(callers.supplier._url, "bsk_17") as colleague:
        assert (await deliver(colleague)).body["on_hand"] == 19


async def test_a_refusal_is_not_kept_so_the_corrected_request_may_have_its_key(callers: Callers) -> None:
    for wrong in ({"adjustment": "three"}, THREE_CAME | {"location": "moon"}, THREE_CAME | {"expected_on_hand": 4}):
        assert (await deliver(callers.supplier, wrong)).status in {409, 422}
    corrected = await deliver(callers.supplier)
    assert (corrected.status, corrected.headers.get(REPLAYED)) == (200, None)
    assert await on_hand(callers) == 13


async def test_a_bulk_write_that_was_good_in_part_is_kept_with_its_refusals(callers: Callers) -> None:
    rows = [{"id": 100, "adjustment": 1}, {"id": 4711, "adjustment": 1}]
    first, second = [await deliver(callers.supplier, rows, path="/v1/stock/bulk") for _ in range(2)]
    assert (first.status, second.status, second.body) == (207, 207, first.body)
    assert await on_hand(callers) == 11


@pytest.mark.parametrize("name", ["", "two words", "k" * 256, "schlüssel"])
async def test_what_cannot_be_a_key_is_refused(callers: Callers, name: str) -> None:
    answer = await deliver(callers.supplier, name=name)
    assert (answer.status, answer.body["code"]) == (422, "invalid_idempotency_key")
    assert await on_hand(callers) == 10


async def test_two_keys_at_once_are_refused(callers: Callers) -> None:
    answer = await callers.supplier.post(ADJUSTMENTS, THREE_CAME, headers=[(HEADER, "k1"), (HEADER, "k2")])
    assert (answer.status, answer.body["code"]) == (422, "invalid_idempotency_key")


async def test_a_key_is_of_255_characters_at_most_and_reading_ignores_it(callers: Callers) -> None:
    assert (await deliver(callers.supplier, name="~" * 255)).status == 200
    read = await callers.supplier.get("/v1/stock/100", headers={HEADER: "two words"})
    assert read.status == 200


async def test_a_key_may_be_used_anew_after_a_day_and_is_forgotten(
    world: World, callers: Callers, database_dsn: str
) -> None:
    await deliver(callers.supplier)
    await deliver(callers.supplier, name="young")
    async with database(database_dsn) as connection:
        await connection.execute(
            "update idempotency_keys set created_at = created_at - interval '25 h' where key = 'k1'"
        )
        assert (await deliver(callers.supplier, {"adjustment": 1, "reason": "another"})).body["on_hand"] == 17
        await connection.execute(
            "update idempotency_keys set created_at = created_at - interval '25 h' where key = 'k1'"
        )
    async with world.database.transaction() as session:
        assert await idempotency.purge(session) == 1
    assert (await deliver(callers.supplier, name="young")).headers[REPLAYED] == "true"


class TestTwoAtOnce:
    """The item is locked meanwhile, so that the first is at work for sure when the second comes."""

    async def waiting(self, connection: asyncpg.Connection, statement: str) -> list[int]:
        """Who waits for a lock in a statement that begins so."""
        rows = await connection.fetch(
            "select pid from pg_stat_activity where wait_event_type = 'Lock' and ltrim(query) ilike $1",
            f"%{statement}%",
        )
        return [row["pid"] for row in rows]

    async def begin_both(self, callers: Callers, connection: asyncpg.Connection) -> list[asyncio.Task[Answer]]:
        """Two of the same: the first waits for the item, the second for the first."""
        tasks = []
        for statement in ("for update of i", "insert into idempotency_keys"):
            tasks.append(asyncio.create_task(deliver(callers.supplier)))

            async def waits(statement: str = statement) -> bool:
                return bool(await self.waiting(connection, statement))

            await eventually(f"somebody waits in {statement!r}", waits)
        return tasks

    async def test_the_second_waits_for_the_first_and_answers_the_same(
        self, world: World, callers: Callers, database_dsn: str
    ) -> None:
        async with database(database_dsn) as connection:
            async with world.database.transaction() as session:
                await lock_stock(session, [100])
                tasks = await self.begin_both(callers, connection)
            first, second = await asyncio.gather(*tasks)
        assert (first.status, first.headers.get(REPLAYED)) == (200, None)
        assert (second.body, second.headers.get(REPLAYED)) == (first.body, "true")
        assert await on_hand(callers) == 13

    async def test_where_the_first_is_rolled_back_the_second_does_the_work(
        self, world: World, callers: Callers, database_dsn: str
    ) -> None:
        async with database(database_dsn) as connection:
            async with world.database.transaction() as session:
                await lock_stock(session, [100])
                tasks = await self.begin_both(callers, connection)
                (backend,) = await self.waiting(connection, "for update of i")
                await connection.execute("select pg_terminate_backend($1)", backend)
                assert (await tasks[0]).status == 503
            second = await tasks[1]
        assert (second.status, second.headers.get(REPLAYED)) == (200, None)
        assert await on_hand(callers) == 13

    async def test_of_many_at_once_one_has_an_effect(self, callers: Callers) -> None:
        answers = await asyncio.gather(*(deliver(callers.supplier) for _ in range(8)))
        assert [answer.status for answer in answers] == [200] * 8
        assert sorted(answer.headers.get(REPLAYED, "") for answer in answers) == ["", *["true"] * 7]
        assert await on_hand(callers) == 13


async def test_many_writes_under_keys_of_their_own_all_count(callers: Callers) -> None:
    names = count()
    await asyncio.gather(*(deliver(callers.supplier, name=f"n{next(names)}") for _ in range(8)))
    assert await on_hand(callers) == 34


async def test_where_the_answer_cannot_be_kept_nothing_was_done(callers: Callers, database_dsn: str) -> None:
    async with database(database_dsn) as connection:
        await connection.execute("alter table idempotency_keys add constraint no_answer check (status is null)")
        assert (await deliver(callers.supplier)).status == 500
        assert await on_hand(callers) == 10
        await connection.execute("alter table idempotency_keys drop constraint no_answer")
    assert (await deliver(callers.supplier)).headers.get(REPLAYED) is None
    assert await on_hand(callers) == 13


async def test_a_part_that_fails_takes_back_what_it_did_and_published_alone(world: World) -> None:
    async def work(database: Database, key_id: int, *, fails: bool) -> None:
        with suppress(ZeroDivisionError):
            async with database.transaction() as session:
                await keep_api_keys(session, [key(key_id, SUPPLIER, "supplier")])
                publish(session, ApiKeyUsedAtInventory(key_id=key_id, used_at=MOMENT))
                if fails:
                    key_id // 0

    async with world.database.transaction() as whole:
        joined = world.database.within(lambda: whole)
        await work(joined, 21, fails=False)
        await work(joined, 22, fails=True)
        await work(joined, 23, fails=False)
    assert [key_id for (key_id,) in await world.rows("select key_id from api_keys order by 1")] == [21, 23]
    ((body,),) = await world.rows("select body from outbox")
    assert [event["subject"] for event in json.loads(body)] == ["21", "23"]
