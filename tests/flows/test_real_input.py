"""The pipeline on real videos of people who speak, with the examples of the documentation."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from scriptsight.params import reading
from tests.flows.conftest import Command
from tests.small import PROJECT

TUTORIAL = "docs/tutorials/your-own-videos.md"
SMALL: dict[str, Any] = {
    "segment": {"short_side": 32},
    "pretrain": {
        "image_size": 32,
        "video": {"width": 32, "depth": 1, "heads": 2, "patch": 8, "tubelet": 2},
        "tvts": {"head_depth": 1, "head_heads": 2},
        "text": {"kind": "words", "width": 32, "vocabulary": 500},
        "steps": 6,
        "batch": 4,
        "schedule": {"warmup_steps": 2},
        "validate_every": 3,
        "validation_samples": 8,
        "checkpoint_every": 3,
    },
}


def overrides(page: str, videos: Path, **collections: dict[str, Any]) -> dict[str, Any]:
    """The overrides.yaml of a page of the documentation that has these collections, with the folders that are here
    and further keys, and a model that is trained in seconds."""
    text = (PROJECT / page).read_text(encoding="utf-8")
    for name, folder in (("talks", "grid_long"), ("clips", "grid_s1")):
        text = text.replace(f"/videos/{name}", str(videos / folder))
    blocks = [YAML(typ="safe").load(block) for block in re.findall(r"^```yaml\n(.*?)^```", text, re.M | re.S)]
    named = [block.get("ingest", {}).get("collections", {}).keys() for block in blocks]
    merged = reading.merge(blocks[named.index(collections.keys())], SMALL)
    for name, keys in collections.items():
        merged["ingest"]["collections"][name] |= keys
    return merged


@pytest.fixture
def videos(shared_data: Path) -> Path:
    folder = shared_data / "scripted_videos"
    if not (folder / "grid_long").is_dir() or not (folder / "grid_s1").is_dir():
        pytest.skip(f"no real videos here: there is no grid_long or grid_s1 in {folder}")
    return folder


def test_the_shortest_example_runs_on_real_videos(command: Command, videos: Path, workspace: Path) -> None:
    """Four talks, no labels, splits by their names, of which one is empty: everything runs, and all can be found."""
    with (workspace / "overrides.yaml").open("w") as file:
        YAML().dump(overrides(TUTORIAL, videos, talks={}), file)
    done = command("scriptsight", "run", "--workspace", ".")
    assert done.returncode == 0, done.stderr
    assert "No labelled clips: nothing to measure" in done.stdout + done.stderr
    assert json.loads(Path("metrics/probe.json").read_text()) == {}
    splits = json.loads(Path("metrics/ingest.json").read_text())["collections"]["talks"]
    asked = command("scriptsight", "search", "place red at a one", "--by", "words", "--top", "20", "--json")
    assert asked.returncode == 0, asked.stderr
    found = json.loads(asked.stdout)
    assert len({moment["uri"] for moment in found}) == sum(splits.values()) == 4
    assert {moment["split"] for moment in found} == {split for split, count in splits.items() if count}
    again = command("scriptsight", "run", "--workspace", ".")
    assert "everything is up to date" in again.stdout


@pytest.mark.long
def test_the_pipeline_on_real_videos_and_labelled_clips(command: Command, videos: Path, workspace: Path) -> None:
    splits = {"*_03*": "val", "*_02*": "test", "*": "train"}
    values = overrides(TUTORIAL, videos, talks={"splits": splits}, clips={})
    with (workspace / "overrides.yaml").open("w") as file:
        YAML().dump(values, file)
    done = command("scriptsight", "run", "--workspace", ".")
    assert done.returncode == 0, done.stderr
    found = json.loads(Path("metrics/ingest.json").read_text())["collections"]
    assert found["talks"] == {"train": 2, "val": 1, "test": 1}
    assert sum(found["clips"].values()) == 64
    assert 0 <= json.loads(Path("metrics/probe.json").read_text())["linear_top1"] <= 1
    asked = command("scriptsight", "search", "place red", "--by", "words", "--split", "test")
    assert asked.returncode == 0, asked.stderr
    assert "grid_s1_02.mp4" in asked.stdout and "talks/test" in asked.stdout
