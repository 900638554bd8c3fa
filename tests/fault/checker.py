"""The promises P1 to P6, judged from the outside: the clients' journal, the receivers' log, and the books.

Each promise is pure functions over what was read, which return a sentence for each violation. Nothing here knows how
the services keep their promises.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby, pairwise
from typing import NamedTuple
from urllib.parse import urljoin

from tests.fault.books import Books, Document, Entry, Level, read_books
from tests.fault.journal import Journal, Kind, Operation
from tests.receiver import Receiver

LEDGER_KINDS: dict[str, Kind] = {"order": "order", "returned": "return", "manual": "adjustment"}
# What becomes of an order's units afterwards: of the order, but no second effect of it.
LATER_KINDS: dict[str, Kind] = {"fulfilled": "order", "fulfillment_failed": "order"}
# Of no order or adjustment: they move what is reserved, and nothing else.
RESERVING_KINDS = {"reserved", "released", "expired", "converted"}
# What a supplier sets of an item: it moves nothing.
SETTINGS = "settings"
SENTENCES_SHOWN = 20

Slot = tuple[str, int]
Key = tuple[Kind, int, str]


class Told(NamedTuple):
    """That a call told an endpoint what is available of a product, and when it arrived (monotonic seconds).

    It may have come as early as `arrived_after`, where the receiver was too busy to look.
    """

    url: str
    product_id: int
    arrived_at: float
    arrived_after: float
    version: int
    available: int


@dataclass(slots=True)
class Verdict:
    """What became of the journal's operations, and the sentences on each promise that was broken.

    `ok` and `absent` count operations; `absent` were never acknowledged and left no trace, as is their right. `lost`,
    `duplicated` and `invented` hold a sentence for each operation, ledger entry or document that is.
    """

    ok: int = 0
    absent: int = 0
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)
    violations: dict[str, list[str]] = field(default_factory=dict)

    def problems(self) -> list[str]:
        """All that is wrong, in sentences; nothing when every promise was kept."""
        counted = {"lost": self.lost, "duplicated": self.duplicated, "invented": self.invented}
        return [f"{label}: {one}" for label, some in (counted | self.violations).items() for one in some]

    def __str__(self) -> str:
        """The counts, and the first of the problems."""
        problems = self.problems()
        counts = (
            f"{self.ok} ok, {len(self.lost)} lost, {len(self.duplicated)} duplicated, {len(self.invented)} invented"
        )
        more = len(problems) - SENTENCES_SHOWN
        return "\n".join([counts, *problems[:SENTENCES_SHOWN], *([f"and {more} more"] if more > 0 else [])])


async def check(dsn: str, journal: Journal, receivers: Sequence[Receiver], window_seconds: float) -> Verdict:
    """Judge a run that has settled (`until_settled` in settling.py); `receivers` took the calls of its endpoints."""
    return judge(await read_books(dsn), journal, told_by(receivers), window_seconds)


def told_by(receivers: Iterable[Receiver]) -> list[Told]:
    """What the receivers heard, in the order of arrival."""
    told = [
        Told(
            url=urljoin(receiver.url, call.path),
            product_id=item["linked"][0]["product"]["id"],
            arrived_at=call.arrived_at,
            arrived_after=call.arrived_after,
            version=item["version"],
            available=item["quantity_available"],
        )
        for receiver in receivers
        for call in receiver.calls
        for item in call.stock
    ]
    return sorted(told, key=lambda item: item.arrived_at)


def judge(books: Books, journal: Journal, told: Sequence[Told], window_seconds: float) -> Verdict:
    """Judge what was read; `told` is in the order of arrival."""
    verdict = Verdict()
    account_for_operations(verdict, books, journal)
    by_slot: dict[Slot, list[Told]] = defaultdict(list)
    for item in told:
        by_slot[item.url, item.product_id].append(item)
    found = {
        "P1": a_window_apart(by_slot, window_seconds),
        "P2": last_state_told(books, by_slot),
        "P3": [*never_back(books, by_slot), *attempts_never_back(books.attempts)],
        "P4": list(books.aside),
        "P5": [
            *ledger_explains_levels(books),
            *versions_count_changes(books),
            *takings_explain_orders(books),
            *somebody_holds_what_is_held(books),
        ],
        "P6": one_effect_each(books.documents, journal),
    }
    verdict.violations = {promise: sentences for promise, sentences in found.items() if sentences}
    return verdict


# P1 to P3: what the receivers heard.


def a_window_apart(by_slot: Mapping[Slot, Sequence[Told]], window_seconds: float) -> list[str]:
    """P1: calls to one endpoint for one product arrive a window apart at least, wherever the receiver can tell."""
    return [
        f"{url} was told of product {product_id} again after {later.arrived_at - earlier.arrived_after:.3f} s at most, "
        f"within its window of {window_seconds:g} s (versions {earlier.version} and {later.version})"
        for (url, product_id), calls in by_slot.items()
        for earlier, later in pairwise(calls)
        if later.arrived_at - earlier.arrived_after < window_seconds
    ]


def last_state_told(books: Books, by_slot: Mapping[Slot, Sequence[Told]]) -> list[str]:
    """P2: the last that each connected endpoint was told of a product is what is available now.

    An endpoint is told from the first change after its registration: told nothing, it must have missed nothing.
    """
    now: Counter[int] = Counter()
    for (product_id, _), level in books.levels.items():
        now[product_id] += level.available
    violations = []
    for endpoint in books.endpoints:
        for product_id in sorted(books.versions):
            if books.suppliers[product_id] not in endpoint.supplier_ids:
                continue
            calls = by_slot.get((endpoint.url, product_id))
            believed = calls[-1].available if calls else _available_at(books, product_id, endpoint.created_at)
            if believed != now[product_id]:
                violations.append(
                    f"{endpoint.url} believes that {believed} of product {product_id} are available "
                    f"({len(calls or [])} calls), it is {now[product_id]}"
                )
    return violations


def never_back(books: Books, by_slot: Mapping[Slot, Sequence[Told]]) -> list[str]:
    """P3: what an endpoint was told of a product are states that were committed, never an older after a newer."""
    states = states_of(books)
    violations = []
    for (url, product_id), calls in by_slot.items():
        for item in calls:
            committed = states.get(product_id, {}).get(item.version)
            if committed != item.available:
                violations.append(
                    f"{url} was told that {item.available} of product {product_id} are available at version "
                    f"{item.version}, the ledger says {committed}"
                )
        violations += [
            f"{url} was told version {later.version} of product {product_id} after version {earlier.version}"
            for earlier, later in pairwise(calls)
            if later.version < earlier.version
        ]
    return violations


def attempts_never_back(attempts: Iterable[tuple[int, int, int]]) -> list[str]:
    """P3: the versions of an endpoint's attempts at a product never go back."""
    newest: dict[tuple[int, int], int] = {}
    violations = []
    for endpoint_id, product_id, version in attempts:
        before = newest.get((endpoint_id, product_id), 0)
        if version < before:
            violations.append(
                f"endpoint {endpoint_id} was sent version {version} of product {product_id} after version {before}"
            )
        newest[endpoint_id, product_id] = version
    return violations


