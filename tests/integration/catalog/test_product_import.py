"""Files of products through the API: jobs, row results, links by SKU in any order, and what is never half done."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import text

from demo.orders_file import read_orders_file
from demo.plan import assortment_of
from demo.replay import products_of as rows_of_assortment
from services.catalog import importing
from services.catalog.import_batch import save_batch
from services.catalog.service import SERVICE
from services.catalog.store import imports as store
from services.catalog.store import old_imports
from services.catalog.store.product_changes import ChangedMeanwhileError
from shared import clock, repeating
from shared.database import Database, Session
from shared.events.catalog import ProductChanged
from shared.http import BODY_LIMIT_BYTES
from shared.import_jobs import LOST_UPLOAD
from shared.messaging.in_process import InProcessBus
from shared.service_context import Context
from shared.settings import Settings
from tests.app import Answer, Client
from tests.integration.catalog.conftest import RETAILER_A, SEEDS, SUPPLIER_A, SUPPLIER_B, Catalog

IMPORT = "/v1/products/import"
DEADLINE_SECONDS = 60
REAL_ORDERS = Path(__file__).parent.parent.parent.parent / "demo" / "data" / "online-retail.csv"

# The seeds' catalogue by SKU, each product before what it needs.
SEEDS_BY_SKU: list[dict[str, Any]] = [
    {
        "type": "customisable",
        "sku": "T01",
        "name": "T-shirt",
        "variants": [
            {"sku": "T01-S", "attributes": [{"name": "Size", "value": "Small"}], "base_stock_sku": "T01-S"},
            {"sku": "T01-L", "attributes": [{"name": "Size", "value": "Large"}], "base_stock_sku": "T01-L"},
        ],
    },
    {"type": "customisable", "sku": "S7", "name": "S7 case, yours", "base_stock_sku": "S7"},
    {"type": "stock_customisable", "sku": "S7", "name": "S7 case, both"},
    {"type": "stock", "sku": "S7", "name": "S7 case"},
    {"type": "stock", "sku": "T01-L", "name": "T-shirt, large"},
    {"type": "stock", "sku": "T01-S", "name": "T-shirt, small"},
]
OUR_SHIRT = {"type": "virtual", "sku": "T01", "name": "Our T-shirt", "base_sku": "T01"}

CSV = """\
type;sku;name;variant_sku;attributes;stock_sku;quantity
customisable;T01;T-shirt;T01-S;Size=Small;T01-S;
stock;T01-S;T-shirt, small;;;;
customisable;KIT;Shirts and a case;;;T01-S;2
stock;S7;S7 case;;;;
customisable;T01;;T01-L;Size=Large;T01-L;
stock;T01-L;T-shirt, large;;;;
customisable;KIT;;;;S7;1
"""


def ndjson(*products: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(product).encode() + b"\n" for product in products)


async def send(client: Client, content: bytes | AsyncIterator[bytes], **query: str | int) -> Answer:
    params = {name: str(value) for name, value in query.items()}
    kind = "text/csv" if isinstance(content, bytes) and content.startswith(b"type") else "application/x-ndjson"
    return await client.post(IMPORT, params=params, data=content, headers={"Content-Type": kind})


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


def counts(job: dict[str, Any]) -> dict[str, int]:
    return {name: job[name] for name in ("created", "changed", "unchanged", "refused") if job[name]}


async def rows_of(client: Client, job: dict[str, Any], **query: str) -> list[dict[str, Any]]:
    answer = await client.get(f"/v1/products/imports/{job['id']}/rows", params={"limit": "200", **query})
    assert answer.status == 200, answer.body
    rows: list[dict[str, Any]] = answer.body["items"]
    return rows


async def products_of(catalog: Catalog, owner_id: int) -> dict[tuple[str, str], dict[str, Any]]:
    """A company's products by type and SKU, links by SKU, without ids and versions."""
    items = (await catalog.admin.get("/v1/products", params={"owner_id": str(owner_id), "limit": "200"})).body["items"]
    names = {item["id"]: (item["type"], item["sku"]) for item in items}

    def link(part: dict[str, Any]) -> list[tuple[object, int]]:
        return [(names.get(item["product_id"]), item["quantity"]) for item in part["components"]]

    return {
        (item["type"], item["sku"]): {
            **{name: item[name] for name in ("name", "barcode", "visibility")},
            "base": names.get(item["base_product_id"], item["base_product_id"]),
            "link": link(item),
            "variants": [(part["sku"], part["attributes"], link(part)) for part in item["variants"]],
        }
        for item in items
    }


