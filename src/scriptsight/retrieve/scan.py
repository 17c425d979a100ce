"""Exact search: a coarse scan of everything, then the true scores of what could be among the best.

The scan multiplies eight-bit integers, which processors do several times as fast as float32, and keeps one number
for each group of rows, its largest score. How far a coarse score can be from the true one is bounded, so the groups
that could hold one of the best rows are known, and in these the rows that could be; only they are scored again, in
float64. No row is lost: the answer is that of scoring everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from scriptsight import finite, tuning

GROUP = 32  # rows that share one number of the scan
CHUNK = 1024, 8192  # rows at a time, at least and at most, multiples of GROUP
SCORES = 2**17  # of a chunk, about: they stay in the cache of a core
QUERIES = 128  # at a time: bounds memory
TILE = 16  # to a multiple of which several queries are filled up: products of other shapes take twice as long
FEW = 5000  # scores for which a scan is not worth its overhead
MANY = 300  # rows to score exactly, beyond which they are looked through coarsely first
LARGEST = 127  # of the integers
NOTHING = {torch.int32: torch.iinfo(torch.int32).min, torch.float32: -torch.inf}  # the score of what is not allowed
LOWEST = {torch.int32: torch.iinfo(torch.int32).min + 1, torch.float32: torch.finfo(torch.float32).min}  # of others
TRIED = 16384, 16  # rows and queries by which the ways are measured
REMEDY = "Run the retrieve stage again."


@dataclass(frozen=True)
class Coarse:
    """Unit vectors as they are scanned: rows [N, E], int8 in units of `step`, or the vectors themselves in float32.

    `error` is the most by which a row in these units is away from its vector (Euclidean distance).
    """

    rows: Tensor
    step: float = 1.0
    error: float = 0.0

    @classmethod
    def of(cls, vectors: np.ndarray) -> Coarse:
        """Unit vectors, float32 [N, E], as this machine scans them fastest."""
        if fastest(vectors.shape[1]) == "fp32":
            return cls(torch.from_numpy(vectors))
        step = step_of(vectors)
        rows, error = to_int8(vectors, step)
        return cls(torch.from_numpy(rows), step, error)

    def asked(self, queries: np.ndarray) -> Asked:
        """Queries, float32 [Q, E], as these rows are scanned for them."""
        norms = np.linalg.norm(queries.astype(np.float64), axis=1)
        rounding = norms * (queries.shape[1] + 8) * 2**-23  # of sums in float32, and of bounds
        if self.rows.dtype == torch.float32:
            return Asked(torch.from_numpy(queries).T, np.ones(len(queries)), rounding)
        steps = np.maximum(np.abs(queries).max(axis=1).astype(np.float64), np.finfo(np.float32).tiny) / LARGEST
        whole = np.rint(queries / steps[:, None]).astype(np.int8)
        away = np.linalg.norm(queries - whole * steps[:, None], axis=1)
        # Of q x - q' x' = q (x - x') + (q - q') x', where a vector is no longer than 1 and a little.
        wrong = norms * self.error + away * (1.001 + self.error)
        if len(whole) > 1:
            whole = np.pad(whole, ((0, -len(whole) % TILE), (0, 0)))
        return Asked(torch.from_numpy(whole).T.contiguous(), steps * self.step, wrong + rounding)


@dataclass(frozen=True)
class Asked:
    """Queries [E, Q], and more of zeros; what a product of 1 is worth as a score, and the most by which a score can
    be wrong, float64 [Q]."""

    queries: Tensor
    worth: np.ndarray
    wrong: np.ndarray

    def products(self, rows: Tensor) -> Tensor:
        """Rows [C, E] -> int32 or float32 [C, Q or more]."""
        return rows @ self.queries if rows.dtype == torch.float32 else torch._int_mm(rows, self.queries)

    def limits(self, best: Tensor, top: int) -> Tensor:
        """What a product of one of the `top` best rows is at least, [Q, 1]; best: the best product of each of G sets
        of rows that have none in common, [Q, G]."""
        # At least `top` rows reach the worst of the `top` best products, up to the error of the scan.
        last = best.topk(min(top, best.shape[1])).values[:, -1:].double()
        limit = (last - torch.from_numpy(2 * self.wrong / self.worth)[:, None]).clamp(min=LOWEST[best.dtype])
        return (limit if best.dtype == torch.float32 else limit.floor()).to(best.dtype)

    def only(self, number: int) -> Asked:
        """One of the queries."""
        one = slice(number, number + 1)
        return Asked(self.queries[:, one].contiguous(), self.worth[one], self.wrong[one])


def step_of(vectors: np.ndarray) -> float:
    """The unit in which all numbers of some vectors are integers of eight bits; float32 [N, E], may be
    memory-mapped."""
    parts = (vectors[start : start + CHUNK[1]] for start in range(0, len(vectors), CHUNK[1]))
    largest = max((float(np.abs(part).max()) for part in parts), default=1.0)
    return max(largest, float(np.finfo(np.float32).tiny)) / LARGEST


def to_int8(vectors: np.ndarray, step: float) -> tuple[np.ndarray, float]:
    """Vectors in units of `step` -> int8 [N, E], and how far the worst of them is from its vector."""
    rows = np.rint(vectors / np.float32(step)).clip(-LARGEST, LARGEST).astype(np.int8)
    away = np.linalg.norm(vectors - rows * np.float32(step), axis=1)
    return rows, 1.0001 * float(away.max(initial=0))


@cache
def fastest(width: int) -> str:
    """ "int8" or "fp32": how vectors of this width are scanned fastest here, measured once and kept.

    Not bfloat16: processors that multiply it multiply int8 as well, of which there is half as much to read.
    """
    if not adds_exactly(width):
        return "fp32"

    def ways() -> dict[str, Callable[[], object]]:
        noise = np.random.default_rng(0)
        vectors, queries = (
            noise.standard_normal((count, width), dtype=np.float32) / np.float32(width**0.5) for count in TRIED
        )
        step = step_of(vectors)
        rows, error = to_int8(vectors, step)
        one, other = Coarse(torch.from_numpy(rows), step, error), Coarse(torch.from_numpy(vectors))
        return {"int8": lambda: _scanned(one, queries), "fp32": lambda: _scanned(other, queries)}

    return tuning.fastest(f"scan: {width} dimensions", ways).way


def adds_exactly(width: int) -> bool:
    """Whether products of eight-bit integers are what they should be here.

    Processors without instructions for them (VNNI, of 2019 and later) add pairs of products in 16 bits, and what is
    too large for these is lost: https://uxlfoundation.github.io/oneDNN/dev_guide_int8_computations.html
    """
    signs = np.random.default_rng(0).choice(np.array([-LARGEST, LARGEST], np.int8), (4 * GROUP, width))
    signs[:GROUP], signs[GROUP : 2 * GROUP] = LARGEST, -LARGEST
    for count in (1, TILE, QUERIES):  # there are kernels for one
        queries = signs[:count]
        found = torch._int_mm(torch.from_numpy(signs), torch.from_numpy(queries).T.contiguous())
        if not np.array_equal(found.numpy(), signs.astype(np.int64) @ queries.T.astype(np.int64)):
            return False
    return True


def _scanned(coarse: Coarse, queries: np.ndarray) -> Tensor:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return group_bests(coarse.asked(queries), coarse.rows, None)
    finally:
        torch.set_num_threads(threads)


def nearest(
    queries: np.ndarray, exact: np.ndarray, coarse: Coarse, top: int, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The `top` best rows of each query and their scores -> int64 [Q, top], float32 [Q, top].

    Of equal scores the earlier row comes first. Where fewer rows may be chosen, there are fewer results.

    Args:
        queries: float32 [Q, E].
        exact: unit vectors, float32 [N, E]; may be memory-mapped.
        coarse: the same, for the scan.
        top: how many, from 1.
        allowed: bool [N], the rows that may be chosen; None allows all.

    Raises:
        InputError: a query, or a score, is not finite.
    """
    finite.check(queries, "the vectors of the queries")
    top = min(top, len(exact) if allowed is None else int(allowed.sum()))
    rows, scores = np.empty((len(queries), top), dtype=np.int64), np.empty((len(queries), top), dtype=np.float32)
    if not top:
        return rows, scores
    if len(exact) * len(queries) <= FEW:
        known = np.arange(len(exact)) if allowed is None else np.flatnonzero(allowed)
        vectors = exact if allowed is None else exact[known]
        for number, query in enumerate(queries):
            rows[number], scores[number] = rescore(query, exact, known[_close_of_few(query, vectors, top)], top)
        return rows, scores
    mask = None if allowed is None else torch.from_numpy(allowed)
    if len(queries) == 1:
        asked = coarse.asked(np.ascontiguousarray(queries, dtype=np.float32))
        rows[0], scores[0] = rescore(queries[0], exact, _close(asked, coarse.rows, top, mask), top)
        return rows, scores
    for start in range(0, len(queries), QUERIES):
        part = np.ascontiguousarray(queries[start : start + QUERIES], dtype=np.float32)
        asked = coarse.asked(part)
        best = group_bests(asked, coarse.rows, mask)  # [Q, G]
        if best.dtype == torch.float32:
            finite.check(best.clamp(min=-2), "the scores of the index", REMEDY)
        chunk = _chunk(asked)
        for number, groups in enumerate(best >= asked.limits(best, top)):
            candidates = _rows(groups.nonzero()[:, 0].numpy(), len(exact), chunk)
            if allowed is not None:
                candidates = candidates[allowed[candidates]]
            if len(candidates) > max(MANY, top):  # most of them are far from the best: their own scores tell
                one = asked.only(number)
                own = one.products(coarse.rows.index_select(0, torch.from_numpy(candidates))).T  # [1, C]
                candidates = candidates[(own >= one.limits(own, top))[0].numpy()]
            rows[start + number], scores[start + number] = rescore(queries[start + number], exact, candidates, top)
    return rows, scores


