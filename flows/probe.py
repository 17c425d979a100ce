"""`python -m flows.probe`: the probe stage."""

from __future__ import annotations

from flows import stage


def load_run() -> stage.Run:
    """Import the stage's package: late, since its libraries take seconds."""
    from scriptsight.probe import run

    return run


if __name__ == "__main__":
    stage.main("probe", load_run, "Measure the frozen encoder on labelled clips (metrics/probe.json).")
