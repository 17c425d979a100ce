"""Collections that ingest reads: the embedded world, folders, published datasets."""

from __future__ import annotations

import codecs
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from scriptsight.params.base import Count, Section, Seed, Share, Split


def _encoding(name: str) -> str:
    try:
        known = codecs.lookup(name)
    except LookupError:
        known = None
    if known is None or not getattr(known, "_is_text_encoding", True):
        raise ValueError(f"{name!r} is no encoding of text: name one as cp1251, gbk or shift_jis")
    return name


Encoding = Annotated[str, AfterValidator(_encoding)]


class WorldVideos(Section):
    """How many videos of each split the world makes."""

    train: Annotated[int, Field(ge=0)]
    val: Annotated[int, Field(ge=0)]
    test: Annotated[int, Field(ge=0)]


class WorldCollection(Section):
    """A generated collection; `scriptsight.ingest.world` describes it exactly."""

    kind: Literal["world"]
    content: Literal["narrated", "loop", "slow"]  # narrated scenes for pre-training; silent labelled clips
    videos: WorldVideos
    scenes: Count = 1  # narrated: scenes a video
    pairs: Annotated[int, Field(ge=1, le=6)] = 2  # narrated: verb pairs a scene; a scene has 2 x pairs events
    undo: bool = True  # narrated: every verb of a scene is also undone; False draws verbs independently
    seed: Seed = 0


class Shares(Section):
    """What collections share whose videos may be split by a number that belongs to the name of each."""

    val_share: Share = 0.1
    test_share: Share = 0.1

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.val_share + self.test_share > 1:
            raise ValueError("val_share and test_share together are over 1")
        return self


class FolderCollection(Shares):
    """Videos in a folder, each with captions beside it, in any format that `scriptsight.captions` reads, or
    embedded."""

    kind: Literal["folder"]
    path: str  # a folder, or an fsspec address such as s3://bucket/talks
    pattern: str = "**/*"  # which files below `path` are videos; those with a video's suffix are taken
    language: str | None = None  # of captions, where a video has several: clip.en.vtt, an embedded track
    encoding: Encoding | None = None  # of caption files that are not in Unicode: cp1251, gbk; null finds it out
    # a CSV in the folder with a column `video` (file name) and a label; `folder`: what the folder of a clip is called
    labels: str | None = None
    label_column: str = "label"
    captions: str | None = None  # a CSV in the folder with columns `video` and `caption` and/or `title`
    splits: Literal["hash", "column", "folder"] | dict[str, Split] = "hash"
    # hash: stable by file name, with val_share and test_share; column: `split` in labels or captions;
    # folder: the first folder below `path`; a table: file name pattern -> split, the first match counts


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
    lists: dict[Split, str] = Field(default_factory=dict)  # CSV files with a column video_id, for 1k-A also sentence
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


class WebDatasetCollection(Shares):
    """Tar archives of WebDataset or video2dataset."""

    kind: Literal["webdataset"]
    path: str  # the folder of the archives
    languages: tuple[str, ...] = Field(default=(), strict=False)  # of captions, the preferred first
    encoding: Encoding | None = None  # of caption files that are not in Unicode: cp1251, gbk; null finds it out
    splits: Literal["hash"] | dict[str, Split] = "hash"  # a table: archive name pattern -> split, first match counts


class YtDlpCollection(Shares):
    """A folder that yt-dlp wrote with --write-info-json and --write-subs or --write-auto-subs."""

    kind: Literal["yt_dlp"]
    path: str
    languages: tuple[str, ...] = Field(default=(), strict=False)  # of captions, the preferred first
    encoding: Encoding | None = None  # of caption files that are not in Unicode: cp1251, gbk; null finds it out
    description: bool = False  # take the video's description as its caption


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
