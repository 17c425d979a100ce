"""`python -m flows.retrieve`: the retrieve stage; with --query it answers from the index it made."""

from __future__ import annotations

import argparse
import sys

from flows.running import stage
from scriptsight import cli


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
        stage.main("retrieve", "scriptsight.retrieve", about, ["--params", options.params])
        return
    for query in options.query:
        print(f"\n{query}")
        if cli.main(["search", query, "--top", str(options.top)]):
            sys.exit(1)


if __name__ == "__main__":
    main()
