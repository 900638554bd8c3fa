"""A process that dies between its commit and its answer: the same request under the same key learns what was done."""

from collections.abc import Iterator

import aiohttp
import pytest

from shared.idempotency import HEADER, REPLAYED
from tests.app import Client
from tests.fault.crash_points import CRASHES
from tests.fault.crashable import CrashableProcess
from tests.fault.plant import ADMIN_KEY, Plant, running_plant

BEFORE_THE_COMMIT = "catalog-effect: outbox written, before commit"
BEFORE_THE_ANSWER = "catalog-request: after commit, before the answer"


@pytest.fixture(scope="module")
def plant() -> Iterator[Plant]:
    with running_plant(process_type=CrashableProcess) as prepared:
        prepared.of("catalog").launch()
        yield prepared


@pytest.mark.parametrize(("name", "replayed"), [(BEFORE_THE_COMMIT, None), (BEFORE_THE_ANSWER, "true")])
async def test_after_a_death_the_same_request_is_done_once(plant: Plant, name: str, replayed: str | None) -> None:
    process = plant.of("catalog")
    assert isinstance(process, CrashableProcess)
    await process.until_ready()
    crash = next(one for one in CRASHES if str(one) == name)
    ref = f"supplier-{'b' if replayed else 'a'}"
    body = {"ref": ref, "name": "Supplier", "role": "supplier"}
    async with Client(process.url, ADMIN_KEY) as admin:
        process.crash_at(crash)
        with pytest.raises(aiohttp.ClientError):
            await admin.post("/v1/companies", body, headers={HEADER: ref})
        assert await process.until_ended() == -9
        process.crash_at(None)
        process.launch()
        await process.until_ready()
        again = await admin.post("/v1/companies", body, headers={HEADER: ref})
        assert (again.status, again.headers.get(REPLAYED), again.body["ref"]) == (201, replayed, ref)
        found = (await admin.get("/v1/companies", params={"ref": ref})).body["items"]
        assert found == [again.body]
