"""What was measured, as JSON (`bench/results/latest.json`) and as the table in `docs/performance.md`."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shared import clock

PROJECT = Path(__file__).parent.parent
LATEST = PROJECT / "bench/results/latest.json"
PAGE = PROJECT / "docs/performance.md"
BEGINS, ENDS = "<!-- what `make bench` measured last; written by it -->\n", "<!-- end of what `make bench` writes -->\n"
HEAD = """| bar | figure | ceiling of the same run | ratio | bar's target | beside | when, load |
|---|---|---|---|---|---|---|
"""
# Architecture.md, section 12, by how the rows of the bars begin.
TARGETS = {
    "S1": "0.60, and 30 x one by one",
    "S2": "0.50",
    "S3": "at least S1's figure",
    "S5": "0.40",
    "S8": "0.80",
}

Row = Mapping[str, Any]


def keep(measured: Mapping[str, Sequence[Row]]) -> None:
    """Put these measurements, rows by name, in the place of earlier ones of the same names; others stay."""
    kept = json.loads(LATEST.read_text()) if LATEST.exists() else {}
    when, load = clock.utc_now().strftime("%Y-%m-%d %H:%M"), round(os.getloadavg()[2], 1)
    for name, rows in measured.items():
        kept[name] = {"when": when, "load": load, "rows": list(rows)}
    LATEST.parent.mkdir(exist_ok=True)
    LATEST.write_text(json.dumps(kept, indent=2) + "\n")
    PAGE.write_text(with_table(PAGE.read_text(), kept))


def with_table(page: str, kept: Mapping[str, Any]) -> str:
    """The page with the table of what is kept between its two marks; `ValueError` where it lacks them."""
    before, _, rest = page.partition(BEGINS)
    _, _, after = rest.partition(ENDS)
    if BEGINS not in page or ENDS not in page:
        message = f"docs/performance.md has lost its marks: {BEGINS.strip()} and {ENDS.strip()}"
        raise ValueError(message)
    lines = [_line(row, f"{one['when']}, {one['load']}") for one in kept.values() for row in one["rows"]]
    return "".join((before, BEGINS, HEAD, *lines, ENDS, after))


def _line(row: Row, when: str) -> str:
    target = TARGETS.get(str(row["bar"])[:2], "")
    figure, ceiling = f"{row['figure']:,} {row['unit']}", f"{row['ceiling']:,} {row['unit']}: {row['ceiling_is']}"
    return f"| {' | '.join((row['bar'], figure, ceiling, str(row['ratio']), target, row['beside'], when))} |\n"
