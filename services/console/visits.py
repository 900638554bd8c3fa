"""A visit: one page, opened by whoever is signed in, and what it calls the API with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import Request
from starlette.responses import Response

from services.console.api import Api
from services.console.session import COOKIE, Credential, Sealer

Role = Literal["supplier", "retailer", "admin"]
THEME_COOKIE = "basestock_theme"
ZONE_COOKIE = "basestock_zone"
UTC = ZoneInfo("UTC")
# Whether a theme is dark, as Quasar has it; `None` is as the system has it.
DARK: Mapping[str, bool | None] = {"light": False, "dark": True, "system": None}


@dataclass(frozen=True, slots=True)
class Visit:
    """What a page knows of its visitor: `me` is `GET /v1/me`; `path` and `query` are those of the page's address."""

    api: Api
    me: Mapping[str, Any]
    address: str
    path: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    dark: bool | None = None
    zone: ZoneInfo = UTC

    @property
    def role(self) -> Role:
        """The company's role, or `admin`: the platform's."""
        role: Role = self.me["role"]
        return role

    @property
    def is_admin(self) -> bool:
        """Whether it is the platform admin."""
        return self.role == "admin"

    @property
    def company_id(self) -> int | None:
        """The visitor's company; `None` for the platform admin."""
        return self.me["company"]["id"] if self.me["company"] else None

    @property
    def name(self) -> str:
        """Who it is, for people."""
        if self.me["user"]:
            return str(self.me["user"]["email"])
        return "Platform admin" if self.is_admin else f"API key {self.me['key_id']}"

    def may(self, scope: str) -> bool:
        """Whether the visitor has this scope (docs/access.md); pages hide what would be refused."""
        return scope in self.me["scopes"]


class Door:
    """Lets visitors in by their cookie."""

    def __init__(self, sealer: Sealer, new_api: Callable[[Credential | None], Api]) -> None:
        """Open cookies with `sealer`; `new_api` makes a client of the API for a credential."""
        self._sealer, self.new_api = sealer, new_api

    def credential_of(self, request: Request) -> Credential | None:
        """What the request's cookie holds."""
        return self._sealer.open(request.cookies.get(COOKIE))

    async def visit(self, request: Request) -> Visit | None:
        """The visit of a page, unless nobody is signed in. Raises `RefusedError` when that is over."""
        credential = self.credential_of(request)
        if credential is None:
            return None
        api = self.new_api(credential)
        return Visit(
            api=api,
            me=await api.get("/v1/me"),
            address=request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            path=request.path_params,
            query=dict(request.query_params),
            zone=_zone(request.cookies.get(ZONE_COOKIE, "")),
            dark=DARK.get(request.cookies.get(THEME_COOKIE, "")),
        )

    def keep(self, response: Response, credential: Credential, request: Request) -> None:
        """Have the browser keep the credential until it is closed."""
        # Lax: links from elsewhere lead into the console, forms and scripts from elsewhere do not.
        response.set_cookie(
            COOKIE, self._sealer.seal(credential), httponly=True, samesite="lax", secure=request.url.scheme == "https"
        )

    def forget(self, response: Response) -> None:
        """Have the browser forget it."""
        response.delete_cookie(COOKIE, httponly=True, samesite="lax")


def _zone(name: str) -> ZoneInfo:
    """The browser's time zone, which its cookie names; UTC where this machine knows none of that name."""
    try:
        return ZoneInfo(unquote(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
