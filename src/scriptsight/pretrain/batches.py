"""Samples: a clip with K shuffled transcripts (a script) or with one text (a pair), and batches of them.

Every sample is a pure function of (seed, step, place in the batch): a resumed or repeated run sees the same
samples whatever the number of processes and of loader workers.
"""

from __future__ import annotations

import copy
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from scriptsight import distributed
from scriptsight.pretrain import fetching
from scriptsight.pretrain.samplers import Sampler
from scriptsight.read_ahead import read_ahead

AHEAD = 2  # batches that a thread reads while the last one is computed


@dataclass(frozen=True)
class Batch:
    """B samples of M frames, with K transcripts each (`order` is known) or with one text each (a pair).

    `texts` are in shuffled order, sample by sample: transcript k of sample b is `texts[b * K + k]` and
    belongs at position `order[b, k]`.
    """

    frames: Tensor  # uint8 [B, M, H, W, 3]
    texts: list[str]  # B * K, or B
    order: Tensor | None  # int64 [B, K]
    segment_ids: list[str]  # B

    @property
    def pairs(self) -> list[tuple[str, str | None]]:
        """What the samples are of, as `Sampler.pairs` has it."""
        texts = self.texts if self.order is None else [None] * len(self.segment_ids)
        return list(zip(self.segment_ids, texts, strict=True))

    def to(self, device: torch.device) -> Batch:
        order = None if self.order is None else self.order.to(device, non_blocking=True)
        return replace(self, frames=self.frames.to(device, non_blocking=True), order=order)

    def pin_memory(self) -> Batch:
        order = None if self.order is None else self.order.pin_memory()
        return replace(self, frames=self.frames.pin_memory(), order=order)


def turns(shares: Sequence[float], steps: int) -> np.ndarray:
    """Which source each step's batch comes from, int64 [steps]: after any number of steps each source has had its
    share to within one batch. A batch has one source, as in the paper's second phase."""
    wanted = np.asarray(shares) / sum(shares)
    given = np.zeros(len(shares))
    order = np.empty(steps, np.int64)
    for step in range(steps):
        order[step] = np.argmax(wanted * (step + 1) - given)
        given[order[step]] += 1
    return order


