"""The files and folders that a parameters file names: videos, captions, annotations, weights to start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

OF_COLLECTIONS = ("path", "annotations", "captions", "lists", "titles")  # keys of collections that name files
# The other values that name files, by the stage that reads them.
OTHERS: dict[str, list[tuple[str, ...]]] = {
    "pretrain": [("start_from",), ("video", "init")],
    "probe": [("zero_shot", "templates")],
}


def of_stage(params: Mapping[str, Any], stage: str) -> Iterator[str]:
    """The paths and addresses that a stage reads beside the outputs of other stages; some are no files."""
    for section, key in _places(params, stage):
        yield from _names(section.get(key))


def all_of(params: Mapping[str, Any]) -> Iterator[str]:
    """The same for all stages."""
    for stage in ("ingest", *OTHERS):
        yield from of_stage(params, stage)


def replaced(params: dict[str, Any], by: Callable[[str], str]) -> None:
    """Put `by(name)` in the place of every name of a file, in the parameters themselves."""
    for stage in ("ingest", *OTHERS):
        for section, key in _places(params, stage):
            if key in section:
                section[key] = _with(section[key], by)


def _places(params: Mapping[str, Any], stage: str) -> Iterator[tuple[Any, str]]:
    """Mappings, and the key in each whose value names files."""
    if stage == "ingest":
        for collection in params["ingest"]["collections"].values():
            yield from ((collection, key) for key in OF_COLLECTIONS)
        return
    for *parents, key in OTHERS.get(stage, []):
        section: Any = params[stage]
        for parent in parents:
            section = section[parent]
        yield section, key


def _names(source: Any) -> Iterator[str]:
    """The strings in a value of a parameters file, which may be a list or a table of them."""
    if isinstance(source, str):
        yield source
    elif isinstance(source, Mapping):
        yield from (name for value in source.values() for name in _names(value))
    elif isinstance(source, Sequence):
        yield from (name for value in source for name in _names(value))


def _with(source: Any, by: Callable[[str], str]) -> Any:
    if isinstance(source, str):
        return by(source)
    if isinstance(source, Mapping):
        return {key: _with(value, by) for key, value in source.items()}
    return [_with(value, by) for value in source] if isinstance(source, Sequence) else source
