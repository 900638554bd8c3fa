"""What catalog tells: every event carries the full state and a version; the newest wins, older ones are ignored."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from shared.events import Event

ProductType = Literal["stock", "customisable", "stock_customisable", "configurable_stock", "virtual"]
CompanyRole = Literal["supplier", "retailer"]
ConnectionState = Literal["active", "paused", "ended"]
OversellPolicy = Literal["backorder", "deny"]
KeyRole = Literal["admin", "supplier", "retailer"]

HEARD_BY = ("orders", "inventory", "notifier")
TRACKED_TYPES: frozenset[ProductType] = frozenset({"stock", "stock_customisable"})


class Part(BaseModel):
    """A piece of an event: frozen, open to new fields."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Component(Part):
    """One unit of the linking product draws `quantity` units of this base stock product."""

    product_id: int
    quantity: int


class Attribute(Part):
    """What makes a variant differ, e.g. Size: Small."""

    name: str
    value: str


class Variant(Part):
    """A variant and the base stock products it draws on; no components means untracked."""

    variant_id: int
    sku: str
    attributes: tuple[Attribute, ...] = ()
    components: tuple[Component, ...] = ()


class CompanyChanged(Event):
    """A company exists with this name and role; `oversell_policy` is the default for its base stock products."""

    name: ClassVar[str] = "catalog.company_changed"
    heard_by: ClassVar[tuple[str, ...]] = HEARD_BY

    company_id: int
    ref: str
    display_name: str
    role: CompanyRole
    oversell_policy: OversellPolicy = "backorder"
    version: int

    def subject(self) -> str:
        """The company's id."""
        return str(self.company_id)

    def sequence(self) -> int:
        """The company's version."""
        return self.version


class ApiKeyChanged(Event):
    """An API key may be used, or (`revoked_at`) may not any more. Only its SHA-256 travels, never the key.

    `company_id` is `None` for keys of the platform admin.
    """

    name: ClassVar[str] = "catalog.api_key_changed"
    heard_by: ClassVar[tuple[str, ...]] = HEARD_BY
    # A key that was revoked must not stay good for as long as an import of products is on its way.
    urgent: ClassVar[bool] = True

    key_id: int
    key_sha256: str
    company_id: int | None
    role: KeyRole
    scopes: tuple[str, ...]
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    version: int

    def subject(self) -> str:
        """The key's id."""
        return str(self.key_id)

    def sequence(self) -> int:
        """The key's version."""
        return self.version


class ConnectionChanged(Event):
    """The dropship connection between a supplier and a retailer is in this state."""

    name: ClassVar[str] = "catalog.connection_changed"
    heard_by: ClassVar[tuple[str, ...]] = HEARD_BY

    connection_id: int
    supplier_id: int
    retailer_id: int
    external_ref: str | None = None
    default_location: str | None = None
    state: ConnectionState
    version: int

    def subject(self) -> str:
        """The connection's id."""
        return str(self.connection_id)

    def sequence(self) -> int:
        """The connection's version."""
        return self.version


class ProductChanged(Event):
    """A product as it is now, with its raw links: consumers follow `base_product_id` of virtual products themselves.

    `components` is the product-level link. `visible_to` is `private`, `connected`, or the retailers' company ids.
    """

    name: ClassVar[str] = "catalog.product_changed"
    heard_by: ClassVar[tuple[str, ...]] = HEARD_BY

    product_id: int
    owner_id: int
    type: ProductType
    sku: str
    title: str
    barcode: str | None = None
    base_product_id: int | None = None
    components: tuple[Component, ...] = ()
    variants: tuple[Variant, ...] = ()
    visible_to: Literal["private", "connected"] | tuple[int, ...] = "private"
    version: int

    def subject(self) -> str:
        """The product's id."""
        return str(self.product_id)

    def sequence(self) -> int:
        """The product's version."""
        return self.version

    @property
    def is_tracked_stock(self) -> bool:
        """Whether inventory keeps stock of this very product (rule 1)."""
        return self.type in TRACKED_TYPES


class ProductRemoved(Event):
    """The product is gone; the version makes it a tombstone that no older `product_changed` can undo."""

    name: ClassVar[str] = "catalog.product_removed"
    heard_by: ClassVar[tuple[str, ...]] = HEARD_BY

    product_id: int
    owner_id: int
    version: int

    def subject(self) -> str:
        """The product's id."""
        return str(self.product_id)

    def sequence(self) -> int:
        """The version at which it went."""
        return self.version
