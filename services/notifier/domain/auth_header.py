"""The static header that an endpoint may ask us to send: which names and values can be sent at all."""

import re

# RFC 9110, 5.6.2 and 5.5: a token, and visible ASCII with blanks inside.
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
VALUE = re.compile(r"[!-~]([ -~]{0,998}[!-~])?")
# What is ours to say: where a request goes, how it is framed, what its body is, and how it is signed.
RESERVED = frozenset(
    {
        "accept-encoding",
        "connection",
        "date",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "via",
    }
)
RESERVED_PREFIXES = ("content-", "proxy-", "sec-", "webhook-")


def wrong_name(name: str) -> str | None:
    """Why a header of this name cannot be sent, in words; `None` if it can."""
    if not NAME.fullmatch(name):
        return "A header's name has 1 to 100 letters, digits and signs like - and _, e.g. X-Api-Key."
    if name.lower() in RESERVED or name.lower().startswith(RESERVED_PREFIXES):
        return f"{name} is set by us: choose another name, e.g. Authorization or X-Api-Key."
    return None


def wrong_value(value: str) -> str | None:
    """Why a header cannot have this value, in words; `None` if it can."""
    if not VALUE.fullmatch(value):
        return "A header's value has 1 to 1000 characters of visible ASCII, blanks only between them."
    return None
