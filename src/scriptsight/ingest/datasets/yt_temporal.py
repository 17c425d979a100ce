"""YT-Temporal-180M: six million YouTube videos with denoised speech recognition, TVTS's corpus.

Layout (as in MERLOT's published example): a JSON a video, `ID.json` or `ID.grover.json`, with `subtitles` (a list of
{word, time}), `denoised` (a list of {cleanasr}) and `info`; in any folder, as the videos `ID.mp4`. `ID.info.json`
beside it is yt-dlp's and is left alone. The JSON becomes the entry's script and is not opened here: six million
small reads belong to the workers. There is no official split. In params.yaml:

    yttemporal:
      kind: yt_temporal
      path: s3://bucket/yttemporal/videos
      annotations: s3://bucket/yttemporal/annotations
      val_share: 0.01
"""

from __future__ import annotations

from collections.abc import Iterator

from scriptsight.ingest.datasets import recordings
from scriptsight.ingest.datasets.claims import Claim, assemble
from scriptsight.ingest.datasets.listing import Listing
from scriptsight.ingest.datasets.splits import by_share
from scriptsight.ingest.sources import Entry, Listed
from scriptsight.params.collections import YtTemporalCollection


def entries(name: str, collection: YtTemporalCollection) -> Listed:
    """List the narrated videos; see the module for the layout.

    Raises:
        InputError: a folder is missing or holds no such file.
    """
    return assemble(name, _claims(collection), Listing(collection.path))


def _claims(collection: YtTemporalCollection) -> Iterator[Claim]:
    scripts = Listing(collection.annotations, frozenset({".json"}))
    for relative in scripts:
        if relative.endswith(".info.json"):
            continue
        script = scripts.address(relative)
        key = relative.rsplit("/", 1)[-1].split(".", 1)[0]
        split, recording = by_share(key, collection.val_share), recordings.of("youtube", key)
        yield Claim(script, Entry(key, split, "", script=script, recording=recording), (key,))
