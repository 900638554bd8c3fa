"""What a supplier is asked to send of an order, and what became of it. No I/O.

Everything here is about one order, locked: its lines say how many units are open, assigned, fulfilled and failed, the
items of a request how many of its own are still to be sent.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple
from uuid import UUID

from services.orders.domain.life import StoredLine, StoredOrder
from services.orders.domain.orders import Refusal

RequestState = Literal["open", "completed", "failed", "partly_completed"]
Settled = Literal["completed", "failed"]
EventKind = Literal["assigned", "completed", "failed"]
RefusalCode = Literal[
    "order_not_found",
    "request_not_found",
    "fulfillment_ref_conflict",
    "order_cancelled",
    "not_decided",
    "short",
    "refused",
    "nothing_open",
    "nothing_assigned",
    "unknown_line",
    "too_many_units",
    "several_suppliers",
    "several_locations",
    "invalid_action",
]
# Where an untracked line is sent from if nobody says it: every supplier has this location.
MAIN = "main"


class RefusedError(Exception):
    """An action that is not possible, with the reasons; nothing of it is done."""

    def __init__(self, *refusals: Refusal, code: RefusalCode) -> None:
        """Keep what is wrong."""
        super().__init__("; ".join(refusal.detail for refusal in refusals))
        self.code: RefusalCode = code
        self.refusals = refusals


class Part(NamedTuple):
    """A line that an action names, and how many units; `None` for as many as there are."""

    line_id: int
    quantity: int | None


class RequestItem(NamedTuple):
    """Units of a line in a request."""

    line_id: int
    quantity: int
    completed: int = 0
    failed: int = 0

    @property
    def assigned(self) -> int:
        """Units that are still to be sent."""
        return self.quantity - self.completed - self.failed


class Request(NamedTuple):
    """A request as it stands, whole; `external_ref` is the supplier's own reference."""

    request_id: UUID
    supplier_id: int
    order_id: UUID
    location: str
    external_ref: str | None
    fingerprint: bytes
    items: tuple[RequestItem, ...]

    @property
    def state(self) -> RequestState:
        """How it stands: open while anything is still to be sent."""
        if any(item.assigned for item in self.items):
            return "open"
        if not any(item.failed for item in self.items):
            return "completed"
        return "partly_completed" if any(item.completed for item in self.items) else "failed"


class Chosen(NamedTuple):
    """What is to be assigned: units by line, all of one supplier and from one location."""

    supplier_id: int
    location: str
    units: dict[int, int]


def fingerprint(order_id: UUID, parts: Sequence[Part] | None, location: str | None) -> bytes:
    """SHA-256 of what was asked for, as it was asked: `None` for all that was open stays that."""
    named = None if parts is None else sorted(parts, key=lambda part: (part.line_id, part.quantity or 0))
    content = [str(order_id), named, location]
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).digest()


def choose(order: StoredOrder, supplier_id: int | None, parts: Sequence[Part] | None, location: str | None) -> Chosen:
    """What a new request is for: these lines, or all that is open of the supplier's (of those drawn from `location`).

    `supplier_id` is `None` for whoever may assign for all: then the lines say it. Raises `RefusedError`.
    """
    if order.state == "cancelled":
        raise RefusedError(Refusal("order_id", f"order {order.order_id} is cancelled"), code="order_cancelled")
    if order.decided_version != order.version:
        detail = (
            f"inventory has not decided version {order.version} of order {order.order_id} yet: try again in a moment"
        )
        raise RefusedError(Refusal("order_id", detail), code="not_decided")
    own = [line for line in order.lines if supplier_id in {None, line.supplier_id} and line.supplier_id is not None]
    units = _all_open(order, own, location) if parts is None else _named(order, own, parts)
    lines = [line for line in own if line.line_id in units]
    for line in lines:
        _require_decided(line)
    suppliers = sorted({line.supplier_id for line in lines if line.supplier_id is not None})
    if len(suppliers) > 1:
        detail = f"these lines are supplied by several companies ({_listed(suppliers)}): name those of one in items"
        raise RefusedError(Refusal("items", detail), code="several_suppliers")
    return Chosen(suppliers[0], location or _one_place(lines), units)


def assign(order: StoredOrder, units: Mapping[int, int]) -> StoredOrder:
    """The order with these open units assigned."""
    return _moved(order, units, lambda line, count: line._replace(assigned=line.assigned + count))


def settle(
    order: StoredOrder, request: Request, settled: Settled, parts: Sequence[Part] | None
) -> tuple[StoredOrder, Request, dict[int, int]]:
    """Complete or fail these units of a request, or all that are still to be sent; returns them by line, too.

    Raises `RefusedError`.
    """
    own = {item.line_id: item for item in request.items}
    if parts is None:
        units = {item.line_id: item.assigned for item in request.items if item.assigned}
        if not units:
            raise RefusedError(Refusal("request_id", _nothing_left(request)), code="nothing_assigned")
    else:
        _require_known(parts, own, f"fulfillment request {request.request_id} is not for a line")
        units = {part.line_id: _settled(request, own[part.line_id], part, n) for n, part in enumerate(parts)}
    items = tuple(_settled_item(item, settled, units.get(item.line_id, 0)) for item in request.items)
    return _settled_order(order, settled, units), request._replace(items=items), units