def states_of(books: Books) -> dict[int, dict[int, int]]:
    """`{product id: {version: available}}`: the committed states, worked out from the ledger."""
    states: dict[int, dict[int, int]] = {}
    for product_id, entries in groupby(books.ledger, key=lambda entry: entry.product_id):
        available = -_safety_stock(books, product_id)
        for entry in entries:
            available += entry.available_delta
            states.setdefault(product_id, {})[entry.item_version] = available
    return states


def _available_at(books: Books, product_id: int, moment: datetime) -> int:
    before = (one for one in books.ledger if one.product_id == product_id and one.occurred_at <= moment)
    return sum(entry.available_delta for entry in before) - _safety_stock(books, product_id)


def _safety_stock(books: Books, product_id: int) -> int:
    return sum(level.safety_stock for (of_product, _), level in books.levels.items() if of_product == product_id)


# P4 and P6: what became of the operations.


def account_for_operations(verdict: Verdict, books: Books, journal: Journal) -> None:
    """P4: count what is there, what is lost, duplicated or invented, operation by operation."""
    documents = {(one.kind, one.document_id): one for one in books.documents}
    found: dict[Key, list[Entry]] = defaultdict(list)
    for entry in books.ledger:
        if entry.kind in RESERVING_KINDS and entry.deltas[:2] == (0, 0):
            continue
        if entry.kind == SETTINGS and not any(entry.deltas):
            continue
        key = _key_of(entry, books, documents)
        if key is None:
            verdict.invented.append(f"the ledger has {entry}, whose {entry.kind} nobody knows")
        elif entry.kind in LEDGER_KINDS:
            found[key].append(entry)
    there = {(one.kind, one.company_id, one.reference) for one in books.documents}
    for kind, company_id, reference in sorted(there | found.keys()):
        if journal.find(kind, company_id, reference) is None:
            verdict.invented.append(f"{kind} {reference!r} of company {company_id}: no client ever sent it")
    for operation in journal.operations:
        _account_for(verdict, operation, found.get(operation.key, []), is_there=operation.key in there)


