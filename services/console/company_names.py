"""Companies by their names."""

from collections.abc import Mapping

from services.console.visits import Visit

# More than that are looked for by name.
NAMES_LIMIT = 1000


async def company_names(visit: Visit, role: str | None = None) -> dict[int, str]:
    """`{id: name}` of the platform's companies, or of those of a role; for the platform admin."""
    companies = await visit.api.pages("/v1/companies", NAMES_LIMIT)
    return {company["id"]: company["name"] for company in companies if role in {None, company["role"]}}


async def known_companies(visit: Visit) -> dict[int, str]:
    """`{id: name}` of those that the visitor deals with: itself and the other sides of its connections, or all."""
    if visit.is_admin:
        return await company_names(visit)
    company = visit.me["company"]
    names = {company["id"]: company["name"]}
    if visit.may("catalog:read"):
        for connection in await visit.api.pages("/v1/connections", NAMES_LIMIT):
            for role in ("supplier", "retailer"):
                names[connection[f"{role}_id"]] = connection[f"{role}_name"]
    return names


def company_name(names: Mapping[int, str], company_id: int) -> str:
    """A company's name, where it is known; else it is called by its id."""
    return names.get(company_id, f"Company {company_id}")
