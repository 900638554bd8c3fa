"""The demo itself: its verdict is right when all is well and wrong when an order is missing."""

import json
import re
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from io import StringIO
from ipaddress import ip_network
from itertools import islice
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from rich.console import Console
from standardwebhooks import Webhook

import demo
from demo.api import Api, ApiError
from demo.options import LOOPBACK
from demo.retailer import demo_retailer
from demo.run import run_demo
from services.all_in_one import SERVICES
from shared import clock
from shared.messaging.in_process import InProcessBus
from shared.settings import Settings
from tests.app import ENCRYPTION_KEY, serving

ADMIN_KEY = "bsk_the-admin-of-the-demo"
REAL_ORDERS = Path(demo.__file__).parent / "data" / "online-retail.csv"


@pytest.fixture
async def url(database_dsn: str) -> AsyncIterator[str]:
    """The whole system, embedded, that may call webhooks on this machine."""
    settings = Settings(
        dsn=database_dsn,
        admin_key=ADMIN_KEY,
        webhook_encryption_key=ENCRYPTION_KEY,
        webhook_allow_networks=(ip_network("127.0.0.0/8"),),
        _env_file=None,
    )
    async with system(settings) as base_url:
        yield base_url


@pytest.fixture
async def guarded_url(database_dsn: str) -> AsyncIterator[str]:
    """The whole system, embedded, that may call public addresses only, as in production."""
    settings = Settings(dsn=database_dsn, admin_key=ADMIN_KEY, webhook_encryption_key=ENCRYPTION_KEY, _env_file=None)
    async with system(settings) as base_url:
        yield base_url


@asynccontextmanager
async def system(settings: Settings) -> AsyncIterator[str]:
    bus = InProcessBus(publish_timeout_seconds=10)
    try:
        async with serving(SERVICES, settings, bus) as base_url:
            yield base_url
    finally:
        await bus.close()


@pytest.fixture
def orders_file(tmp_path: Path) -> Path:
    """The first 300 real lines: postage, variants, repeated codes and cancellations are among them."""
    with REAL_ORDERS.open(encoding="utf-8-sig") as lines:
        content = "".join(islice(lines, 301))
    assert "\nC536379;" in content
    assert ";POST;" in content
    path = tmp_path / "orders.csv"
    path.write_text(content, encoding="utf-8")
    return path


async def play(
    url: str, orders_file: Path, *, drop_one: bool = False, webhook_host: str = LOOPBACK
) -> tuple[bool, str]:
    printed = StringIO()
    console = Console(file=printed, width=120)
    verdict = await run_demo(
        url, ADMIN_KEY, orders_file=orders_file, drop_one=drop_one, console=console, webhook_host=webhook_host
    )
    return verdict, printed.getvalue()


async def test_all_levels_are_right_and_so_they_are_when_it_is_played_again_on_the_same_data(
    url: str, orders_file: Path
) -> None:
    for _ in range(2):
        verdict, printed = await play(url, orders_file)
        assert verdict, printed
        assert "RIGHT: all " in printed
        assert "signature verified" in printed


async def test_a_withheld_order_makes_the_verdict_wrong_and_shows_which_levels(url: str, orders_file: Path) -> None:
    verdict, printed = await play(url, orders_file, drop_one=True)
    assert not verdict
    assert "WRONG" in printed
    assert "Levels that differ: " in printed


async def test_a_file_that_cannot_be_read_ends_the_demo_before_anything_is_created(url: str, orders_file: Path) -> None:
    with orders_file.open("a", encoding="utf-8") as lines:
        lines.write("536400;71053;X;six;1/12/2010 08:26;1;1;F\n")
    with pytest.raises(RuntimeError, match="column Quantity: 'six' is not a whole number"):
        await play(url, orders_file)
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    async with aiohttp.ClientSession(url, headers=headers) as admin, admin.get("/v1/companies") as answer:
        assert (await answer.json())["items"] == []


