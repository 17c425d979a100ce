"""The search index: embeddings of moments, what they are, and which model made them.

A folder, memory-mapped when it is opened, so that a million moments are there at once:

- `embeddings.npy`, float32 [N, E], unit vectors, and `coarse.npy`, the same as int8, for the scan;
- `moments.arrow`: row i describes embedding i;
- `words.db`: a full-text index of what is said, rowid = i;
- `graph.faiss`, where the index was made for `hnsw`: a graph for single queries;
- `config.json`: which model made it, and checksums of all the files, which are looked at when it is opened.

Search is exact (`scan`), or along the graph, whose answers are nearly always the same and come much sooner.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from scriptsight import finite
from scriptsight.errors import InputError
from scriptsight.features import script_texts
from scriptsight.files import check_sealed, seal, whole_folder, write_json
from scriptsight.retrieve import graph, scan, words
from scriptsight.segments import Segment

FORMAT = 3  # of the folder; raised when an older reader could not read a newer index
EXACT_LIMIT = 1_000_000  # moments: beyond, "auto" makes a graph as well
ROWS = 65536  # of a record batch: bounds memory while writing
CHECKED = 8  # old vectors that are made again, to see that they still come out the same
SAME = 1e-3  # the most by which the parts of a vector may differ then; batches of other sizes round differently
CUE = pa.struct([("start", pa.float64()), ("end", pa.float64()), ("text", pa.string())])
MOMENTS = pa.schema(
    [
        ("uri", pa.string()),
        ("collection", pa.string()),
        ("split", pa.string()),
        ("segment_id", pa.string()),
        ("start", pa.float64()),  # seconds in the video
        ("end", pa.float64()),
        ("text", pa.string()),
        ("cues", pa.list_(CUE)),
        ("label", pa.string()),
        ("language", pa.string()),
        ("content", pa.string()),  # digest of what was embedded
    ]
)


class OtherModel(InputError):
    """An index was made by another model than it is to be searched with."""


@dataclass(frozen=True)
class Index:
    """An index that was opened: N moments of E dimensions."""

    embeddings: np.ndarray  # float32 [N, E]
    coarse: scan.Coarse  # what is scanned
    moments: pa.Table
    words: words.Words
    graph: graph.Graph | None
    weights: str  # SHA-256 of the weights that made it

    def __len__(self) -> int:
        return len(self.embeddings)

    def nearest(
        self, queries: np.ndarray, top: int, allowed: np.ndarray | None = None, exact: bool | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best rows of each query and their cosines -> int64 [Q, top], float32 [Q, top], best first.

        Args:
            queries: unit vectors, float32 [Q, E].
            allowed: bool [N], the rows that may be chosen; such a search is always exact.
            exact: None takes the graph for single queries where there is one; False without a graph is an error.
        """
        if exact is None:
            exact = self.graph is None or len(queries) > 1
        if exact or allowed is not None:
            return scan.nearest(queries, self.embeddings, self.coarse, top, allowed)
        if self.graph is None:
            raise InputError("This index has no graph: set retrieve.search to hnsw and run the retrieve stage again.")
        top = min(top, len(self))
        found = [
            scan.rescore(query, self.embeddings, np.sort(self.graph.nearest(query, top)), top) for query in queries
        ]
        return np.stack([rows for rows, _ in found]), np.stack([scores for _, scores in found])

    def described(self, rows: Iterable[int], columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Some columns of rows, or all. By slices: `take` joins the table's chunks first, hundreds of megabytes of a
        million moments, for a dozen of them."""
        table = self.moments if columns is None else self.moments.select(list(columns))
        wanted = [int(row) for row in rows]
        if wanted and wanted == list(range(wanted[0], wanted[0] + len(wanted))):  # as those of one video lie
            return table.slice(wanted[0], len(wanted)).to_pylist()
        return [table.slice(row, 1).to_pylist()[0] for row in wanted]

    def row_of(self, segment_id: str) -> int:
        """Where a segment is.

        Raises:
            InputError: it is not in the index.
        """
        row = int(pc.index(self.moments["segment_id"], pa.scalar(segment_id)).as_py())
        if row < 0:
            raise InputError(
                f"The index has no moment {segment_id!r}: ids look like {self.moments['segment_id'][0].as_py()!r}, "
                "and `scriptsight search --json` prints them."
            )
        return row

    def allowed(
        self,
        collections: Sequence[str] = (),
        labels: Sequence[str] = (),
        languages: Sequence[str] = (),
        said: str = "",
        splits: Sequence[str] = (),
    ) -> np.ndarray | None:
        """The rows that pass the filters, bool [N]; None where nothing is filtered.

        Args:
            said: words that are all spoken in the moment.

        Raises:
            InputError: a collection, label, language or split that no moment has.
        """
        mask: np.ndarray | None = None
        columns = ("collection", "label", "language", "split")
        for column, wanted in zip(columns, (collections, labels, languages, splits), strict=True):
            if not wanted:
                continue
            values = self.moments[column]
            known = sorted(value for value in pc.unique(values).to_pylist() if value is not None)
            if missing := [value for value in wanted if value not in known]:
                has = ", ".join(known[:20]) or f"no moment with a {column}"
                raise InputError(f"The index has no {column} {missing[0]!r}; it has: {has}.")
            passes = pc.is_in(values, value_set=pa.array(wanted, pa.string())).to_numpy()
            mask = passes if mask is None else mask & passes
        if said:
            spoken = np.zeros(len(self), dtype=bool)
            spoken[self.words.with_all(said)] = True
            mask = spoken if mask is None else mask & spoken
        return mask


def row(
    segment: Segment, collection: str, split: str, language: str | None = None, digest: str | None = None
) -> dict[str, Any]:
    """What the index says of a segment; the cues' texts are joined by slashes, as lines of a poem are.

    Args:
        digest: `content` of the segment, where it is known already.
    """
    return {
        "uri": segment.uri,
        "collection": collection,
        "split": split,
        "segment_id": segment.segment_id,
        "start": segment.start,
        "end": segment.end,
        "text": " / ".join(script_texts(segment)),
        "cues": [{"start": cue.start, "end": cue.end, "text": cue.text} for cue in segment.cues],
        "label": segment.label,
        "language": language,
        "content": digest or content(segment),
    }


def content(segment: Segment) -> str:
    """A digest of what a segment shows: frames, their times, and the stretch of the video."""
    total = hashlib.blake2b(digest_size=16)
    total.update(np.array([segment.start, segment.end, *segment.frame_times], dtype="<f8").tobytes())
    for number in range(len(segment.frames)):
        total.update(segment.frames[number])
    return total.hexdigest()


def write(
    folder: str | Path,
    embeddings: np.ndarray,
    rows: Iterable[Mapping[str, Any]],
    weights: str,
    search: Literal["auto", "exact", "hnsw"] = "auto",
) -> None:
    """Write the index, whole or not at all.

    Args:
        embeddings: float32 [N, E], unit vectors.
        rows: N results of `row`, in the order of `embeddings`.
        weights: SHA-256 of the weights that made the embeddings.
        search: "hnsw" makes a graph as well, on one thread, so that its bytes repeat; "auto" does beyond
            `EXACT_LIMIT` moments where faiss is installed.

    Raises:
        InputError: embeddings that are not finite, `search` is "hnsw" and faiss is not installed, or the disk is
            full.
    """
    finite.check(embeddings, "the vectors of the moments")
    with whole_folder(folder) as partial:
        np.save(partial / "embeddings.npy", embeddings, allow_pickle=False)
        coarse = _write_coarse(partial / "coarse.npy", embeddings)
        _write_moments(partial, rows)
        graphed = search == "hnsw" or (search == "auto" and len(embeddings) > EXACT_LIMIT and graph.installed())
        if graphed:
            graph.write(embeddings, partial / "graph.faiss")
        write_json(
            partial / "config.json", {"format": FORMAT, "weights": weights, "graph": graphed, "coarse": coarse}
        )
        seal(partial / "config.json")


def _write_coarse(path: Path, embeddings: np.ndarray) -> dict[str, float]:
    """Write them as int8 -> `step` and `error` of `scan.Coarse`. Not through a memory map: there a full disk is a
    signal that ends the process."""
    step, error = scan.step_of(embeddings), 0.0
    with path.open("wb") as file:
        header = {"descr": "|i1", "fortran_order": False, "shape": embeddings.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(embeddings), ROWS):
            part, away = scan.to_int8(np.asarray(embeddings[start : start + ROWS]), step)
            file.write(part.tobytes())
            error = max(error, away)
    return {"step": step, "error": error}


def _write_moments(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    waiting: list[Mapping[str, Any]] = []
    with (
        words.writing(folder / "words.db") as said,
        pa.OSFile(str(folder / "moments.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, MOMENTS) as table,
    ):
        for number, one in enumerate(rows):
            said.add(number, one["text"])
            waiting.append(one)
            if len(waiting) == ROWS:
                table.write_batch(pa.RecordBatch.from_pylist(waiting, MOMENTS))
                waiting = []
        table.write_batch(pa.RecordBatch.from_pylist(waiting, MOMENTS))


def read(folder: str | Path, weights: str, bundle: str | Path = "models/pretrained") -> Index:
    """Open an index that the model with these `weights` made; `bundle` is where that model is, for the message.

    Raises:
        InputError: no index, a damaged one, or one of another model or version.
    """
    folder = Path(folder)
    config = _config(folder)
    if config["format"] != FORMAT:
        older = config["format"] < FORMAT
        remedy = "run the retrieve stage again" if older else "update scriptsight"
        raise InputError(f"{folder} has format {config['format']}, this version reads {FORMAT}: {remedy}.")
    remedy = f"The index in {folder} is damaged: run the retrieve stage again."
    if not check_sealed(folder / "config.json", (), remedy):
        raise InputError(f"The index in {folder} is from before there were checksums: run the retrieve stage again.")
    if config["weights"] != weights:
        raise OtherModel(
            f"The index in {folder} was made by another model than {bundle}: their vectors can't be "
            "compared. Run the retrieve stage again, or name the model that made it."
        )
    graphs = ["graph.faiss"] if config.get("graph") and graph.installed() else []
    check_sealed(
        folder / "config.json", ["embeddings.npy", "coarse.npy", "moments.arrow", "words.db", *graphs], remedy
    )
    try:
        embeddings = np.load(folder / "embeddings.npy", mmap_mode="c", allow_pickle=False)  # "c": torch wants no "r"
        whole = np.load(folder / "coarse.npy", mmap_mode="c", allow_pickle=False)
        units = float(config["coarse"]["step"]), float(config["coarse"]["error"])
        with pa.memory_map(str(folder / "moments.arrow")) as source:
            moments = pa.ipc.open_file(source).read_all()
        shapes = {embeddings.shape, whole.shape, (len(moments), embeddings.shape[-1])}
        kinds = (embeddings.dtype, whole.dtype, moments.schema)
        if len(shapes) != 1 or not len(moments) or kinds != (np.float32, np.int8, MOMENTS):
            raise ValueError(f"{len(moments)} moments, embeddings of shape {list(embeddings.shape)}")
        said = words.read(folder / "words.db")
        built = graph.read(folder / graphs[0], len(embeddings)) if graphs else None
    except Exception as error:  # whatever a damaged file provokes in five readers
        raise _damaged(folder, error) from error
    quick = scan.fastest(embeddings.shape[1]) == "int8"
    coarse = scan.Coarse(torch.from_numpy(whole), *units) if quick else scan.Coarse(torch.from_numpy(embeddings))
    return Index(embeddings, coarse, moments, said, built, weights)


def _config(folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        raise InputError(f"There is no index in {folder}: run the retrieve stage first.")
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if not isinstance(config["format"], int) or not isinstance(config["weights"], str):
            raise ValueError("config.json has values of other types")
    except Exception as error:
        raise _damaged(folder, error) from error
    return config


def _damaged(folder: Path, error: Exception) -> InputError:
    return InputError(f"The index in {folder} is damaged: {error}. Run the retrieve stage again.")


# ------------------------------------------------------------------------------- adding without starting over

Key = tuple[str, str]  # segment id and content
Embed = Callable[[Sequence[int]], np.ndarray]  # numbers of segments, ascending -> unit vectors float32 [R, E]


@dataclass(frozen=True)
class Embedded:
    """Vectors of all segments, float32 [N, E], and how many of them were taken over from an earlier index."""

    vectors: np.ndarray
    reused: int


def keep(folder: Path, kept: Path) -> None:
    """Keep an index in another folder as well, for the next one to be made from; on one disk it takes no room."""
    with whole_folder(kept) as partial:
        for file in sorted(folder.iterdir()):
            try:
                (partial / file.name).hardlink_to(file)  # an index is replaced, and its files are never changed
            except OSError:  # another disk, or a file system without links
                shutil.copyfile(file, partial / file.name)


def embedded(folders: Iterable[str | Path], keys: Sequence[Key], weights: str, embed: Embed) -> Embedded:
    """Vectors of segments; those that an index in one of `folders` has, of the same content and model, are not made
    again. The first folder with an index of this model counts.

    What the files can't tell, such as a change of the code that reads frames, shows in the vectors: some old
    ones are made again, and unless they come out the same, all are.
    """
    known = next(filter(None, (_known(folder, weights) for folder in folders)), {})
    old = [number for number, key in enumerate(keys) if key in known]
    if old:
        checked = sorted({old[(2 * i + 1) * len(old) // (2 * CHECKED)] for i in range(CHECKED)})
        before, again = np.stack([known[keys[number]] for number in checked]), embed(checked)
        if again.shape != before.shape or np.abs(again - before).max() > SAME:
            old = []
    new = sorted(set(range(len(keys))) - set(old))
    if not old:
        return Embedded(embed(new), 0)
    vectors = np.empty((len(keys), before.shape[1]), dtype=np.float32)
    vectors[old] = np.stack([known[keys[number]] for number in old])
    if new:
        vectors[new] = embed(new)
    return Embedded(vectors, len(old))


def _known(folder: str | Path, weights: str) -> dict[Key, np.ndarray]:
    """Vectors [E] of an index of the same model; a broken or older one is made anew."""
    try:
        index = read(folder, weights)
    except InputError:
        return {}
    ids, contents = (index.moments[name].to_pylist() for name in ("segment_id", "content"))
    return {key: index.embeddings[i] for i, key in enumerate(zip(ids, contents, strict=True))}
