"""HMDB51: 6,766 clips of 51 actions, in three official splits of 70 training and 30 test clips a class.

Layout (as in the official test_train_splits.rar): `CLASS_test_split1.txt` with lines `FILE.avi 1`, where 1 is
training, 2 is test and 0 is in neither; split2 and split3 are the other splits. The videos are `CLASS/FILE.avi`, or
flat. There is no official validation: `val_share` takes whole recordings from training (what stands before the class
in the file name). In params.yaml:

    hmdb51:
      kind: hmdb51
      path: hmdb51_org
      annotations: testTrainMulti_7030_splits
      fold: 1
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
from scriptsight.params.collections import Hmdb51Collection

SHAPE = "lines such as April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1"
SPLITS = {"1": "train", "2": "test"}


def entries(name: str, collection: Hmdb51Collection) -> Listed:
    """List the labelled clips of one split; see the module for the layout.

    Raises:
        InputError: a folder is missing, or no list of this split is in it.
    """
    return assemble(name, _claims(name, collection), Listing(collection.path))


def _claims(name: str, collection: Hmdb51Collection) -> Iterator[Claim | Reject]:
    ending = f"_test_split{collection.fold}.txt"
    lists = Listing(collection.annotations, frozenset({".txt"}))
    chosen = [relative for relative in lists if relative.endswith(ending)]
    if not chosen:
        raise InputError(f"No file in {collection.annotations} ends in {ending}: it should hold {SHAPE}.")
    for relative in chosen:
        label = relative.rsplit("/", 1)[-1].removesuffix(ending)
        for where, line in tables.lines(lists.address(relative), SHAPE):
            match = re.fullmatch(r"([^/]+)\.\w+\s+([012])", line)
            if match is None:
                yield Reject(name, where, tables.BAD_ROW, f"it should be {SHAPE}")
                continue
            key, code = match.groups()
            if code in SPLITS:
                recording = key.split(f"_{label}_")[0]
                split = with_val(SPLITS[code], recording, collection.val_share)
                entry = Entry(key, split, "", label=label, recording=recordings.of("hmdb51", recording))
                yield Claim(where, entry, (f"{label}/{key}.avi", f"{key}.avi"))
