"""Companies, their keys and connections: found where an earlier run left them, else made."""

from typing import Any

from demo.api import Api


async def company_id(admin: Api, ref: str, name: str, role: str) -> int:
    """The id of the company known as `ref`; made as `role` (supplier, retailer) when there is none yet."""
    async for company in admin.pages("/v1/companies", limit=200):
        if company["ref"] == ref:
            return int(company["id"])
    made = await admin.post("/v1/companies", {"ref": ref, "name": name, "role": role})
    return int(made["id"])


async def new_key(admin: Api, company: int) -> str:
    """A new API key of a company: those of earlier runs were shown once and are gone."""
    made = await admin.post(f"/v1/companies/{company}/api-keys", {})
    return str(made["key"])


async def connect(admin: Api, supplier_id: int, retailer_id: int) -> None:
    """See to it that the two companies have an active dropship connection."""

    def is_theirs(connection: Any) -> bool:  # noqa: ANN401 - JSON
        parties = connection["supplier_id"], connection["retailer_id"]
        return parties == (supplier_id, retailer_id) and connection["state"] == "active"

    async for connection in admin.pages("/v1/connections", limit=200):
        if is_theirs(connection):
            return
    await admin.post("/v1/connections", {"supplier_id": supplier_id, "retailer_id": retailer_id})
