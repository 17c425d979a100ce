"""What a run will do with each stage, why, and how long that takes: said before it begins."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flows.running import estimate

Action = Literal["run", "restore", "perhaps", "up to date"]
WIDTHS = (11, 12, 9)  # columns of stage, action and time
UNKNOWN = "?"


@dataclass(frozen=True)
class Planned:
    """One stage of a run that is to begin.

    Args:
        action: run; restore, where DVC's cache has what these inputs make; perhaps, where that depends on what an
            earlier stage makes; or up to date.
        seconds: None where nobody knows.
    """

    name: str
    action: Action
    why: str = ""
    seconds: float | None = None


def plan(
    pipeline: Mapping[str, Any],
    reasons: Mapping[str, str],
    restorable: Callable[[str], bool],
    expect: Callable[[Sequence[str]], Mapping[str, float]],
) -> list[Planned]:
    """What becomes of the stages, in their order.

    Args:
        pipeline: dvc.yaml.
        reasons: why those are stale that are.
        restorable: whether DVC's cache has what a stage makes of its inputs as they are.
        expect: the seconds of stages that run, as far as they are known.
    """
    found: list[tuple[str, Action, str]] = []
    changing: dict[str, str] = {}  # output -> the stage that may make it anew
    for name, stage in pipeline["stages"].items():
        above = next((changing[dep] for dep in stage["deps"] if dep in changing), None)
        action: Action = "up to date"
        if name in reasons:
            action = "restore" if above is None and restorable(name) else "run"
        elif above is not None:
            action = "perhaps"
        why = reasons.get(name) or (f"it reads what {above} makes" if above else "")
        found.append((name, action, why))
        if action != "up to date":
            changing |= dict.fromkeys(_outputs(stage), name)
    seconds = expect([name for name, action, _ in found if action in ("run", "perhaps")])
    return [Planned(name, action, why, seconds.get(name)) for name, action, why in found]


def _outputs(stage: Mapping[str, Any]) -> Iterator[str]:
    for kind in ("outs", "metrics"):
        for one in stage.get(kind, ()):
            yield from one if isinstance(one, Mapping) else (one,)


def expected(planned: Iterable[Planned]) -> dict[str, float | None]:
    """The seconds of the stages that may run, in their order."""
    return {one.name: one.seconds for one in planned if one.action in ("run", "perhaps")}


def lines(planned: Sequence[Planned], width: int | None = None) -> Iterator[str]:
    """The plan as a table, and how long all of it takes.

    Args:
        width: columns of the terminal, to which reasons are cut; 0 does not cut, None asks the terminal.
    """
    if width is None:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    yield "pipeline: what this run does, and about how long that takes here"
    for one in planned:
        time = "" if one.name not in expected(planned) else UNKNOWN
        time = time if one.seconds is None else estimate.span(one.seconds)
        text = "".join(
            f"{cell:{columns}}" for cell, columns in zip((one.name, one.action, time), WIDTHS, strict=True)
        )
        room = width - len(text) - 2
        why = textwrap.shorten(one.why, room, placeholder=" ...") if width and room > 10 else one.why
        yield f"  {text}{why}".rstrip()
    times = expected(planned).values()
    known = [seconds for seconds in times if seconds is not None]
    total = estimate.span(sum(known))
    if len(known) == len(times):
        yield f"pipeline: about {total} in all, by earlier runs on this machine"
    elif known:
        yield f"pipeline: more than {total} in all; {UNKNOWN} has not run on this machine yet"
    else:
        yield "pipeline: how long is not known: nothing like it has run on this machine yet"
