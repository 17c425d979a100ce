"""What README.md and docs/ say to type and to write exists, and the site builds without a warning."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from dvc.cli.parser import get_main_parser as dvc_parser
from ruamel.yaml import YAML

from docs import figures, generated
from flows import parameters
from scriptsight.params import reading

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*figures.pages(ROOT), ROOT / "CONTRIBUTING.md"]
LANGUAGES = {"console", "python", "yaml", "text"}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A command of our own words, in the project."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """(page, text) of each fenced block of a language; generated parts of pages included."""
    for page in PAGES:
        text = (
            generated.on_page_markdown(page.read_text(encoding="utf-8")) if language == "yaml" else page.read_text()
        )
        for kind, block in BLOCK.findall(text):
            assert kind in LANGUAGES, f"{page}: a block of {kind or 'no language'}: use one of {LANGUAGES}"
            if kind == language:
                yield page.relative_to(ROOT).as_posix(), block


def _dataset(mark: re.Match[str]) -> str:
    """The generated text that holds YAML; the others take seconds to make, and hold none."""
    return generated.dataset(mark["words"]) if mark["kind"] == "dataset" else ""


def commands() -> list[tuple[str, str]]:
    """(page, command) of what is to be typed: scriptsight, make, and python with a module or a script."""
    found = []
    for page, block in blocks("console"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and (re.fullmatch(r"\w+=\S*", words[0]) or words[0] == "time"):
                words.pop(0)
            if words and (Path(words[0]).name in ("scriptsight", "make") or _ours(words)):
                found.append((page, shlex.join([Path(words[0]).name, *words[1:]])))
    return found


def _ours(words: list[str]) -> bool:
    if Path(words[0]).name != "python" or len(words) < 2:
        return False
    return words[1].startswith("benchmarks/") or (words[1] == "-m" and words[2].startswith(("flows.", "docs.")))


@cache
def options(command: str) -> frozenset[str]:
    """The options that the help of a command names."""
    return frozenset(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", generated.help_text(command)))


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_command_and_its_options_exist(page: str, command: str) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        done = run("make", "-n", *words[1:])
        assert done.returncode == 0, f"{page}: `{command}`: {done.stderr}"
        return
    plain = [word for word in words[1:] if not word.startswith("-")]
    if words[0] == "scriptsight":
        program = " ".join(["scriptsight", *plain[:1]])
    else:
        program = " ".join(words[:3] if words[1] == "-m" else words[:2])
    given = {word for word in words[1:] if re.fullmatch(r"--?[a-z][a-z-]*", word)} - {"-m", "--help"}
    assert given <= options(program), f"{page}: `{command}`"


def test_each_command_of_dvc_is_one_that_it_takes() -> None:
    lines = [line for _, block in blocks("console") for line in block.replace("\\\n", " ").splitlines()]
    split = [shlex.split(line, comments=True) for line in lines if re.match(r"(\S*/)?dvc ", line)]
    found = [words[1:] for words in split]
    assert ["exp", "apply", "warm"] in found
    for words in found:  # one that it does not take ends the process with its usage
        assert dvc_parser().parse_args(words).func


def test_the_documentation_names_commands() -> None:
    """The extraction above finds what it is for."""
    found = {command for _, command in commands()}
    assert {"make repro", "make test", "scriptsight run my-videos", "scriptsight sweep --apply"} <= found
    assert len(found) > 25


def test_the_test_command_of_the_readme_is_that_of_ci() -> None:
    ran = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    assert "make test" in ran
    assert ("README.md", "make test") in commands()


def test_each_command_of_scriptsight_has_its_place_in_the_reference() -> None:
    page = (ROOT / "docs/reference/command-line.md").read_text(encoding="utf-8")
    listed = re.findall(r"^  ([a-z]+)  +", generated.help_text("scriptsight"), re.MULTILINE)
    assert len(listed) >= 2
    for name in listed:
        assert f"<!-- generated: help scriptsight {name} -->" in page


def plain(block: str) -> dict[str, Any]:
    """The values of a block of YAML."""
    values: dict[str, Any] = YAML(typ="safe", pure=True).load(block)
    return values


@pytest.mark.parametrize(("page", "block"), list(blocks("yaml")))
def test_a_block_of_yaml_fits_the_parameters(page: str, block: str) -> None:
    """As overrides of a workspace, or as collections where it has no section."""
    base, values = reading.read_yaml(ROOT / "params.yaml"), plain(block)
    if not values.keys() <= base.keys():
        collections: Mapping[str, Any] = base["ingest"]["collections"] | values
        values = {"ingest": {"collections": collections}}
    parameters.build(parameters.laid_over(base, values), page)


def test_each_kind_of_collection_is_shown() -> None:
    shown = set(re.findall(r"kind: ([a-z0-9_]+)", "\n".join(block for _, block in blocks("yaml"))))
    page = generated.kinds("scriptsight.params.collections.Collection")
    kinds = set(re.findall(r"^#### `kind: (\w+)`$", page, re.MULTILINE))
    assert len(kinds) > 10
    assert kinds - {"world"} <= shown  # the world is the default's, in params.yaml


def test_the_library_example_is_the_first_python_of_the_readme() -> None:
    page, block = next(blocks("python"))
    assert page == "README.md"
    lines = [line for line in block.splitlines() if line]
    assert lines[0] == "import scriptsight" and len(lines) <= 7
    compile(block, page, "exec")


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 110
    assert max(map(len, text.splitlines())) <= 160


def test_each_section_and_key_of_the_parameters_is_in_the_reference() -> None:
    page = generated.on_page_markdown((ROOT / "docs/reference/parameters.md").read_text(encoding="utf-8"))
    base = reading.read_yaml(ROOT / "params.yaml")
    for name, values in base.items():
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        for key in values:
            assert f"| `{key}` |" in section, f"{name}.{key}"


def test_comments_beside_fields_are_their_meanings() -> None:
    source = (
        "class Some:\n"
        "    one: int  # the first\n"
        "    two: str = 'a'\n"
        "    # of two,\n"
        "    # in two lines\n"
        "    three: int = 3  # the third\n"
        "    # of four\n"
        "    four: dict = field(\n"
        "        default=dict,\n"
        "    )\n"
        "    five: int\n"
    )
    assert generated.comments(source) == {
        "one": "the first",
        "two": "of two, in two lines",
        "three": "the third",
        "four": "of four",
        "five": "",
    }


def _keys(values: Mapping[str, Any]) -> Iterator[str]:
    for key, value in values.items():
        yield key
        if isinstance(value, Mapping):
            yield from _keys(value)


@pytest.mark.parametrize("stage", figures.STAGES)
def test_each_figure_is_explained(stage: str) -> None:
    page = (ROOT / "docs/reference/figures.md").read_text(encoding="utf-8")
    section = page.split(f"## metrics/{stage}.json")[1].split("\n## ")[0]
    names = set(re.findall(r"[A-Za-z0-9_]+", " ".join(re.findall(r"`([^`]+)`", section))))
    values = json.loads((ROOT / f"metrics/{stage}.json").read_text(encoding="utf-8"))
    values.pop("cleaned", None)
    values.pop("collections", None)
    for key in _keys(values):
        key = re.sub(r"_(low|high)$", "", re.sub(r"^\d+_shot", "K_shot", key))
        disturbed = re.fullmatch(r"(shuffled|reversed|first_frame)_top1", key) and "disturbed" in names
        assert key in names or disturbed, f"metrics/{stage}.json: {key}"


def test_each_environment_variable_of_the_project_is_listed() -> None:
    page = (ROOT / "docs/reference/environment.md").read_text(encoding="utf-8")
    code = "\n".join(
        path.read_text(encoding="utf-8") for top in ("src", "flows") for path in (ROOT / top).rglob("*.py")
    )
    found = set(re.findall(r"\bSCRIPTSIGHT_[A-Z_]+\b", code))
    assert len(found) >= 4
    for name in found:
        assert f"`{name}`" in page


class _Loaded(HTMLParser):
    """Addresses that a browser fetches by itself when it opens a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source"):
            self.found += [given.get("src") or ""]
        if tag == "link" and given.get("rel") in ("stylesheet", "icon", "preconnect", "preload"):
            self.found += [given.get("href") or ""]


def test_the_site_builds_strictly_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = run(sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site"))
    assert done.returncode == 0, done.stderr[-3000:]
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        loaded = _Loaded()
        loaded.feed(page.read_text(encoding="utf-8"))
        assert not [address for address in loaded.found if re.match(r"(https?:)?//", address)], page
    for style in (tmp_path / "site").rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", style.read_text(encoding="utf-8")), style