def _key_of(entry: Entry, books: Books, documents: Mapping[tuple[Kind, str], Document]) -> Key | None:
    kind = (LEDGER_KINDS | LATER_KINDS).get(entry.kind)
    if kind == "adjustment":
        return kind, books.suppliers[entry.product_id], entry.reason or ""
    document = documents.get((kind, entry.reference)) if kind else None
    return (document.kind, document.company_id, document.reference) if document else None


def _account_for(verdict: Verdict, operation: Operation, entries: Sequence[Entry], *, is_there: bool) -> None:
    if operation.kind == "adjustment":
        _account_for_adjustment(verdict, operation, entries)
        return
    effect: Counter[int] = Counter()
    for entry in entries:
        effect[entry.product_id] += entry.available_delta
    wanted = {product_id: units for product_id, units in operation.effect.items() if units}
    lines = Counter((entry.product_id, entry.line_id) for entry in entries)
    if not is_there and not entries:
        if operation.acknowledged:
            verdict.lost.append(f"{operation} was acknowledged and is not there")
        else:
            verdict.absent += 1
    elif dict(effect) == wanted and max(lines.values(), default=1) == 1:
        verdict.ok += 1
    elif max(lines.values(), default=1) > 1:
        twice = sorted(line for line, count in lines.items() if count > 1)
        verdict.duplicated.append(f"{operation} has more than one effect for (product id, line id) {twice}")
    else:
        verdict.lost.append(f"{operation} should have changed {wanted}, it changed {dict(effect)}")


def _account_for_adjustment(verdict: Verdict, operation: Operation, entries: Sequence[Entry]) -> None:
    """Each time that it was sent it may have been applied; each time that it was acknowledged it must have been."""
    wrong = [one for one in entries if operation.effect.get(one.product_id) != one.available_delta]
    times = Counter(dict.fromkeys(operation.effect, 0))
    times.update(entry.product_id for entry in entries)
    fewest, most = min(times.values()), max(times.values())
    if wrong:
        verdict.invented.append(f"{operation} changed something else than {dict(operation.effect)}: {wrong}")
    elif fewest < operation.acknowledged:
        verdict.lost.append(f"{operation} was acknowledged {operation.acknowledged} times, applied {fewest} times")
    elif most > operation.sent:
        verdict.duplicated.append(f"{operation} was sent {operation.sent} times, applied {most} times")
    elif most:
        verdict.ok += 1
    else:
        verdict.absent += 1


