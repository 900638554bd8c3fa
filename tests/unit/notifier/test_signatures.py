"""Signatures, against the reference library of Standard Webhooks."""

import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from services.notifier.signing import new_secret, signed_headers
from shared import clock


def test_a_secret_is_32_random_bytes_in_base64() -> None:
    first, second = new_secret(), new_secret()
    assert first != second
    assert first.startswith("whsec_")
    assert len(base64.b64decode(first.removeprefix("whsec_"), validate=True)) == 32


@given(st.text())
def test_the_reference_library_makes_the_same_signature(content: str) -> None:
    body = content.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()
    secret, at = new_secret(), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    headers = signed_headers([secret], "msg_1", int(at.timestamp()), body)
    assert headers["webhook-signature"] == Webhook(secret).sign("msg_1", at, body.decode())


def test_the_reference_library_verifies_a_call_and_refuses_a_changed_one() -> None:
    secret = new_secret()
    headers = signed_headers([secret], "msg_1", int(clock.utc_now().timestamp()), b'{"stock":[]}')
    assert Webhook(secret).verify(b'{"stock":[]}', headers) == {"stock": []}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(b'{"stock":[1]}', headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(b'{"stock":[]}', headers)


def test_every_valid_secret_signs_and_the_newest_comes_first() -> None:
    secrets, body = [new_secret(), new_secret(), new_secret()], b'{"stock":[]}'
    at = clock.utc_now()
    headers = signed_headers(secrets, "msg_1", int(at.timestamp()), body)
    assert headers["webhook-signature"].split(" ") == [
        Webhook(secret).sign("msg_1", at, body.decode()) for secret in secrets
    ]
    for secret in secrets:
        assert Webhook(secret).verify(body, headers) == {"stock": []}
