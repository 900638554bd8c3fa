"""Every page of the navigation, as everybody sees it: nothing is refused, nothing sticks out."""

import pytest
from playwright.async_api import Page, expect

from services.console.frame import SECTIONS
from tests.browser.conftest import Open
from tests.end_to_end.system import RETAILER, SUPPLIER

VISITORS = {"supplier": SUPPLIER, "retailer": RETAILER, "admin": 0}
# A desk, a small laptop, and a tablet held upright.
WIDTHS = (1280, 1024, 820)
STICKS_OUT = """() => [...document.querySelectorAll('body *')]
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('.table-box, .q-drawer'))
    .map(one => one.outerHTML.slice(0, 120))"""


async def sticks_out(page: Page) -> list[str]:
    """What reaches beyond the right edge of the window; wide tables are scrolled within their box."""
    found: list[str] = await page.evaluate(STICKS_OUT)
    return found


@pytest.mark.parametrize("role", VISITORS)
async def test_every_page_of_the_navigation_opens_and_fits_into_the_window(open_page: Open, role: str) -> None:
    page = await open_page(VISITORS[role], "/")
    for section in SECTIONS:
        if role not in section.roles:
            continue
        await page.goto(section.address)
        await page.wait_for_load_state("networkidle")
        here = page.locator('nav [aria-current="page"]')
        await expect(here).to_contain_text(section.name)
        for words in ("Basestock refused this", "Nothing is here", "not for you"):
            await expect(page.get_by_text(words)).to_have_count(0)
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 800})
            assert await sticks_out(page) == [], f"{section.address} at {width}"
