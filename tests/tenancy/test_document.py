"""The OpenAPI document tells the truth: whatever is sent, the answer is one of those it declares, and never a 5xx.

Schemathesis makes requests of the document, half of them for things that exist; each route is asked as a supplier, a
retailer and the platform admin, each with all scopes.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation

from services.all_in_one import SERVICES
from shared.http import create_app
from tests.tenancy.market import ADMIN_KEY, Market, open_market

pytestmark = pytest.mark.usefixtures("cheap_passwords")

# Of each of the two modes (requests that the document allows, and others), for each key.
EXAMPLES = 4
load_all_checks()
CHECKED: Any = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "response_headers_conformance",
    ]
)


@pytest.fixture
async def market(database_dsn: str) -> AsyncIterator[Market]:
    async with open_market(database_dsn) as opened:
        yield opened


async def test_every_answer_is_one_that_the_document_declares(market: Market) -> None:
    supplier, retailer = market["supplier-a"], market["retailer-a"]
    known = {
        "company_id": supplier.id,
        "key_id": supplier.spare_key,
        "user_id": supplier.user,
        "import_id": supplier.import_id,
        "stock_import_id": supplier.stock_import,
        "connection_id": supplier.connection,
        "product_id": supplier.product,
        "code": supplier.location,
        "sync_import_id": supplier.sync_import,
        "order_id": retailer.order,
        "order_import_id": retailer.order_import,
        "dead_letter_id": retailer.dead_letter,
        "amqp_user": retailer.publisher,
        "request_id": supplier.fulfillment_request,
        "endpoint_id": retailer.endpoint,
        "attempt_id": retailer.attempt,
        "reservation_id": retailer.reservation,
    }
    keys = [supplier.admin_key, retailer.admin_key, ADMIN_KEY]
    schema = schemathesis.openapi.from_dict(create_app(SERVICES, {}).openapi())
    # Hypothesis knows no coroutines, and the services answer in this loop: so the requests are made in a thread.
    problems, asked = await asyncio.to_thread(_ask_all, market.url, schema, keys, known)
    assert not problems, "\n\n".join(problems)
    assert asked > 30 * len(keys) * EXAMPLES


def _ask_all(url: str, schema: Any, keys: list[str], known: Mapping[str, object]) -> tuple[list[str], int]:  # noqa: ANN401 - schemathesis's
    problems, asked = [], 0
    with requests.Session() as session:
        for result in schema.get_all_operations():
            operation = result.ok()
            try:
                asked += _ask(url, operation, session, keys, known)
            except (AssertionError, BaseExceptionGroup) as error:
                problems.append(f"{operation.label}: {_in_words(error)}")
    return problems, asked


def _ask(
    url: str,
    operation: "APIOperation[Any, Any, Any, Any]",
    session: requests.Session,
    keys: list[str],
    known: Mapping[str, object],
) -> int:
    asked = 0
    takes_something = bool({"parameters", "requestBody"} & operation.definition.raw.keys())
    modes = list(GenerationMode) if takes_something else [GenerationMode.POSITIVE]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.tuples(*(operation.as_strategy(mode) for mode in modes)), st.booleans())
    def ask(cases: tuple[Case[Any], ...], is_known: bool) -> None:
        nonlocal asked
        for case in cases:
            if is_known:
                case.path_parameters.update({name: known[name] for name in case.path_parameters})
            for key in keys:
                response = case.call(base_url=url, session=session, headers={"Authorization": f"Bearer {key}"})
                case.validate_response(response, checks=CHECKED)
                asked += 1

    ask()
    return asked


def _in_words(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "\n".join(_in_words(one) for one in error.exceptions)
    return str(error)
