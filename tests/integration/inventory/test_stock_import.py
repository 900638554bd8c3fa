"""Files of stock through the API: jobs, refused rows, previews, and what is never half done."""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.inventory import importing
from services.inventory.api import imports as api
from services.inventory.import_batch import write_rows
from services.inventory.service import SERVICE
from services.inventory.stock_files.rows import Row
from services.inventory.store import imports as store
from shared import clock
from shared.database import Database, Session
from shared.events.inventory import StockChanged
from shared.http import BODY_LIMIT_BYTES
from shared.idempotency import HEADER, REPLAYED
from shared.import_jobs import LOST_UPLOAD, LeaseLostError
from shared.messaging.in_process import InProcessBus
from shared.service_context import Context
from shared.settings import Settings
from tests.app import Answer, Client
from tests.end_to_end.system import eventually
from tests.integration.inventory.callers import OTHER_SUPPLIER, Callers
from tests.integration.inventory.world import SUPPLIER, World, order, stock_product

IMPORTS = "/v1/stock/imports"
DEADLINE_SECONDS = 60


async def send(client: Client, content: str | bytes | AsyncIterator[bytes], **query: str) -> Answer:
    content = content.encode() if isinstance(content, str) else content
    data = io.BytesIO(content) if isinstance(content, bytes) else content
    return await client.post(IMPORTS, params=query, data=data, headers={"Content-Type": "text/csv"})


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
    return job["state"], job["changed"], job["unchanged"], job["refused"]


async def rows_of(client: Client, job: dict[str, Any], **query: str) -> list[dict[str, Any]]:
    answer = await client.get(f"{IMPORTS}/{job['id']}/rows", params={"limit": "200", **query})
    assert answer.status == 200, answer.body
    rows: list[dict[str, Any]] = answer.body["items"]
    return rows


def problems(rows: list[dict[str, Any]]) -> list[tuple[int, int, str, str]]:
    return [
        (row["row"], row["line"], row["errors"][0]["field"], row["errors"][0]["detail"])
        for row in rows
        if row["status"] == "refused"
    ]


