"""What all pages have in common: who may open them, the bar and the navigation, and how errors are told."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from html import escape

import structlog
from fastapi import Request
from nicegui import app, ui
from starlette.responses import RedirectResponse, Response

from services.console.api import UNAUTHORIZED, RefusedError
from services.console.sign_in import STYLESHEET, sign_in_address
from services.console.visits import DARK, Door, Role, Visit

log = structlog.get_logger()

EVERYBODY: tuple[Role, ...] = ("supplier", "retailer", "admin")
FORBIDDEN, NOT_FOUND, FAILED = 403, 404, 500
# The API answers within 30 s, or says that it does not.
BUILD_SECONDS = 40
# As often as the browser has its cookie renewed (static/console.js).
RENEW_SECONDS = 25.0

Build = Callable[[Visit], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Section:
    """A place in the navigation."""

    address: str
    name: str
    icon: str
    roles: tuple[Role, ...]


SECTIONS = (
    Section("/", "Overview", "space_dashboard", EVERYBODY),
    Section("/inventory", "Inventory", "inventory_2", ("supplier", "admin")),
    Section("/inventory/imports", "Stock imports", "upload_file", ("supplier", "admin")),
    Section("/suppliers", "Shared stock", "hub", ("retailer",)),
    Section("/products", "Products", "sell", EVERYBODY),
    Section("/orders", "Orders", "receipt_long", EVERYBODY),
    Section("/webhooks", "Webhooks", "webhook", EVERYBODY),
    Section("/company", "Company", "apartment", ("supplier", "retailer")),
    Section("/platform/companies", "Companies", "apartment", ("admin",)),
    Section("/platform/connections", "Connections", "link", ("admin",)),
    Section("/platform/operations", "Operations", "monitor_heart", ("admin",)),
    Section("/platform/dead-letters", "Dead letters", "mark_email_unread", ("admin",)),
    Section("/platform/audit", "Audit trail", "history", ("admin",)),
)


def page(address: str, title: str, roles: Sequence[Role] = EVERYBODY) -> Callable[[Build], Build]:
    """A page of the console at `address`: the decorated function fills its content for a visit.

    A `RefusedError` that it raises is shown in its place; errors of what happens on the page later are told in a
    notification.
    """

    def register(build: Build) -> Build:
        @ui.page(address, title=f"{title} - Basestock", response_timeout=BUILD_SECONDS)
        async def show(request: Request) -> Response | None:
            door: Door = app.state.door
            here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
            try:
                visit = await door.visit(request)
            except RefusedError as error:
                if error.status != UNAUTHORIZED:
                    with _bare(title):
                        _tell_refusal(error)
                    return None
                visit = None
            if visit is None:
                return RedirectResponse(sign_in_address(here), status_code=303)
            with framed(visit, title):
                is_signed_in = await _fill(build, visit, roles)
            return None if is_signed_in else RedirectResponse(sign_in_address(here), status_code=303)

        return build

    return register


async def _fill(build: Build, visit: Visit, roles: Sequence[Role]) -> bool:
    """Draw the page, or why it is not drawn; whether the visitor is still signed in."""
    if visit.role not in roles:
        ui.context.client.status_code = FORBIDDEN
        empty("lock", "This page is not for you", f"It is for {' and '.join(_plural(role) for role in roles)}.")
        return True
    ui.on_exception(tell_error)
    try:
        await build(visit)
    except RefusedError as error:
        _tell_refusal(error)
        return error.status != UNAUTHORIZED
    except Exception as error:  # told here, in the frame: NiceGUI's own page of it has neither
        log.exception("console_page_failed", page=visit.address.partition("?")[0], error=repr(error))
        ui.context.client.status_code = FAILED
        empty("error_outline", "Something went wrong here", "It is in the console's log. Load the page again.")
    return True


def _plural(role: Role) -> str:
    return "platform admins" if role == "admin" else f"{role}s"


@contextmanager
def _bare(title: str) -> Iterator[None]:
    ui.add_head_html(f'<link rel="stylesheet" href="{STYLESHEET}"><link rel="icon" href="/console/icon.svg">')
    with ui.column().classes("content"):
        ui.label(title).classes("title").props('role="heading" aria-level="1"')
        yield


@contextmanager
def framed(visit: Visit, title: str) -> Iterator[None]:
    """The bar, the navigation, and the content between them."""
    ui.add_head_html(f'<link rel="stylesheet" href="{STYLESHEET}"><link rel="icon" href="/console/icon.svg">')
    holder = visit.api.credential.holder if visit.api.credential else ""
    ui.add_body_html(f'<script src="/console/console.js" data-holder="{holder}" defer></script>')
    ui.colors(primary="#0f5ea8", positive="#1a6e3c", negative="#b3261e", warning="#8a5a00")
    dark = ui.dark_mode(value=visit.dark)
    # NiceGUI's own way to show it where there is room asks the browser, and fails when that takes a second.
    with (
        ui.left_drawer(value=False)
        .props("show-if-above width=216 breakpoint=960 no-swipe-open")
        .classes("nav") as drawer
    ):
        _navigation(visit)
    with ui.header().classes("bar"):
        ui.button(icon="menu", on_click=drawer.toggle).props('flat dense round aria-label="Menu"').classes("menu")
        ui.label(title).classes("title").props('role="heading" aria-level="1"')
        ui.space()
        _search(visit)
        _who(visit, dark)
    keep_signed_in(visit)
    with ui.column().classes("content") as content:
        ui.skip_link("Skip to content", target=content)
        yield


def keep_signed_in(visit: Visit) -> None:
    """Renew a user's token while the page is open: where somebody types for long, nothing else calls the API."""

    async def renew() -> None:
        with suppress(RefusedError):  # told when something is asked of the API, and the browser sees it for itself
            await visit.api.renew_in_time()

    if visit.me["user"]:
        ui.timer(RENEW_SECONDS, renew, immediate=False)


