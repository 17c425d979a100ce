"""New videos against what a model learned from, on small worlds: the right measure tells, and nothing where nothing
differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scriptsight import drift, overlap, profile
from scriptsight.drift import Report, page
from scriptsight.errors import InputError
from scriptsight.models import bundle
from scriptsight.reporting import SilentReporter
from scriptsight.segments import Segments
from tests import small
from tests.drift.worlds import ENGLISH, GERMAN, talks

NEW = range(100, 114)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that learned from 24 talks, and had 12 held out."""
    folder = tmp_path_factory.mktemp("model")
    talks(folder / "segments", "train", range(24))
    talks(folder / "segments", "val", range(50, 62))
    encoder = small.tiny_encoder(texts=(*ENGLISH, *GERMAN))
    bundle.save(encoder, folder / "bundle")
    learned = [("talks", Segments(folder / "segments", "talks", "train"))]
    overlap.write(folder / "bundle", overlap.videos(learned))
    others = profile.held_out(folder / "segments", ["talks"])
    profile.write(folder / "bundle", bundle.load(folder / "bundle"), learned, others, SilentReporter())
    return folder / "bundle"


def compare(model: Path, folder: Path, **of: Any) -> Report:
    """With new talks among those that the model knows."""
    talks(folder, "train", [*range(24), *(NEW if not of else ())])
    talks(folder, "val", range(50, 62))
    if of:
        talks(folder, "test", NEW, **of)
    return drift.compare(model, folder, ["talks"], reporter=SilentReporter())


def test_nothing_is_told_where_nothing_differs(model: Path, tmp_path: Path) -> None:
    report = compare(model, tmp_path)
    assert (report.videos, report.recordings, report.verdict) == (14, 14, "no sign of it")
    assert {finding.verdict for finding in report.findings} == {"no sign of it"}
    assert report.line == "14 new videos show no sign of a difference from what the model learned from."
    recall = report.findings[-1]
    assert (recall.old_recordings, recall.new_recordings) == (12, 14)
    assert "recall at 1 of 20" in recall.what and recall.old is not None and recall.new is not None
    assert recall.old.low <= recall.old.value <= recall.old.high


@pytest.mark.parametrize(
    ("of", "told"),
    [
        ({"dark": True}, {"look"}),
        ({"texts": GERMAN}, {"languages"}),
        ({"pace": 1.6}, {"words_a_second", "spoken", "cue_seconds"}),
    ],
)
def test_the_right_measure_tells(model: Path, tmp_path: Path, of: dict[str, Any], told: set[str]) -> None:
    report = compare(model, tmp_path, **of)
    assert report.verdict == "differs"
    differing = {finding.name for finding in report.differing}
    assert told <= differing
    assert differing <= told | {"words_a_second", drift.RECALL}  # German has other words, and the model knows none
    assert "14 new videos differ" in report.line


def test_a_false_alarm_is_rare(model: Path) -> None:
    """Of all measures together one of twenty comparisons has one; here on samples of made-up figures."""
    alarms = sum(
        any(one.verdict == "differs" for one in drift.findings(*(made_up(rng, count) for count in (16, 8, 10))))
        for rng in map(np.random.default_rng, range(15))
    )
    assert alarms < 6  # 99.9% of all series of 15 at 5% have fewer


def made_up(rng: np.random.Generator, count: int) -> profile.Sample:
    """Recordings of one and the same kind."""
    vectors = np.repeat(rng.normal(size=(count, 4)), 3, axis=0) + 0.2 * rng.normal(size=(3 * count, 4))
    return profile.Sample(
        names=[str(rng.random()) for _ in range(count)],
        languages=rng.choice(["en", "de"], count).tolist(),
        measures={name: rng.exponential(size=count) for name in profile.MEASURES},
        owners=np.repeat(np.arange(count), 3),
        features=vectors,
        video=vectors,
        text=vectors + rng.normal(size=vectors.shape),
    )


def test_few_new_videos_tell_nothing(model: Path, tmp_path: Path) -> None:
    talks(tmp_path, "train", [*range(24), *NEW[:7]])
    report = drift.compare(model, tmp_path, ["talks"], reporter=SilentReporter())
    assert (report.videos, report.verdict) == (7, "can't tell")
    assert "7 new videos are too few to tell" in report.line
    talks(tmp_path, "train", [*range(24), *NEW[:3]])
    report = drift.compare(model, tmp_path, ["talks"], reporter=SilentReporter())
    assert all(finding.p_value is None for finding in report.findings)
    talks(tmp_path, "train", range(24))
    report = drift.compare(model, tmp_path, ["talks"], reporter=SilentReporter())
    assert (report.videos, report.findings) == (0, ())
    assert "nothing to compare" in report.line


def test_chosen_videos_are_compared_instead(model: Path, tmp_path: Path) -> None:
    """Those that were held out, whose recall is held against that of the others; and a split that is not there."""
    talks(tmp_path, "train", range(24))
    talks(tmp_path, "val", range(50, 56))
    report = drift.compare(model, tmp_path, [], only=("talks", "val"), reporter=SilentReporter())
    assert (report.videos, report.compared) == (6, "videos of talks/val")
    assert (report.findings[-1].old_recordings, report.findings[-1].new_recordings) == (6, 6)
    with pytest.raises(InputError, match="'test', in"):
        drift.compare(model, tmp_path, [], only=("talks", "test"), reporter=SilentReporter())


def test_a_model_of_an_older_version_is_told(tmp_path: Path) -> None:
    small.tiny_bundle(tmp_path / "bundle")
    talks(tmp_path / "segments", "train", range(6))
    with pytest.raises(InputError, match=r"does not say what the videos look like .* run the pretrain stage again"):
        drift.compare(tmp_path / "bundle", tmp_path / "segments", ["talks"])


def test_the_answer_as_words_picture_and_json(model: Path, tmp_path: Path) -> None:
    report = compare(model, tmp_path / "segments", dark=True)
    page.write(report, tmp_path / "plots")
    words = (tmp_path / "plots/drift.md").read_text()
    assert report.line in words and words.count("| differs ") == len(report.differing)
    assert (tmp_path / "plots/drift.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "plots/drift.json").read_text())
    assert found["verdict"] == "differs" and found["line"] == report.line
    told = {finding["name"]: finding for finding in found["findings"]}
    assert told["look"]["new"]["low"] > told["look"]["old"]["high"]
