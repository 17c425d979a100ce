"""Models beside each other: what is tested and how, what is told, what is on the page, how models are found."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows import parameters
from flows.experiments import comparison, named, outcomes, side_by_side
from flows.tracking import registered, registry, store
from flows.tracking.reporter import WEIGHTS, opening
from flows.tracking.stage_run import StageRun
from scriptsight import statistics
from scriptsight.cli import main
from scriptsight.errors import InputError
from scriptsight.files import digest
from scriptsight.params import reading
from tests import small
from tests.flows import browser
from tests.flows.outcomes import hits, write_probe, write_retrieve

HOSTILE = "<script>alert(1)</script> & 'co'"


def folder(path: Path, share: float, **columns: Any) -> named.Source:
    """The plots of a model that gets a share right."""
    write_probe(path / "probe", linear_top1=hits(share), **columns)
    return named.find(None, str(path), "scriptsight")


def recorded(seed: int, right: np.ndarray, *, lr: float = 0.1, data: str = "aa", learned_from: int = 0) -> str:
    """A model, and the MLflow run of its training and its probe -> the id of the run."""
    small.tiny_bundle(registry.BUNDLE, seed=seed)
    values = reading.read_yaml("params.yaml")
    values["pretrain"]["optimizer"]["lr"] = lr
    values["pretrain"]["cpd"]["noise"] = 17 + seed  # of an objective that it does not use
    write_probe(Path("plots/probe"), linear_top1=right)
    Image.new("RGB", (40, 30), (seed, 0, 0)).save("plots/probe/order.png")
    begun = opening("probe", parameters.build(values))
    begun["tags"]["input/data/segments"] = data
    run = StageRun(begun)  # as tracked() does, without a process
    for path in ("plots/probe/outcomes.csv", "plots/probe/order.png"):
        run.take({"artifact": path})
    for step in (10, 20):
        curves = {"train/loss": seed / step, "val/sort_accuracy": step / 40, "val/chance": 0.25}
        run.take({"metrics": curves, "step": step, "time": 0})
    overlap = {"probe/overlap/learned_from": learned_from, "probe/overlap/measured": 200}
    run.take({"metrics": {"probe/random_init/linear_top1": 0.3, **overlap}, "step": 0, "time": 0})
    run.close("FINISHED")
    with store.opened() as client:
        return str(store.run_of(client, digest(WEIGHTS)).info.run_id)


def test_each_is_tested_against_the_first_and_p_values_are_adjusted(tmp_path: Path) -> None:
    shares, others = {"A": 0.4, "B": 0.5, "C": 0.45}, {"A": 0.5, "B": 0.52, "C": 0.6}
    sources = [folder(tmp_path / name, shares[name], knn_top1=hits(others[name], seed=1)) for name in shares]
    found = comparison.compare(sources, "linear_top1")
    assert list(found.tests) == [("A", "B"), ("A", "C")]
    raw = {name: statistics.compare(hits(0.4), hits(shares[name])) for name in ("B", "C")}
    assert {pair[1]: one["linear_top1"] for pair, one in found.tests.items()} == raw
    adjusted = statistics.holm({name: one.p_value for name, one in raw.items()})
    assert {name: found.p_values[("A", name), "linear_top1"] for name in raw} == adjusted
    assert adjusted["C"] > raw["C"].p_value or adjusted["B"] > raw["B"].p_value
    low, high = statistics.interval(hits(0.5))
    assert found.entries[1].shares["linear_top1"] == (0.5, low, high)
    each = comparison.compare(sources, "linear_top1", all_pairs=True)
    assert list(each.tests) == [("A", "B"), ("A", "C"), ("B", "C")]
    assert each.said("C", "linear_top1") == ["better than A", "worse than B"]


def test_clips_of_one_recording_are_one_piece_of_evidence(tmp_path: Path) -> None:
    for name, rank in (("a", 2), ("b", 1)):
        (tmp_path / name).mkdir()
        rows = [f"t2v,c/v{i}/0#w{i},{rank},film {i // 4}" for i in range(24)]
        (tmp_path / name / "outcomes.csv").write_text("\n".join(["direction,query,rank,recording", *rows]) + "\n")
    sources = [named.find(None, str(tmp_path / name), "scriptsight") for name in ("a", "b")]
    found = comparison.compare(sources, "t2v/r1")
    assert found.tests["A", "B"]["t2v/r1"].groups == 6
    assert next(iter(found.answers())).startswith("B is better than A by t2v/r1: 100.0% against 0.0% of 24 ")
    right, films = np.array([i // 4 % 2 for i in range(24)]), np.array([i // 4 for i in range(24)])
    items = [("t2v", f"c/v{i}/0#w{i}") for i in range(24)]
    known: dict[tuple[str, ...], str] = {item: f"film {film}" for item, film in zip(items, films, strict=True)}
    model = outcomes.Model("m", {"t2v/r1": dict(zip(items, right.astype(bool).tolist(), strict=True))}, known)
    assert model.interval("t2v/r1") == statistics.interval(right, films)


def test_what_can_not_be_compared_is_told_and_the_rest_is_there(tmp_path: Path) -> None:
    first = folder(tmp_path / "first", 0.4, knn_top1=hits(0.5))
    write_probe(tmp_path / "shorter/probe", linear_top1=hits(0.4)[:150])
    write_retrieve(tmp_path / "damaged/retrieve", t2v=[1, 2], v2t=[1, 1])
    (tmp_path / "damaged/probe").mkdir()
    (tmp_path / "damaged/probe/outcomes.csv").write_text("test,fold,segment_id,label,linear_top1\np,0,a,x\n")
    small.tiny_bundle(tmp_path / "unmeasured", seed=1)
    small.tiny_bundle(tmp_path / "copy", seed=1)
    names = ("shorter", "damaged", "unmeasured", "copy")
    found = comparison.compare(
        [first, *(named.find(None, str(tmp_path / name), "scriptsight") for name in names)], "linear_top1"
    )
    told, left_out = "\n".join(found.remarks), "\n".join(found.not_compared())
    assert re.search(r"C: probe/outcomes\.csv of .*damaged is damaged: linear_top1 of a is None", told)
    assert re.search(r"D: it has no outcomes .*run the stages probe and retrieve", told)
    assert "D, E are one model under several names" in told
    assert "C: no outcomes of linear_top1, which decides (there are: t2v/r1" in told
    assert "A, B, C, D, E: parameters are not known" in told
    assert "B against A: linear_top1: 200 items against 150; 50 only of A, such as 'probe 0 c/v150/0" in left_out
    assert "C against A: linear_top1, knn_top1: only A has it." in left_out
    assert not any(found.tests.values()) and "| linear_top1 | 40.0% (" in str(found)


def test_parameters_and_data_are_those_that_the_stages_ran_with(tmp_path: Path) -> None:
    """dvc.lock says it, whatever params.yaml has become since."""
    for name, k, ran in (("one", 3, "m1"), ("two", 4, "m0")):
        write_probe(tmp_path / name / "plots/probe", linear_top1=hits(0.4))
        (tmp_path / name / "plots/pretrain").mkdir()
        (tmp_path / name / "plots/pretrain/training.csv").write_text("step,loss,lr\n1,2.5,\n2,2.0,0.1\n")
        (tmp_path / name / "metrics").mkdir()
        (tmp_path / name / "metrics/pretrain.json").write_text('{"val": {"t2v_r1": 0.25}}')
        (tmp_path / name / "metrics/speed.json").write_text('{"mfu": 0.5}')
        (tmp_path / name / "metrics/probe.json").write_text('{"chance": ')
        (tmp_path / name / "params.yaml").write_text("pretrain: {k: 9}\n")
        (tmp_path / name / "dvc.lock").write_text(
            f"""stages:
  segment: {{outs: [{{path: data/segments, md5: {name}.dir}}]}}
  pretrain:
    params: {{params.yaml: {{pretrain: {{k: {k}, objective: tvts, cpd: {{noise: {k}}}, engine: {{threads: {k}}}}}}}}}
    outs: [{{path: models/pretrained, md5: m1.dir}}]
  probe: {{deps: [{{path: models/pretrained, md5: {ran}.dir}}]}}
