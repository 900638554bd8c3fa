"""Receive Basestock's webhooks: verify each call, take what it says once, answer fast.

    pip install aiohttp standardwebhooks
    SECRET=whsec_... PORT=8080 python receiver.py

What is known is kept in memory here: keep it in your database, in the transaction that does what a call says.
"""

import os

from aiohttp import web
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

WEBHOOK = Webhook(os.environ["SECRET"])

versions: dict[int, int] = {}  # the newest version of each base stock product
dates: dict[str, str] = {}  # the newest date of each inventory record
deltas: set[str] = set()  # the ids of the calls that brought changes to add up
events: dict[int, int] = {}  # the logical timestamp of each supplier's newest fulfillment event


def take(webhook_id: str, told: dict) -> list[str]:
    """Do what a call says, where that is not known already; returns what is new, in words."""
    if told.get("test") or told.get("type") == "ping":
        return ["a sample"]
    if "stock" in told:
        return [take_level(item) for item in told["stock"] if is_newer(item)]
    if "event_type" in told:
        return take_variant(webhook_id, told["event_type"], told["payload"])
    return take_event(told)


def is_newer(item: dict) -> bool:
    """Whether nothing newer is known of the base stock product, which is always linked first."""
    return item["version"] > versions.get(item["linked"][0]["product"]["id"], 0)


def take_level(item: dict) -> str:
    """A stock level: what is now, whatever was before."""
    product = item["linked"][0]["product"]
    versions[product["id"]] = item["version"]
    return f"{product['sku']} {item['quantity_available']} version {item['version']}"


def take_variant(webhook_id: str, event_type: str, payload: dict) -> list[str]:
    """The stock of a variant at a location: what is now, or, as a delta, by how much it changed."""
    if event_type == "variant_stock_delta.updated":
        if webhook_id in deltas:
            return []
        deltas.add(webhook_id)
        return [f"{payload['inventory_id']} {payload['delta']:+d}"]
    if event_type == "variant_stock.deleted":
        return [f"{payload['inventory_id']} is not stocked"]
    if payload["inventory_date"] < dates.get(payload["inventory_id"], ""):
        return []
    dates[payload["inventory_id"]] = payload["inventory_date"]
    return [f"{payload['inventory_id']} {payload['quantity']}"]


def take_event(told: dict) -> list[str]:
    """What happened to an item of a fulfillment request: the next event, or one that is known."""
    if told["logical_timestamp"] <= events.get(told["supplier_id"], 0):
        return []
    events[told["supplier_id"]] = told["logical_timestamp"]
    return [f"{told['logical_timestamp']} {told['type']} {told['request_ref']}"]


async def receive(request: web.Request) -> web.Response:
    """Answer 401 to what Basestock did not send, and 204 when the rest is taken."""
    try:
        told = WEBHOOK.verify(await request.read(), dict(request.headers))
    except (WebhookVerificationError, ValueError):  # ValueError: not even of the right shape
        return web.Response(status=401)
    for news in take(request.headers["webhook-id"], told):
        print(news, flush=True)
    return web.Response(status=204)


app = web.Application()
app.router.add_post("/webhooks", receive)
web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), print=None)
