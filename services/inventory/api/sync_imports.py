"""Imports of what a system outside has on hand, as NewStore has them: made, started, looked at."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from services.inventory.api.requests import ID_LIMIT, Calling, Cursor, Here, SupplierId
from services.inventory.fetching import check_items_url
from services.inventory.store import sync_imports as store
from services.inventory.sync_files import ROWS_LIMIT, SyncItem
from services.inventory.tables.sync_imports import SyncState, SyncStatus
from shared import clock
from shared.database import Session
from shared.errors import FieldError, ProblemError
from shared.idempotency import OnceRoute
from shared.logs import current_traceparent
from shared.network_guard import ForbiddenAddressError, UrlError
from shared.settings import Settings

router = APIRouter(prefix="/import", route_class=OnceRoute)

PAGE_ROWS = 1_000
RETRY_SECONDS = 60

LogicalTimestamp = Annotated[int, Field(gt=0, lt=ID_LIMIT, strict=True)]


class LogicalTimestamps(BaseModel):
    """The supplier's fulfillment events that the import accounts for, both ends included."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    first: LogicalTimestamp = Field(alias="from")
    last: LogicalTimestamp = Field(alias="to")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.last < self.first:
            message = "`to` comes before `from`"
            raise ValueError(message)
        return self


class NewImport(BaseModel):
    """What is on hand, in `items` or in the file at `items_url`, and what it accounts for."""

    model_config = ConfigDict(extra="forbid")

    entity: Literal["stock"]
    partial: Annotated[bool, Field(strict=True, description="Full imports are refused for stock")]
    items: Annotated[list[SyncItem] | None, Field(min_length=1, max_length=ROWS_LIMIT)] = None
    items_url: Annotated[str | None, Field(description="https: JSON, NDJSON, or one of them in a zip file")] = None
    logical_timestamps: LogicalTimestamps | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.items is None) == (self.items_url is None):
            message = "state exactly one of items and items_url"
            raise ValueError(message)
        return self


class ImportState(BaseModel):
    """An import, and how far it is."""

    import_id: UUID
    state: SyncState


class SyncResult(BaseModel):
    """What came of a row: `allocations_removed` units of completed items are allocated no more; `detail`: why not."""

    row: int
    location: str | None
    product: str | None
    on_hand: int | None
    status: SyncStatus
    product_id: int | None
    available: int | None
    allocations_removed: int | None
    detail: str | None


class Overlap(BaseModel):
    """An import carried out before whose range overlaps: what it let go of is not let go of again."""

    import_id: UUID
    logical_timestamps: LogicalTimestamps


class SyncImport(BaseModel):
    """An import and its results; `reason` says why it failed, or what it waits for."""

    import_id: UUID
    state: SyncState
    logical_timestamps: LogicalTimestamps | None
    items_url: str | None
    reason: str | None
    created_at: datetime
    started_at: datetime | None
    deadline_at: datetime | None
    finished_at: datetime | None
    rows: int
    updated: int
    refused: int
    overlaps: list[Overlap]
    results: list[SyncResult]
    next_cursor: int | None


@router.post("", status_code=201)
async def create_import(
    body: NewImport, response: Response, caller: Calling, context: Here, supplier_id: SupplierId = None
) -> ImportState:
    """Make an import of on hand; start it next. A company may have 20 that are open."""
    caller.require("supplier")
    _check(body, context.settings)
    import_id, named = clock.uuid7(), body.logical_timestamps
    rows = None if body.items is None else [item.stated(number) for number, item in enumerate(body.items, 1)]
    async with context.database.transaction() as session:
        added = await store.add(
            session,
            caller.company(supplier_id),
            rows,
            import_id=import_id,
            first_timestamp=named and named.first,
            last_timestamp=named and named.last,
            items_url=body.items_url,
            actor=caller.actor,
            traceparent=current_traceparent(),
        )
    if not added:
        detail = f"You have {store.OPEN_LIMIT} imports that are not finished. Start them, or wait until one is."
        raise ProblemError(429, "too_many_imports", detail, headers={"Retry-After": str(RETRY_SECONDS)})
    response.headers["Location"] = f"/import/{import_id}"
    return ImportState(import_id=import_id, state="received")


@router.post("/{sync_import_id}/start")
async def start_import(sync_import_id: UUID, caller: Calling, context: Here) -> ImportState:
    """Start an import; one that is started already goes on as it does."""
    caller.require("supplier")
    async with context.database.transaction() as session:
        await store.start(session, sync_import_id, caller.company_id, context.settings.sync_import_wait_seconds)
        row = await _find(session, sync_import_id, caller.company_id)
    return ImportState(import_id=sync_import_id, state=row["state"])


@router.get("/{sync_import_id}")
async def show_import(
    sync_import_id: UUID,
    caller: Calling,
    context: Here,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_ROWS)] = PAGE_ROWS,
) -> SyncImport:
    """How far an import is, and what came of its rows, page by page."""
    caller.require("supplier")
    async with context.database.transaction() as session:
        row = await _find(session, sync_import_id, caller.company_id)
        results = await store.list_rows(session, sync_import_id, cursor or 0, limit + 1)
        overlaps = await store.find_overlaps(session, sync_import_id)
    return SyncImport.model_validate(
        row
        | {
            "logical_timestamps": _named(row["first_timestamp"], row["last_timestamp"]),
            "overlaps": [
                {"import_id": one, "logical_timestamps": _named(first, last)} for one, first, last in overlaps
            ],
            "results": results[:limit],
            "next_cursor": results[limit - 1]["row"] if len(results) > limit else None,
        }
    )


def _check(body: NewImport, settings: Settings) -> None:
    if not body.partial:
        detail = "Stock takes partial imports only: a full one would remove what it does not name."
        error = FieldError(field="partial", detail=detail)
        raise ProblemError(422, "full_import_refused", detail, errors=[error])
    if body.items_url is not None:
        try:
            check_items_url(body.items_url, settings.webhook_allow_networks)
        except (UrlError, ForbiddenAddressError) as error:
            code = "invalid_url" if isinstance(error, UrlError) else "forbidden_address"
            field = FieldError(field="items_url", detail=str(error))
            raise ProblemError(422, code, str(error), errors=[field]) from error


async def _find(session: Session, import_id: UUID, supplier_id: int | None) -> dict[str, Any]:
    row = await store.show(session, import_id, supplier_id)
    if row is None:
        raise ProblemError(404, "import_not_found", f"You have no import {import_id}.")
    return row


def _named(first: int | None, last: int | None) -> dict[str, int] | None:
    return None if first is None or last is None else {"from": first, "to": last}
