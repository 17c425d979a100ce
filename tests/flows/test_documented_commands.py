"""The commands of README and of the pages on operating, each run as written: here, or by the test that is named."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.orchestration import automations
from flows.tracking import store
from tests import small
from tests.flows.conftest import PROJECT, SURROUNDINGS

PAGES = ("README.md", "docs/how-to/operations.md", "docs/how-to/schedule.md")
BIN = Path(sys.executable).parent
ORCHESTRATION, SERVERS = "tests/flows/orchestration", "tests/servers/test_servers.py"
DEPLOYMENTS = f"{ORCHESTRATION}/test_deployments.py"
SCHEDULE = f"{SERVERS}::test_the_pipeline_runs_by_its_schedule_and_outlives_a_restart"
# The beginning of a line -> the test that runs it (file::name), or why none can.
ELSEWHERE = {
    "make repro": "no test: users and whoever renews dvc.lock run it, in a fresh clone",
    "make test": "no test: it is this run",
    "make ui": f"{ORCHESTRATION}/test_ui.py::test_both_pages_are_served_until_ctrl_c",
    ". .venv/bin/activate": "no test: the environment of this run takes its place",
    "scriptsight new my-videos": "tests/flows/new/test_new_command.py::test_real_videos_of_many_kinds",
    "scriptsight page": "tests/page/test_page_access.py::test_the_command_serves_says_what_and_ends_quietly",
    "scriptsight run my-videos": "tests/flows/test_commands.py::test_the_pipeline_of_a_workspace",
    "cd my-videos": "tests/flows/test_commands.py::test_the_pipeline_of_a_workspace",
    "scriptsight mlflow move": "tests/flows/tracking/test_moved.py::test_a_moved_project_finds_its_files_again",
    "docker/secrets.sh": "tests/servers/test_files.py::test_secrets_are_not_overwritten",
    "export COMPOSE_FILE=": "tests/servers/test_files.py::test_the_compose_files_are_of_the_specification",
    "docker compose up": SCHEDULE,
    "docker compose exec": "no test: pg_dumpall in a container, and there is no engine for one here",
    "docker compose run": "tests/servers/test_servers.py::test_the_record_of_one_machine_moves",
    "export PREFECT_API_URL=": "tests/servers/test_servers.py::test_nobody_enters_without_a_password",
    "export MLFLOW_TRACKING_URI=": "tests/servers/test_servers.py::test_nobody_enters_without_a_password",
    "export AWS_ENDPOINT_URL=": SCHEDULE,
    ".venv/bin/dvc remote add": SCHEDULE,
    "prefect worker start": f"{DEPLOYMENTS}::test_the_form",
    "scriptsight automations --notify": f"{DEPLOYMENTS}::test_a_block_that_is_not_there_is_named",
}
HERE = (
    "scriptsight search",
    "mkdir -p backup",
    ".venv/bin/python -c",
    "cp -r mlruns/artifacts",
    "prefect work-pool create",
    "prefect deploy",
    "scriptsight automations",
)


def lines(page: str, beginning: str = "") -> list[str]:
    """The commands of a page that begin so, without comments."""
    text = (PROJECT / page).read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^```console\n(.*?)^```", text, re.M | re.S)).replace("\\\n", " ")
    found = [re.sub(r"\s+# .*", "", line) for line in blocks.splitlines()]
    return [line for line in found if line.startswith(beginning)]


def type_in(folder: Path, *commands: str, **environment: str) -> str:
    """What a shell says to commands that are typed in a folder; the environment is active there."""
    own = {name: value for name, value in os.environ.items() if name not in SURROUNDINGS}
    own |= {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **environment}
    done = subprocess.run(  # noqa: S603 - our own words
        ["/bin/bash", "-e", "-c", "\n".join(commands)],
        cwd=folder,
        env=own,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_every_line_is_run_by_a_test() -> None:
    for page in PAGES:
        for line in lines(page):
            if line.startswith(tuple(ELSEWHERE)):
                where = ELSEWHERE[max((one for one in ELSEWHERE if line.startswith(one)), key=len)]
                file, _, name = where.partition("::")
                assert where.startswith("no test: ") or f"def {name}(" in (PROJECT / file).read_text("utf-8"), where
            else:
                assert line.startswith(HERE), f"{page}: no test runs {line!r}"


def test_searches_of_the_readme(tmp_path: Path) -> None:
    folder = small.searchable(tmp_path)
    for line in lines("README.md", "scriptsight search"):
        assert ".mp4" in type_in(folder, line)


def test_backups_can_be_made_again_and_hold_everything(workspace: Path) -> None:
    (workspace / ".venv").symlink_to(Path(sys.prefix))
    with store.opened() as client:
        run = client.create_run(store.experiment(client)).info.run_id
        client.log_text(run, "red", "words.txt")
    optuna.create_study(study_name="weights", storage="sqlite:///mlruns/optuna.db").enqueue_trial({"k": 3})
    page = "docs/how-to/operations.md"
    saving, copying = lines(page, ".venv/bin/python -c")
    backup = [*lines(page, "mkdir"), saving, *lines(page, "cp -r")]
    type_in(workspace, *backup)
    with store.opened() as client:
        client.set_tag(run, "later", "yes")
    type_in(workspace, *backup)
    with sqlite3.connect(workspace / "backup/mlflow.db") as saved:
        assert saved.execute("SELECT count(*) FROM runs").fetchone() == (1,)
        assert saved.execute("SELECT value FROM tags WHERE key = 'later'").fetchone() == ("yes",)
    (workspace / "mlruns/mlflow.db").rename(workspace / "mlruns/moved.db")
    with pytest.raises(AssertionError, match="unable to open database file"):  # it is no reason to empty the backup
        type_in(workspace, saving)
    assert (workspace / "backup/mlflow.db").stat().st_size > 100_000
    (words,) = (workspace / "backup/artifacts").rglob("words.txt")
    assert words.read_text() == "red"
    shutil.rmtree(workspace / "mlruns/artifacts")
    copy = copying.replace("postgresql+psycopg://optuna@HOST:5432/optuna", "sqlite:///c.db")
    type_in(workspace, copy)
    assert len(optuna.load_study(study_name="weights", storage="sqlite:///c.db").trials) == 1


@pytest.mark.parametrize("time", ["first", "again"])
def test_the_weekly_run_is_announced(time: str, prefect_server: str, prefect_home: Path) -> None:
    page, server = "docs/how-to/schedule.md", {"PREFECT_API_URL": prefect_server, "PREFECT_HOME": str(prefect_home)}
    announced = [*lines(page, "prefect work-pool create"), *lines(page, "prefect deploy")]
    watched, told = lines(page, "scriptsight automations")
    assert "--notify" in told and "--notify" not in watched
    type_in(PROJECT, *announced, watched, **server)
    with temporary_settings({PREFECT_API_URL: prefect_server}), get_client(sync_client=True) as client:
        assert client.read_deployment_by_name("pipeline/weekly").work_pool_name == "local"
        names = [one.name for one in client.read_automations()]
        assert len(names) == len(set(names)) >= len(automations.create())
        for deployment in client.read_deployments():
            client.delete_deployment(deployment.id)
