"""What the doctor says of real folders, files, locks and servers; and that it changes nothing."""

from __future__ import annotations

import argparse
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.doctor import command, machine, servers
from flows.doctor.findings import Check, Finding, Place, ok, problem
from scriptsight import arithmetic, files, tuning
from scriptsight.models.video import VideoViT
from tests.flows.conftest import PROJECT

Look = Callable[..., list[Finding]]
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value will soon raise:DeprecationWarning")  # DVC's own
ONE_STAGE = """
stages:
  ingest:
    cmd: cp source.txt made.txt
    deps: [source.txt]
    outs: [made.txt]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with parameters that fit, in which nothing was made."""
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.chdir(tmp_path)  # where the tests go back to
    here = tmp_path / "talks"
    here.mkdir()
    (here / "overrides.yaml").write_text("pretrain: {steps: 20}\n")
    return here


@pytest.fixture
def look(folder: Path) -> Look:
    """One check on that folder -> its findings."""

    def at(name: str) -> list[Finding]:
        return [line.finding for line in command.examine(folder, "talks", {name: command.CHECKS[name]})]

    return at


def tree(top: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(top.rglob("*")) if path.is_file()}


def test_where_nothing_was_made_there_is_no_problem_and_nothing_is_made(folder: Path) -> None:
    before = tree(folder)
    lines = command.examine(folder, "talks")
    assert {line.check for line in lines} == set(command.CHECKS)
    assert not [line for line in lines if line.finding.status == "problem" and line.check not in ("memory", "disk")]
    assert ("stages", "nothing was made here yet", "scriptsight run talks") in [
        (line.check, line.finding.text, line.finding.remedy) for line in lines
    ]
    assert tree(folder) == before


def test_it_comes_without_torch_and_prefect_and_ends_soon(folder: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom flows.doctor import command\n"
        "command.examine(Path('.'))\nprint(sorted({'torch', 'prefect', 'mlflow'} & set(sys.modules)))"
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_an_empty_folder_is_neither_project_nor_workspace(folder: Path) -> None:
    (folder / "overrides.yaml").unlink()
    (found,) = [line for line in command.examine(folder) if line.check == "parameters"]
    assert found.finding.status == "note" and found.finding.remedy == "scriptsight new FOLDER --videos PATH"


def test_a_folder_that_is_not_there_is_a_line(tmp_path: Path) -> None:
    (line,) = command.examine(tmp_path / "nowhere")
    assert line.finding.status == "problem" and "No such file" in line.finding.text


def test_a_typo_in_overrides_is_named(folder: Path, look: Look) -> None:
    (folder / "overrides.yaml").write_text("pretrain: {stepps: 20}\n")
    (found,) = look("parameters")
    assert found.status == "problem" and "unknown key 'stepps' in section pretrain" in found.text
    assert found.remedy == f"edit {folder / 'overrides.yaml'}"


def test_a_held_lock_is_named_with_its_process(folder: Path, look: Look) -> None:
    (free,) = look("locks")
    assert free == ok("none is held: nobody works here")
    holding = "from flows.running import locks\nwith locks.lock('pipeline'): print(1, flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", holding], cwd=folder, stdin=-1, stdout=-1)  # noqa: S603
    try:
        assert other.stdout and other.stdout.readline()
        (found,) = look("locks")
        assert f"pipeline is held: process {other.pid} on " in found.text
        assert found.remedy == f"wait for it, or end it: kill {other.pid}"
    finally:
        other.kill()
        other.communicate()
    assert look("locks") == [free]  # a killed holder holds nothing


def test_a_stale_stage_and_its_reason(folder: Path, look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "source.txt").write_text("one")
    (folder / "dvc.yaml").write_text(ONE_STAGE)
    monkeypatch.chdir(folder)
    with Repo.init(no_scm=True) as repo:
        repo.reproduce()
    assert look("stages") == [ok("all stages are up to date")]
    (folder / "source.txt").write_text("two")
    before = tree(folder)
    (found,) = look("stages")
    assert (found.status, found.text, found.remedy) == (
        "note",
        "ingest: source.txt modified",
        "scriptsight run talks",
    )
    assert {name for name, content in tree(folder).items() if before.get(name) != content} <= {
        str(folder / ".dvc/tmp/lock"),
        str(folder / ".dvc/tmp/rwlock"),
    }


