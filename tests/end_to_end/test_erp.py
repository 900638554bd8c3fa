"""NewStore's example, played by an ERP outside, on every bus: `demo/erp.py`."""

from io import StringIO

import pytest
from rich.console import Console

from demo.erp import play
from tests.end_to_end.system import ADMIN_KEY, System


@pytest.mark.parametrize("overtake", [False, True], ids=["in order", "the import overtakes the events"])
async def test_the_example_comes_out_right_and_again_on_the_same_data(system: System, *, overtake: bool) -> None:
    for _ in range(2):
        printed = StringIO()
        is_right = await play(system.url, ADMIN_KEY, Console(file=printed, width=120), overtake=overtake)
        assert is_right, printed.getvalue()
        assert "On hand 17, allocated 1, available 16." in printed.getvalue()
        assert ("The import is waiting" in printed.getvalue()) == overtake
