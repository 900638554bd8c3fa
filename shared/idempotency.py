"""`Idempotency-Key`: a write that is sent again under its key has its effect once, and is answered the same again.

(draft-ietf-httpapi-idempotency-key-header-07.) The key is entered first in the transaction of the effect, and the
answer last: neither is ever there without the other. So a request that finds its key taken waits for the other's
commit, then gives the stored answer, or does the work itself where the other was rolled back, as refusals are.

Every route of a router with `route_class=OnceRoute` takes a key, without further ado: `caller_of` begins the
transaction (keys belong to a caller), and all transactions that the route opens are parts of it.

An upload has `OnceUploadRoute` instead: it may take long, and its body is never held whole. So its key is entered by
`Upload` in the transaction that finishes it, with the digest of what came in.
"""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from http import HTTPStatus
from typing import Any, ClassVar, NamedTuple

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)

from shared.database import Database, Session
from shared.errors import FieldError, ProblemError

HEADER, REPLAYED = "Idempotency-Key", "Idempotent-Replayed"
KEY_CHARACTERS = 255
KEY = re.compile(rf"[!-~]{{1,{KEY_CHARACTERS}}}")
KEEP_HOURS = 24
WRITES = {"POST", "PUT", "PATCH", "DELETE"}
# Keys of the platform admin, who is of no company, stand under this one.
NO_COMPANY = 0
# What a stored answer has besides its status and body.
KEPT_HEADERS = ("content-type", "location", "etag")

PARAMETER = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": KEY_CHARACTERS, "pattern": "^[!-~]+$"},
    "description": (
        f"Names this write: sent again under the same key within {KEEP_HOURS} hours, it has no second effect and the "
        f"stored answer comes again, with `{REPLAYED}: true`."
    ),
}

CLAIM = text("""
    insert into idempotency_keys (company_id, actor, key, request_sha256)
    values (:company_id, :actor, :key, :request_sha256)
    on conflict (company_id, actor, key) do update
        set request_sha256 = excluded.request_sha256, created_at = clock_timestamp()
        where idempotency_keys.created_at < clock_timestamp() - make_interval(hours => :keep_hours)
    returning true
""")
FIND = text("""
    select request_sha256, status, content_type, location, etag, body, secret from idempotency_keys
    where company_id = :company_id and actor = :actor and key = :key
""")
KEEP = text("""
    update idempotency_keys set status = :status, content_type = :content_type, location = :location, etag = :etag,
        body = :body, secret = :secret
    where company_id = :company_id and actor = :actor and key = :key
""")
PURGE = text("""
    delete from idempotency_keys where (company_id, actor, key) in (
        select company_id, actor, key from idempotency_keys
        where created_at < clock_timestamp() - make_interval(hours => :keep_hours) limit 1000
        for update skip locked)
""")


