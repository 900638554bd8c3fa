"""Lists of stock: filtered, sorted, page by page, and counted.

Filters and orders go by what each item keeps (`stock_items`): its totals, whether it is listed, whether anything draws
on it. Added up and looked up anew, that cost ten times as much. What is shown is added up from the levels of the page.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import TextClause, text

from services.inventory.store.reading import ITEM_COLUMNS, ITEMS, Row, with_levels
from shared.database import Session, plan_anew

StockState = Literal["low", "out", "backordered", "unlinked", "removed"]

AVAILABLE = "(i.on_hand - i.allocated - i.reserved - i.safety_stock)"
TRACKED = "not p.removed and p.type in ('stock', 'stock_customisable')"
# A list is what is stocked now.
STOCKED, NOT_STOCKED = "i.is_listed and i.stocked_locations > 0", "i.is_listed and i.stocked_locations = 0"
LOW, OUT, BACKORDERED = f"{AVAILABLE} <= i.low_stock_threshold", f"{AVAILABLE} <= 0", f"{AVAILABLE} < 0"
STATES: Mapping[StockState, str] = {"low": LOW, "out": OUT, "backordered": BACKORDERED, "unlinked": "i.is_unlinked"}
# Words have no line ends in them: none is found across two of the texts.
FILTERS: Mapping[str, str] = {
    "supplier_id": "i.supplier_id = cast(:supplier_id as bigint)",
    "sku": "p.sku = cast(:sku as text)",
    "patterns": "lower(p.sku || chr(10) || p.title || chr(10) || coalesce(p.barcode, '')) "
    "like all (array(select lower(pattern) from unnest(cast(:patterns as text[])) as pattern))",
    "location": "i.product_id in (select v.product_id from stock_levels v where v.location_id = any(array("
    "select location_id from locations where code = cast(:location as text) "
    "and (cast(:supplier_id as bigint) is null or supplier_id = :supplier_id))) "
    "and (v.removed_at is null or :removed))",
}
OF_PRODUCTS = {"sku", "patterns"}
# Texts without regard to case, as catalog sorts, and as their indexes have them (`tables/__init__.py`).
KEYS: Mapping[str, str] = {
    "product_id": "i.product_id",
    "sku": "((lower(p.sku) collate \"C\") || '')",
    "title": "((lower(p.title) collate \"C\") || '')",
    "on_hand": "i.on_hand",
    "allocated": "i.allocated",
    "reserved": "i.reserved",
    "available": AVAILABLE,
    "safety_stock": "i.safety_stock",
    "lead_time_days": "i.lead_time_days",
}
TEXTS = {"sku", "title"}
# All others have a value in each row.
NULLABLE = {"lead_time_days"}


@dataclass(frozen=True, slots=True)
class StockFilter:
    """What a list is narrowed to; `None` filters nothing.

    Each word of `q` is contained in the SKU, the title or the barcode, in any case. `location` stocks the item;
    with `state` `removed` it is one that did.
    """

    supplier_id: int | None = None
    q: str | None = None
    sku: str | None = None
    location: str | None = None
    state: StockState | None = None

    def given(self) -> dict[str, object]:
        """The values of those of `FILTERS` that it has."""
        patterns = [f"%{_plain(word)}%" for word in (self.q or "").split()]
        values = {"supplier_id": self.supplier_id, "sku": self.sku, "patterns": patterns, "location": self.location}
        return {name: value for name, value in values.items() if value}

    def conditions(self) -> tuple[str, dict[str, object]]:
        """What a row must meet, and the values of that."""
        removed = self.state == "removed"
        given = self.given()
        met = [NOT_STOCKED if removed else STOCKED, *(FILTERS[name] for name in given)]
        if self.state is not None and not removed:
            met.append(STATES[self.state])
        more = {"removed": removed, "supplier_id": self.supplier_id} if self.location else {}
        return " and ".join(met), given | more

    def source(self, *, with_products: bool = False) -> str:
        """What its conditions are of: items, with their products only where these are asked for."""
        if not with_products and not OF_PRODUCTS & self.given().keys():
            return "stock_items i"
        # An item is its product's owner's, and what is listed is tracked: said again for the indexes of products.
        own = "" if self.supplier_id is None else " and p.owner_id = cast(:supplier_id as bigint)"
        return f"stock_items i join products p on p.product_id = i.product_id and {TRACKED}{own}"

    @property
    def is_of_some(self) -> bool:
        """Whether it leaves out some of a supplier's items."""
        return self.state is not None or bool(self.given().keys() - {"supplier_id"})


