"""The headline figures of the last run, and where to look next."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

# figure in metrics/STAGE.json, what it is, and the figure it is to be read against
HEADLINES = (
    ("pretrain", "val/sort_accuracy", "transcripts put in their place", "val/chance", "chance"),
    ("probe", "linear_top1", "linear probe, top-1", "random_init/linear_top1", "untrained encoder"),
    ("probe", "knn_top1", "k nearest neighbours, top-1", "random_init/knn_top1", "untrained encoder"),
    ("retrieve", "t2v/r1", "text finds its video, R@1", "chance_r1", "chance"),
    ("retrieve", "judged/ndcg10", "people's thumbs, nDCG@10", "judged/chance_ndcg10", "random order"),
)


def lines(figures: Mapping[str, float], queries: Sequence[str]) -> Iterator[str]:
    """What `scriptsight run` prints at its end.

    Args:
        figures: those of the stages, by names such as `probe/linear_top1`. What was not measured is left out: another
            objective sorts nothing, and each protocol can be switched off.
        queries: examples of what may be searched for here.
    """
    for stage, name, what, other, otherwise in HEADLINES:
        value, beside = figures.get(f"{stage}/{name}"), figures.get(f"{stage}/{other}")
        if value is not None:
            against = "" if beside is None else f"   ({otherwise}: {beside:.3f})"
            yield f"  {what:32} {value:6.3f}{against}"
    command = shlex.quote(os.path.relpath(Path(sys.executable).with_name("scriptsight")))
    yield "  Pictures: plots/"
    yield f"  Search:   {command} search {shlex.quote(queries[0] if queries else 'what is seen')}"
    yield f"  Runs:     {command} ui   (http://127.0.0.1:4200 is Prefect, http://127.0.0.1:5000 MLflow)"
