"""Scopes: what a request needs, what implies what, and what roles have."""

import pytest

from shared import clock
from shared.access import Caller
from shared.scopes import AREA_SCOPES, UserRole, implied_scopes, needed_scope, scopes_of_role, scopes_of_today
from shared.tokens import SignedIn


@pytest.mark.parametrize(
    ("service", "method", "scope"),
    [
        ("catalog", "GET", "catalog:read"),
        ("orders", "HEAD", "orders:read"),
        ("inventory", "POST", "stock:write"),
        ("inventory", "PATCH", "stock:write"),
        ("notifier", "DELETE", "webhooks:write"),
        ("notifier", "PUT", "webhooks:write"),
    ],
)
def test_the_area_is_the_services_and_the_verb_the_methods(service: str, method: str, scope: str) -> None:
    assert needed_scope(service, method) == scope


def test_write_does_not_imply_read_and_admin_implies_all() -> None:
    assert implied_scopes(["stock:write"]) == ("stock:write",)
    assert implied_scopes(["admin"]) == (*AREA_SCOPES, "admin")


@pytest.mark.parametrize(
    ("role", "scopes"),
    [
        ("owner", {*AREA_SCOPES, "admin"}),
        ("operator", set(AREA_SCOPES)),
        ("viewer", {"catalog:read", "orders:read", "stock:read", "webhooks:read"}),
    ],
)
def test_a_role_has_its_scopes(role: UserRole, scopes: set[str]) -> None:
    assert set(scopes_of_role(role)) == scopes


def test_keys_of_before_there_were_areas_go_on_doing_everything() -> None:
    assert scopes_of_today(["write", "read"]) == AREA_SCOPES
    assert scopes_of_today(["stock:read"]) == ("stock:read",)
    assert scopes_of_today(["read"]) == ("read",), "no key ever had it alone, and it is no scope of today"


def test_a_caller_is_named_for_records() -> None:
    user = SignedIn(5, 1, "supplier", "viewer", 1, clock.utc_now())
    assert Caller(None, "admin", ()).actor == "platform admin"
    assert Caller(None, "admin", (), key_id=3).actor == "key 3"
    assert Caller(1, "supplier", (), key_id=17).actor == "key 17"
    assert Caller(1, "supplier", (), signed_in=user).actor == "user 5"
