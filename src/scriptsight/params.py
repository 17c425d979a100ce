"""params.yaml, typed: one frozen model a stage. Every default is in params.yaml and nowhere else.

The exceptions are what params.yaml has no line for and people write themselves: a collection, a transcription,
another kind of encoder. Their optional keys default here.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML, YAMLError

from scriptsight.errors import InputError

Split = Literal["train", "val", "test"]
Share = Annotated[float, Field(ge=0, le=1)]
Beta = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
# A name becomes a folder: no separators, no dots that climb out of it.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*$", max_length=64)]


class Section(BaseModel):
    """What all sections share: no unknown key, no conversion of types, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


# ---------------------------------------------------------------------------------------------- ingest


class WorldVideos(Section):
    """How many videos of each split the world makes."""

    train: Annotated[int, Field(ge=0)]
    val: Annotated[int, Field(ge=0)]
    test: Annotated[int, Field(ge=0)]


class WorldCollection(Section):
    """A generated collection; `scriptsight.ingest.world` describes it exactly."""

    kind: Literal["world"]
    content: Literal["narrated", "loop", "slow"]  # told scenes for pre-training; silent labelled clips
    videos: WorldVideos
    scenes: Count = 1  # narrated: scenes a video
    pairs: Annotated[int, Field(ge=1, le=6)] = 2  # narrated: verb pairs a scene; a scene has 2 x pairs events
    undo: bool = True  # narrated: every verb of a scene is also undone; False draws verbs independently
    seed: Seed = 0


class FolderCollection(Section):
    """Videos in a folder, each with captions beside it, in any format that `scriptsight.ingest.captions` reads, or
    embedded."""

    kind: Literal["folder"]
    path: str  # a folder, or an fsspec address such as s3://bucket/talks
    pattern: str = "**/*"  # which files below `path` are videos; those with a video's suffix are taken
    language: str | None = None  # of captions, where a video has several: clip.en.vtt, an embedded track
    labels: str | None = None  # a CSV in the folder with a column `video` (file name) and a label
    label_column: str = "label"
    captions: str | None = None  # a CSV in the folder with columns `video` and `caption` and/or `title`
    splits: Literal["hash", "column", "folder"] | dict[str, Split] = "hash"
    # hash: stable by file name, with the shares below; column: `split` in labels or captions;
    # folder: the first folder below `path`; a table: file name pattern -> split, the first match counts
    val_share: Share = 0.1
    test_share: Share = 0.1

    @model_validator(mode="after")
    def _shares_fit(self) -> FolderCollection:
        if self.val_share + self.test_share > 1:
            raise ValueError("val_share and test_share together are over 1")
        return self


class SplitFiles(Section):
    """What published datasets share that have an annotation file a split; `scriptsight.ingest.datasets` says more.

    All paths are local (relative ones start at the workspace) or fsspec addresses such as s3://bucket/prefix.
    """

    path: str  # the folder of the videos
    annotations: dict[Split, str] = Field(min_length=1)  # which of the dataset's files becomes which split
    val_share: Share = 0.0  # of the training videos, for a dataset without a validation file

    @model_validator(mode="after")
    def _one_validation(self) -> SplitFiles:
        if self.val_share and "val" in self.annotations:
            raise ValueError("val_share and annotations.val both make a validation split: leave one of them out")
        return self


class WebVidCollection(SplitFiles):
    """WebVid: results_2M_train.csv and its like."""

    kind: Literal["webvid"]


class Cc3mCollection(SplitFiles):
    """Conceptual Captions: images with a caption; Train_GCC-training.tsv, or a folder that img2dataset wrote."""

    kind: Literal["cc3m"]


class KineticsCollection(SplitFiles):
    """Kinetics-400, 600 or 700: train.csv and its like. The papers report on validation."""

    kind: Literal["kinetics"]
    clips: Literal["trimmed", "whole"] = "trimmed"  # whole: files are the videos that clips are stretches of
    titles: str | None = None  # a CSV or JSON of titles by YouTube id, for pairs of video and title


