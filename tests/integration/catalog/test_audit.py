"""The audit trail: whoever changes something leaves one line of it, and nobody can change anything without.

`DEEDS` holds each route of catalog that is no GET, and the line it leaves. **A new route needs an entry there**, or the
walk fails.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from services.catalog.service import SERVICE
from services.catalog.store import companies as store
from shared.database import Database
from shared.http import create_app
from tests.app import Answer, Client
from tests.integration.catalog.conftest import RETAILER_A, RETAILER_B, SUPPLIER_A, SUPPLIER_B, Catalog
from tests.integration.catalog.test_product_import import ended, ndjson, send

PASSWORD, NEW_PASSWORD = "correct horse battery", "staple, twelve or more"
READING = {"GET", "HEAD"}


@dataclass
class Story:
    """The seeds' world with people in it: who acts by which client, and the ids that paths name."""

    catalog: Catalog
    clients: dict[str, Client]
    ids: dict[str, int]

    @property
    def actors(self) -> dict[str, str]:
        """How the trail calls those who act."""
        return {"admin": "platform admin", "key": f"key {self.ids['key']}", "ann": f"user {self.ids['ann']}"}

    async def do(self, operation: str, deed: "Deed") -> Answer:
        """Send the request of a deed."""
        method, template = operation.split(" ")
        path = template.format_map(self.ids | dict(deed.path))
        return await self.clients[deed.by].call(method, path, deed.body)


@dataclass(frozen=True)
class Deed:
    """A request that changes something, and its line: in the trails of `companies` (`None`: of what it has made).

    `subject` may name `{id}`, the id that is answered.
    """

    body: Any = None
    by: str = "key"
    path: Mapping[str, int] = field(default_factory=dict)
    action: str = ""
    subject: str = ""
    changes: Mapping[str, list[Any]] = field(default_factory=dict)
    companies: Sequence[int | None] = (SUPPLIER_A,)

    def lines(self, story: Story, answer: Answer) -> list[dict[str, Any]]:
        """The lines that it leaves, those of lower companies first."""
        made = answer.body["id"] if isinstance(answer.body, dict) and "id" in answer.body else 0
        line = {"actor": story.actors[self.by], "source": None, "action": self.action, "changes": dict(self.changes)}
        subject = self.subject.format(**(story.ids | {"id": made}))
        return [line | {"company_id": whose or made, "subject": subject} for whose in self.companies]


BOTH = (SUPPLIER_A, RETAILER_A)
SHIRT = {"sku": "T02", "name": "T-shirt, plain", "type": "stock"}
LINKS = [
    {
        "sku": f"T01-{size[0]}",
        "attributes": [{"name": "Size", "value": size}],
        "components": [{"product_id": product_id, "quantity": 1}],
    }
    for size, product_id in (("Small", 100), ("Large", 101))
]
NO_LINKS: dict[str, list[Any]] = {"components": [None, []], "variants": [None, []]}

