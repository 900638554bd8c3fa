"""An order as its page shows it, and what the visitor may do with it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nicegui import ui

from services.console.api import RefusedError
from services.console.product_names import ProductNames
from services.console.visits import Visit


@dataclass(frozen=True, slots=True)
class ShownOrder:
    """An order and what surrounds it; dialogs are made in `dialogs`, and `refresh` shows what has changed."""

    visit: Visit
    body: Mapping[str, Any]
    names: ProductNames
    companies: Mapping[int, str]
    dialogs: ui.element
    refresh: Callable[[], Awaitable[None]]

    @property
    def id(self) -> str:
        """Its id."""
        return str(self.body["order_id"])

    @property
    def path(self) -> str:
        """Where the API has it."""
        return f"/v1/orders/{self.id}"

    @property
    def is_seller(self) -> bool:
        """Whether the visitor sold it, or may do as the seller does."""
        return self.visit.is_admin or self.body["seller_id"] == self.visit.company_id

    @property
    def may_change(self) -> bool:
        """Whether the visitor may amend and cancel it, and take items back."""
        return self.is_seller and self.visit.may("orders:write")

    @property
    def suppliers(self) -> list[int]:
        """Those for whom the visitor may say what is sent of it."""
        known = [one["supplier_id"] for one in self.body["suppliers"]]
        return known if self.visit.is_admin else [one for one in known if one == self.visit.company_id]

    @property
    def may_send(self) -> bool:
        """Whether the visitor may say what is sent of it."""
        return bool(self.suppliers) and self.visit.may("orders:write")

    @property
    def product_ids(self) -> list[int]:
        """The products that its lines name, and those that they drew on."""
        lines = self.body["lines"][:100]
        ids = [line["product_id"] for line in lines]
        return ids + [take["product_id"] for line in lines for take in line["takes"]]

    def line_name(self, line: Mapping[str, Any]) -> str:
        """What a line is of."""
        return str(line["variant_sku"] or self.names.sku(line["product_id"]))


def units_name(line_id: int) -> str:
    """The name of the field that holds how many units of a line."""
    return f"units-{line_id}"


def by_line(error: RefusedError, line_ids: Sequence[int]) -> RefusedError:
    """The refusal of what was said of these lines, with the names of their fields: `items[0].quantity` is of one."""
    errors = {}
    for field, why in error.errors.items():
        number = field.partition("[")[2].partition("]")[0]
        is_of_line = field.startswith(("items[", "lines[")) and number.isdecimal() and int(number) < len(line_ids)
        errors[units_name(line_ids[int(number)]) if is_of_line else field] = why
    return RefusedError(error.status, error.code, error.detail, errors)
