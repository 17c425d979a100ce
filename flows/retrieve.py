"""`python -m flows.retrieve`: the retrieve stage."""

from __future__ import annotations

from flows.running import stage

if __name__ == "__main__":
    stage.main(
        "retrieve", "scriptsight.retrieve", "Index the moments of all segments and measure the search (models/index)."
    )
