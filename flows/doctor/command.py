"""`scriptsight doctor`: what is well and what is not, on this machine and in one folder, each with its remedy.

It changes nothing, starts no server, and waits for none: every check runs in a thread of its own, and one that is not
done in time, or that fails, is a line like the others.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.doctor import folder, machine, servers, stages
from flows.doctor.findings import Check, Finding, Place, note, problem
from scriptsight.redaction import redacted

SECONDS = 20  # for all checks together; those that are not done then are said to be slow
CHECKS: dict[str, Check] = {
    "processor": machine.processor,
    "memory": machine.memory,
    "arithmetic": machine.arithmetic,
    "decoders": machine.decoders,
    "disk": machine.disk,
    "python": machine.python,
    "packages": machine.packages,
    "git": machine.version_control,
    "prefect": servers.prefect,
    "mlflow": servers.mlflow,
    "page": servers.page,
    "parameters": folder.parameters,
    "videos": folder.videos,
    "locks": folder.held,
    "leftovers": folder.leftovers,
    "databases": folder.all_databases,
    "stages": stages.stale,
    "model": stages.model,
    "index": stages.index,
}
INDENT = 21  # columns before a text


@dataclass(frozen=True)
class Line:
    """A finding, and which check it is of."""

    check: str
    finding: Finding


def command(options: argparse.Namespace) -> None:
    """Print a line a finding, or all of them as JSON; exit with status 1 if one is a problem."""
    typed = "" if options.workspace is None else str(options.workspace)
    lines = list(examine(Path(typed or "."), typed))
    problems = sum(line.finding.status == "problem" for line in lines)
    if options.json:
        rows = [{"check": line.check, **vars(line.finding)} for line in lines]
        print(
            json.dumps({"folder": str(Path(typed or ".").resolve()), "well": not problems, "lines": rows}, indent=2)
        )
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
        print("\n".join(text for line in lines for text in shown(line, width)))
        notes = sum(line.finding.status == "note" for line in lines)
        print(f"doctor: {_count(problems, 'problem')}, {_count(notes, 'note')}")
    if problems:
        sys.exit(1)


def examine(
    where: Path, typed: str = "", checks: Mapping[str, Check] = CHECKS, seconds: float = SECONDS
) -> list[Line]:
    """Run all checks on a folder, which becomes the current one -> their lines, in their order."""
    try:
        os.chdir(where)
        place = Place(Path.cwd(), typed)
    except OSError as error:
        return [
            Line("folder", problem(f"{where} can't be entered ({error.strerror})", "name a folder that is there"))
        ]
    looks = [_Look(name, check, place) for name, check in checks.items()]
    deadline = time.monotonic() + seconds
    for look in looks:
        look.thread.join(max(0.0, deadline - time.monotonic()))
    return [line for look in looks for line in look.lines(seconds)]


class _Look:
    """One check at work; what it has found so far."""

    def __init__(self, name: str, check: Check, place: Place) -> None:
        self._name, self._check, self._place = name, check, place
        self._found: list[Finding] = []
        self.thread = threading.Thread(target=self._work, daemon=True)  # one that hangs does not keep the process
        self.thread.start()

    def _work(self) -> None:
        try:
            for finding in self._check(self._place):
                self._found.append(finding)
        except Exception as error:  # whatever a broken installation provokes
            words = " ".join(str(error).split())
            self._found.append(problem(f"it can't be looked at: {type(error).__name__}: {words}", "see the message"))

    def lines(self, seconds: float) -> Iterator[Line]:
        """Its findings without what may be secret; one that still works says so."""
        found = list(self._found)
        if self.thread.is_alive():
            found.append(note(f"not done within {seconds:g} s", "look again when the machine is less busy"))
        for one in found:
            yield Line(self._name, Finding(one.status, redacted(one.text), redacted(one.remedy)))


def shown(line: Line, width: int) -> Sequence[str]:
    """A line for people: `problem  memory      text`, the remedy below it.

    Args:
        width: columns of the terminal, within which texts are wrapped; 0 without one, as in a log.
    """
    finding = line.finding
    texts = [f"{finding.status:9}{line.check:12}{finding.text}"]
    texts += [f"{'':{INDENT}}-> {finding.remedy}"] if finding.remedy else []
    if not width:
        return texts
    wrap = textwrap.TextWrapper(
        max(40, width), subsequent_indent=" " * INDENT, break_long_words=False, break_on_hyphens=False
    )
    return [part for text in texts for part in wrap.wrap(text)]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
