"""Files of orders."""

from collections.abc import Mapping
from typing import Any

from services.console.company_names import company_names
from services.console.file_imports import FileKind, errors_in_words, import_page
from services.console.frame import page
from services.console.list_table import Column
from services.console.visits import Visit

TONES = {"created": "ok", "refused": "bad"}


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "row": row["row"],
        "line": f"{row['line']:,}",
        "ref": row["external_ref"] or "",
        "ref_address": f"/orders/{row['order_id']}" if row["order_id"] else None,
        "product": " ".join(str(one) for one in (row["product_id"], row["variant_sku"]) if one),
        "quantity": "" if row["quantity"] is None else f"{row['quantity']:,}",
        "status": row["status"].capitalize(),
        "status_tone": TONES.get(row["status"], ""),
        "why": errors_in_words(row),
    }


KIND = FileKind(
    things="orders",
    here="/orders/import",
    upload_path="/v1/orders/imports",
    imports_path="/v1/orders/imports",
    explained="A CSV file with the columns external_ref, product_id and quantity; placed_at, variant_sku and location "
    "if you like. A row for each line of an order: rows with the same external_ref are one order, which goes in whole "
    "or not at all. What is there already counts once, so a file that was corrected is sent again as it is.",
    counts={
        "rows": "rows",
        "orders": "orders",
        "created": "orders made",
        "existing": "there already",
        "refused": "refused",
    },
    columns=(
        Column("line", "Line", "number"),
        Column("ref", "Order", "link"),
        Column("product", "Product", "mono"),
        Column("quantity", "Units", "number"),
        Column("status", "Result", "badge"),
        Column("why", "What is wrong"),
    ),
    row=_row,
    statuses=("created", "existing", "refused"),
    leads_to="/orders",
)


@page("/orders/import", "Import orders")
async def import_orders(visit: Visit) -> None:
    """Upload, preview, import."""
    await import_page(visit, KIND, ("seller_id", await company_names(visit)) if visit.is_admin else None)
