"""Products, variants and what they link to."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter

from services.catalog import domain
from services.catalog.api.product_bodies import (
    Attribute,
    Duplicate,
    DuplicateBody,
    Product,
    ProductBody,
    ProductChange,
    StockComponent,
    StockLink,
    StockLinks,
)
from services.catalog.api.requests import (
    Calling,
    Here,
    IdInPath,
    field_errors_of,
    refuse,
)
from services.catalog.store import product_changes as changes
from services.catalog.store import products as store
from services.catalog.store.connections import find_cut_off
from shared.database import Session
from shared.errors import FieldError, ProblemError
from shared.idempotency import OnceRoute
from shared.service_context import Context

router = APIRouter(prefix="/v1", route_class=OnceRoute)

# Each attempt lost to somebody else's change, so somebody always gets ahead.
ATTEMPTS = 5


@router.post("/products", status_code=201)
async def create_product(body: ProductBody, caller: Calling, context: Here) -> Product:
    """Add a product to the caller's company; the platform admin names the owner, and may choose the id."""
    if body.id is not None:
        caller.require()
    proposed = body.product(caller.company(body.owner_id))
    return Product.of(await _in_transaction(context, lambda session: _add(session, caller.actor, proposed)))


@router.post("/products/{product_id}/duplicate", status_code=201)
async def duplicate_product(product_id: IdInPath, body: DuplicateBody, caller: Calling, context: Here) -> Duplicate:
    """Add a product like one of the caller's, with the same links, under another SKU; without barcode, and private.

    A duplicate of stock is stock of its own: the answer warns where that may not be what was meant.
    """
    if body.id is not None:
        caller.require()
    originals: list[domain.Product] = []

    async def duplicate(session: Session) -> domain.Product:
        original = await store.find_own(session, product_id, caller.company_id)
        if original is None:
            raise _no_product(product_id)
        originals.append(original)
        proposed = domain.copy_of(original, sku=body.sku, name=body.name, product_id=body.id)
        return await _add(session, caller.actor, proposed)

    copy = await _in_transaction(context, duplicate)
    return Duplicate.with_warnings(copy, domain.warnings_of_copy(originals[-1], copy))


@router.get("/products/{product_id}")
async def show_product(product_id: IdInPath, caller: Calling, context: Here) -> Product:
    """One product that the caller owns or may see."""
    async with context.database.transaction() as session:
        found = await store.find_readable(session, product_id, caller.company_id)
    if found is None:
        raise _no_product(product_id)
    return Product.of(domain.as_seen_by(found, caller.company_id))


@router.get("/products/{product_id}/stock-links")
async def show_stock_links(product_id: IdInPath, caller: Calling, context: Here) -> StockLinks:
    """The base stock products that a product and its variants draw on, through all virtual bases.

    Where a base belongs to a supplier that the caller has no active connection with, the way ends there.
    """
    async with context.database.transaction() as session:
        product = await store.find_readable(session, product_id, caller.company_id)
        if product is None:
            raise _no_product(product_id)
        _, *bases = (await store.find_chains(session, [product_id]))[product_id]
        cut_off = await find_cut_off(session, bases, caller.company_id)
        if cut_off is not None:
            return _cut_off(product_id, bases[: bases.index(cut_off) + 1])
        end = product if not bases else next(iter(await store.find_products(session, bases[-1:])), None)
        ends = end.parts if end else ()
        skus = await store.find_skus(session, {item.product_id for part in ends for item in part.components})
    parts = [_stock_link(part, skus) for part in ends]
    return StockLinks(
        product_id=product_id,
        bases=bases,
        tracked=any(part.components for part in parts),
        parts=parts,
        reason=None if end else f"product {bases[-1]}, which it is based on, was removed",
    )


@router.patch("/products/{product_id}")
async def change_product(product_id: IdInPath, body: ProductChange, caller: Calling, context: Here) -> Product:
    """Change one of the caller's products; a change that changes nothing leaves its version as it is."""

    async def change(session: Session) -> domain.Product:
        before = await store.find_own(session, product_id, caller.company_id)
        if before is None:
            raise _no_product(product_id)
        proposed = body.changed(before)
        if proposed == before:
            return before
        (facts,) = await changes.lock_with_facts(session, [proposed])
        refuse("invalid_product", domain.violations(proposed, facts, before))
        if proposed.type != before.type:
            await _refuse_if_needed(session, before, caller.company_id, "change its type")
        (changed,) = await changes.change_products(session, caller.actor, [(before, proposed)])
        return changed

    return Product.of(await _in_transaction(context, change))


@router.delete("/products/{product_id}", status_code=204)
async def remove_product(product_id: IdInPath, caller: Calling, context: Here) -> None:
    """Remove one of the caller's products, unless others link to it or are based on it."""
    async with context.database.transaction() as session:
        found = await changes.lock_product(session, product_id, caller.company_id)
        if found is None:
            raise _no_product(product_id)
        await _refuse_if_needed(session, found, caller.company_id, "be removed")
        await changes.remove_product(session, caller.actor, found)


async def _add(session: Session, actor: str, proposed: domain.Product) -> domain.Product:
    (facts,) = await changes.lock_with_facts(session, [proposed])
    refuse("invalid_product", domain.violations(proposed, facts))
    (added,) = await changes.add_products(session, actor, [proposed])
    if added is None:
        raise ProblemError(
            409, "product_exists", f"The id {proposed.product_id} is taken: leave it out, or choose another."
        )
    return added


async def _in_transaction(context: Context, decide: Callable[[Session], Awaitable[domain.Product]]) -> domain.Product:
    """What `decide` makes of the product in one transaction, again where somebody else changed what it had read."""
    for _ in range(ATTEMPTS):
        try:
            async with context.database.transaction() as session:
                return await decide(session)
        except changes.ChangedMeanwhileError:
            continue
        except changes.SkuTakenError as error:
            raise ProblemError(
                409, "sku_taken", str(error), errors=[FieldError(field="sku", detail=str(error))]
            ) from error
    raise ProblemError(409, "changed_meanwhile", "Others keep changing this product or its bases; send it again.")


async def _refuse_if_needed(session: Session, product: domain.Product, company_id: int | None, verb: str) -> None:
    dependants = await changes.find_dependants(session, product)
    if dependants:
        who, listed = domain.dependants_in_words(dependants, company_id)
        detail = f"{product} cannot {verb} while others need it: {who}."
        raise ProblemError(409, "product_linked", detail, errors=field_errors_of(listed))


def _cut_off(product_id: int, bases: list[int]) -> StockLinks:
    """What is left of a product's stock links when the last of `bases` is out of the caller's reach."""
    return StockLinks(
        product_id=product_id,
        bases=bases,
        tracked=False,
        parts=[],
        reason=f"product {bases[-1]}, which it is based on, is of a supplier you have no active connection with",
    )


def _stock_link(part: domain.Variant, skus: dict[int, str]) -> StockLink:
    return StockLink(
        variant_id=part.variant_id or None,
        variant_sku=part.sku or None,
        attributes=[Attribute(name=name, value=value) for name, value in part.attributes],
        components=[
            StockComponent(product_id=item.product_id, quantity=item.quantity, sku=skus[item.product_id])
            for item in part.components
        ],
    )


def _no_product(product_id: int) -> ProblemError:
    return ProblemError(404, "product_not_found", f"You have no product {product_id}.")
