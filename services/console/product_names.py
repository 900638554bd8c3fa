"""Products by their SKUs: many answers of the API name them by id alone."""

import asyncio
from collections.abc import Collection
from typing import Any

from services.console.api import RefusedError
from services.console.visits import Visit

AT_ONCE = 8


class ProductNames:
    """What products are called; each is asked for once. One that the visitor may not see is called by its id."""

    def __init__(self, visit: Visit) -> None:
        """Know none yet."""
        self._api = visit.api
        self._may_read = visit.may("catalog:read")
        self._known: dict[int, dict[str, Any] | None] = {}
        self._free = asyncio.Semaphore(AT_ONCE)

    async def learn(self, ids: Collection[int]) -> None:
        """Ask for those of these products that were not asked for before."""
        await asyncio.gather(*(self._ask(one) for one in dict.fromkeys(ids) if one not in self._known))

    def keep(self, product: dict[str, Any]) -> None:
        """Remember a product that was answered anyway."""
        self._known[product["id"]] = product

    def sku(self, product_id: int) -> str:
        """Its SKU, else how it is called without."""
        known = self._known.get(product_id)
        return str(known["sku"]) if known else f"Product {product_id}"

    def name(self, product_id: int) -> str:
        """Its name; empty where it is not known."""
        known = self._known.get(product_id)
        return str(known["name"]) if known else ""

    def knows(self, product_id: int) -> bool:
        """Whether the visitor may see it, so that a link to its page leads somewhere."""
        return self._known.get(product_id) is not None

    async def _ask(self, product_id: int) -> None:
        found = None
        if self._may_read:
            async with self._free:
                try:
                    found = await self._api.get(f"/v1/products/{product_id}")
                except RefusedError as error:
                    if error.status != 404:  # noqa: PLR2004 - not found, or not the visitor's
                        raise
        self._known[product_id] = found
