"""YAML to typed sections: reading, laying overrides over defaults, and errors that name key, cause and remedy."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from scriptsight.errors import InputError
from scriptsight.params.base import Section

M = TypeVar("M", bound=Section)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping (1e-3 is a number; a key given twice is an error)."""
    path = Path(path)
    try:
        values = YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError:
        raise InputError(f"There is no parameters file {path}: run from the folder that holds it.") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{path} holds no sections: it must be a mapping such as 'ingest: ...'.")
    return values


def validate(model: type[M], values: Mapping[str, Any], source: str = "params") -> M:
    """Build a section from plain values; `source` is named in errors.

    Raises:
        InputError: a key is unknown, missing or mistyped; the message names the key, its section and the allowed
            values.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [f"  {_explain(model, item)}" for item in error.errors()]
        raise InputError(f"{source} can't be used:\n" + "\n".join(lines)) from None


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the values of `overrides`, section by section.

    A mapping with a `kind` (a collection, a text encoder) or a `preset` replaces its namesake whole, and so do
    `collections`, `objectives`, `probe.tests` and `sweep.space`: whoever names some means these and no others.
    """
    merged = dict(base)
    for key, value in overrides.items():
        old = merged.get(key)
        whole = (
            key in ("collections", "objectives", "tests", "space")
            or not isinstance(value, dict)
            or "kind" in value
            or "preset" in value
        )
        merged[key] = value if whole or not isinstance(old, dict) else merge(old, value)
    return merged


def _explain(model: type[Section], item: Any) -> str:
    """One pydantic error as a line for the person who wrote the file."""
    *parents, key = item["loc"] or ("",)
    where = ".".join(str(part) for part in item["loc"])
    section = ".".join(str(part) for part in parents) or "the top level"
    if item["type"] == "extra_forbidden":
        allowed = _keys(model, parents)
        close = difflib.get_close_matches(str(key), allowed, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        return f"unknown key {key!r} in section {section}.{hint} Allowed: {', '.join(allowed)}."
    if item["type"] == "missing":
        return f"missing key {key!r} in section {section}."
    if item["type"] in ("union_tag_not_found", "union_tag_invalid"):
        return f"{where}: 'kind' must be one of {_kinds(model, item['loc'])}."
    message = item["msg"].removeprefix("Value error, ")
    if not item["loc"] or isinstance(item["input"], dict):
        return f"{where}: {message}." if where else f"{message}."
    return f"{where}: {message}, got {item['input']!r} ({type(item['input']).__name__})."


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


def _kinds(model: type[Section], loc: tuple[Any, ...]) -> str:
    return ", ".join(_choices(_model_at(model, loc)))
