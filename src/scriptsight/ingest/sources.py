"""What a source says of a video before anything is opened: every reader of a dataset layout yields these."""

from __future__ import annotations

from dataclasses import dataclass

from scriptsight.catalogue import Cue


@dataclass(frozen=True)
class Entry:
    """One video as its source describes it. Plain values only: entries travel to worker processes.

    Attributes:
        video_id: unique in its collection; letters, digits, `_` and `-` (it becomes part of names).
        split: "train", "val" or "test".
        uri: a local path or an fsspec address; a member of an archive is `tar://MEMBER::ARCHIVE`.
        script: path or address of its caption file, read by the parser that `captions.PARSERS` has for it.
        cues: what is said, where the source itself carries it (HowTo100M's one JSON of all videos); not yet
            cleaned. At most one of `script` and `cues` is given.
        embedded: look for a subtitle track inside the video, as neither is given.
        captions: descriptions without times, the first counts where one is wanted.
        start, end: seconds of the media file that this entry is, where a dataset cuts clips by time only;
            None is the whole file.
    """

    video_id: str
    split: str
    uri: str
    script: str | None = None
    cues: tuple[Cue, ...] | None = None
    embedded: bool = False
    language: str | None = None
    title: str | None = None
    captions: tuple[str, ...] = ()
    label: str | None = None
    start: float | None = None
    end: float | None = None
