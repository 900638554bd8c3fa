"""P9: whoever asks any route about another company's things learns nothing, while that company itself is answered.

The walk goes through the OpenAPI document of all services, so a route that was added is walked too, or fails here
until it has an entry in `operations.py`.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import cache

import pytest

from services.all_in_one import SERVICES
from shared.http import create_app
from tests.app import Answer, Client
from tests.tenancy.market import Company, Market, add_key, expire, open_market, until_known, until_refused
from tests.tenancy.operations import ENTRIES, OPEN, Ask

pytestmark = pytest.mark.usefixtures("cheap_passwords")

REFUSALS = {
    "no_key": (401, "no_key"),
    "expired": (401, "unknown_key"),
    "revoked": (401, "unknown_key"),
    "forbidden": (403, "forbidden"),
}
OWNERS = ("supplier-a", "retailer-a")
UNKNOWN_ID, UNKNOWN_UUID = 499_999_999, "00000000-0000-7000-8000-000000000000"
PARTNER_OF = {"supplier-a": "retailer-a", "retailer-a": "supplier-a"}
# Scopes by what paths begin with, as docs/access.md has them; all others are the catalog's.
AREAS = {
    "/v1/dead-letters/catalog": "catalog",
    "/v1/dead-letters/inventory": "stock",
    "/v1/dead-letters/notifier": "webhooks",
    "/v1/dead-letters": "orders",
    "/v1/operations/inventory": "stock",
    "/v1/operations/notifier": "webhooks",
    "/v1/operations/orders": "orders",
    "/v1/publishers": "orders",
    "/v1/orders": "orders",
    "/v1/returns": "orders",
    "/v1/fulfillment": "orders",
    "/v1/stock": "stock",
    "/v1/locations": "stock",
    "/stock": "stock",
    "/import": "stock",
    "/imports": "stock",
    "/v1/webhook-endpoints": "webhooks",
    "/v1/tellings": "webhooks",
    "/v1/reservations": "stock",
}
SCOPES = [f"{area}:{verb}" for area in ("catalog", "orders", "stock", "webhooks") for verb in ("read", "write")]


@pytest.fixture
async def market(database_dsn: str) -> AsyncIterator[Market]:
    async with open_market(database_dsn) as opened:
        yield opened


@cache
def operations() -> list[str]:
    """Every route of every service, as the document has it, those that remove things last."""
    paths = create_app(SERVICES, {}).openapi()["paths"]
    found = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    return sorted(set(found) - OPEN, key=lambda operation: (operation.startswith("DELETE"), operation))


@dataclass(frozen=True)
class Step:
    """One request of the walk: `company`'s things are asked for."""

    operation: str
    company: Company
    ask: Ask

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.operation.startswith("GET ")

    @property
    def scope(self) -> str:
        """The scope that it needs."""
        path = self.operation.split(" ")[1]
        area = next((area for prefix, area in AREAS.items() if path.startswith(prefix)), "catalog")
        return f"{area}:{'read' if self.reads else 'write'}"

    async def by(self, client: Client) -> Answer:
        """Send it as this client."""
        method, template = self.operation.split(" ")
        path, query = template.format_map(dict(self.ask.path)), {k: str(v) for k, v in self.ask.query.items()}
        file = {} if self.ask.file is None else {"data": self.ask.file}
        return await client.call(method, path, self.ask.body, params=query, **file)

    async def by_its_owner(self, market: Market) -> Answer:
        """Send it as the one who succeeds."""
        company = self.company
        clients = {"owner": company.owner, "viewer": company.viewer, "admin": market.admin}
        return await self.by(clients.get(self.ask.by, company.client))

    def of_nobody(self) -> "Step":
        """The same with ids in the path that nobody has."""
        unknown = {name: UNKNOWN_UUID if isinstance(id_, str) else UNKNOWN_ID for name, id_ in self.ask.path.items()}
        return replace(self, ask=replace(self.ask, path=unknown))

    def without_ids(self, answer: Answer) -> str:
        """What an answer says, whatever the ids in the path."""
        said = json.dumps([answer.status, answer.body])
        for id_ in self.ask.path.values():
            said = said.replace(str(id_), "...")
        return said

    def foreign_in(self, answer: Answer) -> set[str]:
        """What the answer tells of the company that was not in the request."""
        sent = json.dumps([dict(self.ask.path), dict(self.ask.query), self.ask.body, self.ask.file])
        return marks_in(answer, self.company) - {mark for mark in self.company.marks if occurs(mark, sent)}

    def __str__(self) -> str:
        return f"{self.operation} {dict(self.ask.path)} {dict(self.ask.query)} {self.ask.body} of {self.company.name}"


def occurs(mark: str, text: str) -> bool:
    """Whether a mark stands in a text by itself: an id not within another number."""
    return re.search(rf"(?<![\w-]){re.escape(mark)}(?![\w-])", text) is not None


def marks_in(answer: Answer, company: Company) -> set[str]:
    """Everything of this company that an answer names, in its body or its headers."""
    said = json.dumps([answer.body, dict(answer.headers)])
    return {mark for mark in company.marks if occurs(mark, said)}


