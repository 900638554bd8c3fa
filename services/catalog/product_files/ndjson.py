"""NDJSON: one product a line, as `POST /v1/products` takes it, with links by id or by SKU."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import to_json

from services.catalog.domain import Component, Product, Variant, plain_target
from services.catalog.product_files.names import Name
from services.catalog.product_files.rows import ReadRow, row_of
from shared.csv_files import FileError

MEDIA_TYPE = "application/x-ndjson"
# What one product may be over HTTP.
LINE_LIMIT_BYTES = 8 * 1024 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class NdjsonReader:
    """Reads a file piece by piece."""

    def __init__(self) -> None:
        """Begin a file."""
        self._rest = b""
        self._lines = self._rows = 0

    def feed(self, piece: bytes) -> list[ReadRow]:
        """The rows that are complete with this next piece. Raises `FileError`."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > LINE_LIMIT_BYTES:
            message = f"Line {self._lines + len(lines) + 1} is longer than {LINE_LIMIT_BYTES // 1024**2} MiB."
            raise FileError(message)
        return self._read(lines)

    def end(self) -> list[ReadRow]:
        """The last row, where the file does not end with a line feed."""
        rest, self._rest = self._rest, b""
        return self._read([rest])

    def _read(self, lines: Iterable[bytes]) -> list[ReadRow]:
        rows = []
        for line in lines:
            self._lines += 1
            content = line.removeprefix(BYTE_ORDER_MARK) if self._lines == 1 else line
            if content.strip():
                self._rows += 1
                rows.append(row_of(self._rows, self._lines, content))
        return rows


def ndjson_of(products: Iterable[Product], names: Mapping[int, Name]) -> bytes:
    """These products as lines; `names` has every product that they refer to."""
    return b"".join(to_json(_product(item, names)) + b"\n" for item in products)


def _product(product: Product, names: Mapping[int, Name]) -> dict[str, Any]:
    row: dict[str, Any] = {"type": product.type, "sku": product.sku, "name": product.name, "barcode": product.barcode}
    row["visibility"] = product.visibility
    if product.base_product_id is not None:
        base = names[product.base_product_id]
        if base.owner_id == product.owner_id:
            row |= {"base_sku": base.sku, "base_type": base.type}
        else:
            row["base_product_id"] = product.base_product_id
    row |= _link(product.components, names)
    row["variants"] = [_variant(variant, names) for variant in product.variants]
    return row


def _variant(variant: Variant, names: Mapping[int, Name]) -> dict[str, Any]:
    attributes = [{"name": name, "value": value} for name, value in variant.attributes]
    return {"sku": variant.sku, "attributes": attributes, **_link(variant.components, names)}


def _link(components: tuple[Component, ...], names: Mapping[int, Name]) -> dict[str, Any]:
    rows = []
    for component in components:
        target = names[component.product_id]
        # A SKU alone means the product of type stock (rule 9).
        exact = {} if target.type == "stock" else {"type": target.type}
        rows.append({"sku": target.sku, **exact, "quantity": component.quantity})
    if plain_target(components) is None:
        return {"components": rows}
    (plain,) = rows
    return {f"base_stock_{name}": plain[name] for name in ("sku", "type") if name in plain}
