"""`python -m flows.probe`: the probe stage."""

from __future__ import annotations

from flows.running import stage

if __name__ == "__main__":
    stage.main("probe", "scriptsight.probe", "Measure the frozen encoder on labelled clips (metrics/probe.json).")
