"""`basestock replay catalog`: have catalog tell again what is, so that the other services' copies become whole."""

from datetime import datetime

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from services.all_in_one import database_of, names_all_databases
from services.catalog.store import replaying
from shared import clock
from shared.database import Database
from shared.logs import configure_logs
from shared.messaging.outbox import count_waiting
from shared.program import run_to_end
from shared.settings import Settings

PER_TRANSACTION = 500
# What the running services have to say meanwhile (a key is revoked, say) waits behind no more than this.
BACKLOG_MESSAGES = 20
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 5

console = Console(stderr=True)


def replay(settings: Settings, changed_since: datetime | None) -> None:
    """Publish all that catalog has told once more, or what was changed since; prints how many of what."""
    configure_logs(settings.model_copy(update={"log_level": "warning", "log_format": "console"}))

    async def main() -> None:
        async with database_of("catalog", settings) as database:
            # With its data folder to itself, nobody relays now: the next `basestock up` does.
            told = await replay_catalog(database, changed_since, gives_way=names_all_databases(settings))
        counts = ", ".join(f"{kind} {count:,}" for kind, count in told.items())
        sentence = f"Put into catalog's outbox once more: {counts}. A running catalog sends them to the others."
        console.print(sentence, soft_wrap=True)

    run_to_end(main())


async def replay_catalog(database: Database, since: datetime | None, *, gives_way: bool) -> dict[replaying.Kind, int]:
    """Tell again all that catalog knows (what changed `since`), some in each transaction; returns how many of what.

    `gives_way` to what else catalog has to send, for as long as somebody sends it.
    """
    async with database.transaction() as session:
        counts = await replaying.count(session, since)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        for kind, total in counts.items():
            bar = progress.add_task(kind, total=total)
            after: int | None = 0
            while after is not None:
                gives_way = gives_way and await _give_way(database)
                async with database.transaction() as session:
                    after = await replaying.tell_again(session, kind, after, PER_TRANSACTION, since)
                progress.update(bar, completed=total if after is None else None, advance=PER_TRANSACTION)
    return counts


async def _give_way(database: Database) -> bool:
    """Wait until the outbox is all but empty; whether it becomes so, or at least emptier, within some seconds."""
    fewest, deadline = None, clock.monotonic() + PATIENCE_SECONDS
    while clock.monotonic() < deadline:
        async with database.transaction() as session:
            waiting = await count_waiting(session)
        if waiting <= BACKLOG_MESSAGES:
            return True
        if fewest is None or waiting < fewest:
            fewest, deadline = waiting, clock.monotonic() + PATIENCE_SECONDS
        await clock.sleep(POLL_SECONDS)
    return False
