"""Who else sees a product: nobody, all connected retailers, or chosen ones."""

from collections.abc import Mapping

from nicegui import ui

from services.console.company_names import NAMES_LIMIT, company_name
from services.console.pages.products.words import VISIBILITY_WORDS
from services.console.visits import Visit


class VisibilityField:
    """The choice, as the API has it."""

    def __init__(self, visibility: str | list[int], retailers: Mapping[int, str]) -> None:
        """Draw it; `retailers` are those that can be chosen."""
        listed = [] if isinstance(visibility, str) else visibility
        choices = {one: company_name(retailers, one) for one in (*retailers, *listed)}
        with ui.column().classes("stack"):
            ui.label("Who else sees it").classes("muted").props("id=visibility-label")
            self._kind = ui.radio(dict(VISIBILITY_WORDS), value="listed" if listed else visibility)
            self._kind.props('inline dense aria-labelledby="visibility-label"')
            self._listed = ui.select(choices, value=listed, multiple=True, label="Retailers")
            self._listed.props("outlined dense use-chips options-dense").classes("chosen-retailers")
            self._listed.bind_visibility_from(self._kind, "value", value="listed")
            self._error = ui.label().classes("bad field-error").props('role="alert"')
        self.refuse("")

    @property
    def value(self) -> str | list[int]:
        """`private`, `connected`, or ids of retailers; an empty list is left to the API to refuse."""
        return list(self._listed.value) if self._kind.value == "listed" else str(self._kind.value)

    def refuse(self, why: str) -> None:
        """Say below it what is wrong, or nothing any more."""
        self._error.text, self._error.visible = why, bool(why)


async def retailers_of(visit: Visit, supplier_id: int | None) -> dict[int, str]:
    """`{id: name}` of the retailers that a supplier can show its products to; none where the supplier is not known."""
    if supplier_id is None:
        return {}
    connections = await visit.api.pages("/v1/connections", NAMES_LIMIT)
    return {
        one["retailer_id"]: one["retailer_name"]
        for one in connections
        if one["supplier_id"] == supplier_id and one["state"] != "ended"
    }
