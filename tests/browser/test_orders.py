"""An order's way: entered by hand, looked up in the ledger, sent; files of orders; messages that were refused."""

import re
from uuid import uuid4

from playwright.async_api import FilePayload, expect

from shared.database import Database
from shared.events import EventError
from shared.messaging import dead_letters
from shared.messaging.bus import Message
from tests.browser.conftest import Console, Open
from tests.end_to_end.system import RETAILER, SUPPLIER

PRINTED, SMALL_STOCK = 102, 100


async def test_an_order_goes_from_the_counter_over_the_ledger_to_the_parcel(open_page: Open) -> None:
    seller = await open_page(RETAILER, "/orders/new")
    await seller.get_by_label("Reference, used once").fill("C-1")
    await seller.get_by_role("button", name="Add a product").click()
    await seller.get_by_label("Search by SKU or name").fill("t01")
    await seller.get_by_role("button", name="T01 Our T-shirt").click()
    await seller.get_by_label("Units").fill("3")
    await seller.get_by_role("button", name="Take the order in").click()
    await expect(seller.get_by_text("Allocated").first).to_be_visible()
    order_id = seller.url.rsplit("/", 1)[1]

    await seller.get_by_role("button", name="Amend line 1").click()
    await seller.get_by_label("Units, with those cancelled since").fill("2")
    await seller.keyboard.press("Enter")
    await expect(seller.get_by_text("line 1: -1")).to_be_visible()

    supplier = await open_page(SUPPLIER, "/orders")
    await supplier.get_by_role("link", name="C-1", exact=True).click()
    ledger = supplier.get_by_role("link", name="2 x T01-S at main")
    assert await ledger.get_attribute("href") == f"/inventory/{SMALL_STOCK}?reference={order_id}"
    await supplier.get_by_role("button", name="Send").click()
    await supplier.get_by_role("button", name="Ask for it").click()
    await supplier.get_by_role("button", name="It has left").first.click()
    await supplier.get_by_role("dialog").get_by_role("button", name="It has left").click()
    await expect(supplier.get_by_text("2 sent")).to_be_visible()
    # The seller's window shows it without being loaded anew.
    await expect(seller.get_by_text("Fulfilled").first).to_be_visible()


async def test_what_is_parked_says_what_it_waits_for_and_can_be_cancelled(console: Console, open_page: Open) -> None:
    async with console.client(RETAILER) as retailer:
        order = {"external_ref": "P-1", "lines": [{"product_id": 999_999, "quantity": 2}]}
        made = await retailer.post("/v1/orders?wait=5", order)
        assert made.body["status"] == "parked", made.body
    page = await open_page(RETAILER, "/orders?waiting=true")
    await expect(page.get_by_text("1 line parked")).to_be_visible()
    await page.get_by_role("link", name="P-1").click()
    await expect(page.get_by_text("Waits for product 999999")).to_be_visible()
    await page.get_by_role("button", name="Cancel the order").click()
    await page.get_by_label("Reason").fill("nobody knows it")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("nobody knows it")).to_be_visible()
    await expect(page.get_by_role("button", name="Cancel the order")).to_have_count(0)


async def test_a_file_of_orders_is_looked_at_before_it_goes_in(console: Console, open_page: Open) -> None:
    page = await open_page(RETAILER, "/orders/import")
    content = f"external_ref,product_id,variant_sku,quantity\nF-1,{PRINTED},T01-S,1\nF-2,{PRINTED},T01-L,0\n"
    file = FilePayload(name="orders.csv", mimeType="text/csv", buffer=content.encode())
    await page.locator("input[type=file]").set_input_files([file])
    await expect(page.get_by_text("Nothing was changed yet")).to_be_visible()
    await expect(page.get_by_text("quantity: Input should be greater than 0")).to_be_visible()
    async with console.client(RETAILER) as retailer:
        assert (await retailer.get("/v1/orders?external_ref=F-1")).body["items"] == []
    await page.get_by_role("button", name="Import these orders").click()
    await expect(page.get_by_text("What it did")).to_be_visible()
    await page.get_by_role("button", name="To the orders").click()
    await expect(page.get_by_role("link", name="F-1")).to_be_visible()


async def test_dead_letters_tell_their_reason_and_are_given_up(console: Console, open_page: Open) -> None:
    database = Database("inventory", console.dsn, pool_size=1)
    try:
        async with database.transaction() as session:
            message = Message(str(uuid4()), "orders.order_created", "application/json", b'{"half": [1]}')
            await dead_letters.bury(session, "inventory.orders", message, str(EventError("it lacks its order")))
    finally:
        await database.close()
    page = await open_page(0, "/platform/dead-letters")
    await page.get_by_role("cell", name="it lacks its order").wait_for()
    await page.locator("tbody a").first.click()
    await expect(page.get_by_label("Body of the message, indented")).to_contain_text('"half"')
    await page.get_by_role("link", name="All of them").click()
    await page.get_by_role("checkbox").check()
    await page.get_by_role("button", name="Handle again").click()
    await page.get_by_role("dialog").get_by_role("button", name="Handle again").click()
    await expect(page.get_by_text(re.compile("Refused again"))).to_be_visible()
    await page.get_by_role("checkbox").check()
    await page.get_by_role("button", name="Give up").click()
    await page.get_by_role("dialog").get_by_role("button", name="Give up").click()
    await expect(page.get_by_text("No dead letters")).to_be_visible()
