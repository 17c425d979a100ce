"""The headline figures of the last run, and where to look next."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# figure in metrics/STAGE.json, what it is, and the figure it is to be read against
HEADLINES = (
    ("pretrain", "val/sort_accuracy", "transcripts put in their place", "val/chance", "chance"),
    ("probe", "linear_top1", "linear probe, top-1", "random_init/linear_top1", "untrained encoder"),
    ("probe", "knn_top1", "k nearest neighbours, top-1", "random_init/knn_top1", "untrained encoder"),
    ("retrieve", "t2v/r1", "text finds its video, R@1", "chance_r1", "chance"),
    ("retrieve", "judged/ndcg10", "people's thumbs, nDCG@10", "judged/chance_ndcg10", "random order"),
)
INDEX = Path("models/index")


@dataclass(frozen=True)
class Shell:
    """Where a person types, so that the commands that are suggested can be pasted there.

    Args:
        start: the folder of the person's shell.
        typed: the folder that was worked on as the person named it; "" if it is `start`.
    """

    start: Path
    typed: str = ""

    def command(self, words: str) -> str:
        """A command that takes the folder as its argument."""
        return " ".join(
            filter(None, (self._program(self.start), words, shlex.quote(self.typed) if self.typed else ""))
        )

    def within(self, words: str) -> str:
        """A command that works in the current folder; the shell stays where it is."""
        if not self.typed:
            return f"{self._program(self.start)} {words}"
        return f"(cd {shlex.quote(self.typed)} && {self._program(None)} {words})"

    def path(self, name: str | Path) -> str:
        """A path below the folder, from where the person is."""
        return shlex.quote(str(Path(self.typed) / name))

    @staticmethod
    def _program(start: Path | None) -> str:
        """This interpreter's own command as it is typed in a folder, or (None) in any."""
        own = Path(sys.executable).with_name("scriptsight")
        found = shutil.which("scriptsight")
        if found and Path(found).absolute() == own.absolute():
            return "scriptsight"
        near = start is not None and own.is_relative_to(start)
        return shlex.quote(str(own.relative_to(start) if near and start else own))


def lines(figures: Mapping[str, float], queries: Sequence[str], shell: Shell) -> Iterator[str]:
    """What `scriptsight run` prints at its end, in the folder that it worked on.

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
    if INDEX.is_dir():
        yield f"  Page:     {shell.command('page')}"
        query = shlex.quote(queries[0] if queries else "what is seen")
        yield f"  Search:   {shell.within(f'search {query}')}"
    yield f"  Runs:     {shell.within('ui')}   (Prefect and MLflow in the browser)"
    if Path("plots").is_dir():
        yield f"  Pictures: {shell.path('plots')}"
