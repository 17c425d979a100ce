"""Two models on the same items: what is compared, what is refused, and the answer in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.experiments import better, outcomes
from scriptsight import statistics
from scriptsight.cli import main
from scriptsight.errors import InputError
from tests.flows.outcomes import hits, write_probe, write_retrieve


def model(folder: Path, name: str, share: float, **columns: Any) -> outcomes.Model:
    write_probe(folder / name / "probe", linear_top1=hits(share), **columns)
    return outcomes.read(folder / name, name)


def test_figures_are_those_of_the_metrics_files(tmp_path: Path) -> None:
    write_probe(tmp_path / "probe", linear_top1=[1, 0, 1], v2v_r1=["1", "", "0"])
    write_probe(tmp_path / "probe", test="ucf101", append=True, linear_top1=[0, 0, 1], v2v_r1=[1, 1, 1])
    write_retrieve(tmp_path / "retrieve", t2v=[1, 3, 7, 20], v2t=[2, 2, 1, 11])
    figures = outcomes.read(tmp_path, "all").figures
    shares = {name: (sum(items.values()), len(items)) for name, items in figures.items()}
    assert shares == {
        "linear_top1": (2, 3),
        "v2v_r1": (1, 2),  # one clip was not measured
        "ucf101/linear_top1": (1, 3),
        "ucf101/v2v_r1": (3, 3),
        "t2v/r1": (1, 4),
        "t2v/r5": (2, 4),
        "t2v/r10": (3, 4),
        "v2t/r1": (1, 4),
        "v2t/r5": (3, 4),
        "v2t/r10": (3, 4),
    }


def test_the_answer_is_that_of_the_paired_test(tmp_path: Path) -> None:
    """Rows in another order are the same items."""
    first = model(tmp_path, "a", 0.4, knn_top1=hits(0.5, seed=1))
    one, other = hits(0.5), hits(0.5, seed=2)
    order = np.random.default_rng(7).permutation(200)
    write_probe(tmp_path / "b" / "probe", order=order, linear_top1=one, knn_top1=other)
    answer = better.compare(first, outcomes.read(tmp_path / "b", "b"), "linear_top1")
    assert answer.compared["linear_top1"] == statistics.compare(hits(0.4), one)
    assert answer.compared["knn_top1"] == statistics.compare(hits(0.5, seed=1), other)
    assert answer.better and (answer.verdict("linear_top1"), answer.verdict("knn_top1")) == ("better", "can't tell")
    text = str(answer)
    assert "Is the second better, by linear_top1? Yes." in text and "50.0% against 40.0% of 200 items" in text
    back = better.compare(answer.second, answer.first, "linear_top1")
    assert not back.better and "No, it is worse." in str(back)


def test_a_difference_that_chance_makes_is_none(tmp_path: Path) -> None:
    answer = better.compare(model(tmp_path, "a", 0.5), model(tmp_path, "b", 0.515), "linear_top1")
    assert not answer.better and "No difference can be shown." in str(answer)


def test_one_of_many_figures_must_differ_more(tmp_path: Path) -> None:
    """p of 0.01, 0.02, 0.03 and 0.5 become 0.04, 0.06, 0.06 and 0.5 by Holm's rule."""
    assert statistics.holm({"a": 0.03, "b": 0.01, "c": 0.5, "d": 0.02}) == {"b": 0.04, "d": 0.06, "a": 0.06, "c": 0.5}
    noise = {f"noise{n}": [*hits(0.5, 193), *([0] * 7)] for n in range(4)}
    more = {f"noise{n}": [*hits(0.5, 193), *([1] * 7)] for n in range(4)}  # 7 discordant: p = 0.016 each
    first, second = model(tmp_path, "a", 0.5, **noise), model(tmp_path, "b", 0.5, **more)
    answer = better.compare(first, second, "linear_top1")
    assert answer.compared["noise0"].p_value == pytest.approx(2 / 2**7)
    assert answer.verdict("noise0") == "can't tell"
    assert better.compare(first, second, "noise0").better  # asked for first of all, it stands alone


def test_captions_of_one_video_are_one_piece_of_evidence(tmp_path: Path) -> None:
    for name, ranks in (("a", [2] * 60), ("b", [1] * 60)):  # 60 captions of 3 videos, which the second finds
        write_retrieve(tmp_path / name / "retrieve", captions=20, t2v=ranks, v2t=[1, 1, 1])
        write_probe(tmp_path / name / "probe", linear_top1=[1, 0, 1])
    answer = better.compare(outcomes.read(tmp_path / "a", "a"), outcomes.read(tmp_path / "b", "b"), "t2v/r1")
    assert (answer.compared["t2v/r1"].groups, answer.compared["t2v/r1"].p_value) == (3, 0.25)
    assert not answer.better


