"""Signing in and out: plain pages and forms, without a socket."""

import re
from html import escape
from string import Template
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Form, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from services.console.api import RefusedError
from services.console.session import Credential
from services.console.visits import THEME_COOKIE, Door

STYLESHEET = "/console/console.css"
# What is in the fragment of a link never reaches a server or its log. It is sent as a form only by whoever looks at it.
PAGE = Template("""<!doctype html>
<html lang="en" class="$theme">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in - Basestock</title>
<link rel="stylesheet" href="$stylesheet">
<link rel="icon" href="/console/icon.svg">
</head>
<body class="sign-in" data-signed-in="$signed_in">
<main>
<h1><img src="/console/icon.svg" alt="" width="32" height="32"> Basestock</h1>
$refusal
<form method="post" action="/sign-in" autocomplete="on">
<h2>Sign in</h2>
<input type="hidden" name="next_page" value="$next_page">
<label>E-mail address<input name="email" type="email" autocomplete="username" value="$email" $focus></label>
<label>Password<input name="password" type="password" autocomplete="current-password"></label>
<button>Sign in</button>
</form>
<details $with_key>
<summary>Sign in with an API key</summary>
<form method="post" action="/sign-in">
<input type="hidden" name="next_page" value="$next_page">
<label>API key<input name="key" type="password" autocomplete="off" id="key" placeholder="bsk_..."></label>
<button>Sign in with the key</button>
</form>
</details>
<p class="muted">Accounts are made by your company's administrator; keys with <code>basestock keys create</code>.</p>
</main>
<script src="/console/sign-in.js"></script>
</body>
</html>
""")


# What may stand in a header.
PRINTED = re.compile(r"[!-~]{1,500}")

router = APIRouter(include_in_schema=False)


def door_of(request: Request) -> Door:
    """The door of the console that runs in this process."""
    door: Door = request.app.state.door
    return door


@router.get("/sign-in")
async def ask_to_sign_in(request: Request, next_page: str = "/") -> Response:
    """The form."""
    return _page(request, next_page, signed_in=door_of(request).credential_of(request) is not None)


@router.post("/sign-in")
async def sign_in(
    request: Request,
    email: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    key: Annotated[str, Form()] = "",
    next_page: Annotated[str, Form()] = "/",
) -> Response:
    """Sign in with e-mail address and password, or with a key, and go on to `next_page`."""
    door = door_of(request)
    try:
        credential = await _checked_key(door, key.strip()) if key else await _token(door, email, password)
    except RefusedError as error:
        return _page(request, next_page, error, email=email, with_key=bool(key))
    answer = RedirectResponse(_ours(next_page), status_code=303)
    door.keep(answer, credential, request)
    return answer


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """Forget who was signed in."""
    answer = RedirectResponse("/sign-in", status_code=303)
    door_of(request).forget(answer)
    return answer


@router.post("/session/renew")
async def renew(request: Request) -> Response:
    """Called by open pages, so that the next one still finds somebody signed in."""
    door = door_of(request)
    credential = door.credential_of(request)
    if credential is None:
        return JSONResponse({"signed_in": False}, status_code=401)
    api = door.new_api(credential)
    try:
        await api.renew_in_time()
    except RefusedError as error:
        return JSONResponse({"signed_in": False, "detail": str(error)}, status_code=error.status)
    answer = JSONResponse({"signed_in": True, "holder": credential.holder})
    if api.credential and api.credential != credential:
        door.keep(answer, api.credential, request)
    return answer


@router.post("/session/password")
async def change_password(
    request: Request, old_password: Annotated[str, Form()] = "", new_password: Annotated[str, Form()] = ""
) -> Response:
    """Change the password of whoever is signed in; this session goes on, with the new token."""
    door = door_of(request)
    passwords = {"old_password": old_password, "new_password": new_password}
    try:
        changed = await door.new_api(door.credential_of(request)).post("/v1/me/password", passwords)
    except RefusedError as error:
        refusal = {"status": error.status, "detail": error.detail, "errors": dict(error.errors)}
        return JSONResponse({"is_changed": False, **refusal})
    answer = JSONResponse({"is_changed": True})
    door.keep(answer, Credential("user", changed["token"]), request)
    return answer


def sign_in_address(next_page: str) -> str:
    """Where to sign in before this page."""
    return f"/sign-in?next_page={quote(next_page, safe='')}"


async def _token(door: Door, email: str, password: str) -> Credential:
    answer = await door.new_api(None).post("/v1/sessions", {"email": email, "password": password})
    return Credential("user", answer["token"])


async def _checked_key(door: Door, key: str) -> Credential:
    if not PRINTED.fullmatch(key):
        raise RefusedError(401, "", "This is no API key: those are bsk_ and letters, digits, - and _.")
    credential = Credential("key", key)
    await door.new_api(credential).get("/v1/me")
    return credential


def _ours(address: str) -> str:
    """The address, where it is a page of ours: else whoever wrote the link would choose where one is led."""
    parts = urlsplit(address)
    is_ours = address.startswith("/") and not address.startswith(("//", "/\\")) and not parts.netloc
    return address if is_ours else "/"


def _page(
    request: Request,
    next_page: str,
    refusal: RefusedError | None = None,
    *,
    email: str = "",
    with_key: bool = False,
    signed_in: bool = False,
) -> HTMLResponse:
    said = f'<p class="refusal" role="alert">{escape(str(refusal))}</p>' if refusal else ""
    content = PAGE.substitute(
        theme=escape(request.cookies.get(THEME_COOKIE, "")),
        stylesheet=STYLESHEET,
        refusal=said,
        next_page=escape(_ours(next_page)),
        email=escape(email),
        focus="" if with_key else "autofocus",
        with_key="open" if with_key else "",
        signed_in="yes" if signed_in else "",
    )
    return HTMLResponse(content, status_code=refusal.status if refusal else 200)
