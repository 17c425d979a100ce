"""WebVid-2M and 10M: stock footage with one caption a video.

Layout (public description, github.com/m-bain/webvid; no sample at hand): results_2M_train.csv and
results_2M_val.csv with the columns `videoid,contentUrl,duration,page_dir,name`, where `name` is the caption, and
the videos as `PAGE_DIR/VIDEOID.mp4`. Of the columns, videoid, page_dir and name are read. In params.yaml:

    webvid:
      kind: webvid
      path: webvid/videos
      annotations: {train: webvid/results_2M_train.csv, val: webvid/results_2M_val.csv}
"""

from __future__ import annotations

from collections.abc import Iterator

from scriptsight.catalogue import Reject
from scriptsight.ingest.datasets import recordings, tables
from scriptsight.ingest.datasets.claims import Claim, assemble
from scriptsight.ingest.datasets.listing import Listing
from scriptsight.ingest.datasets.splits import with_val
from scriptsight.ingest.sources import Entry, Listed
from scriptsight.params.collections import WebVidCollection

SHAPE = "a CSV with the columns videoid,page_dir,name, such as results_2M_train.csv"


def entries(name: str, collection: WebVidCollection) -> Listed:
    """List the captioned videos; see the module for the layout.

    Raises:
        InputError: a file, a folder or a column is missing.
    """
    return assemble(name, _claims(name, collection), Listing(collection.path))


def _claims(name: str, collection: WebVidCollection) -> Iterator[Claim | Reject]:
    for split, path in collection.annotations.items():
        for found in tables.rows(name, path, ("videoid", "name"), SHAPE):
            if isinstance(found, Reject):
                yield found
                continue
            where, row = found
            key, page = row["videoid"], row.get("page_dir", "")
            split_of, recording = with_val(split, key, collection.val_share), recordings.of("webvid", key)
            entry = Entry(key, split_of, "", captions=(row["name"],), recording=recording)
            yield Claim(where, entry, (f"{page}/{key}", key) if page else (key,))
