"""Optimizers and learning-rate schedules."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

from scriptsight.params.optimization import AdamW, Cosine, Milestones, Muon, Sgd

TEXT = "encoder.text.backbone."  # the parameters that `text_lr` is for
_NUMBERED = re.compile(r"\.\d+\.")  # in the names of what lies in blocks


def build(
    objective: nn.Module, choice: AdamW | Muon | Sgd, factor: Callable[[str], float] = lambda _: 1.0
) -> torch.optim.Optimizer:
    """The optimizer of all parameters that take a gradient; AdamW in one fused kernel a step.

    Parameters of one learning rate are one group, those with `choice.lr` the first. `factor` says by a parameter's
    name what share of the rate it has: layer-wise decay. Muon's groups are apart: the matrices of blocks, which are
    those whose names have a number.
    """
    rates: dict[tuple[float, bool], list[nn.Parameter]] = {(choice.lr, False): []}  # and whether it is Muon's
    for name, value in objective.named_parameters():
        if value.requires_grad:
            lr = choice.text_lr if choice.text_lr and name.startswith(TEXT) else choice.lr
            turned = isinstance(choice, Muon) and value.ndim == 2 and bool(_NUMBERED.search(name))
            if isinstance(choice, Muon) and turned:
                lr *= choice.matrix_lr / choice.lr
            rates.setdefault((lr * factor(name), turned), []).append(value)
    groups: list[dict[str, Any]] = [
        {"params": values, "lr": lr, "base_lr": lr}
        | ({"momentum": choice.momentum} if isinstance(choice, Muon) and turned else {})
        for (lr, turned), values in rates.items()
        if values
    ]
    if isinstance(choice, Muon):
        return MuonAndAdamW(groups, lr=choice.lr, betas=choice.betas, weight_decay=choice.weight_decay)
    if isinstance(choice, Sgd):
        momentum, decay = choice.momentum, choice.weight_decay
        return torch.optim.SGD(groups, lr=choice.lr, momentum=momentum, weight_decay=decay)  # fused: not under FSDP
    decay, betas = choice.weight_decay, choice.betas
    return torch.optim.AdamW(groups, lr=choice.lr, betas=betas, weight_decay=decay, fused=True)


class MuonAndAdamW(torch.optim.Optimizer):
    """Muon for groups that have a `momentum`, AdamW for the others.

    Muon makes of a matrix's gradients, averaged over steps, the nearest matrix that only turns: all its singular
    values become about one. Scaled by 0.2 times the root of the longer side, an update is about as large as AdamW's
    (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon; Liu et al. 2025, https://arxiv.org/abs/2502.16982).
    """

    def __init__(
        self, groups: list[dict[str, Any]], *, lr: float, betas: tuple[float, float], weight_decay: float
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "eps": 1e-8})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient."""
        if closure is not None:
            raise NotImplementedError("gradients are there before a step")
        for group in self.param_groups:
            pairs = [(value, value.grad) for value in group["params"] if value.grad is not None]
            (self._turn if "momentum" in group else self._adapt)(pairs, group)

    def _turn(self, pairs: list[tuple[Tensor, Tensor]], group: dict[str, Any]) -> None:
        for value, gradient in pairs:
            state = self.state[value]
            if not state:
                state["momentum_buffer"] = torch.zeros_like(value)
            mean = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
            update = orthogonal(torch.lerp(gradient, mean, group["momentum"]))  # Nesterov's
            value.mul_(1 - group["lr"] * group["weight_decay"])
            value.add_(update, alpha=-0.2 * group["lr"] * max(value.shape) ** 0.5)

    def _adapt(self, pairs: list[tuple[Tensor, Tensor]], group: dict[str, Any]) -> None:
        for value, _ in pairs:
            if not self.state[value]:
                means = {"exp_avg": torch.zeros_like(value), "exp_avg_sq": torch.zeros_like(value)}
                self.state[value] = {"step": torch.zeros((), dtype=torch.float32, device=value.device), **means}
        states = [self.state[value] for value, _ in pairs]
        adamw(
            [value for value, _ in pairs],
            [gradient for _, gradient in pairs],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def orthogonal(matrix: Tensor) -> Tensor:
    """The matrix [M, N] with singular values of about one (0.7 to 1.2) and the same singular vectors, by five
    Newton-Schulz steps of Jordan's polynomial."""
    tall = matrix.shape[0] > matrix.shape[1]
    found = matrix.T if tall else matrix
    found = found / (found.norm() + 1e-7)
    for _ in range(5):
        squared = found @ found.T
        powers = torch.addmm(squared, squared, squared, beta=-4.7750, alpha=2.0315)
        found = torch.addmm(found, powers, found, beta=3.4445)
    return found.T if tall else found


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
