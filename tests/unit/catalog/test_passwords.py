"""What a stored password costs whoever guesses it."""

from pydantic import SecretStr

from services.catalog.passwords import hash_password, is_outdated, is_password

PASSWORD = SecretStr("correct horse battery")


async def test_a_password_is_found_again_at_the_cost_that_rfc_9106_recommends() -> None:
    stored = await hash_password(PASSWORD)

    assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$"), "its second recommendation"
    assert not is_outdated(stored)
    assert await is_password(stored, PASSWORD)
    assert not await is_password(stored, SecretStr("correct horse"))
    assert not await is_password(None, PASSWORD), "nobody has it"
