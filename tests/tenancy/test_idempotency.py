"""Every route that writes takes an `Idempotency-Key`: what is sent again under it is answered the same again.

A route that does not take one stands in `WITHOUT` with the reason why sending its requests again is harmless.
"""

import pytest

from services.all_in_one import SERVICES
from shared.http import create_app
from shared.idempotency import HEADER, REPLAYED, WRITES
from tests.app import Client
from tests.tenancy.market import open_market
from tests.tenancy.operations import OPEN
from tests.tenancy.test_walk import Step, operations, steps

WITHOUT = {
    "POST /v1/sessions": "each session is a token that catalog keeps nothing of",
    "POST /v1/sessions/refresh": "likewise",
    "POST /v1/me/password": "the second time the old password is not right any more: nothing changes",
    "POST /v1/stock/check": "what agrees with the ledger is not repaired again",
}
KEYED = [one for one in operations() if one.split(" ")[0] in WRITES and one not in WITHOUT]


def test_the_document_has_the_header_on_every_route_that_takes_it() -> None:
    paths = create_app(SERVICES, {}).openapi()["paths"]
    documented = {
        f"{method.upper()} {path}"
        for path, methods in paths.items()
        for method, operation in methods.items()
        if HEADER in [one["name"] for one in operation.get("parameters", [])]
    }
    assert documented == set(KEYED)
    assert set(operations()) | OPEN >= set(WITHOUT), "a route that is gone needs no exception"


async def once_and_again(step: Step, client: Client, key: str) -> list[str]:
    """What is wrong with the two answers to the same request under one key."""
    method, template = step.operation.split(" ")
    path, query = template.format_map(dict(step.ask.path)), {k: str(v) for k, v in step.ask.query.items()}
    file = {} if step.ask.file is None else {"data": step.ask.file}
    first, second = [
        await client.call(method, path, step.ask.body, params=query, headers={HEADER: key}, **file) for _ in range(2)
    ]
    wrong = []
    if not 200 <= first.status < 300 or REPLAYED in first.headers:
        wrong.append(f"{first.status} {first.body} at first: {step}")
    if second.headers.get(REPLAYED) != "true":
        wrong.append(f"{second.status} {second.body} is no replay: {step}")
    if second.status == 409 and second.body["code"] == "secret_shown_once":
        shown = {"key", "secret"} & set(first.body)
        if not shown or any(first.body[name] in str(second.body) for name in shown):
            wrong.append(f"{second.body}: {step}")
    elif (second.status, second.body) != (first.status, first.body):
        wrong.append(f"{second.status} {second.body} is not {first.status} {first.body}: {step}")
    return wrong


@pytest.mark.usefixtures("cheap_passwords")
async def test_every_route_that_writes_answers_the_same_again(database_dsn: str) -> None:
    wrong: list[str] = []
    async with open_market(database_dsn) as market:
        for number, step in enumerate(one for one in steps(market) if one.operation in KEYED):
            company = step.company
            clients = {"owner": company.owner, "viewer": company.viewer, "admin": market.admin}
            client = clients.get(step.ask.by, company.client)
            wrong += await once_and_again(step, client, f"key-{number}")
    assert not wrong, "\n".join(wrong)
