"""What a person waits for before anything happens: the seconds of `import scriptsight` and of a command's help.

    python benchmarks/startup.py [--repeats 20]

Each case is a process of its own; cases take turns, and `python -c pass` among them is what the interpreter alone
takes. The command is the one beside this interpreter. The last line is one JSON object: the best and the median of
each case in seconds, and the processor.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.machine import processor


def main() -> None:
    """Start processes, print their seconds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20, metavar="N", help="of each case (default: %(default)s)")
    repeats = parser.parse_args().repeats
    command = str(Path(sys.executable).with_name("scriptsight"))
    cases = {
        "python": [sys.executable, "-c", "pass"],
        "import": [sys.executable, "-c", "import scriptsight"],
        "help": [command, "--help"],
        "run_help": [command, "run", "--help"],
        "search_help": [command, "search", "--help"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for case in cases.values():  # once uncounted: files come from the disk, byte code is written
        subprocess.run(case, stdout=subprocess.DEVNULL, check=True)  # noqa: S603
    for _ in range(repeats):
        for name, case in cases.items():
            started = time.perf_counter()
            subprocess.run(case, stdout=subprocess.DEVNULL, check=True)  # noqa: S603
            seconds[name].append(time.perf_counter() - started)
    found: dict[str, object] = {
        name: {"best_s": round(min(times), 3), "median_s": round(statistics.median(times), 3)}
        for name, times in seconds.items()
    }
    for name, case in cases.items():
        print(f"{' '.join([Path(case[0]).name, *case[1:]]):32} {found[name]}")
    print(json.dumps({**found, "processor": processor()}))


if __name__ == "__main__":
    main()
