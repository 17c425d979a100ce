"""The command `scriptsight`: ask an index for moments, embed video files."""

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
    _add_search(commands)
    _add_embed(commands)
    given = vars(parser.parse_args(arguments))
    try:
        given.pop("run")(**given)
    except InputError as error:
        print(f"scriptsight: {error}", file=sys.stderr)
        return 1
    return 0


def _add_search(commands: Any) -> None:
    search = commands.add_parser(
        "search",
        help="find moments that show what a sentence says, or that look like a video or another moment",
        description="Find moments that show what a sentence says, or that look like a video or another moment, "
        "best first.",
        argument_default=argparse.SUPPRESS,  # the defaults are those of scriptsight.retrieve.search
    )
    asked = search.add_mutually_exclusive_group(required=True)
    # The default, as nargs="?" takes it for not given: a query that is left out is then missed by the group.
    asked.add_argument(
        "query", nargs="?", metavar="QUERY", default=None, help='such as "the red circle moves to the left"'
    )
    asked.add_argument("--video", type=Path, metavar="FILE", help="look for what this video shows")
    asked.add_argument(
        "--moment", metavar="ID", help="look for what this moment shows: a segment_id, as --json prints"
    )
    search.add_argument(
        "--by",
        choices=("picture", "words", "both"),
        help="go by what is seen (the default), by what is said, or by both rankings joined",
    )
    for name, what in (
        ("collection", "of this collection"),
        ("label", "with this label"),
        ("language", "spoken in it"),
    ):
        search.add_argument(
            f"--{name}", action="append", metavar="NAME", default=[], help=f"only moments {what}; may be repeated"
        )
    search.add_argument("--said", metavar="WORDS", default="", help="only moments in which all these words are said")
    search.add_argument("--top", type=int, metavar="N", help="how many moments")
    search.add_argument("--index", type=Path, metavar="DIR", help="another index than that of the workspace")
    search.add_argument("--model", type=Path, metavar="DIR", dest="bundle", help="the model that made the index")
    search.add_argument("--json", action="store_true", default=False, help="print JSON, scores unrounded")
    search.set_defaults(run=_search)


def _add_embed(commands: Any) -> None:
    embed = commands.add_parser(
        "embed",
        help="video files to vectors",
        description="Video files to unit vectors, one for each window of a video: an .npz file with `vectors` "
        "(float32, a row each), `files`, `starts` and `ends` (seconds).",
    )
    embed.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a video")
    embed.add_argument(
        "--out", type=Path, default=Path("vectors.npz"), metavar="FILE", help="where to (default: %(default)s)"
    )
    embed.add_argument(
        "--window", type=float, default=60.0, metavar="SECONDS", help="at most so long (default: %(default)g)"
    )
    embed.add_argument(
        "--model", type=Path, default=Path("models/pretrained"), metavar="DIR", dest="bundle", help="the model"
    )
    embed.set_defaults(run=_embed)


def _search(query: str | None, json: bool, **given: Any) -> None:
    from scriptsight.retrieve import Filters, Like, search  # torch takes seconds to import: --help must not

    example, asked = given.pop("moment", None), given.pop("video", query)
    if example is not None:
        asked = Like(example)
    chosen = {name: tuple(given.pop(name)) for name in ("collection", "label", "language")}
    filters = Filters(chosen["collection"], chosen["label"], chosen["language"], given.pop("said"))
    (moments,) = search([asked], filters=filters, **given)
    print(dumps([asdict(moment) for moment in moments], indent=2) if json else _table(moments))


def _embed(files: Sequence[Path], out: Path, window: float, bundle: Path) -> None:
    import numpy as np

    from scriptsight import load
    from scriptsight.files import whole_file
    from scriptsight.retrieve import embed

    if out.suffix != ".npz":
        raise InputError(f"{out}: vectors are written as .npz, so give the file that ending.")
    encoder = load(bundle)
    films = [embed(file, encoder, window) for file in files]
    names = [str(file) for file, film in zip(files, films, strict=True) for _ in film.spans]
    spans = np.concatenate([film.spans for film in films])
    vectors = np.concatenate([film.vectors for film in films])
    with whole_file(out) as partial:
        np.savez(partial, vectors=vectors, files=np.array(names), starts=spans[:, 0], ends=spans[:, 1])
    print(f"{out}: {len(vectors)} vectors of {vectors.shape[1]} from {len(files)} videos")


def _table(moments: Sequence[Moment]) -> str:
    """One line a moment, cut to the width of the terminal."""
    from scriptsight.pictures import one_line
    from scriptsight.times import span

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
