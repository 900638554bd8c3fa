"""A private nginx that makes one port of several services; its routes are those of `deploy/nginx.conf.template`."""

import os
import pwd
import shutil
from collections.abc import Mapping
from pathlib import Path

from shared.machine import SEARCH_PATH, install_on_debian

_TEMPLATE = Path(__file__).parent.parent / "deploy" / "nginx.conf.template"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
# Paths without a leading slash are in the folder that `-p` names.
_CONFIGURATION = """\
daemon off;
worker_processes 1;
pid pid;
error_log stderr warn;
{user}
events {{ worker_connections 1024; }}
http {{
{temporary}
include routes.conf;
}}
"""


class NginxError(RuntimeError):
    """A private nginx cannot be had; the message says why and what to do."""


def find_nginx() -> str:
    """The path of nginx; root on Debian installs it. Raises `NginxError`."""
    if not _TEMPLATE.exists():
        message = f"{_TEMPLATE} is missing: run this from a copy of the repository."
        raise NginxError(message)
    found = shutil.which("nginx", path=SEARCH_PATH)
    if found is None and install_on_debian("nginx"):
        found = shutil.which("nginx", path=SEARCH_PATH)
    if found is None:
        message = (
            "There is no nginx on this machine, which makes one port of the services. Install it (Debian: `apt-get "
            "install --no-install-recommends nginx`, macOS: `brew install nginx`), or use `basestock up`, which needs "
            "none."
        )
        raise NginxError(message)
    return found


def nginx_command(nginx: str, folder: Path, listen: str, upstreams: Mapping[str, str]) -> list[str]:
    """Write all that nginx needs into `folder`, and give the command that runs it in the foreground, as ourselves.

    `listen` is an address and port, `upstreams` the address and port of each service by its name.
    """
    (folder / "temporary").mkdir(parents=True, exist_ok=True)
    routes = _TEMPLATE.read_text()
    variables = {
        "PROXY_LISTEN": listen,
        "PROXY_RESOLVER": "127.0.0.1",  # never asked: all addresses are numbers
        "PROXY_ACCESS_LOG": os.devnull,
        **{f"PROXY_{name.upper()}": address for name, address in upstreams.items()},
    }
    for name, value in variables.items():
        routes = routes.replace(f"${{{name}}}", value)
    (folder / "routes.conf").write_text(routes)
    # Root's workers would become another user, who cannot enter the folder.
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""
    temporary = "\n".join(f"{name}_temp_path temporary/{name};" for name in _TEMPORARY)
    (folder / "nginx.conf").write_text(_CONFIGURATION.format(user=user, temporary=temporary))
    return [nginx, "-p", f"{folder}/", "-e", "stderr", "-c", "nginx.conf"]
