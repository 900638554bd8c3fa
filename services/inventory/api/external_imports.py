"""Values of stock that another system sends, as Ka-ching's stock import has them.

Callers may authenticate as there: `account`, the ref of their company, and `apikey` in the query.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from services.inventory.api.imports import IMPORTS_PATH
from services.inventory.api.requests import Here, SupplierId
from services.inventory.domain.external_imports import Operation, Value
from services.inventory.domain.stock import DEFAULT_LOCATION
from services.inventory.external_imports import Sent, carry_out
from services.inventory.external_values import read_csv, read_json
from services.inventory.writing import Text
from shared.access import Caller, caller_of
from shared.csv_files import MEDIA_TYPE
from shared.errors import FieldError, ProblemError
from shared.idempotency import OnceRoute
from shared.service_context import Context

PATH = "/imports/stock"
QUERY_KEY_PATHS = frozenset({PATH})
OUTSIDE = "external"

router = APIRouter(route_class=OnceRoute)

Calling = Annotated[Caller, Depends(caller_of("inventory", takes_query_key=True))]
Integration = Annotated[Text, Query(description="The name of the system; the ledger's entries have it as `source`")]
Location = Annotated[Text | None, Query(description="Of the values of a CSV file; `main` when left out")]

VALUES: dict[str, Any] = {
    "type": "object",
    "description": "`{location: {product: number, product: {variant: number}}}`; products by SKU, else by id",
    "additionalProperties": {
        "type": "object",
        "additionalProperties": {
            "anyOf": [{"type": "integer"}, {"type": "object", "additionalProperties": {"type": "integer"}}]
        },
    },
}
KEY_IN_QUERY = [
    {"name": name, "in": "query", "required": False, "schema": {"type": "string"}, "description": description}
    for name, description in (
        ("account", "With `apikey`, instead of `Authorization`: the ref of the caller's company"),
        ("apikey", "With `account`, instead of `Authorization`: an API key of that company"),
    )
]
EXTRA: dict[str, Any] = {
    "parameters": KEY_IN_QUERY,
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": VALUES}, MEDIA_TYPE: {"schema": {"type": "string"}}},
    },
}


class ImportStarted(BaseModel):
    """Whatever became of the values: the header `Location` says where that is told, value by value."""

    status: str
    message: str


@router.post(PATH, openapi_extra=EXTRA)
async def import_stock_values(  # noqa: PLR0913 - each is a part of the request
    *,
    request: Request,
    response: Response,
    caller: Calling,
    context: Here,
    integration: Integration = OUTSIDE,
    adjustment: Annotated[bool | None, Query(description="The numbers are added, instead of written over")] = None,
    location: Location = None,
    supplier_id: SupplierId = None,
) -> ImportStarted:
    """Write what is on hand of products at locations, or with `adjustment` how much came and went, by SKU or id.

    A product that is not there yet is written when it comes. JSON, or CSV: `product_id[,variant_id],quantity` or
    `...,adjustment`, where a dash says that none are on hand.
    """
    caller.require("supplier")
    supplier = caller.company(supplier_id)
    operation: Operation | None = None if adjustment is None else "adjust" if adjustment else "reset"
    values = await _read(request, location, operation)
    await _carry_out(context, response, Sent(supplier, caller.actor, integration, values))
    return ImportStarted(status="OK", message=f"Import of {len(values)} stock value(s) initiated")


@router.delete(PATH, openapi_extra=EXTRA)
async def remove_stock_values(  # noqa: PLR0913 - each is a part of the request
    *,
    request: Request,
    response: Response,
    caller: Calling,
    context: Here,
    integration: Integration = OUTSIDE,
    location: Location = None,
    supplier_id: SupplierId = None,
) -> ImportStarted:
    """Stock these products at these locations no more, which is not to have none of them; the numbers do not matter.

    What waits for a product that is not there yet is dropped.
    """
    caller.require("supplier")
    supplier = caller.company(supplier_id)
    values = await _read(request, location, "remove")
    await _carry_out(context, response, Sent(supplier, caller.actor, integration, values))
    return ImportStarted(status="OK", message=f"Removal of {len(values)} stock value(s) initiated")


async def _read(request: Request, location: str | None, operation: Operation | None) -> list[Value]:
    """The values of the body; raises problems of what cannot be read."""
    try:
        body = await request.body()
    except ClientDisconnect as error:
        detail = "The request did not come in whole; nothing was changed. Send it again."
        raise ProblemError(400, "broken_off", detail) from error
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == MEDIA_TYPE:
        return read_csv(body, location or DEFAULT_LOCATION, operation)
    if location is not None:
        detail = "location is for CSV: in JSON the locations are named in the body. Nothing was changed."
        raise ProblemError(422, "invalid_request", detail, errors=[FieldError(field="location", detail=detail)])
    return read_json(body, operation or "reset")


async def _carry_out(context: Context, response: Response, sent: Sent) -> None:
    async with context.database.transaction() as session:
        import_id = await carry_out(session, sent)
    response.headers["Location"] = f"{IMPORTS_PATH}/{import_id}"
