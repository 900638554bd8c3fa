"""Bodies of messages and calls as people read them."""

import json
from html import escape

from nicegui import ui


def show_body(text: str, what: str, *, is_base64: bool = False) -> None:
    """The body, indented where it is JSON, and exactly as it was sent."""
    if is_base64:
        ui.label("These bytes are no text; in base64:").classes("muted")
        show_code(text, what)
        return
    try:
        pretty = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        show_code(text, what)
        return
    exact = ui.toggle({"pretty": "Indented", "exact": "As it was sent"}, value="pretty")
    exact.props("dense no-caps unelevated")
    with ui.element("div").bind_visibility_from(exact, "value", value="pretty"):
        show_code(pretty, f"{what}, indented")
    with ui.element("div").bind_visibility_from(exact, "value", value="exact"):
        show_code(text, f"{what}, as it was sent")


def show_code(text: str, what: str) -> None:
    """Text as it is; `what` it is, for screen readers."""
    ui.html(f'<pre class="code" tabindex="0" aria-label="{escape(what)}">{escape(text)}</pre>', sanitize=False)
