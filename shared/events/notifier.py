"""What notifier tells."""

from typing import ClassVar

from shared.events.key_use import ApiKeyUse


class ApiKeyUsedAtNotifier(ApiKeyUse):
    """An API key was used at notifier."""

    name: ClassVar[str] = "notifier.api_key_used"
