"""The command `scriptsight`: what people type.

Within a checkout of the project it runs that checkout's code, whichever checkout was installed.

`search`, `embed` and `page`, for which a trained model is enough, are here. What needs the project's checkout is in
`flows`, and is found through the entry points of the group `scriptsight.commands`: nothing here imports `flows`. Help
must not wait for torch, which takes seconds to import: what a command needs is imported when it runs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from scriptsight.errors import InputError

if TYPE_CHECKING:
    from scriptsight.retrieve import Moment

GROUP = "scriptsight.commands"
Configure = Callable[[argparse.ArgumentParser], None]  # says by `describe` what a command is, and adds its arguments

ABOUT = """\
Learn video representations from the words that come with videos, and find moments
by what is seen."""
EXAMPLES = """\
examples:
  scriptsight run         # train on the project's own videos, measure, index
  scriptsight search "the red circle moves to the left"

`scriptsight COMMAND --help` says what a command takes, with an example."""
NO_CHECKOUT = (
    "this needs the project's checkout, and what is installed here is the library alone. Clone the repository, run "
    "`make repro` in it, and use its .venv/bin/scriptsight."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, or 1 after an error that names its remedy."""
    if arguments is None:
        _run_own_code()
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    name = given[0] if not given[0].startswith("-") else None
    commands, absent = (OWN, []) if name in OWN else _all()
    if name in absent:
        print(f"scriptsight {name}: {NO_CHECKOUT}", file=sys.stderr)
        return 1
    parser = _parser(commands, absent)
    if name is not None and name not in commands:
        _refuse(parser, name, [*commands, *absent])
    options = parser.parse_args(given)
    run = options.run
    del options.run
    try:
        run(options)
    except InputError as error:
        print(f"scriptsight {name}: {error}", file=sys.stderr)
        return 1
    except MemoryError as error:
        cause = f" ({error})" if str(error) else ""
        print(f"scriptsight {name}: memory ran out{cause}: end other programs, or raise ulimit -v.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"scriptsight {name}: interrupted", file=sys.stderr)
        return 130
    return 0


def _run_own_code() -> None:
    """Where a checkout is installed, and the current folder lies in another one, become a process that runs the
    other's code; a wheel never runs code of the folder that it is started in."""
    installed = Path(__file__).resolve().parents[2]
    if not _is_checkout(installed):
        return
    here = Path.cwd()
    own = next((folder.resolve() for folder in (here, *here.parents) if _is_checkout(folder)), installed)
    paths = os.pathsep.join([str(own / "src"), str(own)])
    given = os.environ.get("PYTHONPATH", "")
    if own == installed or given.startswith(paths):  # the second: an interpreter that heeds no PYTHONPATH
        return
    print(f"scriptsight: runs the code of {own}, where you are, and not that of {installed}", file=sys.stderr)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [paths, given]))}
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, "-m", "scriptsight", *sys.argv[1:]], environment)  # noqa: S606


def _is_checkout(folder: Path) -> bool:
    """Whether a folder is a checkout of the project, as `flows` knows it."""
    marks = ("dvc.yaml", "flows/__init__.py", "src/scriptsight/__init__.py")
    return all((folder / mark).is_file() for mark in marks)


def describe(
    parser: argparse.ArgumentParser,
    summary: str,
    details: str,
    examples: Sequence[str],
    run: Callable[[argparse.Namespace], None],
) -> None:
    """Say what a command is for, how it is typed and what runs; `summary` is its line in the list of commands."""
    from textwrap import fill

    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = f"{summary}\n\n{fill(details, 78)}"
    parser.epilog = "\n  ".join(["example:" if len(examples) == 1 else "examples:", *examples])
    parser.set_defaults(run=run)


def _all() -> tuple[dict[str, Configure], list[str]]:
    """Every command -> those that can run here, and the names of those whose checkout is not here."""
    found: dict[str, Configure] = dict(OWN)
    absent = []
    for entry in sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            found.setdefault(entry.name, entry.load())
        except ModuleNotFoundError as error:
            if error.name not in (entry.module, entry.module.partition(".")[0]):
                raise
            absent.append(entry.name)
    return found, absent


