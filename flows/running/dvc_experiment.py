"""Experiments of DVC: where what must outlive them goes, and what names them.

`dvc exp run` works in the checkout itself; `--temp` and `dvc queue start` work in a copy of it below .dvc/tmp/exps,
which DVC removes at the end, whatever lies in it. So the record of MLflow, what was heard and computed, and what a
killed stage goes on from belong to the folder that the experiment was started in.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from flows.running import sources
from scriptsight import judgements
from scriptsight.params.reading import read_yaml

TEMPORARY = (".dvc", "tmp", "exps")  # below a repository of DVC
KEPT = (".transcripts", ".features")  # named by their content: all experiments share them
# What a killed stage goes on from. Two processes must not write one of them: a folder for each experiment, below.
RESUMED = (".checkpoints", ".work")
EXPERIMENTS = ".experiments"


def home() -> Path | None:
    """The folder that an experiment was started in, where this one is its temporary copy; else None."""
    parts = Path.cwd().parts
    places = [at for at in range(len(parts) - len(TEMPORARY)) if parts[at : at + len(TEMPORARY)] == TEMPORARY]
    return Path(*parts[: places[-1]]) if places else None


def folder_name() -> str:
    """The name of the folder that people know: of an experiment that of its home."""
    return (home() or Path.cwd()).name


def record() -> Path:
    """The folder whose mlruns/ has the record of what runs here: an experiment's home, and for a git worktree the
    main checkout, for worktrees are removed with all that git ignores in them. A worktree that has a record already
    goes on with it."""
    here = home() or Path()
    return here if (here / "mlruns" / "mlflow.db").is_file() else _main_checkout(here) or here


def _main_checkout(folder: Path) -> Path | None:
    """The main checkout of a git worktree of this project; None where `folder` is none."""
    link = folder / ".git"
    if not link.is_file():
        return None
    git = folder / link.read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    common = git / "commondir"  # a worktree has it, a submodule does not
    if not common.is_file():
        return None
    main = (git / common.read_text(encoding="utf-8").strip()).resolve().parent
    return main if (main / "dvc.yaml").is_file() and (main / "flows").is_dir() else None


def tags() -> dict[str, str]:
    """What names the experiment of DVC that this stage runs in; nothing outside of one."""
    named = {"dvc_experiment": "DVC_EXP_NAME", "dvc_baseline": "DVC_EXP_BASELINE_REV"}
    return {tag: os.environ[variable] for tag, variable in named.items() if os.environ.get(variable)}


@contextmanager
def settled() -> Iterator[None]:
    """Within an experiment's temporary folder, have a stage find and leave at home what outlives the experiment,
    while the block runs: links to home's folders, and to videos that lie there and that git does not copy."""
    place = home()
    if place is None:
        yield
        return
    _root_address(place)
    for name in KEPT:
        (place / name).mkdir(exist_ok=True)
        _link(Path(name), place / name)
    for name in (*sources.all_of(read_yaml("params.yaml")), judgements.FILE.as_posix()):
        if _is_within(name) and (place / name).exists():
            _link(Path(name), place / name)
    with _resumed(place):
        yield


def _root_address(place: Path) -> None:
    """MLFLOW_TRACKING_URI of a file means the one that it means at home."""
    start, _, path = os.environ.get("MLFLOW_TRACKING_URI", "").partition("sqlite:///")
    if not start and path and not path.startswith("/"):
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{(place / path).resolve()}"


@contextmanager
def _resumed(place: Path) -> Iterator[None]:
    """An experiment that is queued again goes on where it was; two equal ones at once each start anew."""
    params = Path("params.yaml").read_bytes()
    baseline = os.environ.get("DVC_EXP_BASELINE_REV", "")
    key = hashlib.sha256(b"\0".join([params, baseline.encode()])).hexdigest()[:16]
    name = f"experiment-{key}-{os.environ.get('DVC_STAGE', 'stage')}.lock"
    (place / ".locks").mkdir(exist_ok=True)
    lock = FileLock(place / ".locks" / name)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield
        return
    targets = [place / name / EXPERIMENTS / key for name in RESUMED]
    try:
        for target in targets:
            target.mkdir(parents=True, exist_ok=True)
            _link(Path(target.parents[1].name), target)
        yield
    finally:
        for target in targets:
            with suppress(OSError):  # it holds something, or another stage of the experiment has removed it
                target.rmdir()
        (place / ".locks" / name).unlink(missing_ok=True)
        lock.release()


def _is_within(name: str) -> bool:
    """Whether a path leads to a file or folder below the current one."""
    return not Path(name).is_absolute() and Path.cwd() in Path(os.path.normpath(Path.cwd() / name)).parents


def _link(link: Path, target: Path) -> None:
    """Make a link that git does not see, unless there is something of this name."""
    if link.exists():
        return
    link.unlink(missing_ok=True)  # it leads nowhere
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target, target_is_directory=target.is_dir())
    here = Path.cwd()
    root = next((folder for folder in (here, *here.parents) if (folder / ".git").is_dir()), None)
    if root is not None:
        exclude = root / ".git" / "info" / "exclude"
        exclude.parent.mkdir(exist_ok=True)
        with exclude.open("a", encoding="utf-8") as file:
            file.write(f"/{(here / link).relative_to(root).as_posix()}\n")
