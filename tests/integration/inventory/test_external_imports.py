"""Another system sends values of stock, as Ka-ching's stock import has them."""

import asyncio
import json
import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from aiohttp import ClientSession

from services.inventory import external_imports
from services.inventory.domain.external_imports import Value
from services.inventory.handlers import learn_catalog
from shared.events.catalog import Variant
from shared.events.inventory import StockChanged, StockRemoved
from tests.app import Answer, Client
from tests.integration.inventory.callers import OTHER_SUPPLIER, Callers
from tests.integration.inventory.test_inventory_races import until_somebody_waits
from tests.integration.inventory.world import (
    SHIRT,
    World,
    completed,
    link,
    order,
    stock_product,
)

PATH = "/imports/stock"
KEY = {"account": "supplier-a", "integration": "ka-ching", "apikey": "bsk_7"}
# As the vendor's document has them.
WITHOUT_VARIANTS = {"stock_location_id": {"product1": 7, "product2": 7}}
WITH_VARIANTS = {"stock_location_id": {"product1": 7, "product2": 7, "product3": {"variant1": 7, "variant2": 7}}}
WITHOUT_VARIANTS_0 = {"stock_location_id": {"product1": 0, "product2": 0}}
WITH_VARIANTS_0 = {"stock_location_id": {"product1": 0, "product2": 0, "product3": {"variant1": 0, "variant2": 0}}}
DOCUMENTS_PRODUCTS = [
    stock_product(701, "product1"),
    stock_product(702, "product2"),
    stock_product(704, "small"),
    stock_product(705, "large"),
    stock_product(
        703,
        "product3",
        type="customisable",
        variants=(
            Variant(variant_id=1, sku="variant1", components=(link(704),)),
            Variant(variant_id=2, sku="variant2", components=(link(705),)),
        ),
    ),
]
NEW = stock_product(500, "NEW")


async def post(client: Client, body: object, **query: str) -> Answer:
    return await client.post(PATH, body, params={"integration": "ka-ching", **query})


async def post_csv(client: Client, *lines: str, method: str = "POST", **query: str) -> Answer:
    file = "\n".join(lines) + "\n"
    return await client.call(method, PATH, data=file, headers={"Content-Type": "text/csv"}, params=query)


async def delete(client: Client, body: object) -> Answer:
    return await client.call("DELETE", PATH, body)


async def outcomes(client: Client, answer: Answer) -> list[str]:
    """What came of each value, in order."""
    return [row["status"] for row in await rows(client, answer)]


async def rows(client: Client, answer: Answer) -> list[dict[str, Any]]:
    assert answer.status == 200, answer.body
    found = await client.get(answer.headers["Location"] + "/rows", params={"limit": "200"})
    assert found.status == 200, found.body
    return list(found.body["items"])


async def job(client: Client, answer: Answer) -> dict[str, Any]:
    found = await client.get(answer.headers["Location"])
    assert found.status == 200, found.body
    return dict(found.body)


async def entries(world: World, product_id: int) -> list[Any]:
    """Of a product's entries in the ledger: kind, change of on hand, source, reference."""
    return await world.rows(f"""
        select kind, on_hand_delta, source, reference from stock_ledger where product_id = {product_id}
        order by entry_id
    """)


@pytest.fixture
async def documents(world: World, callers: Callers) -> Callers:
    """The products and the location that the vendor's document speaks of."""
    await world.locate("stock_location_id")
    await world.hear(*DOCUMENTS_PRODUCTS)
    await world.told()
    return callers


@pytest.fixture
def every_line() -> Iterator[StringIO]:
    """What any logger says, as a process would that shows all of it."""
    root, said = logging.getLogger(), StringIO()
    level, handler = root.level, logging.StreamHandler(said)
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield said
    root.setLevel(level)
    root.removeHandler(handler)


