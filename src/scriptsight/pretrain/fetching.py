"""Shards that lie elsewhere are fetched before their turn: while some are trained on, the next ones come."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from threading import Condition, Thread
from typing import Protocol, TypeVar

import numpy as np

from scriptsight.errors import InputError
from scriptsight.pretrain.samplers import Sampler

THREADS = 4  # shards that are fetched at once: one connection rarely fills a line

B = TypeVar("B")
_Shard = tuple[int, int]  # source, and number in it


class Rows(Protocol):
    """Which rows of which source an item of training needs; see `TrainingBatches`."""

    sources: Sequence[Sampler]
    shuffle: int | None

    def apart(self) -> Rows: ...
    def rows(self, item: int) -> tuple[int, list[int], range]: ...


def check_room(rows: Rows, held_out: Iterable[tuple[Sampler, np.ndarray]]) -> None:
    """See that a training never waits for a shard that it had: what it needs at a time fits into the cache.

    Args:
        held_out: what is validated on, and the rows of it.

    Raises:
        InputError: it does not.
    """
    far = [source.segments for source in rows.sources if source.segments.address is not None]
    validated = sum(
        int(sampler.segments.sizes()[np.unique(sampler.segments.shards()[chosen])].sum())
        for sampler, chosen in held_out
        if sampler.segments.address is not None
    )
    if not far and not validated:
        return
    limit = min(segments.cache.limit for segments in far) if far else validated
    needed = validated
    for segments in far:
        sizes = segments.sizes()
        at_once = len(sizes) if rows.shuffle is None else 2 * rows.shuffle  # those in use, and the next ones
        needed += int(np.sort(sizes)[::-1][:at_once].sum())
    if needed > limit:
        many = "all shards at a time" if rows.shuffle is None else f"{rows.shuffle} shards, and as many fetched ahead"
        raise InputError(
            f"pretrain needs {needed / 1e9:.3g} GB of the shards at {far[0].address} at once ({many}; "
            f"{validated / 1e9:.3g} GB for validation), and pretrain.shard_cache_gb is {limit / 1e9:.3g}: raise it, "
            + ("set" if rows.shuffle is None else "lower")
            + " pretrain.shuffle_shards, or lower pretrain.validation_samples."
        )


def fetched_ahead(rows: Rows, items: range, batches: Iterator[B]) -> Iterator[B]:
    """`batches`, one an item, while threads fetch the shards of items to come."""
    with closing(_Fetching(rows, items)) as fetching:
        for item, batch in zip(items, batches, strict=True):
            fetching.advance(item)
            yield batch


class _Fetching:
    """Walks the items ahead of the training, as far as the cache has room for shards that are not needed yet."""

    def __init__(self, rows: Rows, items: range) -> None:
        self._rows = rows.apart()
        self._shards = [source.segments.shards() for source in rows.sources]
        self._sizes = [source.segments.sizes() for source in rows.sources]
        limit = min(one.segments.cache.limit for one in rows.sources if one.segments.address is not None)
        self._room = limit if rows.shuffle is None else limit // 2  # the other half is in use
        self._changed = Condition()
        self._ahead: deque[tuple[int, int]] = deque()  # item that first needs a shard, its bytes
        self._stopped = False
        self._threads = ThreadPoolExecutor(THREADS)
        self._walker = Thread(target=self._walk, args=(items,), daemon=True)
        self._walker.start()

    def advance(self, item: int) -> None:
        """The training has got to an item."""
        with self._changed:
            while self._ahead and self._ahead[0][0] <= item:
                self._ahead.popleft()
            self._changed.notify()

    def close(self) -> None:
        """Fetch no more; what is being fetched is waited for."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._walker.join()
        self._threads.shutdown(cancel_futures=True)

    def _walk(self, items: range) -> None:
        recent: OrderedDict[_Shard, int] = OrderedDict()  # shards that lately had a turn, and surely are still there
        for item in items:
            source, rows, _ = self._rows.rows(item)
            if self._rows.sources[source].segments.address is None:
                continue
            for number in dict.fromkeys(self._shards[source][rows].tolist()):
                shard = source, number
                if shard in recent:
                    recent.move_to_end(shard)
                    continue
                size = int(self._sizes[source][number])
                with self._changed:
                    self._changed.wait_for(lambda size=size: self._stopped or self._fits(size))  # type: ignore[misc]
                    if self._stopped:
                        return
                    self._ahead.append((item, size))
                recent[shard] = size
                while len(recent) > 1 and sum(recent.values()) > self._room:
                    recent.popitem(last=False)
                self._threads.submit(self._fetch, source, number)

    def _fits(self, size: int) -> bool:
        return not self._ahead or sum(bytes_ for _, bytes_ in self._ahead) + size <= self._room

    def _fetch(self, source: int, number: int) -> None:
        with suppress(InputError):  # who needs it asks again, and is told
            self._rows.sources[source].segments.fetch(number)
