"""A retailer sets up a webhook, tests it, reads what was sent, and changes it."""

import json
import re

from playwright.async_api import Page, expect

from tests.browser.conftest import Console, Open
from tests.end_to_end.system import RETAILER, SUPPLIER
from tests.receiver import receiver

LABEL = "Product Stock Level Changed URL"


async def kept_secret(page: Page) -> str:
    """The secret that is shown once, and the dialog closed."""
    secret = await page.locator(".secret input").input_value()
    await page.get_by_role("button", name="I have kept it").click()
    return secret


async def test_the_url_of_the_company_settings_is_called_and_its_calls_are_read(
    console: Console, open_page: Open
) -> None:
    async with receiver() as shop, console.client(SUPPLIER) as supplier:
        page = await open_page(RETAILER, "/company")
        await page.get_by_label(LABEL).fill("ftp://shop.example")
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("http")).to_be_visible()
        await page.get_by_label(LABEL).fill(shop.url)
        await page.keyboard.press("Enter")
        shop.secrets.append(await kept_secret(page))

        level = [{"sku": "T01-S", "data": {"quantity_available": 42}}]
        assert (await supplier.call("PUT", "/stock/availability", level)).status == 200
        await shop.wait_for_calls(1)
        shop.verify()

        await page.get_by_role("link", name="Settings, test and log of calls").click()
        await page.get_by_role("button", name="Send a test").click()
        await expect(page.get_by_text(re.compile(r"Answered 204 in \d+ ms"))).to_be_visible()
        told = page.get_by_role("row").filter(has_text="Stock levels")
        await told.get_by_role("link").click()
        await expect(page.get_by_text("webhook-signature")).to_be_visible()
        await page.get_by_text("As it was sent").click()
        shown = await page.get_by_label("Body of the request, as it was sent").text_content()
        assert shown is not None
        assert shown.encode() == shop.calls[0].body
        assert json.loads(shown)["stock"][0]["quantity_available"] == 42
        await page.get_by_role("button", name="Send again").click()
        await expect(page.get_by_text("1 product is told again")).to_be_visible()


async def test_an_endpoint_of_variants_is_registered_changed_and_removed(console: Console, open_page: Open) -> None:
    async with receiver() as shop, console.client(RETAILER) as retailer:
        page = await open_page(RETAILER, "/webhooks/new")
        await page.get_by_text("Stock of variants, by location").click()
        await expect(page.get_by_label("Events")).to_be_visible()
        await page.get_by_label("Its value").fill("s3cret")
        await page.get_by_label("A header of yours").fill("Host")
        await page.get_by_label("URL").fill(shop.url)
        await page.keyboard.press("Enter")
        await expect(page.get_by_text(re.compile("Host"))).to_be_visible()
        await page.get_by_label("A header of yours").fill("X-Api-Key")
        await page.keyboard.press("Enter")
        shop.secrets.append(await kept_secret(page))
        await expect(page.get_by_role("tab", name="Calls")).to_be_visible()

        await page.get_by_role("tab", name="Settings").click()
        path = "/v1/webhook-endpoints/" + page.url.split("/webhooks/")[1].split("?")[0]
        assert (await retailer.call("PATCH", path, {"calls_at_once": 5})).status == 200
        await page.get_by_label("Window, in minutes").fill("30")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("alert")).to_contain_text("calls at once is 5 now")
        await page.get_by_role("button", name="Load it anew").click()
        await expect(page.get_by_label("Calls at once, at most")).to_have_value("5")
        await page.get_by_label("Window, in minutes").fill("30")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("at most every 30 minutes per product")).to_be_visible()
        changed = (await retailer.get(path)).body
        assert (changed["window_seconds"], changed["auth_header_name"]) == (1800, "X-Api-Key")

        await page.get_by_role("button", name="Remove").click()
        await page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        await expect(page).to_have_url(re.compile(r"/webhooks$"))
        assert (await retailer.get(path)).status == 404
