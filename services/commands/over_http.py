"""Talking to a running Basestock over HTTP, for commands that move files."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from shared import clock

Request = AbstractAsyncContextManager[aiohttp.ClientResponse]

errors = Console(stderr=True, soft_wrap=True, highlight=False)

READ_BYTES = 256 * 1024
POLL_SECONDS = 0.3
# More refused rows than that nobody reads; the API tells them all.
SHOWN_ROWS = 1000
ROWS_PER_PAGE = 200
# Silence of the server for longer than this is an error; an upload or export may take as long as it flows.
SILENCE_SECONDS = 60

Url = Annotated[str, typer.Option(help="The Basestock to talk to.", envvar="BASESTOCK_URL")]
Key = Annotated[str, typer.Option(help="API key.", envvar=["BASESTOCK_KEY", "BASESTOCK_ADMIN_KEY"], show_envvar=True)]
Owner = Annotated[int | None, typer.Option(help="With the platform admin's key: the company's id.")]


async def send_file(session: aiohttp.ClientSession, path: str, file: Path, query: dict[str, str], jobs: str) -> Any:  # noqa: ANN401 - JSON
    """Upload a file and wait for the job at `jobs`/id that it becomes; the job as it ended, behind a progress bar."""
    with Progress(
        TextColumn("{task.description:<8}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), console=errors
    ) as progress:
        headers = {"Content-Type": "application/octet-stream"}
        job = await json_of(session.post(path, params=query, data=_pieces(file, progress), headers=headers))
        work = progress.add_task("Import", total=job["rows"])
        while job["state"] not in {"done", "failed"}:
            await clock.sleep(POLL_SECONDS)
            job = await json_of(session.get(f"{jobs}/{job['id']}"))
            progress.update(work, total=job["rows"], completed=job["rows_done"])
    return job


async def tell_refused(session: aiohttp.ClientSession, rows_path: str) -> None:
    """Print why rows were refused, each by its number and line."""
    shown = 0
    async for row in refused_rows(session, rows_path):
        if shown == SHOWN_ROWS:
            errors.print(f"... more of them: GET {rows_path}?status=refused")
            break
        shown += 1
        reasons = "; ".join(f"{error['field']}: {error['detail']}" for error in row["errors"])
        errors.print(escape(f"row {row['row']} (line {row['line']}) {row['sku'] or ''}: {reasons}"))


async def refused_rows(session: aiohttp.ClientSession, rows_path: str) -> AsyncIterator[dict[str, Any]]:
    """The refused rows of an import, in the order of the file."""
    query = {"status": "refused", "limit": str(ROWS_PER_PAGE)}
    while True:
        page = await json_of(session.get(rows_path, params=query))
        for row in page["items"]:
            yield row
        if not page["next_cursor"]:
            return
        query["cursor"] = str(page["next_cursor"])


async def save_file(session: aiohttp.ClientSession, path: str, query: dict[str, str], file: Path | None) -> None:
    """Write what is answered into a file, or to standard output."""
    async with answered(session.get(path, params=query)) as answer:
        with sys.stdout.buffer if file is None else file.open("wb") as output:
            async for piece in answer.content.iter_any():
                output.write(piece)


def session_at(url: str, key: str) -> aiohttp.ClientSession:
    """A client of this Basestock; raises `RuntimeError` without a key."""
    if not key:
        message = "Set BASESTOCK_KEY to your API key, or BASESTOCK_ADMIN_KEY to the platform admin's."
        raise RuntimeError(message)
    return aiohttp.ClientSession(
        url,
        headers={"Authorization": f"Bearer {key}"},
        timeout=aiohttp.ClientTimeout(total=None, sock_read=SILENCE_SECONDS),
    )


async def _pieces(file: Path, progress: Progress) -> AsyncIterator[bytes]:
    with file.open("rb") as source:
        task = progress.add_task("Upload", total=os.fstat(source.fileno()).st_size)
        while piece := source.read(READ_BYTES):
            yield piece
            progress.advance(task, len(piece))


async def json_of(request: Request) -> Any:  # noqa: ANN401 - JSON
    """The body of an answer of success. Raises `RuntimeError` as `answered` does."""
    async with answered(request) as answer:
        return await answer.json()


@asynccontextmanager
async def answered(request: Request) -> AsyncIterator[aiohttp.ClientResponse]:
    """The answer, a success; raises `RuntimeError` with the problem's words, or when it does not come, or not whole."""
    try:
        async with request as answer:
            if not answer.ok:
                is_problem = answer.content_type.endswith("json")
                problem = await answer.json(content_type=None) if is_problem else {}
                message = f"{answer.status} {problem.get('detail', answer.reason)}"
                raise RuntimeError(message)
            yield answer
    except (aiohttp.ClientError, TimeoutError) as error:
        message = f"Basestock does not answer ({str(error) or type(error).__name__})."
        raise RuntimeError(message) from error
