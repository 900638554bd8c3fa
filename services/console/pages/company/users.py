"""The users of a company: who signs in for it, and what each may do."""

from typing import Any

from nicegui import ui

from services.console.forms import Form, form_dialog
from services.console.frame import empty, tell_done
from services.console.scope_words import ROLE_WORDS
from services.console.visits import Visit
from services.console.widgets import Asked, Column, Listed, PagedList, confirmed, list_heading

COLUMNS = (
    Column("email", "E-mail address"),
    Column("role", "Role"),
    Column("state", "State", "badge"),
    Column("do", "", "actions"),
)
TWELVE_OR_MORE = 'hint="12 characters or more" autocomplete=new-password'


async def users_panel(visit: Visit, company_id: int) -> None:
    """The users of the company, to be added, changed and removed; for the scope `admin`."""
    own_id = visit.me["user"] and visit.me["user"]["id"]
    whose = company_id if visit.is_admin else None

    async def fetch(asked: Asked) -> Listed:
        page = await visit.api.get("/v1/users", company_id=whose, cursor=asked.cursor, limit=asked.limit)
        return Listed([_row(user, own_id) for user in page["items"]], page["next_cursor"])

    def nobody() -> None:
        with empty("group", "Nobody signs in here yet", "Add a user; the first one should be an owner."):
            ui.button("Add a user", on_click=add)

    async def act(action: str, row: dict[str, Any]) -> None:
        await _act(visit, users, action, row)

    def add() -> None:
        _add(visit, users, whose)

    list_heading("Users", ("Add a user", add))
    users = PagedList(COLUMNS, fetch, when_empty=nobody, on_action=act)
    await users.load()


def _row(user: dict[str, Any], own_id: int | None) -> dict[str, Any]:
    is_oneself = user["id"] == own_id
    disabling = ("enable", "Enable") if user["disabled"] else ("disable", "Disable")
    return {
        "id": user["id"],
        "email": user["email"] + (" (you)" if is_oneself else ""),
        "address": user["email"],
        "role": user["role"].capitalize(),
        "user_role": user["role"],
        "state": "disabled" if user["disabled"] else "active",
        "state_tone": "warn" if user["disabled"] else "ok",
        "do": [("change", "Change"), *([] if is_oneself else [disabling, ("remove", "Remove")])],
        "do_of": user["email"],
        "is_oneself": is_oneself,
    }


async def _act(visit: Visit, users: PagedList, action: str, row: dict[str, Any]) -> None:
    path, address = f"/v1/users/{row['id']}", row["address"]
    if action == "change":
        _change(visit, users, row)
    elif action == "enable":
        await visit.api.patch(path, {"disabled": False})
        tell_done(f"{address} can sign in again")
    elif action == "disable":
        words = "Nobody can sign in with it until you enable it again. Pages that are open end within 15 minutes."
        if await confirmed(f"Disable {address}?", words, "Disable"):
            await visit.api.patch(path, {"disabled": True})
            tell_done(f"{address} is disabled")
    elif await confirmed(f"Remove {address}?", "What it did stays in the audit trail.", "Remove", is_dangerous=True):
        await visit.api.delete(path)
        tell_done(f"{address} is removed")


def _add(visit: Visit, users: PagedList, company_id: int | None) -> None:
    async def save(fields: Form) -> None:
        body = {**fields.values, "company_id": company_id}
        await visit.api.post("/v1/users", body, once=fields.once(body))
        tell_done(f"{fields['email']} can sign in now: give them the password")

    words = "Basestock sends no mail: tell them the address of this page and the password; they can change it."
    with form_dialog("Add a user", "Add", save, words, then=users.refresh) as fields:
        fields.add("email", ui.input("E-mail address")).props("type=email autocomplete=off")
        password = ui.input("First password", password=True, password_toggle_button=True)
        fields.add("password", password).props(TWELVE_OR_MORE)
        fields.add("role", ui.select(dict(ROLE_WORDS), label="Role", value="operator"))


def _change(visit: Visit, users: PagedList, row: dict[str, Any]) -> None:
    async def save(fields: Form) -> None:
        changes = {name: value for name, value in fields.values.items() if value}
        await visit.api.patch(f"/v1/users/{row['id']}", changes)
        tell_done("Saved")

    words = "Your own password is changed on the page of your account." if row["is_oneself"] else ""
    with form_dialog(f"Change {row['address']}", "Save", save, words, then=users.refresh) as fields:
        fields.add("email", ui.input("E-mail address", value=row["address"])).props("type=email")
        fields.add("role", ui.select(dict(ROLE_WORDS), label="Role", value=row["user_role"]))
        if not row["is_oneself"]:
            password = ui.input("New password", password=True, password_toggle_button=True)
            fields.add("password", password).props('hint="Empty: it stays as it is" autocomplete=new-password')
