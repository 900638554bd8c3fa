"""A company's API keys: what programs act with."""

from datetime import datetime, timedelta
from typing import Any

from nicegui import ui

from services.console.forms import Form, form_dialog, show_secret
from services.console.frame import empty, tell_done
from services.console.scope_words import SCOPE_WORDS, scopes_in_words
from services.console.visits import Visit
from services.console.widgets import Asked, Column, Listed, PagedList, ago, confirmed, list_heading, moment
from shared import clock
from shared.scopes import ADMIN, ALL_SCOPES, AREA_SCOPES

COLUMNS = (
    Column("label", "For"),
    Column("id", "Key", "mono"),
    Column("scopes", "May", "prose"),
    Column("used", "Last used", "moment"),
    Column("expires", "Expires", "moment"),
    Column("state", "State", "badge"),
    Column("do", "", "actions"),
)
LIFETIMES = {0: "Never: until it is revoked", 30: "In 30 days", 90: "In 90 days", 365: "In a year"}


async def api_keys_panel(visit: Visit, company_id: int) -> None:
    """The company's keys, to be made and revoked; for the scope `admin`."""
    path = f"/v1/companies/{company_id}/api-keys"

    async def fetch(asked: Asked) -> Listed:
        page = await visit.api.get(path, cursor=asked.cursor, limit=asked.limit)
        return Listed([_row(key, visit) for key in page["items"]], page["next_cursor"])

    def none_yet() -> None:
        with empty(
            "key", "No program has a key yet", "An order system or an ERP calls Basestock with a key of its own."
        ):
            ui.button("Make an API key", on_click=make)

    async def revoke(_: str, row: dict[str, Any]) -> None:
        words = f"Whoever calls with it is refused within a second, for ever. It was last used {row['used']}."
        if await confirmed(f"Revoke the key {row['do_of']}?", words, "Revoke", is_dangerous=True):
            await visit.api.delete(f"{path}/{row['id']}")
            tell_done(f"The key {row['do_of']} is revoked")

    def make() -> None:
        _make(visit, keys, path)

    list_heading("API keys", ("Make an API key", make))
    keys = PagedList(COLUMNS, fetch, when_empty=none_yet, on_action=revoke)
    await keys.load()


def _row(key: dict[str, Any], visit: Visit) -> dict[str, Any]:
    expires_at = key["expires_at"]
    is_over = expires_at is not None and datetime.fromisoformat(expires_at) <= clock.utc_now()
    state = "revoked" if key["revoked_at"] else "expired" if is_over else "valid"
    label = key["label"] or "-"
    return {
        "id": key["id"],
        "label": f"{label} (this session)" if key["id"] == visit.me["key_id"] else label,
        "scopes": scopes_in_words(key["scopes"]),
        "used": ago(key["last_used_at"]),
        "used_title": moment(key["last_used_at"], visit.zone),
        "expires": "never" if expires_at is None else moment(expires_at, visit.zone),
        "state": state,
        "state_tone": "ok" if state == "valid" else "",
        "do": [("revoke", "Revoke")] if state == "valid" else [],
        "do_of": key["label"] or str(key["id"]),
    }


def _make(visit: Visit, keys: PagedList, path: str) -> None:
    boxes: dict[str, ui.checkbox] = {}
    opened_at = clock.utc_now()

    async def save(fields: Form) -> None:
        days = fields["expires_at"]
        body = {
            "label": fields["label"],
            "scopes": [scope for scope in ALL_SCOPES if boxes[scope].value],
            "expires_at": (opened_at + timedelta(days=days)).isoformat() if days else None,
        }
        made = await visit.api.post(path, body, once=fields.once(body))
        show_secret(
            "The new API key", made["key"], "Programs send it as Authorization: Bearer, then a blank and the key."
        )

    with form_dialog("Make an API key", "Make the key", save, then=keys.refresh) as fields:
        fields.add("label", ui.input("What it is for", placeholder="warehouse, order system, ..."))
        fields.add("expires_at", ui.select(LIFETIMES, label="Expires", value=0))
        ui.label("It may").classes("muted")
        with ui.element("div").classes("scopes").props('role="group" aria-label="It may"'):
            for scope in ALL_SCOPES:
                boxes[scope] = ui.checkbox(SCOPE_WORDS[scope], value=scope in AREA_SCOPES).props("dense")
        ui.label("Who manages the company may do everything else too.").classes("muted").bind_visibility_from(
            boxes[ADMIN], "value"
        )