def test_values_that_the_last_run_did_not_have_are_named(
    folder: Path, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "source.txt").write_text("one")
    (folder / "dvc.yaml").write_text(ONE_STAGE)
    monkeypatch.chdir(folder)
    with Repo.init(no_scm=True) as repo:
        repo.reproduce()
    place = Place(folder)
    (folder / "params.yaml").write_text((PROJECT / "params.yaml").read_text().replace("steps: 1000", "steps: 30"))
    assert place.settings.pretrain.steps == 20
    (found,) = look("stages")
    assert found.text == "overrides.yaml has other values than the last run: pretrain.steps"


def test_a_damaged_index_and_one_of_another_model(folder: Path, look: Look) -> None:
    model, index = folder / "models/pretrained", folder / "models/index"
    for one, content in ((model, {}), (index, {"weights": "of another"})):
        one.mkdir(parents=True)
        (one / "model.safetensors").write_bytes(b"weights")
        files.write_json(one / "config.json", {"format": 2, **content})
        files.seal(one / "config.json")
    assert [found.status for found in look("model")] == ["ok"]
    whole, other = look("index")
    assert whole.status == "ok" and other.text == "the index was made by another model than models/pretrained"
    (index / "model.safetensors").write_bytes(b"weighty")
    (found,) = look("index")
    assert found.status == "problem" and "its bytes are not those that were written" in found.text
    assert found.remedy == "rm -r models/index && scriptsight run talks"
    (index / "config.json").write_text("{")
    (found,) = look("index")
    assert found.status == "problem" and "config.json is damaged" in found.text


