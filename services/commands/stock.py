"""`basestock stock`: files of stock to and from a running Basestock, over HTTP."""

from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from rich.markup import escape

from services.commands.over_http import Key, Owner, Url, errors, save_file, send_file, session_at, tell_refused
from shared.program import run_to_end

app = typer.Typer(help="Import and export stock.", no_args_is_help=True)

IMPORTS = "/v1/stock/imports"


@app.command(name="import")
def import_command(  # noqa: PLR0913 - each is an option
    file: Annotated[Path, typer.Argument(help="A CSV file: sku,quantity_available.", exists=True, dir_okay=False)],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing, only say what would be.")] = False,
    all_or_nothing: Annotated[
        bool, typer.Option("--all-or-nothing", help="Change nothing unless all rows are good.")
    ] = False,
    location: Annotated[str, typer.Option(help="Of rows that name none.")] = "main",
    as_of: Annotated[
        str, typer.Option(help="When that many were there, like 2026-11-24T02:00:00Z: what moved since is added.")
    ] = "",
    owner: Owner = None,
    url: Url = "http://127.0.0.1:8000",
    key: Key = "",
) -> None:
    """Write the levels that a file names; exit status 1 when any row is refused."""
    query = {"mode": "all" if all_or_nothing else "rows", "dry_run": str(dry_run).lower(), "location": location}
    query |= ({"as_of": as_of} if as_of else {}) | ({"supplier_id": str(owner)} if owner else {})
    if not run_to_end(_import(file, query, url, key)):
        raise typer.Exit(1)


@app.command(name="export")
def export_command(
    file: Annotated[Path | None, typer.Argument(help="Where to; standard output when left out.")] = None,
    *,
    columns: Annotated[
        str, typer.Option(help="More columns, by commas: location, barcode, name, on_hand, allocated, id.")
    ] = "",
    owner: Owner = None,
    url: Url = "http://127.0.0.1:8000",
    key: Key = "",
) -> None:
    """Write all stock of the company into a CSV file that can be edited and imported again."""
    query = {"columns": columns} | ({"supplier_id": str(owner)} if owner else {})
    run_to_end(_export(file, query, url, key))


async def _import(file: Path, query: dict[str, str], url: str, key: str) -> bool:
    """Upload, wait, tell; says whether everything is as asked for."""
    async with session_at(url, key) as session:
        job = await send_file(session, IMPORTS, file, query, IMPORTS)
        await _tell(session, job)
    return bool(job["state"] == "done" and not job["refused"])


async def _tell(session: aiohttp.ClientSession, job: dict[str, Any]) -> None:
    await tell_refused(session, f"{IMPORTS}/{job['id']}/rows")
    if job["reason"]:
        errors.print(f"[bold red]{escape(job['reason'])}[/]")
    would = "would be " if job["dry_run"] or job["state"] == "failed" else ""
    counts = ", ".join(f"{job[name]:,} {name}" for name in ("changed", "unchanged", "refused"))
    errors.print(f"{job['rows']:,} rows {would}{counts}.")


async def _export(file: Path | None, query: dict[str, str], url: str, key: str) -> None:
    async with session_at(url, key) as session:
        await save_file(session, "/v1/stock/export", query, file)
