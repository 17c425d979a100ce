"""The command `scriptsight`: ask an index for moments."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scriptsight.errors import InputError

if TYPE_CHECKING:
    from scriptsight.retrieve import Moment


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, or 1 after an error that names its remedy."""
    parser = argparse.ArgumentParser(prog="scriptsight", description="Find moments in videos by what is seen.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    search = commands.add_parser(
        "search",
        help="find moments that show what a sentence says",
        description="Find moments that show what a sentence says, best first.",
        argument_default=argparse.SUPPRESS,  # the defaults are those of scriptsight.retrieve.search
    )
    search.add_argument("query", metavar="QUERY", help='a sentence, such as "the red circle moves to the left"')
    search.add_argument("--top", type=int, metavar="N", help="how many moments")
    search.add_argument("--index", type=Path, metavar="DIR", help="another index than that of the workspace")
    search.add_argument("--model", type=Path, metavar="DIR", dest="bundle", help="the model that made the index")
    search.add_argument("--json", action="store_true", default=False, help="print JSON, scores unrounded")
    search.set_defaults(run=_search)
    given = vars(parser.parse_args(arguments))
    try:
        given.pop("run")(**given)
    except InputError as error:
        print(f"scriptsight: {error}", file=sys.stderr)
        return 1
    return 0


def _search(query: str, json: bool, **given: Any) -> None:
    from scriptsight.retrieve import search  # torch takes seconds to import: --help must not

    (moments,) = search([query], **given)
    print(dumps([asdict(moment) for moment in moments], indent=2) if json else _table(moments))


def _table(moments: Sequence[Moment]) -> str:
    """One line a moment, cut to the width of the terminal."""
    from scriptsight.pictures import one_line
    from scriptsight.retrieve.index import span

    head = ("video", "time", "score", "words")
    lines = [head] + [
        (
            one_line(moment.uri, 200),
            span(moment.start, moment.end),
            f"{moment.score:.3f}",
            one_line(moment.text, 2000),
        )
        for moment in moments
    ]
    video, time, score = (max(len(line[column]) for line in lines) for column in range(3))
    room = max(40, shutil.get_terminal_size((160, 24)).columns - video - time - score - 6)
    return "\n".join(
        f"{line[0]:{video}}  {line[1]:>{time}}  {line[2]:>{score}}  {one_line(line[3], room)}" for line in lines
    )
