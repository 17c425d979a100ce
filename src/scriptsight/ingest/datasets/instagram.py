"""Instagram-300k, CPD's videos with captions.

Layout (as CPD's published code reads it; no sample at hand): ins_300k.json is
`{ID: {"subset": "training" | "validation", "caption": ...}}` and the videos are `trimmed_resize_ID.mp4` (20 s from
the middle, short side 256), or `ID.mp4`. In params.yaml:

    instagram:
      kind: instagram
      path: Instagram-300k
      annotations: ins_300k.json
"""

from __future__ import annotations

from collections.abc import Iterator

from scriptsight.catalogue import Reject
from scriptsight.ingest.datasets import tables
from scriptsight.ingest.datasets.claims import Claim, assemble
from scriptsight.ingest.datasets.listing import Listing
from scriptsight.ingest.datasets.splits import with_val
from scriptsight.ingest.sources import Entry, Listed
from scriptsight.params.collections import InstagramCollection

SHAPE = 'a JSON object of {ID: {"subset": "training" or "validation", "caption": ...}}, such as ins_300k.json'
SPLITS = {"training": "train", "validation": "val"}


def entries(name: str, collection: InstagramCollection) -> Listed:
    """List the captioned videos; see the module for the layout.

    Raises:
        InputError: the file or the folder is missing or has another form.
    """
    return assemble(name, _claims(name, collection), Listing(collection.path))


def _claims(name: str, collection: InstagramCollection) -> Iterator[Claim | Reject]:
    for key, row in tables.pairs(collection.annotations, SHAPE):
        where = f"{collection.annotations}#{key}"
        found = tables.texts(row, "subset", "caption")
        if found is None or found[0] not in SPLITS:
            yield Reject(name, where, tables.BAD_ROW, "it needs a caption and a subset of training or validation")
            continue
        entry = Entry(key, with_val(SPLITS[found[0]], key, collection.val_share), "", captions=(found[1],))
        yield Claim(where, entry, (f"trimmed_resize_{key}.mp4", f"{key}.mp4"))
