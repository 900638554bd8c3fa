"""Which options mean something for which format, and which format is for whom."""

from collections.abc import Mapping

STOCK_FORMATS = ("stock_level", "variant_stock")
# Who registers endpoints of a format: it tells suppliers of what they send, retailers of what they may sell.
ROLE_OF_FORMAT = {"stock_level": "retailer", "variant_stock": "retailer", "fulfillment": "supplier"}
# All others are for every format.
FORMATS_OF_OPTION = {
    "window_seconds": STOCK_FORMATS,
    "early_retry": STOCK_FORMATS,
    "supplier_ids": STOCK_FORMATS,
    "product_ids": STOCK_FORMATS,
    "calls_at_once": STOCK_FORMATS,
    "legacy_key": ("stock_level",),
    "only": ("stock_level",),
    "delta_semantics": ("variant_stock",),
    "event_types": ("variant_stock",),
    "dotted_names": ("fulfillment",),
    "after": ("fulfillment",),
}
# What a change of these makes wanted was not marked while it was not.
FILTERS = frozenset({"supplier_ids", "product_ids", "only", "event_types"})


def misplaced(format_: str, options: Mapping[str, object], defaults: Mapping[str, object]) -> dict[str, str]:
    """Options that mean nothing for this format, and why, in words; one that has its default says nothing."""
    return {
        name: f"It is for the format {' or '.join(formats)}; this endpoint's is {format_}. Leave it out."
        for name, formats in FORMATS_OF_OPTION.items()
        if name in options and format_ not in formats and options[name] != defaults[name]
    }


def wrong_role(format_: str, role: str) -> str | None:
    """Why a company of this role has no endpoints of this format, in words; `None` if it may."""
    wanted = ROLE_OF_FORMAT[format_]
    if role == wanted:
        return None
    others = " or ".join(name for name, whose in ROLE_OF_FORMAT.items() if whose == role)
    advice = f": register one of the format {others}" if others else ""
    return f"Endpoints of the format {format_} are for a {wanted}, and this is a {role}{advice}."
