"""From what was seen to settings: tables of folders that were never there."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from flows import PROJECT, parameters
from flows.new import choosing, moments, splitting
from flows.new.choosing import Chosen
from flows.new.looking import SHARES, Group, Look
from flows.new.machine import Machine
from flows.new.places import Place
from scriptsight.catalogue import Cue, Video
from scriptsight.ingest.datasets.splits import by_pattern, by_share
from scriptsight.params import reading

BASE = parameters.load(PROJECT / "params.yaml").segment
SMALL = Machine(cores=2, memory=8 * 10**9, disk=50 * 10**9)
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def video(name: str, seconds: float = 60.0, every: float | None = 3.0, **more: Any) -> Video:
    """A video in which somebody says something else every so many seconds."""
    times = [] if every is None else [every * number for number in range(int(seconds / every))]
    cues = tuple(
        Cue(at, at + 0.6 * (every or 0), f"{name} says the number {NUMBERS[n % 10]} at {n}")
        for n, at in enumerate(times)
    )
    values: dict[str, Any] = {
        "video_id": name,
        "collection": "talks",
        "split": "train",
        "uri": f"/videos/talks/{name}.mp4",
        "size": 1000,
        "digest": f"digest of {name}",
        "duration": seconds,
        "fps": 25.0,
        "width": 640,
        "height": 360,
        "codec": "h264",
        "has_audio": True,
        "cues": cues,
    }
    return Video(**values | more)


def group(name: str, videos: list[Video], **section: Any) -> Group:
    place = Place(name, {"kind": "folder", "path": "/videos/talks", **section}, "a folder of videos")
    shares = (
        {}
        if "splits" in section
        else {
            share: {one.video_id: by_share(f"{one.video_id}.mp4", share, share) for one in videos} for share in SHARES
        }
    )
    return Group(place, tuple(videos), (), len(videos), Counter(), shares)


def chosen(*groups: Group, machine: Machine = SMALL) -> Chosen:
    return choosing.choose(Look(Path("/videos"), groups, 1.0), machine, BASE)


def talks(count: int, **more: Any) -> list[Video]:
    return [video(f"talk_{number:02d}", **more) for number in range(count)]


def pointless(found: Chosen) -> list[str]:
    return [problem.what for problem in found.problems if problem.stops]


# ------------------------------------------------------------------------------------------------- moments


@pytest.mark.parametrize(
    ("every", "k", "seconds"),
    [(1.5, 4, 10.0), (3.0, 4, 15.0), (6.0, 3, 20.0), (9.0, 2, 20.0), (20.0, 2, 45.0)],
)
def test_moments_are_as_short_as_the_captions_allow(every: float, k: int, seconds: float) -> None:
    cut = moments.choose(talks(12, seconds=300.0, every=every), BASE)
    assert cut.k == k
    assert cut.max_seconds <= seconds
    assert cut.share >= moments.ENOUGH


def test_a_script_is_not_torn_by_its_usual_silences() -> None:
    cut = moments.choose(talks(12, seconds=300.0, every=10.0), BASE)
    assert cut.max_gap_seconds >= 4.0


def test_one_caption_a_minute_has_no_order() -> None:
    found = chosen(group("talks", talks(30, seconds=600.0, every=100.0)))
    assert (found.cut.k, found.objective, found.learned) == (0, "contrastive", {"talks": "transcript"})
    assert any("there is no order to learn" in problem.what for problem in found.problems)


# -------------------------------------------------------------------------------------------------- splits


def test_a_few_videos_still_give_something_to_measure_on() -> None:
    splits = chosen(group("talks", talks(4))).splits["talks"]
    assert Counter(splits.of_videos.values()) == {"train": 2, "val": 1, "test": 1}


def test_many_videos_are_split_by_shares_and_not_named() -> None:
    assert chosen(group("talks", talks(400))).splits["talks"].section == {"val_share": 0.1, "test_share": 0.1}


def test_the_patterns_that_are_written_give_the_splits_that_were_meant() -> None:
    names = ["a[1]", "a1", "b?", "star*", "long name with spaces", "z"]
    found = chosen(group("talks", [video(name) for name in names])).splits["talks"]
    table: dict[str, str] = found.section["splits"]
    assert {name: by_pattern(f"{name}.mp4", table) for name in names} == found.of_videos
    collection = {"kind": "folder", "path": "x", "splits": table}
    base = reading.read_yaml(PROJECT / "params.yaml")
    parameters.build(parameters.laid_over(base, {"ingest": {"collections": {"talks": collection}}}))


def test_parts_of_one_recording_are_never_on_both_sides() -> None:
    copy = "the same bytes"
    videos = [
        *(video(f"lesson {number} part {part}") for number in range(6) for part in (1, 2)),
        video("one", digest=copy),
        video("two", digest=copy),
        video("three", uri="/videos/talks/same.mp4"),
        video("four", uri="/videos/talks/same.webm"),
    ]
    of_videos = chosen(group("talks", videos)).splits["talks"].of_videos
    assert set(of_videos.values()) == {"train", "val", "test"}
    for number in range(6):
        assert of_videos[f"lesson {number} part 1"] == of_videos[f"lesson {number} part 2"]
    assert of_videos["one"] == of_videos["two"]
    assert of_videos["three"] == of_videos["four"]


def test_every_class_of_clips_has_some_in_training_and_some_in_the_test() -> None:
    clips = [video(f"clip{number}", 3.0, None, label=("bow", "wave", "nod")[number % 3]) for number in range(9)]
    found = chosen(group("talks", talks(20)), group("clips", clips))
    assert found.tests == ("clips",)
    held = found.splits["clips"].of_videos
    for label in ("bow", "wave", "nod"):
        assert {held[one.video_id] for one in clips if one.label == label} == {"train", "test"}


def test_copies_of_a_clip_are_in_one_split() -> None:
    clips = [video(f"c{n}", 3.0, None, label="ab"[n % 2], digest=f"{n // 4} {n % 2}") for n in range(24)]
    splits = splitting.of_clips(group("clips", clips))
    of_digest = {(one.digest, splits.of_videos[one.video_id]) for one in clips}
    assert len(of_digest) == len({one.digest for one in clips})
    assert {split for _, split in of_digest} == {"train", "test"}


def test_a_label_that_one_clip_has_is_not_measured_on() -> None:
    clips = [video("a", 3.0, None, label="bow"), video("b", 3.0, None, label="wave")]
    found = chosen(group("talks", talks(20)), group("clips", clips))
    assert found.tests == ()
    assert any(problem.what.startswith("clips: its labels can't be measured on") for problem in found.problems)


# ------------------------------------------------------------------------------------------- what is looked at


@pytest.mark.parametrize(("seconds", "rate"), [(3.0, 4.0), (1.5, 8.0), (20.0, 2.0)])
def test_the_rate_gives_the_shortest_clips_all_their_frames(seconds: float, rate: float) -> None:
    clips = [video(f"c{n}", seconds, None, label="ab"[n % 2]) for n in range(20)]
    assert chosen(group("talks", talks(20)), group("clips", clips)).fps == rate


def test_no_more_frames_are_stored_than_there_are() -> None:
    clips = [video(f"c{n}", 1.5, None, label="ab"[n % 2], fps=5.0) for n in range(60)]
    assert chosen(group("talks", talks(20)), group("clips", clips)).fps == 5.0


def test_the_collection_with_the_most_held_out_words_is_measured() -> None:
    found = chosen(group("a_small", talks(4)), group("large", [video(f"l{n}") for n in range(40)]))
    assert (found.main, found.measured) == ("large", "test")
    assert set(found.learned) == {"a_small", "large"}


def test_long_videos_in_folders_have_no_classes() -> None:
    long = [video(f"film{n}", 600.0, None, label="ab"[n % 2]) for n in range(8)]
    found = chosen(group("films", long, labels="folder"))
    assert (found.demoted, found.tests) == (("films",), ())


def test_languages_without_spaces_are_read_in_parts_of_words() -> None:
    assert chosen(group("talks", talks(20, language="ja"))).text == "transformer"
    assert chosen(group("talks", talks(20, language="en"))).text == "words"


def test_batches_are_no_larger_than_what_there_is() -> None:
    assert chosen(group("talks", talks(6))).size.batch < chosen(group("talks", talks(60))).size.batch == 64


def test_a_gpu_trains_a_larger_model() -> None:
    large = Machine(16, 10**11, 10**12, "a GPU", 8 * 10**10)
    on_gpu, on_cpu = (chosen(group("talks", talks(60)), machine=machine).size for machine in (large, SMALL))
    assert on_gpu.width > on_cpu.width and on_gpu.image > on_cpu.image
    assert on_gpu.image % on_gpu.patch == on_gpu.width % on_gpu.heads == on_gpu.width % 3 == 0


# ----------------------------------------------------------------------------------------------- what won't work


@pytest.mark.parametrize(
    ("groups", "said", "remedy"),
    [
        ([group("talks", talks(20, every=None))], "no captions at all", "extra asr"),
        ([group("talks", talks(20, every=None, has_audio=False))], "no captions at all", "trained already"),
        ([group("talks", talks(6))], "6 videos with words, 6 minutes: too few to learn from", "trained already"),
        ([group("talks", talks(1))], "1 video with words, 60 seconds: of one recording", "add videos"),
        (
            [group("talks", [video(f"t{n}", cues=(Cue(0, 2, "thank you so much"),) * 20) for n in range(30)])],
            "the words are all alike: 600 captions, 1 different ones",
            "look at the captions",
        ),
    ],
)
def test_what_will_not_work_is_said_with_its_remedy(groups: list[Group], said: str, remedy: str) -> None:
    problems = [problem for problem in chosen(*groups).problems if problem.stops]
    assert any(said in problem.what and remedy in problem.remedy for problem in problems), problems


def test_nothing_is_wrong_with_an_hour_of_talks() -> None:
    assert pointless(chosen(group("talks", talks(60)))) == []


def test_copies_and_languages_are_told() -> None:
    videos = [
        video("a", digest="x"),
        video("b", digest="x"),
        *talks(20, language="en"),
        *(video(f"d{n}", language="de") for n in range(20)),
    ]
    found = " ".join(problem.what for problem in chosen(group("talks", videos)).problems)
    assert "1 files are copies of others: /videos/talks/a.mp4 and /videos/talks/b.mp4" in found
    assert "words in several languages: en (20), de (20)" in found