def _all_open(order: StoredOrder, own: Sequence[StoredLine], location: str | None) -> dict[int, int]:
    lines = [line for line in own if line.open and location in {None, _place_of(line)}]
    if not lines:
        where = "" if location is None else f" that was drawn from {location!r}"
        hint = "" if location is None else "; to send other lines from there, name them in items"
        detail = f"order {order.order_id} has no open unit{where}: {_how_they_stand(own)}{hint}"
        raise RefusedError(Refusal("order_id" if location is None else "location", detail), code="nothing_open")
    return {line.line_id: line.open for line in lines}


def _named(order: StoredOrder, own: Sequence[StoredLine], parts: Sequence[Part]) -> dict[int, int]:
    lines = {line.line_id: line for line in own}
    _require_known(parts, lines, f"order {order.order_id} has no line of yours")
    return {part.line_id: _open_units(lines[part.line_id], part, number) for number, part in enumerate(parts)}


def _require_known(parts: Sequence[Part], known: Mapping[int, object], words: str) -> None:
    """Raise unless the parts name known lines, each once."""
    seen: set[int] = set()
    refusals = []
    for number, (line_id, _) in enumerate(parts):
        if line_id not in known:
            refusals.append(Refusal(f"items[{number}].line_id", f"{words} with the number {line_id}"))
        elif line_id in seen:
            refusals.append(Refusal(f"items[{number}].line_id", f"line {line_id} is named twice: add the units up"))
        seen.add(line_id)
    if refusals:
        raise RefusedError(*refusals, code="unknown_line")


def _open_units(line: StoredLine, part: Part, number: int) -> int:
    wanted = line.open if part.quantity is None else part.quantity
    if not line.open:
        detail = f"no unit is open any more: {_how_it_stands(line)}"
        raise RefusedError(Refusal(f"items[{number}].line_id", detail), code="nothing_open")
    if wanted > line.open:
        detail = f"{wanted} units are more than the {line.open} that are open: {_how_it_stands(line)}"
        raise RefusedError(Refusal(f"items[{number}].quantity", detail), code="too_many_units")
    return wanted


def _settled(request: Request, item: RequestItem, part: Part, number: int) -> int:
    wanted = item.assigned if part.quantity is None else part.quantity
    if not item.assigned:
        detail = f"no unit of line {item.line_id} is assigned any more: {_nothing_left(request)}"
        raise RefusedError(Refusal(f"items[{number}].line_id", detail), code="nothing_assigned")
    if wanted > item.assigned:
        detail = (
            f"{wanted} units are more than the {item.assigned} of line {item.line_id} that are still assigned: of "
            f"{item.quantity} {item.completed} are completed and {item.failed} failed"
        )
        raise RefusedError(Refusal(f"items[{number}].quantity", detail), code="too_many_units")
    return wanted


def _require_decided(line: StoredLine) -> None:
    if line.outcome is None or line.outcome == "parked":
        why = line.reason or "inventory has not decided it"
        raise RefusedError(
            Refusal("items", f"line {line.line_id} waits: {why}; name others in items"), code="not_decided"
        )
    if line.outcome in {"short", "refused"}:
        short = line.outcome == "short"
        why = line.reason or ("it took no stock" if short else "the seller may not sell it")
        refusal = Refusal("items", f"line {line.line_id} is {line.outcome}: {why}")
        raise RefusedError(refusal, code="short" if short else "refused")


def _one_place(lines: Sequence[StoredLine]) -> str:
    places: dict[str, list[int]] = {}
    for line in lines:
        places.setdefault(_place_of(line), []).append(line.line_id)
    if len(places) > 1:
        listed = ", ".join(f"{place!r} (lines {_listed(ids)})" for place, ids in sorted(places.items()))
        detail = f"the lines drew from several locations: {listed}; name one, a request for each"
        raise RefusedError(Refusal("location", detail), code="several_locations")
    return next(iter(places))


def _place_of(line: StoredLine) -> str:
    """Where a line drew from: all of it from one location (rule 11)."""
    return str(line.takes[0]["location"]) if line.takes else line.location or MAIN


def _how_it_stands(line: StoredLine) -> str:
    counts = {
        "cancelled": line.cancelled,
        "assigned": line.assigned,
        "fulfilled": line.fulfilled,
        "failed": line.failed,
    }
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"line {line.line_id} is for {line.quantity}" + (f", of them {told}" if told else "")


def _how_they_stand(lines: Sequence[StoredLine]) -> str:
    return "; ".join(_how_it_stands(line) for line in lines)


def _nothing_left(request: Request) -> str:
    told = "; ".join(f"line {item.line_id}: {item.completed} completed, {item.failed} failed" for item in request.items)
    return f"fulfillment request {request.request_id} is {request.state} ({told})"


def _settled_item(item: RequestItem, settled: Settled, count: int) -> RequestItem:
    if settled == "completed":
        return item._replace(completed=item.completed + count)
    return item._replace(failed=item.failed + count)


def _settled_order(order: StoredOrder, settled: Settled, units: Mapping[int, int]) -> StoredOrder:
    if settled == "completed":
        return _moved(
            order, units, lambda line, n: line._replace(assigned=line.assigned - n, fulfilled=line.fulfilled + n)
        )
    return _moved(order, units, lambda line, n: line._replace(assigned=line.assigned - n, failed=line.failed + n))


def _moved(order: StoredOrder, units: Mapping[int, int], move: Callable[[StoredLine, int], StoredLine]) -> StoredOrder:
    lines = (move(line, units[line.line_id]) if line.line_id in units else line for line in order.lines)
    return order._replace(lines=tuple(lines))


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
