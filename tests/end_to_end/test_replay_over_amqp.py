"""A wholesaler's real orders through RabbitMQ: whatever a message is, every level ends as the file says."""

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
from rich.progress import Progress

from demo.api import Api
from demo.options import Form, OrdersBroker
from demo.replay import create_products, open_run
from demo.run import Outcome, plan_of, play
from tests.end_to_end.conftest import Broker
from tests.end_to_end.system import ADMIN_KEY, System
from tests.fault.replay import ORDERS_FILE

LINES = 2_000


@pytest.fixture
def orders_file(tmp_path: Path) -> Path:
    """The first two thousand real lines."""
    path = tmp_path / "orders.csv"
    with ORDERS_FILE.open(encoding="utf-8") as lines:
        path.write_text("".join(islice(lines, LINES + 1)), encoding="utf-8")
    return path


async def test_real_orders_end_in_the_same_levels_as_plain_json_cloudevents_and_batches(
    rabbit_system: System, broker: Broker, orders_file: Path
) -> None:
    system, plan = rabbit_system, plan_of(orders_file)
    outcomes: dict[Form, Outcome] = {}
    async with Api(system.url, ADMIN_KEY) as admin:
        keys = await open_run(admin, "amqp", OrdersBroker(broker.url, Form.JSON).user)
    async with Api(system.url, keys.supplier_key) as supplier, Api(system.url, keys.retailer_key) as retailer:
        with Progress(disable=True) as progress:
            parts = await create_products(supplier, plan.assortment, progress)
            for form in Form:
                through = OrdersBroker(broker.url, form)
                outcomes[form] = await play(supplier, retailer, plan.referring_to(form), parts, progress, through)
    orders = {message for message in plan.sequence if message.kind == "order"}
    for form, outcome in outcomes.items():
        assert outcome.is_right, (form, outcome.mismatches)
        assert outcome.found == outcomes[Form.JSON].found
        assert (outcome.sent.counts["line"], outcome.sent.counts["repeat"] > 0) == (LINES, True)
        assert await orders_of(system, form) == Counter({"amqp": len(orders)}), "each once, by this way"
    assert await system.rows("orders", "select reason from dead_letters") == []


async def orders_of(system: System, form: Form) -> Counter[str]:
    """How many orders were sent in this form, by their source."""
    rows = await system.rows("orders", f"select source from orders where external_ref like '{form}/%'")
    return Counter(row.source for row in rows)
