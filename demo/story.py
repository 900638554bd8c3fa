"""The first part: one order for a customisable product lowers its base stock, and the retailer hears of it."""

import json
from typing import Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from demo.api import NOT_FOUND, Api, ApiError
from demo.retailer import Call, Retailer
from shared import clock

SMALL, LARGE, SHIRT, SMALL_SHIRT = 100, 101, 102, "T01-S"
# Two levels to start with: the first that is not there already, so that setting it is a change and is told.
START_LEVELS = {SMALL: (40, 50), LARGE: (60, 70)}
ORDERED = 3
HEARD_SECONDS = 20
ALLOW = (
    "Start it with BASESTOCK_WEBHOOK_ALLOW_NETWORKS naming the network of that address (127.0.0.0/8 on the same "
    "machine), and where it runs in containers use --webhook-host host.docker.internal."
)
REACH = "Name this machine as Basestock reaches it with --webhook-host, and let its firewall pass such calls."


async def tell_story(supplier: Api, shop: Api, retailer: Retailer, *, run: str, console: Console) -> bool:
    """Play the documents' example as Supplier A and Retailer A (`shop`), and print it.

    `run` makes the order's reference unique. Returns whether all of it came out as it must; leaves the retailer's
    endpoint registered.
    """
    console.rule("[bold]One order, one webhook")
    await forget_endpoints(shop, retailer)
    start = await _set_levels(supplier, shop, retailer, console)
    # The window is per endpoint and product (900 s, if nothing else is set); the start levels have used it up.
    await _register(shop, retailer)
    console.print("Retailer A registers its webhook afresh, so that the next change need not wait for the window.\n")

    order = await _order(shop, f"demo-{run}", console)
    wanted = start | {SMALL: start[SMALL] - ORDERED}
    found = await _levels(supplier)
    _print_levels(console, start, found)
    entry = await _ledger_entry(supplier, str(order["order_id"]))
    _print_fields(console, f"The ledger entry of product {SMALL} for this order", entry)
    is_told = await _is_told(retailer, SMALL, wanted[SMALL])
    complaints = []
    if found != wanted:
        complaints.append(f"the levels are {found} and not {wanted}")
    if entry is None or entry["on_hand_delta"] != -ORDERED:
        complaints.append(f"the ledger of product {SMALL} does not show the order's {ORDERED} units")
    if not is_told:
        complaints.append(f"no verified webhook told {wanted[SMALL]} within {HEARD_SECONDS} s")
    for complaint in complaints:
        console.print(f"[bold red]Wrong:[/] {complaint}")
    return not complaints


async def forget_endpoints(shop: Api, retailer: Retailer) -> None:
    """Remove the retailer's endpoints on this machine: those of earlier runs have nobody listening any more."""
    this_machine = urlsplit(retailer.url).hostname
    endpoints = [endpoint async for endpoint in shop.pages("/v1/webhook-endpoints", limit=100)]
    for endpoint in endpoints:
        if urlsplit(endpoint["url"]).hostname == this_machine:
            await shop.delete(f"/v1/webhook-endpoints/{endpoint['id']}")


async def _register(shop: Api, retailer: Retailer) -> int:
    """Register the retailer's URL; `RuntimeError` says what to do where this Basestock may not call it."""
    try:
        made = await shop.post("/v1/webhook-endpoints", {"url": retailer.url})
    except ApiError as error:
        if error.code != "forbidden_address":
            raise
        message = f"This Basestock may not call Retailer A's webhook {retailer.url}: {error}. {ALLOW}"
        raise RuntimeError(message) from error
    retailer.secret = made["secret"]
    return int(made["id"])


async def _set_levels(supplier: Api, shop: Api, retailer: Retailer, console: Console) -> dict[int, int]:
    """Set both levels, absolutely, and wait until the retailer has heard of them; `RuntimeError` if it never does.

    Only then it is sure that they are told and done, and the next call is about the order.
    """
    await _until_known(supplier, SMALL, LARGE)
    endpoint_id = await _register(shop, retailer)
    now = await _levels(supplier)
    start = {
        product_id: next(level for level in levels if level != now[product_id])
        for product_id, levels in START_LEVELS.items()
    }
    console.print(f"Supplier A counts its stock: {start[SMALL]} of T01-S, {start[LARGE]} of T01-L. Retailer A hears:")
    for product_id, on_hand in start.items():
        body = {"on_hand": on_hand, "reason": "counted for the demo"}
        await supplier.post(f"/v1/stock/{product_id}/adjustments", body)
    for product_id, on_hand in start.items():
        if not await _is_told(retailer, product_id, on_hand):
            cause = await _why_not_told(shop, endpoint_id)
            message = f"Retailer A did not hear of {on_hand} of product {product_id} within {HEARD_SECONDS} s: {cause}"
            raise RuntimeError(message)
    await shop.delete(f"/v1/webhook-endpoints/{endpoint_id}")
    return start


