"""The list of products: filters, orders, and cursors that belong to both."""

import hashlib
import json
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from services.catalog import domain
from services.catalog.api.product_bodies import Product, Products
from services.catalog.api.requests import Calling, Here
from services.catalog.fields import Id, Text
from services.catalog.store.product_lists import Position, ProductFilter, SortBy, list_products
from shared.events.catalog import ProductType
from shared.list_positions import NO_CURSOR, cursor_behind, position_in, refused_cursor

router = APIRouter(prefix="/v1")


class ProductQuery(BaseModel):
    """Which products, in which order; a filter nobody knows is refused, for it may be a misspelt one."""

    model_config = ConfigDict(extra="forbid")

    q: Text | None = Field(None, description="Begins the SKU in any case, or all its words begin words of the name.")
    sku: Text | None = Field(None, description="Is the SKU; case counts.")
    name: Text | None = Field(None, description="All its words begin words of the name, in any case.")
    type: ProductType | None = None
    linked_to: Id | None = Field(None, description="Base stock product that they draw on, in whatever way.")
    unlinked: bool = Field(default=False, description="Those that should be linked and are not, in any part.")
    barcode: Text | None = None
    owner_id: Id | None = None
    sort: SortBy = Field("id", description="`sku` and `name` without regard to case.")
    limit: int = Field(50, ge=1, le=200, description="Most items on a page.")
    cursor: str | None = Field(None, max_length=2000, description="`next_cursor` of the page before.")

    def wanted(self) -> ProductFilter:
        """What the list is narrowed to."""
        return ProductFilter(**self.model_dump(exclude={"sort", "limit", "cursor"}))

    def _list(self) -> str:
        """Tells this order and these filters from others."""
        asked = self.model_dump(exclude={"limit", "cursor"}, exclude_defaults=True)
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]

    def after(self) -> Position | None:
        """Where the page before ended; raises a 422 problem for a cursor that is none, or of another list."""
        if self.cursor is None:
            return None
        key, product_id = position_in(self.cursor, self._list())
        if not isinstance(key, str) or product_id < 0:
            raise refused_cursor(NO_CURSOR)
        return Position(key, product_id)

    def cursor_behind(self, position: Position) -> str:
        """The cursor of the page that follows this position."""
        return cursor_behind(self._list(), position.key, position.product_id)


@router.get("/products")
async def browse_products(query: Annotated[ProductQuery, Query()], caller: Calling, context: Here) -> Products:
    """The caller's products, and those that suppliers it is connected with show it; all for the platform admin."""
    async with context.database.transaction() as session:
        page = await list_products(
            session, caller.company_id, query.wanted(), sort=query.sort, after=query.after(), limit=query.limit
        )
    return Products(
        items=[Product.of(domain.as_seen_by(product, caller.company_id)) for product in page.products],
        next_cursor=None if page.end is None else query.cursor_behind(page.end),
    )