class TestTheDocument:
    async def test_values_are_written_over(self, world: World, documents: Callers) -> None:
        url = documents.supplier._url
        async with ClientSession(url) as anybody, anybody.post(PATH, params=KEY, json=WITHOUT_VARIANTS) as answer:
            assert answer.status == 200
            assert await answer.json() == {"status": "OK", "message": "Import of 2 stock value(s) initiated"}
            import_id = answer.headers["Location"].removeprefix("/v1/stock/imports/")
        assert await world.stock_at("stock_location_id", 701) == (7, 0)
        assert await world.stock_at("stock_location_id", 702) == (7, 0)
        assert await entries(world, 701) == [("external_reset", 7, "ka-ching", import_id)]
        assert [(one.base_stock_product_id, one.on_hand) for one in await world.told(StockChanged)] == [
            (701, 7),
            (702, 7),
        ]

    async def test_with_variants(self, world: World, documents: Callers) -> None:
        answer = await post(documents.supplier, WITH_VARIANTS)
        assert answer.body["message"] == "Import of 4 stock value(s) initiated"
        assert await world.stock_at("stock_location_id", 704) == (7, 0)
        assert await world.stock_at("stock_location_id", 705) == (7, 0)
        again = await post(documents.supplier, WITH_VARIANTS)
        assert await outcomes(documents.supplier, again) == ["unchanged"] * 4
        assert await entries(world, 704) == [
            ("external_reset", 7, "ka-ching", answer.headers["Location"].rpartition("/")[2])
        ]

    async def test_adjustment_is_added(self, world: World, documents: Callers) -> None:
        for _ in range(2):
            answer = await post(documents.supplier, WITH_VARIANTS, adjustment="true")
            assert await outcomes(documents.supplier, answer) == ["changed"] * 4
        assert await world.stock_at("stock_location_id", 704) == (14, 0)
        assert [(kind, delta) for kind, delta, *_ in await entries(world, 704)] == [("external_adjustment", 7)] * 2

    @pytest.mark.parametrize("body", [WITHOUT_VARIANTS_0, WITH_VARIANTS_0])
    async def test_deleting_is_not_setting_to_zero(
        self, world: World, documents: Callers, body: dict[str, dict[str, Any]]
    ) -> None:
        """With 0 it is a product that is sold, and there is none of it; deleted it is no longer kept in stock."""
        for location in ("main", "stock_location_id"):  # all that stock it
            assert (await post(documents.supplier, {location: WITH_VARIANTS["stock_location_id"]})).status == 200
        assert (await post(documents.supplier, body)).status == 200
        assert await world.stock_at("stock_location_id", 702) == (0, 0)
        assert (await documents.supplier.get("/v1/stock", params={"sku": "product2"})).body["items"] != []
        await world.told()
        for location in ("main", "stock_location_id"):
            answer = await delete(documents.supplier, {location: body["stock_location_id"]})
            assert answer.body["status"] == "OK"
            assert set(await outcomes(documents.supplier, answer)) == {"changed"}
        assert (await documents.supplier.get("/v1/stock", params={"sku": "product2"})).body["items"] == []
        removed = [one.base_stock_product_id for one in await world.told(StockRemoved)]
        assert removed == ([701, 702] if body is WITHOUT_VARIANTS_0 else [701, 702, 704, 705])
        again = await delete(documents.supplier, body)
        assert set(await outcomes(documents.supplier, again)) == {"unchanged"}
        assert await world.told(StockRemoved) == []

    async def test_a_location_that_is_not_there_refuses_all(self, world: World, documents: Callers) -> None:
        body = {"main": {"T01-S": 3, "NEW": 4}, "nowhere": {"T01-L": 5}}
        for answer in (await post(documents.supplier, body), await delete(documents.supplier, body)):
            assert (answer.status, answer.body["code"]) == (422, "unknown_location")
            assert [error["field"] for error in answer.body["errors"]] == ["nowhere"]
        await world.hear(NEW)
        assert await world.levels() | {500: 0} == await world.levels()
        assert (await world.levels())[100] == 10
        assert await world.rows("select * from stock_imports") == []


