"""dvc.yaml against the typed parameters and the imports of the code."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from flows import parameters
from flows.running.repository import STAGES
from scriptsight.params import reading

PROJECT = Path(__file__).resolve().parents[2]
SOURCE = PROJECT / "src" / "scriptsight"
# What any stage may use without being stale when it changes: wording, formats of messages, writing files, how imports
# are put off.
INFRASTRUCTURE = {
    "__init__.py",
    "errors.py",
    "files.py",
    "lazily.py",
    "params/__init__.py",
    "redaction.py",
    "reporting.py",
}


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
    assert {_unit(path) for path in _reached(SOURCE / stage)} == deps


def _reached(package: Path) -> set[Path]:
    """Files of scriptsight that a package imports, directly or through others, and its own."""
    seen: set[Path] = set()
    waiting = sorted(package.rglob("*.py"))
    while waiting:
        path = waiting.pop()
        if path in seen or _unit(path) in INFRASTRUCTURE:
            continue
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scriptsight"):
                base = SOURCE.joinpath(*(node.module or "").split(".")[1:])
                waiting += [found for alias in node.names for found in _files(base / alias.name, base)]
    return seen


def _files(*candidates: Path) -> list[Path]:
    options = [file for path in candidates for file in (path.with_suffix(".py"), path / "__init__.py")]
    return [path for path in options if path.is_file()]


def _unit(path: Path) -> str:
    """What dvc.yaml names: a package of scriptsight, a module at its top, or a file of parameters, for a default that
    changes makes stale the stages that use it and no others."""
    parts = path.relative_to(SOURCE).parts
    return "/".join(parts) if parts[0] == "params" else parts[0]
