import csv
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from scriptsight import clips, features, overlap, retrieve
from scriptsight.errors import InputError
from scriptsight.files import digest
from scriptsight.models import bundle
from scriptsight.models.bundle import Encoder
from scriptsight.params.retrieve import RetrieveParams
from scriptsight.reporting import ConsoleReporter
from scriptsight.retrieve import index as indexes
from scriptsight.retrieve import layout, pictures
from scriptsight.segments import Segment, Segments
from scriptsight.statistics import interval
from tests import small
from tests.retrieve.conftest import COLOURS, split_rows


class Listener(ConsoleReporter):
    """Keeps the lines that a stage says, and what it published."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.artifacts: list[Path] = []

    def message(self, text: str) -> None:
        self.lines.append(text)

    def artifact(self, path: Path) -> None:
        self.artifacts.append(path)


@pytest.fixture
def plain(chosen: RetrieveParams, monkeypatch: pytest.MonkeyPatch) -> RetrieveParams:
    """The same with small pictures, for tests of other things."""
    monkeypatch.setattr(retrieve, "SHOWN", 1)
    monkeypatch.setattr(pictures, "DRAWN", 1)
    monkeypatch.setattr(pictures, "WRONG", 2)
    return chosen.model_copy(update={"queries": (), "top": 1})


def run(
    workspace: Path, chosen: RetrieveParams, name: str = "out", reporter: ConsoleReporter | None = None
) -> retrieve.Result:
    return retrieve.run(
        chosen,
        segments=workspace / "segments",
        catalogue=workspace / "catalogue",
        bundle=workspace / "model",
        index=workspace / name / "index",
        judgements=workspace / "judgements.db",
        metrics=workspace / name / "retrieve.json",
        plots=workspace / name / "plots",
        work_root=workspace / "work" / name,
        reporter=reporter or ConsoleReporter(),
    )


def moments(folder: Path) -> pa.Table:
    with pa.memory_map(str(folder / "moments.arrow")) as source:
        return pa.ipc.open_file(source).read_all()


def test_run_writes_metrics_index_and_pictures_and_repeats_to_the_byte(
    workspace: Path, plain: RetrieveParams
) -> None:
    asked = plain.model_copy(update={"queries": ("the red circle", "costs $5 and $6_x")})
    listener = Listener()
    result = run(workspace, asked, reporter=listener)
    written = json.loads((workspace / "out" / "retrieve.json").read_text())
    assert written == result.metrics
    assert list(written) == ["t2v", "v2t", "protocol", "gallery", "texts", "recordings", "chance_r1"]
    recalls = ["r1", "r5", "r10", "r50"]
    limits = [f"{recall}_{side}" for recall in recalls for side in ("low", "high")]
    assert list(written["t2v"]) == list(written["v2t"]) == [*recalls, "median_rank", "mean_rank", *limits]
    assert all(written["t2v"][f"{r}_low"] <= written["t2v"][r] <= written["t2v"][f"{r}_high"] for r in recalls)
    assert (written["gallery"], written["texts"], written["chance_r1"]) == (
        5,
        5,
        0.2,
    )  # the silent one is not asked for
    assert len(moments(workspace / "out" / "index")) == 11  # but it is found
    assert listener.artifacts == list(result.artifacts)
    run(workspace, asked, "again")
    run(workspace, asked, "again")  # now with an index that has everything already
    files = [path.relative_to(workspace / "out") for path in (workspace / "out").rglob("*") if path.is_file()]
    assert sorted(map(str, files)) == [
        "index/coarse.npy",
        "index/config.json",
        "index/embeddings.npy",
        "index/moments.arrow",
        "index/words.db",
        "plots/failures.csv",
        "plots/failures.png",
        "plots/moments.png",
        "plots/outcomes.csv",
        "plots/ranks.png",
        "retrieve.json",
    ]
    for file in files:
        assert digest(workspace / "out" / file) == digest(workspace / "again" / file), file


@pytest.mark.parametrize("dual_softmax", [None, 0.05])
def test_measuring_alone_gives_the_figures_of_the_stage_and_writes_nothing(
    workspace: Path, plain: RetrieveParams, dual_softmax: float | None
) -> None:
    asked = plain.model_copy(update={"dual_softmax": dual_softmax, "more_collections": ("clips",)})
    others = [small.segment(f"clip{i}", label="wave", colour=(i * 40, 9, 9)) for i in range(3)]
    small.write_segments(workspace / "segments", "clips", "test", others)
    of_stage = run(workspace, asked).metrics
    before = sorted(workspace.rglob("*"))
    for encoder in (workspace / "model", bundle.load(workspace / "model")):
        assert retrieve.measure(encoder, asked, segments=workspace / "segments") == of_stage
    assert sorted(workspace.rglob("*")) == before
    with pytest.raises(InputError, match=r"No segments of collection 'none'"):
        retrieve.measure(workspace / "model", asked.model_copy(update={"collection": "none"}), segments=workspace)


def test_metrics_equal_a_naive_loop_over_encoded_segments(workspace: Path, plain: RetrieveParams) -> None:
    encoder = bundle.load(workspace / "model")
    spoken = [segment for segment in Segments(workspace / "segments", "c", "test") if segment.cues]
    videos = [encoder.encode_video(_frames(segment))[0].double() for segment in spoken]
    texts = [encoder.encode_scripts([[cue.text for cue in segment.cues]])[0].double() for segment in spoken]
    measured = run(workspace, plain).metrics
    for way, queries, gallery in (("t2v", texts, videos), ("v2t", videos, texts)):
        ranks = [
            1 + sum(float(query @ other) >= float(query @ gallery[i]) for j, other in enumerate(gallery) if j != i)
            for i, query in enumerate(queries)
        ]
        found = measured[way]
        assert (found["median_rank"], found["mean_rank"]) == (np.median(ranks), np.mean(ranks))
        assert found["r1"] == np.mean([rank <= 1 for rank in ranks])


def _frames(segment: Segment) -> torch.Tensor:
    return torch.from_numpy(clips.views(segment, clips.View(), 4, 16))


def test_failures_are_listed_worst_first(workspace: Path, plain: RetrieveParams) -> None:
    result = run(workspace, plain)
    with (workspace / "out" / "plots" / "failures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = [int(row["rank"]) for row in rows]
    assert found == sorted(found, reverse=True) and min(found) > 1
    assert len(found) == round(5 * (1 - result.metrics["t2v"]["r1"]))  # all that are not first
    assert 5 * result.metrics["t2v"]["mean_rank"] == sum(found) + 5 - len(found)
    for row in rows:
        assert row["segment"] != row["found_segment"] and float(row["found_score"]) >= float(row["score"])
        assert row["text"].startswith("the ") and row["segment"].split("/")[1].split("-")[1] in row["text"]


def test_outcomes_name_each_query_and_its_rank(workspace: Path, plain: RetrieveParams) -> None:
    measured = run(workspace, plain).metrics
    with (workspace / "out" / "plots" / "outcomes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({(row["direction"], row["query"]) for row in rows}) == len(rows) == 10
    for direction in ("t2v", "v2t"):
        ranks = [int(row["rank"]) for row in rows if row["direction"] == direction]
        assert np.mean(np.array(ranks) <= 1) == measured[direction]["r1"]
        assert np.mean(ranks) == measured[direction]["mean_rank"]
    videos = [row["query"] for row in rows if row["direction"] == "v2t"]
    assert sorted(videos) == sorted(f"small/test-{name}/0" for name in COLOURS)
    assert [row["query"].partition("#")[0] for row in rows[:5]] == videos
    changed = split_rows("test")
    changed[0] = small.segment("test-red", colour=COLOURS["red"], texts=["another text"])
    small.write_segments(workspace / "segments", "c", "test", changed)
    run(workspace, plain, "changed")
    with (workspace / "changed" / "plots" / "outcomes.csv").open(newline="") as file:
        again = [row["query"] for row in csv.DictReader(file)]
    assert [a == row["query"] for a, row in zip(again, rows, strict=True)] == [False] + 9 * [True]


def test_dual_softmax_is_beside_the_figures_not_in_them(workspace: Path, plain: RetrieveParams) -> None:
    alone = run(workspace, plain).metrics
    both = run(workspace, plain.model_copy(update={"dual_softmax": 0.05})).metrics
    assert {name: both[name] for name in alone} == alone
    assert both["dual_softmax"]["temperature"] == 0.05
    assert list(both["dual_softmax"]["t2v"]) == list(alone["t2v"])


def test_a_split_that_is_too_small_is_not_measured_and_what_there_is_can_be_found(
    workspace: Path, plain: RetrieveParams
) -> None:
    """One text, no shard at all, and no query either: the index is made, and words say what is missing."""
    small.write_segments(workspace / "segments", "c", "test", [small.segment("a", texts=["one"]), small.segment("b")])
    for name, size, why in (
        ("one", 7, r"c/test has 1 segments with text.*retrieve\.split"),
        ("none", 5, "c/test has no segments"),
    ):
        listener = Listener()
        result = run(workspace, plain, name, listener)
        assert json.loads((workspace / name / "retrieve.json").read_text()) == result.metrics == {}
        assert len(moments(workspace / name / "index")) == size
        assert [path.name for path in (workspace / name / "plots").iterdir()] == ["not_measured.txt"]
        (told,) = [line for line in listener.lines if line.startswith("No figures of retrieval")]
        assert re.search(why, told)
        with pytest.raises(InputError, match=r"with text|No segments of collection"):
            retrieve.measure(workspace / "model", plain, segments=workspace / "segments")
        shutil.rmtree(workspace / "segments" / "c" / "test", ignore_errors=True)
    assert "c has no segments in test: the index has none of these" in listener.lines
    asked = plain.model_copy(update={"queries": ("the red circle",)})
    assert [path.name for path in run(workspace, asked, "asked").artifacts] == ["moments.png"]


def test_what_else_the_index_holds_changes_no_figure_and_no_picture_of_answers(
    workspace: Path, plain: RetrieveParams
) -> None:
    """Training videos can be found, and flatter nobody."""
    rows = [small.segment(f"train-{name}", colour=colour, texts=[name]) for name, colour in COLOURS.items()]
    small.write_segments(workspace / "segments", "c", "train", rows)
    asked = plain.model_copy(update={"queries": ("the red circle",), "top": 2})
    results = [
        run(workspace, asked.model_copy(update={"index_splits": splits}), "-".join(splits))
        for splits in (("test",), ("train", "val", "test"))
    ]
    assert [len(moments(workspace / name / "index")) for name in ("test", "train-val-test")] == [6, 16]
    assert results[0].metrics == results[1].metrics
    for one, other in zip(results[0].artifacts, results[1].artifacts, strict=True):
        assert digest(one) == digest(other), one


def test_captions_serve_where_there_are_no_cues(workspace: Path, plain: RetrieveParams) -> None:
    rows = [small.segment(name, captions=[f"the {name} circle"]) for name in ("red", "blue", "green")]
    small.write_segments(workspace / "segments", "c", "test", rows)
    assert run(workspace, plain).metrics["gallery"] == 3


def test_protocols_of_captions(workspace: Path, plain: RetrieveParams) -> None:
    counts = {"red": 3, "blue": 1, "green": 2}
    rows = [
        small.segment(name, colour=(i * 90,) * 3, captions=[f"the {name} circle {j}" for j in range(count)])
        for i, (name, count) in enumerate(counts.items())
    ]
    small.write_segments(workspace / "segments", "c", "test", [*rows, small.segment("mute", title="no caption")])
    each = run(workspace, plain.model_copy(update={"protocol": "captions"})).metrics
    assert (each["gallery"], each["texts"], each["protocol"]) == (3, 6, "captions")
    joined = run(workspace, plain.model_copy(update={"protocol": "paragraphs"})).metrics
    assert (joined["gallery"], joined["texts"]) == (3, 3)


def test_the_index_takes_more_collections_with_the_splits_they_have(workspace: Path, plain: RetrieveParams) -> None:
    rows = [small.segment(f"clip{i}", label="wave", colour=(i * 40, 9, 9)) for i in range(3)]
    small.write_segments(workspace / "segments", "clips", "test", rows)
    run(workspace, plain.model_copy(update={"more_collections": ("clips",)}))
    table = moments(workspace / "out" / "index")
    assert table["collection"].to_pylist() == ["c"] * 11 + ["clips"] * 3
    with pytest.raises(InputError, match="No segments of collection 'none'"):
        run(workspace, plain.model_copy(update={"more_collections": ("none",)}))


def test_languages_come_from_the_catalogue_and_their_absence_is_said(workspace: Path, plain: RetrieveParams) -> None:
    run(workspace, plain)
    table = moments(workspace / "out" / "index")
    spoken = dict(zip(table["segment_id"].to_pylist(), table["language"].to_pylist(), strict=True))
    assert {name for name, language in spoken.items() if language == "fr"} == {
        "small/val-blue/0",
        "small/test-blue/0",
    }
    (workspace / "catalogue" / "videos.parquet").unlink()
    listener = Listener()
    run(workspace, plain, reporter=listener)
    assert any("no catalogue" in line and "languages" in line for line in listener.lines)


def test_only_new_and_changed_segments_are_embedded(
    workspace: Path, plain: RetrieveParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes, "CHECKED", 2)
    run(workspace, plain)
    before = np.load(workspace / "out" / "index" / "embeddings.npy")
    rows = split_rows("test")
    rows[0] = small.segment("test-red", colour=(90, 1, 200), texts=["the red circle"])  # same id, other frames
    rows.insert(2, small.segment("new", colour=(3, 99, 3), texts=["a new one"]))
    small.write_segments(workspace / "segments", "c", "test", rows)
    encoded: list[str] = []
    extract = features.extract

    def counting(encoder: Encoder, segments: Segments, *given: Any, **asked: Any) -> dict[str, np.ndarray]:
        wanted = given[3]
        encoded.extend(segments[row].segment_id for row in wanted)
        return extract(encoder, segments, *given, **asked)

    monkeypatch.setattr(features, "extract", counting)
    listener = Listener()
    run(workspace, plain, reporter=listener)
    assert encoded[2:] == ["small/test-red/0", "small/new/0"]  # after the two that were checked
    assert "10 of 12 segments were in the index already" in listener.lines
    after = np.load(workspace / "out" / "index" / "embeddings.npy")
    assert (after[:5] == before[:5]).all() and (after[8:] == before[7:]).all() and (after[5] != before[5]).any()
    monkeypatch.undo()
    run(workspace, plain, "afresh")
    np.testing.assert_allclose(after, np.load(workspace / "afresh" / "index" / "embeddings.npy"), atol=1e-6)


def test_an_index_that_dvc_removed_is_made_from_the_one_that_was_kept(workspace: Path, plain: RetrieveParams) -> None:
    """DVC removes outputs before a stage runs. What was kept takes no room, and no damage from a later index."""
    run(workspace, plain)
    index, kept = workspace / "out" / "index", workspace / "work" / "out" / "index"
    before = {file.name: file.read_bytes() for file in index.iterdir()}
    assert all((kept / name).samefile(index / name) for name in before)
    shutil.rmtree(index)
    listener = Listener()
    run(workspace, plain, reporter=listener)
    assert "11 of 11 segments were in the index already" in listener.lines
    assert {file.name: file.read_bytes() for file in index.iterdir()} == before
    small.tiny_bundle(workspace / "model", seed=5)  # another model takes nothing from either
    shutil.rmtree(index)
    listener = Listener()
    run(workspace, plain, reporter=listener)
    assert not any("already" in line for line in listener.lines)


def test_old_vectors_that_no_longer_come_out_are_all_made_again(workspace: Path, plain: RetrieveParams) -> None:
    run(workspace, plain)
    path = workspace / "out" / "index" / "embeddings.npy"
    right = np.load(path)
    np.save(path, -right)  # as another version of the code might have made them
    listener = Listener()
    run(workspace, plain, reporter=listener)
    assert not any("already" in line for line in listener.lines)
    assert (np.load(path) == right).all()


def test_another_model_takes_nothing_over(workspace: Path, plain: RetrieveParams) -> None:
    run(workspace, plain)
    small.tiny_bundle(workspace / "model", seed=5)
    listener = Listener()
    run(workspace, plain, reporter=listener)
    assert not any("already" in line for line in listener.lines)


def test_the_map_puts_what_looks_alike_together(
    workspace: Path, plain: RetrieveParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("umap")
    names = ("red", "green", "blue")
    rows = [
        small.segment(f"v{i}", colour=COLOURS[names[i % 3]], label=f"${names[i % 3]}_", seed=i, texts=[f"circle {i}"])
        for i in range(45)
    ]
    small.write_segments(workspace / "segments", "c", "test", rows)
    drawn: dict[str, Any] = {}
    draw = pictures.corpus_map

    def keeping(points: np.ndarray, moments: list[dict[str, Any]], total: int, path: Path) -> None:
        drawn.update(points=points, labels=np.array([moment["label"] for moment in moments]), total=total)
        draw(points, moments, total, path)

    monkeypatch.setattr(pictures, "corpus_map", keeping)
    result = run(workspace, plain.model_copy(update={"map_points": 42, "index_splits": ("test",)}))
    assert result.artifacts[-1].name == "map.png" and result.artifacts[-1].stat().st_size > 1000
    points, labels = drawn["points"], drawn["labels"]
    assert points.shape == (42, 2) and drawn["total"] == 45
    kept = pq.read_table(result.artifacts[-1].with_suffix(".parquet"))  # for the map on the page
    assert np.array_equal(np.stack([kept["x"].to_numpy(), kept["y"].to_numpy()], axis=1), points)
    assert [name.split("/")[1] for name in kept["segment_id"].to_pylist()][:2] == ["v0", "v1"]
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert np.mean(labels[distances.argmin(axis=1)] == labels) > 0.9


def test_without_umap_the_map_is_left_out_and_that_is_said(
    workspace: Path, plain: RetrieveParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "installed", lambda: False)
    listener = Listener()
    result = run(workspace, plain.model_copy(update={"map_points": 50}), reporter=listener)
    assert not any(path.name == "map.png" for path in result.artifacts)
    assert any("pip install 'scriptsight[search]'" in line for line in listener.lines)


def test_neighbours_of_the_layout_are_the_nearest() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 5)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[7] = vectors[3]  # equals: each is its own first neighbour
    rows, distances = layout.neighbours(vectors, 4)
    assert rows[:, 0].tolist() == list(range(50)) and rows[3, 1] == 7 and rows[7, 1] == 3
    expected = np.sort(1 - vectors @ vectors.T, axis=1)[:, 1:4]
    np.testing.assert_allclose(distances[:, 1:], expected.clip(0), atol=1e-6)


def test_intervals_redraw_recordings_and_what_the_model_learned_from_is_told(
    workspace: Path, plain: RetrieveParams
) -> None:
    rows = [
        replace(small.segment(f"{i}", captions=[f"clip {i}", f"piece {i}"], seed=i), recording=f"film {i // 2}")
        for i in range(12)
    ]
    small.write_segments(workspace / "segments", "c", "test", rows)
    small.write_segments(workspace / "segments", "talks", "train", [replace(rows[0], video_id="else")])
    learned = overlap.videos([("talks", Segments(workspace / "segments", "talks", "train"))])
    overlap.write(workspace / "model", learned)
    listener = Listener()
    found = run(workspace, plain.model_copy(update={"protocol": "captions"}), reporter=listener).metrics
    assert (found["gallery"], found["texts"], found["recordings"]) == (12, 24, 6)
    assert found["overlap"]["same_recording"] == found["overlap"]["learned_from"] == 2
    assert any(line.startswith("WARNING: 2 of the 12 videos of c/test") for line in listener.lines)
    with (workspace / "out" / "plots" / "outcomes.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    for direction in ("t2v", "v2t"):
        own = [row for row in table if row["direction"] == direction]
        groups = np.unique([row["recording"] for row in own], return_inverse=True)[1]
        hits = np.array([int(row["rank"]) <= 5 for row in own])
        assert (found[direction]["r5_low"], found[direction]["r5_high"]) == interval(hits, groups)
