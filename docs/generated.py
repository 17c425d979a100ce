"""Parts of the reference that are made from the code when the site is built (a hook of mkdocs, named in mkdocs.yml).

A line of a page such as `<!-- generated: section pretrain -->` is replaced. There are

    help COMMAND ...        what COMMAND --help prints
    section NAME            the parameters of a section of params.yaml: type, default, meaning
    kinds NAME              the same for all kinds of a choice by `kind`: collections, video, text, ...
    schema NAME             the columns of a table that stages hand on
    rules                   what each rule of cleaning does
    offered                 what `import scriptsight` offers, each with its documentation
    dataset NAME            what the module of a dataset's reader says of its layout, and what to write

Meanings are the comments beside the fields, defaults those of params.yaml, or of the class where that has no line.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import io
import os
import re
import subprocess
import sys
import textwrap
import tokenize
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import pyarrow as pa
from mkdocs.exceptions import PluginError
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from ruamel.yaml import YAML

from scriptsight.params.base import MACHINE

ROOT = Path(__file__).resolve().parent.parent
MARK = re.compile(r"^<!-- generated: (?P<kind>\w+)(?: (?P<words>.+))? -->$", re.MULTILINE)
HELP_COLUMNS = 100


class CannotGenerate(PluginError):
    """A mark names what the code does not have."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs with each page's Markdown."""
    return MARK.sub(lambda match: generated(match["kind"], match["words"] or ""), markdown)


def generated(kind: str, words: str) -> str:
    """The Markdown that a mark stands for."""
    makers: dict[str, Callable[[str], str]] = {
        "help": command_help,
        "section": section,
        "kinds": kinds,
        "schema": schema,
        "rules": rules,
        "offered": offered,
        "dataset": dataset,
    }
    if kind not in makers:
        raise CannotGenerate(f"<!-- generated: {kind} ... -->: there are {', '.join(makers)}")
    return makers[kind](words)


# ---- commands


