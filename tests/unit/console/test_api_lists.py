"""What the console asks of the API's lists, held against the API's own document."""

from services.all_in_one import SERVICES
from services.console.api import PAGE_ITEMS
from services.console.widgets import ROWS_PER_PAGE
from shared.http import create_app


def test_every_list_gives_as_many_at_once_as_the_console_asks_for() -> None:
    paths = create_app(SERVICES, {}).openapi()["paths"]
    most = {
        path: schema["maximum"]
        for path, methods in paths.items()
        for parameter in methods.get("get", {}).get("parameters", [])
        if parameter["name"] == "limit"
        for schema in (parameter["schema"], *parameter["schema"].get("anyOf", ()))
        if "maximum" in schema
    }
    assert len(most) > 10
    assert not {path: limit for path, limit in most.items() if limit < max(PAGE_ITEMS, ROWS_PER_PAGE)}