async def test_products_come_in_any_order_with_links_by_sku(seeds: Catalog) -> None:
    supplier = await seeds.client_of(SUPPLIER_B)

    job = await ended(supplier, await send(supplier, ndjson(*SEEDS_BY_SKU)))

    assert (job["state"], job["progress"], job["rows"], counts(job)) == ("done", 1, 6, {"created": 6})
    assert await products_of(seeds, SUPPLIER_B) == await products_of(seeds, SUPPLIER_A)
    rows = await rows_of(supplier, job)
    assert [(row["row"], row["line"], row["sku"], row["status"], row["errors"]) for row in rows] == [
        (number, number, product["sku"], "created", []) for number, product in enumerate(SEEDS_BY_SKU, start=1)
    ]
    shirt = (await supplier.get(f"/v1/products/{rows[0]['product_id']}")).body
    events = {event.product_id: event for event in await seeds.published(ProductChanged)}
    event = events[rows[0]["product_id"]]
    assert [(item.variant_id, item.sku, item.components[0].product_id) for item in event.variants] == [
        (variant["id"], variant["sku"], variant["base_stock_product_id"]) for variant in shirt["variants"]
    ]
    assert all(events[row["product_id"]].version == 1 for row in rows)


async def test_rows_of_a_csv_file_with_one_type_and_sku_are_one_product(companies: Catalog) -> None:
    supplier = await companies.client_of(SUPPLIER_A)

    job = await ended(supplier, await send(supplier, CSV.encode()))

    assert (job["format"], job["rows"], job["rows_done"], counts(job)) == ("csv", 7, 7, {"created": 5})
    found = await products_of(companies, SUPPLIER_A)
    assert [(sku, link) for sku, _, link in found["customisable", "T01"]["variants"]] == [
        ("T01-S", [(("stock", "T01-S"), 1)]),
        ("T01-L", [(("stock", "T01-L"), 1)]),
    ]
    assert found["customisable", "KIT"]["link"] == [(("stock", "T01-S"), 2), (("stock", "S7"), 1)]
    rows = await rows_of(supplier, job)
    assert rows[0]["product_id"] == rows[4]["product_id"]


async def test_the_same_file_again_changes_nothing_and_what_differs_is_changed(companies: Catalog) -> None:
    supplier = await companies.client_of(SUPPLIER_A)
    await ended(supplier, await send(supplier, ndjson(*SEEDS_BY_SKU)))
    events = len(await companies.published(ProductChanged))

    again = await ended(supplier, await send(supplier, ndjson(*SEEDS_BY_SKU)))
    renamed = {"type": "customisable", "sku": "T01", "name": "Printed shirt"}
    changed = await ended(supplier, await send(supplier, ndjson(renamed, SEEDS_BY_SKU[3])))

    assert (counts(again), counts(changed)) == ({"unchanged": 6}, {"changed": 1, "unchanged": 1})
    found = await products_of(companies, SUPPLIER_A)
    assert found["customisable", "T01"]["name"] == "Printed shirt"
    assert len(found["customisable", "T01"]["variants"]) == 2
    assert len(await companies.published(ProductChanged)) == events + 1


async def test_good_rows_go_in_and_bad_ones_are_told_with_their_reasons(companies: Catalog) -> None:
    supplier = await companies.client_of(SUPPLIER_A)
    bad = [
        b"{oops\n",
        ndjson({"type": "stock", "sku": "S8"}),
        ndjson({"type": "stock", "sku": "S9", "name": "x", "base_stock_sku": "S7"}),
        ndjson({"type": "customisable", "sku": "C1", "name": "x", "base_stock_sku": "s7"}),
        ndjson({"type": "customisable", "sku": "C2", "name": "x", "base_stock_sku": "S8"}),
        ndjson({"type": "virtual", "sku": "V1", "name": "x", "base_sku": "S7"}),
        ndjson({"type": "stock", "sku": "D", "name": "x"}, {"type": "stock", "sku": "D", "name": "y"}),
        ndjson({"type": "stock", "sku": "ID", "name": "x", "id": 77}),
        ndjson({"type": "stock", "sku": "W", "name": "x", "visibility": [SUPPLIER_B]}),
    ]

    job = await ended(supplier, await send(supplier, ndjson(*SEEDS_BY_SKU) + b"".join(bad)))

    assert (job["state"], counts(job)) == ("done", {"created": 6, "refused": 9})
    refused = await rows_of(supplier, job, status="refused")
    assert [(row["row"], row["sku"], [error["field"] for error in row["errors"]]) for row in refused] == [
        (7, None, ["row"]),
        (8, "S8", ["name"]),
        (9, "S9", ["components"]),
        (10, "C1", ["components[0].sku"]),
        (11, "C2", ["components[0].sku"]),
        (12, "V1", ["base_sku"]),
        (13, "D", ["sku"]),
        (14, "D", ["sku"]),
        (15, "ID", ["id"]),
        (16, "W", ["visibility[0]"]),
    ]
    assert len(await products_of(companies, SUPPLIER_A)) == 6