@dataclass(frozen=True, slots=True)
class Order:
    """By which of `KEYS` a list is sorted; equal ones by their ids, those without a value last, in both directions."""

    column: str = "product_id"
    descending: bool = False

    @property
    def key(self) -> str:
        """The sort key of a row, as SQL."""
        return KEYS[self.column]

    @property
    def is_by_text(self) -> bool:
        """Whether sort keys are texts, not numbers."""
        return self.column in TEXTS

    def behind(self, after: "Position") -> str:
        """What rows behind a position meet."""
        sign = "<" if self.descending else ">"
        if self.column == "product_id":
            return f"i.product_id {sign} :after_id"
        if after.key is None:
            return f"{self.key} is null and i.product_id > :after_id"
        key = f"cast(:after_key as {'text' if self.is_by_text else 'bigint'})"
        # The first part alone is a range of an index.
        behind = f"{self.key} {sign}= {key} and ({self.key} {sign} {key} or i.product_id > :after_id)"
        return f"({behind} or {self.key} is null)" if self.column in NULLABLE else behind

    def clause(self, key: str, product_id: str) -> str:
        """The `order by` of rows that have this key and id."""
        direction = "desc" if self.descending else "asc"
        if self.column == "product_id":
            return f"{key} {direction}"
        return f"{key} {direction}{' nulls last' if self.column in NULLABLE else ''}, {product_id}"


@dataclass(frozen=True, slots=True)
class Position:
    """The last row of a page: its sort key (`None` where it has no value) and its id."""

    key: str | int | None
    product_id: int


def page_statement(
    wanted: StockFilter, order: Order, after: Position | None, limit: int
) -> tuple[TextClause, dict[str, object]]:
    """The statement of a page, whose rows have a `sort_key`, and its values."""
    conditions, values = wanted.conditions()
    if after is not None:
        conditions += f" and {order.behind(after)}"
        values["after_id"] = after.product_id
        if ":after_key" in conditions:
            values["after_key"] = after.key
    source = wanted.source(with_products=order.is_by_text)
    found = f"select i.product_id, {order.key} as sort_key from {source} where {conditions}"  # noqa: S608 - of pieces
    if order.is_by_text and wanted.is_of_some:
        # Whatever matches may lie at the end of the order's index: it is found first, and sorted.
        found = f"select product_id, sort_key from ({found} offset 0) found"  # noqa: S608 - likewise
    # The page is found by its keys alone: with all that is shown, the rows to be sorted would not fit into memory.
    statement = text(f"""
        select {ITEM_COLUMNS}, page.sort_key from (
            {found} order by {order.clause("sort_key", "product_id")} limit :limit) page
        join ({ITEMS}) on i.product_id = page.product_id order by {order.clause("page.sort_key", "i.product_id")}
    """)  # noqa: S608 - of the pieces above
    return statement, values | {"limit": limit}


async def find_page(
    session: Session, wanted: StockFilter, order: Order, after: Position | None, limit: int
) -> list[Row]:
    """At most `limit` items behind a position, each with a `sort_key` and the `levels` that count.

    One of which none counts, as it may be removed between the two statements, has all its levels.
    """
    await plan_anew(session)
    statement, values = page_statement(wanted, order, after, limit)
    rows = (await session.execute(statement, values)).mappings().all()
    items = await with_levels(session, rows)
    for item in items:
        item["levels"] = [level for level in item["levels"] if level["removed_at"] is None] or item["levels"]
    return items


def summary_statement(wanted: StockFilter) -> tuple[TextClause, dict[str, object]]:
    """The statement that counts what a list has, and its values."""
    conditions, values = wanted.conditions()
    statement = text(f"""
        select count(*) as items, count(*) filter (where {LOW}) as low, count(*) filter (where {OUT}) as out,
            count(*) filter (where {BACKORDERED}) as backordered,
            count(*) filter (where i.is_unlinked) as unlinked,
            cast(coalesce(sum(i.on_hand), 0) as bigint) as units_on_hand,
            cast(coalesce(sum({AVAILABLE}), 0) as bigint) as units_available
        from {wanted.source()} where {conditions}
    """)  # noqa: S608 - of the pieces above
    return statement, values


async def summarize(session: Session, wanted: StockFilter) -> Row:
    """How many items a list has, how many of them are in which state, and how many units they have."""
    await plan_anew(session)
    statement, values = summary_statement(wanted)
    return dict((await session.execute(statement, values)).mappings().one())


def _plain(word: str) -> str:
    """A word as a pattern that matches itself alone."""
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
