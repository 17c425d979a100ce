"""Objectives are equals: one interface, one loop, the same probe. One file each; `OBJECTIVES` names them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from torch import Generator, Tensor, nn

from scriptsight.models.bundle import Encoder
from scriptsight.params import Pretrain
from scriptsight.pretrain.batches import Batch
from scriptsight.pretrain.objectives.tvts import Tvts


class Objective(Protocol):
    """What the training loop needs to know of an objective. It is an `nn.Module` that owns the encoder and
    whatever heads it trains with; only the encoder is saved."""

    encoder: Encoder

    def losses(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """Scalars by name; "loss" is what is minimised, the others are its parts and training figures.

        `generator` is the only source of randomness, so that a resumed run repeats an uninterrupted one.
        """

    def validate(self, batches: Iterable[Batch]) -> dict[str, Any]:
        """Held-out figures with their chance levels, as they go into metrics/pretrain.json."""


def module(objective: Objective) -> nn.Module:
    """The same object, as the torch module that it is."""
    assert isinstance(objective, nn.Module)
    return objective


# A name of `pretrain.objective` -> how to build it around a new encoder.
OBJECTIVES: dict[str, Callable[[Encoder, Pretrain], Objective]] = {
    "tvts": lambda encoder, params: Tvts(encoder, params.tvts, k=params.k, keep=params.keep),
}
