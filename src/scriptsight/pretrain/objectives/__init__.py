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


def _contrastive(encoder: Encoder, params: PretrainParams) -> Objective:
    alone = params.tvts.model_copy(update={"sort_weight": 0.0})
    return Tvts.from_params(encoder, params.model_copy(update={"tvts": alone}))


def _joint(encoder: Encoder, params: PretrainParams) -> Objective:
    weights = params.joint.objectives
    return Joint(encoder, {name: (OBJECTIVES[name](encoder, params), weights[name]) for name in weights})


# A name of `pretrain.objective` -> how to build it around a new encoder, which it keeps as `encoder`: only that is
# saved, not the heads it is trained with.
OBJECTIVES: dict[str, Callable[[Encoder, PretrainParams], Objective]] = {
    "tvts": Tvts.from_params,
    "contrastive": _contrastive,
    "frame_order": FrameOrder.from_params,
    "masked_pixels": MaskedPixels.from_params,
    "cpd": Cpd.from_params,
    "joint": _joint,
}
