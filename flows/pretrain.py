"""`python -m flows.pretrain`: the pretrain stage."""

from __future__ import annotations

from flows import stage


def load_run() -> stage.Run:
    """Import the stage's package: late, since its libraries take seconds."""
    from scriptsight.pretrain import run

    return run


if __name__ == "__main__":
    stage.main("pretrain", load_run, "Learn to see from the words that come with videos (models/pretrained).")
