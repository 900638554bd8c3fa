"""The audit trail: who changed what, written in the transaction of the change, so that neither is without the other."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text

from shared.database import Session

State = Mapping[str, Any]

RECORD = text("""
    insert into audit_entries (actor, source, company_id, action, subject, changes)
    select :actor, :source, e.company_id, e.action, e.subject, e.changes
    from jsonb_to_recordset(cast(:entries as jsonb)) as e (company_id bigint, action text, subject text, changes jsonb)
""")
SELECT = """
    select entry_id, recorded_at, actor, source, company_id, action, subject, changes from audit_entries
    where entry_id < :before {filters} order by entry_id desc limit :limit
"""
# Only the filters that are given stand in the statement, so that each of them finds its index.
FILTERS = ("company_id", "subject", "actor")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that somebody changed: `action` in the past (`product_created`), `subject` like `product 102`.

    `company_id` is whose thing it is; `before` and `after` are its fields, `None` where it was or is not there.
    """

    company_id: int | None
    action: str
    subject: str
    before: State | None = None
    after: State | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the trail; `changes` is `{field: [before, after]}` of the fields that differ.

    `source` is what the actor's change came with, like `import 12`; `None` for a request by itself.
    """

    entry_id: int
    recorded_at: datetime
    actor: str
    source: str | None
    company_id: int | None
    action: str
    subject: str
    changes: dict[str, list[Any]]


def differences(before: State | None, after: State | None) -> dict[str, list[Any]]:
    """`{field: [before, after]}` of the fields that differ; what is missing on one side is null there."""
    was, now = before or {}, after or {}
    fields = sorted(was.keys() | now.keys())
    return {field: [was.get(field), now.get(field)] for field in fields if was.get(field) != now.get(field)}


async def record(session: Session, actor: str, *changes: Change, source: str | None = None) -> None:
    """Write that `actor` made these changes, which came with `source`; one that changed nothing leaves no line."""
    entries: Sequence[dict[str, Any]] = [
        {
            "company_id": change.company_id,
            "action": change.action,
            "subject": change.subject,
            "changes": differences(change.before, change.after),
        }
        for change in changes
    ]
    entries = [entry for entry in entries if entry["changes"]]
    if entries:
        await session.execute(RECORD, {"actor": actor, "source": source, "entries": json.dumps(entries)})


async def list_entries(
    session: Session,
    company_id: int | None,
    *,
    subject: str | None = None,
    actor: str | None = None,
    before: int,
    limit: int,
) -> list[Entry]:
    """The newest lines with ids below `before`: of one company (of all, for `None`), of one subject or actor."""
    wanted = dict(zip(FILTERS, (company_id, subject, actor), strict=True))
    given = {name: value for name, value in wanted.items() if value is not None}
    statement = text(SELECT.format(filters=" ".join(f"and {name} = :{name}" for name in given)))
    rows = await session.execute(statement, {**given, "before": before, "limit": limit})
    return [Entry(**row) for row in rows.mappings()]
