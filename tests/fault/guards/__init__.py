"""Proves that the tests would notice: takes away the promises' mechanisms, one at a time, and expects tests to fail.

`python -m tests.fault.guards [NAME...]` works on a copy of the project in a temporary folder. Each guard is a patch
beside this file that removes one mechanism; its head says which, of which promise, and which tests must fail then.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as ET

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from shared import clock
from tests.servers.postgres import postgres_server

GUARDS = Path(__file__).parent
ROOT = GUARDS.parent.parent.parent
# Beyond any named test on a busy machine: the longest wait in one, for a confirm that does not come, is 20 s.
TEST_SECONDS = 120
# A run that is stopped may still end the servers it started.
STOP_SECONDS = 30
TESTS_FAILED = 1

# How pytest tells of an assertion, by itself and among the errors of a task group.
ASSERTION = re.compile(r"assert |AssertionError|Failed: ")
ASSERTION_IN_GROUP = re.compile(r"^[ |]+(?:_pytest\.outcomes\.)?((?:AssertionError|Failed): .*)$", flags=re.MULTILINE)


class GuardError(Exception):
    """A guard, or the machinery around it, proves nothing: in words."""


@dataclass(frozen=True, slots=True)
class Guard:
    """A patch that removes one mechanism; `removes` says what is true with it; `tests` are pytest's node ids."""

    path: Path
    promise: str
    removes: str
    tests: tuple[str, ...]
    patch: str

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return self.path.stem

    @property
    def number(self) -> int:
        """The number of its promise."""
        return int(self.promise.split()[0].removeprefix("P"))


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a test: it passed, an assertion in it failed, or something else happened; `words` say what."""

    color: Literal["green", "red", "error"]
    words: str = ""


@dataclass(slots=True)
class Proof:
    """A guard's row in the table."""

    guard: Guard
    before: Result
    after: Result = field(default_factory=lambda: Result("error", "not run"))
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether its tests passed with the mechanism, and failed without it."""
        return (self.before.color, self.after.color) == ("green", "red")


def read(path: Path) -> Guard:
    """Read a guard's head; raises `GuardError` where it does not say what it should."""
    patch = path.read_text(encoding="utf-8")
    head = re.split(r"^(?:diff|---) ", patch, maxsplit=1, flags=re.MULTILINE)[0]
    said: dict[str, list[str]] = {}
    for line in head.strip().splitlines():
        key, _, value = line.partition(": ")
        said.setdefault(key, []).append(value)
    once = all(len(said.get(key, ())) == 1 for key in ("Promise", "Removes"))
    if not once or said.keys() != {"Promise", "Removes", "Test"} or not re.match(r"P\d+ ", said["Promise"][0]):
        message = f"{path.name}: its head must be `Promise: P...`, `Removes: that ...` and one `Test: ...` a test"
        raise GuardError(message)
    return Guard(path, said["Promise"][0], said["Removes"][0], tuple(said["Test"]), patch)


def all_guards() -> list[Guard]:
    """Every guard, by promise."""
    return sorted((read(path) for path in GUARDS.glob("*.patch")), key=lambda guard: (guard.number, guard.name))


def chosen(names: Sequence[str]) -> list[Guard]:
    """The guards of these names, or of a promise (`P4`); all of them when none is named."""
    guards = all_guards()
    known = {guard.name for guard in guards} | {f"P{guard.number}" for guard in guards}
    unknown = sorted(set(names) - known)
    if unknown:
        message = f"no guard is called {', '.join(unknown)}; there are: {', '.join(guard.name for guard in guards)}"
        raise GuardError(message)
    return [guard for guard in guards if not names or {guard.name, f"P{guard.number}"} & set(names)]