class Ssv2Collection(SplitFiles):
    """Something-Something v2: train.json and its like. The papers report on validation."""

    kind: Literal["ssv2"]


class DidemoCollection(SplitFiles):
    """DiDeMo: train_data.json and its like; the descriptions of a video are one paragraph."""

    kind: Literal["didemo"]


class LsmdcCollection(SplitFiles):
    """LSMDC: LSMDC16_annos_training.csv and its like."""

    kind: Literal["lsmdc"]


class MsvdCollection(SplitFiles):
    """MSVD: train_list.txt and its like."""

    kind: Literal["msvd"]
    captions: str  # AllVideoDescriptions.txt or video_corpus.csv


class MsrvttCollection(Section):
    """MSR-VTT: full, by the split in its JSON, or with lists that make the split, such as 1k-A."""

    kind: Literal["msrvtt"]
    path: str
    annotations: tuple[str, ...] = Field(default=(), strict=False)  # MSRVTT_data.json, or the two official files
    lists: dict[Split, str] = {}  # CSV files with a column video_id, for 1k-A also sentence
    val_share: Share = 0.0

    @model_validator(mode="after")
    def _something_named(self) -> MsrvttCollection:
        if not self.annotations and not self.lists:
            raise ValueError("name MSRVTT_data.json in annotations, or the split's CSV files in lists, or both")
        if self.val_share and "val" in self.lists:
            raise ValueError("val_share and lists.val both make a validation split: leave one of them out")
        return self


class Ucf101Collection(Section):
    """UCF101 in one of its three splits."""

    kind: Literal["ucf101"]
    path: str
    annotations: str  # the folder of trainlist01.txt
    fold: Literal[1, 2, 3] = 1
    val_share: Share = 0.0  # of the training groups


class Hmdb51Collection(Section):
    """HMDB51 in one of its three splits."""

    kind: Literal["hmdb51"]
    path: str
    annotations: str  # the folder of brush_hair_test_split1.txt
    fold: Literal[1, 2, 3] = 1
    val_share: Share = 0.0  # of the training recordings


class InstagramCollection(Section):
    """Instagram-300k with CPD's ins_300k.json, which says the split."""

    kind: Literal["instagram"]
    path: str
    annotations: str
    val_share: Share = 0.0


class HowTo100mCollection(Section):
    """HowTo100M: raw_caption.json, and HowTo100M_v1.csv where that chooses the videos. It has no split."""

    kind: Literal["howto100m"]
    path: str
    captions: str  # raw_caption.json, or a folder of CSV files named after the videos
    annotations: str | None = None  # HowTo100M_v1.csv
    val_share: Share = 0.01


class YtTemporalCollection(Section):
    """YT-Temporal-180M: a JSON a video. It has no split."""

    kind: Literal["yt_temporal"]
    path: str
    annotations: str  # the folder of the JSON files
    val_share: Share = 0.01


class WebDatasetCollection(Section):
    """Tar archives of WebDataset or video2dataset."""

    kind: Literal["webdataset"]
    path: str  # the folder of the archives
    languages: tuple[str, ...] = Field(default=(), strict=False)  # of captions, the preferred first
    splits: Literal["hash"] | dict[str, Split] = "hash"  # a table: archive name pattern -> split, first match counts
    val_share: Share = 0.1
    test_share: Share = 0.1

    @model_validator(mode="after")
    def _shares_fit(self) -> WebDatasetCollection:
        return _checked_shares(self)


class YtDlpCollection(Section):
    """A folder that yt-dlp wrote with --write-info-json and --write-subs or --write-auto-subs."""

    kind: Literal["yt_dlp"]
    path: str
    languages: tuple[str, ...] = Field(default=(), strict=False)  # of captions, the preferred first
    description: bool = False  # take the video's description as its caption
    val_share: Share = 0.1
    test_share: Share = 0.1

    @model_validator(mode="after")
    def _shares_fit(self) -> YtDlpCollection:
        return _checked_shares(self)


def _checked_shares(collection: Any) -> Any:
    if collection.val_share + collection.test_share > 1:
        raise ValueError("val_share and test_share together are over 1")
    return collection


