"""The guards still fit: their patches apply, and they prove what docs/architecture.md says. `make guards` runs them."""

import re

import pytest

from tests.fault.guards import ROOT, Guard, all_guards, apply

GUARDS = all_guards()
ROW = re.compile(r"^\| (P\d+) .*$", flags=re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py::[\w:]+)`")


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_applies_and_its_tests_exist(guard: Guard) -> None:
    apply(guard, ROOT, "--check")
    for test in guard.tests:
        path, *_, name = test.split("::")
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8"), f"{guard.path.name}: there is no {test}"


def test_the_guards_and_the_table_of_promises_name_the_same_tests() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    promised = {row[1]: set(TEST.findall(row[0])) for row in ROW.finditer(page)}
    guarded: dict[str, set[str]] = {}
    for guard in GUARDS:
        guarded.setdefault(f"P{guard.number}", set()).update(guard.tests)
    assert guarded == promised


def test_a_guard_is_named_after_its_promise() -> None:
    assert [guard.name for guard in GUARDS if not guard.name.startswith(f"P{guard.number}-")] == []
