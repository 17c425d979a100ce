"""`scriptsight language`: how much of a corpus can be put in order by its words alone.

    --workspace DIR     the same for the corpus of a workspace, a folder with an overrides.yaml
    --k 2 4 8           numbers of transcripts to try, beside pretrain.k
    --steps 3000        of training: the default is for corpora of thousands of scripts, not of millions

`ingest` and `segment` are brought up to date first, as DVC sees it. No model is needed: one that was trained is shown
beside the sorter of words.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from flows import parameters
from flows.running import locks, processes, workspace
from scriptsight.errors import InputError


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="scriptsight language",
        description="Put transcripts in order by their words alone (metrics/language.json, plots/language.png).",
    )
    parser.add_argument("--params", default="params.yaml", help="the parameters file (default: %(default)s)")
    parser.add_argument("--workspace", type=Path, metavar="DIR", help="the corpus of DIR, with its overrides.yaml")
    parser.add_argument("--k", type=int, nargs="+", metavar="K", help="transcripts of a script (default: 2 to 6)")
    parser.add_argument("--steps", type=int, help="of training, 64 scripts each (default: 300)")
    options = parser.parse_args()
    with processes.exit_on_error("language"):
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

        with locks.lock("language"):
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
        if (why := stale(name).get(name)) and reproduce(name, why).how == "failed":
            raise InputError(f"stage {name} failed: see above.")


if __name__ == "__main__":
    main()
