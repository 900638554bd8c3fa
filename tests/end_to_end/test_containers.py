"""What the containers promise, read from their files: no engine is needed, and nothing is built."""

import json
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from services.all_in_one import SERVICES
from services.command_line import app
from shared.http import OPEN_PATHS
from shared.settings import Settings
from tests.environment import environment_of_a_user

ROOT = Path(__file__).parent.parent.parent
COMPOSE = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
TEMPLATE = (ROOT / "deploy" / "nginx.conf.template").read_text(encoding="utf-8")
SERVING = {service.name for service in SERVICES}
OURS = SERVING | {"console"}
# Inside the containers these are what the image says; outside they are where the proxy is published.
SET_BY_THE_IMAGE = {"BASESTOCK_HOST", "BASESTOCK_PORT"}
OF_THE_EMBEDDED_POSTGRES = {"BASESTOCK_DATA_DIR"}
SETTINGS = {f"BASESTOCK_{name.upper()}" for name in Settings.model_fields}
DRAIN_SECONDS = 30

Container = dict[str, Any]


def with_defaults(value: Any) -> Any:  # noqa: ANN401 - YAML
    """A value as Compose reads it where nothing is set: `${NAME:-default}` is its default."""
    if isinstance(value, dict):
        return {key: with_defaults(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_defaults(item) for item in value]
    if isinstance(value, str):
        while (filled := re.sub(r"\$\{\w+:-([^${}]*)\}", r"\1", value)) != value:
            value = filled
        assert "$" not in value, f"no default: {value}"
    return value


@pytest.fixture(scope="module")
def containers() -> dict[str, Container]:
    found: dict[str, Container] = with_defaults(yaml.safe_load(COMPOSE))["services"]
    return found


def test_every_service_has_a_container_that_runs_it_and_the_migrations_have_one(
    containers: dict[str, Container],
) -> None:
    assert set(containers) == OURS | {"migrate", "proxy", "postgres", "rabbitmq"}
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined] # a group's
    for name in OURS:
        assert containers[name]["command"] == ["serve", name]
    assert containers["migrate"]["command"] == ["migrate"]
    assert {"serve", "migrate"} <= commands
    assert {containers[name]["image"] for name in OURS} == {containers["migrate"]["image"]}


