"""An ERP outside, which counts its own stock: it assigns orders, ships them, and states what is on hand afterwards.

    BASESTOCK_ADMIN_KEY=bsk_... python -m demo.erp http://127.0.0.1:8000 [--overtake]

It plays NewStore's example. Of ten units four are ordered; three leave, ten more come in, and the ERP states the
seventeen that it has, with the range of fulfillment events which it has counted: one allocation is left. With
`--overtake` it does so before it has reported that the three have left: the import waits for them.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from demo.api import NOT_FOUND, Api, ApiError
from demo.companies import company_id, connect, new_key
from shared import clock

LOCATION = "erp"
REFS = ("ff1", "ff2", "ff3", "ff4")
SHIPPED, RECEIVED = 3, 10
START = 10
PATIENCE_SECONDS = 30
ASSIGNED, COMPLETED = "fulfillment_request_assigned", "fulfillment_request_completed"


class Erp:
    """The supplier's ERP: what it has in its own books, and how far it has read the events."""

    def __init__(self, api: Api, product_id: int, console: Console) -> None:
        """Keep the stock of this product, as the owner of the key of `api`."""
        self._api, self._product_id, self._console = api, product_id, console
        self.on_hand = 0
        self.last = 0

    async def read_events(self, kind: str, count: int) -> list[int]:
        """Read the feed on until so many events of a kind have come; returns their logical timestamps."""
        found: list[int] = []
        deadline = clock.monotonic() + PATIENCE_SECONDS
        while len(found) < count:
            feed = await self._api.get("/v1/fulfillment-events", after=self.last)
            self.last = feed["last"]
            for event in feed["items"]:
                number, ref = event["logical_timestamp"], event["request_ref"]
                self._console.print(f"  logical timestamp {number}: {event['type']} {ref}")
                found += [number] if event["type"] == kind else []
            if not feed["items"] and clock.monotonic() > deadline:
                message = f"the feed has no {kind} that is number {len(found) + 1}"
                raise RuntimeError(message)
        return found

    async def catch_up(self) -> None:
        """Read the feed to its end, whatever there is of earlier days."""
        while (feed := await self._api.get("/v1/fulfillment-events", after=self.last))["items"]:
            self.last = feed["last"]

    async def assign(self, order_id: str, run: str) -> list[str]:
        """Assign the order unit by unit, under references of the ERP's own; returns the requests' ids."""
        requests = []
        for ref in REFS:
            body = {"order_id": order_id, "items": [{"line_id": 1, "quantity": 1}], "external_ref": f"{ref}-{run}"}
            requests.append((await self._api.post("/v1/fulfillment-requests", body))["request_id"])
        return requests

    def ship(self, units: int) -> None:
        """They leave the house; Basestock does not know of it yet."""
        self.on_hand -= units

    async def report(self, requests: Sequence[str]) -> None:
        """Tell Basestock that these have left."""
        for request_id in requests:
            await self._api.post(f"/v1/fulfillment-requests/{request_id}/complete")

    async def state(self, first: int, last: int) -> str:
        """State what is on hand, these logical timestamps counted; returns the id of the import, which has begun."""
        item = {"location": LOCATION, "product": str(self._product_id), "on_hand": self.on_hand}
        body = {"entity": "stock", "partial": True, "items": [item], "logical_timestamps": {"from": first, "to": last}}
        import_id = str((await self._api.post("/import", body))["import_id"])
        await self._api.post(f"/import/{import_id}/start")
        self._console.print(f"The ERP states {self.on_hand} on hand, the events {first} to {last} counted.")
        return import_id

    async def watch(self, import_id: str, *, until_waiting: bool = False) -> dict[str, Any]:
        """The import when it has come to its end, or says what it waits for."""
        deadline = clock.monotonic() + PATIENCE_SECONDS
        while True:
            shown: dict[str, Any] = await self._api.get(f"/import/{import_id}")
            if shown["state"] in {"completed", "failed"} or (until_waiting and shown["reason"]):
                told = f": {shown['reason']}" if shown["reason"] else ""
                self._console.print(f"The import is {shown['state']}{told}")
                return shown
            if clock.monotonic() > deadline:
                message = f"the import {import_id} is still {shown['state']}: {shown['reason']}"
                raise RuntimeError(message)
            await clock.sleep(0.05)


