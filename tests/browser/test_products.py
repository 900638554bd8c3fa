"""Products of all types: the link picker, what the rules refuse beside its field, what stands in the way."""

from playwright.async_api import FilePayload, expect

from tests.browser.conftest import OTHER_SUPPLIER, Console, Open
from tests.end_to_end.system import RETAILER, SUPPLIER

SMALL_STOCK = 100


async def test_a_product_in_variants_is_linked_with_the_picker_and_half_a_link_is_refused_beside_it(
    open_page: Open,
) -> None:
    page = await open_page(SUPPLIER, "/products/new?type=customisable")
    await page.get_by_label("SKU", exact=True).fill("BAG")
    await page.get_by_label("Name", exact=True).fill("Printed bag")
    await page.get_by_text("Variants, each with its own").click()
    await page.get_by_label("SKU of variant 1").fill("BAG-1")
    await page.get_by_role("button", name="Add a variant").click()
    await page.get_by_label("SKU of variant 2").fill("BAG-2")
    await page.get_by_role("button", name="Link to stock: BAG-1").click()
    await page.get_by_label("Search by SKU or name").fill("T01-S")
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Units of T01-S in BAG-1")).to_have_value("1")
    await page.get_by_role("button", name="Make the product").click()
    await expect(page.get_by_text("has no base stock product")).to_be_visible()
    await page.get_by_role("button", name="Remove variant 2").click()
    await page.get_by_role("button", name="Make the product").click()
    await expect(page.get_by_text("What orders take from stock")).to_be_visible()
    await page.goto(f"/products?linked_to={SMALL_STOCK}")
    await expect(page.get_by_role("link", name="BAG", exact=True)).to_be_visible()


async def test_what_others_draw_on_is_not_deleted_and_they_are_listed(open_page: Open) -> None:
    page = await open_page(SUPPLIER, f"/products/{SMALL_STOCK}")
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.get_by_text("Others still need it")).to_be_visible()
    await expect(page.get_by_role("dialog").get_by_role("link", name="Open it").first).to_be_visible()


async def test_the_copy_of_a_shortcut_warns_that_it_is_counted_apart(open_page: Open) -> None:
    page = await open_page(SUPPLIER, "/products/202")
    await page.get_by_role("button", name="Duplicate").click()
    await page.get_by_label("SKU of the copy").fill("S7-COPY")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("orders for one will not lower the other")).to_be_visible()
    await page.get_by_role("button", name="Open the copy").click()
    await expect(page.get_by_label("SKU", exact=True)).to_have_value("S7-COPY")


async def test_nobody_opens_products_of_strangers_and_retailers_read_alone(console: Console, open_page: Open) -> None:
    stranger = await open_page(OTHER_SUPPLIER, f"/products/{SMALL_STOCK}")
    await expect(stranger.get_by_text("Nothing is here")).to_be_visible()
    async with console.client(SUPPLIER) as supplier:
        shown = {"visibility": "connected"}
        assert (await supplier.patch("/v1/products/102", shown)).status == 200
    retailer = await open_page(RETAILER, "/products/102")
    await expect(retailer.get_by_text("T-shirt with a print").first).to_be_visible()
    await expect(retailer.get_by_role("button", name="Save")).to_have_count(0)
    await retailer.get_by_role("button", name="Make my own version").click()
    await expect(retailer.get_by_label("Name", exact=True)).to_have_value("T-shirt with a print")


async def test_a_file_of_products_is_looked_at_before_it_goes_in(open_page: Open) -> None:
    page = await open_page(SUPPLIER, "/products/import")
    content = "type,sku,name\nstock,CAP,Cap\nnothing,CUP,Cup\n"
    file = FilePayload(name="products.csv", mimeType="text/csv", buffer=content.encode())
    await page.locator("input[type=file]").set_input_files([file])
    await expect(page.get_by_text("Nothing was changed yet")).to_be_visible()
    await expect(page.get_by_role("cell", name="Refused")).to_be_visible()
    await page.get_by_role("button", name="Import these products").click()
    await expect(page.get_by_text("What it did")).to_be_visible()
    await page.goto("/products?q=cap")
    await expect(page.get_by_role("link", name="CAP", exact=True)).to_be_visible()