class TestWhoCalls:
    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ({}, "no_key"),
            ({"apikey": "bsk_7"}, "no_key"),
            ({"account": "supplier-a"}, "no_key"),
            ({"account": "supplier-a", "apikey": "secret"}, "no_key"),
            ({"account": "retailer-a", "apikey": "bsk_7"}, "unknown_key"),
            ({"account": "supplier-a", "apikey": "bsk_77"}, "unknown_key"),
            ({"account": "supplier-a", "apikey": "bsk_the_platform_admin"}, "unknown_key"),
            ({"account": "\ufffd", "apikey": "bsk_7"}, "unknown_key"),
        ],
    )
    async def test_without_a_companys_ref_and_key_nobody(
        self, callers: Callers, query: dict[str, str], code: str
    ) -> None:
        async with ClientSession(callers.supplier._url) as anybody:
            for method in ("POST", "DELETE"):
                async with anybody.request(method, PATH, params=query, json={"main": {"T01-S": 3}}) as answer:
                    problem = await answer.json()
                    assert (answer.status, problem["code"]) == (401, code)
                    assert "bsk_" not in json.dumps(problem).replace("bsk_...", "")

    async def test_the_key_is_taken_from_the_query_here_alone(self, callers: Callers) -> None:
        async with ClientSession(callers.supplier._url) as anybody:
            for path in ("/v1/stock", "/stock", "/v1/stock/imports"):
                async with anybody.get(path, params=KEY) as answer:
                    assert answer.status == 401

    async def test_the_key_is_in_no_log_line(
        self, callers: Callers, every_line: StringIO, capfd: pytest.CaptureFixture[str]
    ) -> None:
        async with ClientSession(callers.supplier._url) as anybody:
            for more in ({}, {"account": "nobody"}, {"adjustment": "perhaps"}, {"location": "\x00"}):
                bodies: list[object] = [{"main": {"T01-S": 3}}, [], {"nowhere": {"T01-S": 1}}]
                for body in bodies:
                    async with anybody.post(PATH, params=KEY | more, json=body) as answer:
                        assert answer.status in {200, 401, 422}
                        assert "bsk_7" not in await answer.text()
        logging.getLogger("test").info("heard")
        assert "heard" in every_line.getvalue()
        assert "bsk_7" not in every_line.getvalue() + "".join(capfd.readouterr())

    async def test_retailers_keep_no_stock(self, callers: Callers) -> None:
        assert (await post(callers.retailer, {"main": {"T01-S": 3}})).status == 403

    async def test_a_supplier_writes_its_own_stock(self, world: World, callers: Callers) -> None:
        """The other one's product of the same SKU is another product, and its ids are nobody's."""
        await post(callers.other_supplier, {"main": {"T01-S": 3, "101": 4}})
        assert (await world.levels())[900] == 3
        assert (await world.levels())[100] == (await world.levels())[101] == 10


class TestKeys:
    async def test_sku_before_id_and_customisable_products_to_their_stock(self, world: World, callers: Callers) -> None:
        await world.hear(stock_product(950, "101"), *DOCUMENTS_PRODUCTS[2:])
        body = {"main": {"101": 1, "102": {"T01-S": 2}, "S7": 3, "202": 4, "product3": {"variant1": 5}}}
        answer = await post(callers.supplier, body)
        assert [row["product_id"] for row in await rows(callers.supplier, answer)] == [950, 100, 200, 202, 704]
        levels = await world.levels()
        assert [levels[one] for one in (950, 100, 200, 202, 704)] == [1, 2, 3, 4, 5]
        assert levels[101] == 10

    @pytest.mark.parametrize(
        ("key", "number", "why"),
        [
            ("T01", 3, "has variants"),
            ("T01-S", {"XL": 3}, "has no variants"),
            ("201", {"XL": 3}, "has no variants"),
            ("KIT", 3, "several units"),
        ],
    )
    async def test_what_cannot_be_written_so_is_refused_by_itself(
        self, world: World, callers: Callers, key: str, number: object, why: str
    ) -> None:
        answer = await post(callers.supplier, {"main": {key: number, "T01-L": 4}})
        refused, written = await rows(callers.supplier, answer)
        assert (refused["status"], written["status"]) == ("refused", "changed")
        assert why in refused["errors"][0]["detail"]
        assert (await world.levels())[101] == 4
        assert (await job(callers.supplier, answer))["refused"] == 1

    async def test_values_that_contradict_one_another_are_all_refused(self, world: World, callers: Callers) -> None:
        """200 and the case that is printed on it are one stock."""
        answer = await post(callers.supplier, {"main": {"S7": 3, "201": 4, "T01-S": 5, "102": {"T01-S": 5}}})
        assert await outcomes(callers.supplier, answer) == ["refused", "refused", "changed", "unchanged"]
        assert (await world.levels())[200] == 10
        assert (await world.levels())[100] == 5

    async def test_adjustments_of_one_stock_both_count(self, world: World, callers: Callers) -> None:
        await post(callers.supplier, {"main": {"S7": 3, "201": 4}}, adjustment="true")
        assert (await world.levels())[200] == 17

    async def test_too_many_units_are_refused_by_themselves(self, world: World, callers: Callers) -> None:
        await world.count(_100=10**15 - 5)
        answer = await post(callers.supplier, {"main": {"T01-S": 7, "T01-L": 7}}, adjustment="true")
        assert await outcomes(callers.supplier, answer) == ["refused", "changed"]


