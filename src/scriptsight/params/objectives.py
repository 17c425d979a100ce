"""The objectives of pre-training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from scriptsight.params.base import MACHINE, Count, NotNegative, Positive, Section, Share


class TvtsParams(Section):
    """The TVTS objective."""

    sort_weight: NotNegative
    align_weight: NotNegative
    temperature: Positive
    align_chunk: Annotated[Count | None, MACHINE]  # rows of the similarity matrix held at once; null holds all
    head_depth: Count
    head_heads: Count
    head_text: Literal["projected", "plain"]  # linear and LayerNorm; the paper adds sentences as they are
    temporal_embedding: bool  # at the sorting head's input, on video tokens; the paper has none
    detach_text: bool  # sorting does not train the text encoder


class AtStep(Section):
    """At this step."""

    kind: Literal["step"]
    step: Annotated[int, Field(ge=0)]


class AtPlateau(Section):
    """After so many validations in a row without a better headline figure."""

    kind: Literal["plateau"]
    validations: Count


class CpdParams(Section):
    """The CPD objective."""

    estimator: Literal["shared", "per_sample", "infonce"]  # NCE with noise drawn once a batch, or for each sample
    noise: Count  # m, noise pairs drawn a step
    temperature: Positive
    momentum: Share  # what a row of the memory banks keeps of itself at an update
    joint_from: Annotated[AtStep | AtPlateau, Field(discriminator="kind")]  # until then the text encoder is frozen


class FrameOrderParams(Section):
    """Which frame comes when, given the text (MERLOT's task); temperature, align_chunk and detach_text are tvts'."""

    order_weight: Positive
    align_weight: NotNegative
    head_depth: Count
    head_heads: Count


class MaskedPixelsParams(Section):
    """VideoMAE."""

    mask: Annotated[float, Field(gt=0, lt=1)]  # share of the patches, the same ones at every step
    decoder_width: Count
    decoder_depth: Count
    decoder_heads: Count

    @model_validator(mode="after")
    def _heads_divide(self) -> MaskedPixelsParams:
        if self.decoder_width % self.decoder_heads:
            raise ValueError(
                f"decoder_width {self.decoder_width} is no multiple of decoder_heads {self.decoder_heads}"
            )
        return self


ObjectiveName = Literal["tvts", "contrastive", "frame_order", "masked_pixels", "cpd"]


class JointParams(Section):
    """Several objectives over one encoder: the sum of their losses, each times its weight."""

    objectives: dict[ObjectiveName, Positive] = Field(min_length=1)  # the first says which weights are best
