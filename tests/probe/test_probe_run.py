import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows import parameters
from scriptsight import catalogue, overlap, probe
from scriptsight.catalogue import Video
from scriptsight.errors import InputError
from scriptsight.files import digest
from scriptsight.models import bundle
from scriptsight.params import reading
from scriptsight.params.probe import TAKEN, ProbeParams
from scriptsight.reporting import ConsoleReporter
from scriptsight.segments import Segment, Segments
from scriptsight.statistics import interval
from tests import small

COLOURS = {"red $1$": (220, 40, 40), "green": (40, 220, 40), "blue": (40, 40, 220)}
SECTION = reading.read_yaml(small.PROJECT / "params.yaml")["probe"]
FIVE = ["linear_top1", "knn_top1", "v2v_r1", "v2v_r5", "v2v_r10"]
FLOORS = ["chance", "chances", "classes", "train", "test", "recordings"]


def chosen(tests: dict[str, Any] | None = None, **keys: Any) -> ProbeParams:
    """The project's own section, with quick protocols."""
    changes = {
        "tests": tests or {"c": {"collections": ["c"]}},
        "protocols": ["linear", "knn", "video_to_video"],
        "knn": {"k": 5, "temperature": 0.07},
        "batch": 8,
        "seed": 1,
    }
    return ProbeParams.model_validate(SECTION | changes | keys)


def limits(names: Sequence[str]) -> list[str]:
    return [f"{name}{end}" for name in names for end in ("", "_low", "_high")]


def labelled(split: str, each: int, labels: Sequence[str] = tuple(COLOURS)) -> list[Segment]:
    return [
        small.segment(f"{split}-{label}-{i}", colour=COLOURS[label], label=label, seed=len(split) * 1000 + i)
        for label in labels
        for i in range(each)
    ]


def brightness(split: str, count: int) -> list[Segment]:
    """Clips that get brighter or darker step by step, round and round from every phase, in twins of which one is
    the other backwards: neither the first frame nor all of them without their order say which."""
    rows = []
    for number in range(count):
        steps = (np.array([0, 0, 1, 2, 3, 3]) + number) % 4  # of the six frames a model sees four: 0, 2, 3 and 5
        frames = [
            small.frames((40 + 55 * step,) * 3, count=1, seed=len(split) * 1000 + 10 * number + i)[0]
            for i, step in enumerate(steps)
        ]
        for label, shown in (("brighter", frames), ("darker", frames[::-1])):
            rows.append(replace(small.segment(f"{split}-{label}-{number}", label=label), frames=shown))
    return rows


