"""What the tables of inventory have in common."""

from sqlmodel import SQLModel

from shared.database import registry_in


class Table(SQLModel, registry=registry_in("inventory")):
    """The class of which all tables of inventory are."""

    __abstract__ = True


METADATA = Table.metadata
