"""The whole demo: the documents' example, then a real wholesaler's orders, then the verdict."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from demo.api import Api
from demo.expected import expected_levels
from demo.fixture import load_fixture
from demo.options import LOOPBACK, OrdersBroker
from demo.orders_file import OrdersFile, OrdersFileError, read_orders_file
from demo.plan import Assortment, Message, assortment_of, messages_of, sending_sequence, without_one_order
from demo.publishing import publish_orders
from demo.replay import Part, Sent, create_products, open_run, send, set_start_levels, settled_levels
from demo.retailer import demo_retailer
from demo.story import forget_endpoints, tell_story
from shared import clock

TWICE_SHARE = 0.05
WINDOW_MESSAGES = 50
SEED = 20101201
SHOWN_MISMATCHES = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """What a replay creates and sends, the levels it must end in, and what there is to say about it beforehand."""

    assortment: Assortment
    sequence: tuple[Message, ...]
    expected: dict[str, int]
    notes: tuple[str, ...]

    def referring_to(self, run: str) -> Self:
        """The same, with the run in every reference."""
        sequence = tuple(replace(message, reference=f"{run}/{message.reference}") for message in self.sequence)
        return replace(self, sequence=sequence)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a replay came to: `expected` and `found` are `{stock code: level}`."""

    sent: Sent
    products: int
    seconds: float
    expected: dict[str, int]
    found: dict[str, int]

    @property
    def mismatches(self) -> list[str]:
        """The codes whose level is not what it must be, or that have one and should not."""
        codes = self.expected.keys() | self.found.keys()
        return sorted(code for code in codes if self.expected.get(code) != self.found.get(code))

    @property
    def is_right(self) -> bool:
        """Whether every level is what it must be, and nothing that was sent twice counted twice."""
        return not self.mismatches and not self.sent.doubled


async def run_demo(  # noqa: PLR0913 - what a user may choose
    base_url: str,
    admin_key: str,
    *,
    orders_file: Path,
    drop_one: bool,
    console: Console,
    webhook_host: str = LOOPBACK,
    broker: OrdersBroker | None = None,
    linger: Callable[[Mapping[str, str]], Awaitable[None]] | None = None,
) -> bool:
    """Play the demo against the Basestock at `base_url` and print it; says whether everything came out right.

    `drop_one` withholds one order, so that the verdict must be wrong. `webhook_host` is the name or address under which
    that Basestock reaches this machine, where the demo's retailer listens. With a `broker` the real orders are
    published there. `linger` is awaited after the verdict, while the demo's retailer still listens and prints webhooks;
    it gets an API key of each of the demo's companies, by the company's name.
    Raises `RuntimeError` (a sentence for people) for a file that cannot be read and for calls that fail.
    """
    plan = plan_of(orders_file, drop_one=drop_one)
    run = f"{clock.utc_now():%Y%m%d-%H%M%S}-{clock.uuid7().hex[-4:]}"
    async with Api(base_url, admin_key) as admin, demo_retailer(console, webhook_host) as retailer:
        fixture = await load_fixture(admin)
        async with Api(base_url, fixture.supplier_key) as supplier, Api(base_url, fixture.retailer_key) as shop:
            story_right = await tell_story(supplier, shop, retailer, run=run, console=console)
            console.rule(f"[bold]Real orders: {escape(orders_file.name)}")
            for note in plan.notes:
                console.print(escape(note))
            with _progress(console) as progress:
                outcome, keys = await _replay(admin, base_url, plan, run, progress, broker)
            _print_outcome(console, outcome, story_right=story_right)
            if linger:
                await linger(keys | {"Supplier A": fixture.supplier_key, "Retailer A": fixture.retailer_key})
            await forget_endpoints(shop, retailer)
    return story_right and outcome.is_right


async def fill(base_url: str, admin_key: str, *, orders_file: Path, progress: Progress) -> None:
    """Load the documents' example and a real wholesaler's orders into the Basestock at `base_url`, to look around in.

    Raises as `run_demo` does.
    """
    plan = plan_of(orders_file)
    async with Api(base_url, admin_key) as admin:
        await load_fixture(admin)
        await _replay(admin, base_url, plan, f"{clock.utc_now():%Y%m%d-%H%M%S}", progress)


