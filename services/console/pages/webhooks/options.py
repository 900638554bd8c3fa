"""The options of a webhook endpoint as fields of a form, each where its format takes it (docs/retailers.md)."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui

from services.console.forms import Form
from services.console.number_field import NumberField, whole
from services.console.pages.webhooks.words import ids_in
from services.console.visits import Visit

CROSSINGS = {
    "low": "goes low (to its threshold, or nothing left)",
    "recovered": "recovers from low",
    "out": "runs out",
    "back_in_stock": "is back in stock",
}
EVENT_TYPES = {
    "variant_stock.updated": "updated: what is in stock now",
    "variant_stock.deleted": "deleted: not stocked there any more",
    "variant_stock_delta.updated": "delta: by how much it changed",
}
DELTA_SEMANTICS = {"change": "the change", "total": "the new total"}
STOCK_FORMATS = ("stock_level", "variant_stock")
SECONDS_PER_MINUTE = 60
MINUTES = "window_minutes"


class EndpointFields:
    """The fields of an endpoint of a format in a form; `stated` are their values as the API has them.

    `endpoint` is the endpoint that they are of, `None` for a new one. `suppliers` are the names of those whose stock it
    may hear of.
    """

    def __init__(
        self, form: Form, format_: str, endpoint: Mapping[str, Any] | None, suppliers: Mapping[int, str]
    ) -> None:
        """Draw them in the current place."""
        self._form, self._format, self._endpoint, self._suppliers = form, format_, endpoint, suppliers
        self._names: list[str] = []
        self._url()
        with ui.element("div").classes("options"):
            if format_ in STOCK_FORMATS:
                self._pace()
                self._filters()
            if format_ == "stock_level":
                self._stock_level()
            elif format_ == "variant_stock":
                self._variant_stock()
            else:
                self._fulfillment()
            self._header()
            self._number("calls_per_second", "Calls per second, at most", "Empty: no limit", 0.01, 100)
        self._before = self.stated()

    def stated(self) -> dict[str, Any]:
        """All options that the fields state."""
        values = {name: self._form[name] for name in self._names}
        if MINUTES in values:
            values["window_seconds"] = round((values.pop(MINUTES) or 0) * SECONDS_PER_MINUTE)
        for name in ("supplier_ids", "event_types", "only"):
            if name in values:
                values[name] = values[name] or None
        if "product_ids" in values:
            values["product_ids"] = ids_in(values["product_ids"]) or None
        name, value = self._form["auth_header.name"], self._form["auth_header.value"]
        values["auth_header"] = {"name": name, **({"value": value} if value else {})} if name else None
        values["url"] = values["url"] or ""
        return values

    def changed(self) -> dict[str, Any]:
        """The options that the visitor has changed."""
        return {name: value for name, value in self.stated().items() if value != self._before[name]}

    def _was(self, name: str, default: object) -> Any:  # noqa: ANN401 - what fields hold
        return default if self._endpoint is None else self._endpoint[name]

    def _add(self, name: str, field: Any, hint: str) -> None:  # noqa: ANN401 - any field
        self._names.append(name)
        self._form.add(name, field).props["hint"] = hint

    def _number(self, name: str, label: str, hint: str, least: float, most: float, value: float | None = None) -> None:
        self._add(name, NumberField(label, value=self._was(name, value), least=least, most=most), hint)

    def _check(self, name: str, label: str, hint: str) -> None:
        with ui.column().classes("check"):
            self._names.append(name)
            self._form.add(name, ui.checkbox(label, value=self._was(name, default=False)).props("dense"))
            ui.label(hint).classes("muted hint")

    def _several(self, name: str, label: str, hint: str, choices: Mapping[Any, str]) -> None:
        chosen = self._was(name, None) or []
        known = {**{one: str(one) for one in chosen}, **choices}
        self._add(name, ui.select(known, label=label, value=chosen, multiple=True).props("use-chips"), hint)

    def _url(self) -> None:
        url = ui.input("URL", value=self._was("url", ""), placeholder="https://shop.example/webhooks")
        self._add("url", url.props("type=url autocomplete=off"), "http:// or https://, to a public address")

    def _pace(self) -> None:
        seconds = self._was("window_seconds", 0)
        hint = "Least time between two calls of a product"
        if self._format == "stock_level":
            hint += "; never less than the platform's 15 minutes"
        label = "Window, in minutes"
        # The API refuses `window_seconds`; the field is in minutes, and is told what is refused all the same.
        self._names.append(MINUTES)
        field = NumberField(label, value=whole(seconds / SECONDS_PER_MINUTE), least=0, most=10_080)
        self._form.add(MINUTES, field, refused_as="window_seconds").props["hint"] = hint
        self._number("calls_at_once", "Calls at once, at most", "1 to 10 calls under way at the same time", 1, 10, 1)

    def _filters(self) -> None:
        self._several("supplier_ids", "Only stock of", "Empty: of every connected supplier", self._suppliers)
        ids = ", ".join(map(str, self._was("product_ids", None) or []))
        field = ui.input("Only these base stock products", value=ids, placeholder="100, 101")
        self._add("product_ids", field, "Their ids, at most 1000; empty: all of them")
        hint = "After an explicit 429 or 5xx: after 30 s, 2 min, 5 min, not when the window is over"
        self._check("early_retry", "Come again early", hint)

    def _stock_level(self) -> None:
        self._several("only", "Only when the stock", "Empty: at every change", CROSSINGS)
        hint = "Also send quantity_availble, misspelt as in KornitX's document, for receivers that read that"
        self._check("legacy_key", "Old key too", hint)

    def _variant_stock(self) -> None:
        self._several("event_types", "Events", "Empty: updated and deleted", EVENT_TYPES)
        semantics = ui.select(
            DELTA_SEMANTICS, label="The quantity of a delta is", value=self._was("delta_semantics", "change")
        )
        self._add("delta_semantics", semantics, "Deltas add up: take each call once, by its webhook-id")

    def _fulfillment(self) -> None:
        self._check("dotted_names", "Dotted names", "fulfillment_request.items_completed and the like")
        if self._endpoint is None:
            hint = "Tell what comes after this logical timestamp; empty: what comes from now on"
            self._add("after", NumberField("Begin after", least=0), hint)

    def _header(self) -> None:
        name = self._was("auth_header_name", None) or ""
        header = ui.input("A header of yours", value=name, placeholder="X-Api-Key").props("autocomplete=off")
        self._form.add("auth_header.name", header).props["hint"] = "Sent with each call, beside the signature"
        value = ui.input("Its value", password=True, password_toggle_button=True).props("autocomplete=new-password")
        hint = "It is not shown again; empty: it stays" if name else "It is never shown again"
        self._form.add("auth_header.value", value).props["hint"] = hint


async def supplier_names(visit: Visit) -> dict[int, str]:
    """`{id: name}` of the suppliers whose stock the visitor may hear of."""
    if not visit.may("catalog:read"):
        return {}
    connections = await visit.api.pages("/v1/connections", 1000)
    return {one["supplier_id"]: one["supplier_name"] for one in connections if one["state"] != "ended"}