DatasetCollection = (
    WebVidCollection
    | Cc3mCollection
    | KineticsCollection
    | Ssv2Collection
    | DidemoCollection
    | LsmdcCollection
    | MsvdCollection
    | MsrvttCollection
    | Ucf101Collection
    | Hmdb51Collection
    | InstagramCollection
    | HowTo100mCollection
    | YtTemporalCollection
    | WebDatasetCollection
    | YtDlpCollection
)
Collection = Annotated[WorldCollection | FolderCollection | DatasetCollection, Field(discriminator="kind")]


class Transcription(Section):
    """Whisper, for videos that come without cues; needs the extra `scriptsight[asr]`."""

    model: Annotated[str, Field(min_length=1)]  # a name that faster-whisper knows, or a converted model's folder
    language: str | None = None  # of all videos, as `en`; null: heard, video by video
    vad: bool = True  # only where a voice is heard; without it silence and music may get words
    batch: Count = 8  # windows of 30 seconds that are heard together
    device: Literal["auto", "cpu", "cuda"] = "auto"  # auto: cuda where there is one
    compute_type: str = "default"  # of CTranslate2: float16, int8, ...; default: as the model was saved


class Cleaning(Section):
    """Which rules of `scriptsight.ingest.cleaning` are applied to cues; each is described there."""

    negative_times: bool
    backward_times: bool
    late_times: bool
    late_ends: bool
    mojibake: bool
    entities_and_tags: bool
    rolling_repeats: bool
    speaker_labels: bool
    sounds: bool
    filler_runs: bool
    no_letters: bool
    overlaps: bool
    languages: tuple[Annotated[str, Field(pattern="^[a-z]{2}$")], ...] = Field(strict=False)  # wanted; []: all


class Spread(Section):
    """Where a stage that works video by video does it."""

    workers: Count  # at a time
    # processes of this machine; or Prefect tasks, on its page one by one: in threads here, each with a process of
    # its own, or on a Dask cluster
    runner: Literal["processes", "threads", "dask"]
    dask_address: str | None  # of an existing scheduler, such as tcp://10.0.0.1:8786; null: `workers` on this machine


class Ingest(Spread):
    """Which collections there are."""

    collections: dict[Name, Collection] = Field(min_length=1)
    transcription: Transcription | None = None  # null: videos without cues stay so
    cleaning: Cleaning
    timeout_seconds: Positive  # for opening and hashing one video, which may lie on another machine
    max_reject_share: Share  # of a collection's videos; over it the stage fails


class Segment(Spread):
    """How videos are cut and stored."""

    fps: Positive  # stored frames a second
    short_side: Annotated[int, Field(ge=8)]  # pixels
    max_seconds: Positive  # longest segment
    max_gap_seconds: Positive  # a longer silence between two cues ends a segment
    pad_seconds: NotNegative  # video kept before the first and after the last cue
    jpeg_quality: Annotated[int, Field(ge=1, le=100)]
    shard_mb: Positive
    timeout_seconds: Positive  # for decoding one video
    max_reject_share: Share


# -------------------------------------------------------------------------------------------- pretrain


def _checked_heads(encoder: Any) -> Any:
    if encoder.width % encoder.heads:
        raise ValueError(f"width {encoder.width} is no multiple of heads {encoder.heads}")
    return encoder


VIDEO_PRESETS = {
    "vit_s16": {"width": 384, "depth": 12, "heads": 6, "patch": 16},
    "vit_b16": {"width": 768, "depth": 12, "heads": 12, "patch": 16},  # the paper's
    "vit_l16": {"width": 1024, "depth": 24, "heads": 16, "patch": 16},
}


