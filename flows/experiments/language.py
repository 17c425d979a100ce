"""`scriptsight language`: how much of a corpus can be put in order by its words alone.

`ingest` and `segment` are brought up to date first, as DVC sees it. No model is needed: one that was trained is shown
beside the sorter of words.
"""

from __future__ import annotations

import argparse
import os

from flows import parameters
from flows.running import locks, workspace
from scriptsight.errors import InputError


def command(options: argparse.Namespace) -> None:
    """Sort by words alone, and print what that says about the corpus."""
    if options.workspace is not None:
        workspace.prepare(options.workspace)
        os.chdir(options.workspace)
    settings = parameters.load(options.params)
    if options.k and min(options.k) < 2:
        raise InputError("--k: one transcript alone has no order; give 2 or more.")
    if options.steps is not None and options.steps < 1:
        raise InputError("--steps: give 1 or more.")
    _bring_up_to_date()
    from scriptsight import language

    with locks.reading("pipeline", "scriptsight language"), locks.lock("language"):
        ks, steps = options.k or language.KS, options.steps or language.STEPS
        found = language.run(settings.pretrain, ks=ks, steps=steps)
    print(found["verdict"])
    for kind, words in found["words"].items():
        listed = ", ".join(f"{word['word']} ({word['log_odds']:+.1f})" for word in words) or "none"
        print(f"  Words of {kind} transcripts (log odds): {listed}")
    print("  metrics/language.json, plots/language.png")


def _bring_up_to_date() -> None:
    """Have DVC run what is stale of the two stages that the words come from."""
    from flows.running.repository import reproduce, stale

    for name in ("ingest", "segment"):
        if why := stale(name).get(name):
            with locks.lock("pipeline"):
                outcome = reproduce(name, why)
            if outcome.how == "failed":
                raise InputError(f"stage {name} failed: see above.")
