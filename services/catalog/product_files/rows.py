"""What one row of a file says of a product: the fields of `POST /v1/products`, with links by id or by SKU."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_core import from_json

from services.catalog.fields import Body, ChosenId, Id, Int, Text
from shared.csv_files import FileError
from shared.errors import FieldError, field_errors
from shared.events.catalog import ProductType

Format = Literal["csv", "ndjson"]
TrackedType = Literal["stock", "stock_customisable"]
Quantity = Annotated[Int, Field(gt=0, le=1_000_000)]
Visibility = Literal["private", "connected"] | Annotated[list[Id], Field(min_length=1, max_length=1000)]

# A file of more rows is refused, and one of which so many cannot be read: it is another kind of file.
FILE_LIMIT_ROWS = 2_000_000
UNREADABLE_LIMIT_ROWS = 100_000
# Who wrote a thousand wrong variants needs no thousand sentences to see why.
ERRORS_LIMIT = 100
# Where fields are named as somebody sent them.
FIELD_LIMIT_CHARACTERS = 200

# A product of more rows, or of longer ones, is refused before they are read: meanwhile nothing else goes on.
PRODUCT_LIMIT_ROWS = 10_000
PRODUCT_LIMIT_BYTES = 8 * 1024 * 1024
TOO_LONG = (
    f"this product has more than {PRODUCT_LIMIT_ROWS:,} rows, or more than {PRODUCT_LIMIT_BYTES // 1024**2} MiB: "
    "send it as one line of NDJSON"
)

# `errors` of a row that says nothing else: a product that is named twice, a line that cannot be read, ...
WHOLE_ROW = "row"


class ComponentRow(Body):
    """One unit draws `quantity` units of a base stock product: by its id, or by its SKU (and type, to be exact)."""

    product_id: Id | None = None
    sku: Text | None = None
    type: TrackedType | None = None
    quantity: Quantity = 1

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if (self.product_id is None) == (self.sku is None):
            message = "name the base stock product either by product_id or by sku"
            raise ValueError(message)
        if self.type is not None and self.sku is None:
            message = "type goes with sku: leave it out, or name the base stock product by sku"
            raise ValueError(message)
        return self


class LinkRow(Body):
    """A link to stock: plain (`base_stock_product_id`, or `base_stock_sku` with its type), or `components`.

    All left out (or null): the link stays as it is. An empty `components` takes it away.
    """

    base_stock_product_id: Id | None = None
    base_stock_sku: Text | None = None
    base_stock_type: TrackedType | None = None
    components: Annotated[tuple[ComponentRow, ...], Field(max_length=100)] | None = None

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.base_stock_type is not None and self.base_stock_sku is None:
            message = "base_stock_type goes with base_stock_sku"
            raise ValueError(message)
        if self.base_stock_product_id is not None and self.base_stock_sku is not None:
            message = "name the base stock product either by base_stock_product_id or by base_stock_sku"
            raise ValueError(message)
        plain = self._plain()
        if plain is not None and self.components is not None and self.components != plain:
            message = "name either a base stock product or components, not two different links"
            raise ValueError(message)
        return self

    def _plain(self) -> tuple[ComponentRow, ...] | None:
        if self.base_stock_product_id is not None:
            return (ComponentRow(product_id=self.base_stock_product_id),)
        if self.base_stock_sku is not None:
            return (ComponentRow(sku=self.base_stock_sku, type=self.base_stock_type),)
        return None

    def link(self) -> tuple[ComponentRow, ...] | None:
        """The link as components (a plain one is one of quantity 1); `None`: it stays as it is."""
        return self._plain() or self.components


class AttributeRow(Body):
    """What makes a variant differ, e.g. Size: Small."""

    name: Text
    value: Text


class VariantRow(LinkRow):
    """A variant; attributes or link left out stay as they are, where there is a variant of this SKU already."""

    sku: Text
    attributes: Annotated[tuple[AttributeRow, ...], Field(max_length=20)] | None = None


class ProductRow(LinkRow):
    """A product: its type and SKU say which; what else is left out stays as it is, or is the default of a new one.

    `id` is the platform admin's choice for a new product. The base is named by its id, or by its SKU, which is looked
    for among the owner's products, of a retailer's also among those of its suppliers; `base_type` makes it exact.
    """

    type: ProductType
    sku: Text
    id: ChosenId | None = None
    name: Text | None = None
    barcode: Text | None = None
    visibility: Visibility | None = None
    base_product_id: Id | None = None
    base_sku: Text | None = None
    base_type: ProductType | None = None
    variants: Annotated[tuple[VariantRow, ...], Field(max_length=1000)] | None = None

    @model_validator(mode="after")
    def _one_base(self) -> Self:
        if self.base_product_id is not None and self.base_sku is not None:
            message = "name the base product either by base_product_id or by base_sku"
            raise ValueError(message)
        if self.base_type is not None and self.base_sku is None:
            message = "base_type goes with base_sku"
            raise ValueError(message)
        return self


@dataclass(frozen=True, slots=True)
class ReadRow:
    """One row as it was read: `number` counts rows from 1, `line` is where in the file it begins, from 1.

    `said` is what it says; `None` where that cannot be read, and `errors` say why. `type` and `sku` are there whenever
    they could be read: then a product that has other rows is refused with this one.
    """

    number: int
    line: int
    type: ProductType | None
    sku: str | None
    said: ProductRow | None
    body: str | None
    errors: tuple[FieldError, ...] = ()


@dataclass(slots=True)
class Count:
    """How many rows of a file have been read, and how many of them name no product."""

    rows: int = 0
    unreadable: int = 0
    without_product: int = 0

    def add(self, rows: Sequence[ReadRow]) -> None:
        """Count these too. Raises `FileError` for a file of too many rows, or too many that cannot be read."""
        self.rows += len(rows)
        unreadable = [row for row in rows if row.said is None]
        self.unreadable += len(unreadable)
        self.without_product += sum(row.type is None for row in unreadable)
        if self.rows > FILE_LIMIT_ROWS:
            message = f"The file has more than {FILE_LIMIT_ROWS:,} rows: send it in several files. Nothing was changed."
            raise FileError(message)
        if self.unreadable > UNREADABLE_LIMIT_ROWS:
            last = unreadable[-1]
            message = (
                f"More than {UNREADABLE_LIMIT_ROWS:,} rows cannot be read, like the one in line {last.line} "
                f"({last.errors[0].field}: {last.errors[0].detail}). Nothing was changed."
            )
            raise FileError(message)


class _Key(Body):
    """What says which product a row is about."""

    type: ProductType
    sku: Text


def refused(number: int, line: int, content: object, errors: tuple[FieldError, ...]) -> ReadRow:
    """A row that cannot be read; `content` is what it holds, where that is at least a dict."""
    parts = content if isinstance(content, dict) else {}
    try:
        key = _Key.model_validate({name: parts.get(name) for name in ("type", "sku")})
    except ValidationError:
        return ReadRow(number, line, None, None, None, None, errors)
    return ReadRow(number, line, key.type, key.sku, None, None, errors)


def row_of(number: int, line: int, body: str | bytes) -> ReadRow:
    """A row from its JSON."""
    try:
        said = ProductRow.model_validate_json(body)
    except ValidationError as error:
        return refused(number, line, _content(body), errors_of(error))
    return ReadRow(number, line, said.type, said.sku, said, body if isinstance(body, str) else body.decode())


def _content(body: str | bytes) -> Any:  # noqa: ANN401 - whatever JSON it is
    try:
        return from_json(body)
    except ValueError:
        return None


def errors_of(error: ValidationError) -> tuple[FieldError, ...]:
    """Pydantic's errors; what is wrong with a row as a whole stands under `row`."""
    found = field_errors(error.errors(include_url=False, include_context=False, include_input=False)[:ERRORS_LIMIT])
    return tuple(
        FieldError(
            field=WHOLE_ROW if item.field == "body" else _storable(item.field),
            detail=item.detail.removeprefix("Value error, "),
        )
        for item in found
    )


def _storable(field: str) -> str:
    """A field that nobody knows may be called anything; PostgreSQL stores no U+0000."""
    return field.replace("\x00", "\\u0000")[:FIELD_LIMIT_CHARACTERS]
