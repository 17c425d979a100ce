"""Linear probe by SGD, as the papers train it: warm-up, cosine, momentum, almost no weight decay.

The recipe is that of TVTS (Zeng et al. 2023) on the code of VideoMAE: lr 0.1 for a batch of 256, momentum 0.9,
weight decay 1e-9, 100 epochs, 10 of them warm-up. Features are standardised: MAE's BatchNorm without affine
parameters (He et al. 2022, appendix A), but with statistics of all of training instead of a batch's. Several learning
rates are tried on a part held out of training, all in one pass, each with a head of its own (DINOv2, Oquab et al.
2023); the best is fitted again on all of training. The test split is not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from scriptsight.arithmetic import deterministic
from scriptsight.errors import InputError, needs
from scriptsight.probe.predictions import Predictions, by_view

with needs("learn", "Probing"):
    from sklearn.preprocessing import StandardScaler

HELD_OUT = 0.2  # share of each class's training items that the learning rate is chosen on
BATCH = 256  # that a learning rate is stated for; it grows with the batch


@dataclass(frozen=True)
class SgdPredictions(Predictions):
    """Scores are probabilities, averaged over an item's views; `lr` gave them."""

    lr: float
    held_out: Mapping[float, float]  # lr -> accuracy on the part held out of training; empty if only one was given


def fit_predict(
    train: np.ndarray,
    classes: np.ndarray,
    test: np.ndarray,
    *,
    lrs: Sequence[float],
    epochs: int,
    warmup_epochs: int,
    batch: int,
    momentum: float,
    weight_decay: float,
    seed: int,
    device: str | torch.device = "cpu",
) -> SgdPredictions:
    """Choose a learning rate, train a linear layer on `train`, predict `test`.

    Args:
        train, test: features [N_train, V, D], [N, V, D], or [N, D] of one view. Each epoch sees one view of each
            training item, drawn at random.
        classes: of `train`, int64 [N_train], from 0 to C - 1.
        lrs: learning rates to try, for batches of 256. Of those that do equally well the first is taken.
        weight_decay: of weights and bias, as in `torch.optim.SGD`.

    Raises:
        InputError: there are several learning rates and every class has a single item, so none can be held out.
    """
    fit = partial(
        _fit,
        count=int(classes.max()) + 1,
        epochs=epochs,
        warmup_epochs=warmup_epochs,
        batch=batch,
        momentum=momentum,
        weight_decay=weight_decay,
        seed=seed,
    )
    train, test = by_view(train), by_view(test)
    scaler = StandardScaler().fit(train.reshape(-1, train.shape[2]).astype(np.float64))
    inputs, labels = _inputs(train, scaler, device), torch.from_numpy(classes).to(device)
    held_out: dict[float, float] = {}
    with deterministic():
        if len(lrs) > 1:
            fitted, held = hold_out(classes, seed)
            for lr, head in zip(lrs, fit(inputs[fitted], labels[fitted], lrs), strict=True):
                held_out[lr] = Predictions(_probabilities(inputs[held], head)).accuracy(classes[held])
        best = max(held_out, key=held_out.__getitem__, default=lrs[0])
        (head,) = fit(inputs, labels, [best])
        return SgdPredictions(_probabilities(_inputs(test, scaler, device), head), best, held_out)


def _fit(
    inputs: Tensor,
    classes: Tensor,
    lrs: Sequence[float],
    *,
    count: int,
    epochs: int,
    warmup_epochs: int,
    batch: int,
    momentum: float,
    weight_decay: float,
    seed: int,
) -> Tensor:
    """Train one head a learning rate on the same batches, from zero: inputs [N, V, D + 1] -> heads [R, D + 1, C].

    The gradient is written out, inputs^T (probabilities - truth) / B: autograd would take longer than the sums.
    """
    items, views, width = inputs.shape
    steps = -(-items // batch)  # an epoch
    rates = torch.tensor(lrs, device=inputs.device)[:, None] * min(batch, items) / BATCH
    heads = torch.zeros(width, len(lrs), count, device=inputs.device)  # side by side: one product for all
    velocity = torch.zeros_like(heads)
    generator = torch.Generator().manual_seed(seed)
    step = 0
    for _ in range(epochs):
        order = torch.randperm(items, generator=generator)
        drawn = torch.randint(views, (items,), generator=generator)
        for rows, view in zip(order.tensor_split(steps), drawn.tensor_split(steps), strict=True):
            seen = inputs[rows, view]  # [B, D + 1]
            logits = (seen @ heads.flatten(1)).unflatten(1, heads.shape[1:])  # [B, R, C]
            error = logits.softmax(-1) - F.one_hot(classes[rows], count)[:, None]
            gradient = (seen.T @ error.flatten(1)).view_as(heads) / len(rows) + weight_decay * heads
            velocity = momentum * velocity + gradient
            heads = heads - rates * _share(step, warmup_epochs * steps, epochs * steps) * velocity
            step += 1
    return heads.transpose(0, 1)


def _share(step: int, warmup: int, steps: int) -> float:
    """The share of the learning rate at `step` of `steps`: a linear warm-up, then a half cosine to zero."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _inputs(features: np.ndarray, scaler: StandardScaler, device: str | torch.device) -> Tensor:
    """Standardised features and a one for the bias: float32 [N, V, D + 1]."""
    flat = scaler.transform(features.reshape(-1, features.shape[2]).astype(np.float64))
    whole = np.column_stack([flat, np.ones(len(flat))]).astype(np.float32)
    return torch.from_numpy(whole).view(*features.shape[:2], -1).to(device)


def _probabilities(inputs: Tensor, head: Tensor) -> np.ndarray:
    """Inputs [N, V, D + 1], head [D + 1, C] -> the mean over the views, float64 [N, C]."""
    return (inputs @ head).double().softmax(-1).mean(1).cpu().numpy()


def hold_out(classes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to fit and rows held out: `HELD_OUT` of each class, at least one item and never all of them."""
    rng = np.random.default_rng(seed)
    held = []
    for number in np.unique(classes):
        rows = rng.permutation(np.flatnonzero(classes == number))
        held.append(rows[: min(max(1, round(HELD_OUT * len(rows))), len(rows) - 1)])
    chosen = np.sort(np.concatenate(held))
    if not len(chosen):
        raise InputError(
            "The learning rate of the SGD probe can't be chosen: no class has more than one training item. Give one "
            "learning rate, or more labelled items."
        )
    return np.setdiff1d(np.arange(len(classes)), chosen), chosen