class Listener(ConsoleReporter):
    """Keeps what a stage says."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.artifacts: list[Path] = []

    def message(self, text: str) -> None:
        self.said.append(text)

    def artifact(self, path: Path) -> None:
        self.artifacts.append(path)


def run(
    tmp_path: Path, *, name: str = "out", section: ProbeParams | None = None, listener: Listener | None = None
) -> probe.Result:
    if not (tmp_path / "model").exists():
        small.tiny_bundle(tmp_path / "model")
    return probe.run(
        section or chosen(),
        segments=tmp_path / "segments",
        catalogue=tmp_path / "catalogue",
        bundle=tmp_path / "model",
        metrics=tmp_path / name / "probe.json",
        plots=tmp_path / name / "plots",
        store=tmp_path / "features",
        checkpoints=tmp_path / "checkpoints",
        reporter=listener or Listener(),
    )


def write(tmp_path: Path, train: Sequence[Segment], test: Sequence[Segment], collection: str = "c") -> None:
    small.write_segments(tmp_path / "segments", collection, "train", train)
    small.write_segments(tmp_path / "segments", collection, "test", test)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_run_writes_metrics_pictures_and_tables_and_repeats_to_the_byte(tmp_path: Path) -> None:
    write(tmp_path, labelled("train", 6), labelled("test", 4))
    listener = Listener()
    result = run(tmp_path, listener=listener)
    written = json.loads((tmp_path / "out" / "probe.json").read_text())
    assert written == result.metrics
    assert list(written) == [*limits(FIVE), "order", "random_init", *FLOORS]
    assert list(written["random_init"]) == limits(FIVE)
    assert written["linear_top1"] == 1  # colours are easy
    assert written["order"]["first_frame_top1"] == 1  # without any order
    assert written["order"]["gain"] == written["order"]["needs_order"] == 0
    assert (written["classes"], written["train"], written["test"]) == (3, 18, 12)
    assert written["chance"] == pytest.approx(1 / 3)
    files = sorted((tmp_path / "out" / "plots").iterdir())
    assert [path.name for path in files] == [
        "classes.csv",
        "classes.png",
        "comparison.png",
        "confusion.png",
        "order.png",
        "outcomes.csv",
    ]
    assert sorted(listener.artifacts) == sorted(result.artifacts) == files
    again = run(tmp_path, name="again")
    for one in ("probe.json", *(f"plots/{path.name}" for path in files)):
        assert digest(tmp_path / "out" / one) == digest(tmp_path / "again" / one), one
    assert again.weights == digest(tmp_path / "model" / "model.safetensors")


def test_every_protocol_has_a_figure_its_control_and_its_outcomes(tmp_path: Path) -> None:
    write(tmp_path, labelled("train", 6), labelled("test", 4))
    section = chosen(
        protocols=[*SECTION["protocols"], "finetune"],
        sgd=SECTION["sgd"] | {"epochs": 5, "warmup_epochs": 1},
        attentive=SECTION["attentive"] | {"heads": 2, "epochs": 3},
        few_shot={"ways": 2, "shots": [1, 2], "queries": 2, "episodes": 20},
        finetune={"epochs": 2, "batch": 6, "augment_ops": 0, "mixup": 0.0, "cutmix": 0.0, "threads": 1},
    )
    found = run(tmp_path, section=section).metrics
    shares = ["linear_top1", "sgd_top1", "knn_top1", "attentive_top1", "zero_shot_top1", "finetune_top1", *FIVE[2:]]
    for of_encoder in (found, found["random_init"]):
        assert set(limits(shares)) <= set(of_encoder)
        assert list(of_encoder["few_shot"]) == limits(["1_shot_top1", "2_shot_top1"])
    assert found["chances"]["few_shot"] == 0.5
    assert set(found) <= {*limits(shares), *TAKEN}  # another test's name is none of these
    outcomes = table(tmp_path / "out" / "plots" / "outcomes.csv")
    assert list(outcomes[0]) == ["test", "fold", "segment_id", "label", "recording", *shares]
    assert [row["label"] for row in outcomes] == [label for label in COLOURS for _ in range(4)]
    assert outcomes[0]["segment_id"] == "small/test-red $1$-0/0"
    for name in shares:
        hits = np.array([int(row[name]) for row in outcomes])
        assert found[name] == hits.mean()
        assert (found[f"{name}_low"], found[f"{name}_high"]) == interval(hits)


def test_what_needs_order_is_found_where_nothing_else_tells(tmp_path: Path) -> None:
    write(tmp_path, brightness("train", 80), brightness("test", 40))
    pairs = {"c": {"collections": ["c"], "reverses": [["brighter", "darker"]]}}
    found = run(tmp_path, section=chosen(pairs, feature="mean")).metrics
    order, forward = found["order"], found["linear_top1"]
    assert forward > 0.8
    best = max(order["shuffled_top1"], order["first_frame_top1"])
    assert best < 0.7
    assert order["gain"] == pytest.approx(forward - best)
    assert order["gain_low"] > 0.1
    assert order["needs_order"] == pytest.approx(order["gain"] / (forward - 0.5))
    assert order["disturbed"]["reversed_top1"] < 0.2  # played backwards, one is the other
    assert found["reverses"]["played_backwards"] > 0.8
    assert found["reverses"]["direction_top1"] == forward
    rows = table(tmp_path / "out" / "plots" / "reverses.csv")
    assert [(row["class"], row["reverse"], row["n"]) for row in rows] == [
        ("brighter", "darker", "40"),
        ("darker", "brighter", "40"),
    ]
    right, turned = (sum(int(row[key]) for row in rows) for key in ("right", "taken_for_reverse"))
    assert right / 80 == forward
    assert turned / 80 == found["reverses"]["taken_for_reverse"]
    classes = table(tmp_path / "out" / "plots" / "classes.csv")
    gains = [float(row["gain"]) for row in classes]
    assert gains == sorted(gains, reverse=True)
    assert sum(float(row["shuffled"]) for row in classes) / 2 == pytest.approx(order["shuffled_top1"])
    assert (tmp_path / "out" / "plots" / "reverses.png").is_file()


def test_figures_of_folds_are_means_and_a_second_test_has_its_name(tmp_path: Path) -> None:
    noise = [small.segment(f"{i}", label=f"{i % 4}", seed=i) for i in range(96)]
    write(tmp_path, noise[:48], noise[48:72], "one")
    write(tmp_path, noise[:48], noise[60:96], "two")
    write(tmp_path, labelled("train", 3), labelled("test", 2), "colours")
    section = chosen({"noise": {"collections": ["one", "two"]}, "colours": {"collections": ["colours"]}})
    found = run(tmp_path, section=section).metrics
    folds = found["folds"]
    assert [fold["collection"] for fold in folds] == ["one", "two"]
    alone = run(tmp_path, name="alone", section=chosen({"one": {"collections": ["one"]}})).metrics
    assert folds[0]["linear_top1"] == alone["linear_top1"]
    assert found["knn_top1"] == pytest.approx((folds[0]["knn_top1"] + folds[1]["knn_top1"]) / 2)
    assert found["random_init"]["folds"][0]["knn_top1"] == alone["random_init"]["knn_top1"]
    assert found["colours"]["linear_top1"] == 1
    assert list(found["colours"]) == [*limits(FIVE), "order", "random_init", *FLOORS]
    outcomes = table(tmp_path / "out" / "plots" / "outcomes.csv")
    assert [row["fold"] for row in outcomes] == ["one"] * 24 + ["two"] * 36 + ["colours"] * 6
    # Twelve videos are in both folds: what is known of them is no new evidence.
    hits = np.array([int(row["knn_top1"]) for row in outcomes[:60]])
    videos = np.array([int(row["segment_id"].split("/")[1]) for row in outcomes[:60]])
    assert (found["knn_top1_low"], found["knn_top1_high"]) == interval(hits, videos)
    assert {path.name for path in (tmp_path / "out" / "plots").glob("colours-*")} == {
        "colours-classes.png",
        "colours-comparison.png",
        "colours-confusion.png",
        "colours-order.png",
    }


def test_measure_gives_what_run_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, labelled("train", 3), labelled("test", 2), "first")
    write(tmp_path, brightness("train", 10), brightness("test", 6), "second")
    section = chosen({"first": {"collections": ["first"]}, "second": {"collections": ["second"]}})
    written = run(tmp_path, section=section).metrics["second"]
    folders: dict[str, Any] = {
        "segments": tmp_path / "segments",
        "catalogue": tmp_path / "catalogue",
        "reporter": Listener(),
    }
    for encoder in (tmp_path / "model", bundle.load(tmp_path / "model")):
        found = probe.measure(encoder, section, "second", **folders)
        assert found == {name: written[name] for name in found}
        assert "order" in found
    assert not (Path.cwd() / ".features").exists()


def test_the_control_is_the_same_measurement_of_fresh_weights(tmp_path: Path) -> None:
    rows = [small.segment(f"{i}", label=f"{i % 4}", seed=i) for i in range(64)]  # noise: no score is perfect
    write(tmp_path, rows[:32], rows[32:])
    control = run(tmp_path).metrics["random_init"]
    fresh = bundle.random_like(tmp_path / "model", chosen().seed)
    bundle.save(fresh, tmp_path / "model")
    again = run(tmp_path).metrics
    assert {name: again[name] for name in limits(FIVE)} == control


def test_more_views_are_seen(tmp_path: Path) -> None:
    noise = [small.segment(f"{i}", label=f"{i % 4}", seed=i) for i in range(64)]
    write(tmp_path, noise[:32], noise[32:])
    one = chosen(protocols=["video_to_video"])
    two = chosen(protocols=["video_to_video"], test_views={"stretches": 2, "crops": 1})
    assert run(tmp_path, section=one).metrics["v2v_r5"] != run(tmp_path, section=two, name="two").metrics["v2v_r5"]


def test_chance_is_the_largest_class_where_classes_are_unbalanced(tmp_path: Path) -> None:
    write(tmp_path, labelled("train", 3), labelled("test", 3) + labelled("more", 6, ["blue"]))
    assert run(tmp_path).metrics["chance"] == pytest.approx(9 / 15)


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    extra = [small.segment("none-1"), small.segment("none-2", label="")]
    write(tmp_path, labelled("train", 3) + extra, labelled("test", 3))
    listener = Listener()
    found = run(tmp_path, listener=listener, section=chosen(protocols=["linear", "few_shot"])).metrics
    assert found["train"] == 9
    assert "few_shot" not in found
    assert listener.said[0] == "c/train: 2 segments without a label are left out"
    assert "no catalogue of c" in listener.said[1]
    assert "does not say what it learned from" in listener.said[2]
    assert "no 1-shot figure. Few-shot episodes of 5 ways" in listener.said[3]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (labelled("train", 2), [small.segment("a"), small.segment("b")], "c/test has 2 segments and none has"),
        (labelled("train", 2, ["green", "blue"]), labelled("test", 2), r"'train' lacks: red \$1\$.*ingest"),
        (labelled("train", 2, ["green"]), labelled("test", 2, ["green"]), "one class 'green'"),
        (labelled("train", 2), labelled("test", 2) + labelled("train", 1), "share 3 videos.*train-blue-0"),
        (labelled("train", 2), [], "c/test has 0 segments and none has a label"),
    ],
)
def test_splits_that_cannot_be_used_are_refused(
    tmp_path: Path, train: list[Segment], test: list[Segment], message: str
) -> None:
    write(tmp_path, train, test)
    with pytest.raises(InputError, match=message):
        run(tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_copy_of_a_video_under_another_name_is_found_in_the_catalogue(tmp_path: Path) -> None:
    write(tmp_path, labelled("train", 2), labelled("test", 2))
    videos = [
        Video(
            video_id=segment.video_id,
            collection="c",
            split=split,
            uri=segment.uri,
            size=1,
            # The second blue video of either split is one file.
            digest="same" if segment.video_id.endswith("blue-1") else segment.video_id,
            duration=3.0,
            fps=2.0,
            width=16,
            height=16,
            codec="h264",
            has_audio=False,
            label=segment.label,
        )
        for split in ("train", "test")
        for segment in labelled(split, 2)
    ]
    catalogue.write(
        tmp_path / "catalogue", [catalogue.with_cues(sorted(videos, key=lambda video: video.video_id))], []
    )
    with pytest.raises(InputError, match=r"share 1 videos.*test-blue-1 \(the same file as train-blue-1\)"):
        run(tmp_path)


def test_one_split_is_no_probe(tmp_path: Path) -> None:
    write(tmp_path, labelled("train", 2), labelled("test", 2))
    with pytest.raises(InputError, match="share 6 videos"):
        run(tmp_path, section=chosen({"c": {"collections": ["c"], "test_split": "train"}}))


def test_a_split_without_shards_is_named(tmp_path: Path) -> None:
    small.write_segments(tmp_path / "segments", "c", "train", labelled("train", 2))
    with pytest.raises(InputError, match="collection 'c', split 'test'"):
        run(tmp_path)


def test_many_classes_still_make_pictures(tmp_path: Path) -> None:
    labels = [f"class {i}" for i in range(45)]
    COLOURS.update({label: (5 * i, 255 - 5 * i, 90) for i, label in enumerate(labels)})
    write(tmp_path, labelled("train", 2, labels), labelled("test", 1, labels))
    pairs = [list(pair) for pair in zip(labels[::2], labels[1::2], strict=False)]
    assert run(tmp_path, section=chosen({"c": {"collections": ["c"], "reverses": pairs}})).metrics["classes"] == 45


def test_pairs_and_texts_of_classes_that_there_are_not_are_said(tmp_path: Path) -> None:
    write(tmp_path, labelled("train", 3, ["red $1$", "green"]), labelled("test", 2, ["red $1$", "green"]))
    pairs = {"reverses": [["red $1$", "violet"]], "texts": {"green": "is green", "violet": "is violet"}}
    listener = Listener()
    section = chosen({"c": {"collections": ["c"], **pairs}}, protocols=["linear", "zero_shot"])
    found = run(tmp_path, section=section, listener=listener).metrics
    assert "reverses" not in found
    lacking = "names classes that its collections lack, and they are left out: violet"
    assert listener.said[-3:-1] == [f"probe.tests.c.reverses {lacking}", f"probe.tests.c.texts {lacking}"]


@pytest.mark.parametrize(
    ("tests", "message"),
    [
        ({"a": {"collections": ["nowhere"]}}, r"probe\.tests\.a\.collections names 'nowhere', which ingest"),
        ({"a": {"collections": ["actions", "actions"]}}, "collections has a name twice"),
        ({"a": {"collections": ["actions"], "reverses": [["up", "down"], ["up", "left"]]}}, "has 'up' twice"),
        ({"a": {"collections": ["actions"]}, "order": {"collections": ["actions"]}}, "a figure is called so"),
    ],
)
def test_tests_are_checked_before_anything_runs(tests: dict[str, Any], message: str) -> None:
    values = reading.merge(reading.read_yaml(small.PROJECT / "params.yaml"), {"probe": {"tests": tests}})
    with pytest.raises(InputError, match=message):
        parameters.build(values)


def test_a_test_without_a_protocol_is_refused() -> None:
    values = reading.merge(reading.read_yaml(small.PROJECT / "params.yaml"), {"probe": {"protocols": []}})
    with pytest.raises(InputError, match=r"protocols is empty, and there are tests: .* set tests: \{\}"):
        parameters.build(values)


def test_without_labelled_clips_there_is_nothing_to_measure_and_that_is_said(tmp_path: Path) -> None:
    none = chosen().model_copy(update={"tests": {}, "protocols": ()})
    listener = Listener()
    result = run(tmp_path, section=none, listener=listener)
    assert listener.said == ["No labelled clips: nothing to measure (probe.tests is empty)."]
    assert json.loads((tmp_path / "out" / "probe.json").read_text()) == result.metrics == {}
    assert result.weights == bundle.weights_digest(tmp_path / "model")
    assert [path.name for path in (tmp_path / "out" / "plots").iterdir()] == ["not_measured.txt"]
    assert probe.measure(tmp_path / "model", none, reporter=listener) == {}


def test_test_videos_that_the_model_learned_from_are_told_before_the_figures(tmp_path: Path) -> None:
    train = [replace(one, recording=f"film {number}") for number, one in enumerate(labelled("train", 2))]
    test = [
        replace(one, recording="film 0", file_digest=f"{number}") for number, one in enumerate(labelled("test", 2))
    ]
    write(tmp_path, train, [*test[:2], *(replace(one, recording=None) for one in test[2:])])
    small.tiny_bundle(tmp_path / "model")
    learned = [
        replace(small.segment("a"), recording="film 0"),  # of two test clips, which have other names
        replace(small.segment("b"), file_digest="2"),
        small.segment("test-blue-0"),  # of another collection: not the same video
    ]
    small.write_segments(tmp_path / "segments", "talks", "train", learned)
    overlap.write(tmp_path / "model", overlap.videos([("talks", Segments(tmp_path / "segments", "talks", "train"))]))
    listener = Listener()
    found = run(tmp_path, listener=listener, section=chosen(protocols=["knn"])).metrics
    assert found["overlap"] == {
        "measured": 6, "learned_from": 3, "same_id": 0, "same_file": 1, "same_recording": 2,
    }  # fmt: skip
    assert found["recordings"] == 5
    (warning,) = [line for line in listener.said if line.startswith("WARNING")]
    assert "3 of the 6 videos of probe.tests.c are among those that the model learned from" in warning
    own = overlap.videos([("c", Segments(tmp_path / "segments", "c", "test"))])
    overlap.write(tmp_path / "model", own)
    assert run(tmp_path, section=chosen(protocols=["knn"])).metrics["overlap"]["same_id"] == 6


def test_intervals_redraw_recordings(tmp_path: Path) -> None:
    noise = [replace(small.segment(f"{i}", label=f"{i % 2}", seed=i), recording=f"film {i // 6}") for i in range(60)]
    write(tmp_path, noise[:24], noise[24:])
    found = run(tmp_path, section=chosen(protocols=["knn"])).metrics
    outcomes = table(tmp_path / "out" / "plots" / "outcomes.csv")
    films = [row["recording"] for row in outcomes]
    assert len(set(films)) == found["recordings"] == 6
    hits = np.array([int(row["knn_top1"]) for row in outcomes])
    assert (found["knn_top1_low"], found["knn_top1_high"]) == interval(hits, np.unique(films, return_inverse=True)[1])