def _navigation(visit: Visit) -> None:
    with ui.link(target="/").classes("brand"):
        ui.element("img").classes("brand-icon").props('src=/console/icon.svg alt=""')
        ui.label("Basestock")
    path = visit.address.split("?", 1)[0]
    sections = [section for section in SECTIONS if visit.role in section.roles]
    # The longest address that the page's begins with.
    here = max(
        (s.address for s in sections if s.address != "/" and (path == s.address or path.startswith(f"{s.address}/"))),
        key=len,
        default="/" if path == "/" else "",
    )
    with ui.element("nav").props('aria-label="Main"'):
        for section in sections:
            with ui.link(target=section.address).classes("nav-link") as link:
                ui.icon(section.icon).props('aria-hidden="true"')
                ui.label(section.name)
            if section.address == here:
                link.classes("here").props('aria-current="page"')


def _search(visit: Visit) -> None:
    """One field for what people have in hand: a SKU, a barcode, an order's reference."""
    target = "/products" if visit.role == "retailer" else "/inventory"
    ui.html(
        f'<form action="{target}" method="get" role="search" class="search"><input name="q" type="search" '
        'aria-label="Search by SKU, name or barcode" placeholder="Search SKU, name, barcode" accesskey="s">'
        "<kbd aria-hidden='true'>/</kbd></form>",
        sanitize=False,
    )


def _who(visit: Visit, dark: ui.dark_mode) -> None:
    def choose(theme: str) -> None:
        dark.value = DARK[theme]
        ui.run_javascript(f"basestock.keepTheme('{theme}')")

    company = visit.me["company"]
    name = company["name"] if company else "Platform"
    with ui.button().props("flat no-caps dense").classes("who") as button:
        button.props["aria-label"] = f"Account: {name}"
        ui.icon("account_circle").props('aria-hidden="true"')
        ui.label(name).classes("who-name")
        with ui.menu().props("auto-close"):
            ui.html(f"<div class='menu-head'>{escape(visit.name)}</div>", sanitize=False)
            ui.menu_item("Account and password", lambda: ui.navigate.to("/account"))
            ui.separator()
            ui.menu_item("Light", lambda: choose("light"))
            ui.menu_item("Dark", lambda: choose("dark"))
            ui.menu_item("As the system has it", lambda: choose("system"))
            ui.separator()
            ui.menu_item("Sign out", lambda: ui.run_javascript("basestock.signOut()"))


def _tell_refusal(error: RefusedError) -> None:
    ui.context.client.status_code = error.status
    if error.status == NOT_FOUND:
        with empty("search_off", "Nothing is here", str(error)):
            ui.link("To the overview", "/")
    elif error.status >= FAILED:
        with empty("cloud_off", "Basestock does not answer as it should", str(error)):
            ui.button("Try again", on_click=ui.navigate.reload).props("unelevated")
    else:
        empty("error_outline", "Basestock refused this", str(error))


def empty(icon: str, headline: str, words: str) -> ui.column:
    """What a page or a list shows in place of content; what to do next can be put into it."""
    with ui.column().classes("empty") as box:
        ui.icon(icon).props('aria-hidden="true"')
        ui.label(headline).classes("empty-headline")
        ui.label(words).classes("muted")
    return box


def tell_error(error: Exception, what: str = "") -> None:
    """Tell the visitor of an error of what was just done on the page; `what` goes before its own words."""
    if isinstance(error, RefusedError):
        if error.status == UNAUTHORIZED:
            ui.navigate.reload()
            return
        ui.notify(f"{what}{error}", type="negative", multi_line=True, close_button="OK", timeout=12_000)
        return
    log.error("console_failed", error=repr(error), exc_info=error)
    ui.notify(
        f"{what}Something went wrong here; it is in the console's log. Load the page again.",
        type="negative",
        close_button="OK",
        timeout=12_000,
    )


async def show_what_came(show: Callable[[], Awaitable[None]]) -> None:
    """Show on the page what has come of what is done.

    It is done, whether or not it can be shown: that it cannot is told, and nothing invites to do it once more.
    """
    with ui.context.client.content:  # where it was done, a dialog perhaps, may be taken away meanwhile
        try:
            await show()
        except Exception as error:  # told
            tell_error(error, "It is done, but cannot be shown here. Load the page again. ")


def tell_done(words: str) -> None:
    """Tell the visitor that something was done."""
    ui.notify(words, type="positive", timeout=4_000)