DEEDS: Mapping[str, Deed] = {
    "POST /v1/companies": Deed(
        {"ref": "supplier-c", "name": "Supplier C", "role": "supplier"},
        by="admin",
        action="company_created",
        subject="company {id}",
        changes={
            "ref": [None, "supplier-c"],
            "name": [None, "Supplier C"],
            "role": [None, "supplier"],
            "oversell_policy": [None, "backorder"],
        },
        companies=(None,),
    ),
    "PATCH /v1/companies/{company_id}": Deed(
        {"name": "Supplier A & Sons"},
        action="company_changed",
        subject="company 1",
        changes={"name": ["Supplier A", "Supplier A & Sons"]},
    ),
    "POST /v1/companies/{company_id}/api-keys": Deed(
        {"label": "till", "scopes": ["stock:read"], "expires_at": "2099-01-01T00:00:00Z"},
        by="ann",
        action="api_key_created",
        subject="api key {id}",
        changes={
            "role": [None, "supplier"],
            "label": [None, "till"],
            "scopes": [None, ["stock:read"]],
            "expires_at": [None, "2099-01-01T00:00:00Z"],
        },
    ),
    "POST /v1/users": Deed(
        {"email": "eve@supplier-a.example", "password": PASSWORD, "role": "viewer"},
        action="user_created",
        subject="user {id}",
        changes={
            "email": [None, "eve@supplier-a.example"],
            "role": [None, "viewer"],
            "disabled": [None, False],
            "password_version": [None, 1],
        },
    ),
    "PATCH /v1/users/{user_id}": Deed(
        {"role": "operator", "password": NEW_PASSWORD},
        action="user_changed",
        subject="user {user_id}",
        changes={"role": ["viewer", "operator"], "password_version": [1, 2]},
    ),
    "POST /v1/me/password": Deed(
        {"old_password": PASSWORD, "new_password": NEW_PASSWORD},
        by="ann",
        action="user_changed",
        subject="user {ann}",
        changes={"password_version": [1, 2]},
    ),
    "POST /v1/connections": Deed(
        {"supplier_id": SUPPLIER_A, "retailer_id": RETAILER_B, "external_ref": "B-7"},
        by="admin",
        action="connection_created",
        subject="connection {id}",
        changes={
            "supplier_id": [None, SUPPLIER_A],
            "retailer_id": [None, RETAILER_B],
            "external_ref": [None, "B-7"],
            "state": [None, "active"],
        },
        companies=(SUPPLIER_A, RETAILER_B),
    ),
    "POST /v1/products": Deed(
        SHIRT,
        action="product_created",
        subject="product {id}",
        changes={
            "type": [None, "stock"],
            "sku": [None, "T02"],
            "name": [None, "T-shirt, plain"],
            "visibility": [None, "private"],
            **NO_LINKS,
        },
    ),
    "POST /v1/products/{product_id}/duplicate": Deed(
        {"sku": "T03"},
        path={"product_id": 102},
        action="product_created",
        subject="product {id}",
        changes={
            "type": [None, "customisable"],
            "sku": [None, "T03"],
            "name": [None, "T-shirt"],
            "visibility": [None, "private"],
            "components": [None, []],
            "variants": [None, LINKS],
        },
    ),
    "PATCH /v1/products/{product_id}": Deed(
        {"visibility": [RETAILER_A], "barcode": "4006381333931", "variants": [{"sku": "T01-S"}]},
        path={"product_id": 102},
        action="product_changed",
        subject="product 102",
        changes={
            "barcode": [None, "4006381333931"],
            "visibility": ["private", [RETAILER_A]],
            "variants": [LINKS, [{"sku": "T01-S", "attributes": [], "components": []}]],
        },
    ),
    "DELETE /v1/products/{product_id}": Deed(
        by="admin",
        path={"product_id": 202},
        action="product_removed",
        subject="product 202",
        changes={
            "type": ["stock_customisable", None],
            "sku": ["S7", None],
            "name": ["S7 case, both", None],
            "visibility": ["private", None],
            "components": [[], None],
            "variants": [[], None],
        },
    ),
    "PATCH /v1/connections/{connection_id}": Deed(
        {"state": "paused", "external_ref": "A-1"},
        action="connection_changed",
        subject="connection {connection_id}",
        changes={"external_ref": [None, "A-1"], "state": ["active", "paused"]},
        companies=BOTH,
    ),
    "DELETE /v1/connections/{connection_id}": Deed(
        action="connection_ended",
        subject="connection {connection_id}",
        changes={"state": ["paused", "ended"]},
        companies=BOTH,
    ),
    "DELETE /v1/users/{user_id}": Deed(
        action="user_removed",
        subject="user {user_id}",
        changes={
            "email": ["bob@supplier-a.example", None],
            "role": ["operator", None],
            "disabled": [False, None],
            "password_version": [2, None],
        },
    ),
    "DELETE /v1/companies/{company_id}/api-keys/{key_id}": Deed(
        action="api_key_revoked", subject="api key {key_id}", changes={"revoked_at": [None, "..."]}
    ),
}
# An import has tests of its own below.
IMPORT = "POST /v1/products/import"
# What is renewed or counted by these is nothing that a person has changed.
SIGNING_IN = {"POST /v1/sessions", "POST /v1/sessions/refresh"}


