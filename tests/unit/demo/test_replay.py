"""What the replay creates and sends: lettered codes go through their style, and returns restock."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from demo.api import Api
from demo.expected import start_quantity
from demo.plan import Assortment, Message
from demo.replay import Part, create_products, send, set_start_levels

NOON = datetime(2010, 12, 1, 12, tzinfo=UTC)
ASSORTMENT = Assortment(
    names={code: f"the {code}" for code in ("71053", "84029E", "84029G", "POST")},
    stock=("71053", "84029E", "84029G"),
    untracked=("POST",),
    styles={"84029": ("84029E", "84029G")},
)


class RecordingApi(Api):
    """Remembers what was posted and answers with new ids; `refused` is what bulk writes say they refused."""

    def __init__(self, refused: int = 0) -> None:
        super().__init__("http://nowhere", "bsk_none")
        self.posted: list[tuple[str, Any]] = []
        self.refused = refused

    async def post(self, path: str, body: object = None, **_: str | int) -> dict[str, Any]:
        self.posted.append((path, body))
        number = len(self.posted)
        rows = [{"row": 0, "errors": [{"field": "sku", "detail": "unknown"}]}] if self.refused else []
        return {"order_id": f"o{number}", "return_id": f"r{number}", "refused": self.refused, "rows": rows}

    async def post_rows(self, path: str, rows: Iterable[object], **_: str | int) -> dict[str, Any]:
        self.posted.append((path, list(rows)))
        return {"id": 1, "state": "failed" if self.refused else "done", "reason": "Some are refused."}

    async def get(self, path: str, **_: str | int) -> dict[str, Any]:
        items: list[dict[str, Any]] = [{"sku": code, "available": 0} for code in ASSORTMENT.stock]
        if path == "/v1/stock":
            return {"items": items, "next_cursor": None}
        assert path == "/v1/products/imports/1/rows"
        rows: list[dict[str, Any]] = self.posted[0][1]
        errors = [{"field": "sku", "detail": "taken"}] if self.refused else []
        items = [row | {"product_id": number, "errors": errors} for number, row in enumerate(rows, start=1)]
        return {"items": items, "next_cursor": None}


@pytest.fixture
def progress() -> Progress:
    return Progress(console=Console(quiet=True))


async def test_codes_become_stock_products_postage_is_untracked_and_a_style_links_its_variants(
    progress: Progress,
) -> None:
    supplier = RecordingApi()
    parts = await create_products(supplier, ASSORTMENT, progress)
    rows: list[dict[str, Any]]
    ((path, rows),) = supplier.posted
    assert path == "/v1/products/import"
    bodies = {(row["type"], row["sku"]): row for row in rows}
    assert set(bodies) == {
        ("stock", "71053"),
        ("stock", "84029E"),
        ("stock", "84029G"),
        ("customisable", "POST"),
        ("customisable", "84029"),
    }
    assert bodies["customisable", "POST"].keys() == {"sku", "name", "type", "visibility"}, "no link: untracked"
    assert {body["visibility"] for body in bodies.values()} == {"connected"}, "the shop sees what it sells"
    assert bodies["customisable", "84029"]["variants"] == [
        {"sku": code, "attributes": [{"name": "Letter", "value": code[-1]}], "base_stock_sku": code}
        for code in ("84029E", "84029G")
    ]
    ids = {row["sku"]: number for number, row in enumerate(rows, start=1)}
    assert parts == {
        "71053": Part(ids["71053"]),
        "POST": Part(ids["POST"]),
        "84029E": Part(ids["84029"], "84029E"),
        "84029G": Part(ids["84029"], "84029G"),
    }


async def test_a_product_that_is_refused_ends_the_demo(progress: Progress) -> None:
    with pytest.raises(RuntimeError, match=r"not imported: Some are refused\. .*'sku'.*taken"):
        await create_products(RecordingApi(refused=1), ASSORTMENT, progress)


async def test_an_order_names_the_variant_and_a_return_puts_it_back_into_stock(progress: Progress) -> None:
    retailer = RecordingApi()
    parts = {"71053": Part(1), "84029E": Part(4, "84029E")}
    order = Message("order", "536365", NOON, (("84029E", 6), ("71053", 1)))
    back = Message("return", "C536379", NOON, (("84029E", 2),))
    sent = await send(retailer, [order, back, order], parts, progress)
    order_body = {
        "external_ref": "536365",
        "placed_at": "2010-12-01T12:00:00+00:00",
        "lines": [
            {"product_id": 4, "variant_sku": "84029E", "quantity": 6},
            {"product_id": 1, "variant_sku": None, "quantity": 1},
        ],
    }
    assert retailer.posted == [
        ("/v1/orders", order_body),
        (
            "/v1/returns",
            {
                "external_ref": "C536379",
                "returned_at": "2010-12-01T12:00:00+00:00",
                "lines": [{"product_id": 4, "variant_sku": "84029E", "quantity": 2, "restock": True}],
            },
        ),
        ("/v1/orders", order_body),
    ]
    assert dict(sent.counts) == {"order": 1, "return": 1, "line": 3, "repeat": 1}
    assert sent.doubled == ["536365"], "this stand-in gives the same order two ids"


async def test_start_levels_are_set_in_bulk_and_a_refused_row_ends_the_demo(progress: Progress) -> None:
    supplier = RecordingApi()
    await set_start_levels(supplier, ASSORTMENT, progress)
    ((path, rows),) = supplier.posted
    assert path == "/v1/stock/bulk"
    assert {row["sku"]: row["on_hand"] for row in rows} == {code: start_quantity(code) for code in ASSORTMENT.stock}
    with pytest.raises(RuntimeError, match=r"refused to set 1 start levels, one of them: .*'sku'.*unknown"):
        await set_start_levels(RecordingApi(refused=1), ASSORTMENT, progress)