async def test_a_basestock_that_may_not_call_this_machine_is_told_of_with_what_to_do(
    guarded_url: str, orders_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its address that is refused at once, by its name only when it is called."""
    monkeypatch.setattr("demo.story.HEARD_SECONDS", 5)
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(RuntimeError, match="Start it with BASESTOCK_WEBHOOK_ALLOW_NETWORKS"):
            await play(guarded_url, orders_file, webhook_host=host)


async def test_a_retailer_that_cannot_be_reached_under_its_name_is_told_of_with_what_to_do(
    url: str, orders_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demo.story.HEARD_SECONDS", 5)
    with pytest.raises(RuntimeError, match=r"did not hear of 40 of product 100 .* Name this machine .* --webhook-host"):
        await play(url, orders_file, webhook_host="nowhere.invalid")


async def test_the_retailer_listens_until_the_browsing_ends_and_leaves_no_endpoint_behind(
    url: str, orders_file: Path
) -> None:
    async with Api(url, ADMIN_KEY) as admin:

        async def endpoints() -> list[str]:
            ids = {company["ref"]: company["id"] async for company in admin.pages("/v1/companies")}
            mine = admin.pages("/v1/webhook-endpoints", company_id=ids["retailer-a"])
            return [endpoint["url"] async for endpoint in mine]

        while_browsing: list[str] = []

        async def browse(keys: Mapping[str, str]) -> None:
            while_browsing.extend(await endpoints())
            for name, key in keys.items():
                async with Api(url, key) as company:
                    assert (await company.get("/v1/me"))["company"]["name"] == name
            async with aiohttp.ClientSession() as anyone, anyone.post(while_browsing[0], data=b"forged") as answer:
                assert answer.status == 401

        console = Console(file=StringIO(), width=120)
        assert await run_demo(url, ADMIN_KEY, orders_file=orders_file, drop_one=False, console=console, linger=browse)
        assert len(while_browsing) == 1
        assert await endpoints() == []


@asynccontextmanager
async def answering(*answers: web.Response) -> AsyncIterator[str]:
    """A server that gives these answers, one after the other."""
    waiting = list(answers)

    async def answer(_: web.Request) -> web.Response:
        return waiting.pop(0)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def problem(status: int, code: str, **more: object) -> web.Response:
    body = {"title": "x", "status": status, "code": code, "detail": "it is so", **more}
    return web.json_response(body, status=status, content_type="application/problem+json")


async def test_a_new_key_that_is_not_known_everywhere_yet_is_tried_again_and_a_wrong_one_is_told() -> None:
    unknown, refused = problem(401, "unknown_key"), problem(401, "revoked_key")
    async with answering(unknown, web.json_response({"id": 7}), refused) as base_url, Api(base_url, "bsk_new") as api:
        assert await api.get("/v1/products/7") == {"id": 7}
        with pytest.raises(ApiError, match="GET /v1/products/7 answered 401 revoked_key: it is so"):
            await api.get("/v1/products/7")


async def test_a_server_that_is_too_busy_is_asked_again_when_it_says() -> None:
    busy = problem(503, "unavailable")
    busy.headers["Retry-After"] = "0"
    async with answering(busy, web.json_response({"id": 7})) as base_url, Api(base_url, "bsk_known") as api:
        assert await api.post("/v1/products", {}) == {"id": 7}


async def test_a_refused_call_is_told_with_each_field_and_a_server_that_is_away_by_its_address() -> None:
    refused = problem(422, "order_refused", errors=[{"field": "lines[3].product_id", "detail": "is not yours"}])
    async with answering(refused) as base_url, Api(base_url, "bsk_known") as api:
        with pytest.raises(ApiError, match=r"422 order_refused: it is so; lines\[3\].product_id: is not yours"):
            await api.post("/v1/orders", {})
    async with Api(base_url, "bsk_known") as api:
        with pytest.raises(RuntimeError, match=f"GET {base_url}/v1/orders: no answer"):
            await api.get("/v1/orders")


def own_address() -> str:
    """This machine's address in its network, where it has one; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return LOOPBACK
        address: str = probe.getsockname()[0]
        return address


async def test_a_retailer_with_a_name_is_reached_from_other_machines() -> None:
    console = Console(file=StringIO())
    async with demo_retailer(console, "shop.example") as retailer, aiohttp.ClientSession() as sender:
        assert re.fullmatch(r"http://shop\.example:\d+/webhooks/stock", retailer.url)
        async with sender.post(retailer.url.replace("shop.example", own_address()), data=b"forged") as answer:
            assert answer.status == 401


async def test_the_demo_retailer_accepts_a_signed_call_and_refuses_a_forged_one() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = json.dumps({"stock": []})
    now = clock.utc_now()
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", now, body),
    }
    printed = StringIO()
    async with demo_retailer(Console(file=printed, width=120)) as retailer, aiohttp.ClientSession() as sender:
        retailer.secret = secret
        statuses = []
        for sent in (body, body.replace("stock", "stick")):
            async with sender.post(retailer.url, data=sent, headers=headers) as answer:
                statuses.append(answer.status)
        async with sender.post(retailer.url, data=body) as answer:
            statuses.append(answer.status)
    assert statuses == [204, 401, 401]
    assert [call.verified for call in retailer.calls] == [True, False, False]
    assert "signature verified" in printed.getvalue()
    assert "signature WRONG" in printed.getvalue()
