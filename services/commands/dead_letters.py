"""`basestock dead-letters`: what services could not handle, and having it handled again, over HTTP."""

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import aiohttp
import typer
from rich.markup import escape

from services.commands.over_http import Key, Url, answered, errors, json_of, session_at
from shared.program import run_to_end

app = typer.Typer(help="Messages that could not be handled.", no_args_is_help=True)

PATH = "/v1/dead-letters"
DEFAULT_URL = "http://127.0.0.1:8000"
PER_PAGE = 200

Service = Annotated[
    str | None,
    typer.Option(
        help="catalog, orders, inventory or notifier, with the platform admin's key. [default: messages with orders]"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON object a line, for programs.")]


@app.command(name="list")
def list_command(*, service: Service = None, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """List dead letters, newest first."""

    async def main() -> None:
        async with session_at(url, key) as session:
            async for letter in _all(session, service):
                if as_json:
                    typer.echo(json.dumps(letter))
                else:
                    sender = letter["user_id"] or "-"
                    typer.echo("\t".join((letter["id"], letter["dead_at"], letter["queue"], sender, letter["reason"])))

    run_to_end(main())


@app.command()
def redrive(
    dead_letter_id: Annotated[str | None, typer.Argument(help="The one to redrive.", metavar="ID")] = None,
    *,
    redrive_all: Annotated[bool, typer.Option("--all", help="All that there are now, the oldest first.")] = False,
    service: Service = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Have dead letters handled again; exit status 1 when any of them fails, and stays."""
    if redrive_all == (dead_letter_id is not None):
        raise typer.BadParameter("Give the ID of one, or --all.")  # noqa: TRY003, EM101 - Typer's way

    async def main() -> int:
        async with session_at(url, key) as session:
            ids = [dead_letter_id] if dead_letter_id else [letter["id"] async for letter in _all(session, service)]
            failed = 0
            for id_ in reversed(ids):
                reason = await _redrive(session, service, id_)
                failed += reason is not None
                if as_json:
                    typer.echo(json.dumps({"id": id_, "redriven": reason is None, "reason": reason}))
                elif reason is not None:
                    errors.print(escape(f"{id_}: {reason}"))
            if not as_json:
                errors.print(f"{len(ids) - failed:,} redriven, {failed:,} failed again.")
            return failed

    if run_to_end(main()):
        raise typer.Exit(1)


async def _redrive(session: aiohttp.ClientSession, service: str | None, dead_letter_id: str) -> str | None:
    """Why it failed again, `None` where it did not."""
    try:
        async with answered(session.post(f"{_path(service)}/{dead_letter_id}/redrive")):
            return None
    except RuntimeError as error:
        return str(error)


async def _all(session: aiohttp.ClientSession, service: str | None) -> AsyncIterator[dict[str, Any]]:
    query = {"limit": str(PER_PAGE)}
    while True:
        page = await json_of(session.get(_path(service), params=query))
        for letter in page["items"]:
            yield letter
        if not page["next_cursor"]:
            return
        query["cursor"] = page["next_cursor"]


def _path(service: str | None) -> str:
    return f"{PATH}/{service}" if service else PATH
