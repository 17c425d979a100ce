"""What the default learns, over several seeds: sorting and its controls, the probe, retrieval.

    python benchmarks/seeds.py [--seeds 0 1 2]

Trains on data/segments of the current folder (run `make repro` first) with the parameters of params.yaml;
a seed changes initialisation, samples and patches, not the data. Each trained encoder is held against a
randomly initialised one of its own seed. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from benchmarks.machine import processor
from flows import parameters
from scriptsight import pretrain, probe, retrieve


def measure(settings: parameters.Params, seed: int, folder: Path) -> dict[str, float]:
    """Train and measure one seed."""
    bundle, plots = folder / "model", folder / "plots"
    trained = pretrain.run(
        settings.pretrain.model_copy(update={"seed": seed}),
        bundle=bundle,
        metrics=folder / "pretrain.json",
        plots=plots,
        checkpoints=folder / "checkpoints",
    )
    quick = {"seed": seed + 1000, "protocols": ("linear", "video_to_video")}
    probe.run(
        settings.probe.model_copy(update=quick), bundle=bundle, metrics=folder / "probe.json", plots=plots, store=None
    )
    retrieve.run(
        settings.retrieve, bundle=bundle, index=folder / "index", metrics=folder / "retrieve.json", plots=plots
    )
    probed = json.loads((folder / "probe.json").read_text(encoding="utf-8"))
    found = json.loads((folder / "retrieve.json").read_text(encoding="utf-8"))
    return {
        "sort_accuracy": trained.val["sort_accuracy"],
        "sort_accuracy_blank": trained.val["sort_accuracy_blank"],
        "linear_top1": probed["linear_top1"],
        "linear_top1_random_init": probed["random_init"]["linear_top1"],
        "v2v_r1": probed["v2v_r1"],
        "v2v_r1_random_init": probed["random_init"]["v2v_r1"],
        "t2v_r1": found["t2v"]["r1"],
    }


def main() -> None:
    """Measure every seed, print a row each, and the figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    settings = parameters.load()
    rows: dict[int, dict[str, float]] = {}
    for seed in parser.parse_args().seeds:
        with tempfile.TemporaryDirectory() as folder:
            rows[seed] = measure(settings, seed, Path(folder))
        print(f"seed {seed}: " + ", ".join(f"{name} {value:.3f}" for name, value in rows[seed].items()), flush=True)
    figures = {
        name: {
            "mean": round(statistics.mean(row[name] for row in rows.values()), 4),
            "min": round(min(row[name] for row in rows.values()), 4),
            "max": round(max(row[name] for row in rows.values()), 4),
        }
        for name in next(iter(rows.values()))
    }
    print(json.dumps({"seeds": list(rows), **figures, "processor": processor()}))


if __name__ == "__main__":
    main()
