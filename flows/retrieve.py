"""`python -m flows.retrieve`: the retrieve stage; with --query it answers from the index it made."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from flows import stage


def load_run() -> stage.Run:
    """Import the stage's package: late, since its libraries take seconds."""
    from scriptsight.retrieve import run

    return run


def main() -> None:
    """Run the stage, or answer queries."""
    about = "Index the moments of all segments and measure the search (models/index), or search that index."
    parser = argparse.ArgumentParser(prog="python -m flows.retrieve", description=about)
    parser.add_argument("--params", default="params.yaml", help="the parameters file (default: %(default)s)")
    parser.add_argument(
        "--query", action="append", metavar="TEXT", help="search models/index for TEXT; may be repeated"
    )
    parser.add_argument("--top", type=int, default=5, metavar="N", help="moments a query shows (default: 5)")
    options = parser.parse_args()
    if options.top < 1:
        parser.error("--top must be at least 1")
    if not options.query:
        stage.main("retrieve", load_run, about, ["--params", options.params])
        return
    with stage.told_errors("retrieve"):
        answer(options.query, options.top)


def answer(queries: list[str], top: int) -> None:
    """Print the best moments of models/index for each query. Needs neither Prefect nor MLflow."""
    from scriptsight.retrieve import search

    found = search(queries, index=Path("models/index"), bundle=Path("models/pretrained"), top=top)
    for query, moments in zip(queries, found, strict=True):
        print(f"\n{query}")
        for rank, moment in enumerate(moments, 1):
            print(
                f"  {rank:2}.  {moment.score:6.3f}  {_clock(moment.start)} - {_clock(moment.end)}"
                f"  {moment.uri}\n      {moment.text or '(no words)'}"
            )
    sys.stdout.flush()


def _clock(seconds: float) -> str:
    """1:02:03.4, as players show it."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes:02}:{rest:04.1f}"


if __name__ == "__main__":
    main()
