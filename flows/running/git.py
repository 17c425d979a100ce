"""What is done with git for a workspace: finding its repository, making one, its first commit."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from scriptsight.errors import InputError

NOBODY = ("-c", "user.name=scriptsight", "-c", "user.email=scriptsight@localhost")  # where the user has not said who
NO_HOOKS = ("-c", "core.hooksPath=/dev/null", "-c", "commit.gpgsign=false")  # nothing of the user's runs or asks


def root(folder: Path) -> Path | None:
    """The top folder of the repository that a folder lies in; None where it lies in none."""
    return next((above for above in (folder, *folder.parents) if (above / ".git").exists()), None)


def is_there(folder: Path) -> bool:
    """Whether git can be used in a folder: not where it is not installed, nor in a repository that it refuses, such
    as another user's."""
    if shutil.which("git") is None:
        return False
    return root(folder) is None or _git(folder, "rev-parse", "--show-toplevel") is not None


def ignores(folder: Path) -> bool:
    """Whether the repository that a folder lies in ignores it."""
    return _git(folder.parent, "check-ignore", str(folder)) is not None


def init(folder: Path) -> None:
    """Make a folder a repository."""
    _done(folder, "init", "--quiet")


def has_commit(folder: Path) -> bool:
    """Whether there is a commit."""
    return _git(folder, "rev-parse", "--verify", "--quiet", "HEAD") is not None


def commit(folder: Path, names: Sequence[str], message: str) -> None:
    """Commit these files of a folder, and nothing else that may be staged."""
    who = () if _git(folder, "var", "GIT_AUTHOR_IDENT") else NOBODY
    _done(folder, "add", "--", *names)
    _done(folder, *who, *NO_HOOKS, "commit", "--quiet", "--message", message, "--", *names)


def changed(folder: Path, names: Sequence[str]) -> list[str]:
    """Those of the files and folders that differ from what is committed."""
    return [name for name in names if _git(folder, "status", "--porcelain", "--", name)]


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None where it fails, or is not installed."""
    program = shutil.which("git")
    if program is None:
        return None
    done = subprocess.run(  # noqa: S603 - our own words
        [program, "-C", str(folder), *arguments], capture_output=True, text=True, env=_environment(), check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None


def _done(folder: Path, *arguments: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own words
        ["git", "-C", str(folder), *arguments],  # noqa: S607
        capture_output=True,
        text=True,
        env=_environment(),
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise InputError(
            f"git can't make {folder} a repository (git {arguments[0]}: {said}). Mend that, or make it a workspace "
            "without git: `dvc init --no-scm` in it."
        )


def _environment() -> dict[str, str]:
    """Without what a hook of git tells its children: they would work in its repository."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
    }
