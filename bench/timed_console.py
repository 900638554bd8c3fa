"""`basestock up` whose console writes down how long each of its calls of the API took: what `console_pages` measures.

`python -m bench.timed_console FILE`: a line of JSON in the file for each call. It has a page of nothing, too, at
`BLANK`: the floor of all pages.
"""

import json
import sys
from pathlib import Path
from typing import Any, TextIO

from nicegui import context, ui

from services.all_in_one import up
from services.console.api import Answer, Api
from shared import clock
from shared.logs import configure_logs
from shared.program import run_to_end, settings_or_exit, stop_on_signals

BLANK = "/account/blank"


@ui.page(BLANK)
def blank() -> None:
    """A page without a visitor, a bar, or a call of the API."""
    ui.label("Nothing").props("role=main")


def write_down_calls(file: TextIO) -> None:
    """From now on, write down the calls that pages make: `[client id of the page, method and path, milliseconds]`."""
    call = Api.call

    async def timed(self: Api, method: str, path: str, *arguments: Any, **options: Any) -> Answer:  # noqa: ANN401
        started = clock.monotonic()
        try:
            return await call(self, method, path, *arguments, **options)
        finally:
            milliseconds = 1000 * (clock.monotonic() - started)
            query = options.get("query") or {}
            if filters := [f"{name}={value}" for name, value in query.items() if value and name != "limit"]:
                path = f"{path}?{'&'.join(filters)}"
            if context.slot_stack:  # it is not somebody who signs in
                file.write(json.dumps([context.client.id, f"{method} {path}", milliseconds]) + "\n")
                file.flush()

    Api.call = timed  # type: ignore[method-assign] # the console itself knows nothing of it


async def main() -> None:
    """Until a signal."""
    settings = settings_or_exit()
    configure_logs(settings)
    with Path(sys.argv[1]).open("a", encoding="utf-8") as file:  # noqa: ASYNC230 - before anything runs
        write_down_calls(file)
        await up(settings, stop_on_signals(), on_ready=lambda url: print(f"answers at {url}", file=sys.stderr))


if __name__ == "__main__":
    run_to_end(main())
