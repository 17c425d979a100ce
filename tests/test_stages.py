"""What the five stages have in common: each has one public `run`, and all are called the same way."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType

import pytest

from scriptsight import ingest, pretrain, probe, retrieve, segment

STAGES = {"ingest": ingest, "segment": segment, "pretrain": pretrain, "probe": probe, "retrieve": retrieve}
# What is read and written, in the order in which the pipeline makes it; then the stage's own files; then who works.
ARGUMENTS = {
    "world": "data/world",
    "catalogue": "data/catalogue",
    "ingest_metrics": "metrics/ingest.json",
    "segments": "data/segments",
    "bundle": "models/pretrained",
    "best": "models/best",
    "index": "models/index",
    "judgements": "judgements",
    "metrics": "metrics/{stage}.json",
    "plots": "plots/{stage}",
    "work_root": ".work/{stage}",
    "store": ".features",
    "checkpoints": ".checkpoints",
}


@pytest.mark.parametrize("name", STAGES)
def test_runs_take_the_same_arguments_in_the_same_order(name: str) -> None:
    stage: ModuleType = STAGES[name]
    signature = inspect.signature(stage.run)
    first, *others = signature.parameters.values()
    assert (first.name, first.annotation) == ("params", f"{name.title()}Params")
    assert all(one.kind is inspect.Parameter.KEYWORD_ONLY for one in others)
    order = [*ARGUMENTS, "mapper", "reporter"]
    assert [one.name for one in others] == sorted((one.name for one in others), key=order.index)
    assert {"metrics", "reporter"} <= {one.name for one in others}
    for one in others:
        if one.name in ARGUMENTS:
            place = Path(ARGUMENTS[one.name].format(stage=name))
            assert one.annotation.removesuffix(" | None") == "Path" and isinstance(one.default, Path)
            assert one.default == place or place in one.default.parents
    none = {one.name: one.annotation for one in others if one.default is None}
    assert none in ({"reporter": "Reporter | None"}, {"reporter": "Reporter | None", "mapper": "Mapper | None"})
    assert signature.return_annotation == "Result" and inspect.isclass(stage.Result)
