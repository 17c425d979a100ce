"""The stage probe: how the frozen encoder is measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from scriptsight.params.base import CACHE_GB, MACHINE, Beta, Count, Name, NotNegative, Positive, Section, Seed, Split

ProtocolName = Literal["linear", "sgd", "knn", "attentive", "few_shot", "zero_shot", "video_to_video", "finetune"]
# What figures of a test are called (beside *_top1 and v2v_r*): another test's name becomes a name beside theirs.
TAKEN = (
    "agreement",
    "chance",
    "chances",
    "classes",
    "train",
    "test",
    "recordings",
    "overlap",
    "folds",
    "few_shot",
    "order",
    "reverses",
    "random_init",
)


class LabelledSet(Section):
    """A labelled set that the probe measures on: a collection, or one a fold, of which figures are the means."""

    collections: tuple[Name, ...] = Field(strict=False, min_length=1)
    train_split: Split = "train"
    test_split: Split = "test"
    reverses: tuple[Annotated[tuple[str, str], Field(strict=False)], ...] = Field(default=(), strict=False)
    # pairs of classes of which one is the other backwards: what only the order of the frames tells apart
    texts: dict[str, str] = Field(default_factory=dict)  # zero_shot: class -> a sentence; others: their label

    @model_validator(mode="after")
    def _pairs_are_pairs(self) -> LabelledSet:
        labels = [label for pair in self.reverses for label in pair]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"reverses has {twice[0]!r} twice: a class has one reverse, and another than itself")
        if len(set(self.collections)) < len(self.collections):
            raise ValueError("collections has a name twice: each fold is a collection of its own")
        return self


class Views(Section):
    """What the probe sees of a segment: equal stretches in time, and crops along the longer side."""

    stretches: Count
    crops: Literal[1, 3]


class LinearProbe(Section):
    """Logistic regression by L-BFGS."""

    c: Positive  # inverse strength of the L2 penalty


class SgdProbe(Section):
    """The linear layer trained as the papers do; see `scriptsight.probe.sgd`."""

    lrs: tuple[Positive, ...] = Field(strict=False, min_length=1)  # a batch of 256; chosen on held-out training clips
    epochs: Count
    warmup_epochs: Annotated[int, Field(ge=0)]
    batch: Count
    momentum: Beta
    weight_decay: NotNegative


class Knn(Section):
    """Weighted nearest neighbours."""

    k: Count
    temperature: Positive


class AttentiveProbe(Section):
    """A cross-attention block over all tokens, trained with AdamW; see `scriptsight.probe.attentive`."""

    heads: Count  # a divisor of the encoder's width
    lr: Positive
    epochs: Count
    batch: Count
    weight_decay: NotNegative


class FewShot(Section):
    """Episodes of the test split: the nearest of `ways` prototypes, each the mean of so many `shots`."""

    ways: Annotated[int, Field(ge=2)]
    shots: tuple[Count, ...] = Field(strict=False, min_length=1)
    queries: Count  # a class and episode
    episodes: Annotated[int, Field(ge=2)]


class ZeroShot(Section):
    """Classes by their names alone."""

    # sentences with {} where the class goes, or a text file of them, one a line
    templates: str | Annotated[tuple[str, ...], Field(strict=False, min_length=1)]


class FinetuneParams(Section):
    """Full fine-tuning for classification. People write it, so its keys default here: VideoMAE's recipe (arXiv
    2203.12602), with torchvision's RandAugment."""

    feature: Literal["cls", "mean"] = "cls"  # what the classifier reads: the class token, or the patch tokens' mean
    epochs: Count = 30
    batch: Annotated[int, Field(ge=2)] = 64
    lr: Positive = 1e-3  # of the classifier
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 0.75  # of the rate, layer by layer towards the pixels
    weight_decay: NotNegative = 0.05
    warmup_epochs: NotNegative = 3
    clip_norm: Positive = 1.0
    ema: Beta = 0.0
    drop_path: Beta = 0.1  # of a ViT's last block; 0 for a ResNet, which has none
    label_smoothing: Beta = 0.1
    mixup: NotNegative = 0.8  # alpha; each batch gets mixup or cutmix, or the one whose alpha is not 0
    cutmix: NotNegative = 1.0
    augment_ops: Annotated[int, Field(ge=0)] = 2  # of RandAugment, a clip; 0 is none
    augment_magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    flip: bool = False  # mirror half of the training clips; off, because it turns left into right
    stretches: Count = 1  # a training clip is of so short a part; in the test, all of them are averaged
    crops: Literal[1, 3] = 3  # squares that are averaged in the test, of frames that are no squares
    seed: Seed = 0
    checkpoint_every: Annotated[Count, MACHINE] = 500  # steps
    accumulate: Count = 1  # parts that each batch is computed in
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    checkpoint_activations: Annotated[bool, MACHINE] = False
    threads: Annotated[Count, MACHINE] = 2


class ProbeParams(Section):
    """How the frozen encoder is measured."""

    tests: dict[Name, LabelledSet]  # the first one's figures have no prefix; {} where no clips have labels
    protocols: tuple[ProtocolName, ...] = Field(strict=False)  # linear: and controls of the frames' order
    # the class token, or the mean of the patch tokens; after the last block, or of block 3 as cls@3
    feature: Annotated[str, Field(pattern=r"^(cls|mean)(@[1-9][0-9]*)?$")]
    train_views: Views
    test_views: Views  # of which the scores are averaged
    linear: LinearProbe
    sgd: SgdProbe
    knn: Knn
    attentive: AttentiveProbe
    few_shot: FewShot
    zero_shot: ZeroShot
    batch: Annotated[Count, MACHINE]  # clips a forward pass
    shard_cache_gb: Annotated[Positive, MACHINE] = CACHE_GB  # as pretrain.shard_cache_gb
    seed: Seed  # of the randomly initialised encoder
    finetune: FinetuneParams | None = None  # used where it is one of the protocols

    @model_validator(mode="after")
    def _tests_are_measured(self) -> ProbeParams:
        if self.tests and not self.protocols:
            raise ValueError("protocols is empty, and there are tests: name how to measure, or set tests: {}")
        return self

    @model_validator(mode="after")
    def _finetune_is_said(self) -> ProbeParams:
        if "finetune" in self.protocols and self.finetune is None:
            raise ValueError("protocols names finetune: add its section, finetune: {} for its defaults")
        return self

    @model_validator(mode="after")
    def _names_are_free(self) -> ProbeParams:
        for name in list(self.tests)[1:]:
            if name in TAKEN or name.endswith("_top1") or name.startswith("v2v_r"):
                raise ValueError(f"tests.{name}: a figure is called so ({', '.join(TAKEN)}): choose another name")
        return self
