"""Signing in and out, and who may open what."""

import re

from playwright.async_api import Browser, expect

from tests.browser.conftest import OTHER_SUPPLIER, PASSWORD, Console, Open
from tests.end_to_end.system import SUPPLIER


async def test_a_clerk_signs_in_goes_on_to_the_page_asked_for_and_signs_out(
    console: Console, chromium: Browser
) -> None:
    page = await chromium.new_page(base_url=console.url)
    await page.goto("/account")
    await expect(page).to_have_url(re.compile("/sign-in"))
    await page.get_by_label("E-mail address").fill("clerk@supplier-a.example")
    await page.get_by_label("Password").fill("not the password")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("No user has this e-mail address and this password")
    assert await page.get_by_label("E-mail address").input_value() == "clerk@supplier-a.example"
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{console.url}/account")
    await page.get_by_role("button", name="Account: Supplier A").click()
    await page.get_by_text("Sign out").click()
    await expect(page).to_have_url(f"{console.url}/sign-in")
    await page.goto("/account")
    await expect(page).to_have_url(re.compile("/sign-in"))


async def test_no_page_has_a_key_or_a_token_in_it(console: Console, open_page: Open) -> None:
    page = await open_page(SUPPLIER, "/")
    cookies = {cookie["name"]: cookie for cookie in await page.context.cookies()}
    assert cookies["basestock_session"]["httpOnly"]
    assert cookies["basestock_session"]["sameSite"] == "Lax"
    assert console.keys[SUPPLIER] not in cookies["basestock_session"]["value"]
    assert console.keys[SUPPLIER] not in await page.content()


async def test_a_link_signs_in_with_the_key_behind_its_hash_and_leaves_it_nowhere(
    console: Console, chromium: Browser
) -> None:
    page = await chromium.new_page(base_url=console.url)
    # Pasted where the page is open already, it changes nothing but the fragment.
    await page.goto("/sign-in")
    await page.goto(f"/sign-in#key={console.keys[SUPPLIER]}&go")
    await expect(page).to_have_url(f"{console.url}/")
    await expect(page.get_by_text("Supplier A")).to_be_visible()
    assert console.keys[SUPPLIER] not in await page.evaluate("document.cookie + JSON.stringify(localStorage)")


async def test_nothing_is_changed_for_another_site(console: Console, open_page: Open) -> None:
    page = await open_page(OTHER_SUPPLIER, "/")
    refused = await page.context.request.post("/sign-out", headers={"Origin": "https://elsewhere.example"})
    assert refused.status == 403
    led_away = await page.context.request.post(
        "/sign-in",
        form={"key": console.keys[SUPPLIER], "next_page": "//elsewhere.example/"},
        headers={"Origin": console.url},
        max_redirects=0,
    )
    assert led_away.headers["location"] == "/"


async def test_an_open_page_is_not_left_to_who_signs_in_after_it(console: Console, open_page: Open) -> None:
    page = await open_page(SUPPLIER, "/account")
    await expect(page.get_by_role("button", name="Account: Supplier A")).to_be_visible()
    await page.evaluate("basestock.renew()")
    await page.evaluate("window.isSame = true")
    await page.context.request.post(
        "/sign-in", form={"key": console.keys[OTHER_SUPPLIER]}, headers={"Origin": console.url}, max_redirects=0
    )
    assert await page.evaluate("window.isSame"), "it is loaded anew where somebody else has signed in, and only there"
    await page.evaluate("void basestock.renew()")
    await expect(page.get_by_role("button", name="Account: Supplier B")).to_be_visible()
