"""Files of orders through the API: jobs, orders gathered from their rows, refused rows, and what is never half done."""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.orders import importing
from services.orders.api import imports as api
from services.orders.domain.imports import FileLine
from services.orders.import_batch import accept_batch
from services.orders.service import SERVICE
from services.orders.store import imports as store
from services.orders.submissions import LINES_LIMIT
from shared import clock
from shared.database import Session
from shared.events.orders import OrderCreated
from shared.http import BODY_LIMIT_BYTES
from shared.idempotency import HEADER as KEY
from shared.idempotency import REPLAYED
from shared.import_jobs import LOST_UPLOAD, LeaseLostError
from shared.messaging.in_process import InProcessBus
from shared.service_context import Context
from shared.settings import Settings
from tests.app import Answer, Client
from tests.integration.orders.shop import RETAILER, SMALL, STRANGER, SUPPLIER, Shop, eventually

IMPORTS = "/v1/orders/imports"
DEADLINE_SECONDS = 60
HEADER = "external_ref,product_id,variant_sku,quantity\n"


async def send(client: Client, content: str | bytes | AsyncIterator[bytes], key: str = "", **query: str) -> Answer:
    content = content.encode() if isinstance(content, str) else content
    data = io.BytesIO(content) if isinstance(content, bytes) else content
    headers = {"Content-Type": "text/csv"} | ({KEY: key} if key else {})
    return await client.post(IMPORTS, params=query, data=data, headers=headers)


async def ended(client: Client, answer: Answer) -> dict[str, Any]:
    """The import once it has come to its end."""
    assert answer.status == 202, answer.body
    deadline = clock.monotonic() + DEADLINE_SECONDS
    while True:
        job: dict[str, Any] = (await client.get(answer.headers["Location"])).body
        if job["state"] in {"done", "failed"}:
            return job
        assert clock.monotonic() < deadline, job
        await asyncio.sleep(0.02)


async def imported(client: Client, content: str | bytes, **query: str) -> dict[str, Any]:
    return await ended(client, await send(client, content, **query))


def counts(job: dict[str, Any]) -> tuple[str, int, int, int]:
    return job["state"], job["created"], job["existing"], job["refused"]


async def rows_of(client: Client, job: dict[str, Any], **query: str) -> list[dict[str, Any]]:
    answer = await client.get(f"{IMPORTS}/{job['id']}/rows", params={"limit": "200", **query})
    assert answer.status == 200, answer.body
    rows: list[dict[str, Any]] = answer.body["items"]
    return rows


def problems(rows: list[dict[str, Any]]) -> list[tuple[int, str | None, str, str]]:
    return [
        (row["line"], row["external_ref"], error["field"], error["detail"]) for row in rows for error in row["errors"]
    ]


async def created(shop: Shop) -> list[tuple[str, list[tuple[int, str | None, int]]]]:
    """The orders that were told as created, by reference, with their lines."""
    return sorted(
        (event.external_ref, [(line.product_id, line.variant_sku, line.quantity) for line in event.lines])
        for event in await shop.told()
        if isinstance(event, OrderCreated)
    )


