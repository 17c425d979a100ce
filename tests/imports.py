"""What imports what: the files of scriptsight that a package reaches."""

from __future__ import annotations

import ast
from collections.abc import Collection
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
SOURCE = PROJECT / "src" / "scriptsight"
# What any stage may use without being stale when it changes: wording, formats of messages, writing files,
# how imports are put off.
INFRASTRUCTURE = frozenset(
    {
        "__init__.py",
        "errors.py",
        "files.py",
        "lazily.py",
        "params/__init__.py",
        "redaction.py",
        "reporting.py",
        "times.py",
    }
)


def reached(start: Path, without: Collection[str] = ()) -> set[str]:
    """The units (see `unit`) that a package or module imports, directly or through others, and its own; not those
    of `INFRASTRUCTURE` nor those in `without`, which are not followed either."""
    seen: set[Path] = set()
    waiting = sorted(start.rglob("*.py")) if start.is_dir() else [start]
    while waiting:
        path = waiting.pop()
        if path in seen or unit(path) in INFRASTRUCTURE or unit(path) in without:
            continue
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scriptsight"):
                base = SOURCE.joinpath(*(node.module or "").split(".")[1:])
                waiting += [found for alias in node.names for found in _files(base / alias.name, base)]
    return {unit(path) for path in seen}


def unit(path: Path) -> str:
    """What dvc.yaml names: a package of scriptsight, a module at its top, or a file of parameters, for a default that
    changes makes stale the stages that use it and no others."""
    parts = path.relative_to(SOURCE).parts
    return "/".join(parts) if parts[0] == "params" else parts[0]


def _files(*candidates: Path) -> list[Path]:
    options = [file for path in candidates for file in (path.with_suffix(".py"), path / "__init__.py")]
    return [path for path in options if path.is_file()]