def test_other_items_are_refused_and_how_they_differ_is_said(tmp_path: Path) -> None:
    first = model(tmp_path, "a", 0.4)
    write_probe(tmp_path / "b" / "probe", linear_top1=hits(0.4)[:150])
    with pytest.raises(InputError, match=r"200 items against 150; 50 only of the first, such as 'probe 0 c/v150/0"):
        better.compare(first, outcomes.read(tmp_path / "b", "b"), "linear_top1")
    write_probe(tmp_path / "c" / "probe", labels=["jump"] * 200, linear_top1=hits(0.4))
    with pytest.raises(InputError, match=r"200 only of the first, .*200 only of the second, such as .* jump'"):
        better.compare(first, outcomes.read(tmp_path / "c", "c"), "linear_top1")
    with pytest.raises(InputError, match=r"no outcomes of 'v2v_r1' \(it has: linear_top1\)"):
        better.compare(first, first, "v2v_r1")
    for name in ("a", "d"):
        write_retrieve(tmp_path / name / "retrieve", t2v=[1, 2, 3], v2t=[1, 1, 1], words=name)
    write_probe(tmp_path / "d" / "probe", linear_top1=hits(0.6))
    answer = better.compare(outcomes.read(tmp_path / "a", "a"), outcomes.read(tmp_path / "d", "d"), "linear_top1")
    assert answer.better and "v2t/r1" in answer.compared
    assert "3 only of the first" in answer.left_out["t2v/r1"] and "Left out: t2v/r1" in str(answer)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("test,fold,segment_id,label,linear_top1\np,0,a,x,2\n", "neither 0 nor 1"),
        ("direction,query,rank\nt2v,a,first\n", "damaged"),
        ("direction,query,rank\nt2v,a\n", "damaged"),
        ("a,b\n1,2\n", "no table of outcomes: its columns are a, b"),
        ("", "its columns are none"),
    ],
)
def test_a_damaged_table_is_named(tmp_path: Path, content: str, problem: str) -> None:
    (tmp_path / "outcomes.csv").write_text(content)
    with pytest.raises(InputError, match=rf"outcomes\.csv.*{problem}"):
        outcomes.read(tmp_path, "it")


def test_the_command_compares_two_folders(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model(Path("last"), "plots", 0.4)
    model(Path("today"), "plots", 0.6)
    assert main(["better", "last/plots", "today/plots"]) == 0
    said = capsys.readouterr().out
    assert "Is the second better, by linear_top1? Yes." in said
    assert Path("plots/better/better.md").read_text() in said
    assert Path("plots/better/better.png").read_bytes().startswith(b"\x89PNG")
    for named, why in ((["last/plots"], "no champion"), (["last/plots", "nothing"], "'nothing' is no MLflow run")):
        with pytest.raises(SystemExit, match=why):
            main(["better", *named])
    with pytest.raises(SystemExit, match="No MLflow run has outcomes"):
        main(["better"])


def test_segments_of_one_video_are_one_piece_of_evidence(tmp_path: Path) -> None:
    """Ten videos of which the second model gets every segment right are ten pieces, however they were cut."""
    for name, hit in (("first", 0), ("second", 1)):
        (tmp_path / name).mkdir()
        rows = [f"actions,actions,actions/v{i}/{part},walk,{hit}" for i in range(10) for part in range(3)]
        text = "test,fold,segment_id,label,linear_top1\n" + "\n".join(rows) + "\n"
        (tmp_path / name / "outcomes.csv").write_text(text)
    first, second = (outcomes.read(tmp_path / name, name) for name in ("first", "second"))
    answer = better.compare(first, second, "linear_top1")
    assert (answer.compared["linear_top1"].items, answer.compared["linear_top1"].groups) == (30, 10)
    assert answer.p_values["linear_top1"] == pytest.approx(2 / 2**10)


def test_clips_of_one_recording_are_one_piece_of_evidence(tmp_path: Path) -> None:
    """Forty clips of eight films are eight pieces: none of them comes in two folds of a test as two, either."""
    header = "test,fold,segment_id,label,recording,linear_top1\n"
    for name, hit in (("first", 0), ("second", 1)):
        (tmp_path / name).mkdir()
        rows = [
            f"hmdb,hmdb_{fold},hmdb_{fold}/v{i}/0,sit,hmdb51/film {i // 5},{hit}"
            for fold in (1, 2)
            for i in range(40)
        ]
        (tmp_path / name / "outcomes.csv").write_text(header + "\n".join(rows) + "\n")
    first, second = (outcomes.read(tmp_path / name, name) for name in ("first", "second"))
    found = better.compare(first, second, "linear_top1").compared["linear_top1"]
    assert (found.items, found.groups) == (80, 8)
    assert found.p_value == pytest.approx(2 / 2**8)
    assert "80 items of 8 recordings" in str(found)


def test_clips_of_a_recording_that_find_their_text_are_one_piece_of_evidence(tmp_path: Path) -> None:
    for name, rank in (("first", 2), ("second", 1)):
        (tmp_path / name).mkdir()
        rows = [f"t2v,c/v{i}/0#w{i},{rank},youtube/{i // 4}" for i in range(24)]
        rows += [f"v2t,c/v{i}/0,{rank}," for i in range(24)]  # not known: each video is one
        (tmp_path / name / "outcomes.csv").write_text("\n".join(["direction,query,rank,recording", *rows]) + "\n")
    first, second = (outcomes.read(tmp_path / name, name) for name in ("first", "second"))
    compared = better.compare(first, second, "t2v/r1").compared
    assert (compared["t2v/r1"].groups, compared["v2t/r1"].groups) == (6, 24)
    assert compared["t2v/r1"].p_value == pytest.approx(2 / 2**6)
