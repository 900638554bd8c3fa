"""`make fault`: real orders while processes, broker and database are killed -9 and started again, by a seed.

A round is one kill. It counts when the victim itself had work that nobody had acknowledged. In the end the checker
holds the clients' journal and the receivers' log against the books; the exit status is 1 when any promise was broken.
"""

import argparse
import asyncio
import json
import logging
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from random import Random

import asyncpg
from rich.console import Console
from rich.table import Table

from shared import clock
from tests.fault.checker import Verdict, check
from tests.fault.journal import Journal
from tests.fault.open_work import BROKER, POSTGRES, SHARED, note_claims, work_open_at
from tests.fault.plant import Plant, running_plant
from tests.fault.replay import Load, opened_world
from tests.fault.settling import until_settled
from tests.fault.stock_work import fill_shelf, reserve, ship

OUTPUT = Path(__file__).parent.parent.parent / "build" / "fault"
REPLICAS = {"inventory": 2, "notifier": 2}
# The receivers share this process with the load: a call that a busy machine keeps from its answer would be charged, and
# after four of those in a row an endpoint rests for five minutes, in which nothing settles.
WINDOW_SECONDS, TIMEOUT_SECONDS = 2, 15
# A kill comes this long after the load flows again at most, and the victim stays dead this long at most.
MOMENT_SECONDS, DEAD_SECONDS = 0.7, 0.4
SETTLED_SECONDS = 240
# Each client rests this long on average between two operations: enough for some dozens of them a second.
PAUSE_SECONDS = 0.15


@dataclass(frozen=True, slots=True)
class Round:
    """One kill: who died, what was open then (`{kind: how many}`), and how long it took until orders flowed again."""

    victim: str
    open_work: dict[str, int]
    recovery_seconds: float

    @property
    def counts(self) -> bool:
        """Whether anything of the victim's own was at stake."""
        return any(not kind.endswith(SHARED) for kind in self.open_work)


@dataclass(frozen=True, slots=True)
class Report:
    """A run and its verdict; `operations` is how many the clients meant, `calls` how many webhook calls came.

    `entries` are those of the ledger, counted by their kind.
    """

    seed: int
    rounds: Sequence[Round]
    operations: int
    entries: Mapping[str, int]
    calls: int
    verdict: Verdict
    seconds: float

    @property
    def counted(self) -> int:
        """The rounds that count."""
        return sum(one.counts for one in self.rounds)

    def histogram(self) -> Counter[tuple[str, str]]:
        """In how many rounds which kind of work was open: `(victim, kind)`."""
        return Counter((one.victim, kind) for one in self.rounds for kind in one.open_work)


@contextmanager
def running_plant_to_kill() -> Iterator[Plant]:
    """A plant as `kill_at_random` wants it."""
    for noisy in ("aio_pika", "aiormq"):  # that the broker is gone is the point
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    window, timeout = str(WINDOW_SECONDS), str(TIMEOUT_SECONDS)
    with running_plant(REPLICAS, webhook_window_seconds=window, webhook_timeout_seconds=timeout) as plant:
        yield plant


async def kill_at_random(
    plant: Plant, console: Console, *, rounds: int, seed: int, within_seconds: float = inf
) -> Report:
    """Run the replay on a plant that is not started yet, through that many kills; the verdict is in the report.

    No kill begins after `within_seconds`.
    """
    started = clock.monotonic()
    chance = Random(seed)
    journal = Journal()
    done: list[Round] = []
    await note_claims(plant.dsn)
    await plant.start()
    async with opened_world(plant, journal) as world:
        await fill_shelf(world)
        load = Load(plant, world, seed, pause_seconds=PAUSE_SECONDS)
        async with load.running(reserve, reserve, ship):
            await load.until_flowing()
            for number, victim in enumerate(_victims(plant, chance, rounds), 1):
                if clock.monotonic() > started + within_seconds:
                    console.print("time is up: no more kills")
                    break
                done.append(await _round(plant, load, victim, chance))
                console.print(f"{number:3}/{rounds} {_described(done[-1])}")
        unsettled = ""
        try:
            await until_settled(plant, journal, SETTLED_SECONDS)
        except AssertionError as error:
            unsettled = str(error)
        verdict = await check(plant.dsn, journal, world.receivers, WINDOW_SECONDS)
        if unsettled:
            verdict.violations["P7"] = [unsettled]
        calls = sum(len(receiver.calls) for receiver in world.receivers)
        entries = await _count_entries(plant)
    return Report(seed, done, len(journal), entries, calls, verdict, clock.monotonic() - started)


async def _count_entries(plant: Plant) -> dict[str, int]:
    connection = await asyncpg.connect(plant.dsn)
    try:
        return dict(await connection.fetch("select kind, count(*) from inventory.stock_ledger group by 1 order by 1"))
    finally:
        await connection.close()


def _victims(plant: Plant, chance: Random, rounds: int) -> list[str]:
    """Everybody once in a random order, then again, until there are enough."""
    everybody = [*(process.name for process in plant.processes), POSTGRES, BROKER]
    victims: list[str] = []
    while len(victims) < rounds:
        victims += chance.sample(everybody, len(everybody))
    return victims[:rounds]


