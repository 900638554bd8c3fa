"""The console as an ASGI app."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from secrets import token_urlsafe

import aiohttp
import structlog
from fastapi import FastAPI
from nicegui import app as nicegui_app
from nicegui import ui
from pydantic import SecretStr
from starlette.staticfiles import StaticFiles

import services.console.pages  # noqa: F401 - registers them
from services.console import downloads, sign_in
from services.console.api import ANSWER_SECONDS, Api
from services.console.no_page import no_page
from services.console.session import Credential, Sealer
from services.console.visits import Door
from shared.settings import Settings

log = structlog.get_logger()

STATIC = Path(__file__).parent / "static"
# A laptop that sleeps for so long finds its page as it was.
RECONNECT_SECONDS = 30
# Shorter than the services' 5: what is sent into a connection that is just being closed gets no answer.
KEEP_ALIVE_SECONDS = 1


@asynccontextmanager
async def console_app(settings: Settings, api_url: Callable[[], str]) -> AsyncIterator[FastAPI]:
    """The console's app, running until the block ends; `api_url` tells where the API answers.

    One in a process at a time. Without a secret of the settings' it seals cookies with one of its own, which ends with
    it: whoever tries Basestock out signs in with an API key, and needs nothing set.
    """
    secrets = settings.token_secret
    if not secrets:
        hint = "until it ends, API keys alone can sign in: set BASESTOCK_TOKEN_SECRET, the same as catalog's, for users"
        log.warning("console_seals_with_a_secret_of_its_own", hint=hint)
        secrets = (SecretStr(token_urlsafe(32)),)
    connector = aiohttp.TCPConnector(keepalive_timeout=KEEP_ALIVE_SECONDS)
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:

        def new_api(credential: Credential | None) -> Api:
            return Api(http, api_url(), credential)

        console = _app()
        console.state.door = nicegui_app.state.door = Door(Sealer(secrets), new_api)
        async with console.router.lifespan_context(console):
            yield console


@cache
def _app() -> FastAPI:
    """Made once: NiceGUI knows one app per process, and cannot be set up again."""
    console = FastAPI(openapi_url=None)
    console.state.contexts = {}
    console.include_router(sign_in.router)
    console.include_router(downloads.router)
    console.mount("/console", StaticFiles(directory=STATIC))

    nicegui_app.exception_handler(404)(no_page)

    @console.get("/livez")
    async def livez() -> dict[str, str]:
        """The process answers."""
        return {"status": "alive"}

    ui.run_with(
        console,
        title="Basestock",
        dark=None,
        language="en-US",
        tailwind=False,
        reconnect_timeout=RECONNECT_SECONDS,
        show_welcome_message=False,
    )
    return console
