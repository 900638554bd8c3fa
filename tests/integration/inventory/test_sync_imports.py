"""Imports of what a system outside has on hand, as NewStore has them: through HTTP, events and the worker."""

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from sqlalchemy import text

from services.inventory import sync_files, sync_importing
from services.inventory.store import sync_imports as store
from services.inventory.store.sync_imports import Job, LeaseLostError
from shared.events.orders import OrderEvent
from tests.app import Answer
from tests.end_to_end.system import eventually
from tests.integration.inventory.callers import Callers, served
from tests.integration.inventory.world import SHIRT, SUPPLIER, World, assigned, completed, failed, order

# As the document has it.
IMPORT: dict[str, Any] = {
    "entity": "stock",
    "partial": True,
    "items": [{"location": "main", "product": "100", "on_hand": 17}],
    "logical_timestamps": {"from": 10, "to": 12},
}
UNKNOWN = "00000000-0000-7000-8000-000000000000"


class Files:
    """A server of files, by name."""

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The file of the path, a redirect, or 404."""
        name = request.path.removeprefix("/")
        if name == "moved":
            return web.Response(status=302, headers={"Location": "/items.json"})
        return web.Response(body=self.files[name]) if name in self.files else web.Response(status=404)


@pytest.fixture
async def files() -> AsyncIterator[Files]:
    files, app = Files(), web.Application()
    app.router.add_get("/{name:.*}", files.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    files.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield files
    await runner.cleanup()


@pytest.fixture
async def callers(world: World, database_dsn: str) -> AsyncIterator[Callers]:
    """A served inventory that may fetch files from this machine."""
    networks = (ip_network("127.0.0.0/8"),)
    async with served(world, database_dsn, webhook_allow_networks=networks) as some:
        yield some


@pytest.fixture
async def impatient(world: World, database_dsn: str) -> AsyncIterator[Callers]:
    """A served inventory whose imports wait a second."""
    async with served(world, database_dsn, sync_import_wait_seconds=1) as some:
        yield some


async def make(callers: Callers, **changed: Any) -> str:  # noqa: ANN401 - fields
    """A new import, as the document has it but for these fields (`None`: left out)."""
    body = {name: value for name, value in (IMPORT | changed).items() if value is not None}
    answer = await callers.supplier.post("/import", body)
    assert (answer.status, answer.body["state"]) == (201, "received"), answer.body
    assert answer.headers["Location"] == f"/import/{answer.body['import_id']}"
    return str(answer.body["import_id"])


async def start(callers: Callers, import_id: str) -> None:
    answer = await callers.supplier.post(f"/import/{import_id}/start")
    assert answer.status == 200, answer.body
    assert answer.body["import_id"] == import_id


async def show(callers: Callers, import_id: str) -> dict[str, Any]:
    answer = await callers.supplier.get(f"/import/{import_id}")
    assert answer.status == 200, answer.body
    body: dict[str, Any] = answer.body
    return body


async def until(callers: Callers, import_id: str, *states: str) -> dict[str, Any]:
    shown: dict[str, Any] = {}

    async def is_there() -> bool:
        shown.update(await show(callers, import_id))
        return shown["state"] in states

    await eventually(f"the import is {' or '.join(states)}", is_there)
    return shown


async def until_it_waits_for(number: int, callers: Callers, import_id: str) -> None:
    async def says_so() -> bool:
        shown = await show(callers, import_id)
        assert shown["state"] == "waiting", shown
        return f"the logical timestamp {number}:" in (shown["reason"] or "")

    await eventually(f"it waits for {number}", says_so)


async def run(callers: Callers, **changed: Any) -> dict[str, Any]:  # noqa: ANN401 - fields
    """Make and start an import, and wait for its end; returns it."""
    import_id = await make(callers, **changed)
    await start(callers, import_id)
    return await until(callers, import_id, "completed", "failed")


async def ship(world: World) -> list[OrderEvent]:
    """Stock 10; four items assigned, ff1 to ff4; the first three completed with the timestamps 10, 11 and 12."""
    await world.locate("main", "allocate", "external")
    orders: list[OrderEvent] = [order((102, "T01-S", 1)) for _ in range(4)]
    await world.hear(*orders)
    await world.hear(*(assigned(one, number) for number, one in enumerate(orders, 1)))
    others = order((102, "T01-L", 5))
    await world.hear(others, *(assigned(others, number) for number in range(5, 10)))
    await world.hear(*(completed(one, number) for number, one in enumerate(orders[:3], 10)))
    assert await world.stock_at("main") == (10, 4)
    return orders


async def test_the_example_of_the_document(world: World, callers: Callers) -> None:
    orders = await ship(world)
    done = await run(callers)
    assert done["state"] == "completed"
    assert done["results"] == [
        {
            "row": 1,
            "location": "main",
            "product": "100",
            "on_hand": 17,
            "status": "updated",
            "product_id": 100,
            "available": 16,
            "allocations_removed": 3,
            "detail": None,
        }
    ]
    item = (await callers.supplier.get("/v1/stock/100")).body
    assert (item["on_hand"], item["allocated"], item["available"]) == (17, 1, 16)
    assert await world.rows("select order_id from takings where product_id = 100") == [(orders[3].order_id,)]
    entries = await world.rows("""
        select kind, on_hand_delta, allocated_delta, source, reference, reason from stock_ledger
        where product_id = 100 order by entry_id desc limit 2
    """)
    reason = "accounted for: logical timestamps 10 to 12"
    assert entries == [
        ("external_reset", 7, 0, "import", done["import_id"], None),
        ("released", 0, -3, "import", done["import_id"], reason),
    ]
    await world.assert_the_ledger_explains_every_level()


async def test_only_the_range_and_only_what_the_import_names(world: World, callers: Callers) -> None:
    await ship(world)
    other = await run(callers, items=[{"location": "main", "product": "T01-L", "on_hand": 5}])
    assert other["results"][0]["allocations_removed"] == 0
    assert await world.stock_at("main") == (10, 4)
    part = await run(callers, logical_timestamps={"from": 11, "to": 11})
    assert part["results"][0]["allocations_removed"] == 1
    assert await world.stock_at("main") == (17, 3)
    await run(callers, logical_timestamps=None, items=[{"location": "main", "product": 100, "on_hand": 9}])
    assert await world.stock_at("main") == (9, 3)


async def test_what_was_let_go_is_not_let_go_again_and_the_import_says_so(world: World, callers: Callers) -> None:
    orders = await ship(world)
    first = await run(callers)
    await world.hear(completed(orders[3], 13))
    second = await run(callers, logical_timestamps={"from": 10, "to": 13})
    assert second["overlaps"] == [{"import_id": first["import_id"], "logical_timestamps": {"from": 10, "to": 12}}]
    assert second["results"][0]["allocations_removed"] == 1
    assert first["overlaps"] == (await show(callers, first["import_id"]))["overlaps"] == []
    assert await world.stock_at("main") == (17, 0)
    await world.assert_the_ledger_explains_every_level()


class TestWaiting:
    async def test_an_import_that_overtakes_the_events_waits_for_all_of_them(
        self, world: World, callers: Callers
    ) -> None:
        orders = await ship(world)
        import_id = await make(callers, logical_timestamps={"from": 10, "to": 15})
        await start(callers, import_id)
        # 13 is missing; what comes after it does not count before it has come.
        await world.hear(assigned(orders[3], 14), completed(orders[3], 15))
        await until_it_waits_for(13, callers, import_id)
        await world.hear(failed(orders[0], 13))
        done = await until(callers, import_id, "completed", "failed")
        assert (done["state"], done["results"][0]["allocations_removed"]) == ("completed", 4)
        assert await world.stock_at("main") == (17, 0)

    async def test_an_item_that_waits_for_its_product_is_waited_for(self, world: World, callers: Callers) -> None:
        await ship(world)
        unknown = SHIRT.model_copy(update={"product_id": 500, "sku": "T05", "version": 1})
        late = order((500, "T01-S", 1))
        await world.hear(late, completed(late, 13))
        import_id = await make(callers, logical_timestamps={"from": 10, "to": 13})
        await start(callers, import_id)
        await until_it_waits_for(13, callers, import_id)
        await world.hear(unknown)
        done = await until(callers, import_id, "completed")
        assert done["results"][0]["allocations_removed"] == 4

    async def test_a_range_beyond_what_was_issued_is_refused_in_the_end(self, world: World, impatient: Callers) -> None:
        await ship(world)
        failed_one = await run(impatient, logical_timestamps={"from": 10, "to": 2**62})
        assert failed_one["state"] == "failed"
        assert "13: those from 1 to 12 have come. It did not come within 1 s" in failed_one["reason"]
        assert await world.stock_at("main") == (10, 4)
        # What waited behind it is carried out then.
        assert (await run(impatient))["state"] == "completed"

    async def test_imports_of_a_supplier_come_one_after_the_other(self, world: World, callers: Callers) -> None:
        orders = await ship(world)
        first = await make(callers, logical_timestamps={"from": 10, "to": 13})
        second = await make(callers, items=[{"location": "main", "product": "100", "on_hand": 30}])
        for import_id in (first, second):
            await start(callers, import_id)

        async def is_looked_at_again() -> bool:
            return bool(await world.rows("select 1 from sync_imports where attempt >= 4"))

        await eventually("the workers have come by more than once", is_looked_at_again)
        assert (await show(callers, second))["state"] == "waiting"
        assert await world.stock_at("main") == (10, 4)
        await world.hear(completed(orders[3], 13))
        await until(callers, second, "completed")
        assert await world.stock_at("main") == (30, 0)


class TestRows:
    async def test_bad_rows_are_refused_and_good_ones_go_in(self, world: World, callers: Callers) -> None:
        await ship(world)
        rows = [
            {"location": "main", "product": "T01-S", "on_hand": 17},
            {"location": "main", "product": "100", "on_hand": 18},
            {"location": "nowhere", "product": "100", "on_hand": 18},
            {"location": "main", "product": "T99", "on_hand": 18},
            {"location": "main", "product": "900", "on_hand": 18},  # another supplier's
            {"location": "main", "product": "9" * 30, "on_hand": 18},
        ]
        done = await run(callers, items=rows)
        assert (done["state"], done["rows"], done["updated"], done["refused"]) == ("completed", 6, 1, 5)
        assert [row["detail"] for row in done["results"]] == [
            None,
            "Row 1 states the same product at the same location.",
            "You have no location 'nowhere'.",
            "You keep no stock of a product 'T99'.",
            "You keep no stock of a product '900'.",
            f"You keep no stock of a product {'9' * 30!r}.",
        ]
        assert await world.stock_at("main") == (17, 1)
        paged = (await callers.supplier.get(f"/import/{done['import_id']}?limit=4")).body
        rest = (await callers.supplier.get(f"/import/{done['import_id']}?cursor={paged['next_cursor']}")).body
        assert [row["row"] for row in paged["results"] + rest["results"]] == [1, 2, 3, 4, 5, 6]
        # Rows are counted in 32 bits, cursors in 64: a made-up one finds nothing, and is no fault of ours.
        nothing = (await callers.supplier.get(f"/import/{done['import_id']}?cursor={2**63 - 1}")).body
        assert (nothing["results"], nothing["next_cursor"]) == ([], None)

    async def test_an_import_of_which_no_row_is_good_fails(self, world: World, callers: Callers) -> None:
        await ship(world)
        done = await run(callers, items=[{"location": "main", "product": "T99", "on_hand": 18}])
        assert (done["state"], done["reason"]) == ("failed", sync_importing.NO_ROW)
        assert await world.stock_at("main") == (10, 4)

    @pytest.mark.parametrize(
        ("changed", "field"),
        [
            ({"partial": False}, "partial"),
            ({"partial": "yes"}, "partial"),
            ({"entity": "price"}, "entity"),
            ({"items": []}, "items"),
            ({"items": [{"location": "main", "product": "100"}]}, "items[0].on_hand"),
            ({"items": [{"location": "main", "product": "100", "on_hand": 10**30}]}, "items[0].on_hand"),
            ({"items": [{"location": "nul \x00", "product": "100", "on_hand": 1}]}, "items[0].location"),
            ({"items": [{"location": "half \ud800", "product": "100", "on_hand": 1}]}, "items[0].location"),
            ({"items_url": "https://shop.example/items.json"}, "body"),
            ({"logical_timestamps": {"from": 12, "to": 10}}, "logical_timestamps"),
            ({"logical_timestamps": {"from": 0, "to": 10}}, "logical_timestamps.from"),
            ({"logical_timestamps": {"from": 1, "to": 2**63}}, "logical_timestamps.to"),
            ({"logical_timestamps": {"from": 1}}, "logical_timestamps.to"),
        ],
    )
    async def test_what_cannot_be_an_import(self, callers: Callers, changed: dict[str, Any], field: str) -> None:
        answer = await callers.supplier.post("/import", IMPORT | changed)
        assert answer.status == 422
        assert answer.body["errors"][0]["field"] == field, answer.body


class TestFiles:
    LINES = b'{"location":"main","product":"100","on_hand":17}\n\n{"location":"main","product":"T01-L","on_hand":8}\n'

    async def test_json_ndjson_and_zip(self, world: World, callers: Callers, files: Files) -> None:
        await ship(world)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("items.ndjson", self.LINES)
        items = [json.loads(line) for line in self.LINES.splitlines() if line]
        files.files = {
            "items.json": json.dumps(items).encode("utf-8-sig"),
            "object.json": json.dumps({"items": items}).encode(),
            "items.ndjson": self.LINES + b"{oops\n",
            "items.zip": packed.getvalue(),
        }
        removed = []
        for name in files.files:
            done = await run(callers, items=None, items_url=f"{files.url}/{name}")
            assert (done["state"], done["updated"]) == ("completed", 2), done
            removed.append(done["results"][0]["allocations_removed"])
            assert done["refused"] == (1 if name == "items.ndjson" else 0)
        assert removed == [3, 0, 0, 0]
        assert (await world.stock_at("main"), await world.stock_at("main", 101)) == ((17, 1), (8, 5))

    async def test_what_cannot_be_read_changes_nothing(
        self, world: World, callers: Callers, files: Files, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await ship(world)
        monkeypatch.setattr("services.inventory.fetching.FILE_LIMIT_BYTES", 5_000)
        files.files = {
            "cut.json": b'[{"location":"main","product":"100"',
            "deep.json": b"[" * 4_000,
            "cut.zip": sync_files.ZIP_MAGIC + b"oops",
            "latin.json": b"\xff\xff",
            "empty.json": b"[]",
            "long.json": b"[" + b" " * 5_000 + b"]",
        }
        for name in [*files.files, "moved", "missing"]:
            done = await run(callers, items=None, items_url=f"{files.url}/{name}")
            assert (done["state"], done["rows"]) == ("failed", 0), name
            assert done["reason"].startswith("The file could not be "), done
        assert await world.stock_at("main") == (10, 4)

    async def test_a_zip_that_unpacks_to_too_much_is_not_unpacked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sync_files, "FILE_LIMIT_BYTES", 1_000)
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("items.json", b" " * 1_001)
        with pytest.raises(sync_files.FileError, match="unpacked it has more than"):
            sync_files.read_rows(packed.getvalue())

    @pytest.mark.parametrize(
        ("url", "code"),
        [
            ("https://10.0.0.1/items.json", "forbidden_address"),
            ("http://192.168.0.1/items.json", "forbidden_address"),
            ("https://[::ffff:169.254.169.254]/", "forbidden_address"),
            ("http://shop.example/items.json", "invalid_url"),
            ("ftp://shop.example/items.json", "invalid_url"),
            ("https://ann:secret@shop.example/", "invalid_url"),
            ("items.json", "invalid_url"),
        ],
    )
    async def test_no_private_networks_and_nothing_but_https(self, callers: Callers, url: str, code: str) -> None:
        body = {name: value for name, value in IMPORT.items() if name != "items"} | {"items_url": url}
        answer = await callers.supplier.post("/import", body)
        assert (answer.status, answer.body["code"]) == (422, code)

    async def test_a_name_that_leads_into_a_private_network_is_not_called(
        self, world: World, impatient: Callers
    ) -> None:
        await ship(world)
        done = await run(impatient, items=None, items_url="https://localhost:9/items.json")
        assert done["state"] == "failed"
        assert "its host has no public address" in done["reason"]


class TestOpenImports:
    async def test_a_company_may_have_twenty(self, world: World, callers: Callers) -> None:
        await ship(world)
        made = [await make(callers) for _ in range(store.OPEN_LIMIT)]
        answer = await callers.supplier.post("/import", IMPORT)
        assert (answer.status, answer.body["code"]) == (429, "too_many_imports")
        assert answer.headers["Retry-After"]
        assert (await callers.other_supplier.post("/import", IMPORT)).status == 201
        await start(callers, made[0])
        await until(callers, made[0], "completed")
        await make(callers)

    async def test_one_that_nobody_starts_is_given_up(self, world: World, callers: Callers) -> None:
        import_id = await make(callers)
        async with world.database.transaction() as session:
            await session.execute(text("update sync_imports set created_at = created_at - interval '25 hours'"))
            await store.fail_forgotten(session, sync_importing.NEVER_STARTED, 24)
        assert (await show(callers, import_id))["state"] == "failed"

    async def test_those_that_ended_long_ago_are_forgotten_with_their_rows(
        self, world: World, callers: Callers
    ) -> None:
        await ship(world)
        await run(callers)
        async with world.database.transaction() as session:
            await session.execute(text("update sync_imports set finished_at = finished_at - interval '15 days'"))
            await store.purge(session, 14)
        assert await world.rows("select 1 from sync_import_rows union all select 1 from sync_imports") == []

    async def test_starting_twice_is_starting_once(self, world: World, callers: Callers) -> None:
        await ship(world)
        done = await run(callers)
        await world.hear(order((102, "T01-S", 1)))
        answer = await callers.supplier.post(f"/import/{done['import_id']}/start")
        assert (answer.status, answer.body["state"]) == (200, "completed")
        assert await world.stock_at("main") == (17, 2)

    async def test_nobody_elses(self, callers: Callers) -> None:
        import_id = await make(callers)

        async def ask(one: str) -> list[Answer]:
            client = callers.other_supplier
            return [await client.get(f"/import/{one}"), await client.post(f"/import/{one}/start")]

        for mine, nobodys in zip(await ask(import_id), await ask(UNKNOWN), strict=True):
            assert mine.status == 404
            assert mine.body["detail"].replace(import_id, UNKNOWN) == nobodys.body["detail"]
        assert (await callers.retailer.post("/import", IMPORT)).status == 403
        assert (await show(callers, import_id))["state"] == "received"


class TestDyingWorkers:
    """Claimed by hand, without any worker: an import is done once, whoever dies when."""

    async def test_one_that_dies_before_the_commit_leaves_nothing_and_the_next_one_does_it(self, world: World) -> None:
        await ship(world)
        await self.make(world)
        dead = await self.claim(world)
        assert await self.claim_or_none(world) is None  # under its lease
        with pytest.raises(asyncio.CancelledError):
            await self.carry_out(world, dead, dies=True)
        assert await world.stock_at("main") == (10, 4)
        await self.end_lease(world)
        heir = await self.claim(world)
        assert heir.attempt == 2
        with pytest.raises(LeaseLostError):  # who was only slow
            await self.carry_out(world, dead)
        assert await world.stock_at("main") == (10, 4)
        await self.carry_out(world, heir)
        assert await world.stock_at("main") == (17, 1)
        with pytest.raises(LeaseLostError):
            await self.carry_out(world, dead)
        await world.assert_the_ledger_explains_every_level()

    async def test_one_that_dies_after_the_commit_has_done_it(self, world: World) -> None:
        await ship(world)
        await self.make(world)
        job = await self.claim(world)
        await self.carry_out(world, job)
        await self.end_lease(world)
        assert await self.claim_or_none(world) is None
        with pytest.raises(LeaseLostError):
            await self.carry_out(world, job)
        assert await world.stock_at("main") == (17, 1)

    async def make(self, world: World) -> None:
        async with world.database.transaction() as session:
            rows = sync_files.read_rows(json.dumps(IMPORT["items"]).encode())
            await store.add(
                session,
                SUPPLIER,
                rows,
                import_id=UUID(UNKNOWN),
                first_timestamp=10,
                last_timestamp=12,
                items_url=None,
                actor="key 7",
                traceparent=None,
            )
            await store.start(session, UUID(UNKNOWN), SUPPLIER, 600)

    async def claim(self, world: World) -> Job:
        job = await self.claim_or_none(world)
        assert job is not None
        return job

    async def claim_or_none(self, world: World) -> Job | None:
        async with world.database.transaction() as session:
            return await store.claim(session)

    async def carry_out(self, world: World, job: Job, *, dies: bool = False) -> None:
        async with world.database.transaction() as session:
            await store.hold(session, job)
            await sync_importing.apply(session, job)
            await store.finish(session, job, "completed")
            if dies:
                raise asyncio.CancelledError

    async def end_lease(self, world: World) -> None:
        async with world.database.transaction() as session:
            await session.execute(text("update sync_imports set leased_until = clock_timestamp() - interval '1 s'"))
