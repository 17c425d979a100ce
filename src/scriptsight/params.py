"""params.yaml, typed: one frozen model a stage. Every default is in params.yaml and nowhere else.

The one exception is a collection, which people write themselves: its optional keys default here.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML, YAMLError

from scriptsight.errors import InputError

Split = Literal["train", "val", "test"]
Share = Annotated[float, Field(ge=0, le=1)]
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
    """Videos in a folder, each with a .vtt or .srt beside it or embedded."""

    kind: Literal["folder"]
    path: str
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


Collection = Annotated[WorldCollection | FolderCollection, Field(discriminator="kind")]


class Ingest(Section):
    """Which collections there are."""

    collections: dict[Name, Collection] = Field(min_length=1)
    workers: Count  # processes
    max_reject_share: Share  # of a collection's videos; over it the stage fails


class Segment(Section):
    """How videos are cut and stored."""

    fps: Positive  # stored frames a second
    short_side: Annotated[int, Field(ge=8)]  # pixels
    max_seconds: Positive  # longest segment
    max_gap_seconds: Positive  # a longer silence between two cues ends a segment
    pad_seconds: NotNegative  # video kept before the first and after the last cue
    jpeg_quality: Annotated[int, Field(ge=1, le=100)]
    shard_mb: Positive
    timeout_seconds: Positive  # for decoding one video
    workers: Count  # processes
    max_reject_share: Share


# -------------------------------------------------------------------------------------------- pretrain


def _checked_heads(encoder: Any) -> Any:
    if encoder.width % encoder.heads:
        raise ValueError(f"width {encoder.width} is no multiple of heads {encoder.heads}")
    return encoder


class VideoEncoder(Section):
    """A ViT over tubelets."""

    width: Count
    depth: Count
    heads: Count
    patch: Count  # pixels
    tubelet: Count  # frames

    @model_validator(mode="after")
    def _heads_divide(self) -> VideoEncoder:
        return _checked_heads(self)


class WordText(Section):
    """The mean of frozen random word vectors; the vocabulary comes from the training split."""

    kind: Literal["words"]
    width: Count
    vocabulary: Count  # most entries


class TransformerText(Section):
    """A small transformers encoder (BERT) from scratch with its own WordPiece."""

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


TextEncoder = Annotated[WordText | TransformerText | HuggingFaceText, Field(discriminator="kind")]


class Source(Section):
    """A collection to learn from. People write it, so its keys default here."""

    text: Literal["script", "transcript", "caption", "title"] = "script"
    # script: K transcripts, to be sorted and aligned; the others are pairs, one text a sample, no sorting:
    # one transcript and its stretch, or an untimed text and the whole segment
    share: Positive = 1.0  # of the batches, relative to the other collections
    frames: Count | None = None  # of its clips, at most pretrain.frames (null); an image takes one tubelet


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


class AdamW(Section):
    """AdamW."""

    kind: Literal["adamw"]
    lr: Positive
    text_lr: Positive | None  # of the text encoder; null: lr
    weight_decay: NotNegative
    betas: tuple[Share, Share] = Field(strict=False)
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
    """How a training is computed; nothing here is a choice of method."""

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
    objective: Literal["tvts"]
    start_from: str | None  # a model folder that training goes on from (a second phase); it brings its text encoder
    k: Annotated[int, Field(ge=2)]  # transcripts a sample
    sampling: Sampling
    frames: Count  # a clip
    size: Count  # pixels, the side of a square frame
    flip: bool  # mirror half of the training clips; off, because it turns left into right
    keep: Annotated[float, Field(gt=0, le=1)]  # share of the patches that training sees
    embed_dim: Count  # of the space that video and text share
    max_text_tokens: Count
    video: VideoEncoder
    text: TextEncoder
    tvts: Tvts
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
        if self.size % self.video.patch:
            raise ValueError(f"size {self.size} is no multiple of video.patch {self.video.patch}")
        if self.video.width % self.tvts.head_heads:
            raise ValueError(
                f"video.width {self.video.width} is no multiple of tvts.head_heads {self.tvts.head_heads}"
            )
        if not self.tvts.sort_weight and not self.tvts.align_weight:
            raise ValueError("tvts.sort_weight and tvts.align_weight are both 0: there is nothing to learn")
        return self

    @model_validator(mode="after")
    def _sources_fit(self) -> Pretrain:
        for name, source in self.collections.items():
            frames = source.frames or self.frames
            if frames > self.frames or frames % self.video.tubelet:
                raise ValueError(
                    f"collections.{name}.frames {frames} must be a multiple of video.tubelet {self.video.tubelet} "
                    f"and at most frames {self.frames}"
                )
            if source.text != "script" and not self.tvts.align_weight:
                raise ValueError(f"collections.{name} has pairs, which only alignment learns from: align_weight is 0")
        parts = self.engine.processes * self.engine.accumulate
        if self.batch % parts or self.batch // parts < 2:
            raise ValueError(
                f"batch {self.batch} can't be shared by engine.processes x engine.accumulate = {parts}: it must be "
                "a multiple, with two samples or more in each part"
            )
        return self


# ------------------------------------------------------------------------------------ probe, retrieve


class Probe(Section):
    """How the frozen encoder is measured."""

    collection: Name
    train_split: Split
    test_split: Split
    feature: Literal["cls", "mean"]  # the class token, or the mean of the patch tokens
    knn_k: Count
    knn_temperature: Positive
    linear_c: Positive  # inverse strength of the L2 penalty
    batch: Count
    seed: Seed  # of the randomly initialised encoder


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


class Params(Section):
    """The whole of params.yaml."""

    ingest: Ingest
    segment: Segment
    pretrain: Pretrain
    probe: Probe
    retrieve: Retrieve

    @model_validator(mode="after")
    def _collections_exist(self) -> Params:
        named = [("pretrain.collections", name) for name in self.pretrain.collections]
        named += [("probe.collection", self.probe.collection), ("retrieve.collection", self.retrieve.collection)]
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

    A mapping with a `kind` (a collection, a text encoder) replaces its namesake whole, and so does
    `ingest.collections`: whoever names collections means these and no others.
    """
    merged = dict(base)
    for key, value in overrides.items():
        old = merged.get(key)
        whole = key == "collections" or not isinstance(value, dict) or "kind" in value
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
