"""`basestock products` against a running system: files in, refusals by row, files out."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.app import Client
from tests.end_to_end.system import ADMIN_KEY, RETAILER, SUPPLIER, System, eventually
from tests.end_to_end.test_command_line import end_leases, output_of, up

DOCS = Path(__file__).parent.parent.parent / "docs"
OTHER = 7


async def new_supplier(system: System) -> str:
    """Another supplier, with nothing; returns its key."""
    body = {"id": OTHER, "ref": "other", "name": "Other", "role": "supplier"}
    assert (await system.admin.post("/v1/companies", body)).status == 201
    key: str = (await system.admin.post(f"/v1/companies/{OTHER}/api-keys", {})).body["key"]
    return key


async def test_the_guides_file_goes_in_and_comes_out_and_inventory_keeps_its_stock(
    embedded_system: System, tmp_path: Path
) -> None:
    key = await new_supplier(embedded_system)
    guide, sample = (DOCS / "suppliers.md").read_text(encoding="utf-8"), DOCS / "products.csv"
    lines = sample.read_text(encoding="utf-8")
    assert "\n".join(lines.splitlines()[:6]) in guide
    environment = {"BASESTOCK_KEY": key, "BASESTOCK_URL": embedded_system.url}

    dry = await output_of("products", "import", str(sample), "--dry-run", **environment)
    done = await output_of("products", "import", str(sample), **environment)
    exported = await output_of("products", "export", str(tmp_path / "all.ndjson"), **environment)
    again = await output_of("products", "import", str(tmp_path / "all.ndjson"), **environment)
    on_screen = await output_of("products", "export", **environment)

    assert dry[0] == done[0] == exported[0] == again[0] == on_screen[0] == 0, (dry, done, exported, again)
    assert "Products would be 5 created" in dry[1]
    assert "7 rows. Products 5 created, 0 changed, 0 unchanged, 0 refused." in done[1]
    assert "Products 0 created, 0 changed, 5 unchanged" in again[1]
    assert on_screen[1].splitlines()[0].startswith("type,sku,name,")
    async with Client(embedded_system.url, key) as other:

        async def stock_is_listed() -> bool:
            answer = await other.get("/v1/stock")
            return answer.status == 200 and {item["sku"] for item in answer.body["items"]} == {"T01-S", "T01-L", "S7"}

        await eventually("inventory lists the file's stock", stock_is_listed)


async def test_refused_rows_are_told_and_the_exit_status_is_1(embedded_system: System, tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(
        "type;sku;name;base_sku;base_type\nvirtual;M1;Mine;T01;customisable\nvirtual;M2;Mine;T02;\nstock;M3;x;;\n"
    )
    environment = {"BASESTOCK_ADMIN_KEY": ADMIN_KEY}
    there = ["--url", embedded_system.url, "--owner", str(RETAILER)]

    together = await output_of("products", "import", str(file), "--all-or-nothing", *there, **environment)
    each = await output_of("products", "import", str(file), *there, **environment)

    assert together[0] == each[0] == 1
    assert "nothing was changed" in together[1]
    assert "row 2 (line 3) M2: base_sku: there is no product with the SKU 'T02' to base it on" in each[1]
    assert "row 3 (line 4) M3: type: " in each[1]
    assert "Products 1 created, 0 changed, 0 unchanged, 2 refused." in each[1]


@pytest.mark.parametrize(
    ("content", "environment", "said"),
    [
        ("type,sku\n", {}, "Set BASESTOCK_KEY"),
        ("type,sku\n", {"BASESTOCK_KEY": "bsk_wrong"}, "401"),
        ("type,sku,nmae\n" + "stock,A,x\n" * 2_000_000, {"BASESTOCK_ADMIN_KEY": ADMIN_KEY}, "nmae"),
    ],
)
async def test_what_cannot_be_done_is_told_in_a_sentence(
    embedded_system: System, tmp_path: Path, content: str, environment: dict[str, str], said: str
) -> None:
    file = tmp_path / "products.csv"
    file.write_text(content)
    there = ["--url", embedded_system.url, "--owner", str(SUPPLIER)]
    status, output = await output_of("products", "import", str(file), *there, **environment)
    assert (status, said in output, "Traceback" in output) == (1, True, False), output[-2000:]


@pytest.mark.parametrize("mode", ["rows", "all"])
async def test_an_import_that_dies_with_its_process_is_carried_out_by_the_next_and_nothing_twice(
    tmp_path: Path, mode: str
) -> None:
    products = "".join(f"stock,S{number},Thing {number}\n" for number in range(5_000))
    links = "".join(f"customisable,C{number},Thing,S{number}\n" for number in range(1_000))
    content = "type,sku,name,stock_sku\n" + links + products.replace("\n", ",\n")
    query = {"format": "csv", "mode": mode, "owner_id": str(OTHER)}
    environment = {"BASESTOCK_ADMIN_KEY": ADMIN_KEY}
    async with up(tmp_path / "data", **environment) as first, Client(first.url, ADMIN_KEY) as admin:
        await admin.post("/v1/companies", {"id": OTHER, "ref": "other", "name": "Other", "role": "supplier"})
        answer = await admin.post("/v1/products/import", params=query, data=content.encode())
        path = answer.headers["Location"]
        while not 0 < (job := (await admin.get(path)).body)["rows_done"] < job["rows"]:
            assert job["state"] in {"received", "running"}, job
            await asyncio.sleep(0.01)
        await first.end(signal.SIGKILL)
    await end_leases(tmp_path / "data", "catalog.imports")
    async with up(tmp_path / "data", **environment) as second, Client(second.url, ADMIN_KEY) as admin:

        async def is_done() -> bool:
            return bool((await admin.get(path)).body["state"] == "done")

        await eventually("the import is done, the dead worker's lease being over", is_done, seconds=90)
        job = (await admin.get(path)).body
        assert (job["rows_done"], job["created"], job["changed"], job["unchanged"]) == (6_000, 6_000, 0, 0)
        versions: list[int] = []
        cursor: str | None = None
        while versions == [] or cursor:
            page = {"owner_id": str(OTHER), "limit": "200"} | ({"cursor": cursor} if cursor else {})
            body = (await admin.get("/v1/products", params=page)).body
            versions += [item["version"] for item in body["items"]]
            cursor = body["next_cursor"]
        assert versions == [1] * 6_000


async def test_nobody_answers(tmp_path: Path) -> None:
    file = tmp_path / "products.csv"
    file.write_text("type,sku\n")
    for command in (["import", str(file)], ["export"]):
        status, output = await output_of("products", *command, "--url", "http://127.0.0.1:9", BASESTOCK_KEY="bsk_any")
        assert (status, "does not answer" in output, "Traceback" in output) == (1, True, False), output
