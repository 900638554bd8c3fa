"""`basestock listen`: a local receiver of webhooks, which verifies each call and shows it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from aiohttp import web
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from shared import clock
from shared.program import run_to_end, stop_on_signals

# Four times what Basestock puts into a call.
BODY_LIMIT_BYTES = 1024 * 1024
UNAUTHORIZED = 401

console = Console(highlight=False)
errors = Console(stderr=True, soft_wrap=True, highlight=False)


@dataclass(frozen=True, slots=True)
class Heard:
    """A call as it came in; `wrong` says why it is not verified, `is_verified` is `None` where no secret was given."""

    path: str
    webhook_id: str | None
    body: Any
    is_verified: bool | None
    wrong: str | None
    answered: int


def listen(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes any free one.", min=0, max=65535)] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    secret: Annotated[
        str | None,
        typer.Option(help="The endpoint's secret, whsec_...; without it nothing is verified."),
    ] = None,
    path: Annotated[str, typer.Option(help="Path that is called; others are answered 404.", show_default="any")] = "",
    answer: Annotated[int, typer.Option(help="Status to answer: 503 plays a shop that fails.", min=200, max=599)] = 204,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a call, for programs.")] = False,
) -> None:
    """Receive webhooks on this machine: verify each call as a shop should, and show what it says. Ctrl-C ends it."""
    webhook = _webhook(secret)
    path = f"/{path.lstrip('/')}" if path else ""

    async def main() -> None:
        stop = stop_on_signals()
        # With a name of its own a path parameter takes any path.
        app = web.Application(client_max_size=BODY_LIMIT_BYTES)
        app.router.add_post(path or "/{path:.*}", _receiver(webhook, answer, as_json=as_json))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            errors.print(_greeting(f"http://{host}:{runner.addresses[0][1]}{path}", webhook, answer))
            await stop.wait()
        finally:
            await runner.cleanup()

    run_to_end(main())


def _webhook(secret: str | None) -> Webhook | None:
    try:
        return None if secret is None else Webhook(secret)
    except Exception as error:  # whatever the library makes of it
        raise typer.BadParameter("it is not a secret like whsec_...", param_hint="--secret") from error  # noqa: TRY003, EM101 - Typer's way


def _greeting(url: str, webhook: Webhook | None, answer: int) -> str:
    verified = "verified" if webhook else "[bold yellow]not verified[/]: name the endpoint's secret with --secret"
    return f"Listening at [bold]{url}[/]  Calls are {verified}, and answered {answer}.  Ctrl-C ends it."


def _receiver(webhook: Webhook | None, answer: int, *, as_json: bool) -> Any:  # noqa: ANN401 - aiohttp's handler
    async def receive(request: web.Request) -> web.Response:
        raw = await request.read()
        wrong = None if webhook is None else _wrong_with(webhook, raw, dict(request.headers))
        heard = Heard(
            path=request.path,
            webhook_id=request.headers.get("webhook-id"),
            body=_parsed(raw),
            is_verified=None if webhook is None else wrong is None,
            wrong=wrong,
            answered=UNAUTHORIZED if wrong else answer,
        )
        _show_as_json(heard) if as_json else _show(heard)
        return web.Response(status=heard.answered)

    return receive


def _wrong_with(webhook: Webhook, raw: bytes, headers: dict[str, str]) -> str | None:
    """Why the call does not verify, by the reference library: its signature may be five minutes old."""
    try:
        webhook.verify(raw, headers, json_parse=False)
    except WebhookVerificationError as error:
        return str(error)
    except ValueError:
        return "Invalid Signature Headers"
    return None


def _parsed(raw: bytes) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return raw.decode(errors="replace")


def _show_as_json(heard: Heard) -> None:
    told = {
        "at": clock.utc_now().isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "path": heard.path,
        "webhook_id": heard.webhook_id,
        "kind": _kind(heard.body),
        "verified": heard.is_verified,
        "wrong": heard.wrong,
        "answered": heard.answered,
        "body": heard.body,
    }
    typer.echo(_printable(json.dumps(told, ensure_ascii=False)))


def _show(heard: Heard) -> None:
    at = f"{clock.utc_now():%H:%M:%S}"
    console.print(
        f"{at}  [bold]{escape(_printable(_kind(heard.body)))}[/]  {_verdict(heard)}  answered {heard.answered}"
    )
    table = Table.grid(padding=(0, 2))
    for row in _rows(heard.body):
        table.add_row("        ", *(escape(_printable(cell)) for cell in row))
    if table.row_count:
        console.print(table)


def _printable(said: object) -> str:
    """What anybody may have sent, as text that every terminal takes: halves of characters (surrogates) are escaped."""
    return str(said).encode(errors="backslashreplace").decode()


def _verdict(heard: Heard) -> str:
    if heard.is_verified is None:
        return "[yellow]not checked[/]"
    return f"[bold red]NOT verified: {escape(heard.wrong)}[/]" if heard.wrong else "[green]verified[/]"


def _kind(body: Any) -> str:  # noqa: ANN401 - JSON
    """The format's name, or that of the event."""
    if not isinstance(body, dict):
        return "not a webhook of Basestock"
    kind = "stock_level" if "stock" in body else str(body.get("event_type") or body.get("type") or "unknown")
    return f"{kind} (a test)" if body.get("test") else kind


def _rows(body: Any) -> Iterator[tuple[object, ...]]:  # noqa: ANN401 - JSON
    """What a call says, line by line; as it is where it has no shape of ours."""
    try:
        yield from list(_told(body))
    except (LookupError, TypeError):
        yield (json.dumps(body, ensure_ascii=False),)


def _told(body: Any) -> Iterator[tuple[object, ...]]:  # noqa: ANN401 - JSON
    if "stock" in body:
        for item in body["stock"]:
            product = item["linked"][0]["product"]
            before = f"{item['previous_quantity_available']} before"
            yield product["sku"], str(item["quantity_available"]), before, f"version {item['version']}"
    elif "event_type" in body:
        told = body["payload"]
        yield told["inventory_id"], told["product_variant_number"], str(told.get("quantity", "not stocked"))
    elif "logical_timestamp" in body:
        what = f"{body['quantity']} of product {body['product_id']} {body['variant_sku'] or ''}".rstrip()
        yield f"logical timestamp {body['logical_timestamp']}", body["request_ref"] or body["request_id"], what
    else:
        yield (json.dumps(body, ensure_ascii=False),)