async def _round(plant: Plant, load: Load, victim: str, chance: Random) -> Round:
    """Let `victim` die at a random moment and come back; returns once orders flow again."""
    await asyncio.sleep(chance.uniform(0, MOMENT_SECONDS))
    for process in plant.processes:
        assert process.is_running, f"{process.name} ended by itself:\n{process.tail()}"
    dead_seconds = chance.uniform(0, DEAD_SECONDS)
    if victim not in {POSTGRES, BROKER}:
        (doomed,) = (one for one in plant.processes if one.name == victim)
        # Stopped, it can neither finish anything nor answer while we look.
        doomed.send(signal.SIGSTOP)
        work = await work_open_at(victim, plant, load.under_way, load.lately_published())
        doomed.kill()
        died_at = clock.monotonic()
        await asyncio.sleep(dead_seconds)
        doomed.launch()
        await doomed.until_ready()
    elif victim == POSTGRES:
        work = await work_open_at(victim, plant, load.under_way, load.lately_published())
        plant.postgres.kill()
        died_at = clock.monotonic()
        await plant.until_database_answers()
    else:
        work = await work_open_at(victim, plant, load.under_way, load.lately_published())
        plant.broker.kill()
        died_at = clock.monotonic()
        await asyncio.sleep(dead_seconds)
        await asyncio.to_thread(plant.broker.start)
    await load.until_flowing()
    return Round(victim, work, clock.monotonic() - died_at)


def _described(one: Round) -> str:
    work = ", ".join(f"{count} {kind}" for kind, count in one.open_work.items()) or "nothing open"
    verdict = "" if one.counts else ": does not count"
    return f"{one.victim} dies; flows after {one.recovery_seconds:4.1f} s; {work}{verdict}"


def show(report: Report, console: Console) -> None:
    """Print the report for people."""
    victims = sorted({one.victim for one in report.rounds})
    histogram = report.histogram()
    table = Table(title="Rounds in which this was open when the victim died")
    table.add_column("")
    for victim in victims:
        table.add_column(victim, justify="right")
    for kind in sorted({kind for _, kind in histogram}):
        table.add_row(kind, *(str(histogram[victim, kind] or "") for victim in victims))
    for label, counted in (("rounds", False), ("counted rounds", True)):
        some = Counter(one.victim for one in report.rounds if one.counts or not counted)
        table.add_row(label, *(str(some[victim]) for victim in victims), end_section=counted)
    console.print(table)
    console.print(f"What is queued{SHARED} may have been in another one's hands: no round counts by that alone.")
    verdict = report.verdict
    console.print(
        f"seed {report.seed}: {len(report.rounds)} rounds, {report.counted} counted; {report.operations} operations, "
        f"{report.calls} webhook calls; {report.seconds:.0f} s"
    )
    console.print("entries of the ledger: " + ", ".join(f"{count} {kind}" for kind, count in report.entries.items()))
    console.print(f"operations: {verdict.absent} given up without a trace, {verdict}")
    broken = ", ".join(verdict.violations) or "none"
    console.print(f"promises broken: {broken}")


def save(report: Report, path: Path) -> None:
    """Keep the report as JSON."""
    verdict = report.verdict
    content = {
        "seed": report.seed,
        "rounds": [
            {"victim": one.victim, "open_work": one.open_work, "recovery_seconds": round(one.recovery_seconds, 2)}
            for one in report.rounds
        ],
        "counted_rounds": report.counted,
        "seconds": round(report.seconds),
        "webhook_calls": report.calls,
        "ledger_entries": dict(report.entries),
        "operations": {
            "all": report.operations,
            "ok": verdict.ok,
            "given_up_without_a_trace": verdict.absent,
            "lost": verdict.lost,
            "duplicated": verdict.duplicated,
            "invented": verdict.invented,
        },
        "violations": verdict.violations,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(prog="make fault", description=__doc__)
    parser.add_argument("--rounds", type=int, default=120, help="how many kills (default 120)")
    parser.add_argument("--seed", type=int, default=1, help="what decides who dies when (default 1)")
    parser.add_argument("--minutes", type=float, default=30, help="begin no kill after that long (default 30)")
    arguments = parser.parse_args()
    console = Console(width=200 if not sys.stdout.isatty() else None)
    console.print(f"seed {arguments.seed}, {arguments.rounds} rounds")
    with running_plant_to_kill() as plant:
        try:
            report = asyncio.run(
                kill_at_random(
                    plant,
                    console,
                    rounds=arguments.rounds,
                    seed=arguments.seed,
                    within_seconds=arguments.minutes * 60,
                )
            )
        finally:
            logs = OUTPUT / f"logs-{arguments.seed}"
            logs.mkdir(parents=True, exist_ok=True)
            for process in plant.processes:
                shutil.copy(process.log, logs)
    show(report, console)
    save(report, OUTPUT / f"report-{arguments.seed}.json")
    sys.exit(1 if report.verdict.problems() else 0)
