"""MSVD: 1,970 clips with about 40 sentences each; text-to-video retrieval.

Layout (public description; no sample at hand): the clips are `ID_START_END.avi`. The sentences are in
AllVideoDescriptions.txt (lines `ID_START_END a sentence`, a head of lines with #) or in video_corpus.csv (columns
`VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description`, of which those in English are read). The
usual split of 1,200, 100 and 670 is in train_list.txt, val_list.txt and test_list.txt, a clip a line. In params.yaml:

    msvd:
      kind: msvd
      path: MSVD/YouTubeClips
      captions: MSVD/AllVideoDescriptions.txt
      annotations: {train: MSVD/train_list.txt, val: MSVD/val_list.txt, test: MSVD/test_list.txt}

(The raw-captions.pkl that goes around with these lists is a pickle, which could run anything: it is not read.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from scriptsight.catalogue import Reject
from scriptsight.errors import InputError
from scriptsight.ingest.datasets import recordings, tables
from scriptsight.ingest.datasets.claims import Claim, assemble
from scriptsight.ingest.datasets.listing import Listing
from scriptsight.ingest.datasets.splits import with_val
from scriptsight.ingest.sources import Entry, Listed
from scriptsight.params.collections import MsvdCollection

SHAPE = "a clip a line, such as train_list.txt"
CAPTIONS = "AllVideoDescriptions.txt (lines of a clip, a space and a sentence) or video_corpus.csv"


def entries(name: str, collection: MsvdCollection) -> Listed:
    """List the captioned clips; see the module for the layout.

    Raises:
        InputError: a file, a folder or a column is missing, or the captions have another form.
    """
    return assemble(name, _claims(name, collection), Listing(collection.path))


def _claims(name: str, collection: MsvdCollection) -> Iterator[Claim | Reject]:
    sentences: dict[str, list[str]] = {}
    path = collection.captions
    for found in _corpus(name, path) if path.endswith(".csv") else _descriptions(name, path):
        if isinstance(found, Reject):
            yield found
        else:
            sentences.setdefault(found[0], []).append(found[1])
    for split, path in collection.annotations.items():
        for where, line in tables.lines(path, SHAPE):
            key = line.removesuffix(".avi").removesuffix(".mp4")
            captions = tuple(sentences.get(key, ()))
            if not captions:
                yield Reject(name, where, "no captions", f"nothing is said of {key!r} in {collection.captions}")
                continue
            youtube = re.sub(r"_\d+_\d+$", "", key)
            split_of, recording = with_val(split, youtube, collection.val_share), recordings.of("youtube", youtube)
            entry = Entry(key, split_of, "", captions=captions, recording=recording)
            yield Claim(where, entry, (key,))


def _descriptions(name: str, path: str) -> Iterator[tuple[str, str] | Reject]:
    if path.endswith((".pkl", ".pickle")):
        raise InputError(f"{path} is a pickle, which is not read: it could run anything. Name {CAPTIONS}.")
    for where, line in tables.lines(path, CAPTIONS):
        if line.startswith("#"):
            continue
        key, _, sentence = line.partition(" ")
        if sentence.strip():
            yield key, sentence.strip()
        else:
            yield Reject(name, where, tables.BAD_ROW, "a clip, a space and a sentence are needed")


def _corpus(name: str, path: str) -> Iterator[tuple[str, str] | Reject]:
    for found in tables.rows(name, path, ("VideoID", "Start", "End", "Language"), CAPTIONS):
        if isinstance(found, Reject):
            yield found
        elif found[1]["Language"] == "English" and found[1].get("Description"):
            row = found[1]
            yield f"{row['VideoID']}_{row['Start']}_{row['End']}", row["Description"]