class TestCsv:
    async def test_quantities_with_and_without_variants(self, world: World, callers: Callers) -> None:
        answer = await post_csv(
            callers.supplier, "product_id,variant_id,quantity", "T01,T01-S,11", "S7,,10", "T01,T01-L,-"
        )
        assert answer.body == {"status": "OK", "message": "Import of 3 stock value(s) initiated"}
        assert await world.levels() | {100: 11, 200: 10, 101: 0} == await world.levels()
        assert [(row["line"], row["sku"], row["variant_sku"]) for row in await rows(callers.supplier, answer)] == [
            (2, "T01", "T01-S"),
            (3, "S7", None),
            (4, "T01", "T01-L"),
        ]

    async def test_adjustments_and_a_dash_which_takes_out_of_stock(self, world: World, callers: Callers) -> None:
        answer = await post_csv(callers.supplier, "product_id,adjustment", "T01-S,-2", "T01-L,+3", "S7,-", "S7,4")
        assert await outcomes(callers.supplier, answer) == ["changed"] * 4
        assert await world.levels() | {100: 8, 101: 13, 200: 4} == await world.levels()
        assert [entry[:2] for entry in await entries(world, 200)][1:] == [
            ("external_reset", -10),
            ("external_adjustment", 4),
        ]

    async def test_the_query_may_say_that_quantities_are_adjustments_and_where(
        self, world: World, callers: Callers
    ) -> None:
        await world.locate("shop")
        answer = await post_csv(
            callers.supplier, "product_id;quantity", "T01-S;7", adjustment="true", location="shop", integration="till"
        )
        assert answer.status == 200, answer.body
        assert await world.stock_at("shop") == (7, 0)
        assert [entry[:3] for entry in await entries(world, 100)][1:] == [("external_adjustment", 7, "till")]

    async def test_deleting(self, world: World, callers: Callers) -> None:
        answer = await post_csv(callers.supplier, "product_id,quantity", "T01-S,", "S7,7", method="DELETE")
        assert await outcomes(callers.supplier, answer) == ["changed", "changed"]
        assert [one.base_stock_product_id for one in await world.told(StockRemoved)] == [100, 200]

    @pytest.mark.parametrize(
        ("lines", "field"),
        [
            (["sku,quantity", "T01-S,1"], "header"),
            (["product_id", "T01-S"], "header"),
            (["product_id,quantity,adjustment", "T01-S,1,1"], "header"),
            (["product_id,product_id,quantity", "T01-S,T01-S,1"], "header"),
            (["product_id,quantity"], "body"),
            (["product_id,quantity", "T01-S,7", "T01-L,1.5"], "lines[3].quantity"),
            (["product_id,quantity", "T01-S,"], "lines[2].quantity"),
            (["product_id,quantity", "T01-S,--"], "lines[2].quantity"),
            (["product_id,quantity", "T01-S," + "9" * 15], "lines[2].quantity"),
            (["product_id,quantity", "T01-S," + "9" * 5000], "lines[2].quantity"),
            (["product_id,quantity", ",7"], "lines[2].product_id"),
            (["product_id,variant_id,quantity", f"T01,{'x' * 201},7"], "lines[2].variant_id"),
            (["product_id,quantity", "T\x0001,7"], "lines[2].product_id"),
            (["product_id,quantity", "T01-S,7,8"], "lines[2]"),
            (["product_id,quantity", 'T01-S,"7'], "lines[2]"),
        ],
    )
    async def test_what_cannot_be_read_is_named_and_nothing_is_changed(
        self, world: World, callers: Callers, lines: list[str], field: str
    ) -> None:
        answer = await post_csv(callers.supplier, *lines)
        assert (answer.status, answer.body["code"]) == (422, "invalid_values"), answer.body
        assert [error["field"] for error in answer.body["errors"]] == [field]
        assert (await world.levels())[100] == 10

    async def test_the_query_contradicts_the_file(self, callers: Callers) -> None:
        answer = await post_csv(callers.supplier, "product_id,adjustment", "T01-S,7", adjustment="false")
        assert answer.body["errors"][0]["field"] == "adjustment"

    @pytest.mark.parametrize("body", [b"", b"\xff\xfe\x00", b"product_id,quantity\n\xff,7\n", b'"', b"\n\n"])
    async def test_bytes_that_are_no_file(self, callers: Callers, body: bytes) -> None:
        answer = await callers.supplier.call("POST", PATH, data=body, headers={"Content-Type": "text/csv"})
        assert answer.status == 422


