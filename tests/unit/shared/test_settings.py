"""Settings: frozen, from the environment, and wrong ones refused in words."""

from ipaddress import ip_network

import pytest
from pydantic import ValidationError

from shared.settings import Settings, in_words


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASESTOCK_WEBHOOK_WINDOW_SECONDS", "60")
    monkeypatch.setenv("BASESTOCK_WEBHOOK_ALLOW_NETWORKS", "127.0.0.0/8, ::1/128")
    monkeypatch.setenv("BASESTOCK_BROKER_URL", "")
    settings = Settings()
    assert settings.webhook_window_seconds == 60
    assert settings.webhook_allow_networks == (ip_network("127.0.0.0/8"), ip_network("::1/128"))
    assert settings.broker_url is None, "an empty value means the default"


def test_they_are_frozen() -> None:
    with pytest.raises(ValidationError):
        setattr(Settings(), "port", 1)  # noqa: B010 - the type checker would refuse it as well


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ALERT_URL", "chat.example/hooks/1"),
        ("WEBHOOK_WINDOW_SECONDS", "soon"),
        ("PORT", "70000"),
        ("LOG_LEVEL", "x"),
        ("PUBLISH_TIMEOUT_SECONDS", "30"),  # twice that is when PostgreSQL ends the relay's transaction
    ],
)
def test_wrong_ones_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"BASESTOCK_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_several_secrets_sign_and_verify_tokens_and_each_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASESTOCK_TOKEN_SECRET", f"{'n' * 32}, {'o' * 40}")
    assert [secret.get_secret_value() for secret in Settings().token_secret] == ["n" * 32, "o" * 40]
    assert "nnn" not in repr(Settings())
    for secrets in ("short", f"{'n' * 32},short"):
        monkeypatch.setenv("BASESTOCK_TOKEN_SECRET", secrets)
        with pytest.raises(ValidationError) as refusal:
            Settings()
        [sentence] = in_words(refusal.value)
        assert "BASESTOCK_TOKEN_SECRET: each secret must have 32 characters" in sentence
        assert "short" not in sentence + str(refusal.value)


def test_a_service_uses_its_own_database_before_the_common_one() -> None:
    settings = Settings(dsn="postgresql://common", orders_dsn="postgresql://own")
    assert settings.dsn_of("orders") == "postgresql://own"
    assert settings.dsn_of("catalog") == "postgresql://common"


def test_no_database_is_said_in_words() -> None:
    with pytest.raises(RuntimeError, match="BASESTOCK_CATALOG_DSN"):
        Settings().dsn_of("catalog")


@pytest.mark.parametrize("url", ["postgresql://me:hu/sh@host/name", "postgresql://me:hu#sh@host/name"])
def test_an_address_that_cannot_be_read_is_refused_without_telling_the_password(url: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        Settings(dsn=url)
    [sentence] = in_words(refusal.value)
    assert "BASESTOCK_DSN" in sentence
    assert "%2F" in sentence
    assert "hu" not in sentence
