"""Writes down what came of calls: acknowledgements, windows, the log, and who is gone."""

from collections.abc import Sequence

from services.notifier.calls import Answered
from services.notifier.domain.calls import disables, next_turn
from services.notifier.store import attempts as attempt_store
from services.notifier.store import endpoints as endpoint_store
from services.notifier.store import slots as slot_store
from services.notifier.store.attempts import Made
from services.notifier.store.slots import Finished
from shared.database import Database

GONE_REASON = "it answered 410 Gone"


async def finish(database: Database, answered: Sequence[Answered]) -> None:
    """Write down what became of these calls: acknowledgements, windows, the log, and who is gone."""
    async with database.transaction() as session:
        gone = [
            item.call.endpoint.endpoint_id for item in answered if disables(item.outcome) and not item.call.is_sample
        ]
        await endpoint_store.disable(session, gone, GONE_REASON)
        await slot_store.finish(session, [finished for item in answered for finished in _finished(item)])
        await attempt_store.log_attempts(
            session,
            [
                Made(
                    endpoint_id=item.call.endpoint.endpoint_id,
                    webhook_id=item.call.webhook_id,
                    kind=item.call.kind,
                    versions=item.call.versions,
                    request_headers=item.headers,
                    request_body=item.call.body,
                    outcome=item.outcome,
                    seconds=item.seconds,
                )
                for item in answered
            ],
        )


def _finished(item: Answered) -> list[Finished]:
    call = item.call
    turns = [(slot, next_turn(item.outcome, slot.attempt, call.endpoint.window_seconds)) for slot in call.slots]
    return [
        Finished(
            endpoint_id=slot.endpoint_id,
            product_id=slot.stock.product_id,
            lease_id=call.lease.lease_id,
            delivered=item.outcome.delivered,
            delay_seconds=turn.delay_seconds,
            attempt=turn.attempt,
        )
        for slot, turn in turns
    ]
