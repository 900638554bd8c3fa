"""The environment of programs that tests start: as somebody's own shell has it."""

import os

# Of the machine's settings for us, and of pytest: libraries skip work where they find these (NiceGUI, when it ends).
NOT_PASSED_ON = ("BASESTOCK_", "PYTEST_")


def environment_of_a_user() -> dict[str, str]:
    """What this process has, without what says that it is a test."""
    return {name: value for name, value in os.environ.items() if not name.startswith(NOT_PASSED_ON)}
