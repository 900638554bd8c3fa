"""Whether a supplier's stock adds up, and making anew what can be made anew from the ledger."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from services.inventory import checking
from services.inventory.api.requests import Calling, Cursor, Here, SupplierId
from services.inventory.checking import Checked
from services.inventory.domain.checking import Drift, DriftKind
from shared.access import Caller

router = APIRouter(prefix="/v1")

# What one request reads stays well below the time limit of a statement.
ITEMS_LIMIT = 5_000

Items = Annotated[int, Query(ge=1, le=ITEMS_LIMIT, description="How many items to check in this request")]


class OrderThatDrifts(BaseModel):
    """An order that holds, or has sent, other than the ledger says it took, in units of the item."""

    order_id: str
    held: int
    drawn: int


class StockDrift(BaseModel):
    """One thing that does not add up: `what` says in words what is `stored` and what was `expected`.

    `level`, `version`, `total` and `listing` (1 or 0) are repairable. `location` is null where it is the item's;
    `orders` are the first in question.
    """

    product_id: int
    location: str | None
    kind: DriftKind
    what: str
    stored: int
    expected: int
    repairable: bool
    orders: list[OrderThatDrifts]


class StockCheck(BaseModel):
    """What was checked, what did not add up, and what of it was repaired; go on with `next_cursor` until it is null."""

    items_checked: int
    drifts: list[StockDrift]
    repaired: list[StockDrift]
    next_cursor: int | None


class CheckRequest(BaseModel):
    """Whether to repair what can be repaired."""

    model_config = ConfigDict(extra="forbid")

    repair: bool = Field(default=False, strict=True)


@router.get("/stock/check")
async def check_stock(
    caller: Calling,
    context: Here,
    supplier_id: SupplierId = None,
    cursor: Cursor = None,
    limit: Items = ITEMS_LIMIT,
) -> StockCheck:
    """Check the caller's items against their ledger, or for the platform admin all items or those of `supplier_id`."""
    supplier = _supplier(caller, supplier_id)
    return _shown(await checking.check_some(context.database, supplier, cursor or 0, limit), [])


@router.post("/stock/check")
async def check_and_repair_stock(
    body: CheckRequest,
    caller: Calling,
    context: Here,
    supplier_id: SupplierId = None,
    cursor: Cursor = None,
    limit: Items = ITEMS_LIMIT,
) -> StockCheck:
    """Check as GET does, and with `repair` make levels and versions anew from the ledger where they drifted."""
    supplier = _supplier(caller, supplier_id)
    checked = await checking.check_some(context.database, supplier, cursor or 0, limit)
    repaired = await checking.repair(context.database, checked.drifts, caller.actor) if body.repair else []
    return _shown(checked, repaired)


def _supplier(caller: Caller, supplier_id: int | None) -> int | None:
    caller.require("supplier")
    return supplier_id if caller.is_admin else caller.company(supplier_id)


def _shown(checked: Checked, repaired: list[Drift]) -> StockCheck:
    return StockCheck(
        items_checked=checked.items,
        drifts=[_drift(one) for one in checked.drifts],
        repaired=[_drift(one) for one in repaired],
        next_cursor=checked.next_after,
    )


def _drift(drift: Drift) -> StockDrift:
    return StockDrift(
        product_id=drift.product_id,
        location=drift.location,
        kind=drift.kind,
        what=drift.what,
        stored=drift.stored,
        expected=drift.expected,
        repairable=drift.repairable,
        orders=[OrderThatDrifts(order_id=one.order_id, held=one.held, drawn=one.drawn) for one in drift.orders],
    )
