"""`basestock check`: whether all stock adds up, and making levels anew from the ledger where they drifted."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from services.all_in_one import database_of
from services.inventory import checking
from services.inventory.domain.checking import Drift
from shared.database import Database
from shared.logs import configure_logs
from shared.program import run_to_end
from shared.settings import Settings

# Beyond it something is wrong that no list of items explains: the rest is counted.
DRIFTS_KEPT = 10_000
ACTOR = "basestock check"
# Exit status; 1 says that something drifts.
NOT_CHECKED = 2

console = Console()
progress_console = Console(stderr=True)


def check(settings: Settings, *, repair: bool, as_json: bool) -> bool:
    """Hold all stock against its ledger, orders and reservations and print what drifted; whether everything adds up.

    What keeps it from checking ends the program with a sentence and exit status 2.
    """
    configure_logs(settings.model_copy(update={"log_level": "warning", "log_format": "console"}))
    drifting = False

    async def main() -> None:
        nonlocal drifting
        async with database_of("inventory", settings) as database:
            items, drifts, repaired, count = await check_everything(database, repair=repair)
        drifting = count > len(repaired)
        if as_json:
            told = {"items_checked": items, "drifts": count, "found": _rows(drifts), "repaired": _rows(repaired)}
            console.print_json(json.dumps(told))
        else:
            _tell(items, drifts, repaired, count)

    run_to_end(main(), failed=NOT_CHECKED)
    return not drifting


async def check_everything(database: Database, *, repair: bool) -> tuple[int, list[Drift], list[Drift], int]:
    """Check all items, and repair what can be; returns `(items, drifts, repaired, count of drifts)`.

    At most `DRIFTS_KEPT` of the drifts are kept to be shown.
    """
    items, count = 0, 0
    drifts: list[Drift] = []
    repaired: list[Drift] = []
    columns = (SpinnerColumn(), TextColumn("Items checked"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=progress_console, transient=True) as progress:
        bar = progress.add_task("items", total=None)
        after: int | None = 0
        while after is not None:
            checked = await checking.check_some(database, None, after)
            items += checked.items
            count += len(checked.drifts)
            drifts += checked.drifts[: DRIFTS_KEPT - len(drifts)]
            if repair:
                repaired += await checking.repair(database, checked.drifts, ACTOR)
            progress.update(bar, completed=items)
            after = checked.next_after
    return items, drifts, repaired, count


def _rows(drifts: Sequence[Drift]) -> list[dict[str, object]]:
    return [asdict(drift) for drift in drifts]


def _tell(items: int, drifts: Sequence[Drift], repaired: Sequence[Drift], count: int) -> None:
    if not count:
        console.print(f"[green]Items checked: {items:,}. Everything adds up.[/]")
        return
    table = Table(title=f"Drifts: {count:,}. Items checked: {items:,}.", title_justify="left")
    for heading in ("Product", "Location", "Kind", "What", "Stored", "Expected", "Repaired"):
        table.add_column(heading, justify="right" if heading in {"Product", "Stored", "Expected"} else "left")
    done = {(one.product_id, one.location, one.what) for one in repaired}
    for one in drifts:
        is_done = (one.product_id, one.location, one.what) in done
        said = "yes" if is_done else "with --repair" if one.repairable else "by hand only"
        what = one.what + "".join(f"\norder {o.order_id}: holds {o.held}, took {o.drawn}" for o in one.orders)
        table.add_row(str(one.product_id), one.location, one.kind, what, str(one.stored), str(one.expected), said)
    console.print(table)
    if count > len(drifts):
        console.print(f"and {count - len(drifts):,} more")