@pytest.fixture
async def story(seeds: Catalog) -> AsyncIterator[Story]:
    """Supplier A has a key and an owner, Ann, who manage it; a user, Bob, and a key that will go."""
    key = (await seeds.admin.post(f"/v1/companies/{SUPPLIER_A}/api-keys", {"scopes": ["admin"]})).body
    spare = (await seeds.admin.post(f"/v1/companies/{SUPPLIER_A}/api-keys")).body
    users = {}
    for name, role in (("ann", "owner"), ("bob", "viewer")):
        body = {"email": f"{name}@supplier-a.example", "password": PASSWORD, "role": role, "company_id": SUPPLIER_A}
        users[name] = (await seeds.admin.post("/v1/users", body)).body["id"]
    connections = (await seeds.admin.get("/v1/connections")).body["items"]
    ids = {"company_id": SUPPLIER_A, "key": key["id"], "key_id": spare["id"], **users, "user_id": users["bob"]}
    async with AsyncExitStack() as stack:
        signed_in = await seeds.admin.post("/v1/sessions", {"email": "ann@supplier-a.example", "password": PASSWORD})
        clients = {
            "admin": seeds.admin,
            "key": await stack.enter_async_context(Client(seeds.url, key["key"])),
            "ann": await stack.enter_async_context(Client(seeds.url, signed_in.body["token"])),
        }
        yield Story(seeds, clients, ids | {"connection_id": connections[0]["id"]})


async def trail(client: Client, **query: str | int) -> list[dict[str, Any]]:
    """The lines that a client is shown, newest first."""
    answer = await client.get(
        "/v1/audit", params={"limit": "200", **{name: str(value) for name, value in query.items()}}
    )
    assert answer.status == 200, answer.body
    items: list[dict[str, Any]] = answer.body["items"]
    return items


def said(line: dict[str, Any]) -> dict[str, Any]:
    """A line without its number and the times in it."""
    kept = {name: value for name, value in line.items() if name not in {"id", "recorded_at"}}
    if line["action"] == "api_key_revoked":
        was, revoked_at = line["changes"]["revoked_at"]
        assert revoked_at
        kept["changes"] = {**line["changes"], "revoked_at": [was, "..."]}
    return kept


async def new_lines(catalog: Catalog, known: int) -> list[dict[str, Any]]:
    """What has come to the trail since it had so many lines, by company."""
    lines = (await trail(catalog.admin))[: -known or None]
    return sorted(map(said, lines), key=lambda line: line["company_id"] or 0)


# Messages that could not be handled, which change nothing of anybody here; the log tells of them.
DEAD_LETTERS = {
    "POST /v1/dead-letters/catalog/{dead_letter_id}/redrive",
    "DELETE /v1/dead-letters/catalog/{dead_letter_id}",
}


def test_every_route_that_changes_something_has_a_deed() -> None:
    paths = create_app([SERVICE], {}).openapi()["paths"]
    changing = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    changing = {operation for operation in changing if operation.split(" ")[0] not in READING}
    assert changing == {*DEEDS, IMPORT, *SIGNING_IN, *DEAD_LETTERS}, "see the top of this file"


async def test_every_deed_leaves_its_line_and_no_other(story: Story) -> None:
    wrong = []
    for operation, deed in DEEDS.items():
        known = len(await trail(story.catalog.admin))
        answer = await story.do(operation, deed)
        assert 200 <= answer.status < 300, (operation, answer.body)
        lines, expected = await new_lines(story.catalog, known), deed.lines(story, answer)
        if lines != expected:
            wrong.append(f"{operation} left {lines}, not {expected}")
    assert not wrong, "\n".join(wrong)


async def test_signing_in_leaves_no_line(story: Story) -> None:
    known = len(await trail(story.catalog.admin))
    body = {"email": "ann@supplier-a.example", "password": PASSWORD}
    for path, sent in (("/v1/sessions", body), ("/v1/sessions/refresh", None)):
        assert (await story.clients["ann"].post(path, sent)).status == 201
    assert await new_lines(story.catalog, known) == []


async def test_what_changes_nothing_leaves_no_line(story: Story) -> None:
    key, ids = story.clients["key"], story.ids
    ended_once = [f"/v1/connections/{ids['connection_id']}", f"/v1/companies/{SUPPLIER_A}/api-keys/{ids['key_id']}"]
    for path in ended_once:
        assert (await key.delete(path)).status == 204
    known = len(await trail(story.catalog.admin))
    same = (
        await key.patch(f"/v1/companies/{SUPPLIER_A}", {"name": "Supplier A", "oversell_policy": "backorder"}),
        await key.patch(f"/v1/users/{ids['bob']}", {"role": "viewer", "email": "bob@supplier-a.example"}),
        await key.patch("/v1/products/100", {"name": "T-shirt, small", "visibility": "private"}),
        *[await key.delete(path) for path in ended_once],
    )
    assert [answer.status for answer in same] == [200, 200, 200, 204, 204]
    assert await new_lines(story.catalog, known) == []


