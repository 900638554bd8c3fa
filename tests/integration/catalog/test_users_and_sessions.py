"""Users: who may make them, how they sign in, and what ends a session."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import jwt
import pytest
from argon2 import PasswordHasher
from pydantic import SecretStr

from services.catalog import passwords
from services.catalog.service import SERVICE
from shared import clock
from shared.messaging.in_process import InProcessBus
from shared.settings import Settings
from shared.tokens import SignedIn, sign_token
from tests.app import Answer, Client, serving
from tests.integration.catalog.conftest import (
    ADMIN_KEY,
    RETAILER_A,
    SUPPLIER_A,
    TOKEN_SECRET,
    Catalog,
)

pytestmark = pytest.mark.usefixtures("cheap_passwords")

PASSWORD = "correct horse battery"
NEW_PASSWORD = "staple, twelve or more"
ANN = {"email": "ann@supplier-a.example", "password": PASSWORD, "role": "owner"}
SHIRT = {"sku": "T01-S", "name": "T-shirt, small", "type": "stock"}
BOB = {"email": "bob@supplier-a.example", "password": PASSWORD, "role": "operator"}


def problem(answer: Answer) -> tuple[int, str]:
    assert answer.status >= 400, f"{answer.status} is no refusal: {answer.body}"
    return answer.status, answer.body["code"]


async def add(catalog: Catalog, body: dict[str, str], company_id: int = SUPPLIER_A) -> int:
    made = await catalog.admin.post("/v1/users", {**body, "company_id": company_id})
    assert made.status == 201, made.body
    user_id: int = made.body["id"]
    return user_id


async def sign_in(catalog: Catalog, email: str, password: str = PASSWORD) -> Answer:
    async with Client(catalog.url) as nobody:
        return await nobody.post("/v1/sessions", {"email": email, "password": password})


@asynccontextmanager
async def signed_in(catalog: Catalog, body: dict[str, str], password: str = PASSWORD) -> AsyncIterator[Client]:
    answer = await sign_in(catalog, body["email"], password)
    assert answer.status == 201, answer.body
    async with Client(catalog.url, answer.body["token"]) as client:
        yield client


async def test_a_user_signs_in_without_a_key_and_is_who_it_says(companies: Catalog) -> None:
    ann = await add(companies, ANN)
    before = clock.utc_now()

    answer = await sign_in(companies, "  Ann@SUPPLIER-A.example ")

    user = {"id": ann, "company_id": SUPPLIER_A, "email": ANN["email"], "role": "owner", "disabled": False}
    assert (answer.status, answer.body["user"]) == (201, user)
    lives = datetime.fromisoformat(answer.body["expires_at"]) - before
    assert timedelta(minutes=14) < lives <= timedelta(minutes=15, seconds=5)
    async with Client(companies.url, answer.body["token"]) as client:
        me = (await client.get("/v1/me")).body
    assert (me["actor"], me["user"], me["company"]["id"], me["role"]) == (f"user {ann}", user, SUPPLIER_A, "supplier")


@pytest.mark.parametrize(
    ("role", "reads", "writes", "manages"),
    [("owner", 200, 201, 200), ("operator", 200, 201, 403), ("viewer", 200, 403, 403)],
)
async def test_a_role_says_what_a_user_may_do(
    companies: Catalog, role: str, reads: int, writes: int, manages: int
) -> None:
    await add(companies, ANN | {"role": role})
    async with signed_in(companies, ANN) as user:
        assert (await user.get("/v1/products")).status == reads
        assert (await user.post("/v1/products", SHIRT)).status == writes
        assert (await user.get("/v1/users")).status == manages
        assert (await user.get(f"/v1/companies/{SUPPLIER_A}/api-keys")).status == manages
        assert (await user.get("/v1/companies")).status == 403, "the company's, not the platform's"


async def test_owners_manage_the_users_of_their_company_and_no_others(companies: Catalog) -> None:
    ann, eve = await add(companies, ANN), await add(companies, {**ANN, "email": "eve@shop.example"}, RETAILER_A)
    async with signed_in(companies, ANN) as owner:
        bob = await owner.post("/v1/users", BOB)
        assert (bob.status, bob.body["company_id"]) == (201, SUPPLIER_A)
        assert [item["id"] for item in (await owner.get("/v1/users")).body["items"]] == [ann, bob.body["id"]]
        promoted = await owner.patch(f"/v1/users/{bob.body['id']}", {"role": "viewer"})
        assert (promoted.status, promoted.body) == (200, {**bob.body, "role": "viewer"})
        assert (await owner.delete(f"/v1/users/{bob.body['id']}")).status == 204
        assert problem(await owner.get(f"/v1/users/{bob.body['id']}")) == (404, "user_not_found")

        assert problem(await owner.post("/v1/users", {**BOB, "company_id": RETAILER_A})) == (403, "foreign_company")
        assert problem(await owner.get("/v1/users", params={"company_id": RETAILER_A})) == (403, "foreign_company")
        path = f"/v1/users/{eve}"
        for answer in (await owner.get(path), await owner.patch(path, {"disabled": True}), await owner.delete(path)):
            assert problem(answer) == (404, "user_not_found")
    everybody = (await companies.admin.get("/v1/users")).body["items"]
    assert [item["id"] for item in everybody] == [ann, eve]
    of_one = (await companies.admin.get("/v1/users", params={"company_id": RETAILER_A})).body["items"]
    assert [item["id"] for item in of_one] == [eve]


async def test_what_is_refused_is_refused_before_a_password_is_hashed(
    companies: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(companies, ANN)
    bob = await add(companies, BOB)

    class Refusing(PasswordHasher):
        def hash(self, password: Any, **_: Any) -> Any:  # noqa: ANN401, ARG002 - the library's
            pytest.fail("it is hashed")

    async with signed_in(companies, ANN) as owner:
        monkeypatch.setattr(passwords, "HASHER", Refusing())
        refused = [
            await owner.post("/v1/users", BOB),
            await owner.post("/v1/users", {**BOB, "company_id": RETAILER_A}),
            await owner.patch("/v1/users/999", {"password": NEW_PASSWORD}),
            await owner.patch(f"/v1/users/{bob}", {"password": NEW_PASSWORD, "email": ANN["email"]}),
        ]
        assert [problem(answer) for answer in refused] == [
            (409, "email_taken"),
            (403, "foreign_company"),
            (404, "user_not_found"),
            (409, "email_taken"),
        ]
        assert (await owner.patch(f"/v1/users/{bob}", {"email": "bo@supplier-a.example"})).status == 200


async def test_who_hashes_many_passwords_keeps_nobody_from_signing_in(
    companies: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(companies, ANN)
    gate = threading.Event()

    class Slow(PasswordHasher):
        def hash(self, password: Any, **options: Any) -> Any:  # noqa: ANN401 - the library's
            assert gate.wait(30)
            return super().hash(password, **options)

    monkeypatch.setattr(passwords, "HASHER", Slow())
    most = passwords.WAITING_TO_MANAGE

    async def adding(number: int) -> Answer:
        body = {**BOB, "email": f"bob{number}@supplier-a.example", "company_id": SUPPLIER_A}
        return await companies.admin.post("/v1/users", body)

    try:
        waiting = [asyncio.create_task(adding(number)) for number in range(most)]
        async with asyncio.timeout(10):
            while len(passwords._under_way) < most:
                await asyncio.sleep(0.01)
        async with asyncio.timeout(10):
            one_more = await adding(most)
        signing_in = asyncio.create_task(sign_in(companies, ANN["email"]))
        async with asyncio.timeout(10):
            while len(passwords._under_way) == most:
                await asyncio.sleep(0.01)
    finally:
        gate.set()
    assert (problem(one_more), one_more.headers["Retry-After"]) == ((429, "too_many_passwords"), "1")
    assert (await signing_in).status == 201
    assert [answer.status for answer in await asyncio.gather(*waiting)] == [201] * most


async def test_a_company_has_so_many_users_and_no_more(companies: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.catalog.api.users.USERS_PER_COMPANY", 3)
    await add(companies, ANN)
    async with signed_in(companies, ANN) as owner:
        bodies = [{**BOB, "email": f"bob{number}@supplier-a.example"} for number in range(4)]
        answers = await asyncio.gather(*(owner.post("/v1/users", body) for body in bodies))
    assert sorted(answer.status for answer in answers) == [201, 201, 409, 409]
    assert {answer.body["code"] for answer in answers if answer.status == 409} == {"too_many_users"}
    await add(companies, {**ANN, "email": "eve@shop.example"}, RETAILER_A)


async def test_an_address_belongs_to_one_user_however_it_is_spelt(companies: Catalog) -> None:
    await add(companies, ANN)
    bob = await add(companies, BOB)

    again = await companies.admin.post(
        "/v1/users", {**ANN, "email": "ANN@Supplier-A.Example", "company_id": RETAILER_A}
    )
    renamed = await companies.admin.patch(f"/v1/users/{bob}", {"email": "Ann@supplier-a.example"})

    assert problem(again) == problem(renamed) == (409, "email_taken")
    assert again.body["errors"][0]["field"] == "email"
    assert (await companies.admin.get(f"/v1/users/{bob}")).body["email"] == BOB["email"]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"email": "ann"}, "email"),
        ({"email": "ann@\x00.example"}, "email"),
        ({"password": "too short"}, "password"),
        ({"password": "x" * 201}, "password"),
        ({"role": "admin"}, "role"),
    ],
)
async def test_a_wrong_user_is_refused_with_the_field(companies: Catalog, wrong: dict[str, str], field: str) -> None:
    refused = await companies.admin.post("/v1/users", {**ANN, "company_id": SUPPLIER_A, **wrong})

    assert refused.status == 422
    assert [error["field"] for error in refused.body["errors"]] == [field]
    assert wrong.get("password", "?") not in str(refused.body)


async def test_half_a_surrogate_pair_is_no_character_of_a_password(companies: Catalog) -> None:
    ann = await add(companies, ANN)
    broken = "battery staple \ud800"
    async with Client(companies.url) as nobody, signed_in(companies, ANN) as owner:
        change = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
        answers = {
            "password": [
                await nobody.post("/v1/sessions", {"email": ANN["email"], "password": broken}),
                await owner.post("/v1/users", {**BOB, "password": broken}),
                await owner.patch(f"/v1/users/{ann}", {"password": broken}),
            ],
            "old_password": [await owner.post("/v1/me/password", change | {"old_password": broken})],
            "new_password": [await owner.post("/v1/me/password", change | {"new_password": broken})],
        }
    for field, refused in answers.items():
        assert {problem(answer) for answer in refused} == {(422, "invalid_request")}
        assert {error["field"] for answer in refused for error in answer.body["errors"]} == {field}


async def test_the_last_owner_stays_unless_the_platform_says_otherwise(companies: Catalog) -> None:
    ann, bob = await add(companies, ANN), await add(companies, BOB)
    path = f"/v1/users/{ann}"
    async with signed_in(companies, ANN) as owner:
        for answer in (
            await owner.delete(path),
            await owner.patch(path, {"role": "operator"}),
            await owner.patch(path, {"disabled": True}),
        ):
            assert problem(answer) == (409, "last_owner")
        assert (await owner.patch(path, {"email": "ann.lee@supplier-a.example"})).status == 200
        assert (await owner.patch(f"/v1/users/{bob}", {"role": "owner"})).status == 200
        assert (await owner.delete(path)).status == 204
    assert (await companies.admin.delete(f"/v1/users/{bob}")).status == 204


async def test_two_owners_who_remove_each_other_at_once_do_not_both_succeed(companies: Catalog) -> None:
    for _ in range(5):
        owners = [await add(companies, {**ANN, "email": f"{name}@supplier-a.example"}) for name in ("a", "b")]
        async with (
            signed_in(companies, {"email": "a@supplier-a.example"}) as first,
            signed_in(companies, {"email": "b@supplier-a.example"}) as second,
        ):
            answers = await asyncio.gather(
                first.delete(f"/v1/users/{owners[1]}"), second.delete(f"/v1/users/{owners[0]}")
            )
        assert sorted(answer.status for answer in answers) == [204, 401], [answer.body for answer in answers]
        for item in (await companies.admin.get("/v1/users")).body["items"]:
            assert (await companies.admin.delete(f"/v1/users/{item['id']}")).status == 204


async def attempts_to_stay(owner: Client, ann: int, bob: int, key_id: int) -> list[Answer]:
    """All that an owner might do to remain one, or to see who else is."""
    return [
        await owner.patch(f"/v1/users/{ann}", {"disabled": False, "role": "owner"}),
        await owner.patch(f"/v1/users/{bob}", {"role": "owner"}),
        await owner.delete(f"/v1/users/{bob}"),
        await owner.post("/v1/users", {**ANN, "email": "ann.again@supplier-a.example"}),
        await owner.get("/v1/users"),
        await owner.get(f"/v1/users/{bob}"),
        await owner.post(f"/v1/companies/{SUPPLIER_A}/api-keys", {"scopes": ["admin"]}),
        await owner.get(f"/v1/companies/{SUPPLIER_A}/api-keys"),
        await owner.delete(f"/v1/companies/{SUPPLIER_A}/api-keys/{key_id}"),
        await owner.patch(f"/v1/companies/{SUPPLIER_A}", {"name": "Ann's"}),
    ]


@pytest.mark.parametrize(
    ("done", "refusal"),
    [
        ({"disabled": True}, (401, "session_ended")),
        ({"role": "operator"}, (403, "missing_scope")),
        ({"password": NEW_PASSWORD}, (401, "session_ended")),
        (None, (401, "session_ended")),
    ],
    ids=["disabled", "demoted", "another password", "removed"],
)
async def test_what_is_done_to_an_owner_it_cannot_undo_with_the_token_it_has(
    companies: Catalog, done: dict[str, object] | None, refusal: tuple[int, str]
) -> None:
    ann, bob = await add(companies, ANN), await add(companies, BOB)
    await add(companies, {**ANN, "email": "eve@supplier-a.example"})
    key_id = (await companies.admin.post(f"/v1/companies/{SUPPLIER_A}/api-keys")).body["id"]
    users, keys = "select * from catalog.users order by user_id", "select * from catalog.api_keys"
    async with signed_in(companies, ANN) as owner:
        assert (await owner.get("/v1/users")).status == 200
        path = f"/v1/users/{ann}"
        await (companies.admin.delete(path) if done is None else companies.admin.patch(path, done))
        before = [await companies.query(users), await companies.query(keys)]

        answers = await attempts_to_stay(owner, ann, bob, key_id)

    assert {problem(answer) for answer in answers} == {refusal}
    assert [await companies.query(users), await companies.query(keys)] == before


async def test_an_owner_who_is_being_disabled_cannot_undo_it_by_asking_at_the_same_time(companies: Catalog) -> None:
    ann = await add(companies, ANN)
    connection = await asyncpg.connect(companies.dsn)
    async with signed_in(companies, ANN) as owner:
        disabling = connection.transaction()
        await disabling.start()
        await connection.execute("select 1 from catalog.companies where company_id = $1 for no key update", SUPPLIER_A)
        await connection.execute("update catalog.users set disabled = true where user_id = $1", ann)
        undoing = asyncio.create_task(owner.patch(f"/v1/users/{ann}", {"disabled": False}))
        waiting = "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        async with asyncio.timeout(10):
            while not await companies.query(waiting):
                await asyncio.sleep(0.01)
        await disabling.commit()
        assert problem(await undoing) == (401, "session_ended")
    await connection.close()
    assert (await companies.admin.get(f"/v1/users/{ann}")).body["disabled"] is True


async def test_an_unknown_address_a_wrong_password_and_a_disabled_user_look_the_same(companies: Catalog) -> None:
    await add(companies, ANN)
    await add(companies, BOB)
    bob = await add(companies, {**BOB, "email": "bo@supplier-a.example"})
    assert (await companies.admin.patch(f"/v1/users/{bob}", {"disabled": True})).status == 200

    refusals = [
        await sign_in(companies, "nobody@supplier-a.example"),
        await sign_in(companies, "no address, though with an @"),
        await sign_in(companies, ANN["email"], "wrong password"),
        await sign_in(companies, ANN["email"], ""),
        await sign_in(companies, "bo@supplier-a.example"),
    ]

    assert {problem(refusal) for refusal in refusals} == {(401, "sign_in_refused")}
    assert len({str(refusal.body) for refusal in refusals}) == 1
    assert {refusal.headers["WWW-Authenticate"] for refusal in refusals} == {"Bearer"}


async def test_who_signs_in_sends_no_long_body(companies: Catalog) -> None:
    padded = {"email": ANN["email"], "password": PASSWORD, "padding": "x" * 16 * 1024}
    async with Client(companies.url) as nobody:
        refused = await nobody.post("/v1/sessions", padded)
    assert (problem(refused), "16 KiB" in refused.body["detail"]) == ((413, "body_too_large"), True)


async def test_an_unknown_address_costs_as_much_hashing_as_a_known_one(
    companies: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(companies, ANN)
    hashed: list[str] = []

    verify = PasswordHasher.verify

    def counting(hasher: PasswordHasher, stored_hash: str, password: bytes) -> bool:
        hashed.append(stored_hash.split("$")[3])
        return verify(hasher, stored_hash, password)

    monkeypatch.setattr(PasswordHasher, "verify", counting)
    for email in ("nobody@supplier-a.example", ANN["email"]):
        assert (await sign_in(companies, email, "wrong password")).status == 401

    unknown, known = hashed
    assert unknown == known, "one each, with the same parameters"


async def test_too_many_passwords_for_one_address_have_to_wait(
    companies: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.catalog.store.password_attempts.ATTEMPTS_PER_EMAIL", 3)
    await add(companies, ANN)
    await add(companies, BOB)
    for email in (ANN["email"], "nobody@supplier-a.example"):
        tries = [await sign_in(companies, email, "wrong password") for _ in range(3)]
        assert {problem(answer) for answer in tries} == {(401, "sign_in_refused")}
        for password in ("wrong password", PASSWORD):
            late = await sign_in(companies, email.upper(), password)
            assert problem(late) == (429, "too_many_attempts")
            assert 0 < int(late.headers["Retry-After"]) <= 300
    assert (await sign_in(companies, BOB["email"])).status == 201, "others do not wait"

    await companies.query("update catalog.password_attempts set window_ends_at = clock_timestamp()")
    assert (await sign_in(companies, ANN["email"])).status == 201
    left = await companies.query("select email_key from catalog.password_attempts where email_key <> ''")
    assert left == [], "the right password forgets the slips, and what is over is forgotten"


async def test_too_many_passwords_in_all_have_to_wait(companies: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.catalog.store.password_attempts.ATTEMPTS_IN_ALL", 4)
    await add(companies, ANN)

    answers = await asyncio.gather(*(sign_in(companies, f"u{n}@supplier-a.example") for n in range(6)))
    late = await sign_in(companies, ANN["email"])

    assert sorted(answer.status for answer in answers) == [401, 401, 401, 401, 429, 429]
    assert problem(late) == (429, "too_many_attempts")
    assert 0 < int(late.headers["Retry-After"]) <= 60


async def test_a_session_goes_on_while_its_user_may(companies: Catalog) -> None:
    await add(companies, ANN)
    bob = await add(companies, BOB)
    async with signed_in(companies, BOB) as client:
        assert (await companies.admin.patch(f"/v1/users/{bob}", {"role": "viewer"})).status == 200
        renewed = await client.post("/v1/sessions/refresh")
        assert (renewed.status, renewed.body["user"]["role"]) == (201, "viewer")
        async with Client(companies.url, renewed.body["token"]) as again:
            assert problem(await again.post("/v1/products", SHIRT)) == (403, "missing_scope")
            assert (await companies.admin.patch(f"/v1/users/{bob}", {"disabled": True})).status == 200
            assert problem(await again.post("/v1/sessions/refresh")) == (401, "session_ended")
            assert (await companies.admin.patch(f"/v1/users/{bob}", {"disabled": False})).status == 200
            assert (await again.post("/v1/sessions/refresh")).status == 201
            assert (await companies.admin.patch(f"/v1/users/{bob}", {"password": NEW_PASSWORD})).status == 200
            assert problem(await again.post("/v1/sessions/refresh")) == (401, "session_ended")
            assert (await companies.admin.delete(f"/v1/users/{bob}")).status == 204
            assert problem(await again.post("/v1/sessions/refresh")) == (401, "session_ended")
    assert problem(await companies.admin.post("/v1/sessions/refresh")) == (403, "not_signed_in")


async def test_one_changes_ones_own_password_with_the_old_one(companies: Catalog) -> None:
    ann = await add(companies, ANN | {"role": "viewer"})
    async with signed_in(companies, ANN) as here, signed_in(companies, ANN) as elsewhere:
        wrong = await here.post("/v1/me/password", {"old_password": "wrong", "new_password": NEW_PASSWORD})
        assert problem(wrong) == (403, "wrong_password")
        changed = await here.post("/v1/me/password", {"old_password": PASSWORD, "new_password": NEW_PASSWORD})
        assert changed.status == 201
        assert problem(await elsewhere.post("/v1/sessions/refresh")) == (401, "session_ended")
        async with Client(companies.url, changed.body["token"]) as on:
            assert (await on.post("/v1/sessions/refresh")).status == 201
    assert (await sign_in(companies, ANN["email"])).status == 401
    assert (await companies.admin.patch(f"/v1/users/{ann}", {"role": "owner"})).status == 200
    async with signed_in(companies, ANN, NEW_PASSWORD) as owner:
        without_the_old = await owner.patch(f"/v1/users/{ann}", {"password": PASSWORD})
        assert problem(without_the_old) == (403, "own_password")
        body = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert problem(await companies.admin.post("/v1/me/password", body)) == (403, "not_signed_in")


async def test_guessing_the_old_password_has_to_wait_too(companies: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.catalog.store.password_attempts.ATTEMPTS_PER_EMAIL", 2)
    await add(companies, ANN)
    async with signed_in(companies, ANN) as thief:
        body = {"old_password": "guessed", "new_password": NEW_PASSWORD}
        statuses = [(await thief.post("/v1/me/password", body)).status for _ in range(4)]
    assert statuses == [403, 403, 429, 429]


async def test_a_password_is_hashed_anew_when_the_parameters_change(companies: Catalog) -> None:
    ann = await add(companies, ANN)
    weak = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=2).hash(PASSWORD)
    await companies.query("update catalog.users set password_hash = $1", weak)

    assert (await sign_in(companies, ANN["email"], "wrong password")).status == 401
    assert [row["password_hash"] for row in await stored(companies)] == [weak]
    async with signed_in(companies, ANN) as client:
        (row,) = await stored(companies)
        assert not passwords.is_outdated(row["password_hash"])
        assert (await client.post("/v1/sessions/refresh")).status == 201, "the password is the same"
    assert (await sign_in(companies, ANN["email"])).body["user"]["id"] == ann


async def stored(catalog: Catalog) -> list[Any]:
    return await catalog.query("select user_id, password_hash, password_version from catalog.users")


async def test_only_a_token_that_catalog_signed_for_this_and_that_has_not_expired_counts(companies: Catalog) -> None:
    ann = await add(companies, ANN)
    now = clock.utc_now()
    user = SignedIn(
        user_id=ann, company_id=SUPPLIER_A, company_role="supplier", role="owner", password_version=1, began_at=now
    )
    token, _ = sign_token(user, SecretStr(TOKEN_SECRET), now, 15)
    claims = jwt.decode(token, TOKEN_SECRET, ["HS256"], audience="basestock")

    def forged(key: str = TOKEN_SECRET, algorithm: str = "HS256", **changes: object) -> str:
        return jwt.encode(claims | changes, key, algorithm)

    def without(claim: str) -> str:
        return jwt.encode({name: value for name, value in claims.items() if name != claim}, TOKEN_SECRET)

    expired, _ = sign_token(user, SecretStr(TOKEN_SECRET), now - timedelta(minutes=16), 15)
    cases = {
        "good": (token, 200),
        "expired": (expired, "token_expired"),
        "another secret": (forged("x" * 32), "invalid_token"),
        "no signature": (forged("", "none"), "invalid_token"),
        "another algorithm": (forged(TOKEN_SECRET * 2, "HS512"), "invalid_token"),
        "another audience": (forged(aud="elsewhere"), "invalid_token"),
        "several audiences": (forged(aud=["basestock", "elsewhere"]), "invalid_token"),
        "another issuer": (forged(iss="elsewhere"), "invalid_token"),
        "issued tomorrow": (forged(iat=int((now + timedelta(days=1)).timestamp())), "invalid_token"),
        **{f"no {claim}": (without(claim), "invalid_token") for claim in claims},
        "nonsense": ("nonsense", "invalid_token"),
        "half": (token.rpartition(".")[0] + ".", "invalid_token"),
    }
    seen: dict[str, object] = {}
    for name, (presented, _) in cases.items():
        async with Client(companies.url, presented) as client:
            answer = await client.get("/v1/me")
            seen[name] = answer.status if answer.status == 200 else answer.body["code"]
    assert seen == {name: expected for name, (_, expected) in cases.items()}


async def test_a_session_ends_in_the_evening_whatever_is_renewed(companies: Catalog) -> None:
    ann = await add(companies, ANN)
    now = clock.utc_now()
    user = SignedIn(
        user_id=ann,
        company_id=SUPPLIER_A,
        company_role="supplier",
        role="owner",
        password_version=1,
        began_at=now - timedelta(hours=11, minutes=58),
    )
    token, _ = sign_token(user, SecretStr(TOKEN_SECRET), now, 15)
    async with Client(companies.url, token) as client:
        renewed = await client.post("/v1/sessions/refresh")
    assert renewed.status == 201
    claims = jwt.decode(renewed.body["token"], TOKEN_SECRET, ["HS256"], audience="basestock")
    assert datetime.fromtimestamp(claims["auth_time"], UTC) == user.began_at.replace(microsecond=0)
    old, _ = sign_token(
        SignedIn(ann, SUPPLIER_A, "supplier", "owner", 1, now - timedelta(hours=12, minutes=1)),
        SecretStr(TOKEN_SECRET),
        now,
        15,
    )
    async with Client(companies.url, old) as client:
        assert problem(await client.post("/v1/sessions/refresh")) == (401, "session_ended")


async def test_the_secret_can_be_changed_while_sessions_go_on(companies: Catalog) -> None:
    await add(companies, ANN)
    first = (await sign_in(companies, ANN["email"])).body["token"]
    newer = "n" * 32
    for secret, accepts, signs in (
        (f"{newer},{TOKEN_SECRET}", 200, newer),
        (newer, 401, newer),
    ):
        settings = Settings(dsn=companies.dsn, admin_key=SecretStr(ADMIN_KEY), token_secret=secret)
        bus = InProcessBus(publish_timeout_seconds=0.1)
        async with serving([SERVICE], settings, bus) as url:
            async with Client(url, first) as client:
                assert (await client.get("/v1/me")).status == accepts
            async with Client(url) as nobody:
                body = {"email": ANN["email"], "password": PASSWORD}
                token = (await nobody.post("/v1/sessions", body)).body["token"]
            jwt.decode(token, signs, ["HS256"], audience="basestock")
        await bus.close()


async def test_without_a_secret_it_says_which_setting_to_set(companies: Catalog) -> None:
    await add(companies, ANN)
    token = (await sign_in(companies, ANN["email"])).body["token"]
    settings = Settings(dsn=companies.dsn, admin_key=SecretStr(ADMIN_KEY))
    bus = InProcessBus(publish_timeout_seconds=0.1)
    async with serving([SERVICE], settings, bus) as url, Client(url) as nobody, Client(url, token) as ann:
        refused = await nobody.post("/v1/sessions", {"email": ANN["email"], "password": PASSWORD})
        assert problem(refused) == (503, "no_token_secret")
        not_accepted = await ann.get("/v1/me")
        assert problem(not_accepted) == (401, "tokens_not_accepted")
        assert all("BASESTOCK_TOKEN_SECRET" in answer.body["detail"] for answer in (refused, not_accepted))
        async with Client(url, ADMIN_KEY) as admin:
            assert (await admin.get("/v1/companies")).status == 200
    await bus.close()
