"""`python -m flows.ingest`: the ingest stage."""

from __future__ import annotations

from flows.running import stage

if __name__ == "__main__":
    stage.main("ingest", "scriptsight.ingest", "Make the catalogue of all videos and their words (data/catalogue).")
