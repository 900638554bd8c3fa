"""The house rules that a machine can hold: each check names the file, the line and the rule."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.all_in_one import SERVICES
from shared.events import Event, catalogue
from shared.messaging.consumer import sources_of
from shared.service import Service, queues_of_hearers
from shared.settings import Settings

ROOT = Path(__file__).parent.parent
FUNCTION_LINES, MODULE_LINES = 50, 400

# Modules of `shared` that own tables, and with them their SQL; in a service that is `store.py`.
SQL_OWNERS = {
    "shared/access.py",
    "shared/catalog_view.py",
    "shared/database.py",
    "shared/linked_products.py",
    "shared/idempotency.py",
    "shared/messaging/dead_letters.py",
    "shared/messaging/inbox.py",
    "shared/messaging/outbox.py",
    "shared/messaging/tables.py",
    "shared/migrations.py",
}
CLOCK_READS = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter", "sleep"}
CLOCK_MODULES = {"datetime", "date", "time", "asyncio"}
VAGUE_NAMES = {"utils", "util", "common", "helpers", "misc", "core", "base"}


def tracked(pattern: str = "*.py") -> list[Path]:
    """Files of the project, tracked or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", pattern],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\n")
    return [ROOT / name for name in listed if name and (ROOT / name).exists()]


def place(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def production() -> list[Path]:
    """What runs in production: everything but tests, benchmarks and migrations."""
    return [
        path
        for path in tracked()
        if place(path).split("/")[0] in {"shared", "services", "demo"} and "migrations/" not in place(path)
    ]


def nodes(path: Path) -> Iterator[ast.AST]:
    yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def test_functions_and_modules_stay_short() -> None:
    long = []
    for path in production():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MODULE_LINES:
            long.append(f"{place(path)}: {lines} lines")
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    long.append(f"{place(path)}:{node.lineno} {node.name}: {length} lines")
    assert not long, "\n".join(long)


def test_only_the_database_module_commits() -> None:
    found = [
        f"{place(path)}:{node.lineno}"
        for path in production()
        if place(path) not in {"shared/database.py", "shared/migrations.py"}
        for node in nodes(path)
        if isinstance(node, ast.Attribute) and node.attr in {"commit", "rollback"}
        # A savepoint ends within its transaction.
        if ast.unparse(node.value) != "savepoint"
    ]
    assert not found, f"transactions end in shared/database.py alone: {found}"


def test_only_the_clock_module_reads_clocks_and_sleeps() -> None:
    found = [
        f"{place(path)}:{node.lineno} {ast.unparse(node)}"
        for path in production()
        if place(path) != "shared/clock.py" and not place(path).startswith("demo/")
        for node in nodes(path)
        if isinstance(node, ast.Attribute)
        and node.attr in CLOCK_READS
        and isinstance(node.value, ast.Name)
        and node.value.id in CLOCK_MODULES
    ]
    assert not found, f"use shared.clock: {found}"


def test_sql_is_written_where_it_is_looked_for() -> None:
    found = []
    for path in production():
        name = place(path)
        if name in SQL_OWNERS or name.endswith(("/store.py", "/tables.py")) or "/store/" in name or "/tables/" in name:
            continue
        found += [
            f"{name}:{node.lineno}"
            for node in nodes(path)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "text"
        ]
    assert not found, f"SQL belongs into store.py: {found}"


def test_events_are_made_by_their_producer_alone() -> None:
    producers = {event.__name__: event.producer() for event in catalogue()}
    found = [
        f"{place(path)}:{node.lineno} makes {node.func.id}"
        for path in production()
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in producers
        and not place(path).startswith(f"services/{producers[node.func.id]}/")
    ]
    assert not found, found


def test_what_is_public_says_what_it_does() -> None:
    silent = []
    for path in production():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if not ast.get_docstring(tree):
            silent.append(f"{place(path)}: the module")
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                overloads = [ast.unparse(decorator) == "overload" for decorator in node.decorator_list]
                public = [node] if not node.name.startswith("_") and not any(overloads) else []
                if isinstance(node, ast.ClassDef) and public:
                    public += [
                        member
                        for member in node.body
                        if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef)
                        and not member.name.startswith("_")
                    ]
                silent += [f"{place(path)}:{item.lineno} {item.name}" for item in public if not ast.get_docstring(item)]
    assert not silent, "\n".join(silent)


def test_names_say_what_is_inside() -> None:
    vague = [place(path) for path in tracked() if VAGUE_NAMES & set(place(path).removesuffix(".py").split("/"))]
    assert not vague, vague


def test_nothing_is_left_open_or_skipped() -> None:
    # Spelled so that this very file does not contain them.
    marks = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "X" * 3, r"pytest\.(mark\.)?sk" + "ip", "x" + "fail"]))
    found = [
        f"{place(path)}:{number}"
        for path in tracked()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if marks.search(line)
    ]
    assert not found, found


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_hears_exactly_what_the_contracts_say(service: Service) -> None:
    hears = {event for subscription in service.subscriptions for event in subscription.events}
    told: set[type[Event]] = {event for event in catalogue() if service.name in event.heard_by}
    assert hears == told


def test_who_hears_and_who_is_heard_declare_the_same_queues() -> None:
    heard = [source.queue for one in SERVICES for source in sources_of(one.name, one.subscriptions, 1)]
    told = [queue for one in SERVICES for queue in queues_of_hearers(one.name, 1)]
    assert {one.name: set(one.topics) for one in heard} == {one.name: set(one.topics) for one in told}


def test_the_example_settings_are_the_defaults() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("# "))
    defaults = {
        f"BASESTOCK_{name.upper()}": _as_environment(field.default) for name, field in Settings.model_fields.items()
    }
    assert example == defaults


def test_every_setting_is_explained() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    unexplained = [name for name, field in Settings.model_fields.items() if f"# {field.description}\n" not in example]
    assert not unexplained, unexplained


def _as_environment(value: object) -> str:
    """A default as it is written in `.env`."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return ",".join(str(part) for part in value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def test_requirements_are_pinned_with_hashes_and_name_no_index() -> None:
    for path in tracked("requirements*.txt"):
        text = path.read_text(encoding="utf-8")
        pinned = re.findall(r"^([\w.-]+)==", text, flags=re.MULTILINE)
        assert pinned
        assert "://" not in text
        assert "index" not in text
        for block in re.split(r"\n(?=\S)", text.strip()):
            assert "--hash=sha256:" in block, f"{path.name}: no hash for {block.splitlines()[0]}"


def test_the_promises_name_tests_that_exist() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(set(re.findall(r"^\| (P\d+) ", page, flags=re.MULTILINE))) == 10
    assert len(named) >= 10
    missing = [
        f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ]
    assert not missing, missing