def test_services_start_when_the_schemas_are_made_and_the_schemas_when_the_database_answers(
    containers: dict[str, Container],
) -> None:
    for name in SERVING:
        waits_for = {other: how["condition"] for other, how in containers[name]["depends_on"].items()}
        assert waits_for == {"migrate": "service_completed_successfully", "rabbitmq": "service_healthy"}
    assert containers["console"]["depends_on"] == {}, "it has no database, and says what does not answer"
    assert containers["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert "restart" not in containers["migrate"]


def test_whatever_dies_comes_back_and_says_whether_it_is_well(containers: dict[str, Container]) -> None:
    for name, container in containers.items():
        if name == "migrate":
            continue
        assert container["restart"] == "unless-stopped", name
        assert container["healthcheck"]["test"][0] == "CMD", name
        assert int(container["stop_grace_period"].removesuffix("s")) > DRAIN_SECONDS, name
    asked = {json.dumps(containers[name]["healthcheck"]["test"]) for name in SERVING}
    (path,) = {found for test in asked for found in re.findall(r"127\.0\.0\.1:8000(/\w+)", test)}
    assert path in OPEN_PATHS


def test_what_we_run_is_nobody_on_a_disk_that_cannot_be_written(containers: dict[str, Container]) -> None:
    for name in OURS | {"migrate", "proxy"}:
        container = containers[name]
        user, _, group = container["user"].partition(":")
        assert int(user) > 0, name
        assert int(group) > 0, name
        assert container["read_only"] is True, name
        assert container["cap_drop"] == ["ALL"], name
        assert container["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in container, name
        assert "cap_add" not in container, name
    (users,) = {containers[name]["user"] for name in OURS | {"migrate"}}
    assert re.findall(r"^USER (.*)", DOCKERFILE, flags=re.MULTILINE) == [users]


def test_nothing_is_published_but_the_proxy_and_the_broker_and_they_on_this_machine_alone(
    containers: dict[str, Container],
) -> None:
    published = {name: container["ports"] for name, container in containers.items() if "ports" in container}
    assert published == {
        "proxy": ["127.0.0.1:8000:8080"],
        "rabbitmq": ["127.0.0.1:5672:5672", "127.0.0.1:15672:15672"],
    }
    assert not [name for name, container in containers.items() if "network_mode" in container]


def test_a_service_can_be_scaled(containers: dict[str, Container]) -> None:
    for name in OURS:
        assert {"container_name", "hostname", "ports", "volumes"}.isdisjoint(containers[name]), name


def test_every_setting_can_be_given_and_no_other_is_made_up(containers: dict[str, Container]) -> None:
    named = set(re.findall(r"BASESTOCK_\w+", COMPOSE + DOCKERFILE))
    assert named <= SETTINGS, "not in shared/settings.py"
    for name in OURS | {"migrate"}:
        given = {key for key in containers[name]["environment"] if key.startswith("BASESTOCK_")}
        assert given == SETTINGS - SET_BY_THE_IMAGE - OF_THE_EMBEDDED_POSTGRES, name
        fixed = {key for key in given if containers[name]["environment"][key] is not None}
        servers = {"BASESTOCK_DSN", "BASESTOCK_BROKER_URL", "BASESTOCK_BROKER_MANAGEMENT_URL"}
        own = {"BASESTOCK_WEBHOOK_ENCRYPTION_KEY", "BASESTOCK_CONSOLE_API_URL"}
        assert fixed == servers | own, "only these have a default of their own here"
    for name in SET_BY_THE_IMAGE:
        assert f"${{{name}:-{Settings.model_fields[name.removeprefix('BASESTOCK_').lower()].default}}}" in COMPOSE


def test_the_console_runs_on_what_it_is_given_by_default_and_ends_in_order(containers: dict[str, Container]) -> None:
    given = {name: value for name, value in containers["console"]["environment"].items() if value is not None}
    where = {"BASESTOCK_HOST": "127.0.0.1", "BASESTOCK_PORT": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "services", *containers["console"]["command"]],
        cwd=ROOT,
        env=environment_of_a_user() | given | where,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = ""
    try:
        assert process.stderr is not None
        while "console_running" not in said:
            line = process.stderr.readline()
            assert line, f"it ended:\n{said}"
            said += line
    finally:
        process.send_signal(signal.SIGTERM)
        said += process.communicate(timeout=DRAIN_SECONDS)[1]
    assert (process.returncode, "Traceback" in said) == (0, False), said


def test_database_and_broker_are_those_beside_the_services_unless_others_are_named(
    containers: dict[str, Container],
) -> None:
    environment = containers["orders"]["environment"]
    given = {"dsn": environment["BASESTOCK_DSN"], "broker_url": environment["BASESTOCK_BROKER_URL"]}
    Settings.model_validate(given | {"webhook_encryption_key": environment["BASESTOCK_WEBHOOK_ENCRYPTION_KEY"]})
    postgres, rabbitmq = containers["postgres"]["environment"], containers["rabbitmq"]["environment"]
    user, password, database = (postgres[f"POSTGRES_{part}"] for part in ("USER", "PASSWORD", "DB"))
    assert given["dsn"] == f"postgresql://{user}:{password}@postgres:5432/{database}"
    user, password = (rabbitmq[f"RABBITMQ_DEFAULT_{part}"] for part in ("USER", "PASS"))
    assert given["broker_url"] == f"amqp://{user}:{password}@rabbitmq:5672/"


def test_what_must_stay_lies_in_volumes_and_the_broker_keeps_the_name_its_data_belongs_to(
    containers: dict[str, Container],
) -> None:
    kept = {volume.partition(":")[0] for name in ("postgres", "rabbitmq") for volume in containers[name]["volumes"]}
    assert kept == set(yaml.safe_load(COMPOSE)["volumes"])
    assert containers["rabbitmq"]["hostname"]


def test_the_proxy_gets_every_variable_of_its_template_and_knows_every_service(
    containers: dict[str, Container],
) -> None:
    environment = containers["proxy"]["environment"]
    wanted = set(re.findall(r"\$\{(\w+)\}", TEMPLATE))
    assert {name for name in environment if name.startswith("PROXY_")} == wanted
    assert all(re.search(environment["NGINX_ENVSUBST_FILTER"], name) for name in wanted)
    port = Settings.model_fields["port"].default
    assert f"EXPOSE {port}\n" in DOCKERFILE
    for name in OURS:
        assert environment[f"PROXY_{name.upper()}"] == f"{name}:{port}"
    (mounted,) = containers["proxy"]["volumes"]
    assert (ROOT / mounted.partition(":")[0]).is_file()


def test_images_are_pinned_to_a_version(containers: dict[str, Container]) -> None:
    images = {container["image"] for name, container in containers.items() if name not in OURS | {"migrate"}}
    images |= set(re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE))
    assert len(images) == 4
    assert not [image for image in images if not re.search(r":\d", image)]
    (python,) = {image for image in images if image.startswith("python:")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert python.startswith(("python:3.11-", "python:3.12-", "python:3.13-"))


def test_the_image_is_made_of_files_that_are_there_and_started_so_that_signals_reach_it() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = [
        name
        for names in re.findall(r"^COPY ((?:(?!--).)*) \S+$", DOCKERFILE, flags=re.MULTILINE)
        for name in names.split()
    ]
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignored, name
    assert 'ENTRYPOINT ["basestock"]' in DOCKERFILE
    # What an engine of some years ago cannot read.
    assert not re.search(r"^# *syntax=|--link|<<", DOCKERFILE, flags=re.MULTILINE)


def test_compose_itself_reads_the_file_where_it_is_installed() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        return  # all that matters is checked above, without it
    command = [docker, "compose", "--file", str(ROOT / "docker-compose.yml"), "--env-file", "/dev/null", "config"]
    done = subprocess.run([*command, "--format", "json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rendered = json.loads(done.stdout)["services"]
    assert set(rendered) == OURS | {"migrate", "proxy", "postgres", "rabbitmq"}
