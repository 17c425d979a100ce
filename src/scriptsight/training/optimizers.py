"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from scriptsight.params.optimization import AdamW, Cosine, Milestones, Sgd

TEXT = "encoder.text.backbone."  # the parameters that `text_lr` is for


def build(
    objective: nn.Module, choice: AdamW | Sgd, factor: Callable[[str], float] = lambda _: 1.0
) -> torch.optim.Optimizer:
    """The optimizer of all parameters that take a gradient; AdamW in one fused kernel a step.

    Parameters of one learning rate are one group, those with `choice.lr` the first. `factor` says by a parameter's
    name what share of the rate it has: layer-wise decay.
    """
    rates: dict[float, list[nn.Parameter]] = {choice.lr: []}
    for name, value in objective.named_parameters():
        if value.requires_grad:
            lr = choice.text_lr if choice.text_lr and name.startswith(TEXT) else choice.lr
            rates.setdefault(lr * factor(name), []).append(value)
    groups = [{"params": values, "base_lr": lr} for lr, values in rates.items() if values]
    if isinstance(choice, Sgd):
        momentum, decay = choice.momentum, choice.weight_decay
        return torch.optim.SGD(groups, lr=choice.lr, momentum=momentum, weight_decay=decay)  # fused: not under FSDP
    decay, betas = choice.weight_decay, choice.betas
    return torch.optim.AdamW(groups, lr=choice.lr, betas=betas, weight_decay=decay, fused=True)


def rate(schedule: Cosine | Milestones, step: int, steps: int) -> float:
    """The share of the learning rate at `step` of `steps`."""
    warmup = schedule.warmup_steps
    if step < warmup:
        return (step + 1) / warmup
    if isinstance(schedule, Milestones):
        return schedule.factor ** sum(step >= milestone for milestone in schedule.at)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


class Average:
    """An exponential moving average of parameters; with decay 0 there is none and the parameters are meant."""

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self.parameters, self.decay = parameters, decay
        self.values = [value.detach().clone() for value in parameters] if decay else []

    def update(self) -> None:
        if self.values:
            torch._foreach_lerp_(self.values, [p.detach() for p in self.parameters], 1 - self.decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The parameters hold the average inside the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for value, parameter in zip(self.values, self.parameters, strict=bool(self.values)):
            held = value.clone()
            value.copy_(parameter)
            parameter.copy_(held)