class TestRowByRow:
    async def test_what_can_be_sold_becomes_what_the_file_says_whatever_is_held(
        self, world: World, callers: Callers
    ) -> None:
        await world.locate("main", "allocate")
        await world.hear(order((102, "T01-S", 3)))
        await callers.supplier.patch("/v1/stock/100", {"safety_stock": 2})
        await world.told()

        job = await imported(callers.supplier, "sku,quantity_available\nT01-S,20\nT01-L,10\nS7,4\n")

        assert counts(job) == ("done", 2, 1, 0)
        assert (job["rows"], job["rows_done"], job["progress"], job["writes"]) == (3, 3, 1, "quantity_available")
        shown = (await callers.supplier.get("/v1/stock/100")).body
        numbers = {name: shown[name] for name in ("on_hand", "allocated", "safety_stock", "available")}
        assert numbers == {"on_hand": 25, "allocated": 3, "safety_stock": 2, "available": 20}
        told = {event.base_stock_product_id: event for event in await world.told(StockChanged)}
        # Only of what has changed.
        assert {id_: (event.available, event.causes) for id_, event in told.items()} == {
            100: (20, ("csv_import",)),
            200: (4, ("csv_import",)),
        }
        (entry,) = (await callers.supplier.get("/v1/stock/100/ledger?limit=1")).body["items"]
        said = {name: entry[name] for name in ("kind", "on_hand_delta", "actor", "source", "reference", "reason")}
        assert said == {
            "kind": "csv_import",
            "on_hand_delta": 15,
            "actor": "key 7",
            "source": "csv",
            "reference": str(job["id"]),
            "reason": None,
        }
        assert await rows_of(callers.supplier, job) == []
        await world.assert_the_ledger_explains_every_level()

    async def test_good_rows_go_in_and_every_bad_one_is_told_by_its_number(
        self, world: World, callers: Callers
    ) -> None:
        await world.hear(stock_product(501, "A1", barcode="twice"), stock_product(502, "A2", barcode="twice"))
        job = await imported(
            callers.supplier,
            "sku,barcode,id,on_hand,location,reason\n"
            "T01-S,,,5,,counted\n"
            "NONE,,,5,,\n"
            "\n"
            ",twice,,5,,\n"
            ",,900,5,,\n"
            ",,nine,5,,\n"
            "S7,,,5.5,,\n"
            "S7,,,,,\n"
            "S7,,,99999999999,,\n"
            "S7,,,5,moon,\n"
            ",,,5,,\n"
            "S7,,,5,,,,more\n"
            f"S7,,,5,,{'x' * 201}\n"
            "T01-L,,,6,main,\n",
        )
        assert counts(job) == ("done", 2, 0, 11)
        assert problems(await rows_of(callers.supplier, job, status="refused")) == [
            (2, 3, "sku", "'NONE' is none of your items'"),
            (3, 5, "barcode", "'twice' is that of several items: name this one by its SKU"),
            (4, 6, "id", "900 is none of your items'"),
            (5, 7, "id", "'nine' is no product id"),
            (6, 8, "on_hand", "'5.5' is no whole number"),
            (7, 9, "on_hand", "the quantity is missing"),
            (8, 10, "on_hand", "99999999999 is beyond 1,000,000,000 units"),
            (9, 11, "location", "you have no location 'moon'"),
            (10, 12, "sku", "which item is this? The cell is empty"),
            (11, 13, "row", "there are 8 cells, but 6 columns"),
            (12, 14, "reason", "this is longer than 200 characters"),
        ]
        assert await world.levels() == {100: 5, 101: 6, 200: 10, 202: 10, 900: 0, 501: 0, 502: 0}
        (entry,) = (await callers.supplier.get("/v1/stock/100/ledger?limit=1")).body["items"]
        assert entry["reason"] == "counted"

    async def test_rows_are_written_in_the_order_of_the_file(self, world: World, callers: Callers) -> None:
        await imported(callers.supplier, "sku,on_hand\nT01-S,5\nT01-S,7\n")
        await imported(callers.supplier, "sku,adjustment\nT01-L,5\nT01-L,-7\n")
        assert (await world.levels())[100] == 7
        assert (await world.levels())[101] == 8

    async def test_a_location_per_row_or_for_the_file(self, world: World, callers: Callers) -> None:
        await world.locate("shop")
        await imported(callers.supplier, "location,sku,on_hand\nshop,T01-S,5\n,T01-S,6\n")
        await imported(callers.supplier, "sku,on_hand\nT01-L,4\n", location="shop")
        assert (await world.stock_at("shop"), await world.stock_at("main")) == ((5, 0), (6, 0))
        assert await world.stock_at("shop", 101) == (4, 0)
        unknown = await send(callers.supplier, "sku,on_hand\nT01-L,4\n", location="moon")
        assert (unknown.status, unknown.body["errors"][0]["field"]) == (422, "location")

    async def test_what_was_taken_out_of_stock_is_stocked_again(self, callers: Callers) -> None:
        await callers.supplier.delete("/v1/stock/100")
        job = await imported(callers.supplier, "sku,quantity_available\nT01-S,10\n")
        assert counts(job) == ("done", 1, 0, 0)
        assert (await callers.supplier.get("/v1/stock/100")).body["available"] == 10

    async def test_no_level_goes_beyond_the_limit(self, callers: Callers, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("services.inventory.domain.imports.LEVEL_LIMIT", 1_500_000_000)
        job = await imported(callers.supplier, "sku,adjustment\nT01-S,900000000\nT01-S,900000000\n")
        assert counts(job) == ("done", 1, 0, 1)
        assert (await rows_of(callers.supplier, job))[0]["errors"][0]["field"] == "adjustment"


class TestAsOf:
    """The file was counted at a moment; what has moved since then comes on top, as for single writes."""

    async def counted_at(self, world: World) -> str:
        (row,) = await world.rows("select clock_timestamp()")
        moment: str = row[0].isoformat().replace("+00:00", "Z")
        return moment

    async def test_what_was_sold_since_the_count_stays_sold(self, world: World, callers: Callers) -> None:
        counted_at = await self.counted_at(world)
        await world.hear(order((102, "T01-S", 3)))
        job = await imported(callers.supplier, "sku,on_hand\nT01-S,50\nT01-L,20\n", as_of=counted_at)
        assert (counts(job), job["as_of"]) == (("done", 2, 0, 0), counted_at)
        assert ((await world.levels())[100], (await world.levels())[101]) == (47, 20)
        again = await imported(callers.supplier, "sku,quantity_available\nT01-S,50\nT01-L,20\n", as_of=counted_at)
        assert counts(again) == ("done", 0, 2, 0)
        await world.assert_the_ledger_explains_every_level()

    async def test_a_row_in_a_later_chunk_has_the_last_word(
        self, world: World, callers: Callers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(api, "CHUNK_ROWS", 1)
        counted_at = await self.counted_at(world)
        await world.hear(order((102, "T01-S", 3)))
        job = await imported(callers.supplier, "sku,on_hand\nT01-S,50\nT01-S,60\n", as_of=counted_at)
        assert counts(job) == ("done", 2, 0, 0)
        assert (await world.levels())[100] == 57

    async def test_a_later_statement_wins(self, world: World, callers: Callers) -> None:
        counted_at = await self.counted_at(world)
        await callers.supplier.post("/v1/stock/100/adjustments", {"on_hand": 7, "reason": "recount"})
        job = await imported(callers.supplier, "sku,on_hand\nT01-S,50\n", as_of=counted_at)
        assert counts(job) == ("done", 0, 1, 0)
        assert (await world.levels())[100] == 7

    async def test_what_was_removed_since_stays_removed(self, world: World, callers: Callers) -> None:
        counted_at = await self.counted_at(world)
        await callers.supplier.delete("/v1/stock/100")
        await imported(callers.supplier, "sku,on_hand\nT01-S,50\n", as_of=counted_at)
        levels = (await callers.supplier.get("/v1/stock/100")).body["levels"]
        assert [level["removed_at"] is not None for level in levels] == [True]

    async def test_adjustments_have_no_moment(self, world: World, callers: Callers) -> None:
        answer = await send(callers.supplier, "sku,adjustment\nT01-S,5\n", as_of=await self.counted_at(world))
        assert (answer.status, answer.body["errors"][0]["field"]) == (422, "as_of"), answer.body
        assert (await world.levels())[100] == 10

    @pytest.mark.parametrize("as_of", ["7", "yesterday", "2026-11-24T02:00:00", "2999-01-01T00:00:00Z", "\0", "9" * 99])
    async def test_other_moments_are_refused_before_the_file_is_read(self, callers: Callers, as_of: str) -> None:
        answer = await send(callers.supplier, "sku,on_hand\nT01-S,5\n", as_of=as_of)
        assert (answer.status, answer.body["errors"][0]["field"]) == (422, "as_of"), answer.body
        assert (await callers.supplier.get(IMPORTS)).body["items"] == []


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfsku;quantity_available\r\nT01-S;7\r\n\xc3\x84;8\r\n",
        b"quantity_available\tsku\n7\tT01-S\n8\t\xc3\x84",
        b'sep=;\nSKU;Quantity_Available;;\n"T01-S"; 7 ;;\n\xc3\x84;+8;;\n;;;\n',
        b"sku,quantity_available,name,allocated,barcode\nT01-S,7,Shirt,0,1\n\xc3\x84,8,x,0,2\n",
    ],
)
async def test_files_as_programs_write_them(world: World, callers: Callers, content: bytes) -> None:
    await world.hear(stock_product(501, "Ä"))
    job = await imported(callers.supplier, content)
    assert counts(job) == ("done", 2, 0, 0)
    assert ((await world.levels())[100], (await world.levels())[501]) == (7, 8)


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"", None),
        (b"sku\nT01-S\n", "quantity_available"),
        (b"on_hand\n5\n", "sku"),
        (b"sku,on_hand,quantity_available\n", "on_hand"),
        (b"sku,on_hand,colour\n", "colour"),
        (b"sku,sku,on_hand\n", "sku"),
        ("sku,on_hand\nT01-S,5\n".encode("utf-16"), "header"),
        (b'sku,on_hand\n"T01-S,5\n' + b"x" * 2**20, None),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused_at_once(
    callers: Callers, content: bytes, field: str | None
) -> None:
    answer = await send(callers.supplier, content)
    assert (answer.status, answer.body["code"]) == (422, "invalid_file"), answer.body
    assert [error["field"] for error in answer.body["errors"]][:1] == ([field] if field else [])
    (job,) = (await callers.supplier.get(f"{IMPORTS}?limit=1")).body["items"]
    assert (job["state"], job["reason"]) == ("failed", answer.body["detail"])


