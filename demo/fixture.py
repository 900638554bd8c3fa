"""The documents' example: Supplier A, Retailer A, and the products 100 to 300 with their very ids."""

from dataclasses import dataclass
from typing import Any

from demo.api import NOT_FOUND, Api, ApiError
from demo.companies import company_id, connect, new_key

SIZES = {"Small": ("T01-S", 100), "Large": ("T01-L", 101)}
SUPPLIERS_PRODUCTS: tuple[dict[str, Any], ...] = (
    {"id": 100, "sku": "T01-S", "name": "T-shirt, small", "type": "stock"},
    {"id": 101, "sku": "T01-L", "name": "T-shirt, large", "type": "stock"},
    {
        "id": 102,
        "sku": "T01",
        "name": "T-shirt with your picture",
        "type": "customisable",
        "variants": [
            {"sku": sku, "attributes": [{"name": "Size", "value": size}], "base_stock_product_id": base}
            for size, (sku, base) in SIZES.items()
        ],
    },
    {"id": 200, "sku": "S7", "name": "S7 case", "type": "stock"},
    {"id": 201, "sku": "S7", "name": "S7 case with your picture", "type": "customisable", "base_stock_product_id": 200},
    {"id": 202, "sku": "S7", "name": "S7 case, the shortcut", "type": "stock_customisable"},
)
RETAILERS_PRODUCTS: tuple[dict[str, Any], ...] = (
    {"id": 300, "sku": "T01", "name": "Our own T-shirt", "type": "virtual", "base_product_id": 102},
)


@dataclass(frozen=True, slots=True)
class Fixture:
    """The example's two companies and a fresh API key of each."""

    supplier_id: int
    supplier_key: str
    retailer_id: int
    retailer_key: str


async def load_fixture(admin: Api) -> Fixture:
    """Make what is missing of the example through the public API, as the platform admin.

    Raises `RuntimeError` when one of its ids is taken by another product.
    """
    supplier_id = await company_id(admin, "supplier-a", "Supplier A", "supplier")
    retailer_id = await company_id(admin, "retailer-a", "Retailer A", "retailer")
    await connect(admin, supplier_id, retailer_id)
    for product in SUPPLIERS_PRODUCTS:
        await _ensure_product(admin, product | {"owner_id": supplier_id})
    for product in RETAILERS_PRODUCTS:
        await _ensure_product(admin, product | {"owner_id": retailer_id})
    return Fixture(supplier_id, await new_key(admin, supplier_id), retailer_id, await new_key(admin, retailer_id))


async def _ensure_product(admin: Api, product: dict[str, Any]) -> None:
    try:
        found = await admin.get(f"/v1/products/{product['id']}")
    except ApiError as error:
        if error.status != NOT_FOUND:
            raise
        await admin.post("/v1/products", product)
        return
    wanted, there = ({name: of[name] for name in ("owner_id", "sku", "type")} for of in (product, found))
    if wanted != there:
        message = (
            f"Product {product['id']} is there already, but it is {there} and not {wanted}. The demo needs the "
            "documents' own ids: give it a fresh data folder."
        )
        raise RuntimeError(message)
