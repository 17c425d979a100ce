"""The training loop: one for every objective, on one screen."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn

from scriptsight.arithmetic import Arithmetic
from scriptsight.reporting import Reporter
from scriptsight.training.checkpoint import Checkpoint

LOG_EVERY = 10  # steps between two points of a curve


class NonFiniteLoss(RuntimeError):
    """The loss or its gradient is no number any more; nothing was updated with it."""


class Batch(Protocol):
    """What the loop itself needs of a batch."""

    @property
    def segment_ids(self) -> list[str]: ...

    def to(self, device: torch.device) -> Any: ...


@dataclass(frozen=True)
class Schedule:
    """AdamW with linear warm-up and cosine decay to zero. Steps are optimizer steps."""

    steps: int
    lr: float
    weight_decay: float
    betas: tuple[float, float]
    warmup_steps: int
    clip_norm: float
    validate_every: int
    checkpoint_every: int

    def lr_at(self, step: int) -> float:
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.lr * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass
class History:
    """The curves: training figures every `LOG_EVERY` steps and validation figures, each with its step."""

    training: list[dict[str, float]] = field(default_factory=list)
    validation: list[dict[str, float]] = field(default_factory=list)


def train(
    objective: nn.Module,
    losses: Callable[[Any, Generator], dict[str, Tensor]],
    batches: Callable[[int], Iterator[Any]],
    validate: Callable[[], dict[str, float]],
    *,
    schedule: Schedule,
    seed: int,
    arithmetic: Arithmetic,
    checkpoint: Checkpoint,
    reporter: Reporter,
) -> tuple[History, float]:
    """Train `objective` in place; resumes from `checkpoint` where there is one.

    Args:
        losses: (batch, generator) -> scalars by name, of which "loss" is minimised.
        batches: first step -> the batches from there on, a pure function of the step.
        validate: held-out figures, called every `schedule.validate_every` steps and at the end.

    Returns:
        The curves, and steps a second (validation not counted) of this process.

    Raises:
        NonFiniteLoss: before the update that it would have spoilt; the message names the batch's segments.
    """
    parameters = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=schedule.lr, betas=schedule.betas, weight_decay=schedule.weight_decay, fused=True
    )
    history = History()
    first = _resume(objective, optimizer, history, checkpoint, reporter)
    spent, started, stream = 0.0, time.perf_counter(), batches(first)
    for step in reporter.progress(range(first, schedule.steps), "pretrain"):
        # --------------------------------------------------------------------------------- one step
        objective.train()
        batch = next(stream).to(arithmetic.device)
        for group in optimizer.param_groups:
            group["lr"] = schedule.lr_at(step)
        # All of a step's randomness comes from its number (dropout's too): nothing else is saved to resume.
        generator = torch.manual_seed(seed * 1_000_003 + step)
        with arithmetic.autocast():
            parts = losses(batch, generator)
        optimizer.zero_grad()
        parts["loss"].backward()
        norm = nn.utils.clip_grad_norm_(parameters, schedule.clip_norm)
        if not (torch.isfinite(parts["loss"]) and torch.isfinite(norm)):
            raise NonFiniteLoss(
                f"The loss is {parts['loss'].item()}, its gradient's norm {norm.item()} at step {step}; nothing was "
                f"updated. Segments: {', '.join(batch.segment_ids)}. Lower pretrain.lr, or look at these segments."
            )
        optimizer.step()
        # ------------------------------------------------------------------------------------------
        done = step + 1
        if done % LOG_EVERY == 0 or done == schedule.steps:
            point = {name: float(value.detach()) for name, value in parts.items()}
            history.training.append({"step": done, "lr": schedule.lr_at(step), **point})
            reporter.metrics({f"train/{name}": value for name, value in point.items()}, done)
        if done % schedule.validate_every == 0 or done == schedule.steps:
            spent += time.perf_counter() - started
            objective.eval()
            with arithmetic.autocast():
                figures = validate()
            history.validation.append({"step": done, **figures})
            reporter.metrics({f"val/{name}": value for name, value in figures.items()}, done)
            reporter.message(f"step {done}: " + ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
            started = time.perf_counter()
        if done % schedule.checkpoint_every == 0 and done < schedule.steps:
            checkpoint.save(
                {
                    "step": done,
                    "objective": objective.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "training": history.training,
                    "validation": history.validation,
                }
            )
    return history, (schedule.steps - first) / spent if spent else 0.0


def _resume(
    objective: nn.Module,
    optimizer: torch.optim.Optimizer,
    history: History,
    checkpoint: Checkpoint,
    reporter: Reporter,
) -> int:
    """Load the newest checkpoint, if any -> the first step to do."""
    state = checkpoint.load()
    if state is None:
        return 0
    objective.load_state_dict(state["objective"])
    optimizer.load_state_dict(state["optimizer"])
    history.training, history.validation = state["training"], state["validation"]
    for name, curve in (("train", history.training), ("val", history.validation)):
        for point in curve:  # what records this run has only the rest of it otherwise
            reporter.metrics({f"{name}/{key}": point[key] for key in point if key != "step"}, int(point["step"]))
    reporter.message(f"Resuming after step {state['step']} from {checkpoint.path}.")
    return int(state["step"])
