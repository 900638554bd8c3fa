"""`basestock orders import` against a running system: orders in from a file, and what a death in the middle leaves."""

import asyncio
import json
import signal
from pathlib import Path

from tests.app import Client
from tests.end_to_end.system import ADMIN_KEY, RETAILER, System, eventually
from tests.end_to_end.test_command_line import end_leases, output_of, up

SHOP, ITEM = 7, 7_000
ORDERS = 10_000
T_SHIRTS = (
    "external_ref,placed_at,product_id,variant_sku,quantity\n"
    "W-1,2026-01-31T12:00:00Z,102,T01-S,2\n"
    "W-1,,102,T01-L,1\n"
    "W-2,2026-01-31T12:05:00Z,102,T01-S,3\n"
)


async def test_orders_of_t_shirts_from_a_file_lower_the_stock_of_their_base_products(
    embedded_system: System, tmp_path: Path
) -> None:
    system, file = embedded_system, tmp_path / "orders.csv"
    file.write_text(T_SHIRTS)
    environment = {"BASESTOCK_ADMIN_KEY": ADMIN_KEY, "BASESTOCK_URL": system.url}
    for product_id in (100, 101):
        await system.set_on_hand(product_id, 10)

    dry = await output_of("orders", "import", str(file), "--dry-run", "--seller", "retailer-a", **environment)
    assert [await system.available(product_id) for product_id in (100, 101)] == [10, 10]
    done = await output_of("orders", "import", str(file), "--seller", "retailer-a", **environment)
    again = await output_of("orders", "import", str(file), "--seller", str(RETAILER), **environment)

    async def stock_is_lowered() -> bool:
        return [await system.available(product_id) for product_id in (100, 101)] == [5, 9]

    await eventually("the orders have lowered the stock behind the T-shirts", stock_is_lowered)
    assert (dry[0], done[0], again[0]) == (0, 0, 0), (dry, done, again)
    assert "3 rows. Orders would be 2 created, 0 existing, 0 refused." in dry[1]
    assert "3 rows. Orders 2 created, 0 existing, 0 refused." in done[1]
    assert "3 rows. Orders 0 created, 2 existing, 0 refused." in again[1]
    (order,) = (await system.retailer.get("/v1/orders", params={"external_ref": "W-1"})).body["items"]
    assert (order["source"], order["status"], order["placed_at"]) == ("import", "allocated", "2026-01-31T12:00:00Z")


async def test_refused_rows_are_a_table_or_json_and_the_exit_status_is_1(
    embedded_system: System, tmp_path: Path
) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("quantity;product_id;external_ref\n1;200;A-1\nmany;200;A-2\n1;200;A-2\n1;200;\n")
    key = (await embedded_system.admin.post(f"/v1/companies/{RETAILER}/api-keys", {})).body["key"]
    environment = {"BASESTOCK_KEY": key, "BASESTOCK_URL": embedded_system.url}

    async def key_is_known() -> bool:
        async with Client(embedded_system.url, key) as retailer:
            return (await retailer.get("/v1/orders")).status == 200

    await eventually("orders knows the new key", key_is_known)
    status, output = await output_of("orders", "import", str(file), **environment)
    in_json = await output_of("orders", "import", str(file), "--json", **environment)

    assert (status, in_json[0]) == (1, 1)
    table = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in output.splitlines() if "│" in line]
    assert table == [
        ["2", "3", "A-2", "quantity", "'many' is no whole number"],
        ["3", "4", "A-2", "row", "the row in line 3 is of the same order, which is refused whole"],
        ["4", "5", "A-2", "external_ref", "the cell is empty"],
    ]
    assert "4 rows. Orders 1 created, 0 existing, 1 refused." in output
    job = json.loads(in_json[1].splitlines()[-1])
    assert (job["existing"], job["refused"], [row["line"] for row in job["refused_rows"]]) == (1, 1, [3, 4, 5])


async def test_what_cannot_be_done_is_told_in_a_sentence(embedded_system: System, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("order,article,units\n1,2,3\n")
    there = ["--url", embedded_system.url, "--seller"]
    for seller, said in (("retailer-a", "there is no column 'order'"), ("nobody", "no company with the ref 'nobody'")):
        status, output = await output_of("orders", "import", str(file), *there, seller, BASESTOCK_ADMIN_KEY=ADMIN_KEY)
        assert (status, said in output, "Traceback" in output) == (1, True, False), output


async def test_an_import_that_dies_with_its_process_goes_on_with_the_next_and_no_order_is_lost_or_doubled(
    tmp_path: Path,
) -> None:
    environment = {"BASESTOCK_ADMIN_KEY": ADMIN_KEY}
    rows = [f"R-{number},{ITEM},1\n" for number in range(ORDERS)]
    # The lines of an order stand apart: its second one comes when all others have had their first.
    content = "external_ref,product_id,quantity\n" + "".join(rows + rows)
    async with up(tmp_path / "data", **environment) as first, Client(first.url, ADMIN_KEY) as admin:
        await admin.post("/v1/companies", {"id": SHOP, "ref": "shop", "name": "Shop", "role": "supplier"})
        product = {"id": ITEM, "owner_id": SHOP, "sku": "S", "name": "Thing", "type": "stock"}
        assert (await admin.post("/v1/products", product)).status == 201

        async def orders_knows_the_shop() -> bool:
            answer = await admin.post("/v1/orders/imports", params=query, data=b"external_ref,product_id,quantity\n")
            return answer.status == 202

        query = {"seller_id": str(SHOP)}
        await eventually("orders knows the shop", orders_knows_the_shop)
        answer = await admin.post("/v1/orders/imports", params=query, data=content.encode())
        path = answer.headers["Location"]
        while not 0 < (job := (await admin.get(path)).body)["rows_done"] < job["rows"]:
            assert job["state"] in {"received", "running"}, job
            await asyncio.sleep(0.005)
        await first.end(signal.SIGKILL)
    await end_leases(tmp_path / "data", "orders.order_imports")
    async with up(tmp_path / "data", **environment) as second, Client(second.url, ADMIN_KEY) as admin:

        async def is_done() -> bool:
            return bool((await admin.get(path)).body["state"] == "done")

        async def all_is_taken() -> bool:
            answer = await admin.get(f"/v1/stock/{ITEM}")
            return bool(answer.status == 200 and answer.body["available"] <= -2 * ORDERS)

        await eventually("the import is done, the dead worker's lease being over", is_done, seconds=90)
        job = (await admin.get(path)).body
        assert [job[name] for name in ("rows_done", "created", "existing", "refused")] == [2 * ORDERS, ORDERS, 0, 0]
        await eventually("inventory has taken what all orders draw", all_is_taken, seconds=90)
        assert (await admin.get(f"/v1/stock/{ITEM}")).body["available"] == -2 * ORDERS
