"""YAML to typed sections: reading, laying overrides over defaults, and errors that name key, cause and remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from datetime import date
from itertools import accumulate
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent

from scriptsight.errors import InputError
from scriptsight.params.base import Section

M = TypeVar("M", bound=Section)

# What no file of parameters needs, and what would keep a machine busy for minutes.
LARGEST = 1_000_000  # bytes
DEEPEST = 50  # sections and lists within each other
MOST = 100_000  # values, those that an alias (*name) repeats counted each time
LONGEST = 300  # characters of a cause or a value in a message


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping (1e-3 is a number; a key given twice is an error).

    Raises:
        InputError: there is no such file, it is no such mapping, or holds what no parameter can be.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise InputError(f"{path} is over {LARGEST:,} bytes, more than any parameters: name another file.")
        if (brackets := _brackets(data)) > 20 * DEEPEST:  # some may stand in texts; so many don't
            raise InputError(_too_deep(path))
        if brackets > DEEPEST:
            _check_depth(data, path)
        values = YAML(typ="safe", pure=True).load(data)
    except FileNotFoundError:
        raise InputError(f"There is no parameters file {path}: run from the folder that holds it.") from None
    except OSError as error:
        raise InputError(f"The parameters file {path} can't be read: {error}.") from None
    except InputError:
        raise
    except RecursionError:
        raise InputError(_too_deep(path)) from None
    except Exception as error:  # dates with a month 13, numbers of 5,000 digits, tags: each has an error of its own
        raise InputError(f"{path} is not valid YAML: {type(error).__name__}: {_short(error)}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no sections: it must be a mapping such as 'ingest: ...'.")
    _check_values(values, path, "", [], {})
    return values


def _brackets(data: bytes) -> int:
    """How many brackets are open at once, at most."""
    signs = re.sub(rb"[^\[\]{}]", b"", data)
    return max(accumulate((1 if sign in b"[{" else -1 for sign in signs), initial=0))


def _check_depth(data: bytes, path: Path) -> None:
    depth = 0
    for event in _events(data):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEEPEST:
            raise InputError(_too_deep(path))


def _events(data: bytes) -> Iterator[Any]:
    events: Iterator[Any] = YAML(typ="safe", pure=True).parse(data)
    return events


def _too_deep(path: Path) -> str:
    return (
        f"{path} has sections or lists over {DEEPEST} deep within each other: no parameter is so deep; take some out."
    )


def _check_values(value: Any, path: Path, where: str, above: list[int], counted: dict[int, int]) -> int:
    """See that a value can be one of parameters -> how many values it consists of, those of aliases each time.

    Args:
        where: the key.
        above: the ids of the sections and lists that it lies in.
        counted: by the ids of sections and lists, which aliases may repeat.
    """
    if id(value) in counted:
        return counted[id(value)]
    if isinstance(value, dict | list):
        if id(value) in above:
            raise InputError(f"{path}: {where} holds itself (an alias, *name, of what it lies in): write it out.")
        if len(above) == DEEPEST:
            raise InputError(_too_deep(path))
        items = value.items() if isinstance(value, dict) else enumerate(value)
        count = 1
        for key, inner in items:
            name = f"{where}.{_short(key)}".lstrip(".")
            count += _check_values(inner, path, name, [*above, id(value)], counted)
        if count > MOST:
            raise InputError(
                f"{path}: {where or 'it'} holds over {MOST:,} values, as aliases (*name) count each time."
            )
        counted[id(value)] = count
        return count
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        raise InputError(f"{path}: {where} is a number of more than 64 bits: no parameter is so large.")
    if isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
        raise InputError(f"{path}: {where} holds a zero byte or half a character: write it without.")
    if not isinstance(value, str | int | float | date | None):
        raise InputError(f"{path}: {where} is a {type(value).__name__}: take out the tag (!!...) before it.")
    return 1


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def validate(model: type[M], values: Mapping[str, Any], source: str = "params") -> M:
    """Build a section from plain values; `source` is named in errors.

    Raises:
        InputError: a key is unknown, missing or mistyped; the message names the key, its section and the allowed
            values.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [f"  {line}" for item in error.errors() if (line := _explain(model, item))]
        raise InputError(f"{source} can't be used:\n" + "\n".join(lines)) from None


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `overrides`, section by section.

    A mapping with a `kind` (a collection, a text encoder) or a `preset` replaces its namesake whole, and so do
    `collections`, `objectives`, `constraints`, `probe.tests` and `sweep.space`: whoever names some means these and no
    others.
    """
    merged = dict(base)
    for key, value in overrides.items():
        old = merged.get(key)
        merged[key] = value if is_whole(key, value) or not isinstance(old, dict) else merge(old, value)
    return merged


def is_whole(key: str, value: Any) -> bool:
    """Whether an override of this name replaces what it overrides, instead of being laid over it."""
    if not isinstance(value, Mapping):
        return True
    lists = ("collections", "objectives", "constraints", "tests", "space")
    return key in lists or "kind" in value or "preset" in value


def _explain(model: type[Section], item: Any) -> str:
    """One pydantic error as a line for the person who wrote the file; empty where another error says it."""
    *parents, key = item["loc"] or ("",)
    where = ".".join(str(part) for part in item["loc"])
    section = ".".join(str(part) for part in parents) or "the top level"
    if item["type"] == "extra_forbidden":
        if new := _renamed(model, parents).get(str(key)):
            return f"{where} is called {new} now: rename it to {new} in section {section}."
        allowed = _keys(model, parents)
        close = difflib.get_close_matches(str(key), allowed, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"unknown key {key!r} in section {section}.{hint} Allowed: {', '.join(allowed)}."
    if item["type"] == "missing":
        old = next((old for old, new in _renamed(model, parents).items() if new == key), "")
        if isinstance(item["input"], dict) and old in item["input"]:  # said of the old name already
            return ""
        return f"missing key {key!r} in section {section}."
    if item["type"] in ("union_tag_not_found", "union_tag_invalid"):
        return f"{where}: 'kind' must be one of {_kinds(model, item['loc'])}."
    message = item["msg"].removeprefix("Value error, ")
    if not item["loc"] or isinstance(item["input"], dict):
        return f"{where}: {message}." if where else f"{message}."
    return f"{where}: {message}, got {_short(repr(item['input']))} ({type(item['input']).__name__})."


def _model_at(model: type[Section], loc: list[Any] | tuple[Any, ...]) -> Any:
    """The annotation at `loc`; pydantic puts the `kind` of a tagged union into the location."""
    here: Any = model
    for part in loc:
        if isinstance(here, type) and issubclass(here, BaseModel):
            here = here.model_fields[part].annotation if part in here.model_fields else None
            if NoneType in get_args(here):  # a section that may be null
                here = next(arg for arg in get_args(here) if arg is not NoneType)
        elif choices := _choices(here):
            here = choices[part]
        elif args := get_args(here):  # dict[Name, Collection]
            here = args[-1]
    return here


def _choices(annotation: Any) -> dict[str, Any]:
    """kind -> model of a tagged union, empty for anything else."""
    found = {}
    for arg in get_args(annotation):
        for model in (arg, *get_args(arg)):
            if isinstance(model, type) and issubclass(model, BaseModel) and "kind" in model.model_fields:
                found[get_args(model.model_fields["kind"].annotation)[0]] = model
    return found


def _keys(model: type[Section], loc: list[Any]) -> list[str]:
    here = _model_at(model, loc)
    return list(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else []


def _renamed(model: type[Section], loc: list[Any]) -> dict[str, str]:
    here = _model_at(model, loc)
    return here.RENAMED if isinstance(here, type) and issubclass(here, Section) else {}


def _kinds(model: type[Section], loc: tuple[Any, ...]) -> str:
    return ", ".join(_choices(_model_at(model, loc)))
