"""Lists of stock: filtered, sorted, page by page, and counted.

Filters and orders go by the totals that each item keeps (`stock_items`): added up anew, 200,000 levels cost four times
as much. What is shown is added up from the levels of the page.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import TextClause, text

from services.inventory.store.reading import ITEM_COLUMNS, ITEMS, Row, with_levels
from shared.database import Session

StockState = Literal["low", "out", "backordered", "unlinked", "removed"]

PRODUCTS_OF_ITEMS = "stock_items i join products p on p.product_id = i.product_id"
AVAILABLE = "(i.on_hand - i.allocated - i.reserved - i.safety_stock)"
# A list is what is stocked now.
TRACKED = "not p.removed and p.type in ('stock', 'stock_customisable')"
STOCKED, NOT_STOCKED = f"{TRACKED} and i.stocked_locations > 0", f"{TRACKED} and i.stocked_locations = 0"
# What draws on stock is of the same supplier (rule 7); a `stock_customisable` product is sold as it is.
DRAWN_ON = """
    select unnest(part.component_ids) from products q join product_parts part on part.product_id = q.product_id
    where (cast(:supplier_id as bigint) is null or q.owner_id = :supplier_id) and not q.removed
      and q.type in ('customisable', 'configurable_stock')
"""
LOW, OUT, BACKORDERED = f"{AVAILABLE} <= i.low_stock_threshold", f"{AVAILABLE} <= 0", f"{AVAILABLE} < 0"
STATES: Mapping[StockState, str] = {
    "low": LOW,
    "out": OUT,
    "backordered": BACKORDERED,
    "unlinked": f"p.type = 'stock' and not exists (select from ({DRAWN_ON}) d (product_id) "
    "where d.product_id = i.product_id)",
}
# Words have no line ends in them: none is found across two of the texts.
FILTERS: Mapping[str, str] = {
    "supplier_id": "i.supplier_id = cast(:supplier_id as bigint)",
    "sku": "p.sku = cast(:sku as text)",
    "patterns": "lower(p.sku || chr(10) || p.title || chr(10) || coalesce(p.barcode, '')) "
    "like all (array(select lower(pattern) from unnest(cast(:patterns as text[])) as pattern))",
    "location": "exists (select from stock_levels v join locations l on l.location_id = v.location_id "
    "where v.product_id = i.product_id and l.code = cast(:location as text) and (v.removed_at is null or :removed))",
}
# Without regard to case, as catalog sorts.
KEYS: Mapping[str, str] = {
    "product_id": "i.product_id",
    "sku": 'lower(p.sku) collate "C"',
    "title": 'lower(p.title) collate "C"',
    "on_hand": "i.on_hand",
    "allocated": "i.allocated",
    "reserved": "i.reserved",
    "available": AVAILABLE,
    "safety_stock": "i.safety_stock",
    "lead_time_days": "i.lead_time_days",
}
TEXTS = {"sku", "title"}
# Which plan is best depends on how much matches: never one plan for all values.
PLAN_ANEW = text("set local plan_cache_mode = force_custom_plan")


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

    def conditions(self) -> tuple[str, dict[str, object]]:
        """What a row must meet, and the values of that."""
        patterns = [f"%{_plain(word)}%" for word in (self.q or "").split()]
        removed = self.state == "removed"
        values = {"supplier_id": self.supplier_id, "sku": self.sku, "patterns": patterns, "location": self.location}
        given = {name: value for name, value in values.items() if value}
        met = [NOT_STOCKED if removed else STOCKED, *(FILTERS[name] for name in given)]
        if self.state is not None and not removed:
            met.append(STATES[self.state])
        more = {"removed": removed} if self.location else {}
        return " and ".join(met), given | more | {"supplier_id": self.supplier_id}


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
        return f"({self.key} {sign} {key} or {self.key} = {key} and i.product_id > :after_id or {self.key} is null)"

    def clause(self, key: str) -> str:
        """The `order by` of rows that have this key."""
        direction = "desc" if self.descending else "asc"
        return f"{key} {direction}" if self.column == "product_id" else f"{key} {direction} nulls last, i.product_id"


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
    if ":supplier_id" not in conditions:
        del values["supplier_id"]
    # The page is found by its keys alone: with all that is shown, the rows to be sorted would not fit into memory.
    statement = text(f"""
        select {ITEM_COLUMNS}, page.sort_key from (
            select i.product_id, {order.key} as sort_key
            from {PRODUCTS_OF_ITEMS} where {conditions} order by {order.clause(order.key)} limit :limit) page
        join ({ITEMS}) on i.product_id = page.product_id order by {order.clause("page.sort_key")}
    """)  # noqa: S608 - of the pieces above
    return statement, values | {"limit": limit}


async def find_page(
    session: Session, wanted: StockFilter, order: Order, after: Position | None, limit: int
) -> list[Row]:
    """At most `limit` items behind a position, each with a `sort_key` and the `levels` that count.

    One of which none counts, as it may be removed between the two statements, has all its levels.
    """
    await session.execute(PLAN_ANEW)
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
            count(*) filter (where p.type = 'stock' and d.product_id is null) as unlinked,
            cast(coalesce(sum(i.on_hand), 0) as bigint) as units_on_hand,
            cast(coalesce(sum({AVAILABLE}), 0) as bigint) as units_available
        from {PRODUCTS_OF_ITEMS}
        left join (select distinct * from ({DRAWN_ON}) as drawn_on (product_id)) d on d.product_id = i.product_id
        where {conditions}
    """)  # noqa: S608 - of the pieces above
    return statement, values


async def summarize(session: Session, wanted: StockFilter) -> Row:
    """How many items a list has, how many of them are in which state, and how many units they have."""
    await session.execute(PLAN_ANEW)
    statement, values = summary_statement(wanted)
    return dict((await session.execute(statement, values)).mappings().one())


def _plain(word: str) -> str:
    """A word as a pattern that matches itself alone."""
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
