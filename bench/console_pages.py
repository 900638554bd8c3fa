"""How quick each page of the console is with 100,000 base stock products, in a real Chromium.

`python -m bench console_pages [items]`. Of each page: the server's time until its first answer begins, the time of the
slowest call of the API that it made, and when it is interactive: from the start of the navigation until its table or
panel is on the screen and the server has taken the handshake of its socket, so that a click does something. The page
was open before: scripts and styles are cached. A page of nothing is measured beside them: no page can be quicker.
"""

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Browser, Page
from rich.console import Console
from rich.table import Table

from bench.catalog_import import ADMIN_KEY
from bench.console_data import PRINTED, RETAILER, SUPPLIER, Filled, fill_by_calls, fill_tables, receiver
from bench.servers import system_in_process
from bench.timed_console import BLANK
from shared import clock
from tests.browser.chromium import browser

ITEMS, ROUNDS = 100_000, 5
LIST, PANEL = ".panel tbody tr, [role=main] .empty", "[role=main] .panel, [role=main] .tile, [role=main] .empty"
# Looked at before each frame; the page's own clock begins with the navigation.
WATCH = """
    const look = () => {
        const shown = [...document.querySelectorAll(window.wanted)].some((one) => one.getClientRects().length);
        if (shown && window.did_handshake) window.interactive = performance.now();
        else requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
"""
RESULT = """() => {
    const [navigation] = performance.getEntriesByType("navigation");
    return [navigation.responseStart - navigation.requestStart, window.interactive, window.clientId];
}"""


@dataclass(frozen=True, slots=True)
class Opened:
    """A page, by whom it is opened (0: the platform's admin), and what of it has to be shown."""

    company_id: int
    address: str
    shows: str = PANEL


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds of each time that a page was opened, and of its calls, by what was called."""

    opened: Opened
    server: list[float]
    interactive: list[float]
    calls: Mapping[str, list[float]]

    @property
    def slowest(self) -> tuple[str, list[float]]:
        """The call with the highest median."""
        return max(self.calls.items(), key=lambda call: statistics.median(call[1]), default=("", []))


def pages(data: Filled) -> list[Opened]:
    """Every page, as each role has it."""
    item, order = f"/inventory/{data.item_id}", f"/orders/{data.order_id}"
    endpoint = f"/webhooks/{data.endpoint_id}"
    product = f"/products/{PRINTED + data.item_id}"
    states = [Opened(SUPPLIER, f"/inventory?state={state}", LIST) for state in ("low", "out", "unlinked", "removed")]
    sorts = ("product_id", "title", "on_hand", "-available", "lead_time_days")
    return [
        Opened(SUPPLIER, BLANK, "[role=main]"),
        Opened(SUPPLIER, "/"),
        Opened(SUPPLIER, "/inventory", LIST),
        *states,
        *(Opened(SUPPLIER, f"/inventory?sort={sort}", LIST) for sort in sorts),
        *(Opened(SUPPLIER, f"/inventory?{query}", LIST) for query in ("q=shirt+red", "q=model54321", "location=main")),
        Opened(SUPPLIER, "/inventory?location=main&sort=-available", LIST),
        Opened(SUPPLIER, item, LIST),
        *(Opened(SUPPLIER, page, LIST) for page in ("/products", "/products?q=shirt", "/products?type=stock")),
        *(Opened(SUPPLIER, page) for page in (product, f"/products/{data.item_id}", "/products/new")),
        *(Opened(SUPPLIER, page) for page in ("/products/import", "/inventory/imports", "/orders/import")),
        *(Opened(SUPPLIER, page) for page in (order, "/orders/new", "/orders/dead-letters", "/company")),
        *(Opened(SUPPLIER, page) for page in ("/webhooks", "/webhooks/new", "/account")),
        Opened(SUPPLIER, "/orders", LIST),
        *(Opened(RETAILER, page, LIST) for page in ("/suppliers", "/products", "/orders", "/webhooks", endpoint)),
        *(Opened(RETAILER, page) for page in ("/", order, f"{endpoint}/attempts/{data.attempt_id}", "/company")),
        Opened(0, "/"),
        *(Opened(0, page, LIST) for page in ("/inventory", "/inventory?supplier_id=1", "/products", "/orders")),
        *(Opened(0, page, LIST) for page in (item, "/webhooks", "/platform/companies", "/platform/connections")),
        *(Opened(0, page) for page in ("/inventory/imports", f"/platform/companies/{RETAILER}")),
        *(Opened(0, f"/platform/{page}") for page in ("operations", "dead-letters", "audit")),
    ]


async def measure(dsn: str, items: int = ITEMS) -> list[Measured]:
    """Every page, with an empty database's tables filled."""
    await fill_tables(dsn, items)
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as calls:
        async with _running(dsn, calls.name) as (_, url), receiver() as shop, browser() as chromium:
            data = await fill_by_calls(url, shop, dsn)
            windows = {company_id: await _window(chromium, url, key) for company_id, key in data.keys.items()}
            measured = []
            for opened in pages(data):
                one = await _measure(windows[opened.company_id], opened, Path(calls.name))
                print(*_row(one), sep="\t", file=sys.stderr)
                measured.append(one)
            return measured


