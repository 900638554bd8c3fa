"""The types of the fields that come in, in requests and in files."""

from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
)


def storable(value: str) -> str:
    """Validator of texts: PostgreSQL holds no NUL."""
    if "\x00" in value:
        message = "must not contain the character U+0000"
        raise ValueError(message)
    return value


def _no_boolean(value: object) -> object:
    """Python takes true for 1; whoever sends it means something else."""
    if isinstance(value, bool):
        message = "must be a number, not true or false"
        raise ValueError(message)  # noqa: TRY004 - what validators raise
    return value


Text = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True), AfterValidator(storable)]
Int = Annotated[int, BeforeValidator(_no_boolean)]
Id = Annotated[Int, Field(gt=0, lt=2**63)]
# An id of an older system; the bound leaves the sequence room, and JavaScript exact numbers.
ChosenId = Annotated[Int, Field(gt=0, le=10**12, description="Only for the platform admin; else one is given.")]


class Body(BaseModel):
    """What somebody sends: a field nobody knows is refused, for it may be a misspelt one."""

    model_config = ConfigDict(extra="forbid")


def encodable(secret: SecretStr) -> SecretStr:
    """Validator of passwords: JSON can spell half a surrogate pair, which is no character."""
    try:
        secret.get_secret_value().encode()
    except UnicodeEncodeError:
        message = "must not contain half of a surrogate pair (U+D800 to U+DFFF)"
        raise ValueError(message) from None
    return secret


def not_null(value: object) -> object:
    """Validator of fields that may be left out, and then stay, but that are never empty."""
    if value is None:
        message = "cannot be null: leave it out to keep it as it is"
        raise ValueError(message)
    return value
