"""Bad input: each a clear problem that says what was wrong and where; nothing is lost or half done."""

import pytest

from shared.http import SIGN_IN_PATH
from tests.app import Client
from tests.end_to_end.system import System

LINE = {"product_id": 102, "variant_sku": "T01-S", "quantity": 1}


@pytest.mark.parametrize(
    ("who", "path", "body", "status", "said"),
    [
        ("admin", "/v1/orders", {"external_ref": "X", "seller_id": 99, "lines": [LINE]}, 422, "99"),
        ("retailer", "/v1/orders", {"external_ref": "X", "lines": [LINE | {"quantity": -1}]}, 422, "lines[0].quantity"),
        ("retailer", "/v1/orders", {"external_ref": "X", "lines": [LINE | {"quantity": 0}]}, 422, "lines[0].quantity"),
        ("retailer", "/v1/orders", {"external_ref": "X", "lines": []}, 422, "lines"),
        ("retailer", "/v1/orders", {"external_ref": "X", "lines": [LINE], "seller_id": 1}, 403, "company 1"),
        ("supplier", "/v1/stock/100/adjustments", {"on_hand": 1, "adjustment": 1, "reason": "?"}, 422, "on_hand"),
        ("supplier", "/v1/stock/12345/adjustments", {"on_hand": 1, "reason": "?"}, 404, "12345"),
        ("retailer", "/v1/stock/100/adjustments", {"on_hand": 1, "reason": "?"}, 403, "supplier"),
        (
            "supplier",
            "/v1/products",
            {
                "sku": "X",
                "name": "both",
                "type": "customisable",
                "base_stock_product_id": 100,
                "variants": [{"sku": "X-S", "base_stock_product_id": 100}],
            },
            422,
            "both",
        ),
        ("retailer", "/v1/webhook-endpoints", {"url": "ftp://example.com"}, 422, "http"),
        ("retailer", "/v1/webhook-endpoints", {"url": "http://169.254.169.254/latest"}, 422, "169.254"),
    ],
)
async def test_a_clear_problem(
    embedded_system: System, who: str, path: str, body: dict[str, object], status: int, said: str
) -> None:
    client: Client = getattr(embedded_system, who)
    answer = await client.post(path, body)
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert said in answer.body["detail"] + str(answer.body["errors"])
    assert {"type", "title", "status", "detail", "code"} <= answer.body.keys()


async def test_nothing_answers_without_a_key(embedded_system: System) -> None:
    """Every route of the document but health, metrics and the documents themselves."""
    async with Client(embedded_system.url) as nobody:
        document = (await nobody.get("/openapi.json")).body
        asked = 0
        for path, operations in document["paths"].items():
            if path in {"/livez", "/readyz", "/metrics"}:
                continue
            for method in operations:
                if path == SIGN_IN_PATH:  # where one says who one is
                    continue
                answer = await nobody.call(method.upper(), path.replace("{", "").replace("}", ""))
                assert answer.status == 401, (method, path, answer.body)
                asked += 1
        assert asked > 15
    async with Client(embedded_system.url, "bsk_wrong") as stranger:
        assert (await stranger.get("/v1/orders")).status == 401


async def test_health_readiness_and_metrics_answer(embedded_system: System) -> None:
    async with Client(embedded_system.url) as nobody:
        assert (await nobody.get("/livez")).body == {"status": "alive"}
        assert (await nobody.get("/readyz")).body == {"status": "ready"}
        assert "basestock_events_handled_total" in (await nobody.get("/metrics")).body
