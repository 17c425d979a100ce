"""Workspaces: a folder with an `overrides.yaml` becomes a pipeline of its own, beside the project's."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from flows import PROJECT, parameters
from scriptsight import files
from scriptsight.errors import InputError
from scriptsight.params import reading

SOURCES = ("path", "annotations", "captions", "lists", "titles")  # keys of collections that name files
BARE = ["[core]", "no_scm", "=", "True"]  # settings of DVC, made and not yet ours
IGNORED = (
    "data/",
    "metrics/speed.json",
    "models/",
    "plots/",
    "mlruns/",
    ".features/",
    ".sweeps/",
    ".locks/",
    ".checkpoints/",
    ".transcripts/",
    ".work/",
    ".dvc/",
)


def prepare(folder: Path) -> None:
    """Write params.yaml and dvc.yaml of the workspace in `folder`, and make it a DVC repository.

    Raises:
        InputError: there is no overrides.yaml, or it does not fit the project's params.yaml.
    """
    folder = folder.resolve()
    overrides = folder / "overrides.yaml"
    if folder == PROJECT:
        raise InputError("A workspace is a folder of its own; the project itself runs without --workspace.")
    if not overrides.is_file():
        raise InputError(
            f"There is no {overrides}: a workspace is a folder with an overrides.yaml, which names what "
            f"differs from {PROJECT / 'params.yaml'} (see README.md, 'Your own videos')."
        )
    if not (PROJECT / "dvc.yaml").is_file():
        raise InputError(f"There is no {PROJECT / 'dvc.yaml'}: workspaces need the project's checkout.")
    merged = reading.merge(reading.read_yaml(PROJECT / "params.yaml"), reading.read_yaml(overrides))
    parameters.build(merged, str(overrides))
    _write(folder / "params.yaml", merged, "the project's params.yaml with overrides.yaml laid over it")
    _write(folder / "dvc.yaml", _pipeline(folder, merged), "the project's dvc.yaml for this workspace")
    if not (folder / ".gitignore").exists():
        with files.whole_file(folder / ".gitignore") as partial:
            partial.write_text("\n".join(IGNORED) + "\n", encoding="utf-8")
    _make_repository(folder)


def _make_repository(folder: Path) -> None:
    """Make the workspace a repository of DVC; its settings come last, so that one that was killed is made again."""
    settings = folder / ".dvc" / "config"
    written = settings.read_text(encoding="utf-8").split() if settings.is_file() else []
    if (written and written != BARE) or ((folder / ".git").exists() and settings.is_file()):
        return
    from dvc.repo import Repo

    if not (folder / ".dvc").is_dir():
        Repo.init(str(folder), no_scm=True).close()  # works inside and outside of a git repository
    with files.whole_file(settings) as partial:
        config = (PROJECT / ".dvc" / "config").read_text(encoding="utf-8")
        partial.write_text(config.replace("[core]", "[core]\n    no_scm = True"), encoding="utf-8")


def require() -> None:
    """See that the current folder holds a pipeline.

    Raises:
        InputError: it does not.
    """
    if not Path("dvc.yaml").is_file() or not Path(".dvc").is_dir():
        raise InputError(f"There is no pipeline (dvc.yaml, .dvc) in {Path.cwd()}: run in the project's folder.")


def _pipeline(folder: Path, merged: dict[str, Any]) -> dict[str, Any]:
    """The project's dvc.yaml, its code dependencies re-rooted and the folders of videos added.

    A folder of code becomes its files: outside of its root DVC heeds no .dvcignore, and the byte code in
    __pycache__ would count as a change.
    """
    pipeline = reading.read_yaml(PROJECT / "dvc.yaml")
    for stage in pipeline["stages"].values():
        stage["deps"] = [path for dep in stage["deps"] for path in _rooted(dep, folder)]
    sources = [collection.get(key) for collection in merged["ingest"]["collections"].values() for key in SOURCES]
    learn = merged["pretrain"]
    _add(pipeline, "ingest", sources, folder)
    _add(pipeline, "pretrain", [learn["start_from"], learn["video"]["init"]], folder)
    _add(pipeline, "probe", [merged["probe"]["zero_shot"]["templates"]], folder)
    return pipeline


def _add(pipeline: dict[str, Any], stage: str, sources: list[Any], folder: Path) -> None:
    """Make the files and folders that are named in `sources` dependencies of the stage.

    What is not there is left out: the stage says what is missing, and DVC can't look at an address elsewhere.
    """
    deps = pipeline["stages"][stage]["deps"]
    for path in (path for source in sources for path in _names(source)):
        place = (folder / path).resolve()
        if not place.exists() or any(place.is_relative_to((folder / dep).resolve()) for dep in deps):
            continue
        if folder.is_relative_to(place):
            raise InputError(f"The workspace {folder} lies in the videos of {path!r}: move one out of the other.")
        deps.append(path)


def _names(source: Any) -> Iterator[str]:
    """The strings in a value of a parameters file, which may be a list or a table of them."""
    if isinstance(source, str):
        yield source
    elif isinstance(source, Mapping):
        yield from (name for value in source.values() for name in _names(value))
    elif isinstance(source, Sequence):
        yield from (name for value in source for name in _names(value))


def _rooted(dep: str, folder: Path) -> Iterator[str]:
    if not dep.startswith("src/"):
        yield dep
        return
    path = PROJECT / dep
    for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
        yield Path(os.path.relpath(file, folder)).as_posix()


def _write(path: Path, values: dict[str, Any], what: str) -> None:
    text = StringIO()
    yaml = YAML()
    yaml.width = 110
    yaml.dump(values, text)
    generated = f"# Generated by `scriptsight run --workspace`: {what}.\n# Edit overrides.yaml.\n"
    content = generated + text.getvalue()
    if not path.is_file() or path.read_text(encoding="utf-8") != content:
        with files.whole_file(path) as partial:
            partial.write_text(content, encoding="utf-8")
