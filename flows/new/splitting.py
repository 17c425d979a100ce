"""Which videos are learned from and which are only measured on, so that no recording is in both."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.new.looking import Group
from scriptsight.catalogue import Video
from scriptsight.ingest.datasets.splits import by_share
from scriptsight.params.base import Split

NAMED = 40  # held-out videos that are named one by one; where more are to be, their names are drawn by shares
OF_TEST, OF_VAL = 0.15, 0.1  # shares of the moments that are held out where videos are named one by one
OF_CLIPS = 0.3  # share of labelled clips that the probe is measured on
# What the parts of one recording are called behind its name.
_PART = re.compile(r"[ _.-]*(part|pt|cd|disc|disk|chapter|section|teil|partie|parte)[ _.-]*\d+$", re.IGNORECASE)


@dataclass(frozen=True)
class Splits:
    """How a collection is split.

    Attributes:
        section: the keys of its section that say it.
        of_videos: video id -> split.
        why: what is said beside it.
    """

    section: dict[str, Any]
    of_videos: dict[str, str]
    why: str

    @property
    def names(self) -> list[Split]:
        """The splits that have a video."""
        present = set(self.of_videos.values())
        return [split for split in ("train", "val", "test") if split in present]


def recordings(videos: Sequence[Video]) -> list[list[Video]]:
    """Videos that show the same, each time in one list: equal files, parts of one recording by their names, one video
    in several formats or with the same words."""
    first: dict[tuple[str, str], int] = {}
    parent = list(range(len(videos)))

    def root(number: int) -> int:
        while parent[number] != number:
            number = parent[number]
        return number

    for number, video in enumerate(videos):
        for key in _marks(video):
            parent[root(number)] = root(first.setdefault(key, number))
    found: dict[int, list[Video]] = defaultdict(list)
    for number, video in enumerate(videos):
        found[root(number)].append(video)
    return sorted(found.values(), key=lambda several: _order(several[0]))


def _marks(video: Video) -> list[tuple[str, str]]:
    stem = video.uri.rpartition(".")[0]
    marks = [("file", video.digest), ("name", _PART.sub("", stem).casefold())]
    if video.recording:
        marks.append(("recording", video.recording))
    words = " ".join(cue.text for cue in video.cues)
    if len(words) >= 100:  # two may well say no more than hello
        marks.append(("words", hashlib.sha256(words.encode()).hexdigest()))
    return marks


def _order(video: Video) -> str:
    """A fixed order that has nothing to do with names: who is held out is no choice."""
    return hashlib.sha256(video.uri.rpartition("/")[2].encode(errors="backslashreplace")).hexdigest()


# ------------------------------------------------------------------------------------------------- with words


def of_words(group: Group, usable: Mapping[str, tuple[int, int]]) -> Splits:
    """Splits for learning from words and measuring whether they are found.

    Args:
        usable: video id -> moments to learn from, and moments with words.
    """
    if not group.shares:  # said by a column, by folders or by the dataset's own lists
        return Splits({}, {video.video_id: video.split for video in group.videos}, "as the collection says itself")
    parts = recordings(group.videos)
    spoken = [several for several in parts if any(usable[video.video_id][0] for video in several)]
    alone = len(parts) == len(group.videos)
    if group.place.section["kind"] != "folder" or (alone and len(spoken) * (OF_TEST + OF_VAL) > NAMED):
        return _by_shares(group, usable)
    return _one_by_one(group, spoken, usable)


def _by_shares(group: Group, usable: Mapping[str, tuple[int, int]]) -> Splits:
    """The smallest share with which every split has something; new videos get theirs by their names."""
    share, splits = 0.0, dict[str, str]()
    for share, splits in group.shares.items():  # noqa: B007 - the one at which it stops
        moments = dict.fromkeys(("train", "val", "test"), 0)
        for video in group.videos:
            moments[splits[video.video_id]] += usable[video.video_id][0]
        if all(moments.values()):
            break
    of_videos = {video.video_id: splits[video.video_id] for video in group.videos}
    section = {"val_share": share, "test_share": share}
    return Splits(section, of_videos, f"by a number that belongs to each name: {share:.0%} each are held out")


def _one_by_one(group: Group, spoken: Sequence[Sequence[Video]], usable: Mapping[str, tuple[int, int]]) -> Splits:
    """The held-out videos by name: with a few videos shares might hold out none, and parts of one recording stay
    together."""
    moments = {id(several): sum(usable[video.video_id][0] for video in several) for several in spoken}
    total = sum(moments.values())
    chosen: dict[str, Split] = {}
    left = list(spoken)
    wanted: list[tuple[Split, float]] = [("val", OF_VAL * total)]
    if len(spoken) > 2:
        wanted.insert(0, ("test", max(2.0, OF_TEST * total)))  # of one moment nothing could be measured
    for split, enough in wanted if len(spoken) > 1 else []:
        most = max(1, len(spoken) // 3)
        got = 0
        while left and got < enough and most:
            several = left.pop(0)
            got, most = got + moments[id(several)], most - 1
            chosen |= {group.relative(video): split for video in several}
    of_videos = {video.video_id: str(chosen.get(group.relative(video), "train")) for video in group.videos}
    return Splits({"splits": _table(chosen)}, of_videos, "held out by name; videos that come later are learned from")


def _table(chosen: Mapping[str, Split]) -> dict[str, Split]:
    """Patterns of names, the narrowest first as params.yaml wants them."""
    patterns = {re.sub(r"([\[*?])", r"[\1]", name): split for name, split in chosen.items()}

    def letters(pattern: str) -> int:
        return len(re.sub(r"\[[^]]*\]|[*?]", "", pattern))

    ordered = sorted(patterns, key=lambda pattern: (-letters(pattern), pattern))
    return {pattern: patterns[pattern] for pattern in ordered} | {"*": "train"}


# ------------------------------------------------------------------------------------------- with labels alone


def of_clips(group: Group) -> Splits:
    """Splits of labelled clips, so that every class has some in training and some in the test."""
    if not group.shares:
        return Splits({}, {video.video_id: video.split for video in group.videos}, "as the collection says itself")
    parts = recordings(group.videos)
    if group.place.section["kind"] != "folder":
        return Splits(
            {"val_share": 0.0, "test_share": OF_CLIPS},
            {video.video_id: by_share(video.recording or video.video_id, 0.0, OF_CLIPS) for video in group.videos},
            "by a number that belongs to each name",
        )
    if len(parts) == len(group.videos):
        for share in (OF_CLIPS, 0.4, 0.5, 0.2):
            drawn = {
                video.video_id: by_share(video.recording or group.relative(video), 0.0, share)
                for video in group.videos
            }
            if not _lacking(group, drawn):
                section = {"val_share": 0.0, "test_share": share}
                return Splits(section, drawn, f"by a number that belongs to each name: {share:.0%} are measured on")
    return _class_by_class(group, parts)


def _class_by_class(group: Group, parts: Sequence[Sequence[Video]]) -> Splits:
    """Held-out clips by name, about a third of the recordings of each class."""
    chosen: dict[str, Split] = {}
    classes: dict[str | None, list[Sequence[Video]]] = defaultdict(list)
    for several in parts:
        classes[several[0].label].append(several)
    for of_class in classes.values():
        held = of_class[: round(OF_CLIPS * len(of_class)) or len(of_class) // 2]
        chosen |= {group.relative(video): "test" for several in held for video in several}
    of_videos = {video.video_id: str(chosen.get(group.relative(video), "train")) for video in group.videos}
    return Splits({"splits": _table(chosen)}, of_videos, "held out by name, some of every class")


def _lacking(group: Group, splits: Mapping[str, str]) -> set[str]:
    """The classes that training or the test has no clip of."""
    labels = {video.label for video in group.videos if video.label}
    has = {(video.label, splits[video.video_id]) for video in group.videos}
    return {label for label in labels if not {(label, "train"), (label, "test")} <= has}


def all_shown(group: Group) -> Splits:
    """Splits of videos that nothing is learned from or measured on: they are only to be found."""
    if not group.shares:
        return Splits({}, {video.video_id: video.split for video in group.videos}, "as the collection says itself")
    of_videos = dict.fromkeys((video.video_id for video in group.videos), "train")
    if group.place.section["kind"] == "folder":
        return Splits({"splits": {"*": "train"}}, of_videos, "all in one split: there are no words to learn from")
    return Splits(
        {"val_share": 0.0, "test_share": 0.0}, of_videos, "all in one split: there are no words to learn from"
    )
