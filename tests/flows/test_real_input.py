"""The pipeline on real videos of people who speak, as in README.md, "Your own videos"."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.flows.conftest import Command

OVERRIDES = """
ingest:
  collections:
    talks: {{kind: folder, path: {data}/grid_long, splits: {{"*_03*": val, "*_02*": test, "*": train}}}}
    clips:
      {{kind: folder, path: {data}/grid_s1, labels: labels.csv, label_column: verb, val_share: 0.0, test_share: 0.3}}
segment: {{fps: 4, short_side: 32, max_gap_seconds: 10}}
pretrain:
  collections: {{talks: {{}}}}
  image_size: 32
  video: {{width: 32, depth: 1, heads: 2, patch: 8, tubelet: 2}}
  tvts: {{head_depth: 1, head_heads: 2}}
  text: {{kind: words, width: 32, vocabulary: 500}}
  steps: 6
  batch: 4
  schedule: {{warmup_steps: 2}}
  validate_every: 3
  validation_samples: 8
  checkpoint_every: 3
probe: {{tests: {{clips: {{collections: [clips]}}}}}}
retrieve: {{collection: talks, split: train, index_splits: [train, val, test], queries: [place red at a one]}}
"""


def test_the_pipeline_on_real_videos(command: Command, shared_data: Path, workspace: Path) -> None:
    data = shared_data / "scripted_videos"
    if not (data / "grid_long").is_dir() or not (data / "grid_s1").is_dir():
        pytest.skip(f"no real videos here: there is no grid_long or grid_s1 in {data}")
    (workspace / "overrides.yaml").write_text(OVERRIDES.format(data=data))
    done = command("scriptsight", "run", "--workspace", ".")
    assert done.returncode == 0, done.stderr
    found = json.loads(Path("metrics/ingest.json").read_text())["collections"]
    assert found["talks"] == {"train": 2, "val": 1, "test": 1}
    assert sum(found["clips"].values()) == 64
    assert 0 <= json.loads(Path("metrics/probe.json").read_text())["linear_top1"] <= 1
    asked = command("scriptsight", "search", "place red at a one", "--top", "1")
    assert asked.returncode == 0, asked.stderr
    assert "grid_s1_02.mp4" in asked.stdout or "grid_s1_03.mp4" in asked.stdout
