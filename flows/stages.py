"""The stages as DVC sees them: what is stale and why, and having one reproduced. Knows no Prefect."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Any

from dvc.exceptions import DvcException
from dvc.repo import Repo

from flows import stage
from scriptsight.errors import InputError

STAGES = ("ingest", "segment", "pretrain", "probe", "retrieve")


@dataclass(frozen=True)
class Outcome:
    """How a stage went: ran, taken from DVC's cache, skipped or failed; with the seconds of its function."""

    name: str
    how: str
    why: str = ""
    import_s: float = 0.0
    run_s: float = 0.0


def stale(name: str | None = None) -> dict[str, str]:
    """Stage -> why it must run, for those that must; what only a stale earlier stage changes is not in it.

    Raises:
        InputError: DVC can't tell, as in a copy without git.
    """
    try:
        with Repo(_wait_for_lock=True) as repo:
            status: dict[str, Any] = repo.status(targets=[name] if name else None)
    except DvcException as error:
        raise InputError(
            f"DVC can't tell what is stale: {error}. In a copy without git, run `git init`, or "
            "`dvc config --local core.no_scm true`."
        ) from error
    return {found: _why(_reasons(entries)) for found, entries in status.items()}


def _why(reasons: list[str]) -> str:
    if "params.yaml new" in reasons:  # none of its parameters are in dvc.lock
        return "it has not run here before"
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


def reproduce(name: str, why: str) -> Outcome:
    """Have DVC run one stage that is stale."""
    print(f"pipeline: {name} starts ({why})", flush=True)
    report = stage.LOCKS.resolve() / f"{name}.report.json"
    report.parent.mkdir(exist_ok=True)
    report.unlink(missing_ok=True)
    os.environ[stage.REPORT] = str(report)
    logging.getLogger("dvc").setLevel(logging.WARNING)  # its hints on git are for dvc's own command line
    try:
        with Repo(_wait_for_lock=True) as repo:
            repo.reproduce(name, single_item=True)
    except DvcException as error:
        failure = stage.read_report(report).get("failure") or str(error.__cause__ or error)
        return Outcome(name, "failed", failure)
    finally:
        del os.environ[stage.REPORT]
    told = stage.read_report(report)
    if not told:
        return Outcome(name, "restored", f"DVC's cache had the outputs ({why})")
    return Outcome(name, "ran", why, told["import_s"], told["run_s"])
