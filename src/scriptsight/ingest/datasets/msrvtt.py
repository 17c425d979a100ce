"""MSR-VTT: 10,000 clips with 20 sentences each; text-to-video retrieval.

Layout: MSRVTT_data.json, or the official train_val_videodatainfo.json and test_videodatainfo.json, of
`{"videos": [{"video_id": "video0", "split": "train" | "validate" | "test", ...}], "sentences": [{"video_id":
"video0", "caption": ...}]}` (public description), and for 1k-A the lists MSRVTT_train.9k.csv (`video_id`; or 7k) and
MSRVTT_JSFUSION_test.csv (`key,vid_key,video_id,sentence`; as in MIL-NCE's msrvtt_test.csv). The videos are
`video0.mp4` in any folder. In params.yaml, the full split and 1k-A:

    msrvtt:
      kind: msrvtt
      path: MSRVTT/videos
      annotations: [MSRVTT/MSRVTT_data.json]
    msrvtt_1ka:
      kind: msrvtt
      path: MSRVTT/videos
      annotations: [MSRVTT/MSRVTT_data.json]
      lists: {train: MSRVTT/MSRVTT_train.9k.csv, test: MSRVTT/MSRVTT_JSFUSION_test.csv}

With lists, these alone say which videos there are and in which split. Where a list has a column `sentence`, a video
has the sentences of its rows (1k-A tests with one sentence a video); else its captions come from the JSON.
"""

from __future__ import annotations

from collections.abc import Iterator

from scriptsight.catalogue import Reject
from scriptsight.errors import InputError
from scriptsight.ingest.datasets import recordings, tables
from scriptsight.ingest.datasets.claims import Claim, assemble
from scriptsight.ingest.datasets.listing import Listing
from scriptsight.ingest.datasets.splits import with_val
from scriptsight.ingest.sources import Entry, Listed
from scriptsight.params.collections import MsrvttCollection

SHAPE = 'a JSON object of "videos" and "sentences", such as MSRVTT_data.json'
LIST = "a CSV with a column video_id, such as MSRVTT_train.9k.csv"
SPLITS = {"train": "train", "validate": "val", "test": "test"}


def entries(name: str, collection: MsrvttCollection) -> Listed:
    """List the captioned videos; see the module for the layout.

    Raises:
        InputError: a file, a folder or a column is missing, or a file has another form.
    """
    return assemble(name, _claims(name, collection), Listing(collection.path))


def _claims(name: str, collection: MsrvttCollection) -> Iterator[Claim | Reject]:
    sentences: dict[str, list[str]] = {}
    for path in collection.annotations:
        for where, row in tables.items(path, "sentences.item", SHAPE):
            found = tables.texts(row, "video_id", "caption")
            if found is None:
                yield Reject(name, where, tables.BAD_ROW, "video_id or caption is empty")
            else:
                sentences.setdefault(found[0], []).append(found[1])
    cut_from = _recordings(collection)
    for found_video in _listed(name, collection) if collection.lists else _official(name, collection):
        if isinstance(found_video, Reject):
            yield found_video
            continue
        where, split, key, own = found_video
        captions = own or tuple(sentences.get(key, ()))
        recording = cut_from.get(key)
        split = with_val(split, recording or key, collection.val_share)
        entry = Entry(key, split, "", captions=captions, recording=recording)
        yield Claim(where, entry, (key,))


def _recordings(collection: MsrvttCollection) -> dict[str, str]:
    """The YouTube video that each video was cut from, as far as the JSON says it."""
    found: dict[str, str] = {}
    for path in collection.annotations:
        try:
            for _, row in tables.items(path, "videos.item", SHAPE):
                recording = recordings.of_url(row.get("url")) if isinstance(row, dict) else None
                if recording is not None:
                    found[str(row.get("video_id"))] = recording
        except InputError:  # sentences alone, which were read before: with lists they are enough
            continue
    return found


_Video = tuple[str, str, str, tuple[str, ...]]  # where, split, id, its own sentences


def _listed(name: str, collection: MsrvttCollection) -> Iterator[_Video | Reject]:
    for split, path in collection.lists.items():
        videos: dict[str, tuple[str, dict[str, None]]] = {}  # id -> where it is first named, sentences in their order
        for found in tables.rows(name, path, ("video_id",), LIST):
            if isinstance(found, Reject):
                yield found
                continue
            _, sentences = videos.setdefault(found[1]["video_id"], (found[0], {}))
            if sentence := found[1].get("sentence"):
                sentences.setdefault(sentence)
        for key, (where, sentences) in videos.items():
            yield where, split, key, tuple(sentences)


def _official(name: str, collection: MsrvttCollection) -> Iterator[_Video | Reject]:
    for path in collection.annotations:
        for where, row in tables.items(path, "videos.item", SHAPE):
            found = tables.texts(row, "video_id", "split")
            if found is None or found[1] not in SPLITS:
                yield Reject(name, where, tables.BAD_ROW, f"it needs a video_id and a split of {', '.join(SPLITS)}")
            else:
                yield where, SPLITS[found[1]], found[0], ()
