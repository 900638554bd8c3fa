"""Everything that can be set from outside: environment variables `BASESTOCK_...` or a `.env` file, frozen once read."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

# Far from hard to guess: `openssl rand -hex 32` is.
ADMIN_KEY_CHARACTERS = 7
# As many bytes as HMAC-SHA-256 makes (RFC 7518, 3.2).
TOKEN_SECRET_CHARACTERS = 32


class Settings(BaseSettings):
    """One object per process, built at the start and handed down; `.env.example` lists every field with its default."""

    model_config = SettingsConfigDict(
        env_prefix="BASESTOCK_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,  # it may be a secret
    )

    admin_key: SecretStr | None = Field(None, description="The platform admin's API key; generated when empty.")
    token_secret: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="What signs users' tokens, 32 characters or more; more after commas are accepted still."
    )
    # A token holds until it expires, whatever becomes of its user.
    token_minutes: int = Field(15, ge=1, le=60, description="How long a user's token is valid.")
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")

    # A hundred a second is beyond a client that works through its orders one by one; a full import is a few requests.
    rate_limit_requests: int = Field(6000, ge=1, description="Requests per key or user and window, in each process.")
    rate_limit_window_seconds: float = Field(60, gt=0, description="Window of the requests' limit.")

    data_dir: Path = Field(Path(".basestock"), description="Folder of the embedded PostgreSQL.")
    dsn: str | None = Field(None, description="PostgreSQL of all services; empty starts the embedded one.")
    catalog_dsn: str | None = Field(None, description="PostgreSQL of catalog, when it has its own.")
    orders_dsn: str | None = Field(None, description="PostgreSQL of orders, when it has its own.")
    inventory_dsn: str | None = Field(None, description="PostgreSQL of inventory, when it has its own.")
    notifier_dsn: str | None = Field(None, description="PostgreSQL of notifier, when it has its own.")
    database_pool_size: int = Field(
        8, ge=2, description="Connections per service and process; one more while a file is one transaction."
    )

    broker_url: str | None = Field(None, description="RabbitMQ, amqp://...; empty uses the in-process bus.")
    broker_management_url: SecretStr | None = Field(
        None, description="RabbitMQ's management API, http://user:password@host:15672; for `basestock broker` alone."
    )
    # RabbitMQ's own default of 60 s would notice a dead peer only after three minutes.
    broker_heartbeat_seconds: int = Field(10, ge=1, description="AMQP heartbeat.")
    # Long enough for servers that are started together with us.
    start_seconds: int = Field(60, ge=1, description="Longest wait for database and broker at the start.")
    # A confirm takes milliseconds; past this the outcome is unknown and the outbox row is kept.
    # The relay waits in a transaction, twice at worst (for a channel, for the confirm): PostgreSQL ends it after 60 s.
    publish_timeout_seconds: float = Field(10, gt=0, le=25, description="Longest wait for a publisher confirm.")
    # A queue this long holds hours of orders and still fits the broker's disk.
    queue_limit_messages: int = Field(1_000_000, ge=1, description="Messages a queue holds before publishers wait.")

    consumer_batch_events: int = Field(500, ge=1, description="Most events handled in one transaction.")
    consumer_linger_seconds: float = Field(0.002, ge=0, description="Wait for more messages before a transaction.")
    # Three tries in about 2.5 s outlast a lost race; what still fails then is wrong data.
    consumer_retry_seconds: Annotated[tuple[float, ...], NoDecode] = Field(
        (0.2, 0.5, 2.0), description="Waits before a message that fails alone is tried again, then dead-lettered."
    )
    outbox_batch_messages: int = Field(200, ge=1, description="Messages published and confirmed together.")
    # Only a backstop: the relay is woken at each commit of its own process.
    outbox_poll_seconds: float = Field(0.5, gt=0, description="Longest time until an outbox row is noticed.")
    # A dead letter that is redriven must still meet its inbox row (at least a week).
    inbox_keep_days: int = Field(14, ge=7, description="How long handled message ids are remembered.")

    import_keep_days: int = Field(14, ge=1, description="How long imports and their row results are kept.")
    # An import can overtake the events that it accounts for; what was never issued must not keep it for ever.
    sync_import_wait_seconds: int = Field(
        600, ge=1, description="Longest wait of an import of on hand for what it accounts for."
    )

    intake_trust_seller_id: bool = Field(
        default=False,
        description="Believe the seller_id in AMQP order messages without a validated user; development only.",
    )

    webhook_window_seconds: int = Field(900, ge=1, description="Least time between calls per endpoint and product.")
    webhook_timeout_seconds: float = Field(15, gt=0, description="Longest time for one webhook call.")
    webhook_encryption_key: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="What webhook secrets are encrypted with, 32 characters or more; more after commas decrypt still.",
    )
    webhook_attempts_keep_days: int = Field(30, ge=1, description="How long the log of webhook calls is kept.")
    alert_url: str | None = Field(None, description="Where operators are told of endpoints that fail (JSON by POST).")
    webhook_allow_networks: Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode] = Field(
        (), description="Private networks webhooks and files to import may be in (development and tests only)."
    )

    console_api_url: str | None = Field(
        None, description="Where a console of its own process reaches the services: http://proxy:8080."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severe log level.")
    log_format: Literal["json", "console"] = Field("json", description="Log lines for machines or for people.")

    @field_validator(
        "token_secret", "webhook_encryption_key", "webhook_allow_networks", "consumer_retry_seconds", mode="before"
    )
    @classmethod
    def _split_commas(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("admin_key")
    @classmethod
    def _can_be_sent(cls, value: SecretStr | None) -> SecretStr | None:
        key = "" if value is None else value.get_secret_value()
        can_be_sent = key.isascii() and key.isprintable() and " " not in key and len(key) >= ADMIN_KEY_CHARACTERS
        if value is not None and not can_be_sent:
            message = f"it must have {ADMIN_KEY_CHARACTERS} characters or more, of ASCII, without blanks or line breaks"
            raise ValueError(message)
        return value

    @field_validator("token_secret", "webhook_encryption_key")
    @classmethod
    def _hard_to_guess(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if any(len(secret.get_secret_value()) < TOKEN_SECRET_CHARACTERS for secret in value):
            message = f"each secret must have {TOKEN_SECRET_CHARACTERS} characters or more: `openssl rand -hex 32`"
            raise ValueError(message)
        return value

    @field_validator("alert_url", "console_api_url")
    @classmethod
    def _can_be_posted_to(cls, value: str | None) -> str | None:
        if value is not None and not (value.startswith(("http://", "https://")) and _has_readable_address(value)):
            message = "it must be a URL like https://chat.example/hooks/..."
            raise ValueError(message)
        return value

    @field_validator("broker_management_url")
    @classmethod
    def _over_http(cls, value: SecretStr | None) -> SecretStr | None:
        url = "" if value is None else value.get_secret_value()
        if value is not None and not (url.startswith(("http://", "https://")) and _has_readable_address(url)):
            message = "it must be a URL like http://user:password@host:15672"
            raise ValueError(message)
        return value

    @field_validator("dsn", "catalog_dsn", "orders_dsn", "inventory_dsn", "notifier_dsn", "broker_url")
    @classmethod
    def _known_scheme(cls, value: str | None, info: ValidationInfo) -> str | None:
        schemes = ("amqp://", "amqps://") if info.field_name == "broker_url" else ("postgresql://", "postgres://")
        if value is not None and not value.startswith(schemes):
            message = f"it must start with {schemes[0]}, like {schemes[0]}user:password@host/name"
            raise ValueError(message)
        if value is not None and not _has_readable_address(value):
            message = "its host or port cannot be read; in a password write / as %2F, # as %23, ? as %3F, [ as %5B"
            raise ValueError(message)
        return value

    def dsn_of(self, service: str) -> str:
        """The PostgreSQL DSN of a service: its own, else the common one; `RuntimeError`, in words, without either."""
        dsn: str | None = getattr(self, f"{service}_dsn") or self.dsn
        if dsn is None:
            message = (
                f"No database for {service}: set BASESTOCK_DSN (or BASESTOCK_{service.upper()}_DSN) to "
                "postgresql://user:password@host:5432/database, or use `basestock up`, which brings its own."
            )
            raise RuntimeError(message)
        return dsn


def _has_readable_address(url: str) -> bool:
    try:
        _ = urlsplit(url).port
    except ValueError:  # its words may hold half a password
        return False
    return True


def in_words(error: ValidationError) -> list[str]:
    """Wrong settings, a sentence each, under the names of their environment variables."""
    return [
        f"setting BASESTOCK_{str(item['loc'][0]).upper()}: {item['msg'].removeprefix('Value error, ')}"
        for item in error.errors()
    ]
