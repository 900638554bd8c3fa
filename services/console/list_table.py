"""A table of rows in a page: what its columns are, and which cells have changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nicegui.element import Element

# How a cell is drawn (static/list_table.js). A row has what is beside the value under the column's name and a suffix:
# `sku_address` of a link, `state_tone` of a badge or a number, `made_at_title` of a moment or text. An `edit` cell is a
# number that can be changed: it emits `edit` with the row's key and the column (console.js has the arrow keys).
# `actions` are `(name, label)`, each a button that emits `act`; `actions_of` says to screen readers what it is done to.
# A `choice` is whether the row is chosen: it emits `choose` with the row's key, and `chosen`. `prose` is text in lines.
Kind = Literal["text", "mono", "number", "edit", "badge", "link", "moment", "actions", "choice", "prose"]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list: the rows' value `name`, under `label`; `sort_by` is what the API sorts by.

    Without `descends` the API knows that order one way only.
    """

    name: str
    label: str
    kind: Kind = "text"
    sort_by: str | None = None
    descends: bool = True


class ListTable(Element, component="static/list_table.js"):
    """Rows with the values of the columns. It emits `sort` with a column's name, `edit`, `act` and `choose`."""

    def __init__(self, columns: Sequence[Column], key: str) -> None:
        """Draw it without rows; `key` names the rows' own id."""
        super().__init__()
        self._columns, self._key = columns, key
        self._is_even = False
        self._props["columns"] = [
            {"name": one.name, "label": one.label, "kind": one.kind, "sortable": one.sort_by is not None}
            for one in columns
        ]
        self._props["row-key"] = key
        self._props["rows"] = []

    @property
    def rows(self) -> list[Row]:
        """The rows that are shown."""
        rows: list[Row] = self._props["rows"]
        return rows

    def show(self, rows: list[Row], *, mark: bool = False) -> None:
        """Show these rows; with `mark` cells that differ from what is shown stand out for a moment."""
        if mark:
            self._mark(rows)
        if rows != self.rows:
            self._props["rows"] = rows
            self.update()

    def show_sort(self, name: str | None, *, descending: bool) -> None:
        """Say which column the rows are sorted by."""
        self._props["sorted-by"], self._props["descending"] = name, descending
        self.update()

    def _mark(self, rows: list[Row]) -> None:
        known = {row[self._key]: row for row in self.rows}
        # Even and odd times look the same, but start anew when a cell changes in both.
        self._is_even = not self._is_even
        mark = "changed" if self._is_even else "changed again"
        for row in rows:
            old = known.get(row[self._key], row)
            names = [one.name for one in self._columns if row[one.name] != old[one.name]]
            if names:
                row["changed"] = dict.fromkeys(names, mark)