@cache
def help_text(command: str) -> str:
    """What `COMMAND --help` prints, of `scriptsight ...` or `python ...`, from this checkout."""
    first, *rest = command.split()
    start = [sys.executable, "-m", "scriptsight"] if first == "scriptsight" else [sys.executable]
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(  # noqa: S603 - our own words
        [*start, *rest, "--help"],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": str(HELP_COLUMNS), "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotGenerate(f"`{command} --help` fails: {done.stderr.strip()[-500:]}")
    return done.stdout


def command_help(command: str) -> str:
    """A block with the help of a command."""
    return f"```text\n{help_text(command).rstrip()}\n```"


# ---- parameters


def comments(source: str) -> dict[str, str]:
    """Field -> the comment beside it, of the source of a class.

    A comment on lines of its own belongs to the field above where that has no comment yet, else to the field below.
    """
    fields = {node.target.id: node for node in ast.walk(ast.parse(source)) if _is_field(node)}
    at = {line: name for name, node in fields.items() for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    found: dict[str, list[str]] = {name: [] for name in fields}
    waiting: list[str] = []
    above = ""
    lines: dict[int, list[tokenize.TokenInfo]] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        lines.setdefault(token.start[0], []).append(token)
    beside = {at[line] for line in lines if line in at and _comment(lines[line])}
    for number in range(1, source.count("\n") + 2):
        comment, name = _comment(lines.get(number, [])), at.get(number, "")
        if name:
            found[name] += waiting + ([comment] if comment else [])
            waiting, above = [], name
        elif comment and above and above not in beside:
            found[above].append(comment)
        elif comment:
            waiting.append(comment)
        else:
            waiting = []
    return {name: " ".join(parts) for name, parts in found.items()}


def _is_field(node: ast.AST) -> typing.TypeGuard[Any]:
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)


def _comment(tokens: list[tokenize.TokenInfo]) -> str:
    said = [token.string for token in tokens if token.type == tokenize.COMMENT]
    return re.sub(r"^#\s?|\s*noqa:.*$", "", said[-1]).strip() if said else ""


def meanings(model: type[BaseModel]) -> dict[str, str]:
    """Field -> comment, of a model and those that it extends."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base.__module__.startswith(("scriptsight.", "flows.")):
            found |= comments(textwrap.dedent(inspect.getsource(base)))
    return found


@cache
def sections() -> dict[str, type[BaseModel]]:
    """Section of params.yaml -> model."""
    from flows.parameters import Params

    return {name: field.annotation for name, field in Params.model_fields.items() if _is_model(field.annotation)}


@cache
def defaults() -> Mapping[str, Any]:
    """params.yaml as it stands in the project."""
    values: Mapping[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
    return values


def section(name: str) -> str:
    """The tables of one section of params.yaml, with its subsections."""
    if name not in sections():
        raise CannotGenerate(f"params.yaml has no section {name}: it has {', '.join(sections())}")
    return "\n".join(_tables(name, sections()[name], defaults()[name]))


def _tables(path: str, model: type[BaseModel], values: Any) -> Iterator[str]:
    said = meanings(model)
    hints = typing.get_type_hints(model, include_extras=True)
    rows: list[tuple[str, ...]] = []
    below: list[tuple[str, type[BaseModel], Any]] = []
    for key, field in model.model_fields.items():
        value = values.get(key, PydanticUndefined) if isinstance(values, Mapping) else PydanticUndefined
        inner = _inner(hints[key])
        each = _each(hints[key])
        if each is not None:
            below.append((f"{path}.{key}.NAME", each, None))
        if inner is not None:
            below.append((f"{path}.{key}", inner, value))
            shown = "null" if value is None or field.default is None else "below"
        else:
            shown = _value(field.get_default(call_default_factory=True) if value is PydanticUndefined else value)
        rows.append((key, type_name(hints[key]), shown, _meaning(said.get(key, ""), field)))
    yield _about(model)
    yield _table(("key", "type", "default", "meaning"), rows)
    for name, inner, value in below:
        yield f"\n#### `{name}`\n"
        yield from _tables(name, inner, value)


def _meaning(said: str, field: FieldInfo) -> str:
    """The comment beside a field, and whether it is a setting of the machine."""
    return "; ".join(filter(None, [said, "*of the machine*" if MACHINE in field.metadata else ""]))


def _inner(hint: Any) -> type[BaseModel] | None:
    """The section that a field holds, if it is one and no choice among several."""
    options = [option for option in _options(hint) if option is not type(None)]
    return options[0] if len(options) == 1 and _is_model(options[0]) else None


def _each(hint: Any) -> type[BaseModel] | None:
    """The section that each value of a mapping is, if it is one and no choice among several."""
    return _inner(get_args(hint)[1]) if get_origin(hint) is dict else None


def _about(model: type[BaseModel]) -> str:
    return _markdown(inspect.cleandoc(model.__doc__ or "")) + "\n"


def kinds(name: str) -> str:
    """The tables of all models of a choice, such as the kinds of collections; `name` is MODULE.ALIAS."""
    found = _named(name)
    models = [option for option in _options(found) if _is_model(option)]
    if not models:
        raise CannotGenerate(f"{name} is no choice among sections")
    parts = []
    for model in models:
        kind = get_args(model.model_fields["kind"].annotation)[0]
        hints, said = typing.get_type_hints(model, include_extras=True), meanings(model)
        rows = [
            (
                key,
                type_name(hints[key]),
                "required" if field.is_required() else _value(field.get_default(call_default_factory=True)),
                said.get(key, ""),
            )
            for key, field in model.model_fields.items()
            if key != "kind"
        ]
        parts += [f"\n#### `kind: {kind}`\n", _about(model)]
        parts += [_table(("key", "type", "default", "meaning"), rows)] if rows else []
    return "\n".join(parts)


def _named(name: str) -> Any:
    """A name in a module, or a field of a section there -> the type."""
    module, _, alias = name.rpartition(".")
    if module.rpartition(".")[2][:1].isupper():
        return typing.get_type_hints(_named(module), include_extras=True)[alias]
    return getattr(importlib.import_module(module), alias, None)


def _is_model(thing: Any) -> typing.TypeGuard[type[BaseModel]]:
    return isinstance(thing, type) and issubclass(thing, BaseModel)


def _options(hint: Any) -> list[Any]:
    """The members of a union, without what annotates them."""
    if get_origin(hint) is Annotated:
        return _options(get_args(hint)[0])
    if get_origin(hint) in (typing.Union, types.UnionType):
        return [one for arg in get_args(hint) for one in _options(arg)]
    return [hint]


def type_name(hint: Any) -> str:
    """A type in words: `whole number, at least 1`; one of its values where it has only some."""
    if get_origin(hint) is Annotated:
        base, *extra = get_args(hint)
        limits = _limits(extra)
        return ", ".join([type_name(base), *limits])
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(f"`{_plain(arg)}`" for arg in args)
    if origin in (typing.Union, types.UnionType):
        kinds = [_kind(arg) for arg in _options(hint)]
        named = [f"section, its `kind` {' or '.join(f'`{kind}`' for kind in kinds if kind)}"] if any(kinds) else []
        named += [type_name(arg) for arg in args if arg is not type(None) and not _kind(arg)]
        named += ["null"] if type(None) in args else []
        return " or ".join(dict.fromkeys(named))
    if origin is tuple:
        inner = list(dict.fromkeys(type_name(arg) for arg in args if arg is not Ellipsis))
        return f"list of {' and '.join(inner)}"
    if origin is dict:
        if any(map(_kind, _options(args[1]))):
            return "mapping: name to section, by `kind`"
        return f"mapping: {'name' if type_name(args[0]) == 'text' else type_name(args[0])} to {type_name(args[1])}"
    if _is_model(hint):
        return "section"
    names = {int: "whole number", float: "number", str: "text", bool: "true or false", Any: "anything"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def _kind(model: Any) -> str | None:
    """What `kind` says for a member of a choice among sections."""
    return (
        get_args(model.model_fields["kind"].annotation)[0]
        if _is_model(model) and "kind" in model.model_fields
        else None
    )


def _limits(extra: list[Any]) -> Iterator[str]:
    words = {"ge": "at least", "gt": "over", "le": "at most", "lt": "below"}
    for one in extra:
        for constraint in getattr(one, "metadata", [one]):
            for name, word in words.items():
                if (value := getattr(constraint, name, None)) is not None:
                    yield f"{word} {value}"


def _value(value: Any) -> str:
    if value is PydanticUndefined:
        return "required"
    text = in_yaml(value)
    return f"`{text}`" if len(text) <= 60 else "see params.yaml"


def in_yaml(value: Any) -> str:
    """A value on one line, as it is written in params.yaml."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {in_yaml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(in_yaml(one) for one in value) + "]"
    return _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value != "" else '""'


