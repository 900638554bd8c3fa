"""Lists of products: which of them a company may see, filtered, in one order, page by page.

Two shapes of statement, so that the planner never has to guess how far it would walk (docs/performance.md):

* by shelf, without a filter but `type` and `owner_id`: products of one owner, type and visibility lie in the order's
  index side by side. Each shelf gives at most a page, however many products lie on the others.
* by filter: the filter's own index finds all that match; only these are sorted. `offset 0` keeps the planner from
  walking the order's index instead in the hope that a match comes soon: where they all lie at its end, it reads all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Select,
    TableValuedAlias,
    Text,
    and_,
    column,
    func,
    literal,
    or_,
    select,
    text,
    true,
    tuple_,
    union_all,
)

from services.catalog.domain import Product
from services.catalog.store.products import find_products
from services.catalog.tables import METADATA, WORD_ENDS, name_in_words
from shared.database import Session, plan_anew
from shared.events.catalog import ProductType

SortBy = Literal["id", "sku", "name"]

PRODUCTS = METADATA.tables["catalog.products"].alias("p")
COLUMNS = PRODUCTS.c
TYPES: tuple[str, ...] = get_args(ProductType)
VISIBILITIES = ("private", "connected", "listed")
KEYS: dict[SortBy, ColumnElement[str]] = {"id": literal("", Text), "sku": COLUMNS.sku_key, "name": COLUMNS.name_key}
LAST_CHARACTER = "\U0010ffff"

FIND_SUPPLIERS = text("select supplier_id from connections where retailer_id = :company_id and state = 'active'")

WORDS_OF_NAME = f"to_tsvector('simple'::regconfig, {name_in_words('p.title')})"
WORDS = text(f"{WORDS_OF_NAME} @@ to_tsquery('simple'::regconfig, :words)")
SKU_OR_WORDS = text(f"""
    (p.sku_key >= lower(:q) and p.sku_key < lower(:q) || :last_character
        or {WORDS_OF_NAME} @@ to_tsquery('simple'::regconfig, :q_words))
""")
SKU = text("p.sku_key = lower(:sku) and p.sku = :sku")
BARCODE = text("p.barcode = :barcode")
UNLINKED = text("p.is_unlinked")
# Whoever may not see where the stock of a supplier goes learns it from no list either: the way ends as for stock links.
LINKED_TO = text("""
    p.product_id = any(array(
        with recursive drawing as (
            select product_id from products
            where product_id = :linked_to
                and (cast(:usable_owner_ids as bigint[]) is null or owner_id = any(cast(:usable_owner_ids as bigint[])))
            union
            select d.product_id from drawing b cross join lateral (
                (select product_id from components where base_stock_product_id = b.product_id offset 0)
                union all
                (select product_id from products where base_product_id = b.product_id and removed_at is null offset 0)
            ) d
        )
        select product_id from drawing where product_id <> :linked_to))
""")


@dataclass(frozen=True, slots=True)
class ProductFilter:
    """What a list is narrowed to; `None` (and `False`) leave it as it is.

    `q` begins the SKU, whatever its case, or its words begin words of the name; `name` the latter alone. `linked_to`
    lists what draws on that base stock product: directly, through variants, and virtual products on top. `unlinked`
    lists what should be linked and is not, in any part.
    """

    q: str | None = None
    sku: str | None = None
    name: str | None = None
    type: ProductType | None = None
    linked_to: int | None = None
    unlinked: bool = False
    barcode: str | None = None
    owner_id: int | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ends: the last product's key in the order of the list ("" where that is by id), and its id."""

    key: str
    product_id: int


