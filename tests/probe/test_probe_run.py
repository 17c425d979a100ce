import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from scriptsight import params, probe
from scriptsight.errors import InputError
from scriptsight.files import digest
from scriptsight.models import bundle
from scriptsight.reporting import ConsoleReporter
from scriptsight.segments import Segment
from tests import small

COLOURS = {"red $1$": (220, 40, 40), "green": (40, 220, 40), "blue": (40, 40, 220)}
PROBE = params.Probe(
    collection="c",
    train_split="train",
    test_split="test",
    feature="cls",
    knn_k=5,
    knn_temperature=0.07,
    linear_c=1.0,
    batch=8,
    seed=1,
)
FIVE = ["linear_top1", "knn_top1", "v2v_r1", "v2v_r5", "v2v_r10"]


def labelled(split: str, each: int, labels: Sequence[str] = tuple(COLOURS)) -> list[Segment]:
    return [
        small.segment(f"{split}-{label}-{i}", colour=COLOURS[label], label=label, seed=len(split) * 1000 + i)
        for label in labels
        for i in range(each)
    ]


class Listener(ConsoleReporter):
    """Keeps what a stage says."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.figures: list[Path] = []

    def message(self, text: str) -> None:
        self.said.append(text)

    def figure(self, path: Path) -> None:
        self.figures.append(path)


def run(
    tmp_path: Path, *, name: str = "out", chosen: params.Probe = PROBE, listener: Listener | None = None
) -> probe.Result:
    if not (tmp_path / "model").exists():
        small.tiny_bundle(tmp_path / "model")
    return probe.run(
        chosen,
        segments=tmp_path / "segments",
        bundle=tmp_path / "model",
        metrics=tmp_path / name / "probe.json",
        plots=tmp_path / name / "plots",
        reporter=listener or Listener(),
    )


def write(tmp_path: Path, train: Sequence[Segment], test: Sequence[Segment]) -> None:
    small.write_segments(tmp_path / "segments", "c", "train", train)
    small.write_segments(tmp_path / "segments", "c", "test", test)


def test_run_writes_metrics_and_pictures_and_repeats_to_the_byte(tmp_path: Path) -> None:
    write(tmp_path, labelled("train", 6), labelled("test", 4))
    listener = Listener()
    result = run(tmp_path, listener=listener)
    written = json.loads((tmp_path / "out" / "probe.json").read_text())
    assert written == result.metrics
    assert list(written) == [*FIVE, "random_init", "chance", "classes", "train", "test"]
    assert list(written["random_init"]) == FIVE
    assert written["linear_top1"] == 1  # colours are easy
    assert (written["classes"], written["train"], written["test"]) == (3, 18, 12)
    assert written["chance"] == pytest.approx(1 / 3)
    assert tuple(listener.figures) == result.figures == tuple(sorted((tmp_path / "out" / "plots").iterdir()))
    again = run(tmp_path, name="again")
    for one in ("probe.json", "plots/comparison.png", "plots/confusion.png"):
        assert digest(tmp_path / "out" / one) == digest(tmp_path / "again" / one), one
    assert again.weights == digest(tmp_path / "model" / "model.safetensors")


def test_the_control_is_the_same_measurement_of_fresh_weights(tmp_path: Path) -> None:
    rows = [small.segment(f"{i}", label=f"{i % 4}", seed=i) for i in range(64)]  # noise: no score is perfect
    write(tmp_path, rows[:32], rows[32:])
    control = run(tmp_path).metrics["random_init"]
    fresh = bundle.random_like(tmp_path / "model", PROBE.seed)
    bundle.save(fresh, tmp_path / "model")
    again = run(tmp_path).metrics
    assert {name: again[name] for name in FIVE} == control


def test_chance_is_the_largest_class_where_classes_are_unbalanced(tmp_path: Path) -> None:
    write(tmp_path, labelled("train", 3), labelled("test", 3) + labelled("more", 6, ["blue"]))
    assert run(tmp_path).metrics["chance"] == pytest.approx(9 / 15)


def test_segments_without_a_label_are_left_out_and_counted(tmp_path: Path) -> None:
    extra = [small.segment("none-1"), small.segment("none-2", label="")]
    write(tmp_path, labelled("train", 3) + extra, labelled("test", 3))
    listener = Listener()
    assert run(tmp_path, listener=listener).metrics["train"] == 9
    assert listener.said == ["c/train: 2 segments without a label are left out"]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (
            labelled("train", 2),
            [small.segment("a"), small.segment("b")],
            "'test'.* 2 segments and none has",
        ),
        (labelled("train", 2, ["green", "blue"]), labelled("test", 2), r"'train' lacks: red \$1\$.*ingest"),
        (labelled("train", 2, ["green"]), labelled("test", 2, ["green"]), "one class 'green'"),
        (labelled("train", 2), labelled("test", 2) + labelled("train", 1), "share 3 videos.*train-blue-0"),
        (labelled("train", 2), [], "'test'.*none has a label"),
    ],
)
def test_splits_that_cannot_be_used_are_refused(
    tmp_path: Path, train: list[Segment], test: list[Segment], message: str
) -> None:
    write(tmp_path, train, test)
    with pytest.raises(InputError, match=message):
        run(tmp_path)
    assert not (tmp_path / "out").exists()


def test_one_split_is_no_probe(tmp_path: Path) -> None:
    write(tmp_path, labelled("train", 2), labelled("test", 2))
    with pytest.raises(InputError, match="share 6 videos"):
        run(tmp_path, chosen=PROBE.model_copy(update={"test_split": "train"}))


def test_a_split_without_shards_is_named(tmp_path: Path) -> None:
    small.write_segments(tmp_path / "segments", "c", "train", labelled("train", 2))
    with pytest.raises(InputError, match="collection 'c', split 'test'"):
        run(tmp_path)


def test_many_classes_still_make_a_picture(tmp_path: Path) -> None:
    labels = [f"class {i}" for i in range(45)]
    COLOURS.update({label: (5 * i, 255 - 5 * i, 90) for i, label in enumerate(labels)})
    write(tmp_path, labelled("train", 2, labels), labelled("test", 1, labels))
    assert run(tmp_path).metrics["classes"] == 45
