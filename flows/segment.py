"""`python -m flows.segment`: the segment stage."""

from __future__ import annotations

from flows.running import stage

if __name__ == "__main__":
    stage.main(
        "segment", "scriptsight.segment", "Cut the catalogue's videos into segments of frames (data/segments)."
    )
