"""The audit trail: who changed what, newest first."""

from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from services.catalog.api.managing import managed_company
from services.catalog.api.requests import Calling, Cursor, Here, Limit, after, next_cursor
from services.catalog.fields import Id, Text
from services.catalog.store import audit as store

router = APIRouter(prefix="/v1")

FIRST_PAGE = 2**63 - 1


class AuditEntry(BaseModel):
    """One change: `actor` is a key, a user, the platform admin or the system; `subject` what was changed."""

    id: int
    recorded_at: datetime
    actor: str = Field(description="E.g. `key 17`, `user 5`, `platform admin`, `system`.")
    source: str | None = Field(description="The import that made the change, e.g. `import 12`.")
    company_id: int | None
    action: str = Field(description="E.g. `product_changed`.")
    subject: str = Field(description="E.g. `product 102`.")
    changes: dict[str, list[Any]] = Field(description="`{field: [before, after]}` of what differs.")

    @classmethod
    def of(cls, entry: store.Entry) -> Self:
        """As it is shown."""
        return cls(
            id=entry.entry_id,
            recorded_at=entry.recorded_at,
            actor=entry.actor,
            source=entry.source,
            company_id=entry.company_id,
            action=entry.action,
            subject=entry.subject,
            changes=entry.changes,
        )


class AuditEntries(BaseModel):
    """A page of the trail."""

    items: list[AuditEntry]
    next_cursor: str | None


@router.get("/audit")
async def list_audit_entries(  # noqa: PLR0913 - each is one filter
    *,
    caller: Calling,
    context: Here,
    company_id: Annotated[Id | None, Query(description="For the platform admin; a company sees its own.")] = None,
    subject: Annotated[Text | None, Query(description="What was changed, e.g. `product 102`.")] = None,
    actor: Annotated[Text | None, Query(description="Who changed it, e.g. `key 17`.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> AuditEntries:
    """Who changed what in the caller's company (scope `admin`), newest first; the platform admin sees all."""
    async with context.database.transaction() as session:
        whose = company_id if caller.is_admin else await managed_company(session, caller, company_id)
        found = await store.list_entries(
            session, whose, subject=subject, actor=actor, before=after(cursor) or FIRST_PAGE, limit=limit + 1
        )
    return AuditEntries(
        items=[AuditEntry.of(entry) for entry in found[:limit]],
        next_cursor=next_cursor((entry.entry_id for entry in found), limit),
    )
