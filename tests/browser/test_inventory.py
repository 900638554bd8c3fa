"""The inventory: the table, changing a level in place, an item's page, and stock from a file."""

import csv
import re
from pathlib import Path

from playwright.async_api import expect

from tests.browser.conftest import OTHER_SUPPLIER, Console, Open
from tests.end_to_end.system import SUPPLIER


async def _item(console: Console, sku: str) -> dict[str, object]:
    async with console.client(SUPPLIER) as supplier:
        item: dict[str, object] = (await supplier.get(f"/v1/stock?sku={sku}")).body["items"][0]
        return item


async def _set(console: Console, sku: str, on_hand: int) -> None:
    item = await _item(console, sku)
    async with console.client(SUPPLIER) as supplier:
        body = {"on_hand": on_hand, "reason": "counted for a test"}
        answer = await supplier.post(f"/v1/stock/{item['product_id']}/adjustments", body)
        assert answer.status == 200, answer.body


async def test_a_level_is_changed_by_keyboard_and_another_window_shows_it(console: Console, open_page: Open) -> None:
    await _set(console, "T01-S", 40)
    mine, other = await open_page(SUPPLIER, "/inventory"), await open_page(SUPPLIER, "/inventory")
    await expect(other.get_by_label("Change On hand: 40")).to_be_visible()
    await mine.get_by_label("Change On hand: 40").focus()
    await mine.keyboard.press("Enter")
    await expect(mine.get_by_label("Reason")).to_have_value("Stock count")
    await expect(mine.get_by_role("textbox", name="On hand")).to_be_focused()
    await mine.keyboard.type("+5")
    await expect(mine.get_by_text("On hand 40 → 45, available 40 → 45")).to_be_visible()
    await expect(mine.get_by_label("Reason")).to_have_value("Correction")
    await mine.keyboard.press("Enter")
    await expect(other.get_by_label("Change On hand: 45")).to_be_visible()
    await mine.keyboard.press("Escape")
    await expect(mine.get_by_label("Reason")).to_be_hidden()


async def test_what_is_typed_ahead_goes_to_the_next_row(console: Console, open_page: Open) -> None:
    await _set(console, "T01-S", 41)
    await _set(console, "T01-L", 42)
    page = await open_page(SUPPLIER, "/inventory?q=T01&sort=-sku")
    await page.get_by_label("Change On hand: 41").click()
    await expect(page.get_by_role("textbox", name="On hand")).to_be_focused()
    await page.keyboard.type("1001\n1002\n")
    await expect(page.get_by_label("Change On hand: 1,001")).to_be_visible()
    await expect(page.get_by_label("Change On hand: 1,002")).to_be_visible()
    assert (await _item(console, "T01-S"))["on_hand"] == 1001
    assert (await _item(console, "T01-L"))["on_hand"] == 1002


async def test_who_was_slower_is_told_what_somebody_else_made_of_it_and_may_go_on(
    console: Console, open_page: Open
) -> None:
    await _set(console, "T01-S", 60)
    page = await open_page(SUPPLIER, "/inventory?q=T01-S")
    await page.get_by_label("Change On hand: 60").click()
    await expect(page.get_by_role("textbox", name="On hand")).to_have_value("60")
    await _set(console, "T01-S", 58)
    await page.keyboard.type("70\n")
    await expect(page.get_by_text("Somebody changed this meanwhile: on hand was 60, it is 58 now.")).to_be_visible()
    await expect(page.get_by_text("on hand 60 → 58")).to_be_visible()
    assert (await _item(console, "T01-S"))["on_hand"] == 58
    await page.get_by_role("button", name="Set it to 70 all the same").click()
    await expect(page.get_by_label("Change On hand: 70")).to_be_visible()


async def test_filters_are_in_the_address_and_an_empty_list_says_what_to_do(open_page: Open) -> None:
    page = await open_page(SUPPLIER, "/inventory")
    await page.get_by_role("button", name="not linked").click()
    await expect(page).to_have_url(re.compile(r"state=unlinked"))
    await page.get_by_label("Search SKU, title, barcode").fill("nothing is called so")
    await expect(page.get_by_text("Nothing matches")).to_be_visible()
    await page.get_by_role("button", name="Clear the filters").click()
    await expect(page.get_by_role("link", name="T01-S", exact=True)).to_be_visible()
    await expect(page).to_have_url(re.compile(r"/inventory$"))


async def test_an_item_tells_what_happened_and_is_nobody_elses(console: Console, open_page: Open) -> None:
    await _set(console, "T01-S", 33)
    address = f"/inventory/{(await _item(console, 'T01-S'))['product_id']}"
    page = await open_page(SUPPLIER, address)
    await expect(page.get_by_text("counted for a test").first).to_be_visible()
    await expect(page.get_by_role("link", name="T-shirt with a print")).to_be_visible()
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_label("Low at (available units)").fill("50")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("50 available")).to_be_visible()
    await expect(page.get_by_text("low at none → 50")).to_be_visible()
    strangers = await open_page(OTHER_SUPPLIER, address)
    await expect(strangers.get_by_text("Nothing is here")).to_be_visible()
    await expect(strangers.get_by_text("T-shirt, small")).to_be_hidden()


async def test_stock_is_exported_edited_looked_at_and_imported(
    console: Console, open_page: Open, tmp_path: Path
) -> None:
    await _set(console, "T01-S", 20)
    page = await open_page(SUPPLIER, "/inventory?q=T01-S")
    async with page.expect_download() as downloading:
        await page.get_by_role("link", name="Export CSV").click()
    exported = await (await downloading.value).path()
    rows = list(csv.DictReader(exported.read_text().splitlines()))
    assert rows == [{"sku": "T01-S", "quantity_available": "20"}]
    edited = tmp_path / "edited.csv"
    edited.write_text("sku,quantity_available\nT01-S,27\nNONE,1\n")
    await page.get_by_role("button", name="Import CSV").click()
    await page.locator("input[type=file]").set_input_files(edited)
    await expect(page.get_by_text("Nothing was changed: this is what would be.")).to_be_visible()
    await expect(page.get_by_role("cell", name="20 → 27").first).to_be_visible()
    await expect(page.get_by_role("row").filter(has_text="NONE")).to_contain_text("none of your items")
    assert (await _item(console, "T01-S"))["on_hand"] == 20
    await page.get_by_role("button", name="Import these changes").click()
    await expect(page.get_by_text("What it changed, as the ledger has it")).to_be_visible()
    await page.get_by_role("link", name="T01-S", exact=True).click()
    await expect(page.get_by_text("CSV import").first).to_be_visible()
    assert (await _item(console, "T01-S"))["on_hand"] == 27
