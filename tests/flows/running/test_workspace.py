"""Folders with an overrides.yaml, which are pipelines of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows import PROJECT, parameters
from flows.running import git
from flows.running import workspace as workspaces
from flows.running.workspace import prepare
from scriptsight.errors import InputError
from scriptsight.judgements import FILE, UP, Judgement, Query, Store, Stretch
from scriptsight.params import reading
from tests.conftest import MakeVideo
from tests.flows.conftest import SURROUNDINGS

FOLDERS = """
ingest:
  collections:
    outside: {kind: folder, path: ../talks, splits: {"*": train}}
    inside: {kind: folder, path: clips, splits: {"*": train}}
pretrain: {collections: {outside: {}}}
probe: {tests: {inside: {collections: [inside]}}}
retrieve: {collection: outside}
"""


def test_a_workspace_is_the_project_with_overrides(workspace: Path) -> None:
    (workspace / "overrides.yaml").write_text("pretrain:\n  seed: 7\n")
    prepare(workspace)
    assert parameters.load(workspace / "params.yaml").pretrain.seed == 7
    pipeline = reading.read_yaml(workspace / "dvc.yaml")
    code = [dep for dep in pipeline["stages"]["pretrain"]["deps"] if dep.endswith(".py")]
    assert code and all((workspace / dep).is_file() for dep in code)
    assert "data/segments" in pipeline["stages"]["pretrain"]["deps"]
    (workspace / "overrides.yaml").write_text("pretrain:\n  sed: 7\n")
    with pytest.raises(InputError, match="Did you mean 'seed'"):
        prepare(workspace)


def test_nothing_is_expected_of_a_workspace_that_only_the_project_has(workspace: Path) -> None:
    """What has transcripts is learned from and searched; labels are measured where the overrides say so. What came
    of it stands in params.yaml."""
    talks, clips = "{kind: folder, path: talks}", "{kind: folder, path: clips, labels: labels.csv}"
    both = f"ingest: {{collections: {{talks: {talks}, clips: {clips}, lectures: {talks}}}}}\n"
    (workspace / "overrides.yaml").write_text(both + "pretrain: {steps: 7}\n")
    prepare(workspace)
    found = parameters.load(workspace / "params.yaml")
    assert (list(found.pretrain.collections), found.pretrain.steps) == (["lectures", "talks"], 7)
    assert (found.retrieve.collection, found.retrieve.queries, found.probe.tests) == ("lectures", (), {})
    assert found.registry.metric == "t2v/r1" and list(found.sweep.objectives) == ["retrieve/t2v/r1"]
    (workspace / "overrides.yaml").write_text(
        both + "pretrain: {collections: {talks: {text: title}}}\nprobe: {tests: {verbs: {collections: [clips]}}}\n"
        "retrieve: {queries: [a bow]}\nregistry: {metric: knn_top1}\n"
    )
    prepare(workspace)
    found = parameters.load(workspace / "params.yaml")
    assert (found.pretrain.collections["talks"].text, list(found.probe.tests)) == ("title", ["verbs"])
    assert (found.retrieve.collection, found.retrieve.queries) == ("talks", ("a bow",))
    assert found.registry.metric == "knn_top1" and len(found.sweep.objectives) == 2


def test_what_the_project_says_of_collections_that_a_workspace_has_too_holds(workspace: Path) -> None:
    few = "{kind: world, content: %s, videos: {train: 4, val: 2, test: 2}}"
    (workspace / "overrides.yaml").write_text(
        f"ingest: {{collections: {{narrated: {few % 'narrated'}, actions: {few % 'loop'}}}}}\n"
    )
    prepare(workspace)
    found, project = (parameters.load(folder / "params.yaml") for folder in (workspace, PROJECT))
    for section in ("pretrain", "probe", "retrieve", "registry", "sweep"):
        assert getattr(found, section) == getattr(project, section)
    (workspace / "overrides.yaml").write_text("probe: {tests: {}, protocols: []}\n")
    prepare(workspace)
    found = parameters.load(workspace / "params.yaml")
    assert (found.probe.tests, found.registry.metric) == ({}, "t2v/r1")
    assert found.retrieve == project.retrieve


def test_files_that_a_workspace_names_are_dependencies(workspace: Path) -> None:
    """Videos, annotation files beside them, and the weights that training starts from; nothing that is not there."""
    for name in ("clips/labels.json", "lists/train.json", "first/model.safetensors"):
        (workspace / name).parent.mkdir(exist_ok=True)
        (workspace / name).touch()
    annotations = "{train: lists/train.json, val: clips/labels.json, test: lists/none.json}"
    (workspace / "overrides.yaml").write_text(
        f"ingest: {{collections: {{some: {{kind: ssv2, path: clips, annotations: {annotations}}}}}}}\n"
        "pretrain: {collections: {some: {text: caption}}, start_from: first}\n"
        "probe: {tests: {some: {collections: [some]}}}\nretrieve: {collection: some}\n"
    )
    prepare(workspace)
    stages_of = reading.read_yaml(workspace / "dvc.yaml")["stages"]
    found = [*stages_of["ingest"]["deps"][-2:], stages_of["pretrain"]["deps"][-1]]
    assert found == [str(workspace / name) for name in ("clips", "lists/train.json", "first")]


def test_judgements_are_a_dependency_of_retrieve_from_the_first_one_on(workspace: Path) -> None:
    seed(workspace)
    prepare(workspace)
    assert "judgements" not in (workspace / "dvc.yaml").read_text(encoding="utf-8").replace("judgements.py", "")
    Store(workspace / FILE).add(Judgement("ada", UP, Query("a circle"), Stretch("c", "a.mp4", 0.0, 1.0)))
    prepare(workspace)
    stages = reading.read_yaml(workspace / "dvc.yaml")["stages"]
    depend = {name for name, stage in stages.items() if str(workspace / "judgements") in stage["deps"]}
    assert depend == {"retrieve"}
    assert "judgements" not in said(workspace, "status", "--porcelain")  # git is not asked to merge them


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Git knows no user."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"):
        monkeypatch.delenv(name, raising=False)


def said(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout  # noqa: S603, S607


def seed(folder: Path, number: int = 7) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "overrides.yaml").write_text(f"pretrain:\n  seed: {number} # mine\n")
    return folder


def test_a_workspace_is_a_repository_with_one_commit(
    workspace: Path, nobody: None, capsys: pytest.CaptureFixture[str]
) -> None:
    seed(workspace)
    for _ in range(2):
        prepare(workspace)
    assert said(workspace, "log", "--format=%s").splitlines() == ["A workspace of scriptsight"]
    assert set(said(workspace, "ls-files").split()) == set(workspaces.FIRST)
    assert not said(workspace, "status", "--porcelain")
    assert "no_scm" not in (workspace / ".dvc/config").read_text()
    assert not workspaces.uncommitted()
    (workspace / "dvc.lock").touch()
    assert "add dvc.lock && git -C" in workspaces.uncommitted()[-1]


def test_a_workspace_in_a_repository_commits_nothing_there(tmp_path: Path, nobody: None) -> None:
    outer = seed(tmp_path / "outer", 1)
    git.init(outer)
    (outer / ".gitignore").write_text("scratch/\n")
    git.commit(outer, [".gitignore"], "theirs")
    prepare(seed(outer / "part"))
    assert git.root(outer / "part") == outer and not (outer / "part/.git").exists()
    with Repo(str(outer / "part")) as repo:
        assert Path(repo.root_dir) == outer / "part" and not repo.config["core"].get("no_scm")
    prepare(seed(outer / "scratch"))  # which the repository wants to know nothing of
    assert git.root(outer / "scratch") == outer / "scratch"
    assert said(outer, "log", "--format=%s").split() == ["theirs"]


def test_without_git_a_workspace_is_as_ever_and_can_be_brought_over(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed(workspace)
    with monkeypatch.context() as without:
        without.setenv("PATH", str(workspace))
        prepare(workspace)
    config = workspace / ".dvc/config"
    made = {name: (workspace / name).read_bytes() for name in ("dvc.yaml", ".gitignore", ".dvc/config")}
    assert "no_scm" in config.read_text() and b"- ../" in made["dvc.yaml"]
    prepare(workspace)  # git is there again: it stays as it is
    assert made == {name: (workspace / name).read_bytes() for name in made} and not (workspace / ".git").exists()
    config.write_text(config.read_text().replace("    no_scm = True\n", ""))  # dvc config --unset core.no_scm
    prepare(workspace)
    assert said(workspace, "log", "--format=%s").splitlines() == ["A workspace of scriptsight"]
    assert not said(workspace, "status", "--porcelain")
    with Repo(str(workspace)) as repo:
        assert Path(repo.scm.root_dir) == workspace
    over = (workspace / "dvc.yaml").read_bytes()
    with monkeypatch.context() as without:  # a machine without git runs it as it is
        without.setenv("PATH", str(workspace))
        prepare(workspace)
    assert (workspace / "dvc.yaml").read_bytes() == over


def test_what_an_experiment_brought_is_not_lost(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed(workspace)
    prepare(workspace)
    path = workspace / "params.yaml"
    path.write_text(path.read_text().replace("seed: 7\n", "seed: 8\n").replace("steps: 1000", "steps: 10"))
    prepare(workspace)
    settings = parameters.load(path).pretrain
    assert (settings.seed, settings.steps) == (8, 10)
    assert "params.yaml has pretrain.seed: 8" in capsys.readouterr().out
    assert "# mine" in (workspace / "overrides.yaml").read_text()
    seed(workspace, 9)
    prepare(workspace)
    assert parameters.load(path).pretrain.seed == 9


def test_code_of_another_checkout_is_refused(workspace: Path) -> None:
    seed(workspace)
    prepare(workspace)
    workspaces.require_own_code()
    path = workspace / "dvc.yaml"
    path.write_text(path.read_text().replace(f"{PROJECT}/src", "/elsewhere/src"))
    with pytest.raises(InputError, match="names the code of /elsewhere"):
        workspaces.require_own_code()


def test_experiments_of_a_workspace_find_its_code_and_videos(workspace: Path, make_video: MakeVideo) -> None:
    """In its folder, and in DVC's copy of it, which has a video that came after the first run."""
    (workspace / "overrides.yaml").write_text(FOLDERS)
    for name in ("../talks/a.mp4", "clips/b.mp4"):
        make_video(workspace / name, seconds=1)
        (workspace / name).with_suffix(".vtt").write_text("WEBVTT\n\n00:00.000 --> 00:00.900\nwords\n")
    prepare(workspace)

    def dvc(*words: str) -> str:
        own = {name: value for name, value in os.environ.items() if name not in SURROUNDINGS}
        own["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
        own["SCRIPTSIGHT_STAGE_REPORT"] = str(workspace.parent / "report.json")  # no server of Prefect then
        done = subprocess.run(["dvc", *words], env=own, capture_output=True, text=True, timeout=600, check=False)  # noqa: S603, S607
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    dvc("exp", "run", "--name", "here", "ingest")
    git.commit(workspace, ["dvc.lock", "metrics"], "a run")
    shutil.copy(workspace / "clips/b.mp4", workspace / "clips/c.mp4")
    dvc("exp", "run", "--temp", "--name", "there", "ingest")
    dvc("exp", "branch", "there", "kept")
    found = json.loads(said(workspace, "show", "kept:metrics/ingest.json"))["collections"]
    assert (found["outside"]["train"], found["inside"]["train"]) == (1, 2)
    assert "collections.inside.train" in dvc("metrics", "diff", "HEAD", "kept")