async def play(url: str, admin_key: str, console: Console, *, overtake: bool = False) -> bool:
    """Play the example on the Basestock at `url`, through its public API; says whether it came out right."""
    run = clock.uuid7_text()[:13]
    async with Api(url, admin_key) as admin:
        supplier_id = await company_id(admin, "erp-supplier", "Supplier with an ERP", "supplier")
        shop_id = await company_id(admin, "erp-shop", "Shop of that supplier", "retailer")
        await connect(admin, supplier_id, shop_id)
        product = {"owner_id": supplier_id, "sku": f"ERP-{run}", "name": "A chair", "type": "stock"}
        product_id = int((await admin.post("/v1/products", product))["id"])
        keys = await new_key(admin, supplier_id), await new_key(admin, shop_id)
    async with Api(url, keys[0]) as supplier, Api(url, keys[1]) as shop:
        erp = Erp(supplier, product_id, console)
        await _stock(supplier, erp, product_id)
        order_id = await _order(shop, product_id, run)
        console.print(f"{START} on hand, {len(REFS)} ordered, assigned as {', '.join(REFS)}:")
        await erp.catch_up()
        requests = await erp.assign(order_id, run)
        await erp.read_events(ASSIGNED, len(REFS))
        erp.ship(SHIPPED)
        erp.on_hand += RECEIVED
        if overtake:
            import_id = await erp.state(erp.last + 1, erp.last + SHIPPED)
            waits = (await erp.watch(import_id, until_waiting=True))["state"] == "waiting"
            await erp.report(requests[:SHIPPED])
            await erp.read_events(COMPLETED, SHIPPED)
        else:
            await erp.report(requests[:SHIPPED])
            numbers = await erp.read_events(COMPLETED, SHIPPED)
            import_id, waits = await erp.state(numbers[0], numbers[-1]), True
        done = await erp.watch(import_id)
        return waits and await _came_out(supplier, product_id, done, console)


async def _stock(supplier: Api, erp: Erp, product_id: int) -> None:
    """A location whose stock the ERP counts, and the first units there."""
    places = [place["code"] async for place in supplier.pages("/v1/locations", limit=200)]
    if LOCATION not in places:
        place = {"code": LOCATION, "order_effect": "allocate", "on_hand_owner": "external"}
        await supplier.post("/v1/locations", place)
    deadline = clock.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            body = {"location": LOCATION, "on_hand": START, "reason": "counted by the ERP"}
            await supplier.post(f"/v1/stock/{product_id}/adjustments", body)
            break
        except ApiError as error:  # inventory hears of new products by events
            if error.status != NOT_FOUND or clock.monotonic() > deadline:
                raise
        await clock.sleep(0.05)
    erp.on_hand = START


async def _order(shop: Api, product_id: int, run: str) -> str:
    line = {"product_id": product_id, "quantity": len(REFS), "location": LOCATION}
    body = {"external_ref": f"erp-{run}", "lines": [line]}
    deadline = clock.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            order = await shop.post("/v1/orders", body, wait=10)
            break
        except ApiError as error:  # as orders does of the connection
            if error.code != "order_refused" or clock.monotonic() > deadline:
                raise
        await clock.sleep(0.05)
    if order["status"] != "allocated":
        message = f"the order is {order['status']}"
        raise RuntimeError(message)
    return str(order["order_id"])


async def _came_out(supplier: Api, product_id: int, done: dict[str, Any], console: Console) -> bool:
    shown = await supplier.get(f"/v1/stock/{product_id}")
    level = next(level for level in shown["levels"] if level["location"] == LOCATION)
    found = level["on_hand"], level["allocated"], level["available"]
    on_hand, left = START - SHIPPED + RECEIVED, len(REFS) - SHIPPED
    console.print(f"On hand {found[0]}, allocated {found[1]}, available {found[2]}.")
    is_right = done["state"] == "completed" and found == (on_hand, left, on_hand - left)
    console.print("[bold green]RIGHT[/]" if is_right else "[bold red]WRONG[/]")
    return is_right


def main() -> None:
    """Play it as the arguments say; exits with 1 unless it came out right."""
    parser = argparse.ArgumentParser(prog="python -m demo.erp", description="Play an ERP that counts its own stock.")
    parser.add_argument("url", help="Basestock's address, e.g. http://127.0.0.1:8000")
    parser.add_argument("--overtake", action="store_true", help="state on hand before what has left is reported")
    given = parser.parse_args()
    key = os.environ.get("BASESTOCK_ADMIN_KEY")
    if not key:
        sys.exit("Set BASESTOCK_ADMIN_KEY to the platform admin's API key.")
    try:
        is_right = asyncio.run(play(given.url, key, Console(), overtake=given.overtake))
    except RuntimeError as error:
        sys.exit(str(error))
    sys.exit(0 if is_right else 1)


if __name__ == "__main__":
    main()
