"""Attentive probe: what one learned query finds among all tokens (V-JEPA, Bardes et al. 2024, appendix D).

A cross-attention block and a linear layer are trained on frozen tokens with AdamW and a cosine schedule. It tells
what the tokens know that the class token, or their mean, has left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scriptsight.arithmetic import deterministic
from scriptsight.models.video import LayerNorm, Mlp
from scriptsight.probe.predictions import Predictions


class AttentiveClassifier(nn.Module):
    """V-JEPA's: query + attention over the normalised tokens, + MLP, then a linear layer.

    With a single query q the keys need not be computed: q . (K x) is (K^T q) . x, and the values only of what was
    attended to. So a token costs `heads` products in place of 2 D. Scale and bias of the tokens' LayerNorm are left
    to K and V, which can express them; the bias of the keys would change no weight.
    """

    def __init__(self, width: int, heads: int, classes: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.empty(width))
        self.key = nn.Linear(width, width, bias=False)
        self.value, self.proj = nn.Linear(width, width), nn.Linear(width, width)
        self.norm, self.mlp = LayerNorm(width), Mlp(width)
        self.head = nn.Linear(width, classes)
        # V-JEPA starts with 0.02 at any width. In a narrow encoder the attention then stays uniform for hundreds of
        # steps: on 1,600 clips at width 96, 20 epochs end at 36% with 0.02, and at 71% with a spread of 1 / sqrt(D).
        nn.init.trunc_normal_(self.query, std=width**-0.5)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=width**-0.5)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.head.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, T, D] -> logits [B, C]. d = D / heads."""
        tokens = F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)
        query = self.query.view(self.heads, 1, -1)  # [heads, 1, d]
        wanted = (query @ self.key.weight.unflatten(0, (self.heads, -1)))[:, 0]  # [heads, D]
        weights = (wanted @ tokens.transpose(1, 2) * query.shape[-1] ** -0.5).softmax(-1)  # [B, heads, T]
        found = (weights @ tokens).transpose(0, 1)  # [heads, B, D]
        values = found @ self.value.weight.unflatten(0, (self.heads, -1)).transpose(1, 2)  # [heads, B, d]
        attended = self.query + self.proj(values.transpose(0, 1).flatten(1) + self.value.bias)  # [B, D]
        return self.head(attended + self.mlp(self.norm(attended)))


def fit_predict(
    train: np.ndarray,
    classes: np.ndarray,
    test: np.ndarray,
    *,
    heads: int,
    lr: float,
    epochs: int,
    batch: int,
    weight_decay: float,
    seed: int,
    device: str | torch.device = "cpu",
) -> Predictions:
    """Train on `train`, predict `test`; scores are probabilities, averaged over an item's views.

    Only the batch at hand is in memory: memory-mapped tokens stay on disk.

    Args:
        train, test: tokens [N_train, V, T, D], [N, V, T, D], or [N, T, D] of one view. Each epoch sees one view of
            each training item, drawn at random.
        classes: of `train`, int64 [N_train], from 0 to C - 1.
        heads: of the attention; D must be a multiple of them.

    Raises:
        ValueError: D is no multiple of `heads`.
    """
    train, test = _by_view(train), _by_view(test)
    items, views, _, width = train.shape
    if width % heads:
        raise ValueError(f"tokens of width {width} can't be split among {heads} heads: choose a divisor of the width")
    labels = torch.from_numpy(classes).to(device)
    rng = np.random.default_rng(seed)
    steps = -(-items // batch)  # an epoch
    with deterministic():
        model = _fresh(width, heads, int(classes.max()) + 1, seed).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps)
        for _ in range(epochs):
            drawn = rng.integers(views, size=(items,))
            for rows in np.array_split(rng.permutation(items), steps):
                rows.sort()  # in the order of the file
                logits = model(_tensor(train[rows, drawn[rows]], device))
                F.cross_entropy(logits, labels[rows]).backward()
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
        return Predictions(np.concatenate(list(_probabilities(model, test, batch, device))))


def _fresh(width: int, heads: int, classes: int, seed: int) -> AttentiveClassifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AttentiveClassifier(width, heads, classes)


@torch.inference_mode()
def _probabilities(
    model: AttentiveClassifier, tokens: np.ndarray, batch: int, device: str | torch.device
) -> Iterator[np.ndarray]:
    """Tokens [N, V, T, D] -> the mean over the views, float64 [B, C] at a time."""
    for start in range(0, len(tokens), batch):
        part = tokens[start : start + batch]  # [B, V, T, D]
        logits = model(_tensor(part.reshape(-1, *part.shape[2:]), device))
        yield logits.double().softmax(-1).view(*part.shape[:2], -1).mean(1).cpu().numpy()


def _tensor(tokens: np.ndarray, device: str | torch.device) -> Tensor:
    return torch.from_numpy(np.array(tokens, dtype=np.float32)).to(device)  # a copy: memory maps are not writable


def _by_view(tokens: np.ndarray) -> np.ndarray:
    """[N, T, D] of one view or [N, V, T, D] -> [N, V, T, D]."""
    return tokens[:, None] if tokens.ndim == 3 else tokens
