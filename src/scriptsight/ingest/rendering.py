"""The narrated world on disk: collections of kind `world` become folders of videos, scripts and a table, which are
then read as any other folder is.

Rendering is work in parts (`scriptsight.parts`): it is spread as reading is, and goes on where it was interrupted.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, islice
from pathlib import Path

from pydantic import TypeAdapter

from scriptsight import parts
from scriptsight.catalogue import Reject
from scriptsight.files import partial_path, whole_folder, write_json
from scriptsight.ingest import world as narrated_world
from scriptsight.media import Failed
from scriptsight.params.collections import FolderCollection, WorldCollection
from scriptsight.parts import Mapper, Plan, Work
from scriptsight.reporting import Reporter

CHUNK_VIDEOS = 16  # even: twins are drawn together


@dataclass(frozen=True)
class RenderedPart:
    """What `work` made of a chunk: for each video its id, its split, and its title or label."""

    collection: str
    rows: tuple[tuple[str, str, str], ...] = ()
    rejects: tuple[Reject, ...] = ()


@dataclass(frozen=True)
class _Item:
    """A line of the plan: the video `number` of a split, and the address that it will have."""

    collection: str
    split: str
    number: int
    uri: str


_ITEM = TypeAdapter(_Item)


@dataclass(frozen=True)
class Rendering:
    """Worlds that were rendered into a work folder, but are not yet in their place."""

    worlds: Mapping[str, WorldCollection]
    job: Work[RenderedPart]
    chunks: Plan

    def videos(self) -> dict[str, int]:
        """How many videos each world should have."""
        return {name: sum(world.videos.model_dump().values()) for name, world in self.worlds.items()}

    def kept(self) -> Counter[str]:
        """How many videos each world has."""
        counts: Counter[str] = Counter()
        for part in self.job.parts(self.chunks):
            counts[part.collection] += len(part.rows)
        return counts

    def rejects(self) -> Iterator[Reject]:
        """The videos that could not be rendered."""
        return (reject for part in self.job.parts(self.chunks) for reject in part.rejects)

    def publish(self, world: Path) -> dict[str, FolderCollection]:
        """Put each world into its folder below `world`, whole or not at all, and remove what else is there.

        Its table is `captions.csv` of narrated videos, `labels.csv` of clips.

        Returns:
            How the folders are read.

        Raises:
            InputError: the disk is full.
        """
        world.mkdir(parents=True, exist_ok=True)
        for stale in world.iterdir():
            if stale.is_dir() and stale.name not in self.worlds:
                shutil.rmtree(stale)
        for name, chunks in groupby(self.chunks, key=lambda chunk: chunk.group):
            rows = (row for part in self.job.parts(chunks) for row in part.rows)
            with whole_folder(world / name) as folder:
                _fill(folder, self.worlds[name], self.job.folder / "videos" / name, rows)
        # What of it was rendered; also, DVC warns of an output folder that is empty.
        write_json(world / "collections.json", list(self.worlds))
        return {name: _as_folder(world / name, collection) for name, collection in self.worlds.items()}

    def remove(self) -> None:
        """Remove the work folder, when what was rendered is published and read."""
        parts.remove(self.job.folder)


def render(
    worlds: Mapping[str, WorldCollection],
    world: Path,
    *,
    timeout: float,
    work_root: Path,
    mapper: Mapper,
    reporter: Reporter,
) -> Rendering:
    """Render worlds below `work_root`, or what an interrupted run left of them to do.

    Args:
        world: the folder that they will be published into.
        timeout: seconds for a video.
    """
    about = {name: collection.model_dump() for name, collection in worlds.items()}
    folder = parts.work_folder(work_root, json.dumps(about, sort_keys=True), world.as_posix())
    chunks = parts.write_plan(folder, _plan(worlds, world))
    do = partial(work, worlds=worlds, folder=folder)
    job = Work(folder, Path.cwd(), do, _refused, RenderedPart, timeout)
    if chunks.chunks:
        parts.finish(job, chunks, mapper, "render", reporter)
    return Rendering(worlds, job, chunks)


def _plan(worlds: Mapping[str, WorldCollection], world: Path) -> Iterator[tuple[str, list[bytes]]]:
    for name, collection in sorted(worlds.items()):
        lines = (
            _ITEM.dump_json(_Item(name, split, number, (world / name / f"{split}-{number:05d}.mp4").as_posix()))
            for split, count in sorted(collection.videos.model_dump().items())
            for number in range(count)
        )
        while chunk := list(islice(lines, CHUNK_VIDEOS)):
            yield name, chunk


def work(lines: Sequence[bytes], *, worlds: Mapping[str, WorldCollection], folder: Path) -> RenderedPart:
    """Render the videos of a chunk (lines of the plan) into the work folder, each narrated one with a `.vtt`."""
    items = [_ITEM.validate_json(line) for line in lines]
    name = items[0].collection
    collection = worlds[name]
    into = folder / "videos" / name
    into.mkdir(parents=True, exist_ok=True)
    drawn: dict[tuple[str, int], tuple[narrated_world.Drawn, ...]] = {}
    rows = []
    for item in items:
        first = item.number if collection.content == "narrated" else item.number - item.number % 2
        if (item.split, first) not in drawn:
            drawn = {(item.split, first): narrated_world.draw(collection, item.split, first)}
        video = drawn[item.split, first][item.number - first]
        path = into / Path(item.uri).name
        # Whole, but not flushed one by one as `whole_file` does: 4 ms a file, where drawing a clip takes 14.
        temporary = partial_path(path)
        narrated_world.write_mp4(temporary, video.frames)
        temporary.replace(path)
        if any(cue.text for cue in video.cues):
            narrated_world.write_vtt(temporary, video.cues)
            temporary.replace(path.with_suffix(".vtt"))
        rows.append((path.stem, item.split, str(video.title or video.label)))
    return RenderedPart(name, tuple(rows))


def _refused(line: bytes, failed: Failed) -> RenderedPart:
    item = _ITEM.validate_json(line)
    return RenderedPart(item.collection, rejects=(Reject(item.collection, item.uri, failed.reason, failed.detail),))


def _fill(folder: Path, world: WorldCollection, rendered: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    """Put the videos of the rows, their scripts and their table into a folder."""
    table, column = _table(world)
    with (folder / f"{table}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["video", column, "split"])
        for video_id, split, value in rows:
            for path in (rendered / f"{video_id}{suffix}" for suffix in (".mp4", ".vtt")):
                if path.is_file():
                    _link(path, folder / path.name)
            writer.writerow([f"{video_id}.mp4", value, split])


def _table(world: WorldCollection) -> tuple[str, str]:
    """The name of its table, and of the column that says something of a video."""
    return ("captions", "title") if world.content == "narrated" else ("labels", "label")


def _as_folder(folder: Path, world: WorldCollection) -> FolderCollection:
    table, _ = _table(world)
    keys = {"path": folder.as_posix(), "pattern": "*.mp4", "splits": "column", table: f"{table}.csv"}
    return FolderCollection.model_validate({"kind": "folder"} | keys)


def _link(one: Path, other: Path) -> None:
    """The same file under a second name, which costs nothing; where the file system has no such names a copy, with
    its time, which shows that it did not change."""
    try:
        other.hardlink_to(one)
    except OSError:
        shutil.copy2(one, other)