class TestOrders:
    async def test_rows_with_one_reference_are_one_order_wherever_they_stand(self, shop: Shop) -> None:
        async with shop.client() as retailer:
            job = await imported(
                retailer,
                "external_ref,placed_at,product_id,variant_sku,quantity,location\n"
                "R-1,2026-01-31T12:00:00Z,102,T01-S,2,main\n"
                "R-2,,200,,1,\n"
                "R-1,,102,T01-L,3,\n"
                "R-3,,100,,1,\n"
                "R-1,2026-01-31T13:00:00+01:00,200,,4,\n",
            )
            rows = await rows_of(retailer, job)
            shown = (await retailer.get("/v1/orders", params={"external_ref": "R-1"})).body["items"]
        assert counts(job) == ("done", 3, 0, 0)
        assert [job[name] for name in ("rows", "rows_done", "orders", "progress", "seller_id", "dry_run")] == [
            *(5, 5, 3, 1, RETAILER, False)
        ]
        assert await created(shop) == [
            ("R-1", [(102, "T01-S", 2), (102, "T01-L", 3), (200, None, 4)]),
            ("R-2", [(200, None, 1)]),
            ("R-3", [(100, None, 1)]),
        ]
        (order,) = shown
        assert (order["source"], order["placed_at"]) == ("import", "2026-01-31T12:00:00Z")
        assert [line["location"] for line in order["lines"]] == ["main", None, None]
        assert [(row["external_ref"], row["status"]) for row in rows] == [
            (ref, "created") for ref in ("R-1", "R-2", "R-1", "R-3", "R-1")
        ]
        assert {row["order_id"] for row in rows if row["external_ref"] == "R-1"} == {order["order_id"]}
        assert (rows[0]["row"], rows[0]["line"], rows[0]["quantity"], rows[0]["errors"]) == (1, 2, 2, [])

    async def test_orders_are_accepted_in_the_order_of_their_first_rows(self, shop: Shop) -> None:
        async with shop.client() as retailer:
            await imported(retailer, HEADER + "B,100,,1\nA,100,,1\nC,100,,1\nA,100,,1\n")
        told = [event.external_ref for event in await shop.told() if isinstance(event, OrderCreated)]
        assert told == ["B", "A", "C"]

    async def test_an_order_that_is_there_is_existing_and_another_under_its_reference_is_refused(
        self, shop: Shop
    ) -> None:
        async with shop.client() as retailer:
            first = await retailer.post("/v1/orders", {"external_ref": "R-1", "lines": [SMALL]})
            await retailer.post("/v1/orders", {"external_ref": "R-2", "lines": [SMALL]})
            content = HEADER + "R-1,102,T01-S,2\nR-2,102,T01-S,1\nR-2,102,T01-L,1\nR-3,102,T01-L,1\n"
            job = await imported(retailer, content)
            again = await imported(retailer, content)
            rows = await rows_of(retailer, job)
        assert (counts(job), counts(again)) == (("done", 1, 1, 1), ("done", 0, 2, 1))
        assert (rows[0]["status"], rows[0]["order_id"]) == ("existing", first.body["order_id"])
        (conflict, beside) = problems(rows)
        assert conflict[:3] == (3, "R-2", "external_ref")
        assert "which says something else: send exactly the same again, or use a new reference" in conflict[3]
        assert beside == (4, "R-2", "row", "the row in line 3 is of the same order, which is refused whole")
        assert [ref for ref, _ in await created(shop)] == ["R-1", "R-2", "R-3"]

    async def test_an_order_with_one_bad_line_is_refused_whole_and_each_of_its_rows_says_why(self, shop: Shop) -> None:
        async with shop.client() as retailer:
            job = await imported(
                retailer,
                HEADER + "R-1,102,T01-S,2\n"
                "R-1,102,T01-S,many\n"
                "R-2,900,,1\n"
                "R-2,102,T01-X,1\n"
                "R-2,100,,1\n"
                "R-3,102,T01-L,1\n"
                "R-1,102,T01-S,1\n",
            )
            refused = await rows_of(retailer, job, status="refused")
            others = [row["line"] for row in await rows_of(retailer, job, status="created")]
            pending = await rows_of(retailer, job, status="pending")
        beside = "the row in line 3 is of the same order, which is refused whole"
        assert counts(job) == ("done", 1, 0, 2)
        assert [one[:3] for one in problems(refused)] == [
            (2, "R-1", "row"),
            (3, "R-1", "quantity"),
            (4, "R-2", "product_id"),
            (5, "R-2", "variant_sku"),
            (6, "R-2", "row"),
            (8, "R-1", "row"),
        ]
        details = [one[3] for one in problems(refused)]
        assert (details[0], details[1], details[5]) == (beside, "'many' is no whole number", beside)
        assert "is neither company 2's own nor of a supplier" in details[2]
        assert (others, pending) == ([7], [])
        assert [ref for ref, _ in await created(shop)] == ["R-3"]

    async def test_rows_of_one_order_must_say_the_same_moment(self, shop: Shop) -> None:
        async with shop.client() as retailer:
            content = "external_ref,product_id,quantity,placed_at\nR-1,100,1,2026-01-31T12:00:00Z\n"
            job = await imported(retailer, content + "R-1,100,1,2026-02-01T12:00:00Z\n")
            refused = await rows_of(retailer, job)
        assert counts(job) == ("done", 0, 0, 1)
        assert [one[:3] for one in problems(refused)] == [(2, "R-1", "row"), (3, "R-1", "placed_at")]

    async def test_an_order_of_too_many_rows_is_refused_without_being_read(self, shop: Shop) -> None:
        async with shop.client() as retailer:
            content = HEADER + "R-1,100,,1\n" * LINES_LIMIT + "R-2,100,,1\n" * (LINES_LIMIT + 1) + "R-3,100,,1\n"
            jobs = [await imported(retailer, content, dry_run=dry_run) for dry_run in ("true", "false")]
            for job in jobs:
                assert (counts(job), job["rows_done"]) == (("done", 2, 0, 1), 2 * LINES_LIMIT + 2)
                refused = await rows_of(retailer, job, status="refused")
                assert {one[2:] for one in problems(refused)} == {
                    ("external_ref", "this order has 1,001 rows; an order may have 1,000 lines")
                }
                last = await rows_of(retailer, job, status="refused", cursor=str(2 * LINES_LIMIT))
                assert [row["line"] for row in last] == [2 * LINES_LIMIT + 2]

    async def test_rows_of_no_order_are_refused_each_by_itself(self, shop: Shop) -> None:
        async with shop.client() as retailer:
            job = await imported(retailer, HEADER + ",100,,1\n,100,,2\nR-1,100,,1\nR-2,100,,1\n")
            refused = await rows_of(retailer, job, status="refused")
        assert (counts(job), job["orders"], job["rows_done"]) == (("done", 1, 0, 3), 2, 4)
        assert [one[:3] for one in problems(refused)] == [
            (2, None, "external_ref"),
            (3, None, "external_ref"),
            (4, "R-1", "row"),
        ]

    async def test_a_supplier_imports_what_it_sells_itself(self, shop: Shop) -> None:
        async with shop.client(SUPPLIER) as supplier:
            assert counts(await imported(supplier, HEADER + "S-1,100,,1\n")) == ("done", 1, 0, 0)