def add_idempotency_table(metadata: MetaData) -> None:
    """Add `idempotency_keys` to a service's tables."""
    Table(
        "idempotency_keys",
        metadata,
        # Whose key it is: the caller as records name it, of that company.
        Column("company_id", BigInteger, primary_key=True, autoincrement=False),
        Column("actor", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        # Of method, path with query, and body.
        Column("request_sha256", LargeBinary, nullable=False),
        # The answer: null only within the transaction that is about to write it.
        Column("status", SmallInteger),
        Column("content_type", Text),
        Column("location", Text),
        Column("etag", Text),
        # Of an answer that showed a secret only the id of what was made.
        Column("body", LargeBinary),
        Column("secret", Boolean, nullable=False, server_default=text("false")),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
        Index("ix_idempotency_keys_created_at", "created_at"),
    )


class ShowsSecret(BaseModel):
    """An answer with a secret that is shown this once: it is not stored, of it only the `id` is.

    `SHOWN_BEFORE` is what to do for who asks again; `{id}` in it is that id.
    """

    SHOWN_BEFORE: ClassVar[str] = (
        "it made the one with id {id}. Its answer showed a secret, which is not kept and cannot be shown again. If you "
        "do not have it, remove that one and make another"
    )


class Owner(NamedTuple):
    """Whose key it is, and which."""

    company_id: int
    actor: str
    key: str


class ReplayError(Exception):
    """The request was carried out before: `response` is its answer."""

    def __init__(self, response: Response) -> None:
        """Keep the answer."""
        super().__init__("this request was carried out before")
        self.response = response


class Once:
    """A write under a key, from when its caller is known until its answer is stored.

    Until `begin`, and after `commit_with`, transactions of the route are ordinary ones; those of an upload always are.
    """

    def __init__(self, key: str, stack: AsyncExitStack, *, secret: type[ShowsSecret] | None, is_upload: bool) -> None:
        """Work under `key`; `stack` ends the transaction. `secret` is the answer, if it shows one."""
        self._key, self._stack, self._secret, self._is_upload = key, stack, secret, is_upload
        self._session: Session | None = None
        self._owner = Owner(NO_COMPANY, "", key)

    def within(self, database: Database) -> Database:
        """The database with all transactions made parts of the one with the key."""
        return database.within(lambda: self._session)

    async def begin(self, request: Request, database: Database, company_id: int | None, actor: str) -> None:
        """Enter the key of this caller, after whoever is at work under it; that of an upload waits for its end.

        Raises `ReplayError` when the request was carried out before, and a 422 problem when another one was.
        """
        self._owner = Owner(NO_COMPANY if company_id is None else company_id, actor, self._key)
        if self._is_upload:
            return
        session = await self._stack.enter_async_context(database.transaction())
        await _claim(session, self._owner, _digest_of(request, await request.body()).digest(), self._secret)
        self._session = session

    async def commit_with(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Store the answer and commit; nothing happens when that was done before, or `begin` was not."""
        if self._session is None:
            return
        await self.keep(self._session, status, headers, body)
        await self._stack.aclose()
        self._session = None

    async def enter(self, session: Session, request_sha256: bytes) -> None:
        """Enter the key of an upload that has come in whole. Raises what `begin` does."""
        await _claim(session, self._owner, request_sha256)

    async def keep(self, session: Session, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Store the answer, in the transaction in which the key was entered."""
        if self._secret is not None:
            body = str(json.loads(body)["id"]).encode()
        kept = {name.replace("-", "_"): headers.get(name) for name in KEPT_HEADERS}
        answer = {"status": status, "body": body, "secret": self._secret is not None, **kept}
        await session.execute(KEEP, self._owner._asdict() | answer)


class OnceRoute(APIRoute):
    """A route that takes an `Idempotency-Key` when it writes; a router has it as its `route_class`."""

    is_upload = False

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:  # noqa: ANN401 - APIRoute's
        """As `APIRoute`, with the header in the document."""
        if WRITES & set(options.get("methods") or ()):
            extra = dict(options.get("openapi_extra") or {})
            others = [one for one in extra.get("parameters", []) if one["name"] != HEADER]
            options["openapi_extra"] = extra | {"parameters": [*others, PARAMETER]}
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Answer a request; one that has a key, once."""
        answer = super().get_route_handler()
        model = self.response_model
        secret = model if isinstance(model, type) and issubclass(model, ShowsSecret) else None

        async def answer_once(request: Request) -> Response:
            given = request.headers.getlist(HEADER)
            if not given or request.method not in WRITES:
                return await answer(request)
            async with AsyncExitStack() as stack:
                request.state.once = once = Once(_checked(given), stack, secret=secret, is_upload=self.is_upload)
                try:
                    response = await answer(request)
                    await once.commit_with(response.status_code, response.headers, bytes(response.body))
                except ReplayError as replay:
                    return replay.response
                return response

        return answer_once


class OnceUploadRoute(OnceRoute):
    """A route that takes a file, and enters its key, if it has one, by `Upload`."""

    is_upload = True


class Upload:
    """A body that comes in piece by piece, and the key of its request, if it has one."""

    def __init__(self, request: Request) -> None:
        """Nothing is read yet."""
        self._request, self._digest = request, _digest_of(request)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body."""
        async for piece in self._request.stream():
            self._digest.update(piece)
            yield piece

    async def enter(self, session: Session) -> None:
        """Enter the key in the transaction that finishes the upload, before anything else of it is written.

        Raises `ReplayError` when the same was uploaded before, and a 422 problem when something else was.
        """
        once = once_of(self._request)
        if once is not None:
            await once.enter(session, self._digest.digest())

    async def keep(self, session: Session, response: Response, answer: BaseModel) -> None:
        """Store the answer in that transaction; `response` has the headers, its status is 202."""
        once = once_of(self._request)
        if once is not None:
            headers = {"content-type": "application/json", **response.headers}
            await once.keep(session, HTTPStatus.ACCEPTED, headers, answer.model_dump_json().encode())


def once_of(request: Request) -> Once | None:
    """The request's `Once`, if it has a key."""
    found: Once | None = getattr(request.state, "once", None)
    return found


async def commit_with_answer(request: Request, response: Response, answer: BaseModel) -> None:
    """Commit now what a request with a key did, with `answer` as the one to be stored; without a key nothing happens.

    For a route that goes on after its effect, e.g. to wait for what others make of it. `response` has the status and
    the headers.
    """
    once = once_of(request)
    if once is not None:
        headers = {"content-type": "application/json", **response.headers}
        # A route that says nothing else answers 200; until it has ended that stands nowhere.
        await once.commit_with(response.status_code or HTTPStatus.OK, headers, answer.model_dump_json().encode())


async def purge(session: Session) -> int:
    """Delete up to 1,000 keys that have expired; returns how many it were."""
    result = await session.execute(PURGE, {"keep_hours": KEEP_HOURS})
    return int(result.rowcount)  # type: ignore[attr-defined] # a delete's result has it


def _checked(given: list[str]) -> str:
    if len(given) == 1 and KEY.fullmatch(given[0]):
        return given[0]
    detail = f"Send one {HEADER} of 1 to {KEY_CHARACTERS} visible ASCII characters without spaces, e.g. a UUID."
    raise ProblemError(422, "invalid_idempotency_key", detail, errors=[FieldError(field=HEADER, detail=detail)])


def _digest_of(request: Request, body: bytes = b"") -> "hashlib._Hash":
    """What was asked, with as much of the body as there is."""
    asked = f"{request.method} {request.url.path}?{request.url.query}\n"
    return hashlib.sha256(asked.encode("utf-8", "surrogateescape") + body)


async def _claim(
    session: Session, owner: Owner, request_sha256: bytes, secret: type[ShowsSecret] | None = None
) -> None:
    """Enter a key, once nobody else is at work under it; raises what `Once.begin` does."""
    entered = owner._asdict() | {"request_sha256": request_sha256, "keep_hours": KEEP_HOURS}
    while (await session.execute(CLAIM, entered)).one_or_none() is None:
        found = (await session.execute(FIND, owner._asdict())).one_or_none()
        if found is None:  # it has expired, and was purged just now
            continue
        if found.request_sha256 != request_sha256:
            detail = (
                f"This {HEADER} was used for another request (method, path, query or body differ) in the last "
                f"{KEEP_HOURS} hours. Nothing was done. Use a new key for each write, and the same only to send the "
                "very same again."
            )
            raise ProblemError(422, "idempotency_key_reused", detail, errors=[FieldError(field=HEADER, detail=detail)])
        if found.secret:
            raise _shown_before(secret or ShowsSecret, found.body.decode())
        kept = {"content-type": found.content_type, "location": found.location, "etag": found.etag}
        headers = {name: value for name, value in kept.items() if value is not None}
        raise ReplayError(Response(found.body, found.status, headers={**headers, REPLAYED: "true"}))


def _shown_before(secret: type[ShowsSecret], made_id: str) -> ProblemError:
    done = secret.SHOWN_BEFORE.format(id=made_id)
    detail = f"The first request with this {HEADER} was carried out: {done} under a new {HEADER}."
    return ProblemError(409, "secret_shown_once", detail, headers={REPLAYED: "true"})
