"""The command line of `basestock`.

A command imports what does its work when it runs, once its settings are read: importing all services takes seconds,
and help, a wrong setting and calls over HTTP need none of them.
"""

import asyncio
import json
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from demo.options import LOOPBACK, Form, OrdersBroker
from services.commands import broker, dead_letters, keys, orders, products, stock
from services.commands.listen import listen
from services.commands.options import DataDir, Dsn, read_settings
from shared.program import run_to_end, stop_on_signals
from shared.settings import in_words

app = typer.Typer(
    name="basestock",
    help="Stock management as message-queue microservices: orders lower base stock, retailers hear of it by webhook.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(broker.app, name="broker")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(keys.app, name="keys")
app.add_typer(orders.app, name="orders")
app.add_typer(products.app, name="products")
app.add_typer(stock.app, name="stock")
console = Console()
errors = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False)  # ":a:" is part of an IPv6 address

DEMO_ORDERS = Path(__file__).parent.parent / "demo" / "data" / "online-retail.csv"

Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 takes any free one. [default: 8000]")]
Host = Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")]
Broker = Annotated[str | None, typer.Option(help="A RabbitMQ to use instead of the in-process bus: amqp://...")]
PrivateBroker = Annotated[str | None, typer.Option(help="A RabbitMQ to use instead of a private one: amqp://...")]


@app.command(name="up")
def up_command(
    port: Port = None, host: Host = None, data_dir: DataDir = None, dsn: Dsn = None, broker: Broker = None
) -> None:
    """Run everything in one process, with a PostgreSQL and a bus of its own unless you name others."""
    settings = read_settings(port=port, host=host, data_dir=data_dir, dsn=dsn, broker_url=broker)
    from services.all_in_one import up
    from shared.logs import configure_logs

    configure_logs(settings)

    async def main() -> None:
        def tell(url: str) -> None:
            shown = escape(url)
            errors.print(f"Basestock answers at [bold]{shown}[/]  API: {shown}/docs")

        await up(settings, stop_on_signals(), on_ready=tell)

    run_to_end(main())


@app.command(name="run")
def run_command(
    port: Port = None, host: Host = None, data_dir: DataDir = None, dsn: Dsn = None, broker: PrivateBroker = None
) -> None:
    """Run each service in a process of its own behind one port, with PostgreSQL and RabbitMQ of its own or yours."""
    settings = read_settings(port=port, host=host, data_dir=data_dir, dsn=dsn, broker_url=broker)
    from services.one_process_each import Place, run
    from shared.logs import configure_logs

    if "log_format" not in settings.model_fields_set:  # this is for people; containers run services one by one
        settings = settings.model_copy(update={"log_format": "console"})
    configure_logs(settings)

    def tell(url: str, places: list[Place]) -> None:
        rows = [("name", "pid", "address", "log")]
        rows += [(place.name, str(place.pid or ""), place.address, place.log) for place in places]
        for row in rows:
            errors.print(escape("{:<10} {:>7}  {:<28} {}".format(*row)))
        errors.print(f"Basestock answers at [bold]{escape(url)}[/]  Ctrl-C ends it.")

    async def main() -> None:
        stop, at_once = asyncio.Event(), asyncio.Event()

        def hear() -> None:
            (at_once if stop.is_set() else stop).set()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, hear)
        await run(settings, stop, at_once, on_ready=tell)

    run_to_end(main())


@app.command()
def serve(
    service: Annotated[str, typer.Argument(help="catalog, orders, inventory, notifier or console")], port: Port = None
) -> None:
    """Run one service, as containers do; needs BASESTOCK_BROKER_URL and BASESTOCK_DSN."""
    if service == "console":
        _serve_console(port)
        return
    from services.all_in_one import SERVICES
    from shared.logs import configure_logs
    from shared.serve import serve_services

    found = [candidate for candidate in SERVICES if candidate.name == service]
    if not found:
        names = ", ".join([*(candidate.name for candidate in SERVICES), "console"])
        raise typer.BadParameter(f"There is no service {service!r}; there are: {names}.")  # noqa: TRY003, EM102 - Typer's way
    settings = read_settings(port=port)
    if settings.broker_url is None:
        errors.print(
            "basestock: one service alone needs BASESTOCK_BROKER_URL to meet the others; or use `basestock up`."
        )
        raise typer.Exit(1)
    configure_logs(settings)

    async def main() -> None:
        await serve_services(found, settings, stop_on_signals())

    run_to_end(main())


def _serve_console(port: int | None) -> None:
    settings = read_settings(port=port)
    from services.console.service import serve_console
    from shared.logs import configure_logs

    configure_logs(settings)

    async def main() -> None:
        await serve_console(settings, stop_on_signals())

    run_to_end(main())


