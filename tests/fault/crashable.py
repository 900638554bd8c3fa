"""Service processes that can be told where to die."""

from collections.abc import Mapping
from pathlib import Path

from tests.fault import crash_points
from tests.fault.crash_points import Crash
from tests.fault.forked import Fork
from tests.fault.plant import ServiceProcess


class CrashableProcess(ServiceProcess):
    """A service process that dies by its own hand at the point it was told (`tests/fault/crash_points.py`)."""

    def __init__(self, service: str, number: int, folder: Path, environment: Mapping[str, str]) -> None:
        """Prepare a replica; see `ServiceProcess`."""
        super().__init__(service, number, folder, environment)
        self._orders = folder / f"{self.name}.crash"
        self._environment["BASESTOCK_TEST_CRASH_AT"] = str(self._orders)

    def crash_at(self, crash: Crash | None) -> None:
        """Die at the next passing of this point, now or in the next life; `None` takes it back."""
        self._order(str(crash or ""))

    def stop_at(self, crash: Crash) -> None:
        """Stop at the next passing of this point, and at each until `crash_at(None)`; SIGCONT lets it go on."""
        self._order(f"{crash}{crash_points.STOPS}")

    def _order(self, order: str) -> None:
        # Whole at once: the process may look at any moment.
        draft = self._orders.with_suffix(".draft")
        draft.write_text(order)
        draft.rename(self._orders)

    def crashes(self) -> list[str]:
        """At which points it died so far."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [line.removeprefix(crash_points.REACHED) for line in lines if line.startswith(crash_points.REACHED)]

    def migrate(self, dsn: str) -> Fork:
        """Start to make this service's schema in another database."""
        return Fork(crash_points.run, (self.service, "migrate"), {**self._environment, "BASESTOCK_DSN": dsn}, self.log)

    def _spawn(self) -> Fork:
        return Fork(crash_points.run, (self.service, "serve"), self._environment, self.log)
