"""Who manages a company with an API key; of users the database is asked (tests/integration/catalog)."""

import pytest

from services.catalog.api.managing import managed_company
from shared.access import Caller
from shared.database import Session
from shared.errors import ProblemError
from shared.scopes import AREA_SCOPES, implied_scopes


async def test_only_the_scope_admin_manages_a_company_and_only_its_own() -> None:
    assert await managed_company(Session(), Caller(1, "supplier", implied_scopes(["admin"]))) == 1
    for caller, code in (
        (Caller(1, "supplier", AREA_SCOPES), "missing_scope"),
        (Caller(2, "supplier", implied_scopes(["admin"])), "foreign_company"),
    ):
        with pytest.raises(ProblemError) as refusal:
            await managed_company(Session(), caller, 1)
        assert (refusal.value.status_code, refusal.value.code) == (403, code)
