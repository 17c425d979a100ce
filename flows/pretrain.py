"""`python -m flows.pretrain`: the pretrain stage."""

from __future__ import annotations

from flows.running import stage

if __name__ == "__main__":
    stage.main(
        "pretrain", "scriptsight.pretrain", "Learn to see from the words that come with videos (models/pretrained)."
    )
