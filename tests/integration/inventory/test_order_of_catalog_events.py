"""Whatever the order in which catalog's events of one product come, the copy ends the same."""

from itertools import permutations

import pytest

from shared.events import Event
from shared.events.catalog import ProductRemoved
from tests.integration.inventory.world import SUPPLIER, World, link, stock_product

CUSTOM = {"type": "customisable", "sku": "S7"}
TOLD: dict[str, Event] = {
    "linked to 200": stock_product(201, version=1, components=(link(200),), **CUSTOM),
    "linked to 100": stock_product(201, version=2, components=(link(100),), **CUSTOM),
    "removed": ProductRemoved(product_id=201, owner_id=SUPPLIER, version=3),
    "made again": stock_product(201, version=4, components=(link(200, 2),), **CUSTOM),
}


@pytest.mark.parametrize("arrival", list(permutations(list(TOLD)[:3])), ids=", ".join)
async def test_a_removed_product_keeps_the_links_that_it_had_last(empty_world: World, arrival: tuple[str, ...]) -> None:
    for what in arrival:
        await empty_world.hear(TOLD[what])

    assert await empty_world.rows("select removed, version, state_version from products where product_id = 201") == [
        (True, 3, 2)
    ]
    assert await empty_world.rows("select component_ids from product_parts where product_id = 201") == [([100],)]


@pytest.mark.parametrize("arrival", list(permutations(TOLD)), ids=", ".join)
async def test_a_product_that_was_made_again_is_what_it_is_now(empty_world: World, arrival: tuple[str, ...]) -> None:

    for what in arrival:
        await empty_world.hear(TOLD[what])

    assert await empty_world.rows("select removed, version, state_version from products where product_id = 201") == [
        (False, 4, 4)
    ]
    assert await empty_world.rows("select component_ids, quantities from product_parts where product_id = 201") == [
        ([200], [2])
    ]
