"""Units that are reserved for a while: they cannot be sold to others, and nothing of them has left.

What is reserved is certain. So a reservation that is not covered by what is available is refused whole, under
`backorder` too, and what an order had reserved is there for it, whatever became of the level meanwhile.
"""

from collections.abc import Iterable, Sequence

from services.inventory.domain.stock import Cause, Reserved, Stock


def hold(stock: Stock, units: Iterable[Reserved], cause: Cause) -> None:
    """Keep these units out of what can be sold."""
    for one in units:
        stock.move(one.product_id, one.location_id, cause, line_id=one.line_id, reserved=one.quantity)


def free(stock: Stock, units: Iterable[Reserved], cause: Cause) -> None:
    """Reserve these units no more; each is entered under the id of its reservation."""
    for one in units:
        of_reservation = cause._replace(reference=str(one.reservation_id))
        stock.move(one.product_id, one.location_id, of_reservation, line_id=one.line_id, reserved=-one.quantity)


def convert(stock: Stock, units: Sequence[Reserved], cause: Cause) -> None:
    """Reserve these units no more because their order, whose `cause` this is, is decided."""
    if units:
        free(stock, units, cause._replace(kind="converted", reason=f"order {cause.reference}"))
