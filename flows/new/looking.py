"""Opening every video of a folder once, as ingest does, to know what is in it: nothing is written."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from flows.new.places import Place
from scriptsight.catalogue import Reject, Video
from scriptsight.ingest import describe
from scriptsight.ingest.datasets import READERS
from scriptsight.ingest.datasets.pairing import suffix
from scriptsight.ingest.notes import Notes
from scriptsight.ingest.sources import Entry, Listed
from scriptsight.media import Failed, isolated
from scriptsight.params.collections import Collection, Shares
from scriptsight.params.ingest import IngestParams
from scriptsight.reporting import Reporter
from scriptsight.spreading import evenly

SAMPLE = 8  # videos that are opened first
CHUNK = 4  # videos a worker is given at a time: few, so that the bar moves
_COLLECTION: TypeAdapter[Any] = TypeAdapter(Collection)
SHARES = (0.1, 0.15, 0.2, 0.25, 0.3)  # of the test, and of the validation, that are tried for a dataset


@dataclass(frozen=True)
class Group:
    """A collection and what was found in it.

    Attributes:
        videos: those that can be read, in order of their ids, with cues as ingest cleans them, without word times.
        rejects: what was refused or doubted of it, as ingest will write it.
        named: how many videos it names, the refused ones among them.
        words_from: where the words of its videos stand (".vtt", "a track inside") -> videos.
        shares: share of validation and test -> video id -> split, of collections whose reader splits by shares.
    """

    place: Place
    videos: tuple[Video, ...]
    rejects: tuple[Reject, ...]
    named: int
    words_from: Counter[str]
    shares: dict[float, dict[str, str]]

    @property
    def refused(self) -> list[Reject]:
        """What counts as refused when ingest compares it with `max_reject_share`."""
        return [reject for reject in self.rejects if reject.reason not in describe.FINDINGS]

    def relative(self, video: Video) -> str:
        """A video's path within its collection's folder."""
        return video.uri.removeprefix(str(self.place.section["path"]).rstrip("/") + "/")


@dataclass(frozen=True)
class Look:
    """What a folder holds, and how many seconds of a core it took to open all of it."""

    root: Path
    groups: tuple[Group, ...]
    seconds: float

    @property
    def videos(self) -> list[Video]:
        return [video for group in self.groups for video in group.videos]


@dataclass(frozen=True)
class _Seen:
    """What a worker found of one entry."""

    collection: str
    video: Video | None
    words_from: str | None
    rejects: tuple[Reject, ...]
    seconds: float = 0.0  # of a core


def look(
    root: Path,
    places: Sequence[Place],
    params: IngestParams,
    reporter: Reporter,
    early: Callable[[Sequence[Video], int], None],
) -> Look:
    """Open the videos of all collections, a sample first.

    Args:
        params: how ingest reads (cleaning, time limit, workers); its collections are not looked at.
        early: is called once, with the sample that could be read and the number of all videos.

    Raises:
        InputError: a table or an annotation file of a collection can't be read.
    """
    lists = {place.name: _listed(place) for place in places}
    entries = [(place.name, entry) for place in places for entry in lists[place.name].entries()]
    first = set(evenly(len(entries), SAMPLE))
    sample = [entries[number] for number in sorted(first)]
    rest = [one for number, one in enumerate(entries) if number not in first]
    seen = list(_opened(sample, params))
    early([one.video for one in seen if one.video is not None], len(entries))
    seen += reporter.progress(_opened(rest, params), "look at the videos", total=len(rest))
    groups = []
    for place in places:
        own = [one for one in seen if one.collection == place.name]
        listed = lists[place.name]
        groups.append(
            Group(
                place,
                tuple(sorted((one.video for one in own if one.video), key=lambda video: video.video_id)),
                (*listed.rejects(), *(reject for one in own for reject in one.rejects)),
                listed.videos(),
                Counter(one.words_from for one in own if one.words_from),
                _by_share(place),
            )
        )
        listed.close()
    return Look(root, tuple(groups), sum(one.seconds for one in seen))


def _listed(place: Place, **shares: float) -> Listed:
    reader = READERS[place.section["kind"]]
    return reader(place.name, _collection(place, **shares))


def _collection(place: Place, **shares: float) -> Any:
    """The section as the reader takes it."""
    return _COLLECTION.validate_python(place.section | shares)


def _by_share(place: Place) -> dict[float, dict[str, str]]:
    """The splits of a collection's videos for several shares; none where its reader has none, or they are said."""
    if not isinstance(_collection(place), Shares) or "splits" in place.section:
        return {}
    found = {}
    for share in SHARES:
        listed = _listed(place, val_share=share, test_share=share)
        found[share] = {entry.video_id: entry.split for entry in listed.entries()}
        listed.close()
    return found


def _opened(entries: Sequence[tuple[str, Entry]], params: IngestParams) -> Iterator[_Seen]:
    """What is in the videos, in the order in which they are done, opened in processes that may hang or crash."""
    todo = iter(entries)
    chunks = iter(lambda: list(islice(todo, CHUNK)), [])
    do = partial(_look_at, params=params)
    for _, outcomes in isolated(do, chunks, workers=params.workers, timeout=params.timeout_seconds):
        for items, result in outcomes:
            if isinstance(result, Failed):
                yield from _failed(items, result)
            else:
                yield from result


def _failed(items: Iterable[tuple[str, Entry]], why: Failed) -> Iterator[_Seen]:
    for name, entry in items:
        yield _Seen(name, None, None, (Reject(name, entry.uri, why.reason, why.detail),))


def _look_at(items: Sequence[tuple[str, Entry]], *, params: IngestParams) -> list[_Seen]:
    """In a worker."""
    found = []
    for name, entry in items:
        notes, began = Notes(name), time.process_time()
        video = describe.describe(entry, params, notes)
        if video is not None:
            video = replace(video, cues=tuple(replace(cue, words=None, raw=None) for cue in video.cues))
        found.append(_Seen(name, video, _words_from(entry, video), tuple(notes.rejects), time.process_time() - began))
    return found


def _words_from(entry: Entry, video: Video | None) -> str | None:
    if video is None or not video.cues:
        return None
    if entry.cues is not None:
        return "the dataset's list"
    return suffix(entry.script) if entry.script else "a track inside"
