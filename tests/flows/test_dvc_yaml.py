"""dvc.yaml against the typed parameters and the imports of the code."""

from __future__ import annotations

from typing import Any

import pytest

from flows import parameters
from flows.running.repository import STAGES
from scriptsight.params import reading
from tests.imports import PROJECT, SOURCE, reached


@pytest.fixture(scope="module")
def pipeline() -> dict[str, Any]:
    return reading.read_yaml(PROJECT / "dvc.yaml")


def test_stages_are_those_of_the_flows(pipeline: dict[str, Any]) -> None:
    assert tuple(pipeline["stages"]) == STAGES
    for name, stage in pipeline["stages"].items():
        assert stage["cmd"] == f"python -m flows.{name}"
        assert (PROJECT / "flows" / f"{name}.py").is_file()


def test_params_are_sections(pipeline: dict[str, Any]) -> None:
    assert set(parameters.Params.model_fields) == {*STAGES, "registry", "sweep"}
    for name, stage in pipeline["stages"].items():
        assert stage["params"] == [name]
    parameters.load(PROJECT / "params.yaml")


def test_what_differs_between_equal_runs_is_no_output(pipeline: dict[str, Any]) -> None:
    outs = [out if isinstance(out, str) else next(iter(out)) for out in pipeline["stages"]["pretrain"]["outs"]]
    assert "metrics/pretrain.json" not in outs
    assert "metrics/pretrain.json" in pipeline["metrics"]


@pytest.mark.parametrize("stage", STAGES)
def test_code_a_stage_imports_is_its_dependency(pipeline: dict[str, Any], stage: str) -> None:
    """A stage is stale when code changes that it reaches by imports, and by no other code."""
    deps = {dep.removeprefix("src/scriptsight/") for dep in pipeline["stages"][stage]["deps"] if "src/" in dep}
    assert reached(SOURCE / stage) == deps