def _running(dsn: str, calls_file: str) -> AbstractAsyncContextManager[tuple[int, str]]:
    """`timed_console` in a process of its own; gives its process id and URL."""
    return system_in_process(
        "bench.timed_console",
        calls_file,
        BASESTOCK_DSN=dsn,
        BASESTOCK_PORT="0",
        BASESTOCK_ADMIN_KEY=ADMIN_KEY,
        BASESTOCK_TOKEN_SECRET="t" * 32,
        BASESTOCK_WEBHOOK_ENCRYPTION_KEY="k" * 32,
        BASESTOCK_WEBHOOK_ALLOW_NETWORKS="127.0.0.0/8",
    )


async def _window(chromium: Browser, url: str, key: str) -> Page:
    context = await chromium.new_context(base_url=url, viewport={"width": 1280, "height": 800})
    signed_in = await context.request.post("/sign-in", form={"key": key}, headers={"Origin": url}, max_redirects=0)
    assert signed_in.status == 303, (url, signed_in.status, await signed_in.text())
    return await context.new_page()


async def _measure(page: Page, opened: Opened, calls_file: Path) -> Measured:
    times: list[tuple[float, float, str]] = []
    async with await page.add_init_script(f"window.wanted = {json.dumps(opened.shows)}; {WATCH}"):
        for _ in range(1 + ROUNDS):
            await page.goto(opened.address)
            await page.wait_for_function("window.interactive")
            times.append(await page.evaluate(RESULT))
    await page.goto("about:blank")  # it does not go on asking for what is new
    del times[0]
    clients = {client for _, _, client in times}
    calls: dict[str, list[float]] = {}
    for line in calls_file.read_text(encoding="utf-8").splitlines():  # noqa: ASYNC240 - nothing waits for it
        client, called, milliseconds = json.loads(line)
        if client in clients:
            calls.setdefault(called, []).append(milliseconds)
    return Measured(opened, [server for server, _, _ in times], [ready for _, ready, _ in times], calls)


def _row(one: Measured) -> Sequence[str]:
    called, taken = one.slowest
    who = {SUPPLIER: "supplier", RETAILER: "retailer"}.get(one.opened.company_id, "admin")
    return f"{who} {one.opened.address}", _figures(one.server), called, _figures(taken), _figures(one.interactive)


def _figures(taken: Sequence[float]) -> str:
    return f"{statistics.median(taken):,.0f} ({max(taken):,.0f})" if taken else ""


def show(measured: Sequence[Measured]) -> None:
    """Print the table: milliseconds, the median and in brackets the worst."""
    table = Table("page", "server", "slowest call", "of it", "interactive")
    for one in measured:
        table.add_row(*_row(one))
    Console(width=160).print(table)
    print(f"{clock.utc_now():%Y-%m-%d %H:%M}, load {os.getloadavg()[0]:.1f}")
