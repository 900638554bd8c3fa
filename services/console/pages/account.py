"""Who one is, what one may do, and one's password."""

import json

from nicegui import ui

from services.console.api import RefusedError
from services.console.forms import form
from services.console.frame import page, tell_done
from services.console.scope_words import AREA_WORDS, ROLE_WORDS, SCOPE_WORDS, VERB_WORDS
from services.console.visits import Visit
from services.console.widgets import facts, panel
from shared.scopes import ADMIN

REPEATED_DIFFERS = RefusedError(422, "passwords_differ", "", {"repeated": "The two are not the same."})


@page("/account", "Account")
async def account(visit: Visit) -> None:
    """Facts, scopes in words, the password."""
    with ui.element("div").classes("grid two"):
        with panel("Who you are"):
            facts(_identity(visit))
        with panel("What you may do"):
            _scopes(visit)
        with panel("Password"):
            if visit.me["user"]:
                _password()
            else:
                ui.label("You are signed in with an API key: it has no password.").classes("muted")


def _identity(visit: Visit) -> dict[str, object]:
    company, user = visit.me["company"], visit.me["user"]
    of_company = f"{company['name']} ({company['role']})" if company else "none: you look after the platform"
    who: dict[str, object] = {"Company": of_company, "In the audit trail": visit.me["actor"]}
    if user:
        return {"E-mail address": user["email"], "Role": ROLE_WORDS[user["role"]], **who}
    return {"API key": "the platform's" if visit.me["key_id"] is None else visit.me["key_id"], **who}


def _scopes(visit: Visit) -> None:
    rows = {
        words.capitalize(): " and ".join(
            said.lower() for verb, said in VERB_WORDS.items() if visit.may(f"{area}:{verb}")
        )
        or "nothing"
        for area, words in AREA_WORDS.items()
    }
    facts(rows)
    if visit.may(ADMIN):
        ui.label(f"{SCOPE_WORDS[ADMIN]}.")


def _password() -> None:
    async def change() -> None:
        if fields["new_password"] != fields["repeated"]:
            raise REPEATED_DIFFERS
        given = {name: fields[name] or "" for name in ("old_password", "new_password")}
        # The browser asks itself: its session goes on with the token of the answer, in a cookie that no page can set.
        answer = await ui.run_javascript(f"return basestock.changePassword({json.dumps(given)})", timeout=40)
        if not answer["is_changed"]:
            raise RefusedError(answer["status"], "", answer["detail"], answer["errors"])
        tell_done("Your password is changed; other sessions of yours end within 15 minutes")
        ui.timer(2, ui.navigate.reload, once=True)

    with form(change, "Change the password") as fields:
        for name, label, purpose in (
            ("old_password", "The password of now", "current-password"),
            ("new_password", "The new password", "new-password"),
            ("repeated", "The new password again", "new-password"),
        ):
            field = ui.input(label, password=True, password_toggle_button=True)
            fields.add(name, field).props["autocomplete"] = purpose
        ui.label("12 to 200 characters.").classes("muted")
