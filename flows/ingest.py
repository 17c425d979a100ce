"""`python -m flows.ingest`: the ingest stage."""

from __future__ import annotations

from flows import stage


def load_run() -> stage.Run:
    """Import the stage's package: late, since its libraries take seconds."""
    from scriptsight.ingest import run

    return run


if __name__ == "__main__":
    stage.main("ingest", load_run, "Make the catalogue of all videos and their words (data/catalogue).")
