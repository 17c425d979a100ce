"""Kill, fill and spoil a small pipeline at random, and see that it always comes back.

python -m tests.chaos --kills 200 --seed 0     a line a kill; the last line is one JSON object
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.machine import processor
from tests.chaos.disturbances import Chaos
from tests.chaos.pipeline import STAGES, Pipeline


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how many kills (default: %(default)s)")
    parser.add_argument("--full", type=int, help="how often the disk is full (default: a tenth of the kills)")
    parser.add_argument("--spoil", type=int, help="how often a file is spoilt (default: a tenth of the kills)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, help="from which stages on it is run")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing new after so many")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    options = parser.parse_args()
    since = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        totals = disturb(folder, options, since + options.seconds)
    finally:
        if options.keep:
            print(f"kept: {folder}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    seconds = round(time.monotonic() - since)
    print(json.dumps({**totals, "seed": options.seed, "seconds": seconds, "processor": processor()}))


def disturb(folder: Path, options: argparse.Namespace, until: float) -> dict[str, object]:
    """Do what is asked for -> the totals."""
    pipeline = Pipeline(folder)
    run = pipeline.prepare()
    if run.status != 0:
        sys.exit(f"the undisturbed run failed:\n{run.said}")
    print(f"undisturbed: {run.seconds:.0f} s, {len(pipeline.reference)} files", flush=True)
    chaos = Chaos(pipeline, options.seed, tuple(options.stages))
    chaos.seconds = run.seconds
    tenth = options.kills // 10
    for lines in (
        chaos.kills(options.kills),
        chaos.full(tenth if options.full is None else options.full),
        chaos.spoil(tenth if options.spoil is None else options.spoil),
    ):
        for line in lines:
            print(line, flush=True)
            if time.monotonic() > until:
                break
    return chaos.totals.plain()


if __name__ == "__main__":
    main()
