"""The stage pretrain: what is learned from which collections, and how long."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from scriptsight.params.base import CACHE_GB, MACHINE, Count, Name, NotNegative, Positive, Section, Seed
from scriptsight.params.models import ResNetParams, TextParams, VideoParams, VitParams
from scriptsight.params.objectives import (
    AtStep,
    CpdParams,
    FrameOrderParams,
    JointParams,
    MaskedPixelsParams,
    ObjectiveName,
    TvtsParams,
)
from scriptsight.params.optimization import Milestones, Optimizer, Schedule


class Source(Section):
    """A collection to learn from. People write it, so its keys default here."""

    text: Literal["script", "transcript", "caption", "title"] = "script"
    # script: K transcripts, to be sorted and aligned; the others are pairs, one text a sample, no sorting:
    # one transcript and its stretch, or an untimed text and the whole segment
    share: Positive = 1.0  # of the batches, relative to the other collections
    frames: Count | None = None  # of clips of pairs, at most pretrain.frames (null); an image takes one tubelet
    stride: Count | None = None  # of clips of pairs: stored frames from one to the next (CPD); null: evenly over all


class CueSampling(Section):
    """K consecutive cues, whole."""

    kind: Literal["cues"]


class SpanSampling(Section):
    """K spans of one random length with gaps between them; what is spoken in each is a transcript (TVTS)."""

    kind: Literal["spans"]
    min_seconds: Positive
    max_seconds: Positive
    gap_seconds: NotNegative

    @model_validator(mode="after")
    def _ordered(self) -> SpanSampling:
        if self.min_seconds > self.max_seconds:
            raise ValueError("min_seconds is over max_seconds")
        return self


Sampling = Annotated[CueSampling | SpanSampling, Field(discriminator="kind")]


class Engine(Section):
    """How a training is computed; nothing here is a choice of method, but for `accumulate` where samples of a batch
    look at one another: alignment then sees one part at a time."""

    processes: Annotated[Count, MACHINE]  # on this machine; over 1, or under torchrun, they share each batch
    strategy: Annotated[Literal["ddp", "fsdp"], MACHINE]  # fsdp: weights and optimizer are spread over the processes
    accumulate: Count  # parts that each batch is computed in, one after the other
    precision: Literal["auto", "bf16", "fp32"]  # auto: what is faster here, by a measurement that is kept
    attention: Annotated[Literal["auto", "explicit", "fused"], MACHINE]
    checkpoint_activations: Annotated[bool, MACHINE]  # compute activations twice instead of keeping them
    compile: Annotated[bool, MACHINE]  # torch.compile of the video encoder
    threads: Annotated[Count, MACHINE]  # of the processor, a process; part of what makes two runs equal to the byte
    loader_workers: Annotated[int, Field(ge=0), MACHINE]  # processes that read samples; 0 reads ahead in a thread


class PretrainParams(Section):
    """What is learned from which collections, and how long."""

    RENAMED: ClassVar[dict[str, str]] = {"size": "image_size"}

    seed: Seed
    collections: dict[Name, Source] = Field(min_length=1)  # the first is the one that figures are about
    objective: Literal[ObjectiveName, "joint"]
    start_from: str | None  # a model folder that training goes on from (a second phase); it brings its text encoder
    k: Annotated[int, Field(ge=2)]  # transcripts a sample
    sampling: Sampling
    frames: Count  # a clip
    image_size: Count  # pixels, the side of a square frame
    flip: bool  # mirror half of the training clips; off, because it turns left into right
    keep: Annotated[float, Field(gt=0, le=1)]  # share of the patches that training sees
    embed_dim: Count  # of the space that video and text share
    text_hidden: Count | None  # of a layer with batch norm in the text projection, CPD's 512; null: no such layer
    max_text_tokens: Count
    video: VideoParams
    text: TextParams
    tvts: TvtsParams  # of contrastive as well: it is the alignment alone
    frame_order: FrameOrderParams
    masked_pixels: MaskedPixelsParams
    joint: JointParams
    cpd: CpdParams
    steps: Count
    batch: Annotated[int, Field(ge=2)]  # samples an optimizer step, of all processes together
    optimizer: Optimizer
    schedule: Schedule
    ema: Annotated[float, Field(ge=0, lt=1)]  # decay of an average of the weights, which is then kept; 0 is none
    validate_every: Count  # steps
    validation_samples: Count  # at most, a collection
    checkpoint_every: Annotated[Count, MACHINE]  # steps
    keep_checkpoints: Annotated[Count, MACHINE]
    # null: an epoch's order is drawn over all segments; or over so many shards at a time, which come in random order:
    # for shards that lie elsewhere and are too many for the cache
    shuffle_shards: Count | None = None
    # at most, of this machine's copies of shards that lie elsewhere (segment.store); those used longest ago go first
    shard_cache_gb: Annotated[Positive, MACHINE] = CACHE_GB
    engine: Engine

    @model_validator(mode="after")
    def _shapes_fit(self) -> PretrainParams:
        if self.frames % self.video.tubelet:
            raise ValueError(f"frames {self.frames} is no multiple of video.tubelet {self.video.tubelet}")
        if isinstance(self.video, VitParams) and self.image_size % self.video.patch:
            raise ValueError(f"image_size {self.image_size} is no multiple of video.patch {self.video.patch}")
        if isinstance(self.video, ResNetParams):
            self._check_resnet()
        return self

    def _check_resnet(self) -> None:
        if "masked_pixels" in self.objectives:
            raise ValueError("masked_pixels leaves patches out, which needs a ViT: choose video.kind vit")
        if self.keep < 1:
            raise ValueError(
                f"keep {self.keep} leaves patches out, which needs a ViT: choose video.kind vit or keep 1.0"
            )
        if self.engine.checkpoint_activations:
            raise ValueError("engine.checkpoint_activations needs a ViT: choose video.kind vit, or false")

    @property
    def objectives(self) -> list[str]:
        """What `objective` comes to: its own name, or those of `joint`."""
        return list(self.joint.objectives) if self.objective == "joint" else [self.objective]

    @model_validator(mode="after")
    def _milestones_come(self) -> PretrainParams:
        if isinstance(self.schedule, Milestones) and max(self.schedule.at, default=0) >= self.steps:
            raise ValueError(
                f"schedule.at {max(self.schedule.at)} never comes in {self.steps} steps: lower it, or raise steps"
            )
        return self

    @model_validator(mode="after")
    def _objectives_fit(self) -> PretrainParams:
        for name, heads in (("tvts", self.tvts.head_heads), ("frame_order", self.frame_order.head_heads)):
            if name in self.objectives and self.video.width % heads:
                raise ValueError(f"video.width {self.video.width} is no multiple of {name}.head_heads {heads}")
        fewest = min(source.frames or self.frames for source in self.collections.values())
        if "frame_order" in self.objectives and fewest < 2 * self.video.tubelet:
            raise ValueError("frame_order needs two steps in time or more: raise frames or lower video.tubelet")
        trainers = [name for name in self.objectives if name in ("tvts", "contrastive", "frame_order")]
        if "cpd" in self.objectives and trainers and self.cpd.joint_from != AtStep(kind="step", step=0):
            raise ValueError(
                f"cpd.joint_from freezes the text encoder at first, and {trainers[0]} trains it: together with it "
                "joint_from must be {kind: step, step: 0}"
            )
        if "tvts" in self.objectives and not self.tvts.sort_weight and not self.tvts.align_weight:
            raise ValueError("tvts.sort_weight and tvts.align_weight are both 0: there is nothing to learn")
        if "contrastive" in self.objectives and not self.tvts.align_weight:
            raise ValueError("contrastive is tvts.align_weight alone, which is 0: there is nothing to learn")
        return self

    @model_validator(mode="after")
    def _sources_fit(self) -> PretrainParams:
        for name, source in self.collections.items():
            if source.text == "script" and (source.frames, source.stride) != (None, None):
                raise ValueError(f"collections.{name}: frames and stride are for pairs; scripts take pretrain.frames")
            frames = source.frames or self.frames
            if frames > self.frames or frames % self.video.tubelet:
                raise ValueError(
                    f"collections.{name}.frames {frames} must be a multiple of video.tubelet {self.video.tubelet} "
                    f"and at most frames {self.frames}"
                )
            if source.text != "script" and self.objective == "tvts" and not self.tvts.align_weight:
                raise ValueError(f"collections.{name} has pairs, which only alignment learns from: align_weight is 0")
        parts = self.engine.processes * self.engine.accumulate
        if self.batch % parts or self.batch // parts < 2:
            raise ValueError(
                f"batch {self.batch} can't be shared by engine.processes x engine.accumulate = {parts}: it must be "
                "a multiple, with two samples or more in each part"
            )
        return self
