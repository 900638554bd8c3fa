"""Companies by their names."""

from services.console.visits import Visit

# More than that are looked for by name.
NAMES_LIMIT = 1000


async def company_names(visit: Visit, role: str | None = None) -> dict[int, str]:
    """`{id: name}` of the platform's companies, or of those of a role; for the platform admin."""
    companies = await visit.api.pages("/v1/companies", NAMES_LIMIT)
    return {company["id"]: company["name"] for company in companies if role in {None, company["role"]}}