@dataclass(frozen=True, slots=True)
class Page:
    """Products in the order of the list; `end` is where the next page begins, `None` where there is none."""

    products: list[Product]
    end: Position | None


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: a company and the suppliers it has an active connection with; `None` is the platform admin."""

    company_id: int | None
    supplier_ids: tuple[int, ...] = ()

    def narrowed(self, owner_id: int | None) -> tuple[bool, tuple[int, ...]]:
        """Whether its own products are wanted, and of which suppliers, when the list is narrowed to `owner_id`."""
        if owner_id is None:
            return True, self.supplier_ids
        return owner_id == self.company_id, tuple(one for one in self.supplier_ids if one == owner_id)


async def find_reader(session: Session, company_id: int | None) -> Reader:
    """The company as a reader of lists (`None`: the admin)."""
    if company_id is None:
        return Reader(None)
    suppliers = (await session.execute(FIND_SUPPLIERS, {"company_id": company_id})).scalars()
    return Reader(company_id, tuple(sorted(suppliers)))


async def list_products(
    session: Session,
    company_id: int | None,
    wanted: ProductFilter,
    *,
    sort: SortBy = "id",
    after: Position | None = None,
    limit: int,
) -> Page:
    """At most `limit` products that this company (or the admin, `None`) may see, behind the position `after`."""
    await plan_anew(session)
    statement, values = page_of(await find_reader(session, company_id), wanted, sort=sort, after=after, limit=limit + 1)
    rows = (await session.execute(statement, values)).all()
    shown = rows[:limit]
    # A product that is removed between the two statements is missing here, and is not the end of the list.
    found = {product.product_id: product for product in await find_products(session, [row.product_id for row in shown])}
    end = Position(shown[-1].sort_key, shown[-1].product_id) if len(rows) > limit else None
    return Page([found[row.product_id] for row in shown if row.product_id in found], end)


def page_of(
    reader: Reader, wanted: ProductFilter, *, sort: SortBy, after: Position | None, limit: int
) -> tuple[Select[Any], dict[str, object]]:
    """The statement of a page, which returns `product_id` and `sort_key`, and its values."""
    page = _Page(sort, after, limit)
    conditions, values = _conditions(reader, wanted)
    if conditions:
        return page.sorted(_visible(reader, wanted).where(*conditions)), values
    if reader.company_id is not None or wanted.owner_id is not None:
        return _by_shelf(reader, wanted, page), values
    if wanted.type is not None and sort == "id":
        return page.of_type(wanted.type), values
    return page.walked(_of_type(_products(sort), wanted)), values


@dataclass(frozen=True, slots=True)
class _Page:
    sort: SortBy
    after: Position | None
    limit: int

    def cut(self, statement: Select[Any], key: ColumnElement[Any], product_id: ColumnElement[Any]) -> Select[Any]:
        """The page of a statement whose rows have this key and id."""
        order = [product_id] if self.sort == "id" else [key, product_id]
        if self.after is not None and self.sort == "id":
            statement = statement.where(product_id > self.after.product_id)
        elif self.after is not None:
            behind = tuple_(literal(self.after.key, Text), literal(self.after.product_id, BigInteger))
            statement = statement.where(tuple_(key, product_id) > behind)
        return statement.order_by(*order).limit(self.limit)

    def walked(self, statement: Select[Any]) -> Select[Any]:
        """The page by the order's index."""
        return self.cut(statement, KEYS[self.sort], COLUMNS.product_id)

    def of_type(self, product_type: str) -> Select[Any]:
        """The page of all products of a type, by id.

        With `type = ...` the planner could walk the primary key just as well, and pass by all that were imported
        before the first one of this type.
        """
        behind = tuple_(literal(product_type, Text), literal(self.after.product_id if self.after else 0, BigInteger))
        here = tuple_(COLUMNS.type, COLUMNS.product_id)
        statement = _products("id").where(here > behind, COLUMNS.type <= product_type)
        return statement.order_by(COLUMNS.type, COLUMNS.product_id).limit(self.limit)

    def cut_together(self, *statements: Select[Any]) -> Select[Any]:
        """The page of what these statements return, each no more than a page."""
        together = union_all(*(statement.subquery().select() for statement in statements)).subquery()
        return self.cut(select(together.c.product_id, together.c.sort_key), together.c.sort_key, together.c.product_id)

    def sorted(self, statement: Select[Any]) -> Select[Any]:
        """The page of all that is found."""
        found = statement.with_only_columns(COLUMNS.product_id, KEYS[self.sort].label("sort_key")).offset(0).subquery()
        return self.cut(select(found.c.product_id, found.c.sort_key), found.c.sort_key, found.c.product_id)


def _products(sort: SortBy) -> Select[Any]:
    return select(COLUMNS.product_id, KEYS[sort].label("sort_key")).where(COLUMNS.removed_at.is_(None))


def _of_type(statement: Select[Any], wanted: ProductFilter) -> Select[Any]:
    return statement if wanted.type is None else statement.where(COLUMNS.type == wanted.type)


