"""`basestock demo` without `--url`: the embedded system, and the demo as its client."""

import asyncio
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console

from demo.run import run_demo
from services.all_in_one import up
from shared.access import new_key
from shared.program import stop_on_signals
from shared.settings import Settings

# After Ctrl-C the demo's retailer still says goodbye (it removes its endpoint); longer than this it does not get.
LEAVE_SECONDS = 5


async def demo_embedded(settings: Settings, orders: Path, console: Console, *, drop_one: bool, stay: bool) -> bool:
    """Start the embedded system and run the demo against it over HTTP, as any client would.

    Says whether the verdict was right; `stay` leaves Basestock up after it until Ctrl-C.
    """
    key = settings.admin_key or SecretStr(new_key())
    loopback = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    complete = settings.model_copy(update={"admin_key": key, "webhook_allow_networks": loopback})
    ctrl_c, stop = stop_on_signals(), asyncio.Event()
    answering: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    system = asyncio.create_task(up(complete, stop, on_ready=answering.set_result))

    async def linger(keys: Mapping[str, str]) -> None:
        url = answering.result()
        console.print(f"\nBasestock stays up at [bold]{url}[/]  API: {url}/docs  Ctrl-C ends it.")
        console.print(f"The platform admin's key: {key.get_secret_value()}", soft_wrap=True)
        console.print("\nThe console, signed in as:")
        for name, company_key in keys.items():
            # Behind the hash: no server and no log ever sees it.
            console.print(f"  {name}: {url}/sign-in#key={company_key}&go", soft_wrap=True)
        await ctrl_c.wait()

    async def story() -> bool:
        return await run_demo(
            await answering,
            key.get_secret_value(),
            orders_file=orders,
            drop_one=drop_one,
            console=console,
            linger=linger if stay else None,
        )

    playing, interrupted = asyncio.create_task(story()), asyncio.create_task(ctrl_c.wait())
    try:
        await asyncio.wait([system, playing, interrupted], return_when=asyncio.FIRST_COMPLETED)
        if interrupted.done() and stay and answering.done():
            await asyncio.wait([playing], timeout=LEAVE_SECONDS)
        if playing.done():
            return playing.result()
        if system.done():
            system.result()  # raises why it did not start, or why it ended
        raise KeyboardInterrupt
    finally:
        for task in (playing, interrupted):
            task.cancel()
        await asyncio.wait([playing, interrupted])
        stop.set()
        await asyncio.wait([system])
