"""Kinetics-400, 600 and 700: ten-second clips of YouTube videos, each of one action.

Layout (public description, the csv files of DeepMind and CVDF; no sample at hand): train.csv, val.csv (or
validate.csv), test.csv with the columns `label,youtube_id,time_start,time_end,split` (400 also has `is_cc`; a
`label` may be missing in test.csv). Clips are `ID_000010_000020.mp4` (seconds, six digits) or `ID.mp4`, flat, in
folders of the split, or of the class (`riding a bike` or `riding_a_bike`). The column `split` is not read: the file
says it. The papers report on validation, so that it is the test here. In params.yaml:

    kinetics:
      kind: kinetics
      path: k400
      annotations: {train: k400/train.csv, test: k400/val.csv}
      val_share: 0.05   # of training, by recording
      titles: k400/titles.csv   # for CPD; leave out for none

`clips: whole` says that `ID.mp4` is the whole YouTube video: the clip is then its seconds time_start to time_end.
That is slow: for each clip, both stages hash the whole file, and segment decodes all that lies before it. Where there
is disk for it, cut the clips beforehand.
Titles are a CSV with `youtube_id,title` or a JSON of {id: title}; the list that CPD used was not published.
"""

from __future__ import annotations

from collections.abc import Iterator

from scriptsight.catalogue import Reject
from scriptsight.ingest.datasets import recordings, tables
from scriptsight.ingest.datasets.claims import Claim, assemble
from scriptsight.ingest.datasets.listing import Listing
from scriptsight.ingest.datasets.splits import with_val
from scriptsight.ingest.sources import Entry, Listed
from scriptsight.params.collections import KineticsCollection

SHAPE = "a CSV with the columns label,youtube_id,time_start,time_end, such as train.csv"
TITLES = "a CSV with the columns youtube_id,title or a JSON of {id: title}"


def entries(name: str, collection: KineticsCollection) -> Listed:
    """List the labelled clips; see the module for the layout.

    Raises:
        InputError: a file, a folder or a column is missing.
    """
    return assemble(name, _claims(name, collection), Listing(collection.path))


def _claims(name: str, collection: KineticsCollection) -> Iterator[Claim | Reject]:
    titles: dict[str, str] = {}
    if collection.titles:
        yield from _read_titles(name, collection.titles, titles)
    for split, path in collection.annotations.items():
        for found in tables.rows(name, path, ("youtube_id", "time_start", "time_end"), SHAPE):
            if isinstance(found, Reject):
                yield found
                continue
            where, row = found
            youtube = row["youtube_id"]
            try:
                start, end = float(row["time_start"]), float(row["time_end"])
                key = f"{youtube}_{round(start):06d}_{round(end):06d}"
            except (ValueError, OverflowError):
                yield Reject(name, where, tables.BAD_ROW, "time_start and time_end must be seconds")
                continue
            if not 0 <= start < end:
                yield Reject(name, where, tables.BAD_ROW, f"time_start {start} to time_end {end} is no stretch")
                continue
            whole = collection.clips == "whole"
            entry = Entry(
                key,
                with_val(split, youtube, collection.val_share),
                "",
                title=titles.get(youtube),
                label=row.get("label") or None,
                recording=recordings.of("youtube", youtube),
                start=start if whole else None,
                end=end if whole else None,
            )
            yield Claim(where, entry, (youtube,) if whole else _names(youtube, key, entry.label or ""))


def _names(youtube: str, key: str, label: str) -> tuple[str, ...]:
    folders = [f"{label}/", f"{label.replace(' ', '_')}/"] if label and "/" not in label else []
    return tuple(f"{folder}{stem}" for stem in (key, youtube) for folder in (*folders, ""))


def _read_titles(name: str, path: str, titles: dict[str, str]) -> Iterator[Reject]:
    """Titles by YouTube id; of two of one video the first counts, and the second is a reject."""
    for found in _titles(name, path):
        if isinstance(found, Reject):
            yield found
            continue
        where, youtube, title = found
        if titles.setdefault(youtube, title) != title:
            yield Reject(name, where, "two titles", f"{youtube!r} is called {titles[youtube]!r} before: keep one")


def _titles(name: str, path: str) -> Iterator[tuple[str, str, str] | Reject]:
    """Where it stands, YouTube id and title."""
    if path.endswith(".json"):
        for youtube, title in tables.pairs(path, TITLES):
            if isinstance(title, str) and title.strip():
                yield f"{path}#{youtube}", youtube, " ".join(title.split())
            else:
                yield Reject(name, f"{path}#{youtube}", tables.BAD_ROW, "the title is no text")
        return
    for found in tables.rows(name, path, ("youtube_id", "title"), TITLES):
        if isinstance(found, Reject):
            yield found
        else:
            yield found[0], found[1]["youtube_id"], found[1]["title"]
