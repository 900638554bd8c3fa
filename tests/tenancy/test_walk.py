"""P9: whoever asks any route about another company's things learns nothing, while that company itself is answered.

The walk goes through the OpenAPI document of all services, so a route that was added is walked too, or fails here
until it has an entry in `operations.py`.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace

import pytest

from services.all_in_one import SERVICES
from shared.http import create_app
from tests.app import Answer, Client
from tests.tenancy.market import Company, Market, open_market, until_refused
from tests.tenancy.operations import ENTRIES, OPEN, Ask

OWNERS = ("supplier-a", "retailer-a")
STRANGERS = ("supplier-b", "retailer-b")
UNKNOWN_ID, UNKNOWN_UUID = 499_999_999, "00000000-0000-7000-8000-000000000000"
PARTNER_OF = {"supplier-a": "retailer-a", "retailer-a": "supplier-a"}


@pytest.fixture
async def market(database_dsn: str) -> AsyncIterator[Market]:
    async with open_market(database_dsn) as opened:
        yield opened


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

    async def by(self, client: Client) -> Answer:
        """Send it with this client's key."""
        method, template = self.operation.split(" ")
        query = {name: str(value) for name, value in self.ask.query.items()}
        return await client.call(method, template.format_map(dict(self.ask.path)), self.ask.body, params=query)

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
        sent = json.dumps([dict(self.ask.path), dict(self.ask.query), self.ask.body])
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
    for step in steps(market):
        for name in STRANGERS:
            answer = await step.by(market[name].client)
            if answer.status not in step.ask.refused and not (step.ask.lists and answer.status == 200):
                wrong.append(f"{name} is answered {answer.status}: {step}")
            nobodys = step.of_nobody()
            if step.ask.path and step.without_ids(answer) != nobodys.without_ids(await nobodys.by(market[name].client)):
                wrong.append(f"{name} is answered otherwise than about what does not exist: {step}")
            if step.foreign_in(answer):
                wrong.append(f"{name} reads {sorted(step.foreign_in(answer))}: {step}")
        # Last: so it also shows that no stranger has removed what is asked for.
        answer = await step.by(market.admin if step.ask.by == "admin" else step.company.client)
        if not 200 <= answer.status < 300:
            wrong.append(f"its owner is answered {answer.status} {answer.body}: {step}")
        elif answer.status != 204 and step.ask.names_own and not marks_in(answer, step.company):
            wrong.append(f"its owner reads nothing of its own, so nothing is shown by it: {step}")
        walked.add(step.operation)
    assert not wrong, "\n".join(wrong)
    assert walked == set(operations())


async def test_without_a_valid_key_or_the_right_role_nothing_is_answered(market: Market) -> None:
    wrong: list[str] = []
    async with AsyncExitStack() as stack:
        nobody = await stack.enter_async_context(Client(market.url))
        revoked = {
            name: await stack.enter_async_context(Client(market.url, market[name].revoked_key)) for name in OWNERS
        }
        for client in revoked.values():
            await until_refused(client)
        for step in steps(market):
            expected = [(nobody, 401, "no_key"), (revoked[step.company.name], 401, "unknown_key")]
            if step.ask.by == "admin":
                expected.append((step.company.client, 403, "forbidden"))
            if step.ask.role is not None:
                expected.append((market[PARTNER_OF[step.company.name]].client, 403, "forbidden"))
            for client, status, code in expected:
                answer = await step.by(client)
                if (answer.status, code_of(answer)) != (status, code):
                    wrong.append(f"{answer.status} {answer.body} instead of {code}: {step}")
                if step.foreign_in(answer):
                    wrong.append(f"{code} tells {sorted(step.foreign_in(answer))}: {step}")
    assert not wrong, "\n".join(wrong)
