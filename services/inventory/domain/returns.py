"""Items that came back (rule 15)."""

from collections.abc import Mapping

from services.inventory.domain.orders import Connection, Line
from services.inventory.domain.stock import DEFAULT_LOCATION, LEVEL_LIMIT, TOO_MUCH, Cause, Stock


def restock(
    seller_id: int, line: Line, connections: Mapping[int, Connection], stock: Stock, cause: Cause
) -> str | None:
    """Put a returned line back into stock, at its location or `main`; returns why it cannot be, or `None`.

    The seller must own the stock or be, or once have been, connected with its supplier: goods may come back late.
    """
    if not line.components:
        return None
    if line.supplier_id != seller_id and line.supplier_id not in connections:
        return f"product {line.product_id} is not yours, nor of a supplier you ever had a connection with"
    code = line.location or DEFAULT_LOCATION
    location = stock.location(line.supplier_id, code)
    if location is None:
        return f"the supplier has no location {code!r}"
    back = [(product_id, line.quantity * quantity_per_unit) for product_id, quantity_per_unit in line.components]
    if any(stock.level(product_id, location.location_id).on_hand + units > LEVEL_LIMIT for product_id, units in back):
        return TOO_MUCH
    for product_id, units in back:
        stock.move(product_id, location.location_id, cause, on_hand=units, line_id=line.line_id)
    return None
