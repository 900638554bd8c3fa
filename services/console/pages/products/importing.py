"""Files of products."""

from collections.abc import Mapping
from typing import Any

from services.console.company_names import company_names
from services.console.file_imports import FileKind, errors_in_words, import_page
from services.console.frame import page
from services.console.list_table import Column
from services.console.pages.products.words import TYPE_WORDS
from services.console.visits import Visit

TONES = {"created": "ok", "changed": "accent", "refused": "bad"}


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "row": row["row"],
        "line": f"{row['line']:,}",
        "sku": row["sku"] or "",
        "sku_address": f"/products/{row['product_id']}" if row["product_id"] else None,
        "type": TYPE_WORDS.get(row["type"] or "", ""),
        "status": row["status"].capitalize(),
        "status_tone": TONES.get(row["status"], ""),
        "why": errors_in_words(row),
    }


KIND = FileKind(
    things="products",
    here="/products/import",
    upload_path="/v1/products/import",
    imports_path="/v1/products/imports",
    explained="A CSV file with the columns type, sku and name, and others if you like: barcode, visibility, base_sku, "
    "variant_sku, attributes, stock_sku, quantity. A row for each variant and component. Products that you have are "
    "changed, others are made; what the file does not name stays as it is. The export of your products is such a file.",
    counts={
        "rows": "rows",
        "created": "products made",
        "changed": "changed",
        "unchanged": "unchanged",
        "refused": "refused",
    },
    columns=(
        Column("line", "Line", "number"),
        Column("sku", "SKU", "link"),
        Column("type", "Type"),
        Column("status", "Result", "badge"),
        Column("why", "What is wrong"),
    ),
    row=_row,
    statuses=("created", "changed", "unchanged", "refused"),
    leads_to="/products",
    query={"format": "csv"},
)


@page("/products/import", "Import products")
async def import_products(visit: Visit) -> None:
    """Upload, preview, import."""
    await import_page(visit, KIND, ("owner_id", await company_names(visit)) if visit.is_admin else None)