async def test_a_dry_run_says_what_would_come_of_each_order_and_changes_nothing(shop: Shop) -> None:
    content = HEADER + "R-1,102,T01-S,2\nR-2,102,T01-S,1\nR-3,900,,1\n"
    async with shop.client() as retailer:
        there = await retailer.post("/v1/orders", {"external_ref": "R-1", "lines": [SMALL]})
        job = await imported(retailer, content, dry_run="true")
        rows = await rows_of(retailer, job)
        assert (counts(job), job["dry_run"]) == (("done", 1, 1, 1), True)
        assert [(row["status"], row["order_id"]) for row in rows] == [
            ("existing", there.body["order_id"]),
            ("created", None),
            ("refused", None),
        ]
        assert [ref for ref, _ in await created(shop)] == ["R-1"]
        assert counts(await imported(retailer, content)) == ("done", 1, 1, 1)


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", None),
        (b"external_ref,product_id\n", "quantity"),
        (b"external_ref,product_id,quantity,colour\n", "colour"),
        (HEADER.encode("utf-16"), "header"),
        (b'external_ref,"product_id' + b"x" * 2**21, None),
    ],
)
async def test_a_file_whose_header_cannot_be_read_is_refused_at_once(
    shop: Shop, content: bytes, field: str | None
) -> None:
    async with shop.client() as retailer:
        answer = await send(retailer, content)
        assert (answer.status, answer.body["code"]) == (422, "invalid_file"), answer.body
        assert [error["field"] for error in answer.body["errors"]][:1] == ([field] if field else [])
        (job,) = (await retailer.get(f"{IMPORTS}?limit=1")).body["items"]
        assert (job["state"], job["reason"]) == ("failed", answer.body["detail"])