class TestBadJson:
    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ("", "body"),
            ("{", "body"),
            ("7", "body"),
            ("[]", "body"),
            ("null", "body"),
            ("{}", "body"),
            ('{"main": {}}', "main"),
            ('{"main": []}', "main"),
            ('{"main": 7}', "main"),
            ('{"main": {"T01": {}}}', "main.T01"),
            ('{"main": {"T01": {"T01-S": {}}}}', "main.T01.T01-S"),
            ('{"main": {"T01-S": "7"}}', "main.T01-S"),
            ('{"main": {"T01-S": null}}', "main.T01-S"),
            ('{"main": {"T01-S": true}}', "main.T01-S"),
            ('{"main": {"T01-S": [7]}}', "main.T01-S"),
            ('{"main": {"T01-S": 7.5}}', "main.T01-S"),
            ('{"main": {"T01-S": 7e2}}', "main.T01-S"),
            ('{"main": {"T01-S": NaN}}', "body"),
            ('{"main": {"T01-S": -Infinity}}', "body"),
            ('{"main": {"T01-S": 1000000001}}', "main.T01-S"),
            ('{"main": {"T01-S": %s}}' % ("9" * 5000), "main.T01-S"),
            ('{"main": {"T01-S": 7, "T01-S": 8}}', "main.T01-S"),
            ('{"main": {"T01-S": 7}, "main": {"T01-L": 8}}', "main"),
            ('{"main": {"": 7}}', "main."),
            ('{"main": {"a\\u0000b": 7}}', "main.a\x00b"),
            ('{"main": {"a\\ud800b": 7}}', "main.a?b"),
            ('{"m\\udc00": {"T01-S": 7}}', "m?"),
            ('{"main": {"%s": 7}}' % ("x" * 201), "main." + "x" * 200),
            ('{"main": ' * 100_000 + "7" + "}" * 100_000, "body"),
            ("[" * 1_000_000, "body"),
            (b"\xff\xfe{", "body"),
        ],
    )
    async def test_the_field_is_named_and_nothing_is_changed(
        self, world: World, callers: Callers, body: str | bytes, field: str
    ) -> None:
        data = body if isinstance(body, bytes) else body.encode()
        for method in ("POST", "DELETE"):
            answer = await callers.supplier.call(method, PATH, data=data)
            if method == "DELETE" and any(number in data for number in (b"7.5", b"7e2", b"1000000001", b"9999")):
                assert answer.status == 200  # whichever number it is
                continue
            assert (answer.status, answer.body["code"]) == (422, "invalid_values"), answer.body
            assert [error["field"] for error in answer.body["errors"]] == [field]
        assert (await world.levels())[101] == 10

    async def test_every_field_that_is_wrong_is_named(self, callers: Callers) -> None:
        answer = await post(callers.supplier, {"main": {"T01-S": 1.5, "T01-L": 7, "T01": {"T01-S": "x"}}, "shop": {}})
        assert [error["field"] for error in answer.body["errors"]] == ["main.T01-S", "main.T01.T01-S", "shop"]

    async def test_so_many_values_and_no_more(self, callers: Callers) -> None:
        answer = await post(callers.supplier, {"main": {f"new-{number}": 1 for number in range(10_001)}})
        assert (answer.status, answer.body["code"]) == (422, "invalid_values")
        answer = await post(callers.supplier, {"main": {f"new-{number}": 1 for number in range(10_000)}})
        assert answer.body["message"] == "Import of 10000 stock value(s) initiated"
        assert (await job(callers.supplier, answer))["pending"] == 10_000

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"integration": ""}, "integration"),
            ({"integration": "x" * 201}, "integration"),
            ({"integration": "a\x00b"}, "integration"),
            ({"adjustment": "perhaps"}, "adjustment"),
            ({"location": "main"}, "location"),
        ],
    )
    async def test_the_query(self, callers: Callers, query: dict[str, str], field: str) -> None:
        answer = await callers.supplier.post(PATH, {"main": {"T01-S": 7}}, params=query)
        assert answer.status == 422
        assert [error["field"] for error in answer.body["errors"]] == [field]


