"""What the routes of inventory have in common: who calls, and parameters of their requests."""

from typing import Annotated

from fastapi import Depends, Path, Query

from shared.access import Caller, caller_of
from shared.service_context import Context, context_of

ID_LIMIT = 2**63

Calling = Annotated[Caller, Depends(caller_of("inventory"))]
Here = Annotated[Context, Depends(context_of("inventory"))]
ProductId = Annotated[int, Path(gt=0, lt=ID_LIMIT, description="The base stock product's id")]
SupplierId = Annotated[int | None, Query(gt=0, lt=ID_LIMIT, description="For the platform admin")]
Cursor = Annotated[int | None, Query(gt=0, lt=ID_LIMIT, description="next_cursor of the page before")]
Limit = Annotated[int, Query(ge=1, le=200)]