async def _why_not_told(shop: Api, endpoint_id: int) -> str:
    """What became of the newest call, and what to do, in words."""
    attempts = (await shop.get(f"/v1/webhook-endpoints/{endpoint_id}/attempts", kind="stock_level", limit=1))["items"]
    if not attempts:
        return "this Basestock made no call. Is its notifier running, and does it hear from its broker?"
    (attempt,) = attempts
    if attempt["error"] is None:
        return "the newest call arrived, but told something else."
    # A name that leads to a forbidden address is not told from an unknown one: names inside are nobody's business.
    advice = {"forbidden": ALLOW, "dns": f"{REACH} If the name is right, Basestock may not call there. {ALLOW}"}
    return f"the call failed ({attempt['detail'] or attempt['error']}). {advice.get(attempt['error'], REACH)}"


async def _until_known(supplier: Api, *product_ids: int) -> None:
    """Inventory hears of new products by events, within moments."""
    deadline = clock.monotonic() + HEARD_SECONDS
    for product_id in product_ids:
        while True:
            try:
                await supplier.get(f"/v1/stock/{product_id}")
                break
            except ApiError as error:
                if error.status != NOT_FOUND or clock.monotonic() > deadline:
                    raise
            await clock.sleep(0.05)


async def _order(shop: Api, reference: str, console: Console) -> Any:  # noqa: ANN401 - JSON
    line = {"product_id": SHIRT, "variant_sku": SMALL_SHIRT, "quantity": ORDERED}
    body = {"external_ref": reference, "lines": [line]}
    console.print(f"Retailer A orders {ORDERED} x product {SHIRT}, variant {SMALL_SHIRT}:")
    order = await shop.post("/v1/orders", body, wait=10)
    (answered,) = order["lines"]
    takes = ", ".join(f"{take['quantity']} of product {take['product_id']}" for take in answered["takes"])
    _print_fields(console, "The order", {**order, "lines": f"{answered['outcome']}: takes {takes or 'nothing'}"})
    return order


async def _levels(supplier: Api) -> dict[int, int]:
    levels = {}
    for product_id in (SMALL, LARGE):
        levels[product_id] = int((await supplier.get(f"/v1/stock/{product_id}"))["available"])
    return levels


async def _ledger_entry(supplier: Api, order_id: str) -> Any:  # noqa: ANN401 - JSON
    """The entry that the order made, `None` when there is none."""
    entries = (await supplier.get(f"/v1/stock/{SMALL}/ledger"))["items"]
    return next((entry for entry in entries if entry["reference"] == order_id), None)


async def _is_told(retailer: Retailer, product_id: int, available: int) -> bool:
    """Whether a verified call tells this level, past or within `HEARD_SECONDS`."""
    return await retailer.hears(lambda call: _told(call).get(product_id) == available, HEARD_SECONDS)


def _told(call: Call) -> dict[int, int]:
    """`{base stock product id: available}` that a call tells, nothing when it does not verify."""
    if not call.verified:
        return {}
    return {item["linked"][0]["product"]["id"]: item["quantity_available"] for item in call.body.get("stock", [])}


def _print_levels(console: Console, before: dict[int, int], after: dict[int, int]) -> None:
    table = Table("Base stock product", title="Stock levels", title_justify="left")
    for heading in ("before", "after", "change"):
        table.add_column(heading, justify="right")
    for product_id, name in ((SMALL, "100 T01-S"), (LARGE, "101 T01-L")):
        change = after[product_id] - before[product_id]
        table.add_row(name, str(before[product_id]), str(after[product_id]), f"{change:+}" if change else "none")
    console.print(table)


def _print_fields(console: Console, title: str, fields: dict[str, Any] | None) -> None:
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in (fields or {"none": ""}).items():
        table.add_row(name, escape(value if isinstance(value, str) else json.dumps(value)))
    console.print(table)
