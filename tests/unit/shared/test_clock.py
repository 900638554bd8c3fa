"""Ids that sort by time, and never meet."""

from uuid import RFC_4122

from shared.clock import utc_now, uuid7
from shared.logs import TRACEPARENT, new_traceparent


def test_ids_are_version_7_and_carry_the_time() -> None:
    before = int(utc_now().timestamp() * 1000)
    ids = [uuid7() for _ in range(10_000)]
    after = int(utc_now().timestamp() * 1000)
    assert len(set(ids)) == 10_000
    assert {(identity.version, identity.variant) for identity in ids} == {(7, RFC_4122)}
    assert all(before <= identity.int >> 80 <= after for identity in ids)
    assert len({identity.int >> 62 & 3 for identity in ids}) == 1, "the variant's bits are set, not random"


def test_a_trace_goes_on_where_it_is_valid() -> None:
    received = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    going_on = new_traceparent(received)
    assert going_on.split("-")[1] == received.split("-")[1]
    assert going_on.split("-")[2] != received.split("-")[2]
    assert TRACEPARENT.match(going_on)
    for nonsense in (None, "", "00-xyz", received.upper()):
        assert TRACEPARENT.match(new_traceparent(nonsense))
