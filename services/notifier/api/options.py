"""What may be said of an endpoint: the bodies that register and change one, and the rules that they are held to."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from services.notifier.api.requests import StatedId
from services.notifier.domain.auth_header import wrong_name, wrong_value
from services.notifier.domain.options import misplaced
from services.notifier.encryption import Vault
from services.notifier.tables import DeltaSemantics, Format
from shared import network_guard
from shared.errors import FieldError, ProblemError
from shared.settings import Settings

# A week: past that a retailer is better served by asking.
WINDOW_LIMIT_SECONDS = 604_800
FILTER_LIMIT = 1000

EventType = Literal["variant_stock.updated", "variant_stock.deleted", "variant_stock_delta.updated"]
Crossing = Literal["low", "recovered", "out", "back_in_stock"]
Url = Annotated[
    str, Field(description="http:// or https://, to a public address", examples=["https://shop.example/stock"])
]
Ids = Annotated[list[StatedId], Field(min_length=1, max_length=FILTER_LIMIT)]


def _checked_name(name: str) -> str:
    if (wrong := wrong_name(name)) is not None:
        raise ValueError(wrong)
    return name


def _checked_value(value: str) -> str:
    if (wrong := wrong_value(value)) is not None:
        raise ValueError(wrong)
    return value


class AuthHeader(BaseModel):
    """A header that every call carries beside its signature; the value is never shown again."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, AfterValidator(_checked_name), Field(examples=["X-Api-Key"])]
    value: Annotated[str, AfterValidator(_checked_value), Field(examples=["s3cret"])]


class Options(BaseModel):
    """What a company says of its endpoint, each only where its format takes it."""

    model_config = ConfigDict(extra="forbid")

    window_seconds: int = Field(
        0,
        ge=0,
        le=WINDOW_LIMIT_SECONDS,
        strict=True,
        description="Least time between calls per product; for stock_level it can only lengthen ours.",
    )
    auth_header: AuthHeader | None = Field(None, description="A static header to send beside the signature.")
    legacy_key: bool = Field(
        default=False, strict=True, description="stock_level: also send `quantity_availble`, misspelt."
    )
    delta_semantics: DeltaSemantics = Field(
        "change", description="variant_stock: what `quantity` of a delta is: the change, or the new total."
    )
    dotted_names: bool = Field(
        default=False, strict=True, description="fulfillment: names like `fulfillment_request.items_completed`."
    )
    early_retry: bool = Field(
        default=False,
        strict=True,
        description="After an explicit 429 or 5xx come again after 30 s, 2 min, 5 min, not a window.",
    )
    event_types: Annotated[list[EventType], Field(min_length=1, max_length=3)] | None = Field(
        None, description="variant_stock: which events; null is updated and deleted."
    )
    supplier_ids: Ids | None = Field(None, description="Only stock of these suppliers; null is all you may hear of.")
    product_ids: Ids | None = Field(None, description="Only these base stock products; null is all you may hear of.")
    only: Annotated[list[Crossing], Field(min_length=1, max_length=4)] | None = Field(
        None, description="stock_level: only when the stock goes low, recovers, runs out, or is back; null is always."
    )
    calls_at_once: int = Field(1, ge=1, le=10, strict=True, description="Most calls under way at the same time.")
    calls_per_second: float | None = Field(
        None, ge=0.01, le=100, allow_inf_nan=False, strict=True, description="Most calls per second; null is no limit."
    )


class NewEndpoint(Options):
    """A webhook endpoint to register."""

    url: Url
    format: Format = Field(
        "stock_level",
        description="What it is sent: stock_level and variant_stock are for retailers, fulfillment for suppliers.",
    )
    after: int | None = Field(
        None,
        ge=0,
        lt=2**63,
        strict=True,
        description="fulfillment: tell what comes after this logical timestamp; null: after the newest.",
    )
    company_id: StatedId | None = Field(None, description="Whose it is; for the platform admin only.")


class EndpointChange(Options):
    """What is to be different of an endpoint; what is left out stays.

    Null takes away `auth_header`, `event_types`, `supplier_ids`, `product_ids`, `only` and `calls_per_second`; all
    others always have a value.
    """

    url: Url = Field(default_factory=str)


DEFAULTS = {name: field.default for name, field in NewEndpoint.model_fields.items()}


def stored_options(body: Options, format_: Format, settings: Settings, vault: Vault) -> dict[str, Any]:
    """The options that `body` states, as they are stored.

    Raises a 422 problem for an option that the format does not take, and for a URL that cannot be called.
    """
    stated = body.model_dump(exclude_unset=True, exclude={"format", "company_id"})
    wrong = misplaced(format_, stated, DEFAULTS)
    if wrong:
        errors = [FieldError(field=name, detail=detail) for name, detail in wrong.items()]
        names = ", ".join(wrong)
        detail = f"An endpoint of the format {format_} does not take {names}."
        raise ProblemError(422, "option_of_another_format", detail, errors=errors)
    if "url" in stated:
        _check_url(stated["url"], settings)
    if "auth_header" in stated:
        header = stated.pop("auth_header")
        stated["auth_header_name"] = header and header["name"]
        stated["auth_header_value"] = header and vault.encrypt(header["value"])
    for name in ("event_types", "supplier_ids", "product_ids", "only"):
        if stated.get(name):
            stated[name] = sorted(set(stated[name]))
    stated.pop("after", None)
    return stated


def _check_url(url: str, settings: Settings) -> None:
    try:
        network_guard.check_url(url, settings.webhook_allow_networks)
    except (network_guard.UrlError, network_guard.ForbiddenAddressError) as error:
        code = "invalid_url" if isinstance(error, network_guard.UrlError) else "forbidden_address"
        raise ProblemError(422, code, str(error), errors=[FieldError(field="url", detail=str(error))]) from error
