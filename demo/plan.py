"""What to create and what to send, worked out from the lines of a file: pure, nothing is sent here."""

import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from demo.orders_file import FileLine, OrdersFileError

LETTERED_CODE = re.compile(r"([0-9]+)([A-Za-z]+)")
# The most lines the API takes in one order or return; a longer invoice goes as several.
LINES_PER_MESSAGE = 1000


@dataclass(frozen=True, slots=True)
class Assortment:
    """The products of a file.

    `names` has every stock code; `stock` are the codes with a level, `untracked` those without (postage, discounts);
    `styles` are the numeric stems with the two or more lettered codes that become their variants.
    """

    names: Mapping[str, str]
    stock: tuple[str, ...]
    untracked: tuple[str, ...]
    styles: Mapping[str, tuple[str, ...]]

    @property
    def style_of(self) -> dict[str, str]:
        """`{lettered code: stem}` of the codes that are ordered through their style."""
        return {code: stem for stem, codes in self.styles.items() for code in codes}


@dataclass(frozen=True, slots=True)
class Message:
    """An invoice as it is sent: an order, or a stand-alone return; `lines` are `(stock code, units > 0)`."""

    kind: Literal["order", "return"]
    reference: str
    placed_at: datetime
    lines: tuple[tuple[str, int], ...]


def assortment_of(lines: Sequence[FileLine]) -> Assortment:
    """The products to create for these lines; codes that differ only in case are different products."""
    names: dict[str, str] = {}
    for line in lines:
        names[line.stock_code] = names.get(line.stock_code) or line.description
    stems: dict[str, list[str]] = defaultdict(list)
    for code in sorted(names):
        if lettered := LETTERED_CODE.fullmatch(code):
            stems[lettered[1]].append(code)
    return Assortment(
        names={code: name or code for code, name in names.items()},
        stock=tuple(sorted(code for code in names if code[0].isdigit())),
        untracked=tuple(sorted(code for code in names if not code[0].isdigit())),
        styles={stem: tuple(codes) for stem, codes in stems.items() if len(codes) > 1},
    )


def messages_of(lines: Sequence[FileLine]) -> list[Message]:
    """One message per invoice, in the order of the file; lines of no units say nothing and are left out.

    Negative lines, and all lines of `C` invoices, become a return of their own beside what the invoice orders.
    """
    sorted_lines: dict[tuple[str, Literal["order", "return"]], list[FileLine]] = defaultdict(list)
    for line in lines:
        if line.quantity:
            came_back = line.quantity < 0 or line.invoice.startswith("C")
            sorted_lines[line.invoice, "return" if came_back else "order"].append(line)
    return [
        Message(
            kind=kind,
            reference=invoice if start == 0 else f"{invoice}/{start // LINES_PER_MESSAGE + 1}",
            placed_at=of_invoice[0].placed_at,
            lines=tuple(
                (line.stock_code, abs(line.quantity)) for line in of_invoice[start : start + LINES_PER_MESSAGE]
            ),
        )
        for (invoice, kind), of_invoice in sorted_lines.items()
        for start in range(0, len(of_invoice), LINES_PER_MESSAGE)
    ]


def without_one_order(messages: Sequence[Message]) -> tuple[list[Message], Message]:
    """The messages without the middle one of the orders that lower a level, and that one: what `--drop-one` withholds.

    Raises `OrdersFileError` when no message orders a product with a level.
    """
    lowering = [item for item in messages if item.kind == "order" and any(code[0].isdigit() for code, _ in item.lines)]
    if not lowering:
        message = "there is no order in the file whose absence could be noticed"
        raise OrdersFileError(message)
    withheld = lowering[len(lowering) // 2]
    return [item for item in messages if item is not withheld], withheld


def sending_sequence(messages: Sequence[Message], *, twice_share: float, window: int, seed: int) -> list[Message]:
    """The messages as a careless sender delivers them, the same for the same `seed`.

    A share of them (`twice_share`, 0 to 1, at least one message) is sent again up to `window` places later; then every
    `window` neighbours are shuffled.
    """
    chance = random.Random(seed)  # noqa: S311 - a repeatable shuffle, no secret
    twice_count = min(len(messages), max(1, round(len(messages) * twice_share)))
    again: dict[int, list[Message]] = defaultdict(list)
    for index in chance.sample(range(len(messages)), twice_count):
        again[min(index + chance.randrange(window), len(messages) - 1)].append(messages[index])
    sequence = [item for index, message in enumerate(messages) for item in (message, *again[index])]
    shuffled: list[Message] = []
    for start in range(0, len(sequence), window):
        neighbours = sequence[start : start + window]
        chance.shuffle(neighbours)
        shuffled += neighbours
    return shuffled
