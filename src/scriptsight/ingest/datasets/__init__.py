"""Published datasets, read as they are: one small module a layout, from its annotation files to entries.

A reader opens no video. It reads the annotation files, lists the folder once, looks up which of the named videos are
there, and yields entries in order of `video_id`; what is wrong (a missing video, a bad row, a double) is a reject
with its reason. The module of a layout says where that comes from and what to write in params.yaml.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from scriptsight.catalogue import Reject
from scriptsight.ingest.datasets import (
    cc3m,
    didemo,
    hmdb51,
    howto100m,
    instagram,
    kinetics,
    lsmdc,
    msrvtt,
    msvd,
    ssv2,
    ucf101,
    webdataset,
    webvid,
    yt_dlp,
    yt_temporal,
)
from scriptsight.ingest.sources import Entry

__all__ = ["READERS", "Reader"]

Reader = Callable[[str, Any], Iterator[Entry | Reject]]  # (collection's name, its model) -> what it holds

READERS: dict[str, Reader] = {
    "cc3m": cc3m.entries,
    "didemo": didemo.entries,
    "hmdb51": hmdb51.entries,
    "howto100m": howto100m.entries,
    "instagram": instagram.entries,
    "kinetics": kinetics.entries,
    "lsmdc": lsmdc.entries,
    "msrvtt": msrvtt.entries,
    "msvd": msvd.entries,
    "ssv2": ssv2.entries,
    "ucf101": ucf101.entries,
    "webdataset": webdataset.entries,
    "webvid": webvid.entries,
    "yt_dlp": yt_dlp.entries,
    "yt_temporal": yt_temporal.entries,
}
