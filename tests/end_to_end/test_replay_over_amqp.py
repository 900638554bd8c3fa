"""A wholesaler's real orders through RabbitMQ: whatever a message is, every level ends as the file says."""

from collections import Counter
from io import StringIO
from itertools import islice
from pathlib import Path

import pytest
from rich.console import Console

from demo.api import Api
from demo.publishing import Form, OrdersBroker
from demo.run import Outcome, plan_of, replay
from tests.end_to_end.conftest import Broker
from tests.end_to_end.system import ADMIN_KEY, System
from tests.fault.replay import ORDERS_FILE

LINES = 3_000


@pytest.fixture
def orders_file(tmp_path: Path) -> Path:
    """The first few thousand real lines."""
    path = tmp_path / "orders.csv"
    with ORDERS_FILE.open(encoding="utf-8") as lines:
        path.write_text("".join(islice(lines, LINES + 1)), encoding="utf-8")
    return path


async def play(system: System, broker: Broker, orders_file: Path, form: Form) -> Outcome:
    through = OrdersBroker(broker.url, form)
    async with Api(system.url, ADMIN_KEY) as admin:
        return await replay(admin, system.url, plan_of(orders_file), form, Console(file=StringIO()), through)


async def test_real_orders_end_in_the_same_levels_as_plain_json_cloudevents_and_batches(
    rabbit_system: System, broker: Broker, orders_file: Path
) -> None:
    outcomes = {form: await play(rabbit_system, broker, orders_file, form) for form in Form}
    orders = {message for message in plan_of(orders_file).sequence if message.kind == "order"}
    for form, outcome in outcomes.items():
        assert outcome.is_right, (form, outcome.mismatches)
        assert outcome.found == outcomes[Form.JSON].found
        assert (outcome.sent.counts["line"], outcome.sent.counts["repeat"] > 0) == (LINES, True)
        assert await orders_of(rabbit_system, form) == Counter({"amqp": len(orders)}), "each once, by this way"
    assert await rabbit_system.rows("orders", "select reason from dead_letters") == []


async def orders_of(system: System, form: Form) -> Counter[str]:
    rows = await system.rows("orders", f"select source from orders where external_ref like '{form}/%'")
    return Counter(row.source for row in rows)
