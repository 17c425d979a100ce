"""DiDeMo: videos of Flickr with sentences for moments; read for paragraph-to-video retrieval.

Layout (as published with LocalizingMoments): train_data.json, val_data.json and test_data.json are lists of
`{"video": "35034348999@N01_6060447507_dc1a90b8ef.mov", "description": ..., "annotation_id": ..., "times": ...}`. The
papers join all descriptions of a video, in the order of the file, to one paragraph: 1,065 videos in val, 1,004 in
test. Some videos go by two suffixes in the lists, so that the name without suffix is the id; the files may have
any suffix (`NAME.mp4`, `NAME.mov.mp4`). Annotators saw the first 30 s only; the whole file is taken. In params.yaml:

    didemo:
      kind: didemo
      path: didemo/videos
      annotations: {train: didemo/train_data.json, val: didemo/val_data.json, test: didemo/test_data.json}
"""

from __future__ import annotations

from collections.abc import Iterator

from scriptsight.catalogue import Reject
from scriptsight.ingest.datasets import recordings, tables
from scriptsight.ingest.datasets.claims import Claim, assemble
from scriptsight.ingest.datasets.listing import Listing
from scriptsight.ingest.datasets.splits import with_val
from scriptsight.ingest.sources import Entry, Listed
from scriptsight.params.collections import DidemoCollection

SHAPE = 'a JSON list of {"video": ..., "description": ...}, such as train_data.json'


def entries(name: str, collection: DidemoCollection) -> Listed:
    """List the videos with their paragraphs; see the module for the layout.

    Raises:
        InputError: a file or a folder is missing or has another form.
    """
    return assemble(name, _claims(name, collection), Listing(collection.path))


def _claims(name: str, collection: DidemoCollection) -> Iterator[Claim | Reject]:
    for split, path in collection.annotations.items():
        videos: dict[str, tuple[str, set[str], list[str]]] = {}  # where first named, names, descriptions
        for where, row in tables.items(path, "item", SHAPE):
            found = tables.texts(row, "video", "description")
            if found is None:
                yield Reject(name, where, tables.BAD_ROW, "video or description is empty")
                continue
            video, description = found
            _, names, descriptions = videos.setdefault(video.rpartition(".")[0] or video, (where, set(), []))
            names.add(video)
            descriptions.append(description.rstrip("."))
        for key, (where, names, descriptions) in videos.items():
            paragraph = ". ".join(descriptions) + "."
            split_of, recording = with_val(split, key, collection.val_share), recordings.of("didemo", key)
            entry = Entry(key, split_of, "", captions=(paragraph,), recording=recording)
            yield Claim(where, entry, (*sorted(names), key))
