"""Running the console: before the API on its port, or in a process of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from starlette.types import ASGIApp

from services.console.app import console_app
from services.console.front import Front, Guarded
from shared.serve import serve_app
from shared.settings import Settings

log = structlog.get_logger()


class ConsoleBefore:
    """The console on the API's own port. It calls the API at `api_url`, which is known once that answers."""

    def __init__(self) -> None:
        """Know neither yet."""
        self.api_url = ""
        self._console: ASGIApp | None = None

    @asynccontextmanager
    async def running(self, settings: Settings) -> AsyncIterator[None]:
        """Run the console until the block ends."""
        async with console_app(settings, lambda: self.api_url) as console:
            self._console = console
            yield

    def __call__(self, api: ASGIApp) -> ASGIApp:
        """Both as one app; the console runs."""
        assert self._console is not None  # noqa: S101 - or it would not be asked
        return Front(self._console, api)


async def serve_console(settings: Settings, stop: asyncio.Event) -> None:
    """Serve the console alone until `stop` is set.

    Raises `RuntimeError`, in words, when a setting is missing.
    """
    if not settings.console_api_url:
        message = "The console alone needs BASESTOCK_CONSOLE_API_URL, where the services answer: http://proxy:8080."
        raise RuntimeError(message)
    url = settings.console_api_url
    async with console_app(settings, lambda: url) as console:
        await serve_app(console, settings.host, settings.port, stop, on_ready=_tell, front=Guarded)


def _tell(url: str) -> None:
    log.info("console_running", url=url)
