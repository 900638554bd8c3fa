"""What polling for changed stock needs to miss none."""

from datetime import datetime

from sqlmodel import Field

from services.inventory.tables.table import Table
from shared.database import MOMENT


class FeedMark(Table, table=True):
    """At `noted_at` every change that began before `open_since` was committed, or undone.

    A change is stamped while its transaction runs, and can be read when that has committed, maybe much later. Whoever
    has read everything at `noted_at` can have missed changes from `open_since` on, and none before.
    """

    __tablename__ = "feed_marks"

    noted_at: datetime = Field(sa_type=MOMENT, primary_key=True)
    open_since: datetime = Field(sa_type=MOMENT)
