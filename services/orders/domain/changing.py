"""Amending and cancelling orders, and what comes back of them. No I/O.

Units that somebody was asked to send, that were sent, that will not be sent, or that came back are settled: they can be
neither amended away nor cancelled. While they are assigned, the fulfillment request has to fail first. What came back
was put into stock by the return, if at all: to cancel it as well would put it there twice.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from services.orders.domain.life import StoredLine, StoredOrder
from services.orders.domain.orders import Refusal, ReturnedLine


class LineChange(NamedTuple):
    """How a line is to be: `quantity` units in all (cancelled ones too), drawn from `location`; `None` leaves it so.

    `field` is where the request says that, like `lines[0]`.
    """

    field: str
    line_id: int
    quantity: int | None
    location: str | None = None


def unknown_lines(order: StoredOrder, changes: Sequence[LineChange]) -> list[Refusal]:
    """The changes that name a line which the order does not have, or one that is named before."""
    known, named, refusals = {line.line_id for line in order.lines}, set[int](), []
    for change in changes:
        if change.line_id not in known:
            refusals.append(Refusal(f"{change.field}.line_id", f"the order has no line {change.line_id}"))
        elif change.line_id in named:
            refusals.append(Refusal(f"{change.field}.line_id", f"line {change.line_id} is named twice"))
        named.add(change.line_id)
    return refusals


def asks_for_more(order: StoredOrder, changes: Sequence[LineChange]) -> list[LineChange]:
    """Those of these changes of known lines that want more units, or from another place: as if ordered anew."""
    lines = {line.line_id: line for line in order.lines}
    return [
        change
        for change in changes
        if (change.quantity or 0) > lines[change.line_id].quantity
        or change.location not in {None, lines[change.line_id].location}
    ]


def amend(order: StoredOrder, changes: Sequence[LineChange], added: Sequence[StoredLine]) -> StoredOrder:
    """The order with changed and added lines; the added get the next line ids. First see `amend_refusals`."""
    by_line = {change.line_id: change for change in changes}
    lines = [_amended(line, by_line[line.line_id]) if line.line_id in by_line else line for line in order.lines]
    first = max(line.line_id for line in order.lines) + 1
    lines += [line._replace(line_id=line_id) for line_id, line in enumerate(added, first)]
    return order._replace(lines=tuple(lines))


def amend_refusals(order: StoredOrder, changes: Sequence[LineChange], added: int = 0) -> list[Refusal]:
    """Why these changes of known lines cannot be made, or so many lines cannot be `added`.

    Once something of an order is on its way it is only ever made smaller. Inventory decides each version as a whole:
    one that is short under `deny` would lose what is being sent.
    """
    lines = {line.line_id: line for line in order.lines}
    more = asks_for_more(order, changes) if any(line.assigned or line.fulfilled for line in order.lines) else []
    begun = "the order is being fulfilled: it can only be made smaller, order the rest anew"
    refusals = [Refusal(change.field, begun) for change in more]
    if added and any(line.assigned or line.fulfilled for line in order.lines):
        refusals.append(Refusal("lines", begun))
    for change in changes:
        line = lines[change.line_id]
        least = max(line.cancelled + 1, line.quantity - line.open)
        if not line.wanted:
            detail = f"line {line.line_id} is cancelled and stays so: add a new line instead"
            refusals.append(Refusal(f"{change.field}.line_id", detail))
        elif change.quantity is not None and change.quantity < least:
            detail = f"{_in_words(line)}: the quantity cannot be less than {least}"
            refusals.append(Refusal(f"{change.field}.quantity", detail))
    return refusals


def cancel(order: StoredOrder, units: Mapping[int, int]) -> StoredOrder:
    """The order without these units of its lines, `{line id: units}`; cancelled when nothing is left of it."""
    lines = tuple(line._replace(cancelled=line.cancelled + units.get(line.line_id, 0)) for line in order.lines)
    return order._replace(lines=lines, state="open" if any(line.wanted for line in lines) else "cancelled")


def cancel_refusals(order: StoredOrder, changes: Sequence[LineChange]) -> list[Refusal]:
    """Why these units of known lines cannot be cancelled."""
    lines = {line.line_id: line for line in order.lines}
    refusals = []
    for change in changes:
        line = lines[change.line_id]
        left = line.open
        if change.quantity is None and not left:
            detail = f"{_in_words(line)}: nothing is left to cancel"
            refusals.append(Refusal(f"{change.field}.line_id", detail))
        elif (change.quantity or 0) > left:
            detail = f"{_in_words(line)}: only {left} can be cancelled"
            refusals.append(Refusal(f"{change.field}.quantity", detail))
    return refusals


def whole_cancel_refusals(order: StoredOrder) -> list[Refusal]:
    """Why the order as a whole cannot be cancelled: lines on their way or come back, or nothing that is not settled."""
    refusals = []
    for line in order.lines:
        if line.assigned:
            refusals.append(Refusal("lines", f"{_in_words(line)}: what is in a fulfillment request has to fail first"))
        elif line.returned > line.fulfilled:
            refusals.append(Refusal("lines", f"{_in_words(line)}: cancel what is left line by line"))
    if not refusals and not any(line.open for line in order.lines):
        return [Refusal("lines", "nothing is left to cancel: everything was sent, or will not be sent")]
    return refusals


def take_back(
    order: StoredOrder, returned: Sequence[ReturnedLine]
) -> tuple[StoredOrder, dict[int, int], list[Refusal]]:
    """The order when these units have come back, of which line how many, and why some cannot.

    A return names products, not lines: the first lines of a product come back first. What was cancelled, has failed, is
    in a fulfillment request or came back before cannot: it would go into stock twice.
    """
    lines, units, refusals = list(order.lines), dict[int, int](), []
    for number, back in enumerate(returned):
        left = back.quantity
        for index, line in enumerate(lines):
            if (line.product_id, line.variant_sku) == (back.product_id, back.variant_sku):
                taken = max(0, min(left, line.wanted - line.failed - line.assigned - line.returned))
                lines[index] = line._replace(returned=line.returned + taken)
                left -= taken
                units[line.line_id] = units.get(line.line_id, 0) + taken
        if left:
            detail = (
                f"of order {order.order_id} only {back.quantity - left} of these units can come back: the others were "
                "not ordered, are cancelled, failed, still in a fulfillment request, or came back before"
            )
            refusals.append(Refusal(f"lines[{number}].quantity", detail))
    return order._replace(lines=tuple(lines)), {line_id: some for line_id, some in units.items() if some}, refusals


def _amended(line: StoredLine, change: LineChange) -> StoredLine:
    location = line.location if change.location is None else change.location
    if change.quantity is None:
        return line._replace(location=location)
    return line._replace(quantity=change.quantity, location=location)


def _in_words(line: StoredLine) -> str:
    parts = (
        (line.cancelled, "cancelled"),
        (line.assigned, "in a fulfillment request"),
        (line.fulfilled, "fulfilled"),
        (line.failed, "failed"),
        (line.returned, "returned"),
    )
    listed = ", ".join(f"{units} {what}" for units, what in parts if units)
    return f"line {line.line_id} has {line.quantity}, of them {listed or 'none settled'}"
