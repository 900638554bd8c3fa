"""`basestock products`: files of products to and from a running Basestock, over HTTP."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from shared import clock
from shared.serve import run_to_end

Request = AbstractAsyncContextManager[aiohttp.ClientResponse]

app = typer.Typer(help="Import and export products.", no_args_is_help=True)
errors = Console(stderr=True, soft_wrap=True, highlight=False)

READ_BYTES = 256 * 1024
POLL_SECONDS = 0.3
# More refused rows than that nobody reads; the API tells them all.
SHOWN_ROWS = 1000
ROWS_PER_PAGE = 200
# Silence of the server for longer than this is an error; an upload or export may take as long as it flows.
SILENCE_SECONDS = 60


class FileFormat(StrEnum):
    """The formats of files."""

    CSV = "csv"
    NDJSON = "ndjson"


Url = Annotated[str, typer.Option(help="The Basestock to talk to.", envvar="BASESTOCK_URL")]
Key = Annotated[str, typer.Option(help="API key.", envvar=["BASESTOCK_KEY", "BASESTOCK_ADMIN_KEY"], show_envvar=True)]
Owner = Annotated[int | None, typer.Option(help="With the platform admin's key: the company's id.")]


@app.command(name="import")
def import_command(  # noqa: PLR0913 - each is an option
    file: Annotated[Path, typer.Argument(help="A CSV or NDJSON file.", exists=True, dir_okay=False)],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing, only say what would be.")] = False,
    all_or_nothing: Annotated[
        bool, typer.Option("--all-or-nothing", help="Change nothing unless all rows are good.")
    ] = False,
    format_: Annotated[FileFormat | None, typer.Option("--format", help="By the file's name when left out.")] = None,
    owner: Owner = None,
    url: Url = "http://127.0.0.1:8000",
    key: Key = "",
) -> None:
    """Create products, or change those of the same type and SKU; exit status 1 when any row is refused."""
    query = {"format": _format_of(file, format_), "mode": "all" if all_or_nothing else "rows"}
    query |= {"dry_run": str(dry_run).lower()} | ({"owner_id": str(owner)} if owner else {})
    if not run_to_end(_import(file, query, url, key)):
        raise typer.Exit(1)


@app.command(name="export")
def export_command(
    file: Annotated[Path | None, typer.Argument(help="Where to; standard output when left out.")] = None,
    *,
    format_: Annotated[
        FileFormat | None, typer.Option("--format", help="By the file's name when left out, else csv.")
    ] = None,
    owner: Owner = None,
    url: Url = "http://127.0.0.1:8000",
    key: Key = "",
) -> None:
    """Write all products of the company into a file that can be imported again."""
    query = {"format": _format_of(file, format_)} | ({"owner_id": str(owner)} if owner else {})
    run_to_end(_export(file, query, url, key))


def _format_of(file: Path | None, named: FileFormat | None) -> str:
    if named is not None:
        return named.value
    return "ndjson" if file is not None and file.suffix in {".ndjson", ".jsonl"} else "csv"


async def _import(file: Path, query: dict[str, str], url: str, key: str) -> bool:
    """Upload, wait, tell; says whether everything is as asked for."""
    async with _session(url, key) as session:
        with Progress(
            TextColumn("{task.description:<8}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), console=errors
        ) as progress:
            body = _pieces(file, progress)
            headers = {"Content-Type": "application/octet-stream"}
            path = "/v1/products/import"
            job = await _json(session.post(path, params=query, data=body, headers=headers))
            work = progress.add_task("Import", total=job["rows"])
            while job["state"] not in {"done", "failed"}:
                await clock.sleep(POLL_SECONDS)
                job = await _json(session.get(f"/v1/products/imports/{job['id']}"))
                progress.update(work, total=job["rows"], completed=job["rows_done"])
        await _tell(session, job)
    return job["state"] == "done" and not job["refused"]


async def _tell(session: aiohttp.ClientSession, job: dict[str, Any]) -> None:
    shown = 0
    async for row in _refused_rows(session, job["id"]):
        if shown == SHOWN_ROWS:
            errors.print(f"... more of them: GET /v1/products/imports/{job['id']}/rows?status=refused")
            break
        shown += 1
        reasons = "; ".join(f"{error['field']}: {error['detail']}" for error in row["errors"])
        errors.print(escape(f"row {row['row']} (line {row['line']}) {row['sku'] or ''}: {reasons}"))
    if job["reason"]:
        errors.print(f"[bold red]{escape(job['reason'])}[/]")
    would = "would be " if job["dry_run"] or job["state"] == "failed" else ""
    counts = ", ".join(f"{job[name]:,} {name}" for name in ("created", "changed", "unchanged", "refused"))
    errors.print(f"{job['rows']:,} rows. Products {would}{counts}.")


async def _refused_rows(session: aiohttp.ClientSession, import_id: int) -> AsyncIterator[dict[str, Any]]:
    query = {"status": "refused", "limit": str(ROWS_PER_PAGE)}
    while True:
        page = await _json(session.get(f"/v1/products/imports/{import_id}/rows", params=query))
        for row in page["items"]:
            yield row
        if not page["next_cursor"]:
            return
        query["cursor"] = page["next_cursor"]


async def _export(file: Path | None, query: dict[str, str], url: str, key: str) -> None:
    async with _session(url, key) as session, _answered(session.get("/v1/products/export", params=query)) as answer:
        with sys.stdout.buffer if file is None else file.open("wb") as output:
            async for piece in answer.content.iter_any():
                output.write(piece)


def _session(url: str, key: str) -> aiohttp.ClientSession:
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


async def _json(request: Request) -> Any:  # noqa: ANN401 - JSON
    async with _answered(request) as answer:
        return await answer.json()


@asynccontextmanager
async def _answered(request: Request) -> AsyncIterator[aiohttp.ClientResponse]:
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