def _by_shelf(reader: Reader, wanted: ProductFilter, page: _Page) -> Select[Any]:
    """Own products, those that suppliers show to all whom they are connected with, those shown to this one alone."""
    rows = list(_shelves(reader, wanted))
    shelves = func.unnest(
        literal([owner_id for owner_id, _, _ in rows], ARRAY(BigInteger)),
        literal([type_ for _, type_, _ in rows], ARRAY(Text)),
        literal([visibility for _, _, visibility in rows], ARRAY(Text)),
    ).table_valued(column("owner_id", BigInteger), column("type", Text), column("visibility", Text))
    listed = _listed(reader, wanted)
    return page.cut_together(_along(shelves, page), *([] if listed is None else [page.sorted(listed)]))


def _along(shelves: TableValuedAlias, page: _Page) -> Select[Any]:
    """A page of each shelf, whose columns are those that its products have in common."""
    shelves = shelves.render_derived(name="shelves")
    on_shelf = [COLUMNS[shared.name] == shared for shared in shelves.c]
    lying = page.walked(_products(page.sort).where(*on_shelf)).lateral("lying")
    return select(lying.c.product_id, lying.c.sort_key).select_from(shelves.join(lying, true()))


def _shelves(reader: Reader, wanted: ProductFilter) -> Iterator[tuple[int, str, str]]:
    """Owner, type and visibility of what is seen whole."""
    own, supplier_ids = reader.narrowed(wanted.owner_id)
    owner_id = wanted.owner_id if reader.company_id is None else reader.company_id if own else None
    for type_ in TYPES if wanted.type is None else (wanted.type,):
        if owner_id is not None:
            yield from ((owner_id, type_, visibility) for visibility in VISIBILITIES)
        yield from ((supplier_id, type_, "connected") for supplier_id in supplier_ids)


def _listed(reader: Reader, wanted: ProductFilter) -> Select[Any] | None:
    _, supplier_ids = reader.narrowed(wanted.owner_id)
    if not supplier_ids:
        return None
    return _of_type(_products("id"), wanted).where(_shown_to(reader), _of(supplier_ids))


def _visible(reader: Reader, wanted: ProductFilter) -> Select[Any]:
    """What the reader may see, of the type and owner that are wanted."""
    statement = _of_type(_products("id"), wanted)
    if reader.company_id is None:
        return statement if wanted.owner_id is None else statement.where(COLUMNS.owner_id == wanted.owner_id)
    own, supplier_ids = reader.narrowed(wanted.owner_id)
    may_see = [COLUMNS.owner_id == reader.company_id] if own else []
    if supplier_ids:
        may_see.append(and_(_of(supplier_ids), or_(COLUMNS.visibility == "connected", _shown_to(reader))))
    return statement.where(or_(*may_see) if may_see else literal(value=False))


def _shown_to(reader: Reader) -> ColumnElement[bool]:
    return COLUMNS.visible_to.bool_op("@>")(literal([reader.company_id], ARRAY(BigInteger)))


def _of(owner_ids: Sequence[int]) -> ColumnElement[bool]:
    return COLUMNS.owner_id == func.any(literal(list(owner_ids), ARRAY(BigInteger)))


def _conditions(reader: Reader, wanted: ProductFilter) -> tuple[list[Any], dict[str, object]]:
    """The filters that have an index of their own, and their values."""
    usable = None if reader.company_id is None else [reader.company_id, *reader.supplier_ids]
    filters: list[tuple[object, Any, dict[str, object]]] = [
        (
            wanted.q,
            SKU_OR_WORDS,
            {"q": wanted.q, "q_words": _tsquery(wanted.q or ""), "last_character": LAST_CHARACTER},
        ),
        (wanted.sku, SKU, {"sku": wanted.sku}),
        (wanted.name, WORDS, {"words": _tsquery(wanted.name or "")}),
        (wanted.linked_to, LINKED_TO, {"linked_to": wanted.linked_to, "usable_owner_ids": usable}),
        (wanted.unlinked, UNLINKED, {}),
        (wanted.barcode, BARCODE, {"barcode": wanted.barcode}),
    ]
    given = [(condition, values) for value, condition, values in filters if value]
    return [condition for condition, _ in given], {name: value for _, values in given for name, value in values.items()}


def _tsquery(words: str) -> str:
    """Each word as the beginning of a word; quoted, so that PostgreSQL takes it apart as it does the names."""
    spaced = words.translate(dict.fromkeys(map(ord, WORD_ENDS), " "))
    quoted = (word.replace("\\", "\\\\").replace("'", "''") for word in spaced.split())
    return " & ".join(f"'{word}':*" for word in quoted)
