"""`basestock keys`: API keys of companies, made over HTTP with the platform admin's key."""

import asyncio
import json
from datetime import timedelta
from typing import Annotated, Any

import aiohttp
import typer
from pydantic import BaseModel, TypeAdapter
from rich.console import Console
from rich.markup import escape

from shared import clock
from shared.program import settings_or_exit
from shared.scopes import ALL_SCOPES

app = typer.Typer(help="API keys of companies.", no_args_is_help=True)
errors = Console(stderr=True, soft_wrap=True, highlight=False)

LIMIT_SECONDS = 30


JSON_OBJECT = TypeAdapter(dict[str, Any])


class Company(BaseModel):
    """What is needed of a company."""

    id: int


class Found(BaseModel):
    """Companies as they are answered."""

    items: list[Company]


class Made(BaseModel):
    """What is needed of a new key."""

    id: int
    key: str
    scopes: list[str]
    expires_at: str | None


class RefusedError(Exception):
    """The call did not succeed; the text says why, for people."""


@app.callback()
def keys() -> None:
    """API keys of companies."""


@app.command()
def create(
    company: Annotated[str, typer.Option(help="The company's ref.", metavar="REF")],
    scopes: Annotated[str, typer.Option(help=f"Comma separated, of: {', '.join(ALL_SCOPES)}.")],
    label: Annotated[str | None, typer.Option(help="What the key is for.")] = None,
    expires_in_days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="Without it the key lives until revoked.")
    ] = None,
    url: Annotated[str, typer.Option(help="A running Basestock; BASESTOCK_ADMIN_KEY is its key.")] = (
        "http://127.0.0.1:8000"
    ),
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole answer as JSON.")] = False,
) -> None:
    """Make an API key for a company and print it: it is shown this once."""
    admin_key = settings_or_exit().admin_key
    if admin_key is None:
        errors.print("basestock: set BASESTOCK_ADMIN_KEY to the platform admin's key of the system at --url.")
        raise typer.Exit(1)
    body: dict[str, Any] = {"scopes": [scope.strip() for scope in scopes.split(",") if scope.strip()], "label": label}
    if expires_in_days is not None:
        body["expires_at"] = (clock.utc_now() + timedelta(days=expires_in_days)).isoformat()
    try:
        made = asyncio.run(_create(url.rstrip("/"), admin_key.get_secret_value(), company, body))
    except RefusedError as error:
        errors.print(f"basestock: {escape(str(error))}")
        raise typer.Exit(1) from None
    typer.echo(json.dumps(made) if as_json else made["key"])
    if not as_json:
        until = made["expires_at"] or "it is revoked"
        errors.print(f"Key {made['id']} of {escape(company)} ({', '.join(made['scopes'])}), valid until {until}.")


async def _create(url: str, admin_key: str, ref: str, body: dict[str, Any]) -> dict[str, Any]:
    headers, timeout = {"Authorization": f"Bearer {admin_key}"}, aiohttp.ClientTimeout(total=LIMIT_SECONDS)
    try:
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as client:
            found = Found.model_validate(await _call(client, "GET", f"{url}/v1/companies", params={"ref": ref}))
            if not found.items:
                message = f"There is no company with the ref {ref!r} at {url}."
                raise RefusedError(message)
            made = await _call(client, "POST", f"{url}/v1/companies/{found.items[0].id}/api-keys", json=body)
            Made.model_validate(made)
            return made
    except (aiohttp.ClientError, TimeoutError) as error:
        message = f"Nothing of Basestock answers at {url}: {error or 'it takes too long'}"
        raise RefusedError(message) from error
    except ValueError as error:  # no JSON, or another
        message = f"What answers at {url} is not Basestock."
        raise RefusedError(message) from error


async def _call(client: aiohttp.ClientSession, method: str, url: str, **options: Any) -> dict[str, Any]:  # noqa: ANN401 - aiohttp's
    """The JSON that is answered; raises `RefusedError` with a problem's words."""
    async with client.request(method, url, **options) as answer:
        body: dict[str, Any] = JSON_OBJECT.validate_python(await answer.json(content_type=None))
        if not answer.ok:
            raise RefusedError(str(body.get("detail", f"{url} answered {answer.status}")))
        return body
