"""`basestock orders`: files of orders to a running Basestock, over HTTP."""

import json
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from services.commands.over_http import (
    SHOWN_ROWS,
    Key,
    Url,
    errors,
    json_of,
    refused_rows,
    send_file,
    session_at,
)
from shared.program import run_to_end

app = typer.Typer(help="Import orders.", no_args_is_help=True)

IMPORTS = "/v1/orders/imports"
# Where nobody looks at it as it comes, a reason shall stand in one line.
WIDTH_IN_FILES = 240


@app.callback()
def orders() -> None:
    """Import orders."""


@app.command(name="import")
def import_command(
    file: Annotated[
        Path, typer.Argument(help="A CSV file: external_ref,product_id,quantity.", exists=True, dir_okay=False)
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing, only say what would be.")] = False,
    seller: Annotated[
        str, typer.Option(help="With the platform admin's key: whose orders, a company's ref or id.")
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the import and its refused rows as JSON.")] = False,
    url: Url = "http://127.0.0.1:8000",
    key: Key = "",
) -> None:
    """Submit the orders that a file holds, a row for each line; exit status 1 unless all are accepted."""
    if not run_to_end(_import(file, url, key, seller, dry_run=dry_run, as_json=as_json)):
        raise typer.Exit(1)


async def _import(file: Path, url: str, key: str, seller: str, *, dry_run: bool, as_json: bool) -> bool:
    """Upload, wait, tell; says whether everything is as asked for."""
    query = {"dry_run": str(dry_run).lower()}
    async with session_at(url, key) as session:
        if seller:
            query["seller_id"] = str(await _company_id(session, seller))
        job = await send_file(session, IMPORTS, file, query, IMPORTS)
        await (_print_json if as_json else _tell)(session, job)
    return bool(job["state"] == "done" and not job["refused"])


async def _company_id(session: aiohttp.ClientSession, seller: str) -> int:
    """The id of a company by its ref, or its id itself. Raises `RuntimeError` for one that is not there."""
    found = (await json_of(session.get("/v1/companies", params={"ref": seller})))["items"]
    if found:
        return int(found[0]["id"])
    if not (seller.isascii() and seller.isdigit()):
        message = f"There is no company with the ref {seller!r}."
        raise RuntimeError(message)
    return int(seller)


async def _print_json(session: aiohttp.ClientSession, job: dict[str, Any]) -> None:
    rows = [row async for row in refused_rows(session, f"{IMPORTS}/{job['id']}/rows")]
    typer.echo(json.dumps(job | {"refused_rows": rows}))


async def _tell(session: aiohttp.ClientSession, job: dict[str, Any]) -> None:
    rows_path = f"{IMPORTS}/{job['id']}/rows"
    table = Table("row", "line", "order", "field", "why")
    is_more = False
    async for row in refused_rows(session, rows_path):
        if table.row_count >= SHOWN_ROWS:
            is_more = True
            break
        for error in row["errors"]:
            cells = (str(row["row"]), str(row["line"]), row["external_ref"] or "", error["field"], error["detail"])
            table.add_row(*map(escape, cells))
    if table.row_count:
        Console(stderr=True, width=None if errors.is_terminal else WIDTH_IN_FILES).print(table)
    if is_more:
        errors.print(f"... more of them: GET {rows_path}?status=refused")
    if job["reason"]:
        errors.print(f"[bold red]{escape(job['reason'])}[/]")
    would = "would be " if job["dry_run"] else ""
    counts = ", ".join(f"{job[name]:,} {name}" for name in ("created", "existing", "refused"))
    errors.print(f"{job['rows']:,} rows. Orders {would}{counts}.")
