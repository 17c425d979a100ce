"""Who imports whom, read from the code: an import within a function, or for types alone, counts like any other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from scriptsight.params import reading

PROJECT = Path(__file__).resolve().parents[1]
STAGES = tuple(reading.read_yaml(PROJECT / "dvc.yaml")["stages"])
GROUND = ("captions", "catalogue", "errors", "files", "params", "redaction", "segments", "shards")
# What uses stages; `scriptsight` is the package's own face.
TOP = ("__main__", "cli", "language", "page", "scriptsight")
ORCHESTRATORS = ("dask", "distributed", "dvc", "flows", "mlflow", "optuna", "prefect", "prefect_dask")
LONGEST = 80  # lines of a function

Graph = dict[str, set[str]]  # module -> the modules that it imports


@pytest.fixture(scope="module")
def graph() -> Graph:
    return imports(PROJECT / "src" / "scriptsight") | imports(PROJECT / "flows")


def imports(package: Path) -> Graph:
    """All modules of a package, with everything that each imports, its own package's or not."""
    files = {path: path.relative_to(package.parent).with_suffix("").parts for path in package.rglob("*.py")}
    names = {path: ".".join(parts[:-1] if parts[-1] == "__init__" else parts) for path, parts in files.items()}
    return {name: set(_imported(path, name)) for path, name in names.items()}


def _imported(path: Path, module: str) -> Iterator[str]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            named = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            yield from (name for name in named if isinstance(name, str))


def among(graph: Graph) -> Graph:
    """The imports of the graph's own modules. Importing a.b.c runs a.b as well, but not for a module within a.b."""
    found: Graph = {}
    for module, imported in graph.items():
        reached = {name if name in graph else name.rpartition(".")[0] for name in imported} & graph.keys()
        parents = {".".join(name.split(".")[:depth]) for name in reached for depth in range(1, name.count(".") + 1)}
        found[module] = reached | {parent for parent in parents if not f"{module}.".startswith(f"{parent}.")}
    return found


def circle(graph: Graph) -> list[str]:
    """A module that imports itself through others, and these; empty if there is none."""
    try:
        TopologicalSorter(among(graph)).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_import_circle(graph: Graph) -> None:
    assert not circle(graph)


def test_a_late_import_is_an_import(tmp_path: Path) -> None:
    """Circles are found whatever hides them: a function, TYPE_CHECKING, a name, dots, or the package between."""
    package = tmp_path / "house"
    (package / "room").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "room/__init__.py").write_text("from house import hall\n")
    (package / "room/bed.py").write_text("from house.room import hall\nimport house.room\n")
    (package / "hall.py").write_text("import os\n")
    assert not circle(imports(package))
    for hidden in (
        "def late():\n    from house.room import bed\n",
        "if TYPE_CHECKING:\n    from house.room.bed import Bed\n",
        "import importlib\n\ndef late():\n    return importlib.import_module('house.room')\n",
        "from .room import bed\n",
        "import house.room.bed as anything\n",
    ):
        (package / "hall.py").write_text(hidden)
        assert {"house.hall", "house.room"} <= set(circle(imports(package))), hidden


def test_the_library_knows_no_orchestrator(graph: Graph) -> None:
    known = {
        (module, name)
        for module, imported in graph.items()
        for name in imported
        if module.startswith("scriptsight") and name.split(".")[0] in ORCHESTRATORS
    }
    assert not known


def test_imports_point_downwards(graph: Graph) -> None:
    """Ground floor <- what stages share <- stages <- what uses stages; and no stage knows another."""
    units = {_unit(module) for module in graph if module.startswith("scriptsight")}
    assert units >= {*GROUND, *STAGES, *TOP}
    upwards = [
        f"{module} imports {other}"
        for module, imported in among(graph).items()
        for other in imported
        if module.startswith("scriptsight") and not _may(_unit(module), _unit(other))
    ]
    assert not upwards


def test_no_circle_of_packages_in_the_library(graph: Graph) -> None:
    """Nor may two packages import each other by different modules."""
    units: Graph = {}
    for module, imported in among(graph).items():
        if module.startswith("scriptsight"):
            units.setdefault(_unit(module), set()).update({_unit(other) for other in imported} - {_unit(module)})
    assert not circle(units)


def _unit(module: str) -> str:
    """A package of scriptsight or a module at its top."""
    return module.split(".")[1] if "." in module else module


def _may(unit: str, other: str) -> bool:
    return unit == other or _floor(other) < _floor(unit) or (_floor(unit) == _floor(other) and unit not in STAGES)


def _floor(unit: str) -> int:
    return 0 if unit in GROUND else 2 if unit in STAGES else 3 if unit in TOP else 1


@pytest.mark.parametrize("folder", ["benchmarks", "flows", "src", "tests"])
def test_no_function_is_longer_than_a_screen_or_two(folder: str) -> None:
    long = [
        f"{path.relative_to(PROJECT)}:{node.lineno} {node.name}: {lines} lines"
        for path in sorted((PROJECT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > LONGEST
    ]
    assert not long
