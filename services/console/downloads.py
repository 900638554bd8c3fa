"""Files that the browser saves: passed on from the API, as they come."""

from collections.abc import AsyncIterator
from datetime import UTC

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse

from services.console.api import RefusedError
from services.console.sign_in import door_of, sign_in_address
from shared import clock

router = APIRouter(include_in_schema=False)


@router.get("/inventory/export.csv")
async def export_stock(request: Request) -> Response:
    """The visitor's stock as CSV, with the filters of the table."""
    return await _passed_on(request, "/v1/stock/export", "stock")


@router.get("/products/export.csv")
async def export_products(request: Request) -> Response:
    """The visitor's products as CSV."""
    return await _passed_on(request, "/v1/products/export", "products")


async def _passed_on(request: Request, path: str, name: str) -> Response:
    door = door_of(request)
    credential = door.credential_of(request)
    if credential is None:
        return RedirectResponse(sign_in_address(request.url.path), status_code=303)
    pieces = door.new_api(credential).stream(path, request.query_params)
    try:
        # Refusals come before the first piece: later ones end the download, and browsers say so.
        first = await anext(pieces, b"")
    except RefusedError as error:
        return PlainTextResponse(str(error), status_code=error.status)
    day = clock.utc_now().astimezone(UTC).date()
    return StreamingResponse(
        _with(first, pieces),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="{name}-{day}.csv"'},
    )


async def _with(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece
