"""The table of publishers: users of the broker, and the company that each sends orders for."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, Text
from sqlmodel import Field

from services.orders.tables.table import Table
from shared.database import MOMENT


class Publisher(Table, table=True):
    """A user of the broker that sends orders of one company, for ever: what it sent is only that company's to see."""

    __tablename__ = "publishers"
    __table_args__ = (Index("ix_publishers_company_id", "company_id"),)

    amqp_user: str = Field(primary_key=True, sa_type=Text)
    company_id: int = Field(sa_type=BigInteger)
    created_at: datetime = Field(sa_type=MOMENT)
    # Removed, it is no company's: also not that of whoever has its name for a ref.
    removed_at: datetime | None = Field(sa_type=MOMENT)
