"""A batch of an import's products: read, find what they mean, decide, save."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from services.catalog import domain
from services.catalog.domain import Product, Violation
from services.catalog.product_files import csv_format
from services.catalog.product_files.proposals import Proposal, proposal_of
from services.catalog.product_files.rows import ERRORS_LIMIT, WHOLE_ROW, Format, ProductRow, errors_of
from services.catalog.store import product_changes as changes
from services.catalog.store.directory import find_by_name, find_directory
from services.catalog.store.imports import FileProduct, Job, RowResult, Status
from shared.database import Session
from shared.errors import FieldError

ELSEWHERE = FieldError(field=WHOLE_ROW, detail="another row of this product is refused, and so is the whole product")


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of one product of the file."""

    status: Status
    product_id: int | None = None
    violations: Sequence[Violation] = ()


async def save_batch(session: Session, job: Job, batch: Sequence[FileProduct]) -> list[list[RowResult]]:
    """Save what may be saved of these products, none of which is based on another; what came of each one's rows.

    Raises `ChangedMeanwhileError` or `SkuTakenError` when somebody else was faster: the same batch may be tried again.
    """
    read = [_read(item, job) for item in batch]
    rows = [row for row in read if isinstance(row, ProductRow)]
    before = await find_by_name(session, job.owner_id, [(row.type, row.sku) for row in rows])
    links = [link for row in rows for link in _links(row)]
    directory = await find_directory(
        session,
        job.owner_id,
        job.import_id,
        {component.sku for link in links for component in link or () if component.sku},
        {row.base_sku for row in rows if row.base_sku},
    )
    proposals = [proposal_of(row, job.owner_id, before.get((row.type, row.sku)), directory) for row in rows]
    outcomes = iter(await _save(session, job, proposals))
    return [
        _results(job, item, next(outcomes)) if isinstance(row, ProductRow) else row
        for item, row in zip(batch, read, strict=True)
    ]


def _links(row: ProductRow) -> list[Any]:
    return [row.link(), *(variant.link() for variant in row.variants or ())]


def _read(item: FileProduct, job: Job) -> ProductRow | list[RowResult]:
    """The product that the rows describe, or why they are refused."""
    bodies = [body for body in item.bodies if body is not None]
    if len(bodies) < len(item.bodies) or any(item.errors):
        return refused(item, dict(enumerate(item.errors)))
    try:
        if len(bodies) == 1:
            row = ProductRow.model_validate_json(bodies[0])
        elif job.format == "ndjson":
            again = FieldError(field="sku", detail=f"the file has several {item.type} products with this SKU")
            return refused(item, {place: [again] for place in range(len(bodies))})
        else:
            product, errors = csv_format.merged(bodies)
            if errors:
                return refused(item, errors)
            row = ProductRow.model_validate_json(to_json(product))
    except ValidationError as error:  # what is right row by row may be too much together
        return refused_by(item, job.format, [(field.field, field.detail) for field in errors_of(error)])
    if row.id is not None and not job.ids_allowed:
        return refused_by(item, job.format, [("id", "only the platform admin chooses ids: leave it out")])
    return row


async def _save(session: Session, job: Job, proposals: Sequence[Proposal]) -> list[_Outcome]:
    """What came of each; products that get another base are decided one after the other, behind all others.

    Nothing that exists is based on a new product, so only these could close a circle, or be too deep, together.
    """
    outcomes: dict[int, _Outcome] = {}
    together: list[int] = []
    alone: list[int] = []
    for index, proposal in enumerate(proposals):
        if proposal.violations:
            outcomes[index] = _Outcome("refused", violations=proposal.violations)
        elif proposal.product == proposal.before:
            outcomes[index] = _Outcome("unchanged", proposal.before.product_id)
        elif proposal.before and proposal.before.base_product_id != proposal.product.base_product_id:
            alone.append(index)
        else:
            together.append(index)
    for group in (together, *([index] for index in alone)):
        if group:
            saved = await _decide_and_save(session, job, [proposals[index] for index in group])
            outcomes.update(zip(group, saved, strict=True))
    return [outcomes[index] for index in range(len(proposals))]


async def _decide_and_save(session: Session, job: Job, proposals: Sequence[Proposal]) -> list[_Outcome]:
    facts = await changes.lock_with_facts(session, [proposal.product for proposal in proposals])
    outcomes: list[_Outcome | None] = []
    chosen: set[int] = set()
    for proposal, of_it in zip(proposals, facts, strict=True):
        violations = domain.violations(proposal.product, of_it, proposal.before)
        if proposal.before is None and proposal.product.product_id in chosen:
            violations.append(_id_taken(proposal.product))
        outcomes.append(_Outcome("refused", violations=violations) if violations else None)
        if not violations and proposal.product.product_id:
            chosen.add(proposal.product.product_id)
    accepted = [index for index, outcome in enumerate(outcomes) if outcome is None]
    new = {index: proposals[index].product for index in accepted if proposals[index].before is None}
    old = {index: (before, proposals[index].product) for index in accepted if (before := proposals[index].before)}
    added: list[Product | None] = []
    if new:
        products = list(new.values())
        added = await changes.add_products(session, job.actor, products, source=job.source, is_dry_run=job.dry_run)
    for index, product in zip(new, added, strict=True):
        taken = _Outcome("refused", violations=[_id_taken(proposals[index].product)])
        outcomes[index] = _Outcome("created", product.product_id) if product else taken
    changed = await changes.change_products(session, job.actor, list(old.values()), source=job.source) if old else []
    for index, product in zip(old, changed, strict=True):
        outcomes[index] = _Outcome("changed", product.product_id)
    return [outcome for outcome in outcomes if outcome is not None]


def _id_taken(product: Product) -> Violation:
    return Violation("id", f"the id {product.product_id} is taken: leave it out, or choose another")


def _results(job: Job, item: FileProduct, outcome: _Outcome) -> list[RowResult]:
    if outcome.status == "refused":
        return refused_by(item, job.format, [(violation.field, violation.sentence) for violation in outcome.violations])
    # What a dry run would create has no id.
    product_id = None if job.dry_run and outcome.status == "created" else outcome.product_id
    return [RowResult(number, outcome.status, product_id) for number in item.row_numbers]


def refused_by(item: FileProduct, format_: Format, errors: Sequence[tuple[str, str]]) -> list[RowResult]:
    """The rows refused, each error at the row (and in CSV the column) that it is about."""
    shown = errors[:ERRORS_LIMIT]
    found: dict[int, list[FieldError]] = {}
    if format_ == "csv":
        places = csv_format.Places([body or "{}" for body in item.bodies])
        for field, detail in shown:
            error = FieldError(field=csv_format.column_of(field), detail=detail)
            found.setdefault(places.of(field), []).append(error)
    else:
        found[0] = [FieldError(field=field, detail=detail) for field, detail in shown]
    if len(errors) > len(shown):
        more = FieldError(field=WHOLE_ROW, detail=f"{len(errors) - len(shown)} more errors of this product")
        found.setdefault(0, []).append(more)
    return refused(item, found)


def refused(item: FileProduct, errors: dict[int, list[FieldError]]) -> list[RowResult]:
    """All rows of a product refused; `errors` by the row's place among them."""
    return [
        RowResult(number, "refused", None, errors.get(place) or [ELSEWHERE])
        for place, number in enumerate(item.row_numbers)
    ]
