"""Frozen features of segments, extracted once and read by every protocol of probe and retrieve.

`extract` gives them in memory, or, with a `store`, memory-mapped from there. A store is a folder:

- `WEIGHTS/KEY/features.npy`, one kind of features, float32 [N, V, ...], and `manifest.json`: what it is, and the
  SHA-256 of its bytes. KEY is a digest of all that the numbers depend on (`_shelves`), so nothing stale is ever read:
  other weights, segments, rows, views or code have another key.
- `WEIGHTS/KEY.parts/FIRST-LAST.DIGEST.f32`, the rows of an extraction that is not finished. One that was killed goes
  on from them, and processes under torchrun share them out among each other; joined, they are removed.

It holds 4 bytes a number: of ViT-B, 220,000 segments seen once take 0.7 GB of "cls", six times as much with 2
stretches and 3 crops, but 1 TB of "tokens" (4.8 MB a clip of 16 frames), and twice that while parts are joined.
The features of weights that are no longer wanted are in a folder of their own: remove it. One run at a time writes
to a store; any number read it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scriptsight import arithmetic, clips, distributed
from scriptsight.arithmetic import Arithmetic
from scriptsight.clips import View
from scriptsight.code_digest import FEATURES, code_digest
from scriptsight.errors import InputError
from scriptsight.files import digest, whole_file, whole_folder, write_json
from scriptsight.models.bundle import Encoder
from scriptsight.models.video import Attention, VideoEncoder, VideoViT, use_explicit_attention
from scriptsight.read_ahead import read_ahead
from scriptsight.reporting import Reporter
from scriptsight.segments import Segment, Segments

__all__ = ["View", "extract", "script_texts"]

READERS = 2  # threads: JPEG decoding is in C and needs few of them to keep up with a processor's forward pass
PART_CLIPS = 1024  # in a part of a store, about; of tokens, which are large, a forward pass makes one


def extract(
    encoder: Encoder,
    segments: Segments,
    batch: int,
    reporter: Reporter,
    label: str,
    rows: Sequence[int] | None = None,
    *,
    view: View = View(),  # noqa: B008 - it is frozen
    kinds: Sequence[str] = ("cls", "mean", "embedding"),
    store: str | Path | None = None,
    precision: Literal["auto", "bf16", "fp32"] = "auto",
) -> dict[str, np.ndarray]:
    """The features of the clips of each segment.

    They are computed on a GPU where there is one (the encoder is back where it was afterwards) and in bf16 where
    the machine is faster in it, the next clips being decoded meanwhile. The same call gives the same bytes again on
    the same machine with the same number of threads, from a store or not, in one process or in several.

    Args:
        batch: clips a forward pass, or those of one segment where these are more.
        label: of the progress bar.
        rows: which segments, in this order; None takes all.
        view: V clips of a segment. Three crops of square frames are the same, so one is computed for the three.
        kinds: "cls", the class token [D] (of a ResNet the mean of its cells); "mean", that of the patch tokens;
            "tokens", these themselves [T * P, D]; "embedding", a unit vector [E] of the space that video and text
            share; "cls@3" and "mean@3", of the tokens as they leave the third block of a ViT, not normalised. If
            nothing but class tokens is asked for, the last block computes only them.
        store: the folder to keep them in. Under torchrun the processes share the work if there is one, which all
            of them must see; without a store each does it all.
        precision: "fp32" computes as exactly as the machine can.

    Returns:
        kind -> float32 [N, V, ...], the crops of a segment's first stretch first.

    Raises:
        InputError: no segments, damaged frames, kinds that this encoder does not have, a store that can't be
            written, or a model whose features are not finite.
    """
    chosen = range(len(segments)) if rows is None else rows
    if not len(chosen):
        raise InputError(f"{label}: there are no segments to encode; choose another split or collection.")
    step = max(1, batch // view.clips)
    size = arithmetic.Work(encoder.video, step * view.clips)
    machine = arithmetic.choose(precision, "fused" if precision == "fp32" else "auto", size)
    work = _Work(encoder, segments, chosen, view, tuple(kinds), step, machine, reporter, label)
    work.check_kinds()
    with _placed(encoder, machine), arithmetic.deterministic(), torch.inference_mode():
        if store is not None:
            return _kept(work, Path(store))
        found = list(work.encode(work.batches(0, len(chosen)), kinds))
    return {kind: np.concatenate([part[kind] for part in found]) for kind in kinds}


def script_texts(segment: Segment) -> list[str]:
    """What is said in a segment, cue by cue; without cues its first caption or else its title; else nothing."""
    spoken = [cue.text for cue in segment.cues if cue.text.strip()]
    untimed = [text for text in (*segment.captions, segment.title) if text and text.strip()]
    return spoken or untimed[:1]


# ----------------------------------------------------------------------------------------------- extraction


@dataclass(frozen=True)
class _Work:
    """What is extracted from what, `step` segments a forward pass."""

    encoder: Encoder
    segments: Segments
    rows: Sequence[int]
    view: View
    kinds: tuple[str, ...]
    step: int
    machine: Arithmetic
    reporter: Reporter
    label: str

    def check_kinds(self) -> None:
        """Raises: InputError: a kind that this encoder does not have."""
        video = self.encoder.video
        blocks = len(video.blocks) if isinstance(video, VideoViT) else 0
        known = {"cls", "mean", "embedding", "tokens"}
        known |= {f"{name}@{block}" for name in ("cls", "mean") for block in range(1, blocks + 1)}
        if unknown := [kind for kind in self.kinds if kind not in known]:
            more = f", and cls@1 to cls@{blocks} and mean@1 to mean@{blocks}" if blocks else " (@BLOCK is a ViT's)"
            raise InputError(
                f"This encoder has no features {unknown[0]!r}: it has cls, mean, embedding and tokens{more}."
            )

    @property
    def trimmed(self) -> bool:
        """Whether the last block has nothing to compute but the class token."""
        video = self.encoder.video
        if not isinstance(video, VideoViT):
            return False
        return not {"mean", "tokens", f"mean@{len(video.blocks)}"} & set(self.kinds)

    def shape(self, kind: str) -> tuple[int, ...]:
        """The features of a clip."""
        video = self.encoder.video
        if kind == "tokens":
            return (video.steps * video.patches, video.width)
        return (self.encoder.embed_dim,) if kind == "embedding" else (video.width,)

    def batches(self, first: int, last: int) -> list[range]:
        """Places in `rows` from first to last, those of a forward pass together."""
        return [range(start, min(start + self.step, last)) for start in range(first, last, self.step)]

    def encode(self, batches: Sequence[range], kinds: Sequence[str]) -> Generator[dict[str, np.ndarray]]:
        """Batches -> float32 [b, V, ...] each, in order; the next one is read while the last is encoded."""
        device = self.machine.device
        read = self.reporter.progress(self._read(batches), self.label, total=len(batches))
        with _tapped(self.encoder.video, self.kinds, self.trimmed) as blocks:
            for places, (frames, owners) in zip(batches, read, strict=True):
                with self.machine.autocast():
                    tokens = self.encoder.video(frames.to(device, non_blocking=True)).float()
                found = {}
                for kind in kinds:
                    values = self._features(kind, tokens, blocks).float().cpu().numpy()
                    found[kind] = values[owners].reshape(len(places), self.view.clips, *values.shape[1:])
                self._check_finite(places, found)
                yield found

    def _features(self, kind: str, tokens: Tensor, blocks: dict[int, Tensor]) -> Tensor:
        """Tokens [C, 1 + N, D], and those that left each block -> the features of C clips."""
        name, _, block = kind.partition("@")
        if block:
            tokens = blocks[int(block)].float()
        if name == "embedding":
            return F.normalize(self.encoder.project_video(tokens), dim=-1)
        if name == "tokens":
            return tokens[:, 1:]
        return tokens[:, 0] if name == "cls" else tokens[:, 1:].mean(1)

    def _read(self, batches: Sequence[range]) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Clips uint8 [C, M, size, size, 3], and which of them each of the b * V asked for is, int64."""
        said = False
        cuda = self.machine.device.type == "cuda"
        rows = (self.rows[place] for batch in batches for place in batch)
        found = read_ahead(
            self._clips,
            rows,
            ahead=2 * max(map(len, batches), default=1),  # a batch that is computed, and the next
            threads=(os.cpu_count() or READERS) if cuda else READERS,
        )
        with closing(found):
            for batch in batches:
                seen = list(islice(found, len(batch)))
                frames = torch.from_numpy(np.concatenate(seen))
                if len(frames) < len(seen) * self.view.clips and not said:
                    self.reporter.message(
                        f"{self.label}: the three crops of square frames are the same, one is computed"
                    )
                    said = True
                counts = [len(clip) for clip in seen]
                firsts = np.cumsum([0, *counts[:-1]])
                owners = [
                    first + np.repeat(np.arange(count), self.view.clips // count)
                    for first, count in zip(firsts, counts, strict=True)
                ]
                yield (frames.pin_memory() if cuda else frames), np.concatenate(owners)

    def _clips(self, row: int) -> np.ndarray:
        """What is seen of a segment, uint8 [V or fewer, M, size, size, 3]."""
        shape = self.encoder.preprocessing
        return clips.views(self.segments[row], self.view, shape.frames, shape.size)

    def _check_finite(self, places: range, found: dict[str, np.ndarray]) -> None:
        for values in found.values():
            broken = np.flatnonzero(~np.isfinite(values.reshape(len(places), -1)).all(axis=1))
            if len(broken):
                raise InputError(
                    f"The model's features of segment {self.segments[self.rows[places[broken[0]]]].segment_id} are "
                    "not finite: run the pretrain stage again, with a smaller lr."
                )


@contextmanager
def _placed(encoder: Encoder, machine: Arithmetic) -> Iterator[None]:
    """The encoder is where and computes as the machine does best inside the block, and as before after it."""
    device = next(encoder.parameters()).device
    explicit = any(module.explicit for module in encoder.modules() if isinstance(module, Attention))
    machine.prepare(encoder)
    try:
        yield
    finally:
        encoder.to(device)
        use_explicit_attention(encoder, explicit)


@contextmanager
def _tapped(video: VideoEncoder, kinds: Iterable[str], trimmed: bool) -> Iterator[dict[int, Tensor]]:
    """What left the blocks that `kinds` name, by their numbers from 1, in the last forward pass. If `trimmed`, of
    the last block that is the class token alone, [C, 1, D]."""
    left: dict[int, Tensor] = {}
    hooks = []
    if isinstance(video, VideoViT):
        if trimmed:
            hooks.append(video.blocks[-1].register_forward_pre_hook(_class_token_alone))
        for number in {int(block) for _, at, block in (kind.partition("@") for kind in kinds) if at}:

            def keep(module: nn.Module, given: Any, tokens: Tensor, number: int = number) -> None:
                left[number] = tokens

            hooks.append(video.blocks[number - 1].register_forward_hook(keep))
    try:
        yield left
    finally:
        for hook in hooks:
            hook.remove()


def _class_token_alone(block: nn.Module, given: tuple[Tensor]) -> tuple[Tensor, int]:
    """A block computes only the last tokens where asked to; their order makes no difference to attention."""
    return given[0].roll(-1, dims=1), 1


# ---------------------------------------------------------------------------------------------------- store

RowSpan = tuple[int, int]  # places in the rows, from the first to before the last


@dataclass(frozen=True)
class _Shelf:
    """Where features of one kind are kept: all that the numbers depend on, to the byte, and the folder named so."""

    about: dict[str, Any]
    folder: Path

    @classmethod
    def of(cls, store: Path, about: dict[str, Any]) -> _Shelf:
        key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
        return cls(about, store / about["weights"][:16] / key[:32])

    @property
    def kind(self) -> str:
        kind: str = self.about["kind"]
        return kind

    @property
    def parts(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.parts")


def _kept(work: _Work, store: Path) -> dict[str, np.ndarray]:
    """The features from the store, after what it lacks was extracted into it; all processes call this."""
    first = distributed.rank() == 0
    try:
        shelves: list[_Shelf] = distributed.collect(_shelves(work, store) if first else None)[0]
        missing: list[_Shelf] = distributed.collect(_missing(work, shelves) if first else None)[0]
        if missing:
            there: set[RowSpan] = distributed.collect(_there(work, missing) if first else None)[0]
            parts = _parts(work, missing)
            _make(work, missing, parts[distributed.rank() :: distributed.world()], there)
            distributed.collect(None)  # all parts are there
            if first:
                for shelf in missing:
                    _join(shelf, parts, (len(work.rows), work.view.clips, *work.shape(shelf.kind)))
            distributed.collect(None)
    except OSError as error:
        raise InputError(f"Features can't be kept in {store}: {error}. Name another folder.") from error
    # Private pages: who changes the array changes no file.
    return {shelf.kind: np.load(shelf.folder / "features.npy", mmap_mode="c") for shelf in shelves}


def _shelves(work: _Work, store: Path) -> list[_Shelf]:
    """Where the features of each kind belong."""
    video = work.encoder.video
    weights = hashlib.sha256(json.dumps(video.config, sort_keys=True).encode())
    for module in (video, work.encoder.video_projection):
        for name, value in module.state_dict().items():
            weights.update(f"{name} {value.dtype} {list(value.shape)}".encode())
            weights.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    about = {
        "weights": weights.hexdigest(),
        "segments": _segments_digest(tuple((path, path.stat().st_mtime_ns) for path in work.segments.paths)),
        "rows": hashlib.sha256(np.asarray(work.rows, dtype=np.int64).tobytes()).hexdigest(),
        "view": asdict(work.view),
        "batch": work.step,
        "trimmed": work.trimmed,
        "computed": f"{work.machine}, {torch.get_num_threads()} threads, {_libraries()}",
        "code": code_digest(FEATURES),
    }
    return [_Shelf.of(store, about | {"kind": kind}) for kind in dict.fromkeys(work.kinds)]


@lru_cache(maxsize=16)
def _segments_digest(paths: tuple[tuple[Path, int], ...]) -> str:
    """As `Segments.digest`, once a process for files that do not change: it reads them all."""
    return hashlib.sha256(b"".join(bytes.fromhex(digest(path)) for path, _ in paths)).hexdigest()


def _libraries() -> str:
    """What decodes, scales and multiplies."""
    return ", ".join(f"{name} {version(name)}" for name in ("simplejpeg", "pillow", "torch"))


def _missing(work: _Work, shelves: Sequence[_Shelf]) -> list[_Shelf]:
    """The features that are not there; damaged or foreign ones are said to be, and count as missing."""
    missing = []
    for shelf in shelves:
        try:
            manifest = json.loads((shelf.folder / "manifest.json").read_text(encoding="utf-8"))
            whole = manifest == {"about": shelf.about, "sha256": digest(shelf.folder / "features.npy")}
        except (FileNotFoundError, ValueError):
            whole = False
        if not whole:
            missing.append(shelf)
            if shelf.folder.exists():
                work.reporter.message(f"{work.label}: what is in {shelf.folder} is damaged, it is made again")
    return missing


def _parts(work: _Work, missing: Sequence[_Shelf]) -> list[RowSpan]:
    """All rows, cut so that a part can be held in memory and every forward pass is in one part."""
    passes = max(1, PART_CLIPS // (work.step * work.view.clips))
    size = work.step * (1 if any(shelf.kind == "tokens" for shelf in missing) else passes)
    return [(first, min(first + size, len(work.rows))) for first in range(0, len(work.rows), size)]


def _there(work: _Work, missing: Sequence[_Shelf]) -> set[RowSpan]:
    """The parts that an earlier run left of all the missing kinds; damaged ones are said to be and removed."""
    found = []
    for shelf in missing:
        found.append(set[RowSpan]())
        for path in sorted(shelf.parts.glob("[0-9]*.f32")):
            named = re.fullmatch(r"(\d+)-(\d+)\.([0-9a-f]{32})\.f32", path.name)
            if named and digest(path).startswith(named[3]):
                found[-1].add((int(named[1]), int(named[2])))
            else:
                work.reporter.message(f"{work.label}: {path} is damaged, it is made again")
                path.unlink()
    return set.intersection(*found)


def _make(work: _Work, missing: Sequence[_Shelf], parts: Sequence[RowSpan], there: set[RowSpan]) -> None:
    """Extract `parts` of the missing kinds, less those that are there."""
    todo = [part for part in parts if part not in there]
    if len(todo) < len(parts):
        work.reporter.message(f"{work.label}: {len(parts) - len(todo)} of {len(parts)} parts are there already")
    firsts = {last: first for first, last in todo}
    batches = [batch for part in todo for batch in work.batches(*part)]
    passes: list[dict[str, np.ndarray]] = []
    with closing(work.encode(batches, [shelf.kind for shelf in missing])) as encoded:
        for places, found in zip(batches, encoded, strict=True):
            passes.append(found)
            if places.stop not in firsts:
                continue
            for shelf in missing:
                data = np.concatenate([part[shelf.kind] for part in passes]).astype("<f4").tobytes()
                rows = f"{firsts[places.stop]:012}-{places.stop:012}"
                with whole_file(shelf.parts / f"{rows}.{hashlib.sha256(data).hexdigest()[:32]}.f32") as partial:
                    partial.write_bytes(data)
            passes.clear()


def _join(shelf: _Shelf, parts: Sequence[RowSpan], shape: tuple[int, ...]) -> None:
    """Make one file of the parts and remove them."""
    with whole_folder(shelf.folder) as partial:
        with (partial / "features.npy").open("wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for first, last in parts:
                (path,) = shelf.parts.glob(f"{first:012}-{last:012}.*.f32")
                with path.open("rb") as part:
                    shutil.copyfileobj(part, file)
        write_json(partial / "manifest.json", {"about": shelf.about, "sha256": digest(partial / "features.npy")})
    shutil.rmtree(shelf.parts)