def plan_of(path: Path, *, drop_one: bool = False) -> Plan:
    """Work out a replay of this file; raises `OrdersFileError` for one that cannot be read or compared."""
    orders = read_orders_file(path)
    assortment, messages = assortment_of(orders.lines), messages_of(orders.lines)
    if not assortment.stock:
        message = f"{path}: no stock code starts with a digit, so there is no product whose level could be compared"
        raise OrdersFileError(message)
    notes = [_summary(orders), *orders.remarks]
    if zero_lines := sum(line.quantity == 0 for line in orders.lines):
        notes.append(f"{zero_lines:,} lines of no units are left out.")
    if drop_one:
        messages, withheld = without_one_order(messages)
        notes.append(f"--drop-one: order {withheld.reference} is withheld, so the verdict must be WRONG.")
    sequence = sending_sequence(messages, twice_share=TWICE_SHARE, window=WINDOW_MESSAGES, seed=SEED)
    return Plan(assortment, tuple(sequence), expected_levels(path), tuple(notes))


async def _replay(
    admin: Api, base_url: str, plan: Plan, run: str, progress: Progress, broker: OrdersBroker | None = None
) -> tuple[Outcome, dict[str, str]]:
    """What it came to, and an API key of each of the run's companies by the company's name."""
    keys = await open_run(admin, run, broker.user if broker else None)
    async with Api(base_url, keys.supplier_key) as supplier, Api(base_url, keys.retailer_key) as retailer:
        parts = await create_products(supplier, plan.assortment, progress)
        # A broker's retailer is the same in every run, so each run needs references of its own.
        sent = plan.referring_to(run) if broker else plan
        outcome = await play(supplier, retailer, sent, parts, progress, broker)
    return outcome, {keys.supplier: keys.supplier_key, keys.retailer: keys.retailer_key}


async def play(
    supplier: Api,
    retailer: Api,
    plan: Plan,
    parts: Mapping[str, Part],
    progress: Progress,
    broker: OrdersBroker | None = None,
) -> Outcome:
    """Count every product anew, and send the plan's orders, over HTTP or through the broker, and returns."""
    await set_start_levels(supplier, plan.assortment, progress)
    started = clock.monotonic()
    published = [message for message in plan.sequence if broker and message.kind == "order"]
    if broker:
        await publish_orders(broker, published, parts, progress)
    over_http = [message for message in plan.sequence if not broker or message.kind == "return"]
    sent = await send(retailer, over_http, parts, progress)
    sent.count(published)
    found, ended = await settled_levels(supplier, plan.expected, progress)
    products = len(plan.assortment.names) + len(plan.assortment.styles)
    return Outcome(sent, products, max(ended - started, 0.001), plan.expected, found)


def _summary(orders: OrdersFile) -> str:
    lines = orders.lines
    invoices = len({line.invoice for line in lines})
    first, last = min(line.placed_at for line in lines), max(line.placed_at for line in lines)
    value = sum(line.quantity * line.unit_price for line in lines)
    return (
        f"{len(lines):,} lines of {invoices:,} invoices from {first:%d %B %Y} to {last:%d %B %Y}, worth {value:,.2f} "
        "when what came back is taken off."
    )


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def _print_outcome(console: Console, outcome: Outcome, *, story_right: bool) -> None:
    counts, seconds = outcome.sent.counts, outcome.seconds
    below_zero = sum(level < 0 for level in outcome.found.values())
    table = Table(title="The replay", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in (
        ("products created", f"{outcome.products:,}"),
        ("orders", f"{counts['order']:,}"),
        ("returns", f"{counts['return']:,}"),
        ("lines in them", f"{counts['line']:,}"),
        ("messages sent twice", f"{counts['repeat']:,}"),
        ("seconds until all levels stood", f"{seconds:.1f}"),
        ("orders and returns per second", f"{(counts['order'] + counts['return']) / seconds:,.0f}"),
        ("lines per second", f"{counts['line'] / seconds:,.0f}"),
        ("levels compared", f"{len(outcome.expected):,}"),
        ("of them below zero (backorder)", f"{below_zero:,}"),
        ("levels that differ", f"{len(outcome.mismatches):,}"),
    ):
        table.add_row(name, value)
    console.print(table)
    if outcome.mismatches:
        console.print(_mismatches(outcome))
    if outcome.sent.doubled:
        console.print(f"[bold red]Sent twice and counted twice:[/] {escape(', '.join(outcome.sent.doubled))}")
    if not story_right:
        console.print("[bold red]The example above did not come out right.[/]")
    if story_right and outcome.is_right:
        console.print(f"[bold green]RIGHT:[/] all {len(outcome.expected):,} levels are what the file says.")
    else:
        console.print("[bold red]WRONG[/]")


def _mismatches(outcome: Outcome) -> Table:
    shown = outcome.mismatches[:SHOWN_MISMATCHES]
    title = f"Levels that differ: {len(shown)} of {len(outcome.mismatches):,}"
    table = Table("stock code", title=title, title_justify="left")
    for heading in ("expected", "found"):
        table.add_column(heading, justify="right")
    for code in shown:
        table.add_row(escape(code), str(outcome.expected.get(code, "none")), str(outcome.found.get(code, "none")))
    return table
