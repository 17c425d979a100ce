"""What the loop needs to know of something that can be learned."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn


@dataclass(frozen=True)
class Draw:
    """The randomness of one step. A sample gets the same numbers in whichever process or part of the batch it is
    computed: all processes draw for the whole batch and take their samples' share.

    `first` is the place in the batch of the first of `count` samples, `total` the samples of the whole batch.
    """

    generator: Generator
    first: int
    count: int
    total: int

    def rand(self, *shape: int) -> Tensor:
        """Uniform numbers in [0, 1), float32 [count, *shape], on the processor."""
        return torch.rand(self.total, *shape, generator=self.generator)[self.first : self.first + self.count]


class Objective(nn.Module, ABC):
    """A module that owns what is trained and says how. All objectives are equals before the loop.

    The loop calls it as `objective("losses", ...)` and `objective("measure", ...)`, so that the wrappers of
    distributed training, which act on calls of the module itself, see both.
    """

    headline: str  # the figure of `figures` that says which weights are best; the higher the better

    def forward(self, method: str, *arguments: Any) -> dict[str, Tensor]:
        values: dict[str, Tensor] = getattr(self, method)(*arguments)
        return values

    @abstractmethod
    def losses(self, batch: Any, draw: Draw) -> dict[str, Tensor]:
        """Scalars by name; "loss" is minimised, the others are its parts and training figures. `draw` is the only
        source of randomness but dropout."""

    @abstractmethod
    def measure(self, batch: Any) -> dict[str, Tensor]:
        """What `figures` needs of one held-out batch; may be called in any process."""

    @abstractmethod
    def figures(self, parts: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        """Held-out figures with their chance levels, from what `measure` gave for every batch in order."""

    def rate_factor(self, name: str) -> float:
        """The share of the learning rate that the parameter of this name has."""
        return 1.0

    def expect(self, pairs: Iterable[tuple[str, str | None]]) -> None:
        """Called once before training, on the device: (segment id, text) of whatever samples will come. The text is
        None where a sample has several."""
        return

    def before_step(self, step: int, validation: Sequence[dict[str, float]]) -> None:
        """Called before each step with its number and all held-out figures so far; for what changes on the way."""
        return

    def after_step(self) -> None:
        """Called after each optimizer step; for what is updated without a gradient."""
        return

    def memory(self) -> dict[str, Tensor]:
        """What is learned beside the weights, whole and on the processor; all processes call this. It is saved with
        checkpoints and beside the last model."""
        return {}

    def remember(self, memory: dict[str, Tensor]) -> None:
        """Take over what `memory` gave, perhaps from other samples; called after `expect`, in every process."""
        return
