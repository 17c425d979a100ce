"""A tiny comparison, made as the command makes it: by processes, as tasks of a real Prefect server."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from flows import PROJECT
from flows.experiments import compare, contest, runner, standings
from flows.tracking import store
from scriptsight.errors import InputError
from scriptsight.params import reading
from tests.flows.test_commands import TINY

PRESET = contest.Preset(
    worlds={"undo": 4},
    objectives=("tvts", "cpd"),
    budgets=("steps", "seconds"),
    seeds=(0,),
    films=(2, 1, 1),
    clips=(24, 12),
)


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("PREFECT_API_URL", raising=False)
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        with prefect_test_harness(server_startup_timeout=120):
            yield


def tiny(root: Path, **changes: object) -> contest.ObjectiveComparison:
    values = reading.read_yaml(PROJECT / "params.yaml")
    changed = root.parent / "tiny.yaml"
    changed.write_text(TINY)
    base = reading.merge(values, reading.read_yaml(changed))
    base["pretrain"] |= {"cpd": base["pretrain"]["cpd"] | {"noise": 8}, **changes}
    return contest.ObjectiveComparison(PRESET, root, base)


def test_a_comparison_is_made_once_and_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    comparison = tiny(tmp_path / "tiny")
    compare.compare(comparison, workers=2)
    results = {path: path.read_bytes() for path in comparison.root.rglob(runner.RESULT)}
    made = {path.parent.relative_to(comparison.root).as_posix() for path in results}
    trained = {"undo-0/tvts-steps", "undo-0/cpd-steps", "undo-0/cpd-seconds", "undo-0/untrained-steps"}
    assert made == {"undo-0/films", "clips-0"} | trained | {f"{name}-measured" for name in trained}

    lost = comparison.root / "undo-0/cpd-steps-measured" / runner.RESULT
    lost.unlink()
    before = {path: path.stat().st_mtime_ns for path in results if path != lost}
    compare.compare(comparison, workers=2)
    assert lost.read_bytes() == results[lost]
    assert {path: path.stat().st_mtime_ns for path in before} == before

    table, rows, bars = standings.write(comparison)
    with rows.open() as file:
        found = {(row["budget"], row["objective"]): row for row in csv.DictReader(file)}
    assert set(found) == {(b, o) for b in ("steps", "seconds") for o in ("tvts", "cpd", "untrained", "chance")}
    probed = runner.read(lost)["probe"]
    assert float(found["steps", "cpd"]["loop"]) == probed["loop"]["linear_top1"]
    assert float(found["steps", "cpd"]["slow_first"]) == probed["slow"]["order"]["first_frame_top1"]
    assert found["steps", "cpd"]["sorting"] == "" and found["steps", "tvts"]["sorting"] != ""
    assert float(found["steps", "chance"]["t2v"]) == 1 / 4  # a film of 4 scenes
    assert "| CPD (NCE, memory banks) |" in table.read_text() and bars.stat().st_size > 10_000

    with pytest.raises(InputError, match=r"was made with other parameters .*--folder"):
        compare.compare(tiny(tmp_path / "tiny", seed=5, batch=4), workers=2)

    compare.record(comparison, [table, rows, bars])
    compare.record(comparison, [table, rows, bars])
    with store.opened() as client:
        runs = list(store.runs(client, store.experiment(client, "comparison tiny")))
    assert len(runs) == 7
    (cpd,) = [run for run in runs if run.info.run_name == "undo steps cpd 0"]
    assert cpd.data.metrics["loop"] == probed["loop"]["linear_top1"]


def test_an_entry_that_fails_is_named_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"tvts-steps failed \(.*lower pretrain\.k.*\): see .*tvts-steps/log\.txt"):
        compare.compare(tiny(tmp_path / "tiny", k=50), workers=2)
    assert not list(tmp_path.rglob("*-steps/result.json"))


def test_the_lead_is_the_mean_of_the_seeds_differences_with_its_t_interval() -> None:
    trained = {
        "tvts": [{"seed": 0, "loop": 0.8}, {"seed": 1, "loop": 0.7}, {"seed": 2, "loop": 0.9}],
        "cpd": [
            {"seed": 3, "loop": 0.1},
            {"seed": 0, "loop": 0.5},
            {"seed": 1, "loop": 0.5},
            {"seed": 2, "loop": 0.5},
        ],
    }
    mean, low, high = standings.ahead(standings.Standing(trained), "cpd", "loop") or (0, 0, 0)
    assert mean == pytest.approx(0.3)
    assert (low, high) == pytest.approx((0.3 - 4.3027 * 0.1 / 3**0.5, 0.3 + 4.3027 * 0.1 / 3**0.5), abs=1e-4)
    alone = standings.Standing(trained | {"tvts": trained["tvts"][:1]})
    assert standings.ahead(alone, "cpd", "loop") is None


def test_what_is_published_is_drawn_from_its_table(tmp_path: Path) -> None:
    """docs/compare.md and docs/compare.png come from docs/compare.csv alone."""
    docs = PROJECT / "docs"
    table = tmp_path / "compare.csv"
    shutil.copy(docs / "compare.csv", table)
    markdown, bars = standings.draw(table, "full", contest.PRESETS["full"])
    assert markdown.read_text(encoding="utf-8") == (docs / "compare.md").read_text(encoding="utf-8")
    with Image.open(bars) as drawn, Image.open(docs / "compare.png") as published:
        assert drawn.size == published.size
    text = markdown.read_text(encoding="utf-8")
    assert "66 of its 66 trainings" in text and not re.search(r"\b(contrastive|undo|masked_pixels|joint)\b", text)


@pytest.mark.parametrize(
    ("changed", "problem"), [(("tvts,0,2400", "tvts,0,x"), "damaged in line 2"), (("seed", "sead"), "no table of a")]
)
def test_a_damaged_table_is_named(tmp_path: Path, changed: tuple[str, str], problem: str) -> None:
    table = tmp_path / "table.csv"
    table.write_text((PROJECT / "docs" / "compare.csv").read_text().replace(*changed))
    with pytest.raises(InputError, match=rf"table\.csv is {problem}"):
        standings.draw(table, "full", contest.PRESETS["full"])
    assert not table.with_suffix(".md").exists()