def one_effect_each(documents: Iterable[Document], journal: Journal) -> list[str]:
    """P6: one order or return per reference, and every answer named that one."""
    ids: dict[Key, list[str]] = defaultdict(list)
    for one in documents:
        ids[one.kind, one.company_id, one.reference].append(one.document_id)
    twice = [
        f"{kind} {ref!r} of company {owner} is there {len(some)} times: {some}"
        for (kind, owner, ref), some in ids.items()
        if len(some) > 1
    ]
    answered = [
        f"{operation} was answered with {sorted(operation.ids)}, it is {ids.get(operation.key, 'not there')}"
        for operation in journal.operations
        if not operation.ids <= set(ids.get(operation.key, [])[:1])
    ]
    return [*twice, *answered]


# P5: the ledger explains every level.


def ledger_explains_levels(books: Books) -> list[str]:
    """P5: the deltas of a level add up to what each entry says of it, and in the end to the level."""
    sums: dict[tuple[int, int], tuple[int, int, int]] = {}
    violations = []
    for entry in books.ledger:
        key = entry.product_id, entry.location_id
        before = sums.get(key, (0, 0, 0))
        sums[key] = (before[0] + entry.deltas[0], before[1] + entry.deltas[1], before[2] + entry.deltas[2])
        if sums[key] != entry.after:
            violations.append(f"{entry} comes after {before}: that makes {sums[key]}")
    for key in sorted(books.levels.keys() | sums.keys()):
        level = books.levels.get(key)
        held = (level.on_hand, level.allocated, level.reserved) if level else (0, 0, 0)
        explained = sums.get(key, (0, 0, 0))
        if held != explained:
            violations.append(
                f"product {key[0]} at location {key[1]} has (on hand, allocated, reserved) {held}, "
                f"the ledger explains {explained}"
            )
    return violations


def versions_count_changes(books: Books) -> list[str]:
    """P5: the versions of a product's entries count up without a gap, to the version of the product."""
    versions: dict[int, list[int]] = {product_id: [] for product_id in books.versions}
    for entry in books.ledger:
        of_product = versions.setdefault(entry.product_id, [])
        if not of_product or of_product[-1] != entry.item_version:
            of_product.append(entry.item_version)
    return [
        f"product {product_id} has version {books.versions.get(product_id)}, its {len(some)} changes end at {some[-3:]}"
        for product_id, some in versions.items()
        if some != list(range(1, (books.versions.get(product_id) or 0) + 1))
    ]


def takings_explain_orders(books: Books) -> list[str]:
    """P5: what orders hold of a product at a location, and what has left for them, is what they took by the ledger."""
    taken: Counter[tuple[int, int]] = Counter()
    for entry in books.ledger:
        if entry.kind.startswith(("order", "fulfil")):
            taken[entry.product_id, entry.location_id] -= entry.available_delta
    return [
        f"orders hold {books.takings.get(key, 0)} of product {key[0]} at location {key[1]} and "
        f"{books.completed.get(key, 0)} have left, they took {taken[key]}"
        for key in sorted(taken.keys() | books.takings.keys() | books.completed.keys())
        if books.takings.get(key, 0) + books.completed.get(key, 0) != taken[key]
    ]


def somebody_holds_what_is_held(books: Books) -> list[str]:
    """P5: what is allocated is what takings and completed items keep so, what is reserved is what reservations hold."""
    violations = []
    for key in sorted(books.levels.keys() | books.allocating.keys() | books.reserving.keys()):
        level = books.levels.get(key, Level(0, 0, 0, 0))
        for what, units, held in (
            ("allocated", level.allocated, books.allocating.get(key, 0)),
            ("reserved", level.reserved, books.reserving.get(key, 0)),
        ):
            if units != held:
                violations.append(
                    f"{units} of product {key[0]} at location {key[1]} are {what}, somebody holds {held} of them"
                )
    return violations
