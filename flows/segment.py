"""`python -m flows.segment`: the segment stage."""

from __future__ import annotations

from flows import stage


def load_run() -> stage.Run:
    """Import the stage's package: late, since its libraries take seconds."""
    from scriptsight.segment import run

    return run


if __name__ == "__main__":
    stage.main("segment", load_run, "Cut the catalogue's videos into segments of frames (data/segments).")
