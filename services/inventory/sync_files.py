"""Reading what an import states: JSON, NDJSON, or either in a zip file; no I/O."""

import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from services.inventory.domain.sync_imports import StatedRow
from services.inventory.writing import Quantity, Text
from shared.errors import field_errors

ROWS_LIMIT = 100_000
# Of a file as it comes, and as it is when it is unpacked.
FILE_LIMIT_BYTES = 32 * 1024 * 1024
ZIP_MAGIC = b"PK\x03\x04"
DIGITS_LIMIT = 2**63


class FileError(ValueError):
    """The file cannot be read; says why."""


class SyncItem(BaseModel):
    """On hand of a product, by its SKU or id (the SKU first), at a location."""

    model_config = ConfigDict(extra="forbid")

    location: Text
    product: Text | Annotated[int, Field(gt=0, lt=DIGITS_LIMIT, strict=True)]
    on_hand: Quantity

    def stated(self, row_number: int) -> StatedRow:
        """As the row of this number."""
        return StatedRow(row_number, self.location, str(self.product), self.on_hand)


ITEM = TypeAdapter(SyncItem)


def read_rows(file: bytes) -> list[StatedRow]:
    """The rows of a file; raises `FileError` when it cannot be read at all, or is too long."""
    rows = []
    for number, item in enumerate(_items(_unpacked(file)), 1):
        if number > ROWS_LIMIT:
            message = f"it has more than {ROWS_LIMIT:,} rows"
            raise FileError(message)
        rows.append(_row(number, item))
    if not rows:
        message = "it has no rows"
        raise FileError(message)
    return rows


def _unpacked(file: bytes) -> str:
    if file.startswith(ZIP_MAGIC):
        file = _unzipped(file)
    try:
        return file.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"it is not UTF-8: {error}"
        raise FileError(message) from error


def _unzipped(file: bytes) -> bytes:
    try:
        with zipfile.ZipFile(BytesIO(file)) as archive:
            names = [info for info in archive.infolist() if not info.is_dir()]
            if len(names) != 1:
                message = f"a zip file has one file in it, this one has {len(names)}"
                raise FileError(message)
            with archive.open(names[0]) as packed:
                content = packed.read(FILE_LIMIT_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, OSError, EOFError) as error:
        message = f"it cannot be unpacked: {error}"
        raise FileError(message) from error
    if len(content) > FILE_LIMIT_BYTES:
        message = f"unpacked it has more than {FILE_LIMIT_BYTES // 1024**2} MiB"
        raise FileError(message)
    return content


def _items(content: str) -> Iterable[object]:
    """The items of a JSON list, of an object's `items`, or one a line (`ValueError` for a line that is no JSON)."""
    try:
        whole = json.loads(content)
    except (ValueError, RecursionError) as error:
        if content.lstrip().startswith("["):
            message = f"it is not JSON: {error}"
            raise FileError(message) from error
        return _lines(content)
    if isinstance(whole, list):
        return whole
    items = whole.get("items") if isinstance(whole, dict) else None
    return items if isinstance(items, list) else [whole]


def _lines(content: str) -> Iterator[object]:
    for line in content.split("\n"):
        if line.strip():
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                yield FileError("This line is not JSON.")


def _row(number: int, item: object) -> StatedRow:
    problem = str(item)
    if not isinstance(item, FileError):
        try:
            return ITEM.validate_python(item).stated(number)
        except ValidationError as error:
            problem = "; ".join(f"{one.field}: {one.detail}" for one in field_errors(error.errors()))
    return StatedRow(number, None, None, None, problem)