class TrainingBatches(Dataset[Batch]):
    """Item i is this process's part i % accumulate of the batch of optimizer step i // accumulate.

    A source's epochs are permutations of its eligible segments, of all at once or of those in `shuffle` shards after
    those in others (`in_shards`). Part p of process r holds the samples from
    place (p * world + r) * B on, so that the processes together hold what one alone would.
    """

    def __init__(
        self,
        sources: Sequence[Sampler],
        shares: Sequence[float],
        *,
        batch: int,
        accumulate: int,
        steps: int,
        seed: int,
        shuffle: int | None = None,
    ) -> None:
        self.sources, self.batch, self.accumulate, self.seed = sources, batch, accumulate, seed
        self.shuffle = shuffle
        self.world, self.rank = distributed.world(), distributed.rank()
        self.turns = turns(shares, steps)
        # How many batches the source of a step has given before it.
        self.earlier = np.zeros(steps, np.int64)
        for source in range(len(sources)):
            own = self.turns == source
            self.earlier[own] = np.arange(own.sum())
        self._epochs: dict[int, tuple[int, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.turns) * self.accumulate

    def __getitem__(self, item: int) -> Batch:
        source, rows, places = self.rows(item)
        step = item // self.accumulate
        rngs = [np.random.default_rng([self.seed, 1, step, place]) for place in places]
        return assemble(self.sources[source], rows, rngs, training=True)

    def apart(self) -> TrainingBatches:
        """The same for who is at another place of the order: the order of one epoch is remembered."""
        other = copy.copy(self)
        other._epochs = {}
        return other

    def rows(self, item: int) -> tuple[int, list[int], range]:
        """Which source an item is of, the rows of its samples, and their places in the batch; nothing is read."""
        step, part = divmod(item, self.accumulate)
        share = self.batch // (self.accumulate * self.world)
        first = (part * self.world + self.rank) * share
        source = int(self.turns[step])
        start = int(self.earlier[step]) * self.batch
        places = range(first, first + share)
        return source, [self._row(source, start + place) for place in places], places

    def _row(self, source: int, position: int) -> int:
        eligible = self.sources[source].eligible
        epoch, place = divmod(position, len(eligible))
        if self._epochs.get(source, (-1,))[0] != epoch:
            stream = [self.seed, 2, epoch] if source == 0 else [self.seed, 2, epoch, source]
            rng = np.random.default_rng(stream)
            if self.shuffle is None:
                order = rng.permutation(eligible)
            else:
                order = in_shards(eligible, self.sources[source].segments.shards()[eligible], self.shuffle, rng)
            self._epochs[source] = epoch, order
        return int(self._epochs[source][1][place])


def in_shards(eligible: np.ndarray, shards: np.ndarray, together: int, rng: np.random.Generator) -> np.ndarray:
    """A permutation of `eligible`, int64 [N], that needs few shards at a time: in random order, so many as `together`
    are taken and their rows shuffled, then the next ones.

    Args:
        shards: the shard that each lies in, int64 [N].
    """
    found, numbers = np.unique(shards, return_inverse=True)
    turns = rng.permutation(len(found))[numbers] // together
    shuffled = rng.permutation(len(eligible))
    return eligible[shuffled[np.argsort(turns[shuffled], kind="stable")]]


def training_batches(dataset: TrainingBatches, first_step: int, workers: int) -> Iterator[Batch]:
    """This process's parts of the batches of steps `first_step` and later, read ahead by `workers` processes, or
    by a thread if there are none. Shards that lie elsewhere are fetched before they are needed."""
    items = range(first_step * dataset.accumulate, len(dataset))
    if any(source.segments.address is not None for source in dataset.sources):
        return fetching.fetched_ahead(dataset, items, _batches(dataset, items, workers))
    return _batches(dataset, items, workers)


def _batches(dataset: TrainingBatches, items: range, workers: int) -> Iterator[Batch]:
    if not workers:
        return read_ahead(dataset.__getitem__, items, ahead=AHEAD)
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=items,
        num_workers=workers,
        prefetch_factor=4,
        pin_memory=torch.cuda.is_available(),
        # Forked workers of a process with threads can deadlock; spawned ones start clean.
        multiprocessing_context="spawn",
        worker_init_fn=_deaf_to_ctrl_c,
    )
    return iter(loader)


def _deaf_to_ctrl_c(_worker: int) -> None:
    """Ctrl-C is for the training, which ends its step first and still needs batches for that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class ValidationBatches(Sequence[Batch]):
    """A fixed set of held-out samples: the same at every validation; middle frames, whole patches. They are read
    when they are asked for, so that no process holds them all."""

    def __init__(self, sampler: Sampler, *, batch: int, samples: int, seed: int) -> None:
        self.sampler, self.batch, self.seed = sampler, batch, seed
        self.rows = np.random.default_rng([seed, 3]).permutation(sampler.eligible)[:samples]

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch)

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < len(self):
            raise IndexError(number)
        start = number * self.batch
        part = [int(row) for row in self.rows[start : start + self.batch]]
        rngs = [np.random.default_rng([self.seed, 4, start + place]) for place in range(len(part))]
        return assemble(self.sampler, part, rngs, training=False)


def assemble(sampler: Sampler, rows: Sequence[int], rngs: Sequence[np.random.Generator], *, training: bool) -> Batch:
    """Draw, shuffle and stack the samples of a batch.

    Raises:
        InputError: the frames of a segment are damaged.
    """
    frames, texts, orders, ids = [], [], [], []
    for row, rng in zip(rows, rngs, strict=True):
        sample = sampler.draw(row, rng, training=training)
        order = rng.permutation(len(sample.texts))
        frames.append(sample.frames)
        texts += [sample.texts[position] for position in order]
        orders.append(order)
        ids.append(sample.segment_id)
    placed = torch.from_numpy(np.stack(orders)) if sampler.sorts else None
    return Batch(torch.from_numpy(np.stack(frames)), texts, placed, ids)
