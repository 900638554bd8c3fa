"""The audit trail: who changed what."""

from typing import Any

from nicegui import ui

from services.console.company_names import company_names
from services.console.frame import empty, page
from services.console.visits import Visit
from services.console.widgets import Asked, Column, Listed, PagedList, address, moment

HERE = "/platform/audit"
COLUMNS = (
    Column("at", "When", "moment"),
    Column("actor", "Who", "link"),
    Column("action", "Did"),
    Column("subject", "To", "link"),
    Column("changes", "Before and after", "prose"),
    Column("company", "Company", "link"),
)
PAGES = {"product": "/products/", "company": "/platform/companies/"}
FILTERS = {"subject": "What, e.g. product 102", "actor": "Who, e.g. user 5, key 17"}
TEXT_LIMIT = 60


@page(HERE, "Audit trail", ("admin",))
async def audit_trail(visit: Visit) -> None:
    """All changes of the catalog, newest first, narrowed down by company, subject and actor."""
    names = await company_names(visit)
    chosen: dict[str, str] = {name: visit.query.get(name, "") for name in ("company", *FILTERS)}

    async def fetch(asked: Asked) -> Listed:
        found = await visit.api.get(
            "/v1/audit",
            company_id=chosen["company"],
            subject=chosen["subject"],
            actor=chosen["actor"],
            cursor=asked.cursor,
            limit=asked.limit,
        )
        return Listed([_row(entry, visit, names, chosen["company"]) for entry in found["items"]], found["next_cursor"])

    async def choose(name: str, value: object) -> None:
        chosen[name] = "" if value is None else str(value).strip()
        ui.navigate.history.replace(address(HERE, **chosen))
        await entries.load()

    with ui.row().classes("row filters"):
        value = int(chosen["company"]) if chosen["company"].isdecimal() and int(chosen["company"]) in names else None
        company = ui.select(names, value=value, with_input=True, clearable=True, label="Company")
        company.props("outlined dense options-dense").classes("filter company-filter")
        company.on_value_change(lambda event: choose("company", event.value))
        for name, label in FILTERS.items():
            field = ui.input(label, value=chosen[name]).props("outlined dense clearable debounce=400")
            field.classes("filter company-filter").on_value_change(lambda event, name=name: choose(name, event.value))
    entries = PagedList(
        COLUMNS, fetch, when_empty=lambda: empty("history", "No change like that", "Choose other filters above.")
    )
    await entries.load()


def _row(entry: dict[str, Any], visit: Visit, names: dict[int, str], company: str) -> dict[str, Any]:
    kind, _, number = entry["subject"].rpartition(" ")
    source = f" ({entry['source']})" if entry["source"] else ""
    company_id = entry["company_id"]
    return {
        "id": entry["id"],
        "at": moment(entry["recorded_at"], visit.zone).replace(" ", "\u00a0"),
        "at_title": entry["recorded_at"],
        "actor": entry["actor"] + source,
        "actor_address": address(HERE, actor=entry["actor"], company=company),
        "action": entry["action"].replace("_", " "),
        "subject": entry["subject"],
        "subject_address": f"{PAGES[kind]}{number}" if kind in PAGES else address(HERE, subject=entry["subject"]),
        "changes": _changes(entry["changes"]),
        "company": names.get(company_id, f"company {company_id}") if company_id else "",
        "company_address": f"/platform/companies/{company_id}" if company_id else None,
    }


def _changes(changes: dict[str, list[Any]]) -> str:
    """`field: before → after` of each; of what was or is not there only the other."""
    told = []
    for field, (before, after) in changes.items():
        was, now = _said(before), _said(after)
        if was or now:
            arrow = f"{was} → {now or 'nothing'}" if was else now
            told.append(f"{field.replace('_', ' ')}: {arrow}")
    return "; ".join(told)


def _said(value: object) -> str:
    """A value in words; empty where there is none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value in ([], {}):
        return ""
    words = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return words if len(words) <= TEXT_LIMIT else f"{words[:TEXT_LIMIT]} ..."