def rescore(query: np.ndarray, exact: np.ndarray, rows: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """The `top` best of `rows` (ascending) for one query [E], by true scores -> int64 [top], float32 [top].

    The products are exact in float64, and rounding the sums to float32 makes equal vectors tie wherever they are.
    """
    scores = (exact[rows].astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    finite.check(scores, "the scores of the index", REMEDY)
    order = np.argsort(-scores, kind="stable")[:top]
    return rows[order], scores[order]


def group_bests(asked: Asked, coarse: Tensor, allowed: Tensor | None) -> Tensor:
    """The best coarse score of each group -> [Q, G]. Rows of a group lie apart in a chunk, one in each of GROUP
    equal parts: so the maximum runs over whole stretches of memory."""
    chunk, width = _chunk(asked), asked.queries.shape[1]
    best = torch.empty(
        -(-len(coarse) // GROUP), width, dtype=torch.int32 if coarse.dtype == torch.int8 else coarse.dtype
    )
    nothing = NOTHING[best.dtype]
    for start in range(0, len(coarse), chunk):
        scores = asked.products(coarse[start : start + chunk])  # [C, Q]
        if allowed is not None:
            scores.masked_fill_(~allowed[start : start + chunk, None], nothing)
        if rest := -len(scores) % GROUP:
            scores = F.pad(scores, (0, 0, 0, rest), value=nothing)
        into = best[start // GROUP : (start + len(scores)) // GROUP]
        torch.amax(scores.view(GROUP, -1, width), 0, out=into)
    return best.T[: len(asked.worth)].contiguous()


def _chunk(asked: Asked) -> int:
    """Rows that are scanned at a time."""
    fit = SCORES // asked.queries.shape[1] // CHUNK[0] * CHUNK[0]
    return max(CHUNK[0], min(CHUNK[1], fit))


def _rows(groups: np.ndarray, total: int, chunk: int) -> np.ndarray:
    """The rows of groups, ascending, int64."""
    number, place = np.divmod(groups, chunk // GROUP)
    start = number * chunk
    width = np.minimum(chunk // GROUP, -(-(total - start) // GROUP))  # the last chunk is shorter
    rows = np.sort((start + place)[:, None] + np.arange(GROUP) * width[:, None], axis=None)
    return rows[rows < total]


def _close(asked: Asked, coarse: Tensor, top: int, allowed: Tensor | None) -> np.ndarray:
    """Which rows could be among the `top` best of one query, ascending. All its scores are kept, so none is made a
    second time."""
    scores = asked.products(coarse)[:, 0]
    if scores.dtype == torch.float32:
        finite.check(scores, "the scores of the index", REMEDY)
    if allowed is not None:
        scores.masked_fill_(~allowed, NOTHING[scores.dtype])
    length = len(scores) // GROUP
    best = scores[: length * GROUP].view(GROUP, length).amax(0) if length >= 4 * top else scores
    return np.flatnonzero((scores >= asked.limits(best[None], top)[0]).numpy())


def _close_of_few(query: np.ndarray, vectors: np.ndarray, top: int) -> np.ndarray:
    """The same by scores in float32, of a query [E] and vectors [N, E]."""
    scores = vectors @ query
    finite.check(scores, "the scores of the index", REMEDY)
    wrong = np.linalg.norm(query) * (len(query) + 8) * 2**-23
    return np.flatnonzero(scores >= np.partition(scores, -top)[-top] - 2 * wrong)
