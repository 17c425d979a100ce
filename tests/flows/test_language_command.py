"""`scriptsight language` on a corpus that nothing has looked at yet."""

from __future__ import annotations

import json
from pathlib import Path

from tests.flows.conftest import Command

OVERRIDES = """
ingest:
  collections:
    narrated: {kind: world, content: narrated, videos: {train: 2, val: 1, test: 0}, scenes: 32, pairs: 2, seed: 1}
probe: {tests: {narrated: {collections: [narrated]}}}
retrieve: {collection: narrated}
"""


def test_one_command_answers_for_a_new_corpus(command: Command, workspace: Path) -> None:
    (workspace / "overrides.yaml").write_text(OVERRIDES)
    done = command("scriptsight", "language", "--workspace", ".", "--k", "4")
    assert done.returncode == 0, done.stderr
    assert "pipeline: segment starts" in done.stdout and "Language alone puts" in done.stdout
    found = json.loads(Path("metrics/language.json").read_text())
    assert list(found["by_k"]) == ["4"]
    assert found["verdict"] in done.stdout
    assert Path("plots/language.png").read_bytes().startswith(b"\x89PNG")
    assert not Path("models").exists()


def test_one_transcript_has_no_order(command: Command, workspace: Path) -> None:
    done = command("scriptsight", "language", "--k", "1")
    assert done.returncode == 1
    assert "one transcript alone has no order" in done.stderr and "Traceback" not in done.stderr