async def test_bytes_that_are_no_text_spoil_their_row_alone(world: World, callers: Callers) -> None:
    job = await imported(callers.supplier, b"sku,on_hand\nT01-\xff,5\nT01\x00,5\nT01-S,6\n")
    assert counts(job) == ("done", 1, 0, 2)
    assert [detail for *_, detail in problems(await rows_of(callers.supplier, job))] == [
        "this is not UTF-8",
        "there is a character U+0000 in it",
    ]
    assert (await world.levels())[100] == 6


async def test_too_many_unreadable_rows_are_another_kind_of_file(
    callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.inventory.stock_files.rows.UNREADABLE_LIMIT_ROWS", 2)
    answer = await send(callers.supplier, "sku,on_hand\nA,x\nB,y\nC,z\n")
    assert answer.status == 422
    assert "line 4 (on_hand: 'z' is no whole number)" in answer.body["detail"]


async def test_a_dry_run_says_what_would_change_and_changes_nothing(world: World, callers: Callers) -> None:
    job = await imported(callers.supplier, "sku,adjustment\nT01-S,5\nT01-L,0\nNONE,1\n", dry_run="true")
    assert counts(job) == ("done", 1, 1, 1)
    first, second = await rows_of(callers.supplier, job)
    assert {
        name: first[name] for name in ("row", "status", "sku", "product_id", "on_hand_before", "on_hand_after")
    } == {
        "row": 1,
        "status": "changed",
        "sku": "T01-S",
        "product_id": 100,
        "on_hand_before": 10,
        "on_hand_after": 15,
    }
    assert (first["available_before"], first["available_after"], second["status"]) == (10, 15, "refused")
    assert (await world.levels())[100] == 10
    assert await world.told() == []


class TestAllOrNothing:
    async def test_a_good_file_goes_in_whole(self, world: World, callers: Callers) -> None:
        job = await imported(callers.supplier, "sku,on_hand\nT01-S,5\nT01-L,10\n", mode="all")
        assert (counts(job), job["rows_done"], job["progress"]) == (("done", 1, 1, 0), 2, 1)
        assert (await world.levels())[100] == 5
        assert len(await world.told(StockChanged)) == 1

    async def test_one_bad_row_keeps_all_out(
        self, world: World, callers: Callers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(api, "CHUNK_ROWS", 2)
        job = await imported(callers.supplier, "sku,on_hand\nT01-S,5\nT01-L,6\nS7,7\nNONE,8\nS7,9\n", mode="all")
        assert counts(job) == ("failed", 0, 0, 1)
        assert "1 rows are refused, so nothing was changed" in job["reason"]
        assert problems(await rows_of(callers.supplier, job)) == [(4, 5, "sku", "'NONE' is none of your items'")]
        assert await world.levels() == {100: 10, 101: 10, 200: 10, 202: 10, 900: 0}
        assert await world.told() == []

    async def test_a_row_that_turns_bad_meanwhile_undoes_what_was_written(
        self, world: World, callers: Callers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def gone_by_now(*arguments: Any) -> Any:  # noqa: ANN401 - of `write_rows`
            session, job, rows = arguments
            changed = [row._replace(sku="NONE") if row.sku == "T01-L" else row for row in rows]
            return await write_rows(session, job, changed)

        monkeypatch.setattr(api, "CHUNK_ROWS", 1)
        monkeypatch.setattr(importing, "write_rows", gone_by_now)
        job = await imported(callers.supplier, "sku,on_hand\nT01-S,5\nT01-L,6\n", mode="all")
        assert counts(job) == ("failed", 0, 0, 1)
        assert (await world.levels())[100] == 10


async def test_two_imports_of_one_supplier_go_in_as_they_came_while_orders_go_on(
    world: World, callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "CHUNK_ROWS", 3)
    monkeypatch.setattr(importing, "TURN_SECONDS", 0)
    await world.hear(*(stock_product(1000 + n, f"P{n}") for n in range(60)))
    backwards = "".join(f"P{n},1000\n" for n in reversed(range(60)))
    more = "".join(f"P{n},7\n" for n in range(60))

    async def orders() -> None:
        for n in range(40):
            await world.hear(order((1000 + n, None, 1), (1000 + n + 20, None, 1)))

    first, second, _ = await asyncio.gather(
        send(callers.supplier, "sku,on_hand\n" + backwards),
        send(callers.supplier, "sku,adjustment\n" + more),
        orders(),
    )
    jobs = [await ended(callers.supplier, answer) for answer in (first, second)]

    assert [counts(job) for job in jobs] == [("done", 60, 0, 0), ("done", 60, 0, 0)]
    await world.assert_the_ledger_explains_every_level()
    changes = dict(
        await world.rows("""
        select product_id, cast(sum(on_hand_delta) as bigint) from stock_ledger where kind = 'order' group by 1
    """)
    )
    assert sum(changes.values()) == -80


async def test_a_big_import_stops_no_small_one_of_another_company(
    world: World, callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "CHUNK_ROWS", 2)
    monkeypatch.setattr(importing, "TURN_SECONDS", 0)
    big = await send(callers.supplier, "sku,adjustment\n" + "T01-S,1\n" * 400)
    small = await imported(callers.other_supplier, "sku,on_hand\nT01-S,3\n")
    assert counts(small) == ("done", 1, 0, 0)
    still = (await callers.supplier.get(big.headers["Location"])).body
    assert still["state"] in {"received", "running"}, still
    assert counts(await ended(callers.supplier, big)) == ("done", 400, 0, 0)
    assert (await world.levels())[100] == 410


class TestUnderAKey:
    """`Idempotency-Key`: a file of adjustments whose answer was lost can be sent again."""

    async def deliver(self, client: Client, content: str, key: str = "k1", **query: str) -> Answer:
        headers = {"Content-Type": "text/csv", HEADER: key}
        return await client.post(IMPORTS, params=query, data=io.BytesIO(content.encode()), headers=headers)

    async def test_the_same_file_again_is_answered_the_same_and_adds_nothing(
        self, world: World, callers: Callers
    ) -> None:
        first = await self.deliver(callers.supplier, "sku,adjustment\nT01-S,5\n")
        await ended(callers.supplier, first)
        again = await self.deliver(callers.supplier, "sku,adjustment\nT01-S,5\n")
        assert (again.status, again.body, again.headers.get(REPLAYED)) == (202, first.body, "true")
        assert again.headers["Location"] == first.headers["Location"]
        assert [one["id"] for one in (await callers.supplier.get(IMPORTS)).body["items"]] == [first.body["id"]]
        assert (await world.levels())[100] == 15

    async def test_another_file_or_query_under_the_key_is_refused(self, world: World, callers: Callers) -> None:
        await ended(callers.supplier, await self.deliver(callers.supplier, "sku,adjustment\nT01-S,5\n"))
        for content, query in (("sku,adjustment\nT01-S,6\n", {}), ("sku,adjustment\nT01-S,5\n", {"mode": "all"})):
            other = await self.deliver(callers.supplier, content, **query)
            assert (other.status, other.body["code"]) == (422, "idempotency_key_reused"), other.body
        assert (await world.levels())[100] == 15
        states = [one["state"] for one in (await callers.supplier.get(IMPORTS)).body["items"]]
        assert states == ["failed", "failed", "done"]

    async def test_a_file_that_was_refused_leaves_its_key_free(self, world: World, callers: Callers) -> None:
        assert (await self.deliver(callers.supplier, "sku,amount\nT01-S,5\n")).status == 422
        await ended(callers.supplier, await self.deliver(callers.supplier, "sku,adjustment\nT01-S,5\n"))
        assert (await world.levels())[100] == 15

    async def test_two_at_once_are_one_import(self, world: World, callers: Callers) -> None:
        answers = await asyncio.gather(
            *(self.deliver(callers.supplier, "sku,adjustment\n" + "T01-S,1\n" * 5) for _ in range(3))
        )
        assert {answer.body["id"] for answer in answers} == {answers[0].body["id"]}
        assert sorted(answer.headers.get(REPLAYED, "") for answer in answers) == ["", "true", "true"]
        await ended(callers.supplier, answers[0])
        assert (await world.levels())[100] == 15


async def test_companies_see_their_own_imports_only(callers: Callers) -> None:
    job = await imported(callers.supplier, "sku,on_hand\nT01-S,5\nNONE,1\n")
    for path in (f"{IMPORTS}/{job['id']}", f"{IMPORTS}/{job['id']}/rows"):
        assert (await callers.other_supplier.get(path)).status == 404
        assert (await callers.retailer.get(path)).status == 403
        assert (await callers.admin.get(path)).status == 200
    assert (await callers.other_supplier.get(IMPORTS)).body["items"] == []
    assert [one["id"] for one in (await callers.admin.get(IMPORTS)).body["items"]] == [job["id"]]
    assert (await send(callers.retailer, "sku,on_hand\n")).status == 403
    assert (await send(callers.admin, "sku,on_hand\n")).status == 422
    by_admin = await imported(callers.admin, "sku,on_hand\nT01-S,3\n", supplier_id=str(OTHER_SUPPLIER))
    assert (by_admin["supplier_id"], counts(by_admin)) == (OTHER_SUPPLIER, ("done", 1, 0, 0))


async def test_a_company_has_so_many_imports_under_way_and_no_more(
    world: World, callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "OPEN_IMPORTS_LIMIT", 1)
    await world.rows(f"""
        insert into stock_imports (supplier_id, kind, source, actor, mode, dry_run, location, state, leased_until)
        values ({SUPPLIER}, 'csv_import', 'csv', 'key 7', 'rows', false, 'main', 'receiving',
            clock_timestamp() + interval '1 hour')
        returning import_id
    """)
    refused = await send(callers.supplier, "sku,on_hand\n")
    assert (refused.status, refused.body["code"]) == (429, "too_many_imports")
    assert counts(await imported(callers.other_supplier, "sku,on_hand\nT01-S,1\n")) == ("done", 1, 0, 0)


async def test_a_file_may_be_longer_than_other_bodies_and_flows_in(callers: Callers) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"sku,on_hand,name\n"
        for _ in range(BODY_LIMIT_BYTES // 2**18 + 1):
            yield (b"T01-S,5," + b"x" * 1000 + b"\n") * 260

    answer = await send(callers.supplier, pieces())
    job = await ended(callers.supplier, answer)
    assert (job["state"], job["changed"], job["rows"]) == ("done", 1, (BODY_LIMIT_BYTES // 2**18 + 1) * 260)


async def test_a_file_that_breaks_off_leaves_a_failed_import_that_changed_nothing(
    world: World, callers: Callers
) -> None:
    class HungUpError(Exception):
        """The client is gone."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"sku,on_hand\nT01-S,5\n"
        await eventually("it is being received", receiving)
        raise HungUpError

    async def receiving() -> bool:
        return bool((await callers.supplier.get(IMPORTS)).body["items"])

    async def failed() -> bool:
        (job,) = (await callers.supplier.get(IMPORTS)).body["items"]
        return bool(job["state"] == "failed" and "did not come in whole" in job["reason"])

    with pytest.raises(Exception):  # noqa: B017, PT011 - aiohttp wraps it
        await send(callers.supplier, pieces())
    await eventually("it has failed", failed)
    assert (await world.levels())[100] == 10


async def test_a_worker_that_died_is_followed_by_one_that_goes_on(
    world: World, callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chunk that it was writing has no effect, and the import goes on behind the last one committed."""
    monkeypatch.setattr(api, "CHUNK_ROWS", 1)
    monkeypatch.setattr(store, "LEASE_SECONDS", 1)
    reached, count_results = asyncio.Event(), store.count_results

    async def dying(*arguments: Any) -> None:  # noqa: ANN401 - of `count_results`
        if arguments[2][0].row.number == 2 and not reached.is_set():
            reached.set()
            raise LeaseLostError  # as if it had died: the chunk is written and not committed, the lease runs on
        await count_results(*arguments)

    monkeypatch.setattr(store, "count_results", dying)
    job = await imported(callers.supplier, "sku,adjustment\nT01-S,1\nT01-S,1\nT01-S,1\n")
    assert reached.is_set()
    assert counts(job) == ("done", 3, 0, 0)
    assert (await world.levels())[100] == 13
    await world.assert_the_ledger_explains_every_level()


@pytest.mark.parametrize("mode", ["rows", "all"])
async def test_what_a_worker_writes_after_another_has_its_import_is_undone(
    world: World, database_dsn: str, mode: str
) -> None:
    """Claimed by hand, without any worker: the first one was only slow, and goes on where its lease is over."""
    bus = InProcessBus(publish_timeout_seconds=10)
    context = Context("inventory", Settings(dsn=database_dsn), world.database, bus)
    async with world.database.transaction() as session:
        await add_by_hand(session, mode)
        slow = await store.claim(session, whole_too=True)
    await world.rows("update stock_imports set leased_until = clock_timestamp() - interval '1 s' returning 1")
    async with world.database.transaction() as session:
        heir = await store.claim(session, whole_too=True)
    assert slow is not None
    assert heir is not None
    assert (slow.attempt, heir.attempt) == (1, 2)
    with pytest.raises(LeaseLostError):
        await importing.run_import(context, slow)
    assert (await world.levels())[100] == 10
    await importing.run_import(context, heir)
    assert (await world.levels())[100] == 12
    with pytest.raises(LeaseLostError):
        await importing.run_import(context, slow)
    assert (await world.levels())[100] == 12
    await world.assert_the_ledger_explains_every_level()


async def test_a_file_in_one_transaction_needs_no_connection_that_its_waiters_may_have(
    world: World, database_dsn: str
) -> None:
    """With one connection in all, which it has itself: as if those who wait for its items had all others."""
    database = Database("inventory", database_dsn, pool_size=1)
    bus = InProcessBus(publish_timeout_seconds=10)
    context = Context("inventory", Settings(dsn=database_dsn), database, bus)
    async with database.transaction() as session:
        await add_by_hand(session, "all")
        job = await store.claim(session, whole_too=True)
    assert job is not None
    async with asyncio.timeout(5):  # who waits for a connection waits 10 seconds
        await importing.run_import(context, job)
    await database.close()
    assert (await world.levels())[100] == 12


async def add_by_hand(session: Session, mode: str) -> None:
    """An import of two rows, one unit of 100 each, that is received."""
    import_id = await store.add_import(
        session,
        supplier_id=SUPPLIER,
        kind="csv_import",
        source="csv",
        actor="key 7",
        mode=mode,
        dry_run=False,
        writes=None,
        location="main",
        as_of=None,
        traceparent=None,
    )
    rows = [Row(number, number + 1, sku="T01-S", quantity=1) for number in (1, 2)]
    await store.add_chunk(session, import_id, rows)
    await store.finish_receiving(session, import_id, len(rows), "adjustment")


async def test_a_chunk_is_not_committed_when_the_one_before_it_fails(
    world: World, callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third chunk is decided while the second one is saved, which fails: neither has had any effect."""
    monkeypatch.setattr(api, "CHUNK_ROWS", 1)
    monkeypatch.setattr(store, "LEASE_SECONDS", 1)
    third_is_written, failed = asyncio.Event(), asyncio.Event()
    hold = store.hold

    async def watched(*arguments: Any) -> Any:  # noqa: ANN401 - of `write_rows`
        results = await write_rows(*arguments)
        if arguments[2][0].number == 3:
            third_is_written.set()
        return results

    async def failing(session: Session, import_id: int, attempt: int) -> None:
        if attempt == 1 and await world.rows("select 1 from stock_imports where rows_done = 1"):
            await asyncio.wait_for(third_is_written.wait(), DEADLINE_SECONDS)
            failed.set()
            raise LeaseLostError
        await hold(session, import_id, attempt)

    monkeypatch.setattr(importing, "write_rows", watched)
    monkeypatch.setattr(store, "hold", failing)
    monkeypatch.setattr(importing, "TURN_SECONDS", DEADLINE_SECONDS)
    job = await imported(callers.supplier, "sku,adjustment\nT01-S,1\nT01-L,1\nS7,1\n")
    assert failed.is_set()
    assert counts(job) == ("done", 3, 0, 0)
    entries = await world.rows("select product_id from stock_ledger where kind = 'csv_import' order by entry_id")
    assert [entry[0] for entry in entries] == [100, 101, 200]
    await world.assert_the_ledger_explains_every_level()


async def test_an_import_that_cannot_be_carried_out_fails_and_the_next_is_carried_out(
    callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*arguments: Any) -> Any:  # noqa: ANN401 - of `write_rows`
        if arguments[2][0].sku == "T01-S":
            raise RuntimeError
        return await write_rows(*arguments)

    monkeypatch.setattr(importing, "write_rows", broken)
    job = await imported(callers.supplier, "sku,on_hand\nT01-S,5\n")
    assert (job["state"], job["reason"]) == ("failed", importing.STOPPED)
    assert counts(await imported(callers.supplier, "sku,on_hand\nT01-L,5\n")) == ("done", 1, 0, 0)


async def test_uploads_whose_receiver_died_are_given_up_and_old_imports_forgotten(
    world: World, callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await imported(callers.supplier, "sku,on_hand\nNONE,5\n")
    ((lost,),) = await world.rows(f"""
        insert into stock_imports (supplier_id, kind, source, actor, mode, dry_run, location, state, leased_until)
        values ({SUPPLIER}, 'csv_import', 'csv', 'key 7', 'rows', false, 'main', 'receiving', clock_timestamp())
        returning import_id
    """)
    async with world.database.transaction() as session:
        assert not await store.purge(session, 14)
        await store.fail_lost_uploads(session, LOST_UPLOAD)
    assert (await callers.supplier.get(f"{IMPORTS}/{lost}")).body["reason"] == LOST_UPLOAD
    await world.rows(f"""
        update stock_imports set finished_at = clock_timestamp() - interval '15 days' where import_id = {job["id"]}
        returning 1
    """)
    monkeypatch.setattr(store, "PURGE_ROWS_AT_ONCE", 1)
    async with world.database.transaction() as session:
        assert await store.purge(session, 14)
    async with world.database.transaction() as session:
        assert await store.purge(session, 14)
    assert (await callers.supplier.get(f"{IMPORTS}/{job['id']}")).status == 404
    assert await world.rows("select 1 from stock_import_rows") == []


def test_the_service_forgets_and_carries_out_imports() -> None:
    assert {importing.carry_out_imports, importing.tidy_imports} <= {*SERVICE.workers}
