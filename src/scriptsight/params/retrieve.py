"""The stage retrieve: what is searched, and how it is measured."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from scriptsight.params.base import CACHE_GB, MACHINE, Count, Name, Positive, Section, Split


class RetrieveParams(Section):
    """What is searched, and how it is measured."""

    collection: Name
    split: Split  # of the measurement
    protocol: Literal["segments", "videos", "captions", "paragraphs"]  # see scriptsight.retrieve.protocols
    dual_softmax: Positive | None  # temperature of a re-ranking that is measured as well; it knows all queries
    index_splits: tuple[Split, ...] = Field(strict=False, min_length=1)  # in the index, where they have segments
    more_collections: tuple[Name, ...] = Field(strict=False)  # that the index holds as well
    search: Literal["auto", "exact", "hnsw"]  # hnsw makes a graph for single queries; auto beyond a million moments
    map_points: Annotated[int, Field(ge=0)]  # moments on the map of the corpus, at most; 0 draws none
    batch: Annotated[Count, MACHINE]  # segments or texts a forward pass
    shard_cache_gb: Annotated[Positive, MACHINE] = CACHE_GB  # as pretrain.shard_cache_gb
    queries: tuple[str, ...] = Field(strict=False)  # shown on the contact sheet
    top: Count  # moments a query shows
