"""UCF101: 13,320 clips of 101 actions, in three official splits.

Layout (as in the official UCF101TrainTestSplits-RecognitionTask.zip): trainlist01.txt has lines
`ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1`, testlist01.txt the same without the number; 02 and 03 are the other
splits. The videos are `ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi`, or flat. The folder in the line is the class.
There is no official validation: `val_share` takes whole groups (g08) from training, as clips of one group were
filmed together. In params.yaml:

    ucf101:
      kind: ucf101
      path: UCF-101
      annotations: ucfTrainTestlist
      fold: 1
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from scriptsight.catalogue import Reject
from scriptsight.ingest.datasets import recordings, tables
from scriptsight.ingest.datasets.claims import Claim, assemble
from scriptsight.ingest.datasets.listing import Listing, address
from scriptsight.ingest.datasets.splits import with_val
from scriptsight.ingest.sources import Entry, Listed
from scriptsight.params.collections import Ucf101Collection

SHAPE = "lines such as ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1"


def entries(name: str, collection: Ucf101Collection) -> Listed:
    """List the labelled clips of one split; see the module for the layout.

    Raises:
        InputError: a list or the folder is missing.
    """
    return assemble(name, _claims(name, collection), Listing(collection.path))


def _claims(name: str, collection: Ucf101Collection) -> Iterator[Claim | Reject]:
    for split in ("train", "test"):
        path = address(collection.annotations, f"{split}list{collection.fold:02d}.txt")
        for where, line in tables.lines(path, SHAPE):
            match = re.fullmatch(r"([^/\s]+)/([^/\s]+?)(?:\.\w+)?(?:\s+\d+)?", line)
            if match is None:
                yield Reject(name, where, tables.BAD_ROW, f"it should be {SHAPE}")
                continue
            label, key = match.groups()
            group = re.sub(r"_c\d+$", "", key)
            entry = Entry(
                key,
                with_val(split, group, collection.val_share),
                "",
                label=label,
                recording=recordings.of("ucf101", group),
            )
            yield Claim(where, entry, (f"{label}/{key}", key))
