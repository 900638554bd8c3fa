"""What people wrote never becomes part of a page's markup or scripts."""

import ast
from collections.abc import Iterator
from pathlib import Path

import services.console

CONSOLE = Path(services.console.__file__).parent


def calls_of(name: str) -> Iterator[tuple[str, ast.Call]]:
    for path in CONSOLE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == name:
                yield f"{path.relative_to(CONSOLE)}:{node.lineno}", node


def is_made_up(node: ast.AST) -> bool:
    """Whether the text is put together when the page is drawn, perhaps from what somebody wrote."""
    return any(isinstance(part, ast.JoinedStr | ast.Mod | ast.Add) for part in ast.walk(node))


def test_props_are_written_out_so_that_a_quote_in_a_name_is_a_quote() -> None:
    # NiceGUI takes the text apart: a SKU like `x" :title="alert(1)` would run in everybody's browser.
    made_up = [where for where, call in calls_of("props") if any(is_made_up(given) for given in call.args)]
    assert made_up == [], "use widgets.named, or element.props[name] = value"