async def test_a_file_that_is_broken_in_the_middle_loses_nothing_that_stands_before_it(shop: Shop) -> None:
    async with shop.client() as retailer:
        job = await imported(retailer, HEADER + 'R-1,100,,1\nR-2,100,,1\nR-2,100,,2\nR-3,"' + "x" * 2**21)
        refused = problems(await rows_of(retailer, job, status="refused"))
    assert counts(job) == ("done", 1, 0, 1)
    assert [one[:3] for one in refused] == [(3, "R-2", "row"), (4, "R-2", "row"), (5, "R-2", "row")]
    assert "The row in line 5 does not end" in refused[2][3]
    assert [ref for ref, _ in await created(shop)] == ["R-1"]


class TestUnderAKey:
    async def test_the_same_file_again_is_answered_the_same(self, shop: Shop) -> None:
        async with shop.client() as retailer:
            first = await send(retailer, HEADER + "R-1,100,,1\n", key="k1")
            await ended(retailer, first)
            again = await send(retailer, HEADER + "R-1,100,,1\n", key="k1")
            assert (again.status, again.body, again.headers.get(REPLAYED)) == (202, first.body, "true")
            assert [one["id"] for one in (await retailer.get(IMPORTS)).body["items"]] == [first.body["id"]]

    async def test_another_file_under_the_key_is_refused_and_nothing_of_it_kept(self, shop: Shop) -> None:
        async with shop.client() as retailer:
            await ended(retailer, await send(retailer, HEADER + "R-1,100,,1\n", key="k1"))
            other = await send(retailer, HEADER + "R-2,100,,1\n", key="k1")
            assert (other.status, other.body["code"]) == (422, "idempotency_key_reused"), other.body
            states = [one["state"] for one in (await retailer.get(IMPORTS)).body["items"]]
        assert states == ["failed", "done"]
        assert [row.external_ref for row in await shop.rows("select external_ref from order_import_rows")] == ["R-1"]


async def test_companies_see_their_own_imports_and_the_admin_imports_for_any(shop: Shop) -> None:
    async with shop.client() as retailer, shop.client(STRANGER) as stranger, shop.client(None) as admin:
        job = await imported(retailer, HEADER + "R-1,100,,1\nR-2,x,,1\n")
        for path in (f"{IMPORTS}/{job['id']}", f"{IMPORTS}/{job['id']}/rows"):
            assert (await stranger.get(path)).status == 404
            assert (await admin.get(path)).status == 200
        assert (await stranger.get(IMPORTS)).body["items"] == []
        assert [one["id"] for one in (await admin.get(IMPORTS)).body["items"]] == [job["id"]]
        assert (await send(admin, HEADER)).status == 422
        assert (await send(stranger, HEADER, seller_id=str(RETAILER))).status == 403
        unknown = await send(admin, HEADER, seller_id="99")
        assert (unknown.status, unknown.body["errors"][0]["field"]) == (422, "seller_id")
        by_admin = await imported(admin, HEADER + "R-9,100,,1\n", seller_id=str(RETAILER))
        assert (by_admin["seller_id"], counts(by_admin)) == (RETAILER, ("done", 1, 0, 0))
        page = (await retailer.get(IMPORTS, params={"limit": "1"})).body
        assert ([one["id"] for one in page["items"]], page["next_cursor"]) == ([by_admin["id"]], by_admin["id"])
        rest = (await retailer.get(IMPORTS, params={"cursor": str(page["next_cursor"])})).body
        assert ([one["id"] for one in rest["items"]], rest["next_cursor"]) == ([job["id"]], None)