class Vit(Section):
    """A ViT over tubelets; `preset` stands for width, depth, heads and patch: {preset: vit_b16, tubelet: 2}."""

    kind: Literal["vit"]
    preset: Literal["vit_s16", "vit_b16", "vit_l16"] | None = None
    width: Count
    depth: Count
    heads: Count
    patch: Count  # pixels
    tubelet: Count  # frames
    init: str | None  # warm start: a timm image ViT by name, or a .safetensors or .pth file of one

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("preset") is None:
            return values
        if (shape := VIDEO_PRESETS.get(values["preset"])) is None:
            raise ValueError(f"preset {values['preset']!r} must be one of {', '.join(VIDEO_PRESETS)}")
        # The same value is no contradiction: a spelled-out section, dumped, is a section again.
        if twice := [key for key in shape if values.get(key, shape[key]) != shape[key]]:
            raise ValueError(f"preset {values['preset']} sets {', '.join(twice)}: leave out the one or the other")
        return shape | values

    @property
    def shape(self) -> dict[str, Any]:
        """The arguments of `VideoViT` with its kind, but for the clip's size and frames."""
        return self.model_dump(include={"kind", "width", "depth", "heads", "patch", "tubelet"})

    @model_validator(mode="after")
    def _heads_divide(self) -> Vit:
        return _checked_heads(self)


class ResNet3d(Section):
    """A 3D ResNet, CPD's; it has no patches that could be left out."""

    kind: Literal["resnet3d"]
    depth: Literal[18, 50]
    init: str | None = None  # warm start: a timm image ResNet by name, or a .safetensors or .pth file of one

    @property
    def shape(self) -> dict[str, Any]:
        """The arguments of `ResNet3d` with its kind, but for the clip's size and frames."""
        return self.model_dump(include={"kind", "depth"})

    @property
    def width(self) -> int:
        """Of its last feature map."""
        return 512 if self.depth == 18 else 2048

    @property
    def tubelet(self) -> int:
        """Frames a step in time."""
        return 1


def _vit_unless_said(values: Any) -> Any:
    return {"kind": "vit"} | values if isinstance(values, dict) else values


VideoEncoder = Annotated[Vit | ResNet3d, Field(discriminator="kind"), BeforeValidator(_vit_unless_said)]


class WordText(Section):
    """The mean of frozen random word vectors; the vocabulary comes from the training split."""

    kind: Literal["words"]
    width: Count
    vocabulary: Count  # most entries


class VectorText(Section):
    """The mean of word vectors: of a word2vec or GloVe file, or trained on the training split's texts."""

    kind: Literal["vectors"]
    path: str | None  # word2vec's .bin, its text or GloVe's; null: trained here by word2vec
    vocabulary: Count  # most entries
    frozen: bool = True
    width: Count | None = None  # of vectors trained here; a file has its own
    epochs: Count = 10  # of training here
    seed: Seed = 0

    @model_validator(mode="after")
    def _width_is_known_once(self) -> VectorText:
        if (self.path is None) == (self.width is None):
            raise ValueError("give path, a file of word vectors, or width, of vectors trained here, not both")
        return self


class TransformerText(Section):
    """A small transformers encoder (BERT) from scratch with its own subwords (BPE)."""

    kind: Literal["transformer"]
    width: Count
    depth: Count
    heads: Count
    vocabulary: Count

    @model_validator(mode="after")
    def _heads_divide(self) -> TransformerText:
        return _checked_heads(self)


class HuggingFaceText(Section):
    """Any encoder of Hugging Face, by name or local folder."""

    kind: Literal["huggingface"]
    name: str
    pool: Literal["cls", "mean"]
    freeze: Literal["none", "all"] | Count = "none"  # a number: the embeddings and so many first layers
    buckets: Count = 1  # groups by length that a batch of sentences is computed in; more than 1 pays for long ones


TextEncoder = Annotated[WordText | VectorText | TransformerText | HuggingFaceText, Field(discriminator="kind")]


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


class Tvts(Section):
    """The TVTS objective."""

    sort_weight: NotNegative
    align_weight: NotNegative
    temperature: Positive
    align_chunk: Count | None  # rows of the similarity matrix held at once; null holds all
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


class Cpd(Section):
    """The CPD objective."""

    estimator: Literal["shared", "per_sample", "infonce"]  # NCE with noise drawn once a batch, or for each sample
    noise: Count  # m, noise pairs drawn a step
    temperature: Positive
    momentum: Share  # what a row of the memory banks keeps of itself at an update
    joint_from: Annotated[AtStep | AtPlateau, Field(discriminator="kind")]  # until then the text encoder is frozen


