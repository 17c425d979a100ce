"""Conceptual Captions 3M: an image with a caption is a video of one frame.

Layouts (public descriptions; no sample at hand), one a split:

- Train_GCC-training.tsv and Validation_GCC-1.1.0-Validation.tsv, no header, `CAPTION<tab>URL`. The usual download
  scripts name an image after the URL: its CRC-32 in decimal, alone or after the row's number from 0
  (`17_3051234567`), with or without a suffix. Lists whose second column is a file name are read as well, with
  a header `caption<tab>...` or without.
- A folder that img2dataset wrote: `00000/000000012.jpg` and beside each shard `00000.parquet`, of which the columns
  `key`, `caption` and `status` are read.

In params.yaml:

    cc3m:
      kind: cc3m
      path: cc3m
      annotations: {train: cc3m/Train_GCC-training.tsv, val: cc3m/Validation_GCC-1.1.0-Validation.tsv}
      # or, of img2dataset: annotations: {train: cc3m/training, val: cc3m/validation}

Images in tar archives (img2dataset's webdataset format) are a collection of kind webdataset.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from scriptsight.catalogue import Reject
from scriptsight.errors import InputError
from scriptsight.ingest.datasets import tables
from scriptsight.ingest.datasets.claims import Claim, assemble
from scriptsight.ingest.datasets.listing import IMAGES, Listing
from scriptsight.ingest.datasets.splits import with_val
from scriptsight.ingest.sources import Entry, Listed
from scriptsight.params.collections import Cc3mCollection

SHAPE = "lines of a caption, a tab and a URL, such as Train_GCC-training.tsv, or a folder of img2dataset"


def entries(name: str, collection: Cc3mCollection) -> Listed:
    """List the captioned images; see the module for the layout.

    Raises:
        InputError: a file or a folder is missing or has another form.
    """
    return assemble(name, _claims(name, collection), Listing(collection.path, IMAGES | {""}))


def _claims(name: str, collection: Cc3mCollection) -> Iterator[Claim | Reject]:
    for split, path in collection.annotations.items():
        found = _listed(name, path) if path.endswith((".tsv", ".csv", ".txt")) else _img2dataset(name, path, split)
        for claim in found:
            if isinstance(claim, Reject):
                yield claim
            else:
                where, key, caption, names = claim
                entry = Entry(key, with_val(split, key, collection.val_share), "", captions=(caption,))
                yield Claim(where, entry, names)


_Image = tuple[str, str, str, tuple[str, ...]]  # where, key, caption, names


def _listed(name: str, path: str) -> Iterator[_Image | Reject]:
    for index, (where, line) in enumerate(tables.lines(path, SHAPE)):
        caption, _, source = (part.strip() for part in line.rpartition("\t"))
        if not caption or not source:
            if index == 0:
                raise InputError(f"{path} has no tab in its first line. It should be {SHAPE}.")
            yield Reject(name, where, tables.BAD_ROW, "a caption, a tab and a URL are needed")
        elif "://" in source:
            code = str(zlib.crc32(source.encode()))
            yield where, code, caption, (f"{index}_{code}", code)
        elif index or caption.lower() != "caption":
            yield where, source, caption, (source,)


def _img2dataset(name: str, folder: str, split: str) -> Iterator[_Image | Reject]:
    # Keys are unique in a split only: the split's folder distinguishes the images of two.
    last = folder.rstrip("/").rsplit("/", 1)[-1]
    shards = Listing(folder, frozenset({".parquet"}))
    for relative in shards:
        path = shards.address(relative)
        shard = relative.rsplit("/", 1)[-1].removesuffix(".parquet")
        number = 0
        try:
            # Without pre_buffer, which would keep in memory what was read of the shard.
            with fsspec.open(path, "rb") as file, pq.ParquetFile(file, pre_buffer=False) as table:
                for batch in table.iter_batches(columns=["key", "caption", "status"]):
                    for row in batch.to_pylist():
                        number += 1
                        where = f"{path}:{number}"
                        if (texts := tables.texts(row, "key", "caption")) is None:
                            yield Reject(name, where, tables.BAD_ROW, "key or caption is empty")
                            continue
                        key, caption = texts
                        yield where, f"{split}-{key}", caption, (f"{last}/{shard}/{key}", f"{shard}/{key}")
        except (pa.ArrowException, OSError) as error:
            yield Reject(name, path, "unreadable shard", str(error))
