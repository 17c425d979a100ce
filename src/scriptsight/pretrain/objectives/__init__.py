"""Objectives are equals: one interface, one loop, the same probe. One file each; `OBJECTIVES` names them."""

from __future__ import annotations

from collections.abc import Callable

from scriptsight.models.bundle import Encoder
from scriptsight.params import Pretrain
from scriptsight.pretrain.objectives.cpd import Cpd
from scriptsight.pretrain.objectives.tvts import Tvts
from scriptsight.training.objective import Objective

# A name of `pretrain.objective` -> how to build it around a new encoder, which it keeps as `encoder`: only that is
# saved, not the heads it is trained with.
OBJECTIVES: dict[str, Callable[[Encoder, Pretrain], Objective]] = {
    "tvts": lambda encoder, params: Tvts(encoder, params.tvts, k=params.k, keep=params.keep),
    "cpd": lambda encoder, params: Cpd(encoder, params.cpd, keep=params.keep, seed=params.seed),
}