def _parser(commands: Mapping[str, Configure], absent: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scriptsight",
        usage="scriptsight [--help] [--version] COMMAND ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"scriptsight {metadata.version('scriptsight')}")
    choice = parser.add_subparsers(required=True, metavar="COMMAND", prog="scriptsight", help=argparse.SUPPRESS)
    listed = {}
    for name, configure in commands.items():
        command = choice.add_parser(name)
        configure(command)
        listed[name] = f"  {name:12} {(command.description or '').partition(chr(10))[0]}"
    own = [listed.pop(name) for name in OWN]
    checkout = list(listed.values())
    if absent:
        checkout += [f"  {', '.join(absent)}", "  (not here: clone the repository and run `make repro` in it)"]
    groups = ["with a trained model:", *own, "", "in the project's checkout:", *checkout]
    parser.description = "\n".join([ABOUT, "", *groups])
    return parser


def _refuse(parser: argparse.ArgumentParser, name: str, known: Sequence[str]) -> NoReturn:
    """End as argparse does for a value that is none of the choices, and say which may have been meant."""
    from difflib import get_close_matches

    meant = "".join(f" Did you mean {close!r}?" for close in get_close_matches(name, known, 1))
    listed = ", ".join(repr(command) for command in known)
    parser.error(f"argument COMMAND: invalid choice: {name!r} (choose from {listed}).{meant}")


def _configure_search(parser: argparse.ArgumentParser) -> None:
    describe(
        parser,
        "Find moments by a sentence, a video or another moment.",
        "Prints the moments that show what the sentence says, or that look like the video, best first. The index is "
        "models/index of the current folder, unless --index names another.",
        [
            'scriptsight search "the red circle moves to the left"',
            "scriptsight search --video clip.mp4 --top 3 --json",
            'scriptsight search "a circle" --by both --said "moves left"',
        ],
        _search,
    )
    parser.argument_default = argparse.SUPPRESS  # the defaults are those of scriptsight.retrieve.search
    asked = parser.add_mutually_exclusive_group(required=True)
    # The default, as nargs="?" takes it for not given: a query that is left out is then missed by the group.
    asked.add_argument(
        "query", nargs="?", metavar="QUERY", default=None, help='such as "the red circle moves to the left"'
    )
    asked.add_argument("--video", type=Path, metavar="FILE", help="look for what this video shows")
    asked.add_argument(
        "--moment", metavar="ID", help="look for what this moment shows: a segment_id, as --json prints"
    )
    parser.add_argument(
        "--by",
        choices=("picture", "words", "both"),
        help="go by what is seen (the default), by what is said, or by both rankings joined",
    )
    for name, what in (
        ("collection", "of this collection"),
        ("label", "with this label"),
        ("language", "spoken in it"),
        ("split", "of this split: train (what the model learned from), val or test"),
    ):
        parser.add_argument(
            f"--{name}", action="append", metavar="NAME", default=[], help=f"only moments {what}; may be repeated"
        )
    parser.add_argument("--said", metavar="WORDS", default="", help="only moments in which all these words are said")
    parser.add_argument("--top", type=int, metavar="N", help="how many moments")
    parser.add_argument("--index", type=Path, metavar="DIR", help="another index than that of the workspace")
    parser.add_argument("--model", type=Path, metavar="DIR", dest="bundle", help="the model that made the index")
    parser.add_argument("--json", action="store_true", default=False, help="print JSON, scores unrounded")


def _configure_embed(parser: argparse.ArgumentParser) -> None:
    describe(
        parser,
        "Make vectors of video files.",
        "Each window of a video becomes a unit vector. What is written is an .npz file with `vectors` (float32, a "
        "row each), `files`, `starts` and `ends` (seconds).",
        ["scriptsight embed clip.mp4 talk.mp4 --window 10 --out vectors.npz"],
        _embed,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a video")
    parser.add_argument(
        "--out", type=Path, default=Path("vectors.npz"), metavar="FILE", help="where to (default: %(default)s)"
    )
    parser.add_argument(
        "--window", type=float, default=60.0, metavar="SECONDS", help="at most so long (default: %(default)g)"
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=Path("models/pretrained"),
        metavar="DIR",
        dest="bundle",
        help="the model (default: %(default)s)",
    )


def _configure_page(parser: argparse.ArgumentParser) -> None:
    describe(
        parser,
        "Search in a browser, with the videos beside what is said in them.",
        "Serves a page on this machine alone until it is interrupted. A new model or index appears on it without a "
        "restart. Another --host than this machine's own needs a password in SCRIPTSIGHT_PAGE_PASSWORD.",
        ["scriptsight page", "scriptsight page my-videos --open", "scriptsight page --model other=../other-videos"],
        _page,
    )
    _workspace(parser, "a folder with models/pretrained and models/index")
    parser.add_argument("--host", default="127.0.0.1", metavar="HOST", help="listen here (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8000, metavar="PORT", help="listen here (default: %(default)s)")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME=DIR",
        dest="models",
        help="another workspace, to be searched beside this one under this name; may be repeated",
    )
    parser.add_argument("--open", action="store_true", help="open the page in a browser")


def _configure_judgements(parser: argparse.ArgumentParser) -> None:
    describe(
        parser,
        "Count, export and import thumbs, and measure models by them.",
        "They are in judgements/judgements.db of the workspace. The CSV is for spreadsheets, for git, and for other "
        "copies of the workspace: importing adds what is not there yet. The stage retrieve measures the workspace's "
        "own model by them. Two models are only compared by the same ones: --measure asks others again, and leaves "
        "plots/judged/NAME, a folder for `scriptsight better`.",
        [
            "scriptsight judgements my-videos",
            "scriptsight judgements --csv thumbs.csv",
            "scriptsight judgements --import thumbs.csv",
            "scriptsight judgements --measure now=. --measure before=../before",
        ],
        _judgements,
    )
    _workspace(parser, "a folder with judgements")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--csv", type=Path, metavar="FILE", help="write all of them to FILE; those taken back as well")
    what.add_argument("--import", type=Path, metavar="FILE", dest="table", help="add those of FILE, all or none")
    what.add_argument(
        "--measure",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="measure the model and the index of DIR (models/pretrained, models/index); may be repeated",
    )


def _workspace(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "workspace",
        nargs="?",
        type=Path,
        default=Path(),
        metavar="WORKSPACE",
        help=f"{what} (default: the current folder)",
    )


OWN: dict[str, Configure] = {
    "search": _configure_search,
    "embed": _configure_embed,
    "page": _configure_page,
    "judgements": _configure_judgements,
}


def _search(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from scriptsight.retrieve import Filters, Like, Undecided, search

    given = vars(options)
    example, json, query = given.pop("moment", None), given.pop("json"), given.pop("query")
    asked = given.pop("video", query)
    if example is not None:
        asked = Like(example)
    chosen = {f"{name}s": tuple(given.pop(name)) for name in ("collection", "label", "language", "split")}
    filters = Filters(**chosen, said=given.pop("said"))
    moments: list[Moment] = []
    said = f"No moment was found{f'; filters: {filters}' if str(filters) else ''}."
    try:
        (moments,) = search([asked], filters=filters, **given)
    except Undecided as error:
        said = str(error)
    if json:
        print(dumps([asdict(moment) for moment in moments], indent=2))
    if not moments:
        print(said, file=sys.stderr if json else sys.stdout)
    elif not json:
        print(_table(moments))


def _embed(options: argparse.Namespace) -> None:
    import numpy as np

    from scriptsight import load
    from scriptsight.files import whole_file
    from scriptsight.retrieve import embed

    files, out = options.files, options.out
    if out.suffix != ".npz":
        raise InputError(f"{out}: vectors are written as .npz, so give the file that ending.")
    encoder = load(options.bundle)
    films = [embed(file, encoder, options.window) for file in files]
    names = [str(file) for file, film in zip(files, films, strict=True) for _ in film.spans]
    spans = np.concatenate([film.spans for film in films])
    vectors = np.concatenate([film.vectors for film in films])
    with whole_file(out) as partial:
        np.savez(partial, vectors=vectors, files=np.array(names), starts=spans[:, 0], ends=spans[:, 1])
    print(f"{out}: {len(vectors)} vectors of {vectors.shape[1]} from {len(files)} videos")


def _page(options: argparse.Namespace) -> None:
    from scriptsight.errors import needs

    with needs("page", "The search page"):
        from scriptsight.page.serving import serve
    serve(options.workspace, options.models, options.host, options.port, options.open)


def _judgements(options: argparse.Namespace) -> None:
    from scriptsight import judgements
    from scriptsight.files import whole_file

    if not options.workspace.is_dir():
        raise InputError(f"There is no folder {options.workspace}: name a workspace.")
    store = judgements.Store(options.workspace / judgements.FILE)
    if options.table:
        try:
            text = options.table.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{options.table} can't be read as text in UTF-8: {error}.") from error
        given = judgements.from_csv(text, str(options.table))
        print(f"{store.add(*given):,} new of the {len(given):,} judgements of {options.table}")
        return
    if options.measure:
        _measure(options.measure, store.path, options.workspace / "plots" / "judged")
        return
    rows = store.read()
    if options.csv:
        with whole_file(options.csv) as partial:
            partial.write_text(judgements.to_csv(rows), encoding="utf-8")
        print(f"{options.csv}: {len(rows):,} judgements")
        return
    queries = judgements.by_query(rows)
    votes = [vote for _, opinions in queries.values() for one in opinions for vote in one.votes.items()]
    if not votes:
        print("Nobody has judged a moment yet: `scriptsight page` has thumbs.")
        return
    ups, people = sum(verdict == judgements.UP for _, verdict in votes), len({who for who, _ in votes})
    last = max(one.at for one in rows)[:19]
    print(f"{len(votes):,} judgements count, {ups:,} of them up: {len(queries):,} queries, {people:,} people")
    print(f"the last one is of {last} UTC")


def _measure(named: Sequence[str], judgements: Path, out: Path) -> None:
    """Measure models, NAME=DIR each, by judgements."""
    import re

    from scriptsight.retrieve import measure_by_judgements

    for text in named:
        name, _, folder = text.partition("=")
        if not (re.fullmatch(r"\w[\w.-]*", name) and folder):
            raise InputError(f"--measure {text}: say NAME=DIR, such as before=../before.")
        found = measure_by_judgements(Path(folder), judgements, out / name)
        if found is None:
            raise InputError("Nobody has judged a moment yet: `scriptsight page` has thumbs.")
        print("\n".join([f"{name}:", *(f"  {line}" for line in found.says), f"  {out / name}"]))


def _table(moments: Sequence[Moment]) -> str:
    """One line a moment, cut to the width of the terminal; labels and languages where there are any."""
    from scriptsight.pictures import one_line
    from scriptsight.times import span

    columns = {
        "video": [one_line(moment.uri, 200) for moment in moments],
        "time": [span(moment.start, moment.end) for moment in moments],
        "score": [f"{moment.score:.3f}" for moment in moments],
        "split": [f"{moment.collection}/{moment.split}" for moment in moments],
        "label": [one_line(moment.label or "", 40) for moment in moments],
        "language": [one_line(moment.language or "", 40) for moment in moments],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    widths = {name: max(map(len, [name, *cells])) for name, cells in shown.items()}
    room = max(40, shutil.get_terminal_size((160, 24)).columns - sum(widths.values()) - 2 * len(widths))

    def line(cells: Mapping[str, str], words: str) -> str:
        aligned = [
            f"{cell:>{widths[name]}}" if name in ("time", "score") else f"{cell:{widths[name]}}"
            for name, cell in cells.items()
        ]
        return "  ".join([*aligned, one_line(words, room)])

    lines = [line({name: name for name in shown}, "words")]
    for number, moment in enumerate(moments):
        lines.append(line({name: cells[number] for name, cells in shown.items()}, moment.text))
    return "\n".join(lines)
