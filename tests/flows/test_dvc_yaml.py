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


@pytest.mark.parametrize("stage", STAGES)
def test_parameters_of_a_stage_are_what_changes_its_results(pipeline: dict[str, Any], stage: str) -> None:
    """Those of its section that are no settings of the machine (`MACHINE` beside their type)."""
    named = pipeline["stages"][stage]["params"]
    section: Any = parameters.Params.model_fields[stage].annotation
    wanted = parameters.of_results(section, stage)
    missing, extra = [key for key in wanted if key not in named], [key for key in named if key not in wanted]
    assert not missing, f"dvc.yaml: the stage {stage} lacks the parameters {missing}"
    assert not extra, f"dvc.yaml: {extra} of the stage {stage} are no parameters or settings of the machine"
    assert len(named) == len(set(named))
    values: Any = reading.read_yaml(PROJECT / "params.yaml")
    for key in named:  # DVC stops where one is missing, also where the type has a default
        here = values
        for part in key.split("."):
            assert part in here, f"params.yaml: {key} is missing, which dvc.yaml names"
            here = here[part]


def test_sections_are_those_of_the_stages_and_of_two_commands() -> None:
    assert set(parameters.Params.model_fields) == {*STAGES, "registry", "sweep"}
    parameters.load(PROJECT / "params.yaml")


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_turns_the_run_cache_of_dvc_off(pipeline: dict[str, Any], stage: str) -> None:
    """`persist` does, and a file of figures that is in git, unless it is among `metrics`."""
    outs = pipeline["stages"][stage]["outs"]
    assert all(isinstance(out, str) for out in outs), f"{outs}: an output with options"
    assert pipeline["stages"][stage]["metrics"] == [{f"metrics/{stage}.json": {"cache": False}}]
    assert "metrics/speed.json" not in str(pipeline)  # which differs between equal runs


@pytest.mark.parametrize("stage", STAGES)
def test_code_a_stage_imports_is_its_dependency(pipeline: dict[str, Any], stage: str) -> None:
    """A stage is stale when code changes that it reaches by imports, and by no other code."""
    deps = {dep.removeprefix("src/scriptsight/") for dep in pipeline["stages"][stage]["deps"] if "src/" in dep}
    assert reached(SOURCE / stage) == deps
