"""The npm packages that tests run: installed once per `tests/node/package.json`, in a cache folder outside git."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from shared.machine import SEARCH_PATH, install_on_debian

NODE = Path(__file__).parent / "node"
INSTALL = ["install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--omit=dev"]


def program(name: str) -> str:
    """The path of `node` or `npm`; root on Debian installs both."""
    found = shutil.which(name, path=SEARCH_PATH)
    if found is None and install_on_debian("npm"):
        found = shutil.which(name, path=SEARCH_PATH)
    assert found, f"There is no {name} on this machine: install Node.js 20 or newer."
    return found


def node_modules() -> Path:
    """The folder `node_modules`; of workers that need it at once, one installs and the others wait."""
    manifest = (NODE / "package.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "basestock-tests"
    folder = cache / f"node-{hashlib.sha256(manifest).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("ab") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        done = folder / "installed"
        if not done.exists():
            (folder / "package.json").write_bytes(manifest)
            npm = subprocess.run([program("npm"), *INSTALL], cwd=folder, capture_output=True, text=True, check=False)
            assert npm.returncode == 0, npm.stdout + npm.stderr
            done.touch()
    return folder / "node_modules"


def beside_packages(script: Path, modules: Path, folder: Path) -> Path:
    """A copy of the script in `folder`, from where its imports are found."""
    (folder / "node_modules").symlink_to(modules)
    return Path(shutil.copy(script, folder))