async def test_a_company_has_so_many_imports_under_way_and_no_more(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "OPEN_IMPORTS_LIMIT", 1)
    await shop.rows(f"""
        insert into order_imports (seller_id, dry_run, state, leased_until)
        values ({RETAILER}, false, 'receiving', clock_timestamp() + interval '1 hour') returning import_id
    """)
    async with shop.client() as retailer, shop.client(SUPPLIER) as supplier:
        refused = await send(retailer, HEADER)
        assert (refused.status, refused.body["code"]) == (429, "too_many_imports")
        assert counts(await imported(supplier, HEADER + "S-1,100,,1\n")) == ("done", 1, 0, 0)


async def test_a_big_import_stops_no_small_one_of_another_company(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "ORDERS_AT_ONCE", 2)
    monkeypatch.setattr(importing, "TURN_SECONDS", 0)
    async with shop.client() as retailer, shop.client(SUPPLIER) as supplier:
        big = await send(retailer, HEADER + "".join(f"R-{number},100,,1\n" for number in range(400)))
        small = await imported(supplier, HEADER + "S-1,100,,1\n")
        assert counts(small) == ("done", 1, 0, 0)
        still = (await retailer.get(big.headers["Location"])).body
        assert still["state"] in {"received", "running"}, still
        assert counts(await ended(retailer, big)) == ("done", 400, 0, 0)


