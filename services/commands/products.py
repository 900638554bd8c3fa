"""`basestock products`: files of products to and from a running Basestock, over HTTP."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from rich.markup import escape

from services.commands.over_http import Key, Owner, Url, errors, save_file, send_file, session_at, tell_refused
from shared.program import run_to_end

app = typer.Typer(help="Import and export products.", no_args_is_help=True)

JOBS = "/v1/products/imports"


class FileFormat(StrEnum):
    """The formats of files."""

    CSV = "csv"
    NDJSON = "ndjson"


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
    async with session_at(url, key) as session:
        job = await send_file(session, "/v1/products/import", file, query, JOBS)
        await _tell(session, job)
    return bool(job["state"] == "done" and not job["refused"])


async def _tell(session: aiohttp.ClientSession, job: dict[str, Any]) -> None:
    await tell_refused(session, f"{JOBS}/{job['id']}/rows")
    if job["reason"]:
        errors.print(f"[bold red]{escape(job['reason'])}[/]")
    would = "would be " if job["dry_run"] or job["state"] == "failed" else ""
    counts = ", ".join(f"{job[name]:,} {name}" for name in ("created", "changed", "unchanged", "refused"))
    errors.print(f"{job['rows']:,} rows. Products {would}{counts}.")


async def _export(file: Path | None, query: dict[str, str], url: str, key: str) -> None:
    async with session_at(url, key) as session:
        await save_file(session, "/v1/products/export", query, file)
