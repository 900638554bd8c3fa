"""Owners manage their company; the platform admin all of them."""

import re

from playwright.async_api import Browser, expect

from tests.browser.conftest import OTHER_SUPPLIER, PASSWORD, Console, Open
from tests.end_to_end.system import RETAILER, SUPPLIER


async def test_a_key_is_made_shown_once_and_revoked(console: Console, open_page: Open) -> None:
    page = await open_page(SUPPLIER, "/account")
    await expect(page.get_by_text("everything")).to_have_count(0)
    async with console.client(0) as admin:
        body = {"scopes": ["admin"], "label": "owner"}
        console.keys[SUPPLIER] = (await admin.post(f"/v1/companies/{SUPPLIER}/api-keys", body)).body["key"]
    page = await open_page(SUPPLIER, "/company")
    await page.get_by_role("button", name="Make an API key").click()
    await page.get_by_label("What it is for").fill("till")
    await page.get_by_text("Change products and connections").click()
    await page.get_by_role("button", name="Make the key").click()
    key = await page.locator(".secret input").input_value()
    await page.get_by_role("button", name="I have kept it").click()
    await expect(page.locator(".secret")).to_have_count(0)
    assert key not in await page.content()
    async with console.client(SUPPLIER) as supplier:
        listed = (await supplier.get(f"/v1/companies/{SUPPLIER}/api-keys")).body["items"]
    assert "catalog:write" not in next(one for one in listed if one["label"] == "till")["scopes"]

    await page.get_by_role("button", name="Revoke till").click()
    await page.get_by_role("button", name="Revoke", exact=True).last.click()
    await expect(page.get_by_text("The key till is revoked")).to_be_visible()
    await expect(page.get_by_role("row").filter(has_text="till")).to_contain_text("revoked")


async def test_a_new_password_keeps_this_session_and_ends_the_old_password(console: Console, chromium: Browser) -> None:
    page = await chromium.new_page(base_url=console.url)
    await page.goto("/sign-in?next_page=/account")
    await page.get_by_label("E-mail address").fill("buyer@retailer-a.example")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    new = "another password of the tests"
    await page.get_by_label("The password of now").fill("not this one, no")
    await page.get_by_label("The new password", exact=True).fill(new)
    await page.get_by_label("The new password again").fill(new)
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("This is not your password.")).to_be_visible()
    await page.get_by_label("The password of now").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Your password is changed")).to_be_visible()

    await expect(page.get_by_label("The password of now")).to_have_value("")  # the page came anew

    await page.goto("/company")  # only the new token may manage a company
    await expect(page.get_by_text("buyer@retailer-a.example (you)")).to_be_visible()
    async with console.client(0) as admin:
        old = {"email": "buyer@retailer-a.example", "password": PASSWORD}
        assert (await admin.post("/v1/sessions", old)).status == 401


async def test_the_platform_connects_companies_and_checks_the_stock(open_page: Open) -> None:
    page = await open_page(0, f"/platform/companies/{OTHER_SUPPLIER}")
    await expect(page.get_by_text("Not connected yet")).to_be_visible()
    await page.get_by_role("button", name="Connect", exact=True).click()
    await page.get_by_role("dialog").get_by_label("Retailer").click()
    await page.get_by_role("option", name="Retailer A").click()
    await page.get_by_role("dialog").get_by_role("button", name="Connect").click()
    row = page.get_by_role("row").filter(has_text="Retailer A")
    await expect(row).to_contain_text("active")
    await page.get_by_role("button", name="Pause Supplier B and Retailer A").click()
    await page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    await expect(row).to_contain_text("paused")

    await page.goto("/platform/audit?actor=platform+admin")
    await expect(page.get_by_role("row").filter(has_text="active → paused").first).to_be_visible()
    await page.goto("/platform/operations")
    await expect(page.get_by_text("4 of 4")).to_be_visible()
    await page.get_by_role("button", name="Check all stock").click()
    await expect(page.get_by_text(re.compile(r"All \d+ items add up"))).to_be_visible()


async def test_a_retailer_sees_the_stock_that_is_shared_with_it(console: Console, open_page: Open) -> None:
    async with console.client(SUPPLIER) as supplier:
        level = [{"sku": "T01-L", "data": {"quantity_available": 7}}]
        assert (await supplier.call("PUT", "/stock/availability", level)).status == 200
    page = await open_page(RETAILER, "/suppliers?q=t01-l")
    row = page.get_by_role("row").filter(has_text="T01-L")
    await expect(row).to_contain_text("T01 (T01-L)")
    # Its supplier shares the stock, not the product itself: there is no page to be led to.
    await expect(row.get_by_role("link")).to_have_count(0)
    await expect(row).to_contain_text("7")
    async with console.client(SUPPLIER) as supplier:
        level = [{"sku": "T01-L", "data": {"quantity_available": 6}}]
        assert (await supplier.call("PUT", "/stock/availability", level)).status == 200
    await expect(row).to_contain_text("6")
    await page.get_by_label("Search by SKU", exact=True).fill("nothing")
    await expect(page.get_by_text("Nothing is called nothing")).to_be_visible()
    await page.goto("/platform/companies")
    await expect(page.get_by_text("This page is not for you")).to_be_visible()
