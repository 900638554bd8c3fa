"""NewStore's example, played by an ERP outside, on every bus: `demo/erp.py`."""

import json
from io import StringIO

import pytest
from rich.console import Console

from demo.erp import play
from tests.end_to_end.system import ADMIN_KEY, System, eventually
from tests.receiver import Receiver, receiver


@pytest.mark.parametrize("overtake", [False, True], ids=["in order", "the import overtakes the events"])
async def test_the_example_comes_out_right_and_again_on_the_same_data(system: System, *, overtake: bool) -> None:
    for _ in range(2):
        printed = StringIO()
        is_right = await play(system.url, ADMIN_KEY, Console(file=printed, width=120), overtake=overtake)
        assert is_right, printed.getvalue()
        assert "On hand 17, allocated 1, available 16." in printed.getvalue()
        assert ("The import is waiting" in printed.getvalue()) == overtake


async def register_feed(system: System, webhooks: Receiver, supplier_id: int) -> None:
    """An endpoint of the supplier that is told all its fulfillment events, from the first one on."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    webhooks.secrets.append(secret)
    await system.rows(
        "notifier",
        "with added as (insert into endpoints (company_id, url, format, secret, window_seconds, state, version, "
        f"created_at) values ({supplier_id}, '{webhooks.url}', 'fulfillment', '{secret}', 0, 'active', 1, db_now()) "
        "returning endpoint_id) "
        "insert into feeds (endpoint_id, acked_timestamp, not_before) select endpoint_id, 0, db_now() from added",
    )


async def test_its_events_come_by_webhook_as_they_are_polled(system: System) -> None:
    async with receiver() as webhooks:

        async def play_and_compare(count: int) -> None:
            assert await play(system.url, ADMIN_KEY, Console(file=StringIO()))
            companies = (await system.admin.get("/v1/companies", params={"limit": "200"})).body["items"]
            (supplier_id,) = (company["id"] for company in companies if company["ref"] == "erp-supplier")
            if not webhooks.secrets:
                await register_feed(system, webhooks, supplier_id)
            await webhooks.wait_for_calls(count)
            answer = await system.admin.get("/v1/fulfillment-events", params={"supplier_id": str(supplier_id)})
            polled = answer.body["items"]
            assert [event["type"].rsplit("_", 1)[1] for event in polled[-7:]] == [*["assigned"] * 4, *["completed"] * 3]
            assert [json.loads(call.body) for call in webhooks.calls] == polled
            assert [event["logical_timestamp"] for event in polled] == list(range(1, count + 1))

        await play_and_compare(7)
        await play_and_compare(14)

        async def all_acknowledged() -> bool:
            return [row[0] for row in await system.rows("notifier", "select acked_timestamp from feeds")] == [14]

        await eventually("every event is acknowledged", all_acknowledged)
        assert len(webhooks.calls) == 14