"""
        )
    sources = [named.find(None, str(tmp_path / name), "scriptsight") for name in ("one", "two/plots")]
    found = comparison.compare(sources, "linear_top1")
    assert found.parameters() == {"pretrain.k": ["3", "4"]}
    assert found.entries[0].details.curves == {"train/loss": [(1, 2.5), (2, 2.0)], "train/lr": [(2, 0.1)]}
    assert found.others() == {"speed/mfu": ["0.5", "0.5"], "val/t2v_r1": ["0.25", "0.25"]}
    told = "\n".join(found.remarks)
    assert "data/segments has the digests A one.dir, B two.dir" in told
    assert "B: its figures of probe are of an earlier model" in told and "A: its figures" not in told
    assert told.count("probe.json can't be read") == 2


def test_runs_of_mlflow_and_folders_on_one_page(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = recorded(1, hits(0.4))
    second = recorded(2, hits(0.6), lr=0.2, data="bb", learned_from=7)
    folder(Path(HOSTILE), 0.59)
    with store.opened() as client:
        name = registered.name_of(client, parameters.load().registry.name)
        client.create_registered_model(name)
        client.create_model_version(name, "none", run_id=second)
        client.set_registered_model_alias(name, "champion", "1")
    assert main(["compare", first[:9], "champion", "1", HOSTILE, "--out", "docs"]) == 0
    said = capsys.readouterr().out
    assert Path("plots/compare/compare.md").read_text() in said
    assert "A is worse than B by linear_top1: 40.0% against 60.0% of 200 items" in said  # B is the champion
    assert "'1' is" in said and "is shown once" in said
    assert "B learned from 7 of the 200 videos that it is measured on (probe)" in said
    assert re.search(r"\| pretrain.optimizer.lr +\| 0.1 +\| 0.2 +\|", said) and "noise" not in said

    page = Path("docs/compare.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:)|url\(|@import|<script", page)
    pictures = re.findall(r"data:image/(png|webp);base64,([^\"]+)", page)
    sizes = [Image.open(BytesIO(base64.b64decode(data))).size for _, data in pictures]
    assert sizes.count((40, 30)) == 2 and len(sizes) == 5  # the models' own, the intervals, two curves that tell
    with store.opened() as client:
        where = client.get_run(first).data.tags[side_by_side.COMPARED].rpartition(" ")[2]
        assert client.get_run(second).data.tags[side_by_side.COMPARED] == f"run {second[:8]}, artifact {where}"
        kept = Path(client.download_artifacts(second, where, str(workspace)))
    assert kept.read_text() == page
    low, high = statistics.interval(hits(0.6))
    text = browser.text_of(workspace / "browser", Path("docs/compare.html").absolute().as_uri())
    for words in (
        "3 models compared",
        HOSTILE,
        "the champion",
        "A is worse than B by linear_top1",
        "data/segments has the digests A aa, B bb",
        f"60.0% {low:.1%} to {high:.1%}",
        "can't tell",
        "pretrain.optimizer.lr 0.1 0.2",
        "How each learned",
        "probe/order.png",
        "probe/random_init/linear_top1 0.3 0.3",
    ):
        assert words in text, text

    assert main(["compare", first, second, "--json", "--all-pairs"]) == 0
    told = json.loads(capsys.readouterr().out)
    (test,) = told["tests"]
    assert (test["models"], test["first"], test["second"], test["verdict"]) == (["A", "B"], 0.4, 0.6, "better")


def test_an_experiment_of_dvc_is_found_by_its_name(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what Git and DVC's cache have of it; by its run, once MLflow has one."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(workspace.parent / "dvc"))
    for k, share in ((3, 0.4), (5, 0.6)):
        write_probe(workspace / f"made/{k}/probe", linear_top1=hits(share))
    Path("dvc.yaml").write_text(
        """stages:
  probe:
    cmd: mkdir -p plots metrics && cp -r made/${pretrain.k}/probe plots/ && echo '{"chance":0.1}' > metrics/probe.json
    params: [pretrain]
    outs: [plots/probe, metrics/probe.json: {cache: false}]
