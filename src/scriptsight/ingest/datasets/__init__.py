"""Published datasets, read as they are: one small module a layout, from its annotation files to entries.

A reader opens no video. It reads the annotation files, lists the folder once, looks up which of the named videos are
there, and gives the list of them; what is wrong (a missing video, a bad row, a double) is a reject with its reason.
The module of a layout says where that comes from and what to write in params.yaml. A folder of one's own is read the
same way, and so is the narrated world once it is rendered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scriptsight.ingest.datasets import (
    cc3m,
    didemo,
    folder,
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
from scriptsight.ingest.sources import Listed

__all__ = ["READERS", "Reader"]

Reader = Callable[[str, Any], Listed]  # (collection's name, its model) -> what it holds

READERS: dict[str, Reader] = {
    "cc3m": cc3m.entries,
    "didemo": didemo.entries,
    "folder": folder.entries,
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
