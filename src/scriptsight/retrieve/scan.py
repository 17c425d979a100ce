"""Exact search: a coarse scan of everything, then the true scores of what could be among the best.

The scan multiplies in bfloat16 and keeps one number for each group of rows, its largest score. How far a coarse
score can be from the true one is bounded, so the groups that could hold one of the best rows are known; only these
are scored again, in float64. No row is lost: the answer is that of scoring everything.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from scriptsight import finite

GROUP = 32  # rows that share one number of the scan
CHUNK = 8192  # rows at a time, a multiple of GROUP: their scores stay in the processor's cache
QUERIES = 128  # at a time: bounds memory
WIDTH = CHUNK // GROUP  # groups of a whole chunk
REMEDY = "Run the retrieve stage again."


def nearest(
    queries: np.ndarray, exact: np.ndarray, coarse: Tensor, top: int, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The `top` best rows of each query and their scores -> int64 [Q, top], float32 [Q, top].

    Of equal scores the earlier row comes first. Where fewer rows may be chosen, there are fewer results.

    Args:
        queries: float32 [Q, E].
        exact: unit vectors, float32 [N, E]; may be memory-mapped.
        coarse: the same in bfloat16 (or float32, for processors that are slow with the former), [N, E].
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
    mask = None if allowed is None else torch.from_numpy(allowed)
    for start in range(0, len(queries), QUERIES):
        part = np.ascontiguousarray(queries[start : start + QUERIES], dtype=np.float32)
        best = _group_bests(torch.from_numpy(part), coarse, mask)  # [Q, G]; -inf where nothing is allowed
        finite.check(best.float().clamp(min=-2), "the scores of the index", REMEDY)
        # At least `top` rows reach the worst of the `top` best groups, up to the error of the scan.
        last = best.topk(min(top, best.shape[1])).values[:, -1:].float()
        bound = last - 2 * error_bound(part, coarse.dtype)
        chosen = (best.float() >= bound) & (best > -torch.inf)
        for number, groups in enumerate(chosen, start):
            candidates = _rows(groups.nonzero()[:, 0].numpy(), len(exact))
            if allowed is not None:
                candidates = candidates[allowed[candidates]]
            rows[number], scores[number] = rescore(queries[number], exact, candidates, top)
    return rows, scores


def rescore(query: np.ndarray, exact: np.ndarray, rows: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """The `top` best of `rows` (ascending) for one query [E], by true scores -> int64 [top], float32 [top].

    The products are exact in float64, and rounding the sums to float32 makes equal vectors tie wherever they are.
    """
    scores = (exact[rows].astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
    finite.check(scores, "the scores of the index", REMEDY)
    order = np.argsort(-scores, kind="stable")[:top]
    return rows[order], scores[order]


def to_coarse(vectors: np.ndarray) -> Tensor:
    """Unit vectors float32 [N, E] as what `nearest` scans on this machine."""
    tensor = torch.from_numpy(vectors)
    return tensor.bfloat16() if bf16_is_fast() else tensor


def bf16_is_fast() -> bool:
    """Whether this processor multiplies in bfloat16; others emulate it, slower than float32."""
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def _group_bests(queries: Tensor, coarse: Tensor, allowed: Tensor | None) -> Tensor:
    """The best coarse score of each group -> [Q, G]. Rows of a group lie apart in a chunk, one in each of GROUP
    equal parts: so the maximum runs over whole stretches of memory."""
    rounded = queries.to(coarse.dtype)
    found = []
    for start in range(0, len(coarse), CHUNK):
        scores = rounded @ coarse[start : start + CHUNK].T  # [Q, C]
        if allowed is not None:
            scores.masked_fill_(~allowed[start : start + CHUNK], -torch.inf)
        if rest := -scores.shape[1] % GROUP:
            scores = F.pad(scores, (0, rest), value=-torch.inf)
        found.append(scores.view(len(queries), GROUP, -1).amax(1))
    return torch.cat(found, 1)


def _rows(groups: np.ndarray, total: int) -> np.ndarray:
    """The rows of groups, ascending, int64."""
    chunk, place = np.divmod(groups, WIDTH)
    start = chunk * CHUNK
    width = np.minimum(WIDTH, -(-(total - start) // GROUP))  # the last chunk is shorter
    rows = np.sort((start + place)[:, None] + np.arange(GROUP) * width[:, None], axis=None)
    return rows[rows < total]


def error_bound(queries: np.ndarray, dtype: torch.dtype) -> Tensor:
    """The most by which a scanned score of unit vectors can be wrong -> [Q, 1].

    Both factors and the result are rounded to 2^-9 of themselves at most (bfloat16 has 8 bits), and sums are kept
    in float32.
    """
    roundings = 3.1 * 2**-9 if dtype == torch.bfloat16 else 0.0
    share = roundings + queries.shape[1] * 2**-23
    return torch.from_numpy(np.linalg.norm(queries, axis=1, keepdims=True) * share)
