"""Roles and scopes (docs/access.md) as people say them."""

from collections.abc import Collection, Mapping

from shared.scopes import ADMIN, ALL_SCOPES, AREA_SCOPES, Scope, UserRole

AREA_WORDS: Mapping[str, str] = {
    "catalog": "products and connections",
    "orders": "orders and returns",
    "stock": "stock levels and locations",
    "webhooks": "webhooks and what was sent to them",
}
VERB_WORDS: Mapping[str, str] = {"read": "See", "write": "Change"}
SCOPE_WORDS: Mapping[Scope, str] = {
    **{scope: f"{VERB_WORDS[scope.split(':')[1]]} {AREA_WORDS[scope.split(':')[0]]}" for scope in AREA_SCOPES},
    ADMIN: "Manage the company: its settings, users and API keys",
}
ROLE_WORDS: Mapping[UserRole, str] = {
    "owner": "Owner: everything, and manages the company, its users and API keys",
    "operator": "Operator: everything but managing the company",
    "viewer": "Viewer: sees everything, changes nothing",
}


def scopes_in_words(scopes: Collection[str]) -> str:
    """What these scopes let one do, short: for a cell of a list."""
    if ADMIN in scopes:
        return "everything, and manages the company"
    given = [scope for scope in ALL_SCOPES if scope in scopes]
    if len(given) == len(AREA_SCOPES):
        return "everything but managing the company"
    verbs: dict[str, list[str]] = {}
    for scope in given:
        area, verb = scope.split(":")
        verbs.setdefault(area, []).append(VERB_WORDS[verb].lower())
    return "; ".join(f"{' and '.join(said)} {AREA_WORDS[area].split(' and ')[0]}" for area, said in verbs.items())
