"""Distinguishing N pairs without N scores: noise-contrastive estimation against memory banks (CPD, section 3.2).

Scores are cosines over the temperature. Letters: B anchors of this process, m noise rows, N rows of a bank, E width.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from scriptsight import distributed


def keys(names: Iterable[tuple[str, str | None]]) -> Tensor:
    """Digests that stand for names, int64 [R]: the same in every run, whatever else there is."""
    digests = (
        blake2b(f"{first}\0{'' if second is None else second}".encode(), digest_size=8).digest()
        for first, second in names
    )
    return torch.from_numpy(np.frombuffer(bytearray(b"".join(digests)), np.int64))


class Bank:
    """A unit vector for each of N pairs, [N, E]; each process holds a block of the rows.

    No buffer of a module: DDP would make all processes' blocks alike, and an encoder has no use for it.
    """

    def __init__(self, rows: int, width: int, generator: Generator, device: torch.device) -> None:
        self.rows = rows
        self.block = -(-rows // distributed.world())
        self.first = distributed.rank() * self.block
        # All processes draw the whole, so that the start does not depend on how many there are.
        start = F.normalize(torch.randn(rows, width, generator=generator), dim=-1)
        self.own = start[self.first : self.first + self.block].to(device, copy=True)

    def look_up(self, rows: Tensor) -> Tensor:
        """Rows int64 [R] -> their vectors [R, E]; all processes ask for the same rows."""
        if distributed.world() == 1:
            return self.own[rows]
        held, at = self._held(rows)
        found = self.own.new_zeros(len(rows), self.own.shape[1])
        found[held] = self.own[at]
        return distributed.total(found)

    def look_up_own(self, rows: Tensor) -> Tensor:
        """Rows int64 [R] of this process, as many as the others ask for -> their vectors [R, E]."""
        first = distributed.rank() * len(rows)
        return self.look_up(distributed.gather(rows))[first : first + len(rows)]

    def update(self, rows: Tensor, vectors: Tensor, momentum: float) -> None:
        """V_i <- normalise(momentum V_i + (1 - momentum) v_i) for the global batch: rows [R], vectors [R, E], the
        same in all processes. Of a pair that the batch holds twice the mean counts, so that order does not."""
        rows, which, counts = rows.unique(return_inverse=True, return_counts=True)
        means = vectors.new_zeros(len(rows), vectors.shape[1]).index_add(0, which, vectors) / counts[:, None]
        held, at = self._held(rows)
        self.own[at] = F.normalize(momentum * self.own[at] + (1 - momentum) * means[held], dim=-1)

    def put(self, rows: Tensor, vectors: Tensor) -> None:
        """Set rows [R] to vectors [R, E]; what other processes hold is theirs to set."""
        held, at = self._held(rows)
        self.own[at] = vectors.to(self.own)[held]

    def whole(self) -> Tensor:
        """All rows [N, E] on the processor; all processes call this."""
        padded = F.pad(self.own, (0, 0, 0, self.block - len(self.own)))
        return distributed.gather(padded)[: self.rows].cpu()

    def _held(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Which of the rows are in this process, bool [R], and where."""
        local = rows - self.first
        held = (local >= 0) & (local < len(self.own))
        return held, local[held]


def scores(anchors: Tensor, positives: Tensor, noise: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Scores of unit vectors [B, E] with their positives [B, E] and with noise -> [B], [B, m].

    Noise rows [m, E] are shared by the batch: one product of matrices. Noise [B, m, E] is each anchor's own, as in
    the paper's code; it takes B times the memory and is kept as the reference.
    """
    with torch.autocast(anchors.device.type, enabled=False):
        scaled = anchors / temperature
        negative = scaled @ noise.T if noise.dim() == 2 else (noise @ scaled[:, :, None])[:, :, 0]
        return (scaled * positives).sum(-1), negative


def mean_score(positive: Tensor, negative: Tensor) -> float:
    """Z / N: the mean of the unnormalised probabilities exp(score) over a batch's positives and negatives."""
    both = torch.cat([positive.detach().flatten(), negative.detach().flatten()])
    return both.double().exp().mean().item()


def nce_loss(positive: Tensor, negative: Tensor, mean: float) -> Tensor:
    """-log h(positive) - sum of log(1 - h(negative)), averaged over anchors; scores [B] and [B, m].

    With p = exp(score) / Z, Z = N * `mean` and h = p / (p + m / N), h is the sigmoid of score - log(m * mean): N
    cancels, and nothing overflows.
    """
    offset = math.log(negative.shape[1] * mean)
    return (_softplus(offset - positive) + _softplus(negative - offset).sum(1)).mean()


def infonce_loss(positive: Tensor, negative: Tensor, same: Tensor) -> Tensor:
    """Cross-entropy of each positive [B] among its noise [B, m], averaged; noise that is the `same` pair as the
    positive (bool [B, m]) does not count."""
    logits = torch.cat([positive[:, None], negative.masked_fill(same, -torch.inf)], dim=1)
    return (logits.logsumexp(1) - positive).mean()


def nce_figures(scores: Tensor, m: int, means: Sequence[float]) -> dict[str, float]:
    """How well pairs that no bank knows are distinguished, each with the other pairs as its noise.

    Args:
        scores: float64 [n, n], of text i with video j.
        means: Z / N of videos and of texts.

    Returns:
        "nce_loss", both directions summed, the noise's part scaled to m; "nce_loss_chance", that of one who
        knows only that there are m noise pairs for each true one; "nce_accuracy", the mean of the shares of true
        pairs and of noise that are recognised at even odds, p against 1 / N (at the odds of h, m to one, hardly
        any pair that no bank knows is taken for a true one), and its "chance".
    """
    loss, accuracy = 0.0, 0.0
    for (own, others), mean in zip(_own_and_others(scores), means, strict=True):
        offset = math.log(m * mean)
        loss += (_softplus(offset - own).mean() + m * _softplus(others - offset).mean()).item()
        even = math.log(mean)
        accuracy += 0.25 * ((own > even).double().mean() + (others < even).double().mean()).item()
    blind = 2 * (math.log(1 + m) + m * math.log1p(1 / m))
    return {"nce_loss": loss, "nce_loss_chance": blind, "nce_accuracy": accuracy, "chance": 0.5}


def infonce_figures(scores: Tensor, m: int) -> dict[str, float]:
    """ "infonce_loss" over pairs that no bank knows, as `nce_figures` has it, and "infonce_loss_chance"."""
    loss = 0.0
    for own, others in _own_and_others(scores):
        among = torch.stack([own, others.logsumexp(1) + math.log(m / others.shape[1])])
        loss += (among.logsumexp(0) - own).mean().item()
    return {"infonce_loss": loss, "infonce_loss_chance": 2 * math.log(1 + m)}


def _own_and_others(scores: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Scores [n, n] of texts with videos -> those of videos, then of texts: with their own [n], with others'
    [n, n - 1]."""
    others = ~torch.eye(len(scores), dtype=torch.bool)
    return [(some.diagonal(), some[others].view(len(some), -1)) for some in (scores.T, scores)]


def _softplus(x: Tensor) -> Tensor:
    return F.softplus(x, threshold=50)  # torch's own threshold of 20 costs digits in float64