def apply(guard: Guard, folder: Path, *options: str) -> None:
    """Apply a guard's patch in `folder`, which may be a work tree or not; raises `GuardError` with git's reason."""
    done = subprocess.run(
        ["git", "apply", *options, "-"],
        input=guard.patch,
        cwd=folder,
        env=os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        message = f"{guard.path.name} does not apply: {done.stderr.strip()}"
        raise GuardError(message)


@contextmanager
def copied() -> Iterator["Copy"]:
    """A copy of the files that git tracks, or would, with a PostgreSQL for its tests; both are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="basestock-guards-") as folder, postgres_server() as server:
        copy = Copy(Path(folder).resolve() / "project", server.dsn)
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (copy.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy.folder / name)
        copy.check_imports()
        yield copy


class Copy:
    """A copy of the project, in which tests run and code may be broken."""

    def __init__(self, folder: Path, dsn: str) -> None:
        """Work in `folder`, with the server at `dsn`; files of the runs go beside the folder."""
        self.folder = folder
        self._report, self._log = folder.parent / "report.xml", folder.parent / "output.log"
        # For the processes that tests start as well: the copy comes before the project that is installed.
        self._environment = os.environ | {"PYTHONPATH": str(folder), "BASESTOCK_TEST_DSN": dsn}

    def check_imports(self) -> None:
        """Raise `GuardError` unless Python, started anywhere with this environment, finds the copy's code."""
        found = subprocess.run(
            [sys.executable, "-c", "import services, shared; print(services.__file__); print(shared.__file__)"],
            cwd=self.folder.parent,
            env=self._environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()
        if not all(Path(file).is_relative_to(self.folder) for file in found):
            message = f"not the copy's code is imported but {', '.join(found)}: nothing would be proven"
            raise GuardError(message)

    @contextmanager
    def without(self, guard: Guard) -> Iterator[None]:
        """Take the mechanism away until the block ends."""
        apply(guard, self.folder)
        try:
            yield
        finally:
            apply(guard, self.folder, "--reverse")

    def run(self, tests: Sequence[str], *options: str) -> Mapping[str, Result]:
        """Run these tests; what became of each. Raises `GuardError` when they hang or pytest fails."""
        self._report.unlink(missing_ok=True)
        # Schemathesis takes as long to load as all the rest, and no guard needs it.
        plugins = ["-p", "no:cacheprovider", "-p", "no:schemathesis"]
        command = [sys.executable, "-m", "pytest", "-q", *plugins, f"--junitxml={self._report}"]
        with self._log.open("w") as log:
            process = subprocess.Popen(
                [*command, *options, *tests],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                status = process.wait(TEST_SECONDS * len(tests))
            except subprocess.TimeoutExpired as error:
                message = f"{', '.join(tests)} still ran after {TEST_SECONDS * len(tests)} s and was stopped"
                raise GuardError(message) from error
            finally:
                _stop(process)
        if status not in (0, TESTS_FAILED):
            end = " ".join(self._log.read_text(errors="replace").split())[-300:]
            message = f"pytest ended with {status}: {end}"
            raise GuardError(message)
        cases = list(ET.parse(self._report).iter("testcase"))  # noqa: S314 - pytest has just written it
        return {test: _result(test, [case for case in cases if _node_id(case) == _node_id_of(test)]) for test in tests}


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End a run that still runs: as by Ctrl-C, so that it ends its servers, and then for good."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue


def _node_id(case: ET.Element) -> str:
    """A test of the report, without its parameters."""
    return f"{case.get('classname')}.{case.get('name', '').partition('[')[0]}"


def _node_id_of(test: str) -> str:
    """The same of a test as it is named on the command line."""
    path, *names = test.split("::")
    return ".".join([path.removesuffix(".py").replace("/", "."), *names])


def _result(test: str, cases: Sequence[ET.Element]) -> Result:
    """What became of a test, in all its parameters."""
    failures = [failure for case in cases for failure in case.iter("failure")]
    errors = [error for case in cases for error in case.iter("error")]
    for failure in failures:
        said, told = failure.get("message", ""), failure.text or ""
        among = ASSERTION_IN_GROUP.search(told)
        if ASSERTION.match(said):
            return Result("red", said.removeprefix("AssertionError").lstrip(": \n").partition("\n")[0])
        if "ExceptionGroup" in said and among:
            return Result("red", among[1])
    if failures or errors:
        said = (failures or errors)[0].get("message", "").strip().partition("\n")[0]
        return Result("error", f"no assertion failed, but: {said}")
    return Result("green", "nothing") if cases else Result("error", f"{test} was not run")


def prove(copy: Copy, guard: Guard, before: Mapping[str, Result]) -> Proof:
    """Run a guard's tests without its mechanism; each of them must fail."""
    proof = Proof(guard, next((before[test] for test in guard.tests if before[test].color != "green"), Result("green")))
    if proof.before.color != "green":
        return proof
    started = clock.monotonic()
    try:
        with copy.without(guard):
            for test in guard.tests:
                proof.after = copy.run([test], "--exitfirst")[test]
                if proof.after.color != "red":
                    break
    except GuardError as error:
        proof.after = Result("error", str(error))
    proof.seconds = clock.monotonic() - started
    return proof


def table_of(proofs: Sequence[Proof]) -> Table:
    """The proofs as people read them."""
    table = Table(title="Each mechanism taken away, and what its tests said", title_justify="left", show_lines=True)
    table.add_column("", no_wrap=True)
    for title in ("Taken away", "Test", "Before", "After"):
        table.add_column(title, overflow="fold")
    table.add_column("Seconds", justify="right")
    table.add_column("What failed", overflow="fold", max_width=60)
    for proof in proofs:
        guard = proof.guard
        table.add_row(
            f"P{guard.number}",
            escape(f"{guard.name.partition('-')[2]}: {guard.removes}"),
            escape("\n".join(test.rpartition("::")[2] for test in guard.tests)),
            *(f"[{'green' if one.color != 'error' else 'bold'}]{one.color}" for one in (proof.before, proof.after)),
            f"{proof.seconds:.1f}",
            escape(proof.after.words if proof.before.color == "green" else proof.before.words),
        )
    return table


def main(names: Sequence[str], console: Console) -> int:
    """Prove the guards of these names, or all; returns the exit status."""
    guards = chosen(names)
    tests = sorted({test for guard in guards for test in guard.tests})
    with copied() as copy:
        with console.status(f"{len(tests)} tests with everything in place"):
            before = copy.run(tests)
        console.print(f"{sum(result.color == 'green' for result in before.values())} of {len(tests)} tests pass")
        proofs: list[Proof] = []
        try:
            for number, guard in enumerate(guards, 1):
                with console.status(f"without {guard.name}"):
                    proofs.append(prove(copy, guard, before))
                console.print(f"{number}/{len(guards)} {guard.name}: {'red' if proofs[-1].holds else 'NOT PROVEN'}")
        finally:
            console.print(table_of(proofs))
    missing = [proof.guard.name for proof in proofs if not proof.holds]
    console.print(f"Not proven: {', '.join(missing)}" if missing else f"All {len(proofs)} guards are proven.")
    return int(bool(missing))
