"""What a run says before it begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from flows.running import plan
from scriptsight.params import reading
from tests.flows.conftest import PROJECT


@pytest.fixture(scope="module")
def pipeline() -> dict[str, Any]:
    return reading.read_yaml(PROJECT / "dvc.yaml")


def planned(pipeline: Mapping[str, Any], reasons: Mapping[str, str], cached: Sequence[str] = ()) -> dict[str, str]:
    seconds = {"pretrain": 200.0, "probe": 30.0}
    found = plan.plan(
        pipeline, reasons, lambda name: name in cached, lambda names: {n: s for n, s in seconds.items() if n in names}
    )
    return {one.name: one.action for one in found}


def test_what_comes_after_a_stage_that_runs_may_run_too(pipeline: dict[str, Any]) -> None:
    first, last = {"segment": "segment.fps modified"}, {"retrieve": "retrieve.top modified"}
    may = dict.fromkeys(("pretrain", "probe", "retrieve"), "perhaps")
    assert planned(pipeline, first) == {"ingest": "up to date", "segment": "run", **may}
    assert planned(pipeline, last) == {**dict.fromkeys(pipeline["stages"], "up to date"), "retrieve": "run"}


def test_only_a_stage_whose_inputs_are_known_is_said_to_be_restored(pipeline: dict[str, Any]) -> None:
    reasons = {"pretrain": "pretrain.k modified", "probe": "probe.seed modified"}
    found = planned(pipeline, reasons, cached=["pretrain", "probe"])
    assert (found["pretrain"], found["probe"], found["retrieve"]) == ("restore", "run", "perhaps")


def test_the_table_fits_a_terminal_and_tells_the_whole(pipeline: dict[str, Any]) -> None:
    reasons = {"pretrain": "; ".join(f"pretrain.tvts.weight_{number} modified" for number in range(9))}
    found = plan.plan(
        pipeline, reasons, lambda _: False, lambda _: {"pretrain": 200.0, "probe": 30.0, "retrieve": 9.0}
    )
    lines = list(plan.lines(found, 80))
    assert all(len(line) <= 80 for line in lines)
    assert lines[3].split()[:4] == ["pretrain", "run", "3", "min"] and lines[3].endswith(" ...")
    assert lines[-1] == "pipeline: about 4 min in all, by earlier runs on this machine"
    assert "weight_8" in list(plan.lines(found, 0))[3]


def test_what_nobody_knows_is_no_figure(pipeline: dict[str, Any]) -> None:
    reasons = {"pretrain": "it has not run here before"}
    some = plan.plan(pipeline, reasons, lambda _: False, lambda _: {"pretrain": 30.0, "probe": 20.0})
    none = plan.plan(pipeline, reasons, lambda _: False, lambda _: {})
    assert plan.expected(some) == {"pretrain": 30.0, "probe": 20.0, "retrieve": None}
    assert "more than 50 s in all" in list(plan.lines(some, 80))[-1]
    assert "not known" in list(plan.lines(none, 80))[-1]
