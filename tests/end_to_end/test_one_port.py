"""One port for all routes: a real nginx with our template, and in each service's place a server that remembers."""

import asyncio
import os
import re
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from services.all_in_one import SERVICES
from services.catalog.api.product_files import FILE_LIMIT_BYTES, IMPORT_PATH
from services.console.front import FIRST_PARTS, UPLOAD_LIMIT_BYTES, UPLOADS
from shared.errors import Problem
from shared.http import BODY_LIMIT_BYTES, OPEN_PATHS, create_app, too_large
from shared.machine import free_ports
from shared.private_nginx import find_nginx, nginx_command
from tests.end_to_end.system import eventually

# What architecture.md section 10 says will come, beside what there is.
TO_COME = {
    "catalog": ["/v1/products/7/duplicate"],
    "orders": ["/v1/orders/bulk", "/v1/orders/7/cancel"],
    "inventory": [
        "/v1/locations",
        "/v1/reservations/7/confirm",
    ],
    "notifier": ["/v1/webhook-endpoints/7/rotate-secret"],
}

SERVING = [service.name for service in SERVICES]

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class Stub:
    """Stands where a service would be: remembers each request and answers with its own name."""

    name: str
    address: str = ""
    requests: list[web.Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    answer: Answering | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Remember and answer one request."""
        self.requests.append(request)
        if self.answer is not None:
            return await self.answer(request)
        self.bodies.append(await request.read())
        return web.json_response({"service": self.name, "asked": request.raw_path, "method": request.method})


@asynccontextmanager
async def listening(name: str) -> AsyncIterator[Stub]:
    stub = Stub(name)
    app = web.Application(client_max_size=2 * BODY_LIMIT_BYTES)
    app.router.add_route("*", "/{path:.*}", stub.handle)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stub.address = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield stub
    finally:
        await runner.cleanup()


class Proxy:
    """Our nginx before a stub of each service and of the console; `change` edits its routes before it is started."""

    def __init__(self, folder: Path, stubs: dict[str, Stub]) -> None:
        self.stubs = stubs
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        upstreams = {name: stub.address for name, stub in stubs.items()}
        self._command = nginx_command(find_nginx(), folder, f"127.0.0.1:{port}", upstreams)
        self._routes = folder / "routes.conf"
        self.log = folder / "errors"
        self._process: subprocess.Popen[bytes] | None = None

    def change(self, old: str, new: str) -> None:
        text = self._routes.read_text(encoding="utf-8")
        assert old in text
        self._routes.write_text(text.replace(old, new), encoding="utf-8")

    async def start(self) -> None:
        process = self._launch()

        async def answers() -> bool:
            assert process.poll() is None, self.log.read_text(encoding="utf-8")
            try:
                async with aiohttp.ClientSession(self.url) as anyone, anyone.get("/livez") as answer:
                    return answer.status == 200
            except aiohttp.ClientConnectorError:
                return False

        await eventually("nginx answers", answers)

    def _launch(self) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as errors:
            self._process = subprocess.Popen(self._command, stderr=errors)
        return self._process

    def end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()

    def asked(self) -> list[str]:
        """Whoever was asked for something since the start, in no order."""
        return [name for name, stub in self.stubs.items() for _ in stub.requests]


@pytest.fixture
async def resting(tmp_path: Path) -> AsyncIterator[Proxy]:
    """The proxy, not started yet."""
    async with AsyncExitStack() as stack:
        stubs = {name: await stack.enter_async_context(listening(name)) for name in (*SERVING, "console")}
        proxy = Proxy(tmp_path, stubs)
        stack.callback(proxy.end)
        yield proxy


@pytest.fixture
async def proxy(resting: Proxy) -> Proxy:
    await resting.start()
    return resting


@pytest.fixture
async def client(resting: Proxy) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(resting.url) as session:
        yield session


def calls_of(service: str) -> Iterator[tuple[str, str]]:
    """Each method and path of a service's own document, and those to come, with 7 for whatever is to be filled in."""
    found = next(candidate for candidate in SERVICES if candidate.name == service)
    paths = create_app([found], {}).openapi()["paths"]
    for path, methods in paths.items():
        if path not in OPEN_PATHS:
            yield from ((method.upper(), re.sub(r"\{\w+\}", "7", path)) for method in methods)
    yield from (("POST", path) for path in TO_COME[service])


async def problem_of(answer: aiohttp.ClientResponse) -> Problem:
    assert answer.content_type == "application/problem+json"
    problem = Problem.model_validate(await answer.json(content_type=None))
    assert problem.status == answer.status
    return problem


@pytest.mark.usefixtures("proxy")
async def test_every_path_of_every_service_leads_to_it_as_it_was_asked(client: aiohttp.ClientSession) -> None:
    lost = []
    for service in SERVING:
        calls = list(calls_of(service))
        assert len(calls) > len(TO_COME[service])
        for method, path in calls:
            asked = f"{path}?wait=10&name=a%2Fb%20c"
            async with client.request(method, URL(asked, encoded=True)) as answer:
                if answer.status != 200 or await answer.json() != {
                    "service": service,
                    "asked": asked,
                    "method": method,
                }:
                    lost.append(f"{method} {path} of {service}: {answer.status} {await answer.text()}")
    assert not lost, "\n".join(lost)


@pytest.mark.usefixtures("proxy")
async def test_the_consoles_pages_lead_to_it(client: aiohttp.ClientSession) -> None:
    pages = [f"/{part}" for part in sorted(FIRST_PARTS)]
    for page in [*pages, *(f"{page}/7" for page in pages if page != "/")]:
        async with client.get(page) as answer:
            assert await answer.json() == {"service": "console", "asked": page, "method": "GET"}
    for path in ("/inventoryx", "/v1/inventory", "/v1/platform"):
        async with client.get(path) as answer:
            assert answer.status == 404, path


@pytest.mark.usefixtures("proxy")
async def test_each_services_health_and_document_are_under_its_name(client: aiohttp.ClientSession) -> None:
    for service in SERVING:
        for path in ("/livez", "/readyz", "/openapi.json", "/asyncapi.json"):
            async with client.get(f"/{service}{path}") as answer:
                assert await answer.json() == {"service": service, "asked": path, "method": "GET"}


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "/catalog/metrics",
        "/catalog/v1/orders",
        "/v1/orders/../../metrics",
        "/v1/stock/%2e%2e/%2E%2e/metrics",
        "//metrics",
        "/catalog/readyz/../metrics",
    ],
)
async def test_metrics_are_not_for_the_world(proxy: Proxy, client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(URL(f"{proxy.url}{path}", encoded=True)) as answer:
        assert (await problem_of(answer)).code == "not_found"
    assert proxy.asked() == []


@pytest.mark.parametrize("path", ["/v1", "/v1/ordersx", "/v1/bills", "/malformed", "/stocks", "/docs"])
async def test_what_is_nowhere_is_a_problem_that_says_where_to_look(
    proxy: Proxy, client: aiohttp.ClientSession, path: str
) -> None:
    async with client.get(path) as answer:
        problem = await problem_of(answer)
    assert (problem.status, problem.code) == (404, "not_found")
    assert all(f"/{service}/openapi.json" in problem.detail for service in SERVING)
    assert proxy.asked() == []


async def test_a_request_that_is_none_is_a_problem_too(proxy: Proxy, client: aiohttp.ClientSession) -> None:
    async with client.get(f"/v1/orders/{'9' * 40_000}") as answer:
        assert (await problem_of(answer)).code == "bad_request"
    async with client.get("/v1/orders", headers={"Authorization": f"Bearer {'9' * 40_000}"}) as answer:
        assert (await problem_of(answer)).code == "bad_request"
    assert proxy.asked() == []


async def test_a_service_that_is_away_is_told_of_and_the_others_go_on(
    resting: Proxy, client: aiohttp.ClientSession
) -> None:
    (nobody,) = free_ports(1)
    resting.change(resting.stubs["orders"].address, f"127.0.0.1:{nobody}")
    await resting.start()
    async with client.post("/v1/orders", json={}) as answer:
        assert answer.headers["Retry-After"]
        problem = await problem_of(answer)
    assert (problem.status, problem.code) == (502, "service_away")
    async with client.get("/v1/stock") as answer:
        assert (await answer.json())["service"] == "inventory"


async def test_a_service_that_takes_too_long_is_told_of(resting: Proxy, client: aiohttp.ClientSession) -> None:
    resting.change("proxy_read_timeout 60s;", "proxy_read_timeout 100ms;")
    await resting.start()
    released = asyncio.Event()

    async def never_in_time(_: web.Request) -> web.Response:
        await released.wait()
        return web.Response()

    resting.stubs["orders"].answer = never_in_time
    async with client.post("/v1/orders", json={}) as answer:
        problem = await problem_of(answer)
    released.set()
    assert (problem.status, problem.code) == (504, "service_too_slow")
    assert resting.asked() == ["orders"]


async def test_a_body_may_be_as_long_as_the_services_take_it_and_not_a_byte_longer(
    proxy: Proxy, client: aiohttp.ClientSession
) -> None:
    async with client.post("/v1/stock/bulk", data=BytesIO(bytes(BODY_LIMIT_BYTES))) as answer:
        assert answer.status == 200
    assert [len(body) for body in proxy.stubs["inventory"].bodies] == [BODY_LIMIT_BYTES]
    async with client.post("/v1/stock/bulk", data=BytesIO(bytes(BODY_LIMIT_BYTES + 1))) as answer:
        problem = await problem_of(answer)
    ours = too_large(BODY_LIMIT_BYTES)
    assert (problem.status, problem.code, problem.detail) == (413, ours.code, ours.detail)


@pytest.mark.parametrize(
    ("service", "path"),
    [("catalog", IMPORT_PATH), ("orders", "/v1/orders/imports"), ("inventory", "/v1/stock/imports")],
)
async def test_a_file_to_import_may_be_longer_and_flows_through(
    proxy: Proxy, client: aiohttp.ClientSession, service: str, path: str
) -> None:
    arrived = asyncio.Event()

    async def read_the_first_piece(request: web.Request) -> web.Response:
        piece = await request.content.readany()
        arrived.set()
        rest = await request.content.read()
        return web.json_response(len(piece + rest))

    proxy.stubs[service].answer = read_the_first_piece

    async def pieces() -> AsyncIterator[bytes]:
        yield bytes(1000)
        await arrived.wait()
        yield bytes(BODY_LIMIT_BYTES)

    async with asyncio.timeout(30), client.post(path, data=pieces()) as answer:
        assert (answer.status, await answer.json()) == (200, BODY_LIMIT_BYTES + 1000)
    length = {"Content-Length": str(FILE_LIMIT_BYTES + 1)}
    async with client.post(path, data=b"x", headers=length) as answer:
        problem = await problem_of(answer)
    ours = too_large(FILE_LIMIT_BYTES)
    assert (problem.status, problem.code, problem.detail) == (413, ours.code, ours.detail)


@pytest.mark.parametrize(("too_many", "status"), [(0, 200), (1, 413)])
async def test_a_file_for_the_console_is_as_long_as_that_takes_it_with_the_form_around_it(
    proxy: Proxy, too_many: int, status: int
) -> None:
    async def answer_at_once(_: web.Request) -> web.Response:
        return web.Response()

    proxy.stubs["console"].answer = answer_at_once
    host, _, port = proxy.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    length = UPLOAD_LIMIT_BYTES + too_many
    writer.write(f"POST {UPLOADS}1/upload/2 HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\nx".encode())
    async with asyncio.timeout(30):
        assert (await reader.readline()).startswith(f"HTTP/1.1 {status} ".encode())
    writer.close()


async def test_what_a_service_answers_arrives_as_it_is_and_it_knows_who_asked_and_how(
    proxy: Proxy, client: aiohttp.ClientSession
) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=404, text="mine", headers={"traceparent": "00-1-2-01"})

    orders = proxy.stubs["orders"]
    orders.answer = refuse
    async with client.get(
        "/v1/orders/7", headers={"X-Forwarded-Proto": "https", "Authorization": "Bearer k"}
    ) as answer:
        assert (answer.status, await answer.text(), answer.headers["traceparent"]) == (404, "mine", "00-1-2-01")
    async with client.get("/v1/orders/7") as answer:
        assert answer.status == 404
    through_tls, plain = (request.headers for request in orders.requests)
    host = proxy.url.removeprefix("http://")
    assert (through_tls["Host"], through_tls["X-Forwarded-Host"]) == (host, host)
    assert (through_tls["X-Forwarded-For"], through_tls["Authorization"]) == ("127.0.0.1", "Bearer k")
    assert (through_tls["X-Forwarded-Proto"], plain["X-Forwarded-Proto"]) == ("https", "http")


