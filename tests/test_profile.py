"""What a model's folder says of the videos that it learned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from scriptsight import overlap, profile
from scriptsight.catalogue import Cue
from scriptsight.errors import InputError
from scriptsight.models import bundle
from scriptsight.reporting import SilentReporter
from scriptsight.segments import Segments
from tests import small
from tests.drift.worlds import talks


def written(folder: Path) -> Path:
    """A model that learned from 6 talks and had 3 held out."""
    talks(folder / "segments", "train", range(6))
    talks(folder / "segments", "val", range(6, 9))
    made = small.tiny_bundle(folder / "bundle")
    learned = [("talks", Segments(folder / "segments", "talks", "train"))]
    overlap.write(made, overlap.videos(learned))
    others = profile.held_out(folder / "segments", ["talks"])
    profile.write(made, bundle.load(made), learned, others, SilentReporter())
    return made


def test_it_is_the_same_to_the_byte_and_read_as_it_was_written(tmp_path: Path) -> None:
    one, two = written(tmp_path / "one"), written(tmp_path / "two")
    for name in (profile.PROFILE, profile.HELD_OUT):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    found = profile.read(one)
    assert found is not None
    assert (len(found.sample), len(found.held_out), found.learned.num_rows, found.known.num_rows) == (6, 3, 6, 9)
    assert found.sample.features.shape == (18, 32) and found.held_out.text.shape == (9, 8)
    assert set(found.sample.languages) == {"en"}
    segments = Segments(tmp_path / "one/segments", "talks", "train")
    again = profile.sampled(profile.sample(bundle.load(one), [("talks", segments)], SilentReporter(), "again"))
    assert again.names == found.sample.names
    np.testing.assert_array_equal(again.features, found.sample.features)


def test_facts_of_a_recording(tmp_path: Path) -> None:
    """Words in the time in which somebody speaks, cues at one time counted once; signs are words in Chinese."""
    cues = (Cue(0.0, 4.0, "one two three four"), Cue(2.0, 6.0, "five six"), Cue(8.0, 10.0, "我是狗"))
    rows = [
        small.segment("v"),
        small.segment("v"),
    ]
    rows = [
        type(row)(**{**vars(row), "segment_id": f"c/v/{i}", "start": 10.0 * i, "end": 10.0 * i + 10, "cues": said})
        for i, (row, said) in enumerate(zip(rows, (cues, ()), strict=True))
    ]
    small.write_segments(tmp_path, "c", "train", rows)
    splits = [("c", Segments(tmp_path, "c", "train"))]
    found = profile.sampled(profile.sample(small.tiny_encoder(), splits, SilentReporter(), "facts"))
    facts = {name: float(values[0]) for name, values in found.measures.items()}
    assert facts == {
        "words_a_second": 9 / 8,
        "spoken": 0.4,
        "cue_seconds": pytest.approx(10 / 3),
        "segment_seconds": 10.0,
        "seconds": 20.0,
    }
    assert np.isfinite(found.text).all(axis=1).tolist().count(True) == 1


def test_the_sample_is_bounded(tmp_path: Path) -> None:
    """Whatever there is: so many recordings, chosen by their names, and so many segments of each."""
    rows = []
    for number in range(profile.RECORDINGS + 9):
        one = small.segment(f"v{number}", seed=number % 5)
        rows += [type(one)(**{**vars(one), "segment_id": f"c/v{number}/{i}"}) for i in range(1 + number % 6)]
    small.write_segments(tmp_path, "c", "train", rows)
    segments = Segments(tmp_path, "c", "train")
    chosen = profile._chosen([("c", segments)], None)
    assert len(chosen) == profile.RECORDINGS
    assert len(profile._chosen([("c", segments)], [[0, 1, 2]])) == 2
    ids = [segments.table(["segment_id"])["segment_id"]]
    assert {len(profile._some(ids, places)) for places in chosen.values()} == {1, 2, 3, profile.EACH}


@pytest.mark.parametrize("name", [profile.PROFILE, profile.HELD_OUT])
def test_damage_is_told(tmp_path: Path, name: str) -> None:
    made = written(tmp_path)
    data = (made / name).read_bytes()
    (made / name).write_bytes(data[:-50])
    with pytest.raises(InputError, match=rf"{name} is damaged .* run the pretrain stage again"):
        profile.read(made)
    (made / name).unlink()
    assert profile.read(made) is None


def test_vectors_that_do_not_fit_are_damage(tmp_path: Path) -> None:
    made = written(tmp_path)
    table = pq.read_table(made / profile.PROFILE)
    for broken in ([1.0, 2.0], [float("nan")] * 32):
        rows = table.to_pylist()
        rows[1]["features"] = broken
        pq.write_table(type(table).from_pylist(rows, profile.SCHEMA), made / profile.PROFILE)
        with pytest.raises(InputError, match=r"profile\.parquet is damaged"):
            profile.read(made)


def test_another_file_in_the_place_of_a_known_one_is_new() -> None:
    known = [("talks", "a", None, "1"), ("talks", "b", None, None), ("talks", "c", "film", "3")]
    asked = [
        ("talks", "a", None, "9"),  # another file
        ("talks", "b", None, "8"),  # whose file was not known
        ("more", "x", None, "3"),  # the same file elsewhere
        ("more", "y", "film", "7"),  # of the same recording
        ("more", "b", None, "5"),
        ("talks", "c", None, None),
    ]
    tables = [
        overlap.SCHEMA.empty_table().from_pylist(
            [dict(zip(overlap.SCHEMA.names, row, strict=True)) for row in rows], overlap.SCHEMA
        )
        for rows in (asked, known)
    ]
    assert overlap.among(*tables) == [False, True, True, True, False, True]
