"""The stages as DVC sees them: what is stale and why, having one reproduced or ended, what lies elsewhere. Knows no
Prefect."""

from __future__ import annotations

import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.utils.strictyaml import YAMLSyntaxError, YAMLValidationError
from dvc_data.hashfile.hash_info import HashInfo

from flows import names
from flows.running import events, locks, mending, stage
from scriptsight import redaction
from scriptsight.errors import InputError

STAGES = ("ingest", "segment", "pretrain", "probe", "retrieve")
CHECKPOINT_SECONDS = 20  # for a training to finish its step and write a checkpoint; Prefect kills a flow after 30
SHELLS = ("sh", "dash", "bash", "zsh", "fish")


@dataclass(frozen=True)
class StageOutcome:
    """How a stage went: ran, restored by DVC, skipped, failed or cancelled; with the seconds of its function.

    A failure has the last lines of the stage's own error, if there is more to it than `why`, and says whether it may
    pass by itself.
    """

    name: str
    how: str
    why: str = ""
    import_s: float = 0.0
    run_s: float = 0.0
    lines: tuple[str, ...] = ()
    may_pass: bool = False


def stale(name: str | None = None) -> dict[str, str]:
    """Stage -> why it must run, for those that must; what only a stale earlier stage changes is not in it.

    Raises:
        InputError: DVC can't say, as in a copy without git.
    """
    mending.drop_dead_readers()
    if mending.lock_is_cut_off():
        mending.bring_back_lock()
    try:
        try:
            found = status(name)
        except (YAMLSyntaxError, YAMLValidationError) as error:
            if mending.LOCK.name not in str(error):
                raise
            mending.bring_back_lock()
            found = status(name)
    except DvcException as error:
        raise InputError(
            f"DVC can't say what is stale: {error}. In a copy without git, run `git init`, or "
            "`dvc config --local core.no_scm true`."
        ) from error
    return found


def status(name: str | None = None) -> dict[str, str]:
    """The same as `stale`, but that nothing is mended: raises what DVC raises."""
    with Repo(_wait_for_lock=True) as repo:
        changes: dict[str, Any] = repo.status(targets=[name] if name else None)
        earlier = {one.addressing for one in repo.index.stages if _watched_otherwise(one)}
    return {found: _why(entries, found in earlier) for found, entries in changes.items()}


def restorable(name: str) -> bool:
    """Whether DVC's cache has what a stage makes of its inputs as they are now; `reproduce` brings it back then."""
    logging.getLogger("dvc").setLevel(logging.WARNING)  # it would say that it skips a run
    with Repo(_wait_for_lock=True) as repo:
        one = repo.stage.load_one(name=name)
        try:
            one.save_deps()  # their digests, in memory
            for out in one.outs:  # those of the last run; DVC would look for these
                out.hash_info = HashInfo()
            repo.stage_cache.restore(one, dry=True)
        except DvcException:  # it has not, or an input is missing
            return False
    return True


def _watched_otherwise(one: Any) -> bool:
    """Whether dvc.lock has the stage, but with none of the parameters that dvc.yaml names."""
    named = [dep.hash_info.value for dep in one.deps if isinstance(dep, ParamsDependency) and dep.params]
    return bool(named) and not any(named) and None not in named  # None: the stage is not in dvc.lock


def _why(entries: list[Any], earlier: bool) -> str:
    reasons = _reasons(entries)
    if "params.yaml new" in reasons:  # none of its parameters are in dvc.lock
        return "it has not run here before"
    if earlier:  # of outputs that this lock does not name, DVC says that they are modified
        found = _reasons([entry for entry in entries if "changed deps" in entry])
        found = [reason for reason in found if not reason.endswith(" new")]
        reasons = ["dvc.lock is of an earlier version of scriptsight, which had DVC watch other keys", *found]
    return "; ".join(reasons[:4]) + (f" and {len(reasons) - 4} more" if len(reasons) > 4 else "")


def _reasons(entries: list[Any]) -> list[str]:
    """DVC's status of one stage as short phrases: `pretrain.k modified`, `data/segments deleted`."""
    reasons = []
    for entry in entries:
        if isinstance(entry, str):  # such as "always changed"
            reasons.append(entry)
            continue
        for changes in entry.values():
            for path, state in changes.items():
                if isinstance(state, dict):
                    reasons += [f"{key} {how}" for key, how in state.items()]
                else:
                    reasons.append(f"{path} {state}")
    return reasons