async def test_a_client_cannot_claim_another_ones_address(proxy: Proxy, client: aiohttp.ClientSession) -> None:
    for claim in ("203.0.113.9", "203.0.113.9, 127.0.0.1"):
        async with client.get("/v1/orders/7", headers={"X-Forwarded-For": claim}) as answer:
            assert answer.status == 200
    assert [request.headers.getall("X-Forwarded-For") for request in proxy.stubs["orders"].requests] == [
        ["127.0.0.1"],
        ["127.0.0.1"],
    ]


async def test_an_answer_flows_as_it_is_written(proxy: Proxy, client: aiohttp.ClientSession) -> None:
    first_arrived = asyncio.Event()

    async def in_two_parts(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first")
        await first_arrived.wait()
        await response.write(b"second")
        return response

    proxy.stubs["inventory"].answer = in_two_parts
    async with asyncio.timeout(20), client.get("/v1/stock/export") as answer:
        assert await answer.content.readexactly(5) == b"first"
        first_arrived.set()
        assert await answer.content.read() == b"second"


async def test_a_websocket_passes(proxy: Proxy, client: aiohttp.ClientSession) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    proxy.stubs["inventory"].answer = echo
    async with asyncio.timeout(20), client.ws_connect("/v1/stock/watch") as socket:
        await socket.send_str("7 left")
        assert await socket.receive_str() == "7 left"


async def test_an_order_that_may_have_arrived_is_not_sent_to_another_replica(
    resting: Proxy, client: aiohttp.ClientSession
) -> None:
    """One replica is not there, the other two break off in the middle of every request."""

    async def break_off(request: web.Request) -> web.Response:
        await request.read()
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with listening("replica-2") as second:
        first, (nobody,) = resting.stubs["orders"], free_ports(1)
        first.answer = second.answer = break_off
        servers = "".join(
            f"server {address} max_fails=0; " for address in (first.address, second.address, f"127.0.0.1:{nobody}")
        )
        resting.change(f'set $orders    "{first.address}"', 'set $orders "replicas"')
        resting.change("log_format basestock", f"upstream replicas {{ {servers} }}\nlog_format basestock")
        await resting.start()
        for count in range(1, 7):
            async with client.post("/v1/orders", json={}) as answer:
                assert (await problem_of(answer)).code == "service_away"
            assert len(first.requests + second.requests) == count
        async with client.get("/v1/orders/7") as answer:
            assert answer.status == 502
        assert {request.method for request in first.requests[-1:] + second.requests[-1:]} == {"GET"}


async def test_keys_in_addresses_are_in_no_log(resting: Proxy, client: aiohttp.ClientSession, tmp_path: Path) -> None:
    log, (nobody,) = tmp_path / "requests", free_ports(1)
    resting.change(f"access_log {os.devnull}", f"access_log {log}")
    resting.change(resting.stubs["inventory"].address, f"127.0.0.1:{nobody}")
    await resting.start()
    async with client.post("/imports/stock?account=supplier-a&apikey=bsk_secret", json={}) as answer:
        assert answer.status == 502

    async def is_logged() -> bool:
        return '"path":"/imports/stock","status":502' in log.read_text(encoding="utf-8")

    await eventually("the request is in the log", is_logged)
    assert "bsk_secret" not in log.read_text(encoding="utf-8") + resting.log.read_text(encoding="utf-8")