async def test_what_is_refused_leaves_no_line(story: Story) -> None:
    key, ann, admin, ids = story.clients["key"], story.clients["ann"], story.clients["admin"], story.ids
    keys = f"/v1/companies/{SUPPLIER_A}/api-keys"
    other = {"supplier_id": SUPPLIER_B, "retailer_id": RETAILER_A, "external_ref": "same"}
    assert (await admin.post("/v1/connections", other)).status == 201
    bob = {"email": "bob@supplier-a.example", "password": PASSWORD, "role": "viewer"}
    known = len(await trail(admin))
    refused = (
        await key.post("/v1/companies", {"ref": "x", "name": "X", "role": "supplier"}),
        await admin.post("/v1/companies", {"ref": "supplier-a", "name": "Again", "role": "supplier"}),
        await key.patch(f"/v1/companies/{SUPPLIER_B}", {"name": "Ours"}),
        await admin.post(keys, {"expires_at": "2020-01-01T00:00:00Z"}),
        await admin.post("/v1/connections", {"supplier_id": SUPPLIER_A, "retailer_id": RETAILER_A}),
        await key.patch(f"/v1/connections/{ids['connection_id']}", {"external_ref": "same"}),
        await key.post("/v1/users", bob),
        await key.patch(f"/v1/users/{ids['ann']}", {"email": bob["email"]}),
        await key.patch(f"/v1/users/{ids['ann']}", {"role": "viewer", "password": NEW_PASSWORD}),
        await key.delete(f"/v1/users/{ids['ann']}"),
        await ann.post("/v1/me/password", {"old_password": NEW_PASSWORD, "new_password": PASSWORD}),
        await key.post("/v1/products", SHIRT | {"sku": "T01-S"}),
        await key.post("/v1/products", {"sku": "X", "name": "X", "type": "virtual", "base_product_id": 999}),
        await key.patch("/v1/products/200", {"sku": "T01-S"}),
        await key.delete("/v1/products/100"),
        await key.delete("/v1/products/300"),
    )
    assert [answer.status for answer in refused if answer.status not in {403, 404, 409, 422}] == []
    assert await new_lines(story.catalog, known) == []


async def test_a_transaction_that_is_undone_leaves_no_line(companies: Catalog) -> None:
    database = Database("catalog", companies.dsn, pool_size=1)
    known = len(await trail(companies.admin))

    async def change(name: str) -> None:
        async with database.transaction() as session:
            await store.change_company(session, "key 5", SUPPLIER_A, display_name=name, oversell_policy=None)
            assert name != "undone"

    with pytest.raises(AssertionError):
        await change("undone")
    assert await new_lines(companies, known) == []
    await change("done")
    assert [line["changes"] for line in await new_lines(companies, known)] == [{"name": ["Supplier A", "done"]}]
    await database.close()


async def test_an_import_leaves_a_line_for_each_product_by_whoever_sent_it(story: Story) -> None:
    key, catalog = story.clients["key"], story.catalog
    known = len(await trail(catalog.admin))
    shirts = [SHIRT | {"sku": f"T04-{size}"} for size in "SML"]

    job = await ended(key, await send(key, ndjson(*shirts)))
    lines = await new_lines(catalog, known)
    assert [(line["actor"], line["source"], line["action"]) for line in lines] == [
        (story.actors["key"], f"import {job['id']}", "product_created")
    ] * 3
    assert sorted(line["changes"]["sku"][1] for line in lines) == ["T04-L", "T04-M", "T04-S"]

    shirts[1]["name"] = "T-shirt, plain and medium"
    assert (await ended(key, await send(key, ndjson(*shirts))))["unchanged"] == 2
    (line,) = await new_lines(catalog, known + 3)
    assert (line["action"], line["changes"]) == (
        "product_changed",
        {"name": ["T-shirt, plain", "T-shirt, plain and medium"]},
    )


async def test_an_import_that_changes_nothing_leaves_no_line(story: Story) -> None:
    key, catalog = story.clients["key"], story.catalog
    known = len(await trail(catalog.admin))
    good, bad = SHIRT, {"sku": "X", "name": "X", "type": "virtual", "base_sku": "nobody's"}

    assert (await ended(key, await send(key, ndjson(good), dry_run="true")))["created"] == 1
    assert (await ended(key, await send(key, ndjson(good, bad), mode="all")))["state"] == "failed"
    assert (await ended(key, await send(key, ndjson(bad))))["refused"] == 1
    assert await new_lines(catalog, known) == []

    assert (await ended(key, await send(key, ndjson(good, bad))))["created"] == 1
    assert [line["changes"]["sku"] for line in await new_lines(catalog, known)] == [[None, "T02"]]


