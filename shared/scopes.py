"""What a caller may do: scopes, each an area and a verb; which one a request needs, and what a user's role has.

`write` does not imply `read`. A company's `admin` implies all of them, and manages its keys, users and settings.
"""

from collections.abc import Collection
from typing import Literal, get_args

AreaScope = Literal[
    "catalog:read",
    "catalog:write",
    "orders:read",
    "orders:write",
    "stock:read",
    "stock:write",
    "webhooks:read",
    "webhooks:write",
]
Scope = Literal[AreaScope, "admin"]
UserRole = Literal["owner", "operator", "viewer"]

AREA_SCOPES: tuple[AreaScope, ...] = get_args(AreaScope)
ADMIN: Scope = "admin"
ALL_SCOPES: tuple[Scope, ...] = (*AREA_SCOPES, ADMIN)
_AREAS = {"catalog": "catalog", "orders": "orders", "inventory": "stock", "notifier": "webhooks"}
_READING = {"GET", "HEAD"}
# What keys had before there were areas: everything.
_BEFORE_AREAS = {"read", "write"}


def needed_scope(service: str, method: str) -> str:
    """The scope that a request to this service needs, by its HTTP method."""
    return f"{_AREAS[service]}:{'read' if method in _READING else 'write'}"


def implied_scopes(scopes: Collection[str]) -> tuple[str, ...]:
    """These scopes with all that `admin` implies, where it is among them."""
    return ALL_SCOPES if ADMIN in scopes else tuple(scopes)


def scopes_of_role(role: UserRole) -> tuple[Scope, ...]:
    """What a user of this role may do in its company."""
    if role == "owner":
        return ALL_SCOPES
    return AREA_SCOPES if role == "operator" else tuple(scope for scope in AREA_SCOPES if scope.endswith(":read"))


def scopes_of_today(scopes: Collection[str]) -> tuple[str, ...]:
    """A key's scopes as they were told: `read` and `write`, from before there were areas, meant everything."""
    return AREA_SCOPES if set(scopes) == _BEFORE_AREAS else tuple(scopes)