"""
    )
    Path(".gitignore").write_text("/mlruns\n/plots\n")
    run("git", "init", "-q")
    run(sys.executable, "-m", "dvc", "init", "-q")
    run("git", "add", "-A")
    run("git", "-c", "user.name=n", "-c", "user.email=a@b.c", "commit", "-qm", "a")
    for name, k in (("narrow", 3), ("wide", 5)):
        run(sys.executable, "-m", "dvc", "exp", "run", "-q", "-n", name, "-S", f"pretrain.k={k}")
    with store.opened() as client:
        sources, _ = side_by_side.found(client, ["narrow", "wide"], "scriptsight")
        found = comparison.compare(sources, "linear_top1")
        assert next(iter(found.answers())).startswith("B is better than A by linear_top1: 60.0% against 40.0%")
        assert found.parameters() == {"pretrain.k": ["3", "5"]}
        assert found.others() == {"probe/chance": ["0.1", "0.1"]}
        experiment = store.experiment(client)
        tags = {named.EXPERIMENT: "wide", "weights_digest": "0"}
        of_wide = client.create_run(experiment, run_name="trained", tags=tags).info.run_id
        assert named.find(client, "wide", "scriptsight").run_id == of_wide
        shutil.rmtree(".dvc/cache/files")
        shutil.rmtree(workspace.parent / "dvc")
        told = "\n".join(comparison.compare(sources, "linear_top1").remarks)
        assert "plots/probe" in told and "neither in DVC's cache nor in its remote" in told
        with pytest.raises(InputError, match=r"narrow \(experiment .*neither in DVC's cache"):
            sources[0].model()
        with pytest.raises(InputError, match=r"'middle' is no MLflow run, .* no experiment of DVC, and no folder"):
            named.find(client, "middle", "scriptsight")


def run(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603 - our own words


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        (["a", "b", "--preset", "quick"], "--preset trains objectives, and 'a' names a model"),
        (["a"], "Name two models or more"),
        (["--metric", "t2v/r1", "--preset", "quick"], "--metric is of models"),
        (["old/plots", "./old/plots"], "All names are of old/plots: there is nothing to compare"),
        (["old/plots", "new/plots", "--metric", "v2v_r1"], "no model has outcomes of 'v2v_r1'"),
    ],
)
def test_what_makes_no_sense_is_refused(workspace: Path, typed: list[str], why: str) -> None:
    folder(Path("old/plots"), 0.4)
    folder(Path("new/plots"), 0.5)
    with pytest.raises(SystemExit, match=why):
        main(["compare", *typed])