async def test_a_connection_made_again_says_what_it_was(companies: Catalog) -> None:
    (connection,) = (await companies.admin.get("/v1/connections")).body["items"]
    assert (await companies.admin.delete(f"/v1/connections/{connection['id']}")).status == 204
    known = len(await trail(companies.admin))

    again = {"supplier_id": SUPPLIER_A, "retailer_id": RETAILER_A, "external_ref": "A-2"}
    assert (await companies.admin.post("/v1/connections", again)).body["id"] == connection["id"]

    lines = await new_lines(companies, known)
    assert [line["company_id"] for line in lines] == [SUPPLIER_A, RETAILER_A]
    assert {line["action"] for line in lines} == {"connection_created"}
    assert lines[0]["changes"] == {"external_ref": [None, "A-2"], "state": ["ended", "active"]}


async def test_each_company_sees_its_own_trail_and_only_who_manages_it_does(story: Story) -> None:
    catalog = story.catalog
    own = await trail(story.clients["key"])
    assert {line["company_id"] for line in own} == {SUPPLIER_A}
    assert {line["subject"] for line in own} >= {"company 1", "product 102", f"user {story.ids['ann']}"}

    stranger, retailer = await catalog.client_of(SUPPLIER_B, "admin"), await catalog.client_of(RETAILER_A, "admin")
    assert [line["subject"] for line in await trail(stranger) if line["company_id"] != SUPPLIER_B] == []
    assert await trail(stranger, subject="product 102") == await trail(stranger, actor=story.actors["key"]) == []
    refused = await stranger.get("/v1/audit", params={"company_id": str(SUPPLIER_A)})
    assert (refused.status, refused.body["code"]) == (403, "foreign_company")
    its = [line["subject"] for line in await trail(retailer)]
    assert f"connection {story.ids['connection_id']}" in its
    assert "product 300" in its
    assert "product 102" not in its

    reader = await catalog.client_of(SUPPLIER_A, "catalog:read", "catalog:write")
    refused = await reader.get("/v1/audit")
    assert (refused.status, refused.body["code"]) == (403, "missing_scope")


async def test_the_trail_is_filtered_and_read_page_by_page(story: Story) -> None:
    admin = story.catalog.admin
    assert (await story.clients["key"].patch("/v1/products/100", {"name": "T-shirt, S"})).status == 200
    everything = await trail(admin)

    def those(**wanted: object) -> list[dict[str, Any]]:
        return [line for line in everything if wanted.items() <= line.items()]

    of_product = await trail(admin, subject="product 100")
    assert [line["action"] for line in of_product] == ["product_changed", "product_created"]
    assert of_product == those(subject="product 100")
    assert await trail(admin, actor=story.actors["key"]) == those(actor=story.actors["key"]) == of_product[:1]
    assert await trail(admin, company_id=RETAILER_A) == those(company_id=RETAILER_A) != []
    assert await trail(admin, company_id=SUPPLIER_A, actor="platform admin", subject="product 100") == of_product[1:]

    pages, query = [], {"limit": "5"}
    while True:
        page = (await admin.get("/v1/audit", params=query)).body
        pages.append(page["items"])
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert {len(page) for page in pages[:-1]} == {5}
    assert [line for page in pages for line in page] == everything
    ids = [line["id"] for line in everything]
    assert ids == sorted(ids, reverse=True)


async def test_no_secret_is_ever_in_the_trail(story: Story) -> None:
    catalog = story.catalog
    shown = [await catalog.key_of(SUPPLIER_A)]
    for operation, deed in DEEDS.items():
        answer = await story.do(operation, deed)
        shown += [answer.body[name] for name in ("key", "token") if name in (answer.body or {})]
    assert len(shown) == 3

    rows = await catalog.query("select row_to_json(e)::text as line from catalog.audit_entries e")
    secrets = await catalog.query(
        "select key_sha256 from catalog.api_keys union select password_hash from catalog.users"
    )
    assert len(rows) > len(DEEDS)
    assert len(secrets) > 4
    everything = "\n".join(row["line"] for row in rows).lower()
    for secret in (*shown, PASSWORD, NEW_PASSWORD, *(row[0] for row in secrets), "hash", "sha256", "argon2", "bsk_"):
        assert secret.lower() not in everything, secret
