"""`scriptsight summary`: the headline figures of the last run, from metrics/*.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# figure in metrics/STAGE.json, what it is, and the figure it is to be read against
HEADLINES = (
    ("pretrain", "val/sort_accuracy", "transcripts put in their place", "val/chance", "chance"),
    ("probe", "linear_top1", "linear probe, top-1", "random_init/linear_top1", "untrained encoder"),
    ("probe", "knn_top1", "k nearest neighbours, top-1", "random_init/knn_top1", "untrained encoder"),
    ("retrieve", "t2v/r1", "text finds its video, R@1", "chance_r1", "chance"),
)


def main() -> None:
    """Print them, and where to look next."""
    for stage, name, what, other, otherwise in HEADLINES:
        path = Path("metrics") / f"{stage}.json"
        if path.is_file():
            values = json.loads(path.read_text(encoding="utf-8"))
            print(f"  {what:32} {_at(values, name):6.3f}   ({otherwise}: {_at(values, other):.3f})")
    print("  Pictures: plots/. Search: .venv/bin/scriptsight search 'the red circle moves to the left'.")
    print("  Runs: `make ui`, then http://127.0.0.1:4200 (Prefect) and http://127.0.0.1:5000 (MLflow).")


def _at(values: Any, name: str) -> float:
    for key in name.split("/"):
        values = values[key]
    return float(values)


if __name__ == "__main__":
    main()
