"""Companies; each is given as the event that tells its full state."""

from collections.abc import Collection
from functools import partial

from sqlalchemy import text

from services.catalog.store.audit import Change, State
from services.catalog.store.ids import take_id
from services.catalog.store.states import change_state, read_states
from shared.database import Session
from shared.events.catalog import CompanyChanged, CompanyRole

ADD_COMPANY = text("""
    insert into companies (company_id, ref, display_name, role, oversell_policy, version)
    values (:company_id, :ref, :display_name, :role, :oversell_policy, 1)
    on conflict do nothing returning *
""")
FIND_COMPANY = text("select * from companies where company_id = :company_id")
LOCK_COMPANY = text("select * from companies where company_id = :company_id for no key update")
LIST_COMPANIES = text("""
    select * from companies where company_id > :after and (cast(:ref as text) is null or ref = :ref)
        and (cast(:q as text) is null
            or strpos(lower(ref), lower(:q)) > 0 or strpos(lower(display_name), lower(:q)) > 0)
    order by company_id limit :limit
""")
# What is null stays; a change that changes nothing changes no version.
CHANGE_COMPANY = text("""
    update companies set display_name = coalesce(:display_name, display_name),
        oversell_policy = coalesce(:oversell_policy, oversell_policy), changed_at = clock_timestamp(),
        version = version + 1
    where company_id = :company_id and (
        display_name <> coalesce(:display_name, display_name)
        or oversell_policy <> coalesce(:oversell_policy, oversell_policy))
    returning *
""")
FIND_NAMES = text(
    "select company_id, display_name from companies where company_id = any(cast(:company_ids as bigint[]))"
)
FIND_ROLES = text("select company_id, role from companies where company_id = any(cast(:company_ids as bigint[]))")


async def add_company(  # noqa: PLR0913 - each is a column
    session: Session,
    actor: str,
    given_id: int | None,
    *,
    ref: str,
    display_name: str,
    role: CompanyRole,
    oversell_policy: str,
) -> CompanyChanged | None:
    """Add a company and publish it; `None` when its id or its ref is taken."""
    company_id = await take_id(session, "company_ids", given_id)
    values = {
        "company_id": company_id,
        "ref": ref,
        "display_name": display_name,
        "role": role,
        "oversell_policy": oversell_policy,
    }
    return await change_state(session, actor, CompanyChanged, ADD_COMPANY, values, partial(_changes, None))


async def change_company(
    session: Session, actor: str, company_id: int, *, display_name: str | None, oversell_policy: str | None
) -> CompanyChanged | None:
    """Change what is given of a company, and publish it if that is news; `None` when there is no such company."""
    before = next(iter(await read_states(session, CompanyChanged, LOCK_COMPANY, {"company_id": company_id})), None)
    values = {"company_id": company_id, "display_name": display_name, "oversell_policy": oversell_policy}
    changed = await change_state(session, actor, CompanyChanged, CHANGE_COMPANY, values, partial(_changes, before))
    return changed or before


def _changes(before: CompanyChanged | None, after: CompanyChanged) -> list[Change]:
    action = "company_created" if before is None else "company_changed"
    was = None if before is None else _said(before)
    return [Change(after.company_id, action, f"company {after.company_id}", was, _said(after))]


def _said(company: CompanyChanged) -> State:
    return {
        "ref": company.ref,
        "name": company.display_name,
        "role": company.role,
        "oversell_policy": company.oversell_policy,
    }


async def find_company(session: Session, company_id: int) -> CompanyChanged | None:
    """A company, if it exists."""
    return next(iter(await read_states(session, CompanyChanged, FIND_COMPANY, {"company_id": company_id})), None)


async def lock_company(session: Session, company_id: int) -> bool:
    """Whether a company exists; nobody else counts and adds its users and keys before this transaction ends."""
    return (await session.execute(LOCK_COMPANY, {"company_id": company_id})).one_or_none() is not None


async def list_companies(
    session: Session, after: int, limit: int, *, ref: str | None = None, q: str | None = None
) -> list[CompanyChanged]:
    """Companies with ids above `after`, in the order of their ids; with `ref` the one that has it.

    With `q` those whose ref or name contains it, whatever the case.
    """
    values = {"after": after, "limit": limit, "ref": ref, "q": q}
    return await read_states(session, CompanyChanged, LIST_COMPANIES, values)


async def find_names(session: Session, company_ids: Collection[int]) -> dict[int, str]:
    """`{company id: name}` of those that exist."""
    rows = await session.execute(FIND_NAMES, {"company_ids": sorted(company_ids)})
    return {row.company_id: row.display_name for row in rows}


async def find_roles(session: Session, company_ids: Collection[int]) -> dict[int, CompanyRole]:
    """`{company id: role}` of those that exist."""
    rows = await session.execute(FIND_ROLES, {"company_ids": sorted(company_ids)})
    return {row.company_id: row.role for row in rows}
