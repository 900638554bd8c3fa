"""Options that several commands have, and how they become settings."""

from pathlib import Path
from typing import Annotated

import typer

from shared.program import settings_or_exit
from shared.settings import Settings

DataDir = Annotated[
    Path | None, typer.Option(help="Folder of the embedded PostgreSQL. [default: .basestock]", file_okay=False)
]
Dsn = Annotated[str | None, typer.Option(help="A PostgreSQL to use instead of the embedded one: postgresql://...")]


def read_settings(**changes: object) -> Settings:
    """Settings from the environment, with the command line's options over them."""
    given = {name: value for name, value in changes.items() if value is not None}
    return Settings.model_validate(settings_or_exit().model_dump(exclude_unset=True) | given)