async def test_one_bad_row_of_a_csv_product_keeps_the_whole_product_out(companies: Catalog) -> None:
    supplier = await companies.client_of(SUPPLIER_A)
    spoilt = CSV.replace("T01-L;Size=Large;T01-L;", "T01-L;Size=Large;T01-XL;").replace(";S7;1", ";S7;none")

    job = await ended(supplier, await send(supplier, spoilt.encode()))

    assert counts(job) == {"created": 3, "refused": 2}
    refused = {row["row"]: row["errors"] for row in await rows_of(supplier, job, status="refused")}
    assert [(number, errors[0]["field"]) for number, errors in refused.items()] == [
        (1, "row"),
        (3, "row"),
        (5, "stock_sku"),
        (7, "quantity"),
    ]
    assert "T01-XL" in refused[5][0]["detail"]


@pytest.mark.parametrize("how", [{"mode": "rows"}, {"mode": "all"}, {"dry_run": "true"}])
async def test_a_product_of_too_many_rows_is_refused_before_they_are_read(
    companies: Catalog, how: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    supplier = await companies.client_of(SUPPLIER_A)
    monkeypatch.setattr(store, "PRODUCT_LIMIT_ROWS", 2)
    read: list[store.FileProduct] = []
    tries = 0

    async def save_and_note(session: Session, job: store.Job, batch: list[store.FileProduct]) -> object:
        nonlocal tries
        tries += 1
        read.extend(batch)
        if tries == 1:  # begun again, what was refused before stays refused
            raise ChangedMeanwhileError
        return await save_batch(session, job, batch)

    monkeypatch.setattr(importing, "save_batch", save_and_note)
    spoilt = CSV + "customisable;T01;;T01-XL;;S7;\n"
    job = await ended(supplier, await send(supplier, spoilt.encode(), **how))

    done = 3 if how == {"mode": "all"} else 8  # undone, only what was refused stays told
    assert (job["rows"], job["rows_done"], job["refused"]) == (8, done, 1)
    assert {number for item in read for number in item.row_numbers} == {2, 3, 4, 6, 7}
    refused = await rows_of(supplier, job, status="refused")
    assert [(row["row"], row["errors"][0]["field"]) for row in refused] == [(1, "row"), (5, "row"), (8, "row")]


@pytest.mark.parametrize("how", [{"mode": "all"}, {"dry_run": "true"}])
async def test_a_file_of_which_not_all_is_good_or_that_only_asks_changes_nothing(
    companies: Catalog, how: dict[str, str]
) -> None:
    supplier = await companies.client_of(SUPPLIER_A)
    bad = {"type": "customisable", "sku": "C1", "name": "x", "base_stock_sku": "nothing"}

    job = await ended(supplier, await send(supplier, ndjson(*SEEDS_BY_SKU, bad), **how))

    told = [(row["status"], row["product_id"]) for row in await rows_of(supplier, job)]
    if "mode" in how:
        assert (job["state"], job["rows_done"], counts(job)) == ("failed", 1, {"refused": 1})
        assert told == [("pending", None)] * 6 + [("refused", None)]
    else:
        assert (job["state"], job["rows_done"], counts(job)) == ("done", 7, {"created": 6, "refused": 1})
        assert told == [("created", None)] * 6 + [("refused", None)]
    assert await products_of(companies, SUPPLIER_A) == {}
    assert await companies.published(ProductChanged) == []


@pytest.mark.parametrize("how", [{"mode": "all"}, {"dry_run": "true"}])
async def test_a_file_that_is_one_transaction_keeps_nobody_from_creating_products(
    companies: Catalog, how: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    supplier = await companies.client_of(SUPPLIER_A)
    under_way, go_on = asyncio.Event(), asyncio.Event()

    async def save_and_wait(*arguments: Any) -> object:  # noqa: ANN401 - as it is given
        saved = await save_batch(*arguments)
        under_way.set()
        await go_on.wait()
        return saved

    monkeypatch.setattr(importing, "save_batch", save_and_wait)
    rows = [SEEDS_BY_SKU[4], SEEDS_BY_SKU[5] | {"id": 5000}]
    sent = await send(companies.admin, ndjson(*rows), owner_id=SUPPLIER_A, **how)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await under_way.wait()
    body = {"type": "stock", "name": "x"}
    chosen = await companies.admin.post("/v1/products", body | {"sku": "A", "owner_id": SUPPLIER_A, "id": 6000})
    next_one = await supplier.post("/v1/products", body | {"sku": "B"})
    go_on.set()

    assert (chosen.status, next_one.status, next_one.body["id"]) == (201, 201, 6001)
    assert counts(await ended(companies.admin, sent)) == {"created": 2}


async def test_a_dry_run_uses_up_no_ids_and_names_none(seeds: Catalog) -> None:
    supplier, other = await seeds.client_of(SUPPLIER_A), await seeds.client_of(SUPPLIER_B)
    before = await seeds.query("select last_value, is_called from catalog.product_ids")
    chosen = {"type": "stock", "sku": "X", "name": "x", "id": 10**6}

    new = await ended(other, await send(other, ndjson(*SEEDS_BY_SKU), dry_run="true"))
    renamed = SEEDS_BY_SKU[0] | {"name": "Printed shirt"}
    known = await ended(supplier, await send(supplier, ndjson(renamed, SEEDS_BY_SKU[3]), dry_run="true"))
    by_admin = await ended(seeds.admin, await send(seeds.admin, ndjson(chosen), owner_id=SUPPLIER_A, dry_run="true"))

    assert (counts(new), counts(known), counts(by_admin)) == (
        {"created": 6},
        {"changed": 1, "unchanged": 1},
        {"created": 1},
    )
    assert {row["product_id"] for row in await rows_of(other, new)} == {None}
    assert [row["product_id"] for row in await rows_of(supplier, known)] == [102, 200]
    assert await seeds.query("select last_value, is_called from catalog.product_ids") == before


async def test_a_file_that_is_good_goes_in_whole(companies: Catalog) -> None:
    supplier = await companies.client_of(SUPPLIER_A)

    job = await ended(supplier, await send(supplier, ndjson(*SEEDS_BY_SKU), mode="all"))

    assert (job["state"], counts(job)) == ("done", {"created": 6})
    assert len(await products_of(companies, SUPPLIER_A)) == 6
    assert len(await companies.published(ProductChanged)) == 6


@pytest.mark.parametrize("mode", ["rows", "all"])
async def test_the_planner_knows_of_the_products_while_a_file_comes_in(companies: Catalog, mode: str) -> None:
    content = ndjson(*({"type": "stock", "sku": f"S{number}", "name": "Case"} for number in range(20)))
    await ended(companies.admin, await send(companies.admin, content, owner_id=SUPPLIER_A, mode=mode))
    (known,) = await companies.query("select reltuples from pg_class where oid = 'catalog.products'::regclass")
    assert known["reltuples"] == 20, "it would plan as if there were none"


async def test_a_retailers_own_versions_find_their_bases_at_its_suppliers(seeds: Catalog) -> None:
    retailer = await seeds.client_of(RETAILER_A)
    rows = [
        OUR_SHIRT | {"sku": "MINE-2", "base_sku": "MINE-1"},
        OUR_SHIRT | {"sku": "MINE-1", "base_type": "customisable"},
        OUR_SHIRT | {"sku": "MINE-3", "base_sku": "S7"},
        OUR_SHIRT | {"sku": "MINE-4", "base_sku": "X"},
        {"type": "stock", "sku": "MINE-5", "name": "x"},
    ]

    job = await ended(retailer, await send(retailer, ndjson(*rows)))

    assert counts(job) == {"created": 2, "refused": 3}
    found = await products_of(seeds, RETAILER_A)
    assert (found["virtual", "MINE-1"]["base"], found["virtual", "MINE-2"]["base"]) == (102, ("virtual", "MINE-1"))
    refused = await rows_of(retailer, job, status="refused")
    assert [[error["field"] for error in row["errors"]] for row in refused] == [["base_sku"], ["base_sku"], ["type"]]
    assert "201 (customisable)" in refused[0]["errors"][0]["detail"]


async def test_virtual_products_that_stand_on_one_another_come_level_by_level_and_never_in_a_circle(
    seeds: Catalog,
) -> None:
    retailer = await seeds.client_of(RETAILER_A)

    def virtual(number: int, base: int) -> dict[str, Any]:
        return {"type": "virtual", "sku": f"V{number}", "name": "V", "base_sku": f"V{base}"}

    chain = [virtual(number, number - 1) for number in range(10, 1, -1)]
    first = {"type": "virtual", "sku": "V1", "name": "V", "base_product_id": 102}
    circle = [virtual(20, 21), virtual(21, 22), virtual(22, 20)]

    job = await ended(retailer, await send(retailer, ndjson(*chain, first, *circle)))
    closing = await ended(retailer, await send(retailer, ndjson(virtual(2, 8), virtual(8, 2), virtual(1, 1))))

    assert counts(job) == {"created": 8, "refused": 5}
    assert {row["sku"] for row in await rows_of(retailer, job, status="refused")} == {"V9", "V10", "V20", "V21", "V22"}
    # V2 cannot stand on V8, so V8 may go down to V2; nothing is based on itself.
    assert counts(closing) == {"changed": 1, "refused": 2}


async def test_two_changes_of_bases_in_one_file_do_not_close_a_circle_together(seeds: Catalog) -> None:
    retailer = await seeds.client_of(RETAILER_A)
    virtual = {"type": "virtual", "name": "V"}
    # X and Y stand on 102, Z on Y, W on X; the file puts X on Z and Y on W.
    first: list[dict[str, Any]] = [
        virtual | {"sku": "X", "base_product_id": 102},
        virtual | {"sku": "Y", "base_product_id": 102},
        virtual | {"sku": "Z", "base_sku": "Y"},
        virtual | {"sku": "W", "base_sku": "X"},
    ]
    await ended(retailer, await send(retailer, ndjson(*first)))

    job = await ended(
        retailer,
        await send(retailer, ndjson(virtual | {"sku": "X", "base_sku": "Z"}, virtual | {"sku": "Y", "base_sku": "W"})),
    )

    assert counts(job) == {"changed": 1, "refused": 1}


async def test_the_platform_admin_names_the_owner_and_may_choose_ids(companies: Catalog) -> None:
    rows = [{name: value for name, value in seed.items() if name != "owner_id"} for seed in SEEDS]
    suppliers, retailers = [row for row in rows if row["id"] != 300], [row for row in rows if row["id"] == 300]

    await ended(companies.admin, await send(companies.admin, ndjson(*reversed(suppliers)), owner_id=SUPPLIER_A))
    job = await ended(companies.admin, await send(companies.admin, ndjson(*retailers), owner_id=RETAILER_A))
    taken = {"type": "stock", "sku": "X", "name": "x", "id": 300}
    twice = [taken | {"id": 500, "sku": "A"}, taken | {"id": 500, "sku": "B"}]
    refused = await ended(companies.admin, await send(companies.admin, ndjson(taken, *twice), owner_id=SUPPLIER_A))

    page = (await companies.admin.get("/v1/products")).body["items"]
    assert [item["id"] for item in page] == [100, 101, 102, 200, 201, 202, 300, 500]
    assert (counts(job), counts(refused)) == ({"created": 1}, {"created": 1, "refused": 2})
    assert (await send(companies.admin, ndjson(taken))).status == 422
    assert (await send(companies.admin, ndjson(taken), owner_id=999)).status == 422
    supplier = await companies.client_of(SUPPLIER_A)
    assert (await send(supplier, ndjson(taken), owner_id=RETAILER_A)).status == 403


async def test_companies_see_their_own_imports_only(companies: Catalog) -> None:
    supplier, stranger = await companies.client_of(SUPPLIER_A), await companies.client_of(SUPPLIER_B)
    job = await ended(supplier, await send(supplier, ndjson(*SEEDS_BY_SKU)))

    for path in (f"/v1/products/imports/{job['id']}", f"/v1/products/imports/{job['id']}/rows"):
        assert [(await client.get(path)).status for client in (supplier, companies.admin, stranger)] == [200, 200, 404]


async def test_rows_behind_any_cursor_are_none_or_some(companies: Catalog) -> None:
    job = await ended(companies.admin, await send(companies.admin, ndjson(*SEEDS_BY_SKU), owner_id=SUPPLIER_A))
    for last, left in ((4, 2), (2**31, 0), (2**63 - 2, 0)):
        cursor = base64.urlsafe_b64encode(str(last).encode()).decode()
        assert len(await rows_of(companies.admin, job, cursor=cursor)) == left


async def test_a_file_without_format_or_with_unknown_columns_is_refused_at_once(companies: Catalog) -> None:
    supplier = await companies.client_of(SUPPLIER_A)

    nothing = await supplier.post(IMPORT, data=b"x", headers={"Content-Type": "text/plain"})
    unknown = await send(supplier, b"type,sku,nmae\nstock,A,thing\n")
    utf_16 = await supplier.post(
        IMPORT, data="type,sku\nstock,A\n".encode("utf-16"), headers={"Content-Type": "text/csv"}
    )
    odd_key = await send(supplier, ndjson({"type": "stock", "sku": "A", "name": "x", "\x00": 1}, SEEDS_BY_SKU[3]))

    assert (nothing.status, nothing.body["code"]) == (422, "unknown_format")
    assert (unknown.status, [error["field"] for error in unknown.body["errors"]]) == (422, ["nmae"])
    assert (utf_16.status, "not UTF-8" in utf_16.body["detail"]) == (422, True)
    assert counts(await ended(supplier, odd_key)) == {"created": 1, "refused": 1}
    job, *_ = await companies.query("select state, reason from catalog.imports order by import_id")
    assert (job["state"], "nmae" in job["reason"]) == ("failed", True)


async def test_a_file_may_be_longer_than_other_bodies(companies: Catalog) -> None:
    supplier = await companies.client_of(SUPPLIER_A)
    line = ndjson({"type": "stock", "sku": "A", "name": "x"})

    async def long_file() -> AsyncIterator[bytes]:
        yield line
        for _ in range(BODY_LIMIT_BYTES // 65_536 + 1):
            yield b"\n" * 65_536

    assert counts(await ended(supplier, await send(supplier, long_file()))) == {"created": 1}


async def test_a_file_that_breaks_off_leaves_a_failed_import_that_changed_nothing(companies: Catalog) -> None:
    key = await companies.key_of(SUPPLIER_A)
    begun = asyncio.Event()

    async def broken() -> AsyncIterator[bytes]:
        yield ndjson(*({"type": "stock", "sku": f"S{number}", "name": "x"} for number in range(20_000)))
        begun.set()
        await asyncio.Event().wait()

    async with aiohttp.ClientSession() as session:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
        sending = asyncio.create_task(session.post(f"{companies.url}{IMPORT}", data=broken(), headers=headers))
        await begun.wait()
        deadline = clock.monotonic() + DEADLINE_SECONDS
        while not await companies.query("select from catalog.import_rows limit 1"):
            assert clock.monotonic() < deadline
            await asyncio.sleep(0.02)
        sending.cancel()
        await asyncio.wait([sending])
    while not (failed := await companies.query("select * from catalog.imports where state <> 'receiving'")):
        assert clock.monotonic() < deadline
        await asyncio.sleep(0.02)

    assert (failed[0]["state"], failed[0]["rows_done"]) == ("failed", 0)
    assert "did not come in whole" in failed[0]["reason"]
    assert await companies.query("select from catalog.products") == []


@pytest.mark.parametrize("how", [{"mode": "rows"}, {"mode": "all"}])
async def test_an_import_that_cannot_be_carried_out_fails_and_the_next_is_carried_out(
    companies: Catalog, how: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    supplier = await companies.client_of(SUPPLIER_A)

    async def fail(*_: object) -> None:
        message = "a bug"
        raise ValueError(message)

    with monkeypatch.context() as broken:
        broken.setattr(store, "place_products", fail)
        job = await ended(supplier, await send(supplier, ndjson(*SEEDS_BY_SKU), **how))
    following = await ended(supplier, await send(supplier, ndjson(*SEEDS_BY_SKU), **how))

    reason = importing.UNDONE if how["mode"] == "all" else importing.STOPPED
    assert (job["state"], job["rows_done"], job["reason"]) == ("failed", 0, reason)
    assert counts(following) == {"created": 6}


async def test_a_product_that_cannot_be_saved_is_refused_and_keeps_no_other_out(
    companies: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    supplier = await companies.client_of(SUPPLIER_A)

    sizes: list[int] = []

    async def fail_on_s7(session: Session, job: store.Job, batch: list[store.FileProduct]) -> object:
        sizes.append(len(batch))
        saved = await save_batch(session, job, batch)
        assert not any('"S7"' in str(item.bodies) and item.type == "stock" for item in batch), "a bug"
        return saved

    monkeypatch.setattr(importing, "save_batch", fail_on_s7)
    monkeypatch.setattr(importing, "BATCH_PRODUCTS", 3)
    job = await ended(supplier, await send(supplier, ndjson(*SEEDS_BY_SKU)))

    assert (job["state"], counts(job)) == ("done", {"created": 4, "refused": 2})
    # Three stock products, each of them alone, one more, and together again what links to them.
    assert sizes == [3, 1, 1, 1, 1, 2]
    refused = {(row["type"], row["sku"]): row["errors"] for row in await rows_of(supplier, job, status="refused")}
    assert refused["stock", "S7"] == [importing.BROKEN.model_dump()]
    assert [error["field"] for error in refused["customisable", "S7"]] == ["components[0].sku"]


async def test_an_upload_whose_receiver_died_is_given_up(companies: Catalog) -> None:
    await companies.query(
        "insert into catalog.imports (owner_id, format, mode, dry_run, ids_allowed, actor, state, leased_until)"
        " values ($1, 'csv', 'rows', false, false, 'key 5', 'receiving', clock_timestamp() - interval '1 second'),"
        " ($1, 'csv', 'rows', false, false, 'key 5', 'receiving', clock_timestamp() + interval '1 hour')",
        SUPPLIER_A,
    )
    database = Database("catalog", companies.dsn, pool_size=1)
    async with database.transaction() as session:
        await store.fail_lost_uploads(session, LOST_UPLOAD)
    await database.close()
    assert [row["state"] for row in await companies.query("select state from catalog.imports order by import_id")] == [
        "failed",
        "receiving",
    ]


async def test_workers_in_step_and_after_a_lost_lease_take_one_import_of_a_company_at_a_time(
    companies: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = store.claim

    async def take_none(_: Session) -> None:
        return

    monkeypatch.setattr(store, "claim", take_none)  # for the service that is running
    database = Database("catalog", companies.dsn, pool_size=2)

    async def claimed() -> int | None:
        async with database.transaction() as session:
            job = await claim(session)
        return None if job is None else job.import_id

    await companies.query(
        "insert into catalog.imports (owner_id, actor, format, mode, dry_run, ids_allowed, state)"
        " select $1, 'key 1', 'csv', 'rows', false, false, 'received' from generate_series(1, 2)",
        SUPPLIER_A,
    )
    first, _ = [row["import_id"] for row in await companies.query("select import_id from catalog.imports order by 1")]
    async with database.transaction() as session:
        job = await claim(session)
        other = asyncio.create_task(claimed())
        deadline = clock.monotonic() + DEADLINE_SECONDS
        while not other.done() and not await companies.query("select from pg_locks where not granted"):
            assert clock.monotonic() < deadline
            await asyncio.sleep(0.02)
    assert job is not None
    assert (job.import_id, await other, await claimed()) == (first, None, None)

    await companies.query("update catalog.imports set leased_until = clock_timestamp() where import_id = $1", first)
    async with database.transaction() as session:
        await session.execute(text("select from imports where import_id = :id for update"), {"id": first})
        assert await claimed() is None, "its worker is slow, and still at it"
    assert await claimed() == first
    await database.close()


async def test_old_imports_are_forgotten_with_their_rows(companies: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    supplier = await companies.client_of(SUPPLIER_A)
    old = await ended(supplier, await send(supplier, ndjson(*SEEDS_BY_SKU)))
    young = await ended(supplier, await send(supplier, ndjson(*SEEDS_BY_SKU)))
    await companies.query(
        "update catalog.imports set finished_at = finished_at - interval '14 days' where import_id = $1", old["id"]
    )
    database = Database("catalog", companies.dsn, pool_size=1)
    monkeypatch.setattr(old_imports, "PURGE_ROWS_AT_ONCE", 4)
    of_old = "select count(*) from catalog.import_rows where import_id = $1"
    for is_one, rows in ((True, 2), (True, 0), (False, 0)):
        async with database.transaction() as session:
            assert await old_imports.purge(session, 14) is is_one
        assert (await companies.query(of_old, old["id"]))[0]["count"] == rows
    await database.close()
    assert [row["import_id"] for row in await companies.query("select import_id from catalog.imports")] == [young["id"]]
    left = await companies.query("select distinct import_id from catalog.import_rows")
    assert [row["import_id"] for row in left] == [young["id"]]


@pytest.mark.parametrize("worker", [importing.carry_out_imports, importing.tidy_imports])
async def test_a_bug_does_not_end_the_workers(
    companies: Catalog, worker: Callable[[Context], Coroutine[Any, Any, None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    supplier = await companies.client_of(SUPPLIER_A)
    tried = asyncio.Semaphore(0)

    async def fail(*_: object) -> None:
        tried.release()
        message = "a bug"
        raise ValueError(message)

    monkeypatch.setattr(importing, "TIDY_SECONDS", 0.01)
    monkeypatch.setattr(repeating, "PAUSE_SECONDS", 0.01)
    database = Database("catalog", companies.dsn, pool_size=2)
    context = Context("catalog", Settings(dsn=companies.dsn), database, InProcessBus(publish_timeout_seconds=0.1))
    with monkeypatch.context() as broken:
        for name in ("claim", "fail_lost_uploads"):
            broken.setattr(store, name, fail)
        running = asyncio.create_task(worker(context))
        async with asyncio.timeout(DEADLINE_SECONDS):
            for _ in range(4):
                await tried.acquire()
    assert not running.done()
    assert counts(await ended(supplier, await send(supplier, ndjson(*SEEDS_BY_SKU)))) == {"created": 6}
    running.cancel()
    await asyncio.wait([running])
    await database.close()


async def test_a_file_in_one_transaction_needs_no_connection_that_its_waiters_may_have(
    companies: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one connection in all, which it has itself: as if those who wait for its rows had all others."""
    supplier = await companies.client_of(SUPPLIER_A)
    claim = store.claim

    async def leave_it(_: object) -> None:
        """The service's own workers take nothing."""

    monkeypatch.setattr(store, "claim", leave_it)
    started = await send(supplier, ndjson(*SEEDS_BY_SKU), mode="all")
    database = Database("catalog", companies.dsn, pool_size=1)
    context = Context("catalog", Settings(dsn=companies.dsn), database, InProcessBus(publish_timeout_seconds=0.1))
    async with database.transaction() as session:
        job = await claim(session)
    assert job is not None
    async with asyncio.timeout(5):  # who waits for a connection waits 10 seconds
        await importing.run_import(context, job)
    await database.close()
    assert counts(await ended(supplier, started)) == {"created": 6}


def test_the_service_forgets_and_carries_out_imports() -> None:
    assert {importing.carry_out_imports, importing.tidy_imports} <= set(SERVICE.workers)


@pytest.mark.parametrize("file_format", ["csv", "ndjson"])
async def test_what_is_exported_makes_the_same_products_in_an_empty_company(seeds: Catalog, file_format: str) -> None:
    supplier, other = await seeds.client_of(SUPPLIER_A), await seeds.client_of(SUPPLIER_B)
    odd = {"type": "customisable", "sku": '=1+"1"', "name": "-Odd; 'thing', or\nnot", "visibility": "connected"}
    components = [{"product_id": 202, "quantity": 2}, {"product_id": 100, "quantity": 1}]
    base = (await supplier.post("/v1/products", odd | {"components": components, "barcode": "@7"})).body["id"]
    await supplier.post("/v1/products", {"type": "virtual", "sku": "V", "name": "V", "base_product_id": base})

    exported = await supplier.get("/v1/products/export", params={"format": file_format})
    by_admin = await seeds.admin.get("/v1/products/export", params={"format": file_format, "owner_id": str(SUPPLIER_A)})
    job = await ended(other, await other.post(IMPORT, params={"format": file_format}, data=exported.body.encode()))
    again = await ended(
        supplier, await supplier.post(IMPORT, params={"format": file_format}, data=exported.body.encode())
    )

    assert counts(job) == {"created": 8}
    assert counts(again) == {"unchanged": 8}
    assert await products_of(seeds, SUPPLIER_B) == await products_of(seeds, SUPPLIER_A)
    assert by_admin.body == exported.body
    assert (await seeds.admin.get("/v1/products/export")).status == 422


async def test_a_retailers_export_names_its_suppliers_products_by_id(seeds: Catalog) -> None:
    retailer = await seeds.client_of(RETAILER_A)
    exported = (await retailer.get("/v1/products/export")).body
    assert exported.splitlines()[1].split(",")[:8] == ["virtual", "T01", "Our T-shirt", "", "private", "", "", "102"]
    assert counts(await ended(retailer, await send(retailer, exported.encode()))) == {"unchanged": 1}


async def test_a_wholesalers_real_codes_come_in_as_they_are(companies: Catalog) -> None:
    assortment = assortment_of(read_orders_file(REAL_ORDERS).lines)
    rows = rows_of_assortment(assortment)
    supplier, other = await companies.client_of(SUPPLIER_A), await companies.client_of(SUPPLIER_B)

    job = await ended(supplier, await send(supplier, ndjson(*rows), mode="all"))
    exported = (await supplier.get("/v1/products/export")).body.encode()
    elsewhere = await ended(other, await send(other, exported))

    assert (len(rows), counts(job), counts(elsewhere)) == (2125, {"created": 2125}, {"created": 2125})
    lovely = [
        (await supplier.get("/v1/products", params={"type": "stock", "sku": code})).body["items"]
        for code in ("85123A", "85123a")
    ]
    assert [[item["sku"] for item in items] for items in lovely] == [["85123A"], ["85123a"]]
    (style,) = (await other.get("/v1/products", params={"type": "customisable", "sku": "85123"})).body["items"]
    linked = [
        (await other.get(f"/v1/products/{variant['base_stock_product_id']}")).body["sku"]
        for variant in style["variants"]
    ]
    assert {"85123A", "85123a"} <= set(linked)
    assert linked == [variant["sku"] for variant in style["variants"]]
