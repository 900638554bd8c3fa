"""`basestock broker`: users of RabbitMQ that may publish orders of one company, and nothing else."""

import json
import re
import secrets
from typing import Annotated, Any
from urllib.parse import unquote, urlsplit

import typer
from rich.markup import escape

from services.commands.options import read_settings
from services.commands.over_http import Key, Url, answered, errors, json_of, session_at
from services.commands.rabbit_management import TOPIC, RabbitManagement
from shared.messaging.bus import INTAKE_EXCHANGE
from shared.program import run_to_end
from shared.settings import Settings

app = typer.Typer(help="Publishers of orders at RabbitMQ.", no_args_is_help=True)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

Name = Annotated[str, typer.Argument(help="The user's name at the broker: letters, digits, '.', '_' and '-'.")]
Broker = Annotated[
    str | None,
    typer.Option(
        help="The broker as its publishers reach it: amqps://host:port/vhost. [default: BASESTOCK_BROKER_URL]"
    ),
]
ManagementUrl = Annotated[
    str | None,
    typer.Option(
        help="Its management API: http://user:password@host:15672. [default: BASESTOCK_BROKER_MANAGEMENT_URL]"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
DEFAULT_URL = "http://127.0.0.1:8000"


@app.command()
def add_publisher(  # noqa: PLR0913 - each is an option
    name: Name,
    *,
    company: Annotated[int, typer.Option(help="The id of the company whose orders it sends.", metavar="ID")],
    new_password: Annotated[bool, typer.Option("--new-password", help="Of one that is there already.")] = False,
    replies: Annotated[
        bool, typer.Option("--replies", help="Also a queue replies.NAME for answers, which it may read.")
    ] = False,
    broker: Broker = None,
    management_url: ManagementUrl = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Make a user who may publish orders of a company; prints the URL to publish with, this once.

    Repeat it when it broke off: it goes on where it was.
    """
    settings = read_settings(broker_url=broker, broker_management_url=management_url)
    made = run_to_end(_add(settings, name, company, url, key, new_password=new_password, replies=replies))
    typer.echo(json.dumps(made) if as_json else made["url"])
    if not as_json:
        errors.print(
            f"It publishes to exchange {INTAKE_EXCHANGE} with routing key {TOPIC} and user_id {escape(name)}: "
            f"orders of company {company}."
        )


@app.command()
def remove_publisher(
    name: Name,
    *,
    broker: Broker = None,
    management_url: ManagementUrl = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
) -> None:
    """Remove a publisher's user; what it has sent and is not accepted yet is refused."""
    settings = read_settings(broker_url=broker, broker_management_url=management_url)
    if not run_to_end(_remove(settings, name, url, key)):
        errors.print(f"basestock: there is no publisher {escape(name)}.")
        raise typer.Exit(1)


@app.command()
def list_publishers(*, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """List all publishers, each with the id of its company."""
    found = run_to_end(_list(url, key))
    if as_json:
        typer.echo(json.dumps(found))
    else:
        for one in found:
            typer.echo(f"{one['amqp_user']}\t{one['company_id']}")


async def _add(  # noqa: PLR0913 - as the command's options
    settings: Settings, name: str, company_id: int, url: str, key: str, *, new_password: bool, replies: bool
) -> dict[str, Any]:
    password = secrets.token_urlsafe(32)
    reached = _url_of(settings, name, password)
    async with _management(settings, name) as rabbit, session_at(url, key) as basestock:
        is_there = await rabbit.is_publisher(name)
        if is_there and not new_password and await rabbit.may_publish(name):
            message = f"Publisher {name} is there already: --new-password gives it another password, and its URL again."
            raise RuntimeError(message)
        # First who it is, then the user: nobody may log in whose orders are not known to be a company's.
        await json_of(basestock.post("/v1/publishers", json={"amqp_user": name, "company_id": company_id}))
        await rabbit.put_publisher(name, password, replies=replies)
    return {
        "amqp_user": name,
        "company_id": company_id,
        "url": reached,
        "exchange": INTAKE_EXCHANGE,
        "routing_key": TOPIC,
    }


async def _remove(settings: Settings, name: str, url: str, key: str) -> bool:
    """Whether there was anything to remove."""
    async with _management(settings, name) as rabbit, session_at(url, key) as basestock:
        was_user = await rabbit.is_publisher(name)
        if was_user:
            await rabbit.delete_user(name)
        known = await json_of(basestock.get("/v1/publishers"))
        was_known = name in {one["amqp_user"] for one in known["items"]}
        if was_known:
            async with answered(basestock.delete(f"/v1/publishers/{name}")):
                pass
    return was_user or was_known


async def _list(url: str, key: str) -> list[dict[str, Any]]:
    async with session_at(url, key) as basestock:
        found: list[dict[str, Any]] = (await json_of(basestock.get("/v1/publishers")))["items"]
        return found


def _management(settings: Settings, name: str) -> RabbitManagement:
    if not NAME.fullmatch(name):
        message = f"{name!r} is no name for a publisher: up to 100 letters, digits, '.', '_' and '-'."
        raise RuntimeError(message)
    if settings.broker_management_url is None:
        message = "Set BASESTOCK_BROKER_MANAGEMENT_URL (or --management-url) to http://user:password@host:15672."
        raise RuntimeError(message)
    return RabbitManagement(settings.broker_management_url.get_secret_value(), _vhost_of(_broker_url(settings)))


def _broker_url(settings: Settings) -> str:
    if settings.broker_url is None:
        message = "Set BASESTOCK_BROKER_URL (or --broker) to amqp://host:port/vhost, as the publisher reaches it."
        raise RuntimeError(message)
    return settings.broker_url


def _vhost_of(broker_url: str) -> str:
    return unquote(urlsplit(broker_url).path[1:]) or "/"


def _url_of(settings: Settings, name: str, password: str) -> str:
    """The URL to publish with: the broker's, with this user and password for those that it has."""
    parts = urlsplit(_broker_url(settings))
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=f"{name}:{password}@{host}").geturl()
