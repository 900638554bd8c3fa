"""Encryption of webhook secrets, and where its key comes from."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from services.all_in_one import ENCRYPTION_KEY_FILE, with_encryption_key
from services.notifier.encryption import UnreadableSecretError, vault_of
from shared.settings import Settings

OLD, NEW = SecretStr("o" * 32), SecretStr("n" * 40)


def test_any_of_the_keys_decrypts_and_the_first_encrypts() -> None:
    stored = vault_of((OLD,)).encrypt("a secret")
    both = vault_of((NEW, OLD))
    assert both.decrypt(stored) == "a secret"
    assert vault_of((NEW,)).decrypt(both.renewed(stored)) == "a secret"
    assert vault_of((NEW,)).decrypt(both.encrypt("another")) == "another"
    renewed = both.renewed(stored)
    assert both.renewed(renewed) == renewed, "it is under the newest key"
    with pytest.raises(UnreadableSecretError, match="BASESTOCK_WEBHOOK_ENCRYPTION_KEY"):
        vault_of((NEW,)).decrypt(stored)


def test_a_secret_in_clear_is_read_and_encrypted() -> None:
    vault = vault_of((NEW,))
    assert vault.decrypt("whsec_abc") == "whsec_abc"
    assert vault.decrypt(vault.renewed("whsec_abc")) == "whsec_abc"
    assert "whsec_abc" not in vault.renewed("whsec_abc")


def test_the_key_of_an_embedded_system_is_made_once_and_kept_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", _env_file=None)
    first, second = (with_encryption_key(settings).webhook_encryption_key for _ in range(2))
    assert first == second
    assert len(first[0].get_secret_value()) == 64
    kept = tmp_path / "data" / ENCRYPTION_KEY_FILE
    assert (kept.stat().st_mode & 0o777, list(kept.parent.iterdir())) == (0o600, [kept])


def test_a_key_that_is_given_counts_and_none_is_made(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", webhook_encryption_key=f"{'n' * 40},{'o' * 32}", _env_file=None)
    assert with_encryption_key(settings).webhook_encryption_key == (NEW, OLD)
    assert not (tmp_path / "data").exists()
