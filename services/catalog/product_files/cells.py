"""Attributes of a variant in one cell of a CSV file."""

import re
from collections.abc import Iterable, Iterator


def attributes_cell(attributes: Iterable[tuple[str, str]]) -> str:
    r"""`Size=Small|Colour=Red`; a backslash goes before `|`, `=` and `\` within."""
    return "|".join(f"{_quoted(name)}={_quoted(value)}" for name, value in attributes)


def attributes_of(cell: str) -> list[dict[str, str]]:
    """The attributes again. Raises `ValueError` for what is not written like that."""
    return [_attribute(part) for part in _split(cell, "|")] if cell else []


def _attribute(part: str) -> dict[str, str]:
    names_and_values = list(_split(part, "="))
    if len(names_and_values) != 2:  # noqa: PLR2004 - a name and a value
        message = r"write attributes like Size=Small|Colour=Red; a backslash goes before |, = and \ within"
        raise ValueError(message)
    name, value = (re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL) for text in names_and_values)
    return {"name": name, "value": value}


def _quoted(text: str) -> str:
    return re.sub(r"([\\|=])", r"\\\1", text)


def _split(text: str, separator: str) -> Iterator[str]:
    """The parts between separators that no backslash stands before, backslashes and all."""
    part = ""
    characters = iter(text)
    for character in characters:
        if character == "\\":
            part += character + next(characters, "")
        elif character == separator:
            yield part
            part = ""
        else:
            part += character
    yield part
