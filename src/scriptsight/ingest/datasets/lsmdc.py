"""LSMDC 2016: clips of films with a sentence each; text-to-video retrieval.

Layout (the challenge's description; no sample at hand): LSMDC16_annos_training.csv, LSMDC16_annos_val.csv and
LSMDC16_challenge_1000_publictect.csv (the 1,000 clips that the papers test on), no header, columns parted by tabs, no
quoting: `CLIP_ID, START_ALIGNED, END_ALIGNED, START_EXTRACTED, END_EXTRACTED, SENTENCE`. A clip may have several
sentences. The clips are `0001_American_Beauty/0001_American_Beauty_00.00.51.926-00.00.54.129.avi`, or flat. In
params.yaml:

    lsmdc:
      kind: lsmdc
      path: lsmdc/avi
      annotations:
        train: lsmdc/LSMDC16_annos_training.csv
        val: lsmdc/LSMDC16_annos_val.csv
        test: lsmdc/LSMDC16_challenge_1000_publictect.csv
"""

from __future__ import annotations

from collections.abc import Iterator

from scriptsight.catalogue import Reject
from scriptsight.ingest.datasets import recordings, tables
from scriptsight.ingest.datasets.claims import Claim, assemble
from scriptsight.ingest.datasets.listing import Listing
from scriptsight.ingest.datasets.splits import with_val
from scriptsight.ingest.sources import Entry, Listed
from scriptsight.params.collections import LsmdcCollection

SHAPE = "lines of six columns parted by tabs, such as LSMDC16_annos_training.csv"


def entries(name: str, collection: LsmdcCollection) -> Listed:
    """List the captioned clips; see the module for the layout.

    Raises:
        InputError: a file or a folder is missing.
    """
    return assemble(name, _claims(name, collection), Listing(collection.path))


def _claims(name: str, collection: LsmdcCollection) -> Iterator[Claim | Reject]:
    for split, path in collection.annotations.items():
        clips: dict[str, tuple[str, list[str]]] = {}  # where first named, sentences
        for where, line in tables.lines(path, SHAPE):
            columns = [column.strip() for column in line.split("\t")]
            if len(columns) != 6 or not columns[0] or not columns[5]:
                yield Reject(name, where, tables.BAD_ROW, f"it should be {SHAPE}")
            else:
                clips.setdefault(columns[0], (where, []))[1].append(columns[5])
        for key, (where, sentences) in clips.items():
            film = key.rpartition("_")[0]
            split_of, recording = with_val(split, film, collection.val_share), recordings.of("lsmdc", film)
            entry = Entry(key, split_of, "", captions=tuple(sentences), recording=recording)
            yield Claim(where, entry, (f"{film}/{key}.avi", f"{key}.avi"))