@app.command(name="migrate")
def migrate_command(
    service: Annotated[str | None, typer.Argument(help="One service; all when left out")] = None, dsn: Dsn = None
) -> None:
    """Bring the database schemas to their newest version."""
    settings = read_settings(dsn=dsn)
    from services.all_in_one import SERVICES, migrate
    from shared.logs import configure_logs

    configure_logs(settings)
    chosen = tuple(candidate for candidate in SERVICES if service in {None, candidate.name})
    if not chosen:
        raise typer.BadParameter(f"There is no service {service!r}.")  # noqa: TRY003, EM102 - Typer's way
    run_to_end(migrate(settings, chosen))


@app.command()
def demo(  # noqa: PLR0913 - each is an option
    port: Port = None,
    data_dir: DataDir = None,
    orders: Annotated[Path, typer.Option(help="Order lines to replay.", exists=True, dir_okay=False)] = DEMO_ORDERS,
    *,
    exit_: Annotated[bool, typer.Option("--exit", help="End after the verdict instead of staying up.")] = False,
    drop_one: Annotated[bool, typer.Option(help="Withhold one order: the verdict must be wrong.")] = False,
    url: Annotated[str | None, typer.Option(help="A running Basestock; BASESTOCK_ADMIN_KEY is its key.")] = None,
    webhook_host: Annotated[
        str, typer.Option(help="With --url: name or address under which that Basestock reaches this machine.")
    ] = LOOPBACK,
    broker: Annotated[
        str | None,
        typer.Option(help="With --url: publish the real orders to its RabbitMQ, amqp://user:password@host/."),
    ] = None,
    orders_as: Annotated[Form, typer.Option("--as", help="With --broker: what each message is.")] = Form.JSON,
) -> None:
    """Show the main job on real input: an order lowers base stock, the retailer hears, every level is checked."""
    settings = read_settings(port=port, data_dir=data_dir)
    from demo.run import run_demo
    from services.commands.demo import demo_embedded
    from shared.logs import configure_logs

    configure_logs(settings.model_copy(update={"log_level": "warning", "log_format": "console"}))
    if broker and not url:
        errors.print("basestock: --broker needs --url: the Basestock that the demo starts itself has no RabbitMQ.")
        raise typer.Exit(1)
    if url:
        if settings.admin_key is None:
            errors.print("basestock: set BASESTOCK_ADMIN_KEY to the platform admin's key of the system at --url.")
            raise typer.Exit(1)
        key = settings.admin_key.get_secret_value()
        story = run_demo(
            url,
            key,
            orders_file=orders,
            drop_one=drop_one,
            console=console,
            webhook_host=webhook_host,
            broker=OrdersBroker(broker, orders_as) if broker else None,
        )
        ok = run_to_end(story)
    else:
        ok = run_to_end(demo_embedded(settings, orders, console, drop_one=drop_one, stay=not exit_))
    raise typer.Exit(0 if ok else 1)


@app.command()
def replay(
    service: Annotated[str, typer.Argument(help="catalog: the one service whose events others keep copies of")],
    since: Annotated[
        datetime | None, typer.Option(help="Only what was changed since this moment (UTC).", show_default="all")
    ] = None,
    dsn: Dsn = None,
    data_dir: DataDir = None,
) -> None:
    """Publish all that a service has told once more; copies that are whole ignore it, others become whole."""
    if service != "catalog":
        raise typer.BadParameter(f"{service!r} has nothing to replay: say catalog.")  # noqa: TRY003, EM102 - Typer's way
    settings = read_settings(dsn=dsn, data_dir=data_dir)
    from services.commands.replay import replay as tell_again

    tell_again(settings, since.replace(tzinfo=UTC) if since else None)


@app.command()
def check(
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make levels and versions anew from the ledger; nothing else is changed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")] = False,
    dsn: Dsn = None,
    data_dir: DataDir = None,
) -> None:
    """Hold all stock against its ledger, orders and reservations.

    Exit status 1 where something does not add up, 2 where it could not be checked.
    """
    settings = read_settings(dsn=dsn, data_dir=data_dir)
    from services.commands.check import check as adds_up

    if not adds_up(settings, repair=repair, as_json=as_json):
        raise typer.Exit(1)


@app.command()
def openapi() -> None:
    """Print the OpenAPI document of all services."""
    from services.all_in_one import SERVICES
    from shared.http import create_app

    print(json.dumps(create_app(SERVICES, {}).openapi(), indent=2))


app.command()(listen)


@app.command(name="asyncapi")
def asyncapi_command() -> None:
    """Print the AsyncAPI document of all services: the messages over RabbitMQ."""
    from services.all_in_one import SERVICES
    from shared import asyncapi

    print(json.dumps(asyncapi.document([service.name for service in SERVICES]), indent=2))


def main() -> None:
    """Run the command line, telling of wrong settings in words."""
    try:
        app()
    except ValidationError as error:
        for sentence in in_words(error):
            errors.print(f"basestock: {escape(sentence)}")
        sys.exit(2)
