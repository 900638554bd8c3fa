"""What the tables of orders have in common."""

from sqlmodel import SQLModel

from shared.database import registry_in


class Table(SQLModel, registry=registry_in("orders")):
    """The class of which all tables of orders are."""

    __abstract__ = True


METADATA = Table.metadata
