"""`basestock stock` against a running system: levels in and out as files, and what a death in the middle leaves."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.app import Client
from tests.end_to_end.system import ADMIN_KEY, SUPPLIER, System, eventually
from tests.end_to_end.test_command_line import end_leases, output_of, up

OTHER, ITEMS = 7, 12_000


async def test_levels_go_out_are_edited_and_come_in_again(embedded_system: System, tmp_path: Path) -> None:
    file = tmp_path / "stock.csv"
    environment = {"BASESTOCK_ADMIN_KEY": ADMIN_KEY, "BASESTOCK_URL": embedded_system.url}
    owner = ("--owner", str(SUPPLIER))

    async def stock_is_known() -> bool:
        return bool((await embedded_system.admin.get("/v1/stock")).body["items"])

    await eventually("inventory knows the products", stock_is_known)
    exported = await output_of("stock", "export", str(file), *owner, **environment)
    header, *rows = file.read_text(encoding="utf-8").splitlines()
    sku = rows[0].split(",")[0]
    same = await output_of("stock", "import", str(file), *owner, **environment)
    file.write_text(f"{header}\n{sku},77\nNONE,1\n")
    dry = await output_of("stock", "import", str(file), "--dry-run", *owner, **environment)
    together = await output_of("stock", "import", str(file), "--all-or-nothing", *owner, **environment)
    each = await output_of("stock", "import", str(file), *owner, **environment)
    on_screen = await output_of("stock", "export", "--columns", "location", *owner, **environment)

    assert (exported[0], same[0], dry[0], together[0], each[0], on_screen[0]) == (0, 0, 1, 1, 1, 0), (same, each)
    assert header == "sku,quantity_available"
    assert f"{len(rows)} rows 0 changed, {len(rows)} unchanged, 0 refused." in same[1]
    assert "2 rows would be 1 changed, 0 unchanged, 1 refused." in dry[1]
    assert "1 rows are refused, so nothing was changed" in together[1]
    assert "row 2 (line 3) NONE: sku: 'NONE' is none of your items'" in each[1]
    assert "2 rows 1 changed, 0 unchanged, 1 refused." in each[1]
    assert f"{sku},77,main" in on_screen[1].splitlines()


async def test_what_cannot_be_done_is_told_in_a_sentence(embedded_system: System, tmp_path: Path) -> None:
    file = tmp_path / "stock.csv"
    file.write_text("sku,quantity\nA,1\n")
    there = ["--url", embedded_system.url, "--owner", str(SUPPLIER)]
    status, output = await output_of("stock", "import", str(file), *there, BASESTOCK_ADMIN_KEY=ADMIN_KEY)
    assert (status, "there is no column 'quantity'" in output, "Traceback" in output) == (1, True, False), output


@pytest.mark.parametrize("mode", ["rows", "all"])
async def test_an_import_that_dies_with_its_process_is_carried_out_by_the_next_and_nothing_twice(
    tmp_path: Path, mode: str
) -> None:
    environment = {"BASESTOCK_ADMIN_KEY": ADMIN_KEY}
    products = "type,sku,name\n" + "".join(f"stock,S{number},Thing\n" for number in range(ITEMS))
    content = "sku,adjustment\n" + "".join(f"S{number},5\n" for number in range(ITEMS))
    query = {"mode": mode, "supplier_id": str(OTHER)}
    async with up(tmp_path / "data", **environment) as first, Client(first.url, ADMIN_KEY) as admin:
        await admin.post("/v1/companies", {"id": OTHER, "ref": "other", "name": "Other", "role": "supplier"})
        await admin.post(
            "/v1/products/import", params={"format": "csv", "owner_id": str(OTHER)}, data=products.encode()
        )

        async def all_are_stocked() -> bool:
            answer = await admin.get("/v1/stock/export", params={"supplier_id": str(OTHER)})
            return answer.status == 200 and len(answer.body.splitlines()) == ITEMS + 1

        await eventually("inventory keeps the stock of all products", all_are_stocked, seconds=90)
        answer = await admin.post("/v1/stock/imports", params=query, data=content.encode())
        path = answer.headers["Location"]
        while not 0 < (job := (await admin.get(path)).body)["rows_done"] < job["rows"]:
            assert job["state"] in {"received", "running"}, job
            await asyncio.sleep(0.005)
        await first.end(signal.SIGKILL)
    await end_leases(tmp_path / "data", "inventory.stock_imports")
    async with up(tmp_path / "data", **environment) as second, Client(second.url, ADMIN_KEY) as admin:

        async def is_done() -> bool:
            return bool((await admin.get(path)).body["state"] == "done")

        await eventually("the import is done, the dead worker's lease being over", is_done, seconds=90)
        job = (await admin.get(path)).body
        assert [job[name] for name in ("rows_done", "changed", "unchanged", "refused")] == [ITEMS, ITEMS, 0, 0]
        exported = await admin.get("/v1/stock/export", params={"supplier_id": str(OTHER)})
        levels = [line.rpartition(",")[2] for line in exported.body.splitlines()[1:]]
        assert levels == ["5"] * ITEMS
