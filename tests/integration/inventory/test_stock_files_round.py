"""What is exported and imported again changes nothing: no level, no entry, no event."""

import csv
import io
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.inventory.stock_files.exported import csv_of, header_of
from services.inventory.stock_files.rows import StockReader
from tests.integration.inventory.callers import Callers
from tests.integration.inventory.test_stock_import import counts, imported
from tests.integration.inventory.world import World, stock_product

# SKUs as catalog takes them: no U+0000, no blanks around them.
SKUS = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00") | st.sampled_from("=+-@'\"\t\r\n,; "),
    min_size=1,
    max_size=12,
).map(str.strip)
UNITS = st.integers(-(10**9), 10**9)


@given(
    st.lists(st.tuples(SKUS.filter(bool), UNITS), max_size=20),
    st.booleans(),
    st.data(),
)
def test_every_text_and_number_comes_back_as_it_was_however_the_file_is_cut(
    rows: list[tuple[str, int]], has_mark: bool, data: st.DataObject
) -> None:
    content = (b"\xef\xbb\xbf" if has_mark else b"") + header_of(["sku", "quantity_available"])
    content += csv_of(["sku", "quantity_available"], rows)
    cut = data.draw(st.integers(0, len(content)))
    reader = StockReader()
    read = [*reader.feed(content[:cut]), *reader.feed(content[cut:]), *reader.end()]
    assert [(row.sku, row.quantity, row.errors) for row in read] == [(sku, units, ()) for sku, units in rows]


numbers = count(10_000)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.dictionaries(SKUS.filter(bool), st.tuples(st.integers(-50, 50), st.integers(0, 9)), max_size=6))
async def test_an_export_that_is_imported_again_changes_nothing(
    world: World, callers: Callers, items: dict[str, tuple[int, int]]
) -> None:
    ids = {next(numbers): sku for sku in items}
    known = {row["sku"] for row in await _exported(callers)}
    fresh = {id_: sku for id_, sku in ids.items() if sku not in known}
    await world.hear(*(stock_product(id_, sku) for id_, sku in fresh.items()))
    await world.count(**{f"_{id_}": items[sku][0] for id_, sku in fresh.items()})
    for id_, sku in fresh.items():
        await callers.supplier.patch(f"/v1/stock/{id_}", {"safety_stock": items[sku][1]})
    before = await world.rows("select count(*) from stock_ledger")
    await world.told()

    for columns in ("", "location,name,allocated,barcode,id"):
        file = (await callers.supplier.get("/v1/stock/export", params={"columns": columns})).body
        job = await imported(callers.supplier, file.encode(), mode="rows")
        assert counts(job) == ("done", 0, job["rows"], 0)

    assert await world.rows("select count(*) from stock_ledger") == before
    assert await world.told() == []


async def _exported(callers: Callers) -> list[dict[str, str]]:
    body = (await callers.supplier.get("/v1/stock/export")).body
    return list(csv.DictReader(io.StringIO(body, newline="")))
