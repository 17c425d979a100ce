"""The commands of the project's checkout: what `scriptsight COMMAND` takes, and which module does it.

pyproject.toml names each function here as an entry point of the group `scriptsight.commands`. The module that a
command names has a `command(options)`. It is imported when the command runs: help must not wait for Prefect.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from flows import PROJECT
from scriptsight.cli import describe
from scriptsight.errors import InputError


def new(parser: argparse.ArgumentParser) -> None:
    """`scriptsight new`."""
    describe(
        parser,
        "Look at a folder of videos, and write a workspace that fits them.",
        "All videos are opened once, as the stage ingest opens them: their captions, labels, lengths, and what is "
        "broken. FOLDER/overrides.yaml then says, with the reason of each value, what to learn from, what to hold "
        "out, how long moments are, and how large a model and how many steps suit this machine. What will not work "
        "is said at once; the exit status is then 3. Called again, it says what changed, and writes nothing over "
        "what a person edited.",
        [
            "scriptsight new my-videos --videos /videos/talks",
            "scriptsight new my-videos --videos /videos/talks --renew    # after videos came or went",
        ],
        _late(parser, "flows.new.command"),
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the workspace; it is made where it is not there")
    parser.add_argument("--videos", required=True, metavar="PATH", help="the folder of the videos")
    parser.add_argument(
        "--minutes", type=_minutes, metavar="N", help="of training (default: by how much there is to learn from)"
    )
    parser.add_argument(
        "--renew",
        action="store_true",
        help="write overrides.yaml anew; where a person edited it, overrides.yaml.new beside it",
    )
    parser.add_argument("--json", action="store_true", help="print what was found and chosen as JSON, and no lines")


def run(parser: argparse.ArgumentParser) -> None:
    """`scriptsight run`."""
    describe(
        parser,
        "Bring all stages up to date, and print the headline figures.",
        "The stages are ingest, segment, pretrain, probe and retrieve. DVC decides what is stale, and every stage "
        "is a Prefect flow. In the current folder, unless another is named: a folder with an overrides.yaml that "
        "says what differs from the project's params.yaml. It begins with what each stage will do, why, and how long "
        "that took here before, and ends with what to look at next.",
        ["scriptsight run", "scriptsight run my-videos"],
        _late(parser, "flows.pipeline"),
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, metavar="WORKSPACE", help="the folder, which holds an overrides.yaml"
    )
    parser.add_argument("--workspace", type=Path, metavar="DIR", help="the same, by name")


def doctor(parser: argparse.ArgumentParser) -> None:
    """`scriptsight doctor`."""
    describe(
        parser,
        "See what is well and what is not: machine, servers, files, stages.",
        "Each line is ok, a note or a problem, with its remedy: the machine and what is installed, servers, "
        "parameters and videos, locks, what killed processes left, databases, what is stale and why, the model and "
        "the index. Nothing is changed, no server is started. The exit status is 1 if there is a problem.",
        ["scriptsight doctor", "scriptsight doctor my-videos", "scriptsight doctor my-videos --json"],
        _late(parser, "flows.doctor.command"),
    )
    parser.add_argument(
        "workspace",
        nargs="?",
        type=Path,
        metavar="WORKSPACE",
        help="the folder to look at (default: the current one)",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def sweep(parser: argparse.ArgumentParser) -> None:
    """`scriptsight sweep`."""
    describe(
        parser,
        "Study which parameters are best, and what each is worth.",
        "`sweep` in params.yaml says what is drawn, what it is judged by and how many trials there are in all. "
        "Each trial is a short training on data/segments, measured on validation splits. Started again, a study "
        "goes on where it was; started on several machines with one database, they share the work.",
        [
            "scriptsight sweep",
            "scriptsight sweep --finish 3    # the best three and the default, on test",
            "scriptsight sweep --apply       # the best trial",
            "scriptsight sweep --apply 12",
        ],
        _late(parser, "flows.experiments.sweep.command"),
    )
    _params(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--finish",
        nargs="?",
        const=0,
        type=_count,
        metavar="N",
        help="train the best N trials (default: sweep.finish) and the default to the end, measure them on the test "
        "splits, and tell the winner's curse: by how much the sweep's figures promise too much",
    )
    what.add_argument(
        "--apply",
        nargs="?",
        const="best",
        metavar="TRIAL",
        help="write a trial's values into the parameters file; without a number those of the best (with two or three "
        "objectives: the best first one among those with 95%% of the best second, and then of the best third)",
    )


def compare(parser: argparse.ArgumentParser) -> None:
    """`scriptsight compare`."""
    describe(
        parser,
        "Compare models, or all objectives by training them alike.",
        "With models: one page with what each is worth, which are better than which on the same test items, the "
        "parameters and data that differ, how each learned, and their pictures. A MODEL is an MLflow run (its id or "
        "the beginning of it), a version of the registered model or its alias, an experiment of DVC, or a folder in "
        "which stages left their outcomes (plots) or a model (models/pretrained). Each is compared with the "
        "champion, if it is named, else with the first. The page also goes to the newest run in MLflow. Without "
        "models: all objectives are trained on the narrated world. Interrupted, the same command goes on. What comes "
        "out is DIR/PRESET/{table.md, table.csv, table.png}, and an MLflow experiment. `quick` "
        "is one seed of the main "
        "objectives; `full` is all objectives, three seeds with data of their own, at the same steps and at the "
        "same seconds, and a second world in which order does not matter.",
        [
            "scriptsight compare champion 3f2a91 wide-net",
            "scriptsight compare old/plots plots --metric t2v/r1 --all-pairs",
            "scriptsight compare --preset quick",
            "scriptsight compare --preset full --out docs",
        ],
        _late(parser, "flows.experiments.compare"),
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="two models or more")
    parser.add_argument("--out", type=Path, metavar="DIR", help="copy what comes out there as well, such as docs")
    of_models = parser.add_argument_group("of models")
    of_models.add_argument("--metric", help="the figure that decides (default: registry.metric of the parameters)")
    of_models.add_argument("--all-pairs", action="store_true", help="compare each with each")
    of_models.add_argument("--json", action="store_true", help="print everything for a program, and no tables")
    _params(of_models)
    of_objectives = parser.add_argument_group("of objectives")
    of_objectives.add_argument("--preset", metavar="PRESET", help="quick or full (default: quick)")
    of_objectives.add_argument("--folder", type=Path, metavar="DIR", help="where (default: compare)")
    of_objectives.add_argument("--workers", type=int, metavar="N", help="trainings at a time (default: 2)")
    of_objectives.add_argument("--table", action="store_true", help="only write the table of what is there")


def better(parser: argparse.ArgumentParser) -> None:
    """`scriptsight better`."""
    describe(
        parser,
        "Is one model better than another, on the same test items?",
        "A MODEL is an MLflow run (its id or the beginning of it), a version of the registered model or its "
        "alias, an experiment of DVC, or a folder in which stages left their outcomes (plots). One alone is compared "
        "with the champion; with none, the newest run that was measured is. The answer and its picture also go to "
        "plots/better and to the newer run.",
        [
            "scriptsight better                     # the newest model and the champion",
            "scriptsight better 3f2a91 champion",
            "scriptsight better old/plots plots --metric t2v/r1",
        ],
        _late(parser, "flows.experiments.better"),
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", help="two models, or one, or none")
    parser.add_argument("--metric", help="the figure that decides (default: registry.metric of the parameters)")
    _params(parser)


def drift(parser: argparse.ArgumentParser) -> None:
    """`scriptsight drift`."""
    describe(
        parser,
        "Do new videos differ from those that a model learned from?",
        "New are videos that the model neither learned from nor had held out. What is compared, by recordings: what "
        "is seen (the model's own features), languages, how fast and how much is spoken, lengths, and how often a "
        "text finds its clip, on new videos and on old ones that were held out. The pipeline asks this by itself of "
        "the champion when there are new segments. The answer and its picture also go to plots/drift and to the "
        "model's version in MLflow.",
        [
            "scriptsight drift                        # the champion",
            "scriptsight drift --model models/best --json",
            "scriptsight drift --only narrated/test   # these videos instead of the new ones",
        ],
        _late(parser, "flows.experiments.drift"),
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a version or alias of the registered model, or a folder (default: the champion, or models/pretrained "
        "where there is none)",
    )
    parser.add_argument(
        "--only", metavar="COLLECTION[/SPLIT]", help="compare these videos, but for those that were learned from"
    )
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    _params(parser)


def language(parser: argparse.ArgumentParser) -> None:
    """`scriptsight language`."""
    describe(
        parser,
        "See how much of a corpus can be put in order by its words alone.",
        "`ingest` and `segment` are brought up to date first. No model is needed: one that was trained is shown "
        "beside the sorter of words (metrics/language.json, plots/language.png).",
        ["scriptsight language --k 2 4 8", "scriptsight language --workspace my-videos --steps 3000"],
        _late(parser, "flows.experiments.language"),
    )
    _params(parser)
    parser.add_argument("--workspace", type=Path, metavar="DIR", help="the corpus of DIR, with its overrides.yaml")
    parser.add_argument(
        "--k",
        type=int,
        nargs="+",
        metavar="K",
        help="transcripts of a script, beside those of pretrain.k (default: 2 to 6)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="of training, 64 scripts each (default: 300, for corpora of thousands of scripts, not of millions)",
    )


def register(parser: argparse.ArgumentParser) -> None:
    """`scriptsight register`."""
    describe(
        parser,
        "Enter the model into MLflow's registry; the best is its champion.",
        "The pipeline does this by itself with models/pretrained. A model whose figure is above chance and above "
        "an untrained encoder becomes a version; the alias `champion` moves to it if it is better on the same "
        "test items.",
        ["scriptsight register"],
        _late(parser, "flows.tracking.registry"),
    )
    _params(parser)


def mlflow(parser: argparse.ArgumentParser) -> None:
    """`scriptsight mlflow`."""
    describe(
        parser,
        "Have MLflow find its files after the project was moved.",
        "MLflow keeps whole addresses of files. `move`, in the folder that was moved, makes those of "
        "mlruns/mlflow.db name this folder, in a copy that takes the database's place; the old one is kept beside "
        "it. Nothing is written to the old place. Called again, it does nothing.",
        ["scriptsight mlflow move --dry-run", "scriptsight mlflow move"],
        _late(parser, "flows.tracking.moved"),
    )
    parser.add_argument("action", choices=("move",), help="what to do: move, rewrite the addresses")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be rewritten")


def ui(parser: argparse.ArgumentParser) -> None:
    """`scriptsight ui`."""
    describe(
        parser,
        "Serve the pages of Prefect and MLflow, until ctrl-C.",
        "Prefect, http://127.0.0.1:4200, shows what ran; MLflow, http://127.0.0.1:5000, how models compare. What "
        "is started while they are open appears on them.",
        ["scriptsight ui"],
        _late(parser, "flows.orchestration.ui"),
    )


def automations(parser: argparse.ArgumentParser) -> None:
    """`scriptsight automations`."""
    describe(
        parser,
        "Have Prefect mark lost runs as crashed, and send notifications.",
        "The server is that of PREFECT_API_URL, or of `scriptsight ui`. The command may be run again at any time.",
        ["scriptsight automations --notify slack-webhook/team"],
        _late(parser, "flows.orchestration.automations"),
    )
    parser.add_argument(
        "--notify",
        metavar="TYPE/NAME",
        help="notify of failures, worse models and unlike videos by this block of the server: slack-webhook/team",
    )


def _minutes(text: str) -> float:
    """A time in minutes.

    Raises:
        ArgumentTypeError: it is none, or not above 0.
    """
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of minutes: name one above 0")
    return found


def _count(text: str) -> int:
    """A number of trials.

    Raises:
        ArgumentTypeError: it is none, or below 1.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of trials: name 1 or more")
    return int(text)


def _params(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--params", default="params.yaml", metavar="FILE", help="the parameters file (default: %(default)s)"
    )


def _late(parser: argparse.ArgumentParser, module: str) -> Callable[[argparse.Namespace], None]:
    """Run `command` of a module of flows, which is imported then; an InputError ends it with one message."""

    def command(options: argparse.Namespace) -> None:
        try:
            from flows.running.processes import exit_on_error

            found = import_module(module)
        except ModuleNotFoundError as error:
            if (error.name or "flows").partition(".")[0] in ("flows", "scriptsight"):
                raise  # a fault of ours
            raise InputError(
                f"The package {error.name!r} is not installed here: `make env` in {PROJECT} installs what this needs."
            ) from error
        with exit_on_error(parser.prog):
            found.command(options)

    return command
