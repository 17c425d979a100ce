"""CONTRIBUTING.md lists what leans on private parts of other packages, as it is."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(
    r"^\| (?P<package>[a-z]+) (?P<version>[\d.]+) \| (?P<what>.+) \| (?P<where>.+) \| (?P<shown>.+) \|$", re.M
)
ROWS = list(ROW.finditer((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))
PUBLIC = {"_replace", "_make"}  # of named tuples, which only avoid the names of their fields
TYPES = {"_ActionsContainer"}  # of argparse, in an annotation that is not evaluated


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["what"][:40])
def test_a_row_is_as_the_lock_the_code_and_the_tests_are(row: re.Match[str]) -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert f"\n{row['package']}=={row['version']} " in lock, "another version is locked: run the row's test"
    code = "".join((ROOT / path).read_text(encoding="utf-8") for path in quoted(row["where"]))
    for part in quoted(row["what"]):
        words = part.removeprefix(".dvc/").replace("tmp/exps", "TEMPORARY")
        assert words.split("(")[-1].rstrip(")") in code, f"{part} is nowhere in {row['where']}"
    (shown,) = quoted(row["shown"])
    path, _, name = shown.partition("::")
    assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")


def test_each_private_name_that_the_code_reaches_for_is_listed() -> None:
    listed = {
        (path, name) for row in ROWS for path in quoted(row["where"]) for name in re.findall(r"_\w+", row["what"])
    }
    found = {
        (path.relative_to(ROOT).as_posix(), name)
        for folder in ("flows", "src")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in private(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert ("flows/experiments/sweep/study.py", "_trial_id") in found
    assert not sorted(found - listed)


def private(tree: ast.Module) -> Iterator[str]:
    """Names with one leading underscore that a module takes from others: those that it does not define itself."""
    own: set[str] = set()
    reached: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            own.add(node.name)
        elif isinstance(node, ast.Attribute):
            of_itself = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            (own if of_itself else reached).add(node.attr)
        elif isinstance(node, ast.keyword):
            reached.add(node.arg or "")
        elif isinstance(node, ast.ImportFrom):
            reached.update((node.module or "").split("."), (alias.name for alias in node.names))
        elif isinstance(node, ast.Import):
            reached.update(word for alias in node.names for word in alias.name.split("."))
    for name in sorted(reached - own - PUBLIC - TYPES):
        if re.match("_[^_]", name):
            yield name
