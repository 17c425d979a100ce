"""Where in a video's sound its words are spoken: found where it can be, and not believed where it can't."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scriptsight import captions, catalogue, ingest
from scriptsight.catalogue import Cue, Video, Word
from scriptsight.errors import MissingExtra
from scriptsight.ingest import alignment, cleaning
from scriptsight.ingest.alignment import NEAR, STEP, Fit, aligned, spoken
from scriptsight.ingest.retiming import moved
from tests import small
from tests.conftest import MakeVideo
from tests.ingest import voices

TIMES = [(1.0, 0.0), (1.0, 2.3), (1.0, -4.0), (25 / 24, 0.0), (24 / 25, 3600.0), (1.0, 75.5)]  # ratio, offset


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def talk() -> tuple[np.ndarray, list[Cue]]:
    """A minute of a voice, and its cues."""
    sound, spans = voices.talk(60.0, seed=2)
    return sound, [Cue(start, end, f"this is sentence number {i}") for i, (start, end) in enumerate(spans)]


def curve(spans: list[tuple[float, float]], seconds: float) -> np.ndarray:
    speech = np.zeros(round(seconds / STEP))
    for start, end in spans:
        speech[round(start / STEP) : round(end / STEP)] = 1.0
    return speech


def pauses(count: int, seed: int = 0) -> list[tuple[float, float]]:
    random = np.random.default_rng(seed)
    edges = np.cumsum(random.uniform(0.4, 3.0, 2 * count))
    return [(float(edges[2 * i]), float(edges[2 * i + 1])) for i in range(count)]


def written(cues: list[Cue]) -> str:
    def stamp(seconds: float) -> str:
        return f"{int(seconds // 3600):02d}:{int(seconds // 60) % 60:02d}:{seconds % 60:06.3f}"

    return "WEBVTT\n\n" + "".join(f"{stamp(cue.start)} --> {stamp(cue.end)}\n{cue.text}\n\n" for cue in cues)


def ingested(sound: np.ndarray, cues: list[Cue], **keys: Any) -> tuple[Video, list[tuple[str, str]], dict[str, int]]:
    """The video of this sound with these cues, (reason, detail) of the rejects, and counts of cleaning."""
    voices.film(Path("v/a.mkv"), sound)
    Path("v/a.vtt").write_text(written(cues))
    collection = {"kind": "folder", "path": "v", "splits": {"*": "train"}}
    result = ingest.run(small.ingest_params({"mine": collection}, **keys))
    (video,) = catalogue.read("data/catalogue")
    return video, [(row.reason, row.detail) for row in catalogue.read_rejects("data/catalogue")], result.cleaned


def off(video: Video, cues: list[Cue]) -> float:
    """Seconds by which the cue begins wrongly that does so most."""
    right = {cue.text: cue.start for cue in cues}
    return max(abs(cue.start - right[cue.text]) for cue in video.cues)


# -------------------------------------------------------------------------------------------- two curves


@pytest.mark.parametrize(("ratio", "offset"), TIMES)
def test_speed_and_offset_are_found_in_curves(ratio: float, offset: float) -> None:
    right = pauses(30)
    wrong = [(start * ratio + offset, end * ratio + offset) for start, end in right]
    found = aligned(curve(right, 120.0), [span for span in wrong if span[0] >= 0])
    assert isinstance(found, Fit) and not found.doubt
    assert found.confidence > alignment.BAR
    for start, _ in right:
        assert (start * ratio + offset) * found.ratio + found.offset == pytest.approx(start, abs=0.15)


def test_the_speed_is_left_alone_where_it_makes_no_difference() -> None:
    right = pauses(12)
    found = aligned(curve(right, 60.0), [(start * 1.001, end * 1.001) for start, end in right])
    assert isinstance(found, Fit) and (found.ratio, found.doubt) == (1.0, "")
    assert abs(found.moves) < 0.1


def test_scripts_of_other_films_are_not_believed() -> None:
    speeches = [curve(pauses(20, seed), 90.0) for seed in range(12)]
    found = [aligned(speeches[i], pauses(20, seed)) for i in range(12) for seed in range(12) if seed != i]
    assert all(isinstance(one, Fit) and one.doubt for one in found)
    assert max(one.confidence for one in found if isinstance(one, Fit)) < alignment.BAR


def test_sentences_like_a_metronome_leave_open_which_is_which() -> None:
    beat = [(3.0 * i + 1, 3.0 * i + 2) for i in range(20)]
    found = aligned(curve(beat, 180.0), [(start + 30, end + 30) for start, end in beat[:12]])
    assert isinstance(found, Fit) and found.confidence < alignment.BAR and "elsewhere" in found.doubt


def test_a_film_that_was_cut_in_between_is_told() -> None:
    spans = pauses(60)
    late = [(start + (30 if i >= 36 else 0), end + (30 if i >= 36 else 0)) for i, (start, end) in enumerate(spans)]
    found = aligned(curve(spans, 240.0), late)
    assert isinstance(found, Fit) and "last third" in found.doubt


@pytest.mark.parametrize("speech", [np.zeros(0), np.zeros(3000), np.ones(3000)])
def test_without_speech_or_without_pauses_nothing_is_said(speech: np.ndarray) -> None:
    assert isinstance(aligned(speech, pauses(20)), str)


def test_times_that_no_video_has_take_no_memory() -> None:
    right = pauses(20)
    found = aligned(curve(right, 90.0), [*right, (1e12, 1e12 + 1)])
    assert isinstance(found, Fit) and abs(found.moves) < 0.1


def test_a_cue_counts_for_as_long_as_its_words_can_take() -> None:
    words = (Word(20.0, 20.4, "so"), Word(20.4, 25.0, "then"))
    cues = [Cue(0.0, 9.0, "yes"), Cue(12.0, 13.0, "a long sentence of many words"), Cue(20.0, 25.0, "so then", words)]
    right = [(0.0, 0.54), (12.0, 13.0), (20.0, 20.27), (20.4, 20.79)]
    assert np.asarray(spoken(cues)) == pytest.approx(np.asarray(right))
    assert spoken([Cue(0.0, 9.0, "今天天气")]) == [(0.0, 1.3)]


# ------------------------------------------------------------------------------------------- whole videos


@pytest.mark.parametrize(("ratio", "offset"), TIMES[1:4])
def test_what_the_sound_says_is_reported_or_done(
    talk: tuple[np.ndarray, list[Cue]], ratio: float, offset: float
) -> None:
    sound, right = talk
    wrong = [cue for cue in moved(right, ratio, offset) if cue.start >= 0]
    video, rejects, cleaned = ingested(sound, wrong, retime="report")
    seem = [detail for reason, detail in rejects if reason in ("cues seem shifted", "cues seem stretched")]
    assert "confidence" in seem[0] and "ingest.retime" in seem[0]
    assert "retimed" not in cleaned and off(video, right) > 1.5
    video, rejects, cleaned = ingested(sound, wrong, retime=True)
    assert [reason for reason, _ in rejects] == ["cues retimed"]
    assert f"{1 / ratio:.5f} x their seconds" in rejects[0][1]
    assert cleaned["retimed"] == len(wrong) == len(video.cues)
    assert off(video, right) < 0.15


def test_a_script_that_is_right_is_left_alone(talk: tuple[np.ndarray, list[Cue]]) -> None:
    sound, right = talk
    plain, rejects, _ = ingested(sound, right)
    assert rejects == []
    for choice in ("report", True):
        video, rejects, cleaned = ingested(sound, right, retime=choice)
        assert rejects == [] and "retimed" not in cleaned
        assert video.cues == plain.cues


def test_what_is_too_little_to_tell_is_a_finding_and_changes_nothing(talk: tuple[np.ndarray, list[Cue]]) -> None:
    sound, right = talk
    noise = np.random.default_rng(0).normal(0, 0.1, len(sound)).astype(np.float32)
    beat = (np.sin(np.arange(len(sound)) * 0.1) * (np.arange(len(sound)) % 8000 < 3000) * 0.3).astype(np.float32)
    for silent, cues, why in (
        (noise, right, "speaks in"),
        (beat, right, "speaks in"),
        (sound, right[:5], "fewer than"),
    ):
        video, rejects, _ = ingested(silent, moved(cues, 1.0, 2.0), retime=True)
        assert [reason for reason, _ in rejects] == ["clock not confirmed"]
        assert why in rejects[0][1]
        assert [cue.start for cue in video.cues] == pytest.approx([cue.start + 2.0 for cue in cues], abs=0.001)


def test_a_video_without_sound_is_a_finding(make_video: MakeVideo) -> None:
    make_video(Path("v/a.mp4"), seconds=4)
    Path("v/a.vtt").write_text(written([Cue(0.0, 1.0, "hello")]))
    ingest.run(small.ingest_params({"mine": {"kind": "folder", "path": "v"}}, retime=True))
    (row,) = catalogue.read_rejects("data/catalogue")
    assert (row.reason, row.detail) == ("clock not confirmed", "the video has no sound")


def test_a_time_code_of_one_hour_is_corrected_even_without_sound(make_video: MakeVideo) -> None:
    make_video(Path("v/a.mp4"), seconds=6)
    Path("v/a.vtt").write_text(written([Cue(3601.0, 3602.0, "hello"), Cue(3603.0, 3605.0, "there")]))
    params = {"mine": {"kind": "folder", "path": "v"}}
    ingest.run(small.ingest_params(params))
    (video,) = catalogue.read("data/catalogue")
    assert video.cues == ()
    result = ingest.run(small.ingest_params(params, retime=True))
    (video,) = catalogue.read("data/catalogue")
    assert [(cue.start, cue.end) for cue in video.cues] == [(1.0, 2.0), (3.0, 5.0)]
    assert result.cleaned["retimed"] == 2
    assert {row.reason for row in catalogue.read_rejects("data/catalogue")} == {"clock not confirmed", "cues retimed"}


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, talk: tuple[np.ndarray, list[Cue]]) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper.vad", None)
    with pytest.raises(MissingExtra, match=r"ingest\.retime.*scriptsight\[asr\]"):
        alignment.fit(voices.film(Path("a.mkv"), talk[0]), talk[1])


# --------------------------------------------------------------------------------------------- real speech


@pytest.mark.parametrize("name", [*(f"grid_long/grid_s1_0{i}" for i in range(4)), "videogrep_manifesto/manifesto"])
def test_real_speech_is_found_where_it_is(shared_data: Path, name: str) -> None:
    video = shared_data / "scripted_videos" / f"{name}.mp4"
    script = small.script(video.with_suffix(".json" if "videogrep" in name else ".vtt"))
    speech = alignment.activity(video)
    for ratio, offset in TIMES:
        wrong = [cue for cue in moved(script.cues, ratio, offset) if cue.start >= 0]
        found = aligned(speech, spoken(wrong))
        assert isinstance(found, Fit) and not found.doubt, (ratio, offset, found)
        for seconds in (0.0, 48.0):
            assert (seconds * ratio + offset) * found.ratio + found.offset == pytest.approx(seconds, abs=0.2)
        assert (abs(found.moves) > NEAR) == ((ratio, offset) != (1.0, 0.0))


def test_automatic_captions_that_run_into_one_another_are_found_by_their_words(shared_data: Path) -> None:
    video = shared_data / "scripted_videos/videogrep_manifesto/manifesto.mp4"
    speech = alignment.activity(video)
    script = small.script(video.with_suffix(".vtt"))
    rules = small.ingest_params({"mine": {"kind": "folder", "path": "v"}}).cleaning
    for ratio, offset in TIMES:
        wrong = cleaning.clean([cue for cue in moved(script.cues, ratio, offset) if cue.start >= 0], rules, None)
        found = aligned(speech, spoken(wrong.cues))
        assert isinstance(found, Fit) and not found.doubt, (ratio, offset, found)
        assert (40.0 * ratio + offset) * found.ratio + found.offset == pytest.approx(40.0, abs=0.25)


def test_captions_that_stand_all_the_time_are_not_believed(shared_data: Path) -> None:
    video = shared_data / "scripted_videos/videogrep_manifesto/manifesto.mp4"
    script = captions.parse(video.with_suffix(".srt").read_bytes(), "manifesto.srt")
    found = alignment.fit(video, script.cues)
    assert isinstance(found, Fit) and found.doubt and found.confidence < alignment.BAR
