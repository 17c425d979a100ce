"""Objectives are equals: one interface, one loop, the same probe. One file each; `OBJECTIVES` names them."""

from __future__ import annotations

from collections.abc import Callable

from scriptsight.models.bundle import Encoder
from scriptsight.params.pretrain import PretrainParams
from scriptsight.pretrain.objectives.cpd import Cpd
from scriptsight.pretrain.objectives.frame_order import FrameOrder
from scriptsight.pretrain.objectives.joint import Joint
from scriptsight.pretrain.objectives.masked_pixels import MaskedPixels
from scriptsight.pretrain.objectives.tvts import Tvts
from scriptsight.training.objective import Objective


def _tvts(encoder: Encoder, params: PretrainParams) -> Objective:
    objective = Tvts(encoder, params.tvts, k=params.k, keep=params.keep)
    if next(iter(params.collections.values())).text != "script":
        objective.headline = "t2v_r1"  # the collection that figures are about has nothing to sort
    return objective


def _contrastive(encoder: Encoder, params: PretrainParams) -> Objective:
    return Tvts(encoder, params.tvts.model_copy(update={"sort_weight": 0.0}), k=params.k, keep=params.keep)


def _joint(encoder: Encoder, params: PretrainParams) -> Objective:
    weights = params.joint.objectives
    return Joint(encoder, {name: (OBJECTIVES[name](encoder, params), weights[name]) for name in weights})


# A name of `pretrain.objective` -> how to build it around a new encoder, which it keeps as `encoder`: only that is
# saved, not the heads it is trained with.
OBJECTIVES: dict[str, Callable[[Encoder, PretrainParams], Objective]] = {
    "tvts": _tvts,
    "contrastive": _contrastive,
    "frame_order": lambda encoder, params: FrameOrder(
        encoder, params.frame_order, params.tvts, k=params.k, keep=params.keep
    ),
    "masked_pixels": lambda encoder, params: MaskedPixels(encoder, params.masked_pixels),
    "cpd": lambda encoder, params: Cpd(encoder, params.cpd, keep=params.keep, seed=params.seed),
    "joint": _joint,
}