def code_of(answer: Answer) -> str | None:
    """The problem's code, if it is one."""
    return answer.body.get("code") if isinstance(answer.body, dict) else None


def steps(market: Market) -> Iterator[Step]:
    for operation in operations():
        for name in OWNERS:
            for ask in ENTRIES[operation](market[name]):
                yield Step(operation, market[name], ask)


def test_every_route_has_an_entry_and_every_entry_a_route() -> None:
    assert operations() == sorted(ENTRIES, key=operations().index), "see the top of tests/tenancy/operations.py"


async def test_strangers_learn_nothing_and_the_owner_is_answered(market: Market) -> None:
    wrong: list[str] = []
    walked: set[str] = set()
    async with Client(market.url, market["retailer-b"].admin_key) as retailer:
        # With all scopes, so that these are not what keeps them out.
        strangers = {"the owner of supplier-b": market["supplier-b"].owner, "retailer-b": retailer}
        for step in steps(market):
            for name, stranger in strangers.items():
                wrong += [f"{name} {what}: {step}" async for what in _learnt(step, stranger)]
            # Last: so it also shows that no stranger has removed what is asked for.
            answer = await step.by_its_owner(market)
            if not 200 <= answer.status < 300:
                wrong.append(f"its owner is answered {answer.status} {answer.body}: {step}")
            elif answer.status != 204 and step.ask.names_own and not marks_in(answer, step.company):
                wrong.append(f"its owner reads nothing of its own, so nothing is shown by it: {step}")
            walked.add(step.operation)
    assert not wrong, "\n".join(wrong)
    assert walked == set(operations())


async def _learnt(step: Step, stranger: Client) -> AsyncIterator[str]:
    """What a stranger learns by a request that it should not."""
    answer = await step.by(stranger)
    about_itself = step.ask.oneself and 200 <= answer.status < 300
    if answer.status not in step.ask.refused and not (step.ask.lists and answer.status == 200) and not about_itself:
        yield f"is answered {answer.status}"
    nobodys = step.of_nobody()
    if step.ask.path and step.without_ids(answer) != nobodys.without_ids(await nobodys.by(stranger)):
        yield "is answered otherwise than about what does not exist"
    if step.foreign_in(answer):
        yield f"reads {sorted(step.foreign_in(answer))}"


async def test_without_a_valid_key_the_scope_and_the_role_nothing_is_answered(market: Market) -> None:
    wrong: list[str] = []
    async with AsyncExitStack() as stack:
        refused = {name: await _refused(market, market[name], stack) for name in OWNERS}
        for step in steps(market):
            expected = [(refused[step.company.name][code], code) for code in ("no_key", "expired", "revoked")]
            if not step.ask.oneself:
                expected += _without_scope(step, refused[step.company.name][step.scope])
            if step.ask.by == "admin":
                expected.append((step.company.owner, "forbidden"))
            if step.ask.role is not None:
                expected.append((market[PARTNER_OF[step.company.name]].client, "forbidden"))
            for client, what in expected:
                wrong += [f"{said}: {step}" for said in _not_refused(step, await step.by(client), what)]
            if step.reads and step.ask.by == "company":
                answer = await step.by(step.company.viewer)
                wrong += [f"a viewer reads {answer.status}: {step}"] if answer.status != 200 else []
    assert not wrong, "\n".join(wrong)


async def _refused(market: Market, company: Company, stack: AsyncExitStack) -> dict[str, Client]:
    """Who is refused, by why: callers of no valid key, and for each scope a key of the company that has all others."""
    keys = {"expired": company.expiring_key, "revoked": company.revoked_key}
    for scope in SCOPES:
        keys[scope] = (await add_key(market, company.id, "few", set(SCOPES) - {scope}))["key"]
    clients = {why: await stack.enter_async_context(Client(market.url, key)) for why, key in keys.items()}
    for why in ("expired", *SCOPES):
        await until_known(clients[why])
    await expire(market, company.expiring_key)
    for why in ("expired", "revoked"):
        await until_refused(clients[why])
    return clients | {"no_key": await stack.enter_async_context(Client(market.url))}


def _without_scope(step: Step, without: Client) -> list[tuple[Client, str]]:
    """Callers of the company that lack a scope, and the scope: by their key, as a viewer, or for want of `admin`."""
    callers = [(without, step.scope)]
    if step.ask.by == "owner":
        callers.append((step.company.client, "admin"))
    if not step.reads:
        callers.append((step.company.viewer, step.scope))
    return callers


def _not_refused(step: Step, answer: Answer, why: str) -> Iterator[str]:
    """What is wrong with an answer that must be a refusal for this reason (or want of this scope), and tell nothing."""
    status, code = REFUSALS.get(why, (403, "missing_scope"))
    if (answer.status, code_of(answer)) != (status, code):
        yield f"{answer.status} {answer.body} instead of {code}"
    if code == "missing_scope" and f"the scope {why}," not in str(answer.body):
        yield f"{answer.body} does not name {why}"
    if step.foreign_in(answer):
        yield f"{code} tells {sorted(step.foreign_in(answer))}"