def reproduce(name: str, why: str, force: bool = False) -> StageOutcome:
    """Have DVC run one stage that is stale, or one that is to run all the same (`force`)."""
    print(f"pipeline: {name} starts ({why})", flush=True)
    report = locks.LOCKS.resolve() / f"{name}.report.json"
    report.parent.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)
    _this_python_first()
    os.environ[stage.REPORT] = str(report)
    logging.getLogger("dvc").setLevel(logging.WARNING)  # its hints on git are for dvc's own command line
    mending.drop_dead_readers()
    mending.keep_lock()
    try:
        with Repo(_wait_for_lock=True) as repo:
            repo.reproduce(name, single_item=True, force=force)
    except DvcException as error:
        left = stage.read_report(report)
        if "failure" in left:
            lines, may_pass = tuple(left["lines"]), left["may_pass"]
            return StageOutcome(name, "failed", left["failure"], lines=lines, may_pass=may_pass)
        why, may_pass = without_a_word(str(error.__cause__ or error))
        return StageOutcome(name, "failed", why, may_pass=may_pass)
    finally:
        del os.environ[stage.REPORT]
    left = stage.read_report(report)
    if not left:
        events.path_of(name).unlink(missing_ok=True)  # an earlier run's
        return StageOutcome(name, "restored", f"DVC's cache had the outputs ({why})")
    return StageOutcome(name, "ran", why, left["import_s"], left["run_s"])


def _this_python_first() -> None:
    """The stages are `python -m flows...`: they must find this interpreter, activated or not."""
    folder, path = str(Path(sys.executable).parent), os.environ.get("PATH", "")
    if path.partition(os.pathsep)[0] != folder:
        os.environ["PATH"] = f"{folder}{os.pathsep}{path}"


def without_a_word(failure: str) -> tuple[str, bool]:
    """Why a stage that left no report failed, in DVC's words or by its signal -> and whether that may pass."""
    status = int(found[1]) if (found := re.search(r"exited with (-?\d+)$", failure)) else 0
    number = -status if status < 0 else status - 128  # as subprocess says it, and as a shell does
    if number == signal.SIGKILL:
        return "it was killed (SIGKILL), perhaps because memory ran out", True
    if number in (signal.SIGTERM, signal.SIGINT):
        return f"it was stopped ({signal.Signals(number).name})", False
    return failure, False


def end(patience: float = 0) -> None:
    """End a stage that still runs when this process must end (dvc, which waits for it, won't), and wait for it.

    Args:
        patience: seconds before it gets a signal, for one that has probably had one: ctrl-C reaches all processes of
            a terminal, and a training that gets two does not wait for its checkpoint.
    """
    found = _running(psutil.Process())
    _, alive = psutil.wait_procs(found, timeout=patience)
    for process in alive:
        try:
            process.terminate()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(alive, timeout=CHECKPOINT_SECONDS)


def _running(above: psutil.Process) -> list[psutil.Process]:
    """Stages below a process: only the first on each branch, for the processes of a training are its own to end, and
    no shell between, for a stage ends when its shell does."""
    found = []
    for child in above.children():
        try:
            command = child.cmdline()
            stages = re.search(rf"-m flows\.({'|'.join(STAGES)})\b", " ".join(command))
            found += [child] if stages and child.name() not in SHELLS else _running(child)
        except psutil.Error:  # it has ended meanwhile
            continue
    return found


def figures(say: Callable[[str], None] = lambda text: print(text, file=sys.stderr)) -> dict[str, float]:
    """The numbers of metrics/*.json now, by names such as `probe/random_init/linear_top1`; `say` gets a line for each
    file that can't be read, whose numbers are left out."""
    found: dict[str, float] = {}
    for path in sorted(Path("metrics").glob("*.json")):
        try:
            found |= names.numbers(path, f"{path.stem}/")
        except InputError as error:
            say(str(error))
    return found


class RemoteFailed(InputError):
    """A DVC remote could not be read or written; a network may be back in a moment."""


def require_remote(name: str) -> None:
    """See that there is a DVC remote of this name.

    Raises:
        InputError: there is none.
    """
    with Repo(_wait_for_lock=True) as repo:
        known = sorted(repo.config["remote"])
    if name not in known:
        raise InputError(
            f"There is no DVC remote {name!r} here (known: {', '.join(known) or 'none'}): "
            f"`dvc remote add {name} ADDRESS`."
        )


def pull(remote: str) -> int:
    """Get from a DVC remote what dvc.lock names and the cache lacks; what is not there either is left to be made
    -> number of files.

    Raises:
        RemoteFailed: it can't be read.
    """
    with _remote(remote, "pull from") as repo:
        return int(repo.pull(remote=remote, allow_missing=True)["stats"]["fetched"])


def push(remote: str) -> int:
    """Copy the outputs of the stages to a DVC remote -> number of files.

    Raises:
        RemoteFailed: it can't be written.
    """
    with _remote(remote, "push to") as repo:
        return int(repo.push(remote=remote))


@contextmanager
def _remote(name: str, doing: str) -> Iterator[Repo]:
    try:
        with Repo(_wait_for_lock=True) as repo:
            yield repo
    except (DvcException, OSError) as error:
        words = redaction.redacted(error)[: redaction.LONGEST_VALUE]
        raise RemoteFailed(f"DVC can't {doing} the remote {name!r}: {words}") from error
