"""Clumsy hands: double clicks, numbers that cannot be, a dialog that is sent twice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from playwright.async_api import FilePayload, Locator, Page, expect

from tests.browser.conftest import Console, Open
from tests.end_to_end.system import RETAILER, SUPPLIER
from tests.receiver import receiver

PRINTED, SMALL_STOCK = 102, 100


async def test_a_number_that_cannot_be_is_refused_beside_its_field_and_never_made_another(
    console: Console, open_page: Open
) -> None:
    page = await open_page(SUPPLIER, f"/inventory/{SMALL_STOCK}")
    await page.get_by_role("button", name="Settings").click()
    low, days, kept = (page.get_by_label(one) for one in ("Low at", "Lead time (days)", "Safety stock at main"))
    await low.fill("4")
    await days.fill("-3")
    await kept.fill("-2")
    await page.get_by_role("button", name="Save").click()
    await expect(_beside(page, days, "Input should be greater than or equal to 0")).to_be_visible()
    await expect(days).to_have_value("-3")
    await days.fill("1.5")
    await page.keyboard.press("Enter")
    await expect(_beside(page, days, "Input should be a valid integer")).to_be_visible()
    await days.fill("2")
    await page.keyboard.press("Enter")
    # The first of the two writes has gone through; the second is refused, and sent again alone.
    await expect(_beside(page, kept, "Input should be greater than or equal to 0")).to_be_visible()
    await kept.fill("1")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    async with console.client(SUPPLIER) as supplier:
        item = (await supplier.get(f"/v1/stock/{SMALL_STOCK}")).body
    assert (item["low_stock_threshold"], item["lead_time_days"], item["levels"][0]["safety_stock"]) == (4, 2, 1)


def _beside(page: Page, field: Locator, words: str) -> Locator:
    """These words beside this field; the same words may be on their way out beside another."""
    return page.locator(".q-field", has=field).get_by_text(words)


async def test_a_double_click_is_one_click(console: Console, open_page: Open) -> None:
    async with console.client(RETAILER) as retailer:
        order = {"external_ref": "D-1", "lines": [{"product_id": PRINTED, "variant_sku": "T01-S", "quantity": 4}]}
        order_id = (await retailer.post("/v1/orders?wait=5", order)).body["order_id"]
    page = await open_page(SUPPLIER, f"/orders/{order_id}")
    await page.get_by_role("button", name="Send").dblclick()
    await expect(page.get_by_role("dialog")).to_have_count(1)
    await page.get_by_label("units, of 4").fill("2")
    await sent_twice(page, "Ask for it")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    async with console.client(SUPPLIER) as supplier:
        requests = (await supplier.get(f"/v1/fulfillment-requests?order_id={order_id}")).body["items"]
    assert [one["items"][0]["quantity"] for one in requests] == [2]


async def test_what_is_saved_is_not_asked_for_again_where_the_page_cannot_show_it(
    console: Console, open_page: Open
) -> None:
    page = await open_page(SUPPLIER, f"/inventory/{SMALL_STOCK}")
    async with console.client(SUPPLIER) as supplier, _takings_away(console.dsn):
        before = (await supplier.get(f"/v1/stock/{SMALL_STOCK}")).body["on_hand"]
        await page.get_by_label("Change On hand").click()
        await expect(page.get_by_role("textbox", name="On hand")).to_be_focused()
        await page.keyboard.type("+5")
        await page.keyboard.press("Enter")
        # Enter once more would be five units more.
        await expect(page.get_by_label("Reason")).to_be_hidden()
        await page.get_by_role("button", name="Settings").click()
        await page.get_by_label("Low at").fill("7")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(page.get_by_text("It is done, but cannot be shown here").first).to_be_visible()
        item = (await supplier.get(f"/v1/stock/{SMALL_STOCK}")).body
    assert (item["on_hand"], item["low_stock_threshold"]) == (before + 5, 7)


async def test_what_is_imported_is_what_was_looked_at(console: Console, open_page: Open, tmp_path: Path) -> None:
    page = await open_page(SUPPLIER, "/inventory/imports")
    file = tmp_path / "stock.csv"
    file.write_text("sku,on_hand\nT01-L,31\nNONE,1\n")
    await page.locator("input[type=file]").set_input_files(file)
    await expect(page.get_by_text("Nothing was changed: this is what would be.")).to_be_visible()
    await page.get_by_text("All rows or none").first.click()
    await page.get_by_role("button", name="Import these changes").click()
    await expect(page.get_by_text("The options have changed")).to_be_visible()
    await expect(page.get_by_text("all rows or none", exact=False).last).to_be_visible()
    async with console.client(SUPPLIER) as supplier:
        assert (await supplier.get("/v1/stock?sku=T01-L")).body["items"][0]["on_hand"] == 0
        imports = (await supplier.get("/v1/stock/imports")).body["items"]
        assert [(one["dry_run"], one["mode"]) for one in imports] == [(True, "all"), (True, "rows")]


async def test_the_preview_of_one_file_does_not_stand_above_the_button_of_another(open_page: Open) -> None:
    page = await open_page(SUPPLIER, "/products/import")
    files = page.locator("input[type=file]")
    good = b"type,sku,name\nstock,BAG-1,A bag\n"
    await files.set_input_files(FilePayload(name="good.csv", mimeType="text/csv", buffer=good))
    button = page.get_by_role("button", name="Import these products")
    await expect(button).to_be_enabled()
    await files.set_input_files(FilePayload(name="bad.csv", mimeType="text/csv", buffer=b"\xff\x00 no table"))
    await expect(page.locator(".note.bad")).to_be_visible()
    await expect(button).to_have_count(0)


async def test_a_password_is_kept_as_it_was_typed(console: Console, open_page: Open) -> None:
    page = await open_page(0, f"/platform/companies/{SUPPLIER}")
    given = {"email": "blank@supplier-a.example", "password": " a password with blanks "}
    await page.get_by_role("button", name="Add a user").click()
    await page.get_by_label("E-mail address").fill(given["email"])
    await page.get_by_label("First password").fill(given["password"])
    await page.get_by_role("button", name="Add", exact=True).click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    async with console.client(SUPPLIER) as anybody:
        assert (await anybody.post("/v1/sessions", given)).status == 201


async def test_a_dialog_stays_when_the_endpoint_changes_behind_it(console: Console, open_page: Open) -> None:
    async with receiver() as shop, console.client(RETAILER) as retailer:
        made = (await retailer.post("/v1/webhook-endpoints", {"url": shop.url, "format": "stock_level"})).body
        shop.secrets.append(made["secret"])
        page = await open_page(RETAILER, f"/webhooks/{made['id']}?tab=settings")
        await page.get_by_role("button", name="Rotate secret").click()
        await page.get_by_label("Older secrets sign for").fill("1")
        assert (await retailer.post(f"/v1/webhook-endpoints/{made['id']}/pause")).status == 200
        await expect(page.get_by_text("none while it is paused")).to_be_visible()
        await page.get_by_role("button", name="Rotate", exact=True).click()
        await expect(page.get_by_text("It is shown this once")).to_be_visible()
        await page.get_by_role("button", name="I have kept it").click()
        await expect(page.get_by_role("dialog")).to_have_count(0)  # until then nobody can type behind it
        # Neither of the two has changed a setting: what is saved now meets nobody else's change.
        await page.get_by_label("Window, in minutes").fill("20")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("at most every 20 minutes")).to_be_visible()


@asynccontextmanager
async def _takings_away(dsn: str) -> AsyncIterator[None]:
    """Inventory writes, and cannot say which orders hold an item's stock."""
    database = await asyncpg.connect(dsn)
    try:
        await database.execute("alter table inventory.takings rename to takings_away")
        yield
    finally:
        await database.execute("alter table inventory.takings_away rename to takings")
        await database.close()


async def sent_twice(page: Page, name: str) -> None:
    """Send the form as a hand does that presses Enter and clicks, the second time while the dialog closes."""
    button = await page.get_by_role("button", name=name).element_handle()
    assert button is not None
    await button.evaluate(
        """async (button) => {
            const form = button.closest("form");
            form.requestSubmit();
            for (let wait = 0; wait < 40; wait++) {
                await new Promise((resolve) => setTimeout(resolve, 25));
                if (form.isConnected) form.requestSubmit();
            }
        }"""
    )
