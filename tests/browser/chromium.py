"""A real Chromium that Playwright drives, and what it finds wrong with a page by itself."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, ConsoleMessage, Error, Page, async_playwright

from shared.machine import SEARCH_PATH, install_on_debian

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Root may not run it in its sandbox, and it asks its maker's servers for nothing.
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


def chromium() -> str:
    """The path of Chromium; root on Debian installs it."""
    found = next(filter(None, (shutil.which(name, path=SEARCH_PATH) for name in NAMES)), None)
    if found is None and install_on_debian("chromium"):
        found = shutil.which("chromium", path=SEARCH_PATH)
    assert found, "There is no Chromium on this machine: install it (Debian: apt-get install chromium)."
    return found


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """A browser of its own."""
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        try:
            yield running
        finally:
            await running.close()


class Complaints:
    """What a page's scripts complained of; a test that ends with any has failed."""

    def __init__(self, page: Page) -> None:
        """Listen to this page."""
        self.said: list[str] = []
        self._page = page
        page.on("console", self._hear)
        page.on("pageerror", self._hear_error)

    def _hear(self, message: ConsoleMessage) -> None:
        # A page that says 404 itself is what the test asked for; what a page loads has to be there.
        is_of_page_itself = (
            message.text.startswith("Failed to load resource") and message.location["url"] == self._page.url
        )
        if message.type in {"error", "warning"} and not is_of_page_itself:
            self.said.append(message.text)

    def _hear_error(self, error: Error) -> None:
        self.said.append(str(error))
