"""HowTo100M: 1.2 million narrated instructional videos.

Layout (public description; no sample at hand): raw_caption.json (10 GB) is
`{ID: {"start": [seconds], "end": [seconds], "text": [words]}}`; the same captions come as a folder of `ID.csv`.
HowTo100M_v1.csv has the columns `video_id,category_1,category_2,rank,task_id` (category_1 becomes the label). The
videos are `ID.mp4` or `ID.webm`, in any folder. There is no official split. In params.yaml:

    howto100m:
      kind: howto100m
      path: s3://bucket/howto100m
      captions: howto100m/raw_caption.json
      annotations: howto100m/HowTo100M_v1.csv   # optional: only its videos are taken
      val_share: 0.01

The JSON is streamed; the cues of the videos that are there wait on disk in TMPDIR, which needs about as much room as
their part of the file. A video of the CSV without captions is a video without cues.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from scriptsight import captions
from scriptsight.catalogue import Cue, Reject
from scriptsight.ingest.datasets import recordings, tables
from scriptsight.ingest.datasets.claims import Claim, assemble
from scriptsight.ingest.datasets.listing import Listing
from scriptsight.ingest.datasets.splits import by_share
from scriptsight.ingest.sources import Entry, Listed
from scriptsight.params.collections import HowTo100mCollection

CAPTIONS = 'a JSON object of {ID: {"start": [...], "end": [...], "text": [...]}}, such as raw_caption.json'
SHAPE = "a CSV with a column video_id, such as HowTo100M_v1.csv"


def entries(name: str, collection: HowTo100mCollection) -> Listed:
    """List the narrated videos; see the module for the layout.

    Raises:
        InputError: a file, a folder or a column is missing, or the JSON has another form.
    """
    return assemble(name, _claims(name, collection), Listing(collection.path))


def _claims(name: str, collection: HowTo100mCollection) -> Iterator[Claim | Reject]:
    wanted: dict[str, tuple[str, str | None]] | None = None  # id -> where, label; what no captions were found for yet
    if collection.annotations:
        wanted = {}
        for found in tables.rows(name, collection.annotations, ("video_id",), SHAPE):
            if isinstance(found, Reject):
                yield found
            elif found[1]["video_id"] in wanted:
                yield Reject(name, found[0], "duplicate id", f"{found[1]['video_id']!r} was named before")
            else:
                wanted[found[1]["video_id"]] = (found[0], found[1].get("category_1") or None)
    for key, where, script, spoken in _captions(collection.captions):
        label = None
        if wanted is not None:
            if key not in wanted:
                continue
            where, label = wanted.pop(key)
        cues = None
        if script is None:
            try:
                cues = captions.howto100m(spoken)
            except ValueError as error:
                yield Reject(name, f"{collection.captions}#{key}", tables.BAD_ROW, str(error))
                continue
        yield _claim(collection, key, where, script, cues, label)
    for key, (where, label) in (wanted or {}).items():
        yield _claim(collection, key, where, None, None, label)


def _claim(
    collection: HowTo100mCollection,
    key: str,
    where: str,
    script: str | None,
    cues: tuple[Cue, ...] | None,
    label: str | None,
) -> Claim:
    split = by_share(key, collection.val_share)
    recording = recordings.of("youtube", key)
    return Claim(where, Entry(key, split, "", script=script, cues=cues, label=label, recording=recording), (key,))


def _captions(path: str) -> Iterator[tuple[str, str, str | None, Any]]:
    """Id, where it stands, and the caption file or the lists of start, end and text."""
    if path.endswith(".json"):
        for key, spoken in tables.pairs(path, CAPTIONS):
            yield key, f"{path}#{key}", None, spoken
        return
    files = Listing(path, frozenset({".csv"}))
    for relative in files:
        script = files.address(relative)
        yield relative.rsplit("/", 1)[-1].rsplit(".", 1)[0], script, script, None
