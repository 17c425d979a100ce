"""docker/: what can be said of its files without an engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import compose_spec
import pytest

from scriptsight.params import reading
from tests.servers.native import BIN, DOCKER, PROJECT, interpolated, secrets

ONCE = {"prepare"}  # services that end


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    return secrets(tmp_path)


@pytest.fixture
def composed(variables: dict[str, str]) -> dict[str, Any]:
    return dict(interpolated(reading.read_yaml(DOCKER / "compose.yaml"), variables))


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    done = subprocess.run([BIN / "hadolint", DOCKER / "Dockerfile"], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stdout


def test_the_compose_files_are_of_the_specification(composed: dict[str, Any]) -> None:
    compose_spec.PyCompose.from_json(json.dumps(composed)).validate()
    compose_spec.PyCompose.from_yaml((DOCKER / "compose.cuda.yaml").read_text()).validate()


def test_compose_itself_reads_the_same(composed: dict[str, Any], tmp_path: Path) -> None:
    """Where its client is, with or without an engine."""
    client = [["docker", "compose"], ["docker-compose"]]
    there = [words for words in client if shutil.which(words[0]) and _says([*words, "version"])]
    if not there:
        pytest.skip("no docker compose here")
    files = ["--env-file", str(tmp_path / "secrets.env"), "--file", str(DOCKER / "compose.yaml")]
    cuda = ["--file", str(DOCKER / "compose.cuda.yaml")]
    read = json.loads(_says([*there[0], *files, "config", "--format", "json"]))["services"]
    assert set(read) == set(composed["services"])
    for name, service in composed["services"].items():
        assert read[name].get("environment", {}) == service.get("environment", {})
        assert read[name].get("command") == service.get("command")
    assert '"TORCH": "cuda"' in _says([*there[0], *files, *cuda, "config", "--format", "json"])


def _says(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout if done.returncode == 0 else ""


def test_nothing_is_reached_from_elsewhere_and_all_is_watched(composed: dict[str, Any]) -> None:
    for name, service in composed["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert "network_mode" not in service
        if name not in ONCE | {"worker"}:  # Prefect's server watches its workers
            assert "healthcheck" in service, name


def test_the_page_writes_into_the_workspaces_alone(composed: dict[str, Any]) -> None:
    page = composed["services"]["page"]
    assert page["read_only"]
    assert [volume for volume in page["volumes"] if not volume.endswith(":ro")] == ["work:/work"]
    assert page["image"] == composed["services"]["worker"]["image"]
    pipeline = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["pipeline"]
    assert "--extra pipeline" in (DOCKER / "Dockerfile").read_text()
    assert any(re.match(r"scriptsight\[(.*,)?page(,.*)?\]", line) for line in pipeline)


def test_every_secret_is_asked_for_and_none_is_written_down(variables: dict[str, str]) -> None:
    text = (DOCKER / "compose.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+):\?", text)) == set(variables)
    for line in text.splitlines():
        assert not re.search(r"(PASSWORD|SECRET\w*|AUTH_STRING): (?!(admin:)?\$\{)", line), line
    assert len(set(variables.values())) == len(variables)
    with pytest.raises(KeyError, match="run docker"):
        interpolated(text, {})


def test_secrets_are_not_overwritten(tmp_path: Path) -> None:
    made = secrets(tmp_path)
    again = subprocess.run([DOCKER / "secrets.sh", tmp_path / "secrets.env"], capture_output=True, check=False)  # noqa: S603
    assert again.returncode != 0
    assert all(f"{name}={value}" in (tmp_path / "secrets.env").read_text() for name, value in made.items())


def test_torch_for_processors_is_of_the_locked_version(tmp_path: Path) -> None:
    """The Dockerfile's own line drops two packages' digests from the lock, and nothing else."""
    found = re.search(r"awk '[^']+' requirements.lock >constraints.txt", (DOCKER / "Dockerfile").read_text())
    assert found
    shutil.copy(PROJECT / "requirements.lock", tmp_path)
    subprocess.run(["/bin/sh", "-c", found[0]], cwd=tmp_path, check=True)  # noqa: S603
    before = (PROJECT / "requirements.lock").read_text().splitlines()
    after = (tmp_path / "constraints.txt").read_text().splitlines()
    pinned = re.compile(r"[^\s#]+==\S+")
    assert [pinned.match(line)[0] for line in after if pinned.match(line)] == [  # type: ignore[index]
        pinned.match(line)[0]  # type: ignore[index]
        for line in before
        if pinned.match(line)
    ]
    dropped = [line for line in before if line not in set(after)]
    assert {line.split("==")[0] for line in dropped if not line.startswith(" ")} == {"torch", "torchvision"}
    assert all(line.startswith("    --hash") for line in dropped if not line.startswith("torch"))


def test_the_image_holds_no_secret_and_no_data() -> None:
    ignored = (PROJECT / ".dockerignore").read_text().splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {rule for rule in rules if rule.startswith("!")}.isdisjoint({"!data/", "!models/", "!mlruns/", "!.git/"})
    assert rules.index("docker/.env") > rules.index("!docker/")  # the last rule that fits counts


def test_the_worker_has_git_for_the_commit_of_a_run() -> None:
    """And the server's image, which runs nothing of a workspace, is made without it."""
    stages = dict(
        re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", (DOCKER / "Dockerfile").read_text(), re.M | re.S)
    )
    installs = {name for name, text in stages.items() if re.search(r"apt-get install [^&]*\bgit\b", text)}
    assert installs == {"worker"}


def test_no_deployment_has_a_limit_of_prefects() -> None:
    """A place that is taken when the power is cut stays taken: the lock of the folder is the one exclusion."""
    for path in (DOCKER / "prefect.yaml", PROJECT / "prefect.yaml"):
        for deployment in reading.read_yaml(path)["deployments"]:
            assert "concurrency_limit" not in deployment, path
            environment = deployment["work_pool"]["job_variables"]["env"]
            assert environment["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30", path


def test_scripts_can_be_run() -> None:
    for script in DOCKER.glob("*.sh"):
        assert os.access(script, os.X_OK), script
        subprocess.run(["/bin/sh", "-n", script], check=True)  # noqa: S603
