"""Samples for transcript sorting: K consecutive transcripts of a segment, shuffled, and a clip that spans them.

Every sample is a pure function of (seed, step, place in the batch): a resumed or repeated run sees the same
samples whatever the number of loader processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from scriptsight import clips
from scriptsight.catalogue import Cue
from scriptsight.errors import InputError
from scriptsight.segments import Segment, Segments

# The paper's rule: fewer characters are no transcript.
MIN_CHARACTERS = 10


@dataclass(frozen=True)
class Batch:
    """B samples of M frames and K transcripts.

    `texts` are in shuffled order, sample by sample: transcript k of sample b is `texts[b * K + k]` and
    belongs at position `order[b, k]`.
    """

    frames: Tensor  # uint8 [B, M, H, W, 3]
    texts: list[str]  # B * K
    order: Tensor  # int64 [B, K]
    segment_ids: list[str]  # B

    def to(self, device: torch.device) -> Batch:
        return replace(self, frames=self.frames.to(device), order=self.order.to(device))


class ScriptSampler:
    """Draws one sample from a segment. Eligible are segments with at least K transcripts.

    Raises:
        InputError: no segment has K transcripts.
    """

    def __init__(self, segments: Segments, *, k: int, frames: int, size: int) -> None:
        self.segments, self.k, self.frames, self.size = segments, k, frames, size
        scripts = segments.column("cues")
        counts = [sum(is_transcript(cue["text"]) for cue in cues) for cues in scripts]
        self.eligible = np.flatnonzero(np.array(counts) >= k)
        if not len(self.eligible):
            raise InputError(
                f"No segment in {segments.paths[0].parent} has {k} transcripts of at least {MIN_CHARACTERS} "
                f"characters (the best has {max(counts)}): lower pretrain.k, or raise segment.max_seconds or "
                "segment.max_gap_seconds."
            )

    def draw(
        self, row: int, rng: np.random.Generator, *, random_frames: bool
    ) -> tuple[np.ndarray, list[str], Segment]:
        """K consecutive transcripts in their true order and M frames of their span -> frames, texts, segment."""
        segment = self.segments[row]
        transcripts = [cue for cue in segment.cues if is_transcript(cue.text)]
        first = int(rng.integers(len(transcripts) - self.k + 1))
        chosen: Sequence[Cue] = transcripts[first : first + self.k]
        indices = clips.frame_indices(
            segment.frame_times, chosen[0].start, chosen[-1].end, self.frames, rng if random_frames else None
        )
        return clips.read(segment, indices, self.size), [cue.text for cue in chosen], segment


class TrainingBatches(Dataset[Batch]):
    """Item `step` is the batch of that optimizer step; epochs are permutations of the eligible segments."""

    def __init__(self, sampler: ScriptSampler, *, batch: int, steps: int, seed: int) -> None:
        self.sampler, self.batch, self.steps, self.seed = sampler, batch, steps, seed

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        rows = [self._row(step * self.batch + place) for place in range(self.batch)]
        rngs = [np.random.default_rng([self.seed, 1, step, place]) for place in range(self.batch)]
        return assemble(self.sampler, rows, rngs, random_frames=True)

    def _row(self, position: int) -> int:
        epoch, place = divmod(position, len(self.sampler.eligible))
        if getattr(self, "_epoch", None) != epoch:
            order = np.random.default_rng([self.seed, 2, epoch]).permutation(self.sampler.eligible)
            self._epoch, self._order = epoch, order
        return int(self._order[place])


def training_batches(dataset: TrainingBatches, first_step: int, workers: int) -> Iterator[Batch]:
    """The batches of steps `first_step` and later, read ahead by `workers` processes (0: in this one)."""
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=range(first_step, len(dataset)),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        # Forked workers of a process with threads can deadlock; spawned ones start clean.
        multiprocessing_context="spawn" if workers else None,
    )
    return iter(loader)


def validation_batches(sampler: ScriptSampler, *, batch: int, samples: int, seed: int) -> list[Batch]:
    """A fixed set of held-out samples: the same at every validation; middle frames, whole patches."""
    rows = np.random.default_rng([seed, 3]).permutation(sampler.eligible)[:samples]
    batches = []
    for start in range(0, len(rows), batch):
        part = [int(row) for row in rows[start : start + batch]]
        rngs = [np.random.default_rng([seed, 4, start + place]) for place in range(len(part))]
        batches.append(assemble(sampler, part, rngs, random_frames=False))
    return batches


def assemble(
    sampler: ScriptSampler, rows: Sequence[int], rngs: Sequence[np.random.Generator], *, random_frames: bool
) -> Batch:
    """Draw, shuffle and stack the samples of a batch."""
    frames, texts, orders, ids = [], [], [], []
    for row, rng in zip(rows, rngs, strict=True):
        clip, transcripts, segment = sampler.draw(row, rng, random_frames=random_frames)
        order = rng.permutation(sampler.k)
        frames.append(clip)
        texts += [transcripts[position] for position in order]
        orders.append(order)
        ids.append(segment.segment_id)
    return Batch(torch.from_numpy(np.stack(frames)), texts, torch.from_numpy(np.stack(orders)), ids)


def is_transcript(text: str) -> bool:
    return len(text) >= MIN_CHARACTERS
