"""What the tables of orders have in common."""

from typing import Any

from sqlalchemy import CheckConstraint, DateTime, text
from sqlmodel import SQLModel

from shared.database import registry_in


class Table(SQLModel, registry=registry_in("orders")):
    """The base of orders's tables."""

    __abstract__ = True


METADATA = Table.metadata

MOMENT = DateTime(timezone=True)
ZERO: dict[str, Any] = {"server_default": text("0")}


def one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    """A column that only ever has one of these values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} in ({listed})", name=f"{column}_known")