def test_servers_that_do_not_answer_and_no_password(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://me:hunter2@127.0.0.1:9/api")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter2@127.0.0.1:9")
    (prefect,), (mlflow,) = look("prefect"), look("mlflow")
    assert (prefect.status, mlflow.status) == ("note", "problem")
    assert "does not answer" in prefect.text and "does not answer" in mlflow.text
    assert "hunter2" not in f"{prefect}{mlflow}" and "127.0.0.1:9" in prefect.text
    assert mlflow.remedy == "start that server, or unset MLFLOW_TRACKING_URI"


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_is_silent_keeps_nobody(look: Look, silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", f"{silent}/api")
    monkeypatch.setattr(servers, "PAGE", f"{silent}/api/state")
    began = time.monotonic()
    (prefect,), (page,) = look("prefect"), look("page")
    assert time.monotonic() - began < 10
    assert "does not answer" in prefect.text
    assert page.text.startswith("something else has port") and page.remedy == "scriptsight page --port 8001"


def test_a_disk_on_which_the_next_run_does_not_fit(folder: Path, look: Look) -> None:
    assert all("a run of all stages writes about 1.0" in found.text for found in look("disk"))
    (folder / "dvc.lock").write_text("stages: {ingest: {outs: [{path: data, size: 1000000000000000}]}}\n")
    found = look("disk")[0]
    assert found.status == "problem" and "writes about 931322.6" in found.text and "dvc gc" in found.remedy
    assert machine.of_disk("/here", 3 * 2**30, 2 * 2**30).status == "note"


def test_videos_that_are_missing(folder: Path, look: Look) -> None:
    (folder / "videos").mkdir()
    collections = (
        "{gone: {kind: folder, path: nowhere}, empty: {kind: folder, path: videos}, "
        "far: {kind: folder, path: 's3://bucket/talks'}, untold: {kind: folder, path: videos, labels: labels.csv}}"
    )
    (folder / "overrides.yaml").write_text(
        f"ingest: {{collections: {collections}}}\npretrain: {{collections: {{gone: {{}}}}, start_from: old}}\n"
        "probe: {tests: {untold: {collections: [untold]}}}\nretrieve: {collection: gone}\n"
    )
    (folder / "videos/notes.txt").write_text("no video")
    texts = {found.text: found for found in look("videos")}
    assert texts[f"gone: there is no {folder / 'nowhere'}"].remedy.startswith("set ingest.collections.gone.path")
    assert texts[f"empty: no video is in {folder / 'videos'}"].status == "problem"
    assert texts["far: at s3://bucket/talks, which is not asked"].status == "ok"
    assert texts["untold: there is no labels.csv"].status == "problem"
    assert texts["pretrain.start_from: there is no model in old"].status == "problem"
    (folder / "videos/one.mp4").touch()
    assert ok(f"empty: 1 videos in {folder / 'videos'}") in look("videos")


def test_what_killed_processes_left(folder: Path, look: Look) -> None:
    (folder / ".locks/runs").mkdir(parents=True)
    (folder / ".locks/runs/a.json").write_text("{}")
    (folder / ".locks/runs/a.lock").touch()
    (folder / "data").mkdir()
    (folder / "data/.partial-0123abcd-4194304-0123abcd-segments").mkdir()  # no process has this number
    runs, halves = look("leftovers")
    assert runs.text == "1 runs of killed processes may be open in Prefect"
    assert "data/.partial-0123abcd-4194304-0123abcd-segments" in halves.text


def test_a_damaged_database(folder: Path, look: Look) -> None:
    (folder / "mlruns").mkdir()
    (folder / "mlruns/mlflow.db").write_text("no database")
    (found,) = [found for found in look("databases") if "mlflow.db" in found.text]
    assert found.status == "problem" and "is damaged (it is no SQLite database)" in found.text


def test_the_arithmetic_is_what_was_measured(
    folder: Path, look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRIPTSIGHT_CACHE", str(tmp_path / "cache"))
    (found,) = look("arithmetic")
    assert "is measured when a model is first trained or used" in found.text
    video = VideoViT(width=16, depth=1, heads=1, patch=8, tubelet=2, size=16, frames=2)
    chosen = arithmetic.choose("auto", "auto", arithmetic.Work(video, clips=4, training=True))
    _, shown, again = look("arithmetic")
    precision = "bf16" if chosen.bf16 else "fp32"
    assert shown.text.startswith("training: 4 clips; ") and f": {precision} " in shown.text and " ms" in shown.text
    assert str(tuning.place()) in again.text
    (folder / "overrides.yaml").write_text(f"pretrain: {{engine: {{precision: {precision}}}}}\n")
    assert look("arithmetic")[0].status == "ok"
    other = "fp32" if chosen.bf16 else "bf16"
    (folder / "overrides.yaml").write_text(f"pretrain: {{engine: {{precision: {other}}}}}\n")
    assert look("arithmetic")[0].status == "note" and f"{precision} was faster here" in look("arithmetic")[0].text


@pytest.mark.parametrize(
    ("total", "free", "status"), [(16, 8, "ok"), (2, 1.5, "note"), (16, 0.5, "problem"), (3.7, 2, "ok")]
)
def test_memory(total: float, free: float, status: str) -> None:
    assert machine.of_memory(round(total * machine.GIB), round(free * machine.GIB)).status == status


def test_a_check_that_fails_or_hangs_is_a_line(folder: Path) -> None:
    def fails(_: Place) -> Iterator[Finding]:
        yield ok("so far")
        raise ZeroDivisionError("by\nzero at https://me:hunter2@host/")

    def hangs(_: Place) -> Iterator[Finding]:
        time.sleep(60)
        yield ok("at last")

    checks: dict[str, Check] = {"fails": fails, "hangs": hangs}
    began = time.monotonic()
    first, second, third = command.examine(folder, checks=checks, seconds=0.5)
    assert time.monotonic() - began < 5
    assert first.finding == ok("so far")
    assert second.finding.text == "it can't be looked at: ZeroDivisionError: by zero at https://***@host/"
    assert (third.check, third.finding.text) == ("hangs", "not done within 0.5 s")


def test_lines_for_people_fit_a_terminal() -> None:
    line = command.Line("parameters", problem("word " * 40, "scriptsight run " + "x" * 90))
    shown = command.shown(line, 80)
    assert shown[0].startswith("problem  parameters  word") and shown[1].startswith(" " * command.INDENT + "word")
    assert all(len(part) <= 80 or "x" * 90 in part for part in shown)
    assert len(command.shown(line, 0)) == 2


@pytest.mark.parametrize("as_json", [False, True])
def test_the_exit_status_says_whether_there_is_a_problem(
    folder: Path, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "overrides.yaml").write_text("pretrain: {stepps: 20}\n")
    with pytest.raises(SystemExit) as ended:
        command.command(argparse.Namespace(workspace=folder, json=as_json))
    assert ended.value.code == 1
    said = capsys.readouterr().out
    if not as_json:
        assert "problem  parameters" in said and "1 problem" in said.splitlines()[-1]
        return
    told = json.loads(said)
    assert (told["folder"], told["well"]) == (str(folder), False)
    assert {"check", "status", "text", "remedy"} == set(told["lines"][0])