class TestProductsThatAreNotThereYet:
    async def test_a_value_is_written_when_its_product_comes(self, world: World, callers: Callers) -> None:
        answer = await post(callers.supplier, {"main": {"NEW": 7, "T01-S": 4}})
        assert await outcomes(callers.supplier, answer) == ["pending", "changed"]
        assert (await job(callers.supplier, answer))["pending"] == 1
        await world.told()
        await world.hear(NEW)
        import_id = answer.headers["Location"].rpartition("/")[2]
        assert await entries(world, 500) == [("external_reset", 7, "ka-ching", import_id)]
        assert [(one.base_stock_product_id, one.available) for one in await world.told(StockChanged)] == [(500, 7)]
        row = (await rows(callers.supplier, answer))[0]
        assert (row["status"], row["product_id"], row["on_hand_before"], row["on_hand_after"]) == ("changed", 500, 0, 7)
        done = await job(callers.supplier, answer)
        assert (done["pending"], done["changed"]) == (0, 2)

    async def test_once_whatever_is_heard_again_and_not_at_all_before_the_commit(
        self, world: World, callers: Callers
    ) -> None:
        await post(callers.supplier, {"main": {"NEW": 7}}, adjustment="true")
        with pytest.raises(RuntimeError):
            await world.hear(NEW, then=RuntimeError("killed"))
        assert await entries(world, 500) == []
        for version in (1, 1, 2):
            await world.hear(NEW.model_copy(update={"version": version}))
        assert (await world.levels())[500] == 7
        await world.assert_the_ledger_explains_every_level()

    async def test_a_newer_value_takes_the_place_of_older_ones_and_adjustments_add_up(
        self, world: World, callers: Callers
    ) -> None:
        first = await post(callers.supplier, {"main": {"NEW": 100}})
        second = await post(callers.supplier, {"main": {"NEW": 50}}, adjustment="true")
        third = await post(callers.supplier, {"main": {"NEW": 7}})
        fourth = await post(callers.supplier, {"main": {"NEW": 2}}, adjustment="true")
        await post(callers.supplier, {"main": {"NEW": -1}}, adjustment="true", integration="till")
        for replaced in (first, second):
            (row,) = await rows(callers.supplier, replaced)
            assert (row["status"], "newer value" in row["errors"][0]["detail"]) == ("unchanged", True)
            assert (await job(callers.supplier, replaced))["pending"] == 0
        await world.hear(NEW)
        assert [entry[:3] for entry in await entries(world, 500)] == [
            ("external_reset", 7, "ka-ching"),
            ("external_adjustment", 2, "ka-ching"),
            ("external_adjustment", -1, "till"),
        ]
        assert await outcomes(callers.supplier, third) == await outcomes(callers.supplier, fourth) == ["changed"]

    async def test_deleting_drops_what_waits(self, world: World, callers: Callers) -> None:
        waiting = await post(callers.supplier, {"main": {"NEW": 7, "OTHER": 8}})
        assert await outcomes(callers.supplier, await delete(callers.supplier, {"main": {"NEW": 0}})) == ["unchanged"]
        assert await outcomes(callers.supplier, waiting) == ["unchanged", "pending"]
        await world.hear(NEW)
        assert await entries(world, 500) == []

    async def test_each_location_has_its_own(self, world: World, callers: Callers) -> None:
        await world.locate("shop")
        await post(callers.supplier, {"main": {"NEW": 7}, "shop": {"NEW": 8}})
        await delete(callers.supplier, {"main": {"NEW": 0}})
        await world.hear(NEW)
        assert [await world.stock_at(code, 500) for code in ("main", "shop")] == [(0, 0), (8, 0)]

    async def test_by_id_too_and_by_both_in_the_order_in_which_they_were_sent(
        self, world: World, callers: Callers
    ) -> None:
        await post(callers.supplier, {"main": {"500": 7}})
        await post(callers.supplier, {"main": {"NEW": 3}}, adjustment="true")
        by_sku = await post(callers.supplier, {"main": {"NEW": 9}})
        last = await post(callers.supplier, {"main": {"500": 1}}, adjustment="true")
        await world.hear(NEW)
        assert (await world.levels())[500] == 10
        assert await outcomes(callers.supplier, by_sku) == await outcomes(callers.supplier, last) == ["changed"]

    async def test_another_companys_product_is_not_meant(self, world: World, callers: Callers) -> None:
        """Its id is like one that nobody has, and its SKU may be one's own some day."""
        answer = await post(callers.other_supplier, {"main": {"NEW": 7, "500": 7, "100": 7, "T01-L": 7}})
        assert await outcomes(callers.other_supplier, answer) == ["pending"] * 4
        await world.hear(NEW, stock_product(101, "T01-L", version=2), stock_product(100, "T01-S", version=2))
        assert await entries(world, 500) == []
        assert (await world.levels())[100] == (await world.levels())[101] == 10
        assert await outcomes(callers.other_supplier, answer) == ["pending"] * 4
        await world.hear(stock_product(901, "NEW", owner_id=OTHER_SUPPLIER))
        assert (await world.levels())[901] == 7
        assert await entries(world, 500) == []

    @pytest.mark.parametrize("turn", range(3))
    async def test_whatever_of_its_chain_comes_last(self, world: World, callers: Callers, turn: int) -> None:
        """A version of a customisable product of stock: none of the three is known."""
        chain = [
            stock_product(500, "BASE"),
            stock_product(501, "PRINTED", type="customisable", components=(link(500),)),
            stock_product(502, "OWN", type="virtual", base_product_id=501),
        ]
        answer = await post(callers.supplier, {"main": {"OWN": 7}})
        for event in chain[turn:] + chain[:turn]:
            assert await outcomes(callers.supplier, answer) == ["pending"]
            await world.hear(event)
        assert await outcomes(callers.supplier, answer) == ["changed"]
        assert (await world.levels())[500] == 7

    async def test_a_variant_and_a_link_may_come_later(self, world: World, callers: Callers) -> None:
        await world.hear(stock_product(501, "BARE", type="customisable"))
        answer = await post(callers.supplier, {"main": {"T01": {"XL": 7}, "BARE": 3}})
        assert await outcomes(callers.supplier, answer) == ["pending", "pending"]
        extra = Variant(variant_id=3, sku="XL", components=(link(500),))
        await world.hear(NEW, SHIRT.model_copy(update={"version": 2, "variants": (*SHIRT.variants, extra)}))
        assert await outcomes(callers.supplier, answer) == ["changed", "pending"]
        await world.hear(stock_product(501, "BARE", version=2, type="customisable", components=(link(200),)))
        assert await outcomes(callers.supplier, answer) == ["changed", "changed"]
        assert await world.levels() | {500: 7, 200: 3} == await world.levels()

    async def test_what_comes_may_be_no_stock_and_the_row_says_so(self, world: World, callers: Callers) -> None:
        answer = await post(callers.supplier, {"main": {"NEW": 7}})
        await world.hear(stock_product(500, "NEW", type="customisable", components=(link(100, 2),)))
        (row,) = await rows(callers.supplier, answer)
        assert (row["status"], "several units" in row["errors"][0]["detail"]) == ("refused", True)
        assert (await job(callers.supplier, answer))["refused"] == 1

    async def test_a_value_is_as_of_when_it_was_sent(self, world: World, callers: Callers) -> None:
        """What was sold of existing stock since then is taken from it, and what was counted since then stays."""
        printed = stock_product(501, "PRINTED", type="customisable", components=(link(100),))
        other = stock_product(502, "OTHER", type="customisable", components=(link(101),))
        answer = await post(callers.supplier, {"main": {"PRINTED": 50, "OTHER": 50}})
        await world.hear(order((102, "T01-S", 2)))
        assert (await post(callers.supplier, {"main": {"T01-L": 4}})).status == 200
        await world.hear(printed, other)
        assert await world.levels() | {100: 48, 101: 4} == await world.levels()
        superseded = (await rows(callers.supplier, answer))[1]
        assert (superseded["status"], superseded["errors"][0]["field"]) == ("unchanged", "on_hand")

    async def test_lines_that_waited_too_find_what_is_there(self, world: World, callers: Callers) -> None:
        """A value before an order: under `deny` the line would be short otherwise."""
        await post(callers.supplier, {"main": {"NEW": 7}})
        placed = order((500, None, 2))
        await world.hear(placed)
        await world.told()
        await world.hear(NEW)
        assert [(one.previous_available, one.available, one.changes) for one in await world.told(StockChanged)] == [
            (0, 5, 2)
        ]
        await world.hear(completed(placed, 1))
        await world.assert_the_ledger_explains_every_level()

    @pytest.mark.parametrize("product_first", [False, True])
    async def test_a_product_and_a_value_for_it_at_the_same_time(
        self, world: World, callers: Callers, *, product_first: bool
    ) -> None:
        async def bring() -> None:
            await world.hear(NEW)

        async def send() -> None:
            assert (await post(callers.supplier, {"main": {"NEW": 7}})).status == 200

        async with asyncio.TaskGroup() as group, world.database.transaction() as session:
            if product_first:
                await learn_catalog(session, [NEW])
                group.create_task(send())
            else:
                values = [Value(1, 1, "main", "NEW", "", "reset", 7)]
                await external_imports.carry_out(session, external_imports.Sent(1, "key 7", "ka-ching", values))
                group.create_task(bring())
            await until_somebody_waits(world)
        assert (await world.levels())[500] == 7

    async def test_so_many_of_a_company_may_wait_and_no_more(
        self, world: World, callers: Callers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(external_imports, "PENDING_LIMIT", 3)
        assert (await post(callers.supplier, {"main": {"A": 1, "B": 1, "C": 1}})).status == 200
        assert (await post(callers.other_supplier, {"main": {"A": 1}})).status == 200
        assert (await post(callers.supplier, {"main": {"A": 2, "B": 2}})).status == 200  # in their place
        answer = await post(callers.supplier, {"main": {"T01-S": 3, "D": 1}})
        assert (answer.status, answer.body["code"]) == (409, "too_many_pending_values")
        assert (await world.levels())[100] == 10
        assert (await delete(callers.supplier, {"main": {"A": 0, "never": 0}})).status == 200
        assert (await post(callers.supplier, {"main": {"T01-S": 3, "D": 1}})).status == 200


async def test_sent_again_under_its_key_it_counts_once(world: World, callers: Callers) -> None:
    for number in range(2):
        answer = await callers.supplier.post(
            PATH, {"main": {"T01-S": 3, "NEW": 4}}, params={"adjustment": "true"}, headers={"Idempotency-Key": "one"}
        )
        assert (answer.status, answer.headers.get("Idempotent-Replayed")) == (200, "true" if number else None)
        assert answer.headers["Location"].startswith("/v1/stock/imports/")
    assert (await world.levels())[100] == 13
    await world.hear(NEW)
    assert (await world.levels())[500] == 4


async def test_a_forgotten_import_still_has_its_values_written(world: World, callers: Callers) -> None:
    await post(callers.supplier, {"main": {"NEW": 7}})
    await world.rows("delete from stock_imports returning import_id")
    await world.hear(NEW)
    assert (await world.levels())[500] == 7


async def test_many_senders_and_products_at_once_neither_deadlock_nor_lose_anything(
    world: World, callers: Callers
) -> None:
    """Adjustments of products that come meanwhile, by SKU and through links: all of them count."""
    names = [f"N{number}" for number in range(10)]
    stock = [stock_product(600 + number, name) for number, name in enumerate(names)]
    printed = [
        stock_product(650 + number, f"P{number}", type="customisable", components=(link(600 + number),))
        for number in range(10)
    ]

    async def send(by: int) -> None:
        keys = [*names, *(f"P{number}" for number in range(10)), "T01-S"]
        shuffled = keys[by:] + keys[:by]
        answer = await post(callers.supplier, {"main": dict.fromkeys(shuffled, 1)}, adjustment="true")
        assert answer.status == 200, answer.body

    async with asyncio.TaskGroup() as group:
        for by in range(8):
            group.create_task(send(by))
        for first, second in zip(printed, reversed(stock), strict=True):
            group.create_task(world.hear(second))
            group.create_task(world.hear(first))
            await asyncio.sleep(0)
    assert await world.levels() | {600 + number: 16 for number in range(10)} | {100: 18} == await world.levels()
    assert await world.rows("select * from pending_values") == []
    assert await world.rows("select import_id from stock_imports where pending <> 0 or changed <> rows") == []
    await world.assert_the_ledger_explains_every_level()
