"""The second part: a wholesaler's real orders, created and sent through the public API.

Each run has a supplier and a retailer of its own, so that its levels start clean in a data folder that was used before.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.progress import Progress

from demo.api import Api
from demo.companies import company_id, connect, new_key
from demo.concurrently import concurrently
from demo.expected import start_quantity
from demo.plan import Assortment, Message
from shared import clock

IN_FLIGHT = 32
ROWS_PER_BULK = 500
ROWS_PER_PAGE = 200
LEVELS_PER_PAGE = 200
NAME_LIMIT = 200
# Inventory hears of new products by events, within moments.
KNOWN_SECONDS = 30
# How long inventory may take for what is still queued; when nothing changes for the quiet time nothing more will.
SETTLE_SECONDS = 60
QUIET_SECONDS = 5
# Right levels must stay right: whatever is applied twice would be so by then.
STAY_SECONDS = 1
POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Part:
    """What an order line names for a stock code: a product, or a style and its variant."""

    product_id: int
    variant_sku: str | None = None


@dataclass(slots=True)
class Sent:
    """What was sent: `counts` of orders, returns, lines and repeats; `ids` has every id a message was answered with."""

    counts: Counter[str] = field(default_factory=Counter)
    ids: defaultdict[Message, set[str]] = field(default_factory=lambda: defaultdict(set))

    def count(self, messages: Sequence[Message]) -> None:
        """Count these as sent."""
        for message, times in Counter(messages).items():
            self.counts.update({message.kind: 1, "line": len(message.lines), "repeat": times - 1})

    @property
    def doubled(self) -> list[str]:
        """The references that were sent twice and became two orders or returns."""
        return sorted(message.reference for message, ids in self.ids.items() if len(ids) > 1)


@dataclass(frozen=True, slots=True)
class Run:
    """The companies of a run, by name, and a fresh API key of each."""

    supplier: str
    supplier_key: str
    retailer: str
    retailer_key: str


async def open_run(admin: Api, run: str, publisher: str | None = None) -> Run:
    """Make the run's supplier and retailer, connected.

    The orders of a `publisher`, a user of the broker, are those of the company with this ref: it is the retailer then.
    """
    supplier_name, retailer_name = f"Gift wholesale, run {run}", f"Gift shop, run {run}"
    supplier = await company_id(admin, f"gift-wholesale-{run}", supplier_name, "supplier")
    if publisher:
        retailer_name = f"Order system {publisher}"
        retailer = await company_id(admin, publisher, retailer_name, "retailer")
    else:
        retailer = await company_id(admin, f"gift-shop-{run}", retailer_name, "retailer")
    await connect(admin, supplier, retailer)
    return Run(supplier_name, await new_key(admin, supplier), retailer_name, await new_key(admin, retailer))


async def create_products(supplier: Api, assortment: Assortment, progress: Progress) -> dict[str, Part]:
    """Import the assortment as one file, and say how each stock code is ordered.

    Every code with a level becomes a `stock` product; codes without are `customisable` with no link, so untracked;
    a style is `customisable`, and each of its variants is linked to the stock product of the variant's code.
    Raises `RuntimeError` when a product is refused.
    """
    rows = products_of(assortment)
    task = progress.add_task("Create products", total=len(rows))
    job = await supplier.post_rows("/v1/products/import", rows, mode="all")
    while job["state"] not in {"done", "failed"}:
        await clock.sleep(POLL_SECONDS)
        job = await supplier.get(f"/v1/products/imports/{job['id']}")
        progress.update(task, completed=job["rows_done"])
    path = f"/v1/products/imports/{job['id']}/rows"
    made = {(row["type"], row["sku"]): row async for row in supplier.pages(path, limit=ROWS_PER_PAGE)}
    if job["state"] == "failed":
        refused = next((row for row in made.values() if row["errors"]), None)
        message = f"The products were not imported: {job['reason']} {refused or ''}"
        raise RuntimeError(message)
    parts = {code: Part(made[_type_of(code, assortment), code]["product_id"]) for code in assortment.names}
    styles = {stem: made["customisable", stem]["product_id"] for stem in assortment.styles}
    return parts | {code: Part(styles[stem], code) for code, stem in assortment.style_of.items()}


def products_of(assortment: Assortment) -> list[dict[str, Any]]:
    """The assortment as rows of a file to import; a style is called like its first code.

    All of it is shown to the shop, which sells it.
    """
    codes = [
        {"type": _type_of(code, assortment), "sku": code, "name": name[:NAME_LIMIT], "visibility": "connected"}
        for code, name in assortment.names.items()
    ]
    return codes + [
        {
            "type": "customisable",
            "sku": stem,
            "name": assortment.names[of_style[0]][:NAME_LIMIT],
            "visibility": "connected",
            "variants": [_variant(code, stem) for code in of_style],
        }
        for stem, of_style in assortment.styles.items()
    ]


def _variant(code: str, stem: str) -> dict[str, Any]:
    letter = {"name": "Letter", "value": code.removeprefix(stem)}
    return {"sku": code, "attributes": [letter], "base_stock_sku": code}


def _type_of(code: str, assortment: Assortment) -> str:
    return "customisable" if code in assortment.untracked else "stock"


async def set_start_levels(supplier: Api, assortment: Assortment, progress: Progress) -> None:
    """Count every product: wait until inventory lists them all, then set on hand in bulk.

    Raises `RuntimeError` when it does not list them in time, or refuses a row.
    """
    task = progress.add_task("Set start levels", total=len(assortment.stock))
    deadline = clock.monotonic() + KNOWN_SECONDS
    while missing := set(assortment.stock) - (await read_levels(supplier)).keys():
        if clock.monotonic() > deadline:
            message = f"Inventory does not list {len(missing)} of the products within {KNOWN_SECONDS} s: {min(missing)}"
            raise RuntimeError(message)
        await clock.sleep(POLL_SECONDS)
    rows = [{"sku": code, "on_hand": start_quantity(code), "reason": "start of the demo"} for code in assortment.stock]
    for start in range(0, len(rows), ROWS_PER_BULK):
        chunk = rows[start : start + ROWS_PER_BULK]
        answer = await supplier.post("/v1/stock/bulk", chunk)
        if answer["refused"]:
            refused = next(row for row in answer["rows"] if row["errors"])
            message = f"Inventory refused to set {answer['refused']} start levels, one of them: {refused}"
            raise RuntimeError(message)
        progress.advance(task, len(chunk))


async def send(retailer: Api, messages: Sequence[Message], parts: Mapping[str, Part], progress: Progress) -> Sent:
    """Send the messages, each as an order or a return of its own, many in flight."""
    sent = Sent()
    task = progress.add_task("Send orders and returns", total=len(messages))

    async def send_one(message: Message) -> None:
        if message.kind == "order":
            answer = await retailer.post("/v1/orders", order_body(message, parts))
            sent.ids[message].add(answer["order_id"])
        else:
            answer = await retailer.post(
                "/v1/returns", _body(message, parts) | {"returned_at": message.placed_at.isoformat()}
            )
            sent.ids[message].add(answer["return_id"])
        progress.advance(task)

    await concurrently(messages, send_one, IN_FLIGHT)
    sent.count(messages)
    return sent


def order_body(message: Message, parts: Mapping[str, Part]) -> dict[str, Any]:
    """An order as it is sent, over HTTP as through the broker."""
    return _body(message, parts) | {"placed_at": message.placed_at.isoformat()}


def _body(message: Message, parts: Mapping[str, Part]) -> dict[str, Any]:
    lines = [
        {
            "product_id": parts[code].product_id,
            "variant_sku": parts[code].variant_sku,
            "quantity": quantity,
            **({"restock": True} if message.kind == "return" else {}),
        }
        for code, quantity in message.lines
    ]
    return {"external_ref": message.reference, "lines": lines}


async def read_levels(supplier: Api) -> dict[str, int]:
    """`{sku: available}` of everything the supplier stocks, read page by page."""
    return {item["sku"]: item["available"] async for item in supplier.pages("/v1/stock", limit=LEVELS_PER_PAGE)}


async def settled_levels(
    supplier: Api, expected: Mapping[str, int], progress: Progress
) -> tuple[dict[str, int], float]:
    """The levels once they stay, and the moment (monotonic) at which they had come to it.

    They stay when they are as expected and still so a second later, or when nothing has changed for some seconds, or
    when the time is up: the comparison is then made with what there is.
    """
    task = progress.add_task("Levels as they must be", total=len(expected))
    levels, since = await read_levels(supplier), clock.monotonic()
    deadline = since + SETTLE_SECONDS
    while True:
        progress.update(task, completed=sum(levels.get(code) == level for code, level in expected.items()))
        await clock.sleep(POLL_SECONDS)
        latest, now = await read_levels(supplier), clock.monotonic()
        if latest != levels:
            levels, since = latest, now
        patience_seconds = STAY_SECONDS if levels == expected else QUIET_SECONDS
        if now - since > patience_seconds or now > deadline:
            return levels, since
