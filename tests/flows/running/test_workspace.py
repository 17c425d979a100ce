"""Folders with an overrides.yaml, which are pipelines of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows import parameters
from flows.running.workspace import prepare
from scriptsight.errors import InputError
from scriptsight.params import reading


def test_a_workspace_is_the_project_with_overrides(workspace: Path) -> None:
    (workspace / "overrides.yaml").write_text("pretrain:\n  seed: 7\n")
    prepare(workspace)
    assert parameters.load(workspace / "params.yaml").pretrain.seed == 7
    pipeline = reading.read_yaml(workspace / "dvc.yaml")
    code = [dep for dep in pipeline["stages"]["pretrain"]["deps"] if dep.endswith(".py")]
    assert code and all((workspace / dep).is_file() for dep in code)
    assert "data/segments" in pipeline["stages"]["pretrain"]["deps"]
    (workspace / "overrides.yaml").write_text("pretrain:\n  sed: 7\n")
    with pytest.raises(InputError, match="Did you mean 'seed'"):
        prepare(workspace)


def test_files_that_a_workspace_names_are_dependencies(workspace: Path) -> None:
    """Videos, annotation files beside them, and the weights that training starts from; nothing that is not there."""
    for name in ("clips/labels.json", "lists/train.json", "first/model.safetensors"):
        (workspace / name).parent.mkdir(exist_ok=True)
        (workspace / name).touch()
    annotations = "{train: lists/train.json, val: clips/labels.json, test: lists/none.json}"
    (workspace / "overrides.yaml").write_text(
        f"ingest: {{collections: {{some: {{kind: ssv2, path: clips, annotations: {annotations}}}}}}}\n"
        "pretrain: {collections: {some: {text: caption}}, start_from: first}\n"
        "probe: {tests: {some: {collections: [some]}}}\nretrieve: {collection: some}\n"
    )
    prepare(workspace)
    stages_of = reading.read_yaml(workspace / "dvc.yaml")["stages"]
    found = [*stages_of["ingest"]["deps"][-2:], stages_of["pretrain"]["deps"][-1]]
    assert found == [str(workspace / name) for name in ("clips", "lists/train.json", "first")]