async def test_a_file_may_be_longer_than_other_bodies_and_flows_in(shop: Shop) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield HEADER.encode()
        row = b"R-%d,100,,1" + b" " * 50_000 + b"\n"
        for number in range(BODY_LIMIT_BYTES // 50_000 + 1):
            yield row % number

    async with shop.client() as retailer:
        job = await ended(retailer, await send(retailer, pieces()))
    assert (job["state"], job["created"]) == ("done", BODY_LIMIT_BYTES // 50_000 + 1)


async def test_a_file_that_breaks_off_leaves_a_failed_import_that_changed_nothing(shop: Shop) -> None:
    class HungUpError(Exception):
        """The client is gone."""

    async with shop.client() as retailer:

        async def pieces() -> AsyncIterator[bytes]:
            yield HEADER.encode() + b"R-1,100,,1\n"
            await eventually("it is being received", receiving)
            raise HungUpError

        async def receiving() -> bool:
            return bool((await retailer.get(IMPORTS)).body["items"])

        async def failed() -> bool:
            (job,) = (await retailer.get(IMPORTS)).body["items"]
            return bool(job["state"] == "failed" and "did not come in whole" in job["reason"])

        with pytest.raises(Exception):  # noqa: B017, PT011 - aiohttp wraps it
            await send(retailer, pieces())
        await eventually("it has failed", failed)
    assert await created(shop) == []


class TestDyingWorkers:
    async def test_one_that_died_is_followed_by_one_that_goes_on(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The batch that it was accepting has no effect, and the import goes on behind the last one committed."""
        monkeypatch.setattr(importing, "ORDERS_AT_ONCE", 1)
        monkeypatch.setattr(store, "LEASE_SECONDS", 1)
        reached, keep_results = asyncio.Event(), store.keep_results

        async def dying(*arguments: Any) -> None:  # noqa: ANN401 - of `keep_results`
            if arguments[2][0].order.external_ref == "R-2" and not reached.is_set():
                reached.set()
                raise LeaseLostError  # as if it had died: the batch is not committed, the lease runs on
            await keep_results(*arguments)

        monkeypatch.setattr(store, "keep_results", dying)
        async with shop.client() as retailer:
            job = await imported(retailer, HEADER + "R-1,100,,1\nR-2,100,,1\nR-3,100,,1\n")
        assert reached.is_set()
        assert counts(job) == ("done", 3, 0, 0)
        assert [ref for ref, _ in await created(shop)] == ["R-1", "R-2", "R-3"]

    async def test_what_one_does_after_another_has_its_import_is_undone(self, shop: Shop, database_dsn: str) -> None:
        """Claimed by hand: the first one was only slow, and goes on where its lease is over."""
        bus = InProcessBus(publish_timeout_seconds=10)
        context = Context("orders", Settings(dsn=database_dsn), shop.database, bus)
        async with shop.database.transaction() as session:
            await add_by_hand(session)
            slow = await store.claim(session)
        await shop.rows("update order_imports set leased_until = clock_timestamp() returning 1")
        async with shop.database.transaction() as session:
            heir = await store.claim(session)
        assert slow is not None
        assert heir is not None
        assert (slow.attempt, heir.attempt) == (1, 2)
        with pytest.raises(LeaseLostError):
            await importing.run_import(context, slow)
        assert await shop.rows("select 1 from orders") == []
        await importing.run_import(context, heir)
        assert [ref for ref, _ in await created(shop)] == ["R-1", "R-2"]
        with pytest.raises(LeaseLostError):
            await importing.run_import(context, slow)

    async def test_an_import_that_cannot_be_carried_out_fails_and_the_next_is_carried_out(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def broken(*arguments: Any) -> Any:  # noqa: ANN401 - of `accept_batch`
            if arguments[2][0].external_ref == "R-1":
                raise RuntimeError
            return await accept_batch(*arguments)

        monkeypatch.setattr(importing, "accept_batch", broken)
        async with shop.client() as retailer:
            job = await imported(retailer, HEADER + "R-1,100,,1\n")
            assert (job["state"], job["reason"]) == ("failed", importing.STOPPED)
            assert [row["status"] for row in await rows_of(retailer, job)] == ["pending"]
            assert counts(await imported(retailer, HEADER + "R-2,100,,1\n")) == ("done", 1, 0, 0)


async def add_by_hand(session: Session) -> None:
    """An import of two orders that is received."""
    import_id = await store.add_import(session, seller_id=RETAILER, dry_run=False, traceparent=None)
    rows = [FileLine(number, number + 1, f"R-{number}", None, 100, None, 1) for number in (1, 2)]
    await store.add_rows(session, import_id, rows)
    await store.finish_receiving(session, import_id, len(rows))


async def test_uploads_whose_receiver_died_are_given_up_and_old_imports_forgotten(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop.client() as retailer:
        job = await imported(retailer, HEADER + "R-1,100,,1\nR-2,100,,1\n")
        ((lost,),) = await shop.rows(f"""
            insert into order_imports (seller_id, dry_run, state, leased_until)
            values ({RETAILER}, false, 'receiving', clock_timestamp()) returning import_id
        """)
        async with shop.database.transaction() as session:
            assert not await store.purge(session, 14)
            await store.fail_lost_uploads(session, LOST_UPLOAD)
        assert (await retailer.get(f"{IMPORTS}/{lost}")).body["reason"] == LOST_UPLOAD
        await shop.rows(f"""
            update order_imports set finished_at = clock_timestamp() - interval '15 days'
            where import_id = {job["id"]} returning 1
        """)
        monkeypatch.setattr(store, "PURGE_ROWS_AT_ONCE", 1)
        purged: list[bool] = []
        while not purged or purged[-1]:
            async with shop.database.transaction() as session:
                purged.append(await store.purge(session, 14))
        assert purged == [True] * 5 + [False]
        assert (await retailer.get(f"{IMPORTS}/{job['id']}")).status == 404
    assert await shop.rows("select 1 from order_import_rows") == []
    assert len(await created(shop)) == 2


def test_the_service_forgets_and_carries_out_imports() -> None:
    assert {importing.carry_out_imports, importing.tidy_imports} <= {*SERVICE.workers}
