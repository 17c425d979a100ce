"""The search index: embeddings of moments, what they are, and which model made them.

A folder with `embeddings.npy` (float32 [N, E], unit vectors, memory-mapped), `moments.parquet` (row i
describes embedding i) and `config.json`. Search is exact: one matrix product, in chunks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scriptsight.errors import InputError
from scriptsight.features import script_texts
from scriptsight.files import whole_folder, write_json
from scriptsight.models import bundle as bundles
from scriptsight.segments import Segment

FORMAT = 1  # of the folder; raised when an older reader could not read a newer index
CHUNK = 65536  # moments at a time: bounds what is read from the memory map
MOMENTS = pa.schema(
    [
        ("uri", pa.string()),
        ("collection", pa.string()),
        ("split", pa.string()),
        ("segment_id", pa.string()),
        ("start", pa.float64()),  # seconds in the video
        ("end", pa.float64()),
        ("text", pa.string()),
    ]
)


@dataclass(frozen=True)
class Moment:
    """A stretch of a video, `start` to `end` seconds, the cosine of its picture with the query, its words."""

    uri: str
    start: float
    end: float
    score: float
    text: str
    segment_id: str


def clock(seconds: float) -> str:
    """Seconds as m:ss.s."""
    minutes, rest = divmod(round(seconds * 10), 600)
    return f"{minutes}:{rest // 10:02d}.{rest % 10}"


def span(start: float, end: float) -> str:
    """Two times in seconds as m:ss.s - m:ss.s."""
    return f"{clock(start)} - {clock(end)}"


def row(segment: Segment, collection: str, split: str) -> dict[str, str | float]:
    """What the index says of a segment; the cues' texts are joined by slashes, as lines of a poem are."""
    return {
        "uri": segment.uri,
        "collection": collection,
        "split": split,
        "segment_id": segment.segment_id,
        "start": segment.start,
        "end": segment.end,
        "text": " / ".join(script_texts(segment)),
    }


def write(folder: str | Path, embeddings: np.ndarray, rows: Iterable[dict[str, str | float]], weights: str) -> None:
    """Write the index, whole or not at all.

    Args:
        embeddings: float32 [N, E], unit vectors.
        rows: N results of `row`, in the order of `embeddings`.
        weights: SHA-256 of the weights that made the embeddings.
    """
    with whole_folder(folder) as partial:
        write_json(partial / "config.json", {"format": FORMAT, "weights": weights})
        np.save(partial / "embeddings.npy", embeddings, allow_pickle=False)
        pq.write_table(pa.Table.from_pylist(list(rows), MOMENTS), partial / "moments.parquet")


def best(queries: np.ndarray, embeddings: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """The `top` best rows of each query and their scores -> int64 [Q, top], float32 [Q, top].

    Exact; of equal scores the earlier row comes first. There are fewer results where there are fewer rows.

    Args:
        queries: [Q, E].
        embeddings: [N, E], may be memory-mapped.
    """
    chunks = range(0, len(embeddings), CHUNK)
    scores = np.concatenate([queries @ embeddings[start : start + CHUNK].T for start in chunks], axis=1)
    top = min(top, len(embeddings))
    last = -np.partition(-scores, top - 1, axis=1)[:, top - 1]  # the score of the last place
    rows = np.empty((len(queries), top), dtype=np.int64)
    for query, (line, bound) in enumerate(zip(scores, last, strict=True)):
        candidates = np.flatnonzero(line >= bound)
        rows[query] = candidates[np.argsort(-line[candidates], kind="stable")[:top]]
    return rows, np.take_along_axis(scores, rows, axis=1)


def search(
    queries: Sequence[str],
    *,
    index: str | Path = Path("models/index"),
    bundle: str | Path = Path("models/pretrained"),
    top: int = 5,
) -> list[list[Moment]]:
    """The `top` moments that show best what each query says, best first.

    Raises:
        InputError: a query without words, `top` under 1, a missing or damaged index or model, or an index
            that another model made.
    """
    if blank := [query for query in queries if not query.strip()]:
        raise InputError(f"The query {blank[0]!r} has no words: say what the video should show.")
    if top < 1:
        raise InputError(f"top is {top}: ask for one moment or more.")
    encoder = bundles.load(bundle)
    embeddings, table = _open(Path(index), bundles.weights_digest(bundle), bundle)
    if not queries:
        return []
    rows, scores = best(encoder.encode_text(queries).numpy(), embeddings, top)
    return [
        [
            Moment(
                **{name: found[name] for name in ("uri", "start", "end", "text", "segment_id")},
                score=float(score),
            )
            for found, score in zip(table.take(line).to_pylist(), of_line, strict=True)
        ]
        for line, of_line in zip(rows, scores, strict=True)
    ]


def _open(folder: Path, weights: str, bundle: str | Path) -> tuple[np.ndarray, pa.Table]:
    """The embeddings, memory-mapped, and the moments of an index that `weights` made."""
    if not (folder / "config.json").is_file():
        raise InputError(f"There is no index in {folder}: run the retrieve stage first.")
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        version, made_by = config["format"], config["weights"]
        embeddings = np.load(folder / "embeddings.npy", mmap_mode="r", allow_pickle=False)
        table = pq.read_table(folder / "moments.parquet")
        if embeddings.ndim != 2 or not 0 < len(embeddings) == len(table):
            raise ValueError(f"{len(table)} moments, embeddings of shape {list(embeddings.shape)}")
    except Exception as error:  # whatever a damaged file provokes in three readers
        raise InputError(f"The index in {folder} is damaged: {error}. Run the retrieve stage again.") from error
    if version != FORMAT:
        raise InputError(f"{folder} has format {version}, this version reads {FORMAT}: update scriptsight.")
    if made_by != weights:
        raise InputError(
            f"The index in {folder} was made by another model than {bundle}: their vectors can't be "
            "compared. Run the retrieve stage again, or name the model that made it."
        )
    return embeddings, table