class FrameOrder(Section):
    """Which frame comes when, given the text (MERLOT's task); temperature, align_chunk and detach_text are tvts'."""

    order_weight: Positive
    align_weight: NotNegative
    head_depth: Count
    head_heads: Count


class MaskedPixels(Section):
    """VideoMAE."""

    mask: Annotated[float, Field(gt=0, lt=1)]  # share of the patches, the same ones at every step
    decoder_width: Count
    decoder_depth: Count
    decoder_heads: Count

    @model_validator(mode="after")
    def _heads_divide(self) -> MaskedPixels:
        if self.decoder_width % self.decoder_heads:
            raise ValueError(
                f"decoder_width {self.decoder_width} is no multiple of decoder_heads {self.decoder_heads}"
            )
        return self


ObjectiveName = Literal["tvts", "contrastive", "frame_order", "masked_pixels", "cpd"]


class Joint(Section):
    """Several objectives over one encoder: the sum of their losses, each times its weight."""

    objectives: dict[ObjectiveName, Positive] = Field(min_length=1)  # the first says which weights are best


class AdamW(Section):
    """AdamW."""

    kind: Literal["adamw"]
    lr: Positive
    text_lr: Positive | None  # of the text encoder; null: lr
    weight_decay: NotNegative
    betas: tuple[Beta, Beta] = Field(strict=False)
    clip_norm: Positive


class Sgd(Section):
    """SGD with Nesterov-free momentum, as CPD trains."""

    kind: Literal["sgd"]
    lr: Positive
    text_lr: Positive | None
    weight_decay: NotNegative
    momentum: Share
    clip_norm: Positive


Optimizer = Annotated[AdamW | Sgd, Field(discriminator="kind")]


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


class Engine(Section):
    """How a training is computed; nothing here is a choice of method, but for `accumulate` where samples of a batch
    look at one another: alignment then sees one part at a time."""

    processes: Count  # on this machine; over 1, or under torchrun, they share each batch
    strategy: Literal["ddp", "fsdp"]  # fsdp: weights and optimizer are spread over the processes
    accumulate: Count  # parts that each batch is computed in, one after the other
    precision: Literal["auto", "bf16", "fp32"]  # auto: bf16 where the processor computes in it
    attention: Literal["auto", "explicit", "fused"]
    checkpoint_activations: bool  # compute activations twice instead of keeping them
    compile: bool  # torch.compile of the video encoder
    threads: Count  # of the processor, a process; part of what makes two runs equal to the byte
    loader_workers: Annotated[int, Field(ge=0)]  # processes that read samples; 0 reads ahead in a thread


class Pretrain(Section):
    """What is learned from which collections, and how long."""

    seed: Seed
    collections: dict[Name, Source] = Field(min_length=1)  # the first is the one that figures are about
    objective: Literal[ObjectiveName, "joint"]
    start_from: str | None  # a model folder that training goes on from (a second phase); it brings its text encoder
    k: Annotated[int, Field(ge=2)]  # transcripts a sample
    sampling: Sampling
    frames: Count  # a clip
    size: Count  # pixels, the side of a square frame
    flip: bool  # mirror half of the training clips; off, because it turns left into right
    keep: Annotated[float, Field(gt=0, le=1)]  # share of the patches that training sees
    embed_dim: Count  # of the space that video and text share
    text_hidden: Count | None  # of a layer with batch norm in the text projection, CPD's 512; null: no such layer
    max_text_tokens: Count
    video: VideoEncoder
    text: TextEncoder
    tvts: Tvts  # of contrastive as well: it is the alignment alone
    frame_order: FrameOrder
    masked_pixels: MaskedPixels
    joint: Joint
    cpd: Cpd
    steps: Count
    batch: Annotated[int, Field(ge=2)]  # samples an optimizer step, of all processes together
    optimizer: Optimizer
    schedule: Schedule
    ema: Annotated[float, Field(ge=0, lt=1)]  # decay of an average of the weights, which is then kept; 0 is none
    validate_every: Count  # steps
    validation_samples: Count  # at most, a collection
    checkpoint_every: Count  # steps
    keep_checkpoints: Count
    engine: Engine

    @model_validator(mode="after")
    def _shapes_fit(self) -> Pretrain:
        if self.frames % self.video.tubelet:
            raise ValueError(f"frames {self.frames} is no multiple of video.tubelet {self.video.tubelet}")
        if isinstance(self.video, Vit) and self.size % self.video.patch:
            raise ValueError(f"size {self.size} is no multiple of video.patch {self.video.patch}")
        if isinstance(self.video, ResNet3d):
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
    def _objectives_fit(self) -> Pretrain:
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
    def _sources_fit(self) -> Pretrain:
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