# ---- Python


def offered(_: str) -> str:
    """A block of mkdocstrings for each name in `scriptsight.__all__`, from the place where it is defined."""
    import scriptsight

    blocks = []
    for name in scriptsight.__all__:
        found = getattr(scriptsight, name)
        if inspect.ismodule(found):
            path, title = found.__name__, f"scriptsight.{name}"
        elif hasattr(found, "__qualname__"):
            path, title = f"{found.__module__}.{found.__qualname__}", f"scriptsight.{name}"
        else:
            continue  # __version__
        inherited = "true" if name == "Encoder" else "false"
        options = f"{{heading: {title}, toc_label: {name}, inherited_members: {inherited}}}"
        blocks.append(f"::: {path}\n    options: {options}\n")
    return "\n".join(blocks)


# ---- tables and datasets


def schema(name: str) -> str:
    """The columns of a pyarrow schema, MODULE.NAME, with the comments beside them."""
    module, _, alias = name.rpartition(".")
    found = getattr(importlib.import_module(module), alias, None)
    if not isinstance(found, pa.Schema):
        raise CannotGenerate(f"{name} is no schema")
    source = inspect.getsource(importlib.import_module(module))
    start = re.search(rf"^{alias} = pa\.schema\($", source, re.MULTILINE)
    body = source[start.start() :].split("\n)\n", 1)[0] if start else ""
    said: dict[str, str] = {}
    last = ""
    for line in body.splitlines():
        row = re.match(r"\s+\(\"(\w+)\",.*?(?:#\s*(.*))?$", line)
        more = re.match(r"\s+#\s*(.*)$", line)
        if row:
            last = row[1]
            said[last] = row[2] or ""
        elif more and last:
            said[last] += " " + more[1]
    rows = [(column.name, f"`{_arrow(column.type)}`", said.get(column.name, "")) for column in found]
    return _table(("column", "type", "meaning"), rows)


def rules(_: str) -> str:
    """What each function of `scriptsight.ingest.cleaning` says of itself, in the order in which they are applied."""
    from scriptsight.ingest import cleaning

    rows = [(name, inspect.getdoc(getattr(cleaning, name)) or "") for name in cleaning.RULES]
    return _table(("rule", "what it does"), rows)


def _arrow(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"list of {_arrow(kind.value_type)}"
    if pa.types.is_struct(kind):
        return "(" + ", ".join(f"{kind[i].name} {_arrow(kind[i].type)}" for i in range(kind.num_fields)) + ")"
    return {"double": "float64"}.get(str(kind), str(kind))


def dataset(name: str) -> str:
    """The docstring of a dataset's reader: its title, the layout, and what to write."""
    about = inspect.getdoc(importlib.import_module(f"scriptsight.ingest.datasets.{name}"))
    if not about:
        raise CannotGenerate(f"scriptsight.ingest.datasets.{name} says nothing of itself")
    title, _, rest = about.partition("\n")
    return f"### {title.rstrip('.')}\n\n`kind: {name}`\n{_with_yaml(rest)}"


def _with_yaml(text: str) -> str:
    """Indented blocks of a docstring as blocks of YAML."""
    out: list[str] = []
    block: list[str] = []
    for line in [*text.splitlines(), "end"]:
        if line.startswith("    ") or (block and not line):
            block.append(line[4:])
            continue
        if block:
            out += ["```yaml", *"\n".join(block).rstrip().splitlines(), "```", ""]
            block = []
        out.append(line)
    return "\n".join(out[:-1])


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads)]
    lines += [(f"`{row[0]}`", *row[1:]) for row in rows]
    return "\n".join("| " + " | ".join(_markdown(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _markdown(text: str) -> str:
    """Text of a comment: as it is, on one line, but with nothing that Markdown would take for HTML."""
    return re.sub(r"<(?=\w)", "&lt;", " ".join(text.split()))
