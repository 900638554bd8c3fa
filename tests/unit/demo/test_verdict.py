"""The verdict is right only if every level is, none is there that should not be, and nothing counted twice."""

import asyncio
from datetime import UTC, datetime

import pytest

from demo.concurrently import concurrently
from demo.plan import Message
from demo.replay import Sent
from demo.run import Outcome

ORDER = Message("order", "536365", datetime(2010, 12, 1, tzinfo=UTC), (("71053", 6),))


def outcome(found: dict[str, int], *answered: str) -> Outcome:
    sent = Sent()
    sent.ids[ORDER].update(answered)
    return Outcome(sent, products=2, seconds=1.0, expected={"71053": 94, "22139": 7}, found=found)


def test_equal_levels_are_right() -> None:
    right = outcome({"22139": 7, "71053": 94}, "an order")
    assert right.is_right
    assert right.mismatches == []


@pytest.mark.parametrize(
    ("found", "mismatches"),
    [
        ({"71053": 88, "22139": 7}, ["71053"]),
        ({"71053": 94}, ["22139"]),
        ({"71053": 94, "22139": 7, "POST": 0}, ["POST"]),
        ({}, ["22139", "71053"]),
    ],
)
def test_a_level_that_differs_is_missing_or_should_not_be_there_is_wrong(
    found: dict[str, int], mismatches: list[str]
) -> None:
    wrong = outcome(found, "an order")
    assert not wrong.is_right
    assert wrong.mismatches == mismatches


def test_a_message_sent_twice_that_became_two_orders_is_wrong_even_if_the_levels_are_not() -> None:
    wrong = outcome({"71053": 94, "22139": 7}, "an order", "another order")
    assert not wrong.is_right
    assert wrong.sent.doubled == ["536365"]


async def test_work_is_done_on_every_item_with_no_more_in_flight_than_allowed() -> None:
    in_flight, most, done = 0, 0, []

    async def work(item: int) -> None:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        await asyncio.sleep(0)
        in_flight -= 1
        done.append(item)

    await concurrently(range(20), work, in_flight=4)
    assert sorted(done) == list(range(20))
    assert most == 4


async def test_the_first_failure_ends_all_and_is_told_as_it_is() -> None:
    done = []

    async def work(item: int) -> None:
        if item == 5:
            message = "answered 422"
            raise RuntimeError(message)
        await asyncio.sleep(0)
        done.append(item)

    with pytest.raises(RuntimeError, match="answered 422"):
        await concurrently(range(100), work, in_flight=2)
    assert len(done) < 10