# ------------------------------------------------------------------------------------ probe, retrieve


Protocol = Literal["linear", "sgd", "knn", "attentive", "few_shot", "zero_shot", "video_to_video", "finetune"]
# What figures of a test are called (beside *_top1 and v2v_r*): another test's name becomes a name beside theirs.
TAKEN = (
    "agreement",
    "chance",
    "chances",
    "classes",
    "train",
    "test",
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
    texts: dict[str, str] = {}  # zero_shot: class -> how a sentence says it; others are said by their label

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


class Finetune(Section):
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
    checkpoint_every: Count = 500  # steps
    accumulate: Count = 1  # parts that each batch is computed in
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    checkpoint_activations: bool = False
    threads: Count = 2


class Probe(Section):
    """How the frozen encoder is measured."""

    tests: dict[Name, LabelledSet] = Field(min_length=1)  # the first one's figures have no prefix
    protocols: tuple[Protocol, ...] = Field(strict=False, min_length=1)  # linear: with controls of the frames' order
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
    batch: Count  # clips a forward pass
    seed: Seed  # of the randomly initialised encoder
    finetune: Finetune | None = None  # used where it is one of the protocols

    @model_validator(mode="after")
    def _finetune_is_said(self) -> Probe:
        if "finetune" in self.protocols and self.finetune is None:
            raise ValueError("protocols names finetune: add its section, finetune: {} for its defaults")
        return self

    @model_validator(mode="after")
    def _names_are_free(self) -> Probe:
        for name in list(self.tests)[1:]:
            if name in TAKEN or name.endswith("_top1") or name.startswith("v2v_r"):
                raise ValueError(f"tests.{name}: a figure is called so ({', '.join(TAKEN)}): choose another name")
        return self


class Retrieve(Section):
    """What is searched, and how it is measured."""

    collection: Name
    split: Split  # of the measurement
    protocol: Literal["segments", "videos", "captions", "paragraphs"]  # see scriptsight.retrieve.protocols
    dual_softmax: Positive | None  # temperature of a re-ranking that is measured as well; it knows all queries
    index_splits: tuple[Split, ...] = Field(strict=False, min_length=1)  # what the index holds
    more_collections: tuple[Name, ...] = Field(strict=False)  # that the index holds as well
    search: Literal["auto", "exact", "hnsw"]  # hnsw makes a graph for single queries; auto beyond a million moments
    map_points: Annotated[int, Field(ge=0)]  # moments on the map of the corpus, at most; 0 draws none
    batch: Count
    queries: tuple[str, ...] = Field(strict=False)  # shown on the contact sheet
    top: Count  # moments a query shows


class Registry(Section):
    """MLflow's registry of models, which keeps those that learned something; the best of them is its `champion`."""

    enabled: bool
    name: Name  # of the registered model
    metric: str  # the figure of the probe (`linear_top1`) or of retrieval (`t2v/r1`) that decides which is better


# ----------------------------------------------------------------------------------------------- sweep


class IntRange(Section):
    """Whole numbers from `low` to `high`, both included."""

    kind: Literal["int"]
    low: int
    high: int
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> IntRange:
        return _checked_range(self)


class FloatRange(Section):
    """Numbers from `low` to `high`; with `log` drawn evenly over their logarithm."""

    kind: Literal["float"]
    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> FloatRange:
        return _checked_range(self)


class Choices(Section):
    """One of some values."""

    kind: Literal["choice"]
    values: tuple[str | int | float | bool | None, ...] = Field(strict=False, min_length=1)


def _checked_range(given: Any) -> Any:
    if given.low > given.high:
        raise ValueError(f"low {given.low} is over high {given.high}")
    if given.log and given.low <= 0:
        raise ValueError(f"log needs numbers over 0, and low is {given.low}")
    return given


Range = Annotated[IntRange | FloatRange | Choices, Field(discriminator="kind")]
Direction = Literal["maximize", "minimize"]


class Prune(Section):
    """End a trial that does worse at a validation than the median of earlier trials did at the same step."""

    figure: Annotated[str, Field(pattern="^pretrain/")]  # one of validation's; the higher the better
    startup_trials: Annotated[int, Field(ge=0)]  # complete trials before any is pruned
    warmup_steps: Annotated[int, Field(ge=0)]  # optimizer steps in which none is pruned


class Sweep(Section):
    """A study: many short trainings whose parameters are drawn, each measured on validation splits."""

    study: Name  # another name is another study
    storage: str  # a database address without a password; SCRIPTSIGHT_SWEEP_STORAGE comes first
    # Figures of a trial, pretrain/..., probe/..., retrieve/... or speed/...; with two there is a Pareto front.
    objectives: dict[Annotated[str, Field(pattern=r"^(pretrain|probe|retrieve|speed)/[\w/]+$")], Direction] = Field(
        min_length=1, max_length=2
    )
    space: dict[Annotated[str, Field(pattern=r"^pretrain\.[\w.-]+$")], Range] = Field(min_length=1)
    overrides: dict[Literal["pretrain", "probe", "retrieve"], dict[str, Any]]  # what all trials have
    n_trials: Count  # of the study, however often it is begun
    workers: Count  # trials at a time, of this command
    seed: Seed
    sampler: Literal["tpe", "random", "qmc"]
    startup_trials: Annotated[int, Field(ge=0)]  # drawn at random before tpe learns from them
    prune: Prune | None
    trial_seconds: Positive  # a trial that takes longer has failed
    heartbeat_seconds: Count  # a trial that is silent for three of these has lost its worker
    retries: Annotated[int, Field(ge=0)]  # of a trial that lost its worker
    keep: Literal["front", "all"]  # whose models stay

    @model_validator(mode="after")
    def _prunable(self) -> Sweep:
        if self.prune and len(self.objectives) > 1:
            raise ValueError("prune needs one objective: of two, which trial is worse is not settled. Set it to null")
        return self

    @model_validator(mode="after")
    def _no_secret(self) -> Sweep:
        if urlsplit(self.storage).password or "password=" in self.storage:
            raise ValueError("storage holds a password: put the address into SCRIPTSIGHT_SWEEP_STORAGE instead")
        return self


class Params(Section):
    """The whole of params.yaml."""

    ingest: Ingest
    segment: Segment
    pretrain: Pretrain
    probe: Probe
    retrieve: Retrieve
    registry: Registry
    sweep: Sweep

    @model_validator(mode="after")
    def _collections_exist(self) -> Params:
        named = [("pretrain.collections", name) for name in self.pretrain.collections]
        named += [
            (f"probe.tests.{test}.collections", name)
            for test, labelled in self.probe.tests.items()
            for name in labelled.collections
        ]
        named += [("retrieve.collection", self.retrieve.collection)]
        named += [("retrieve.more_collections", name) for name in self.retrieve.more_collections]
        for key, name in named:
            if name not in self.ingest.collections:
                known = ", ".join(self.ingest.collections)
                raise ValueError(f"{key} names {name!r}, which ingest.collections lacks (it has: {known})")
        if self.pretrain.size > self.segment.short_side:
            raise ValueError(
                f"pretrain.size {self.pretrain.size} is over segment.short_side {self.segment.short_side}: "
                "stored frames would only be blown up"
            )
        return self

    @model_validator(mode="after")
    def _swept_exist(self) -> Params:
        values = self.model_dump(include={"pretrain"})
        for name in self.sweep.space:
            here: Any = values
            for part in name.split("."):
                if not isinstance(here, dict) or part not in here:
                    raise ValueError(f"sweep.space names {name!r}: there is no such parameter")
                here = here[part]
        return self


def load(path: str | Path = "params.yaml") -> Params:
    """Read and check a parameters file.

    Raises:
        InputError: the file is missing or no YAML, or a key is unknown, missing or mistyped; the message
            names the key, its section and the allowed values.
    """
    return build(read_yaml(path), str(path))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping (1e-3 is a number; a key given twice is an error)."""
    path = Path(path)
    try:
        values = YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError:
        raise InputError(f"There is no parameters file {path}: run from the folder that holds it.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no sections: it must be a mapping such as 'ingest: ...'.")
    return values


def build(values: Mapping[str, Any], source: str = "params") -> Params:
    """Build the typed parameters from plain values; `source` is named in errors."""
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        lines = [f"  {_explain(item)}" for item in error.errors()]
        raise InputError(f"{source} can't be used:\n" + "\n".join(lines)) from None


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `overrides`, section by section.

    A mapping with a `kind` (a collection, a text encoder) or a `preset` replaces its namesake whole, and so do
    `collections`, `objectives`, `probe.tests` and `sweep.space`: whoever names some means these and no others.
    """
    merged = dict(base)
    for key, value in overrides.items():
        old = merged.get(key)
        whole = (
            key in ("collections", "objectives", "tests", "space")
            or not isinstance(value, dict)
            or "kind" in value
            or "preset" in value
        )
        merged[key] = value if whole or not isinstance(old, dict) else merge(old, value)
    return merged


def _explain(item: Any) -> str:
    """One pydantic error as a line for the person who wrote the file."""
    *parents, key = item["loc"] or ("",)
    where = ".".join(str(part) for part in item["loc"])
    section = ".".join(str(part) for part in parents) or "the top level"
    if item["type"] == "extra_forbidden":
        allowed = _keys(parents)
        close = difflib.get_close_matches(str(key), allowed, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"unknown key {key!r} in section {section}.{hint} Allowed: {', '.join(allowed)}."
    if item["type"] == "missing":
        return f"missing key {key!r} in section {section}."
    if item["type"] in ("union_tag_not_found", "union_tag_invalid"):
        return f"{where}: 'kind' must be one of {_kinds(item['loc'])}."
    message = item["msg"].removeprefix("Value error, ")
    if not item["loc"] or isinstance(item["input"], dict):
        return f"{where}: {message}." if where else f"{message}."
    return f"{where}: {message}, got {item['input']!r} ({type(item['input']).__name__})."


def _model_at(loc: list[Any] | tuple[Any, ...]) -> Any:
    """The annotation at `loc`; pydantic puts the `kind` of a tagged union into the location."""
    here: Any = Params
    for part in loc:
        if isinstance(here, type) and issubclass(here, BaseModel):
            here = here.model_fields[part].annotation if part in here.model_fields else None
            if NoneType in get_args(here):  # a section that may be null
                here = next(arg for arg in get_args(here) if arg is not NoneType)
        elif choices := _choices(here):
            here = choices[part]
        elif args := get_args(here):  # dict[Name, Collection]
            here = args[-1]
    return here


def _choices(annotation: Any) -> dict[str, Any]:
    """kind -> model of a tagged union, empty for anything else."""
    found = {}
    for arg in get_args(annotation):
        for model in (arg, *get_args(arg)):
            if isinstance(model, type) and issubclass(model, BaseModel) and "kind" in model.model_fields:
                found[get_args(model.model_fields["kind"].annotation)[0]] = model
    return found


def _keys(loc: list[Any]) -> list[str]:
    model = _model_at(loc)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _kinds(loc: tuple[Any, ...]) -> str:
    return ", ".join(_choices(_model_at(loc)))
