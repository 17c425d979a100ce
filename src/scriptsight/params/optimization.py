"""Optimizers and schedules of the learning rate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from scriptsight.params.base import Beta, Count, NotNegative, Positive, Section, Share


class AdamW(Section):
    """AdamW."""

    kind: Literal["adamw"]
    lr: Positive
    text_lr: Positive | None  # of the text encoder; null: lr
    weight_decay: NotNegative
    betas: tuple[Beta, Beta] = Field(strict=False)
    clip_norm: Positive


class Muon(Section):
    """Muon for the matrices of blocks, AdamW with `betas` for everything else."""

    kind: Literal["muon"]
    lr: Positive  # of AdamW
    matrix_lr: Positive  # of Muon, whose updates are scaled to be as large as AdamW's
    text_lr: Positive | None  # of the text encoder instead of lr, and of its matrices in the same proportion
    weight_decay: NotNegative
    betas: tuple[Beta, Beta] = Field(strict=False)
    momentum: Share
    clip_norm: Positive


class Sgd(Section):
    """SGD with Nesterov-free momentum, as CPD trains."""

    kind: Literal["sgd"]
    lr: Positive
    text_lr: Positive | None
    weight_decay: NotNegative
    momentum: Share
    clip_norm: Positive


Optimizer = Annotated[AdamW | Muon | Sgd, Field(discriminator="kind")]


class Cosine(Section):
    """Linear warm-up, then a half cosine to zero."""

    kind: Literal["cosine"]
    warmup_steps: Annotated[int, Field(ge=0)]


class Milestones(Section):
    """Linear warm-up, then the learning rate times `factor` at each of the steps `at`."""

    kind: Literal["milestones"]
    warmup_steps: Annotated[int, Field(ge=0)]
    at: tuple[Count, ...] = Field(strict=False)
    factor: Annotated[float, Field(gt=0, lt=1)]


Schedule = Annotated[Cosine | Milestones, Field(discriminator="kind")]
