import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from scriptsight import cli
from scriptsight.cli import main
from tests import small
from tests.conftest import MakeVideo


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return small.searchable(tmp_path, said="moves \x1b[31mleft")


PLACE = ("segment_id", "collection", "split", "label", "language")  # of a moment


def where(workspace: Path) -> list[str]:
    return ["--index", f"{workspace}/models/index", "--model", f"{workspace}/models/pretrained"]


def search(workspace: Path, *more: str) -> int:
    return main(["search", "the red circle", *where(workspace), *more])


def test_search_prints_a_table(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(workspace) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["video", "time", "score", "split", "words"]
    assert len(lines) == 2
    assert all("0:10.0 - 0:13.0" in line and "  c/test  " in line for line in lines)
    red = next(line for line in lines if line.startswith("videos/red.mp4"))
    assert red.endswith("the red circle / moves [31mleft")  # data can't steer the terminal


def test_search_prints_json(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(workspace, "--json", "--top", "1") == 0
    (moment,) = json.loads(capsys.readouterr().out)
    assert set(moment) == {"uri", "start", "end", "score", "cue", "text", *PLACE}
    assert [moment[name] for name in PLACE] == [moment["segment_id"], "c", "test", None, None]


def found(workspace: Path, capsys: pytest.CaptureFixture[str], *asked: str) -> list[str]:
    """The ids of the moments that a search prints."""
    assert main(["search", *asked, *where(workspace), "--json"]) == 0
    return [moment["segment_id"] for moment in json.loads(capsys.readouterr().out)]


def test_search_by_example_by_video_and_by_words(
    workspace: Path, make_video: MakeVideo, capsys: pytest.CaptureFixture[str]
) -> None:
    assert found(workspace, capsys, "--moment", "small/red/0") == ["small/blue/0"]
    path = make_video(workspace / "-clip.mp4", seconds=2)
    assert len(found(workspace, capsys, "--video", str(path))) == 2
    assert found(workspace, capsys, "square", "--by", "words") == ["small/blue/0"]
    assert found(workspace, capsys, "anything", "--said", "moves circle", "--collection", "c") == ["small/red/0"]


def test_a_search_without_a_hit_says_so(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(workspace, "--said", "zebra", "--split", "test") == 0
    assert capsys.readouterr().out == "No moment was found; filters: split test, said 'zebra'.\n"
    assert search(workspace, "--said", "zebra", "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == [] and "No moment was found; filters: said 'zebra'." in captured.err
    assert main(["search", "zebra", "--by", "words", *where(workspace)]) == 0
    assert capsys.readouterr().out == "No moment was found.\n"


def test_a_search_that_can_not_rank_says_so_and_ranks_nothing(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("CLOSE", -1.0), ("ALIKE", 3.0)):  # what no scores reach
        monkeypatch.setattr(sys.modules["scriptsight.retrieve.search"], name, value)
    assert search(workspace) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("All 2 moments score alike (") and "--by words" in line
    assert search(workspace, "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == [] and "score alike" in captured.err


@pytest.mark.parametrize("asked", [[], ["red", "--moment", "small/red/0"], ["red", "--by", "ear"]])
def test_search_takes_one_query(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["search", *asked])
    assert "usage: scriptsight search" in capsys.readouterr().err


def test_embed_writes_vectors_of_windows(
    workspace: Path, make_video: MakeVideo, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [str(make_video(workspace / f"{name}.mp4", seconds=seconds)) for name, seconds in (("a", 2), ("b", 5))]
    out = workspace / "vectors.npz"
    command = ["embed", *paths, "--out", str(out), "--window", "2.5", "--model", f"{workspace}/models/pretrained"]
    assert main(command) == 0
    assert capsys.readouterr().out == f"{out}: 3 vectors of 8 from 2 videos\n"
    with np.load(out, allow_pickle=False) as written:
        assert written["files"].tolist() == [paths[0], paths[1], paths[1]]
        assert written["starts"].tolist() == [0, 0, 2.5] and written["ends"].tolist() == [2, 2.5, 5]
        assert written["vectors"].dtype == np.float32
        assert np.linalg.norm(written["vectors"], axis=1) == pytest.approx(1, abs=1e-6)
        assert not np.allclose(written["vectors"][1], written["vectors"][2], atol=1e-4)  # another part of the video


def test_embed_names_the_file_that_fails(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = workspace / "broken.mp4"
    broken.write_bytes(b"no video at all" * 100)
    out = workspace / "vectors.npz"
    assert main(["embed", str(broken), "--out", str(out), "--model", f"{workspace}/models/pretrained"]) == 1
    assert "broken.mp4" in capsys.readouterr().err and not out.exists()


def test_an_input_error_is_one_line_and_status_1(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(workspace, "--index", f"{workspace}/nowhere") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("scriptsight search: There is no index in") and captured.err.count("\n") == 1


def test_defaults_are_those_of_the_workspace(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(workspace)
    assert main(["search", "blue"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


# ------------------------------------------------------------------------------- all commands, and their help


PROJECT = Path(__file__).resolve().parents[1]
OWN = ("search", "embed")
OF_THE_CHECKOUT = (
    *("automations", "better", "compare", "doctor", "drift", "language"),
    *("mlflow", "new", "register", "run", "sweep", "ui"),
)
HEAVY = ("torch", "numpy", "pydantic", "prefect", "mlflow", "dvc", "optuna", "matplotlib", "psutil", "yaml")


def helped(capsys: pytest.CaptureFixture[str], *typed: str) -> str:
    with pytest.raises(SystemExit, match="0"):
        main([*typed, "--help"])
    return capsys.readouterr().out


@pytest.mark.parametrize("name", [*OWN, *OF_THE_CHECKOUT])
def test_each_command_says_what_it_is_for_and_shows_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The example is one that the command takes; an argument that was renamed would be refused."""
    of_the_checkout = {entry.name: entry.load() for entry in metadata.entry_points(group=cli.GROUP)}
    configure = {**cli.OWN, **of_the_checkout}[name]
    usage, about, *_, examples = helped(capsys, name).split("\n\n")
    assert usage.startswith(f"usage: scriptsight {name} [-h]")
    assert about.endswith((".", "?"))
    head, *lines = examples.splitlines()
    assert head == ("example:" if len(lines) == 1 else "examples:")
    for line in lines:
        program, *typed = shlex.split(line, comments=True)
        assert (program, typed[0]) == ("scriptsight", name)
        parser = argparse.ArgumentParser(exit_on_error=False)
        configure(parser)
        parser.parse_args(typed[1:])


def test_help_lists_the_commands_in_their_groups(capsys: pytest.CaptureFixture[str]) -> None:
    text = helped(capsys)
    trained, checkout = text.index("with a trained model:"), text.index("in the project's checkout:")
    assert all(trained < text.index(f"\n  {name} ") < checkout for name in OWN)
    assert all(checkout < text.index(f"\n  {name} ") for name in OF_THE_CHECKOUT)
    assert '  scriptsight search "the red circle' in text[text.index("examples:") :]
    assert max(len(line) for line in text.splitlines()) <= 85
    with pytest.raises(SystemExit, match="0"):
        main([])
    assert capsys.readouterr().out == text


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"scriptsight {metadata.version('scriptsight')}\n"


def test_help_waits_for_nothing_heavy() -> None:
    """Not even for flows' own modules, which import Prefect and pydantic: only for the list of its commands."""
    code = f"""
import io, sys
from contextlib import redirect_stdout
from scriptsight.cli import main
for typed in ([], *([name] for name in {(*OWN, *OF_THE_CHECKOUT)})):
    with redirect_stdout(io.StringIO()) as out:
        try: main([*typed, "--help"])
        except SystemExit: pass
    assert out.getvalue().startswith("usage: scriptsight"), out.getvalue()
print(*(name for name in {HEAVY} if name in sys.modules))
print(*sorted(name for name in sys.modules if name.partition(".")[0] == "flows"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["", "flows flows.commands"]


def test_the_module_is_the_command() -> None:
    typed = [sys.executable, "-m", "scriptsight", "search", "--help"]
    result = subprocess.run(typed, capture_output=True, text=True, check=False)  # noqa: S603
    assert result.returncode == 0, result.stderr
    assert "usage: scriptsight search" in result.stdout


@pytest.mark.parametrize(("typed", "meant"), [("serch", "search"), ("swep", "sweep"), ("dance", None)])
def test_an_unknown_command_is_refused(typed: str, meant: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([typed, "--top", "3"])
    message = capsys.readouterr().err
    assert f"invalid choice: '{typed}' (choose from 'search', 'embed'" in message and "'sweep'" in message
    assert message.endswith(f" Did you mean '{meant}'?\n" if meant else "'ui').\n")


@pytest.fixture
def without_a_checkout(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command where the library is installed as from a wheel: its metadata is there, `flows` is not."""
    table = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    installed = tmp_path / "installed"
    (installed / "scriptsight-1.2.dist-info").mkdir(parents=True)
    shutil.copytree(PROJECT / "src" / "scriptsight", installed / "scriptsight")
    (installed / "scriptsight-1.2.dist-info" / "METADATA").write_text("Name: scriptsight\nVersion: 1.2\n")
    entries = [f"{name} = {where}\n" for name, where in table["entry-points"]["scriptsight.commands"].items()]
    (installed / "scriptsight-1.2.dist-info" / "entry_points.txt").write_text(
        "[scriptsight.commands]\n" + "".join(entries)
    )

    def run(*typed: str) -> subprocess.CompletedProcess[str]:
        # -S: without site-packages, in which the checkout is installed
        command = [sys.executable, "-S", "-m", "scriptsight", *typed]
        own = {**os.environ, "PYTHONPATH": str(installed)}
        return subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True, check=False)  # noqa: S603

    return run


@pytest.mark.parametrize("name", OF_THE_CHECKOUT)
def test_what_needs_the_checkout_says_so(
    name: str, without_a_checkout: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    for typed in ([name], [name, "--help"]):
        done = without_a_checkout(*typed)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"scriptsight {name}: this needs the project's checkout")
        assert "Clone the repository" in done.stderr and "`make repro`" in done.stderr
        assert done.stderr.count("\n") == 1


def test_help_without_a_checkout(without_a_checkout: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = without_a_checkout("--help")
    assert done.returncode == 0, done.stderr
    assert ", ".join(OF_THE_CHECKOUT) in done.stdout and "not here: clone the repository" in done.stdout
    assert without_a_checkout("--version").stdout == "scriptsight 1.2\n"
    assert without_a_checkout("embed", "--help").stdout.startswith("usage: scriptsight embed")
    assert "Did you mean 'sweep'?" in without_a_checkout("swep").stderr


def test_a_broken_command_is_no_missing_checkout(
    tmp_path: Path, without_a_checkout: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """What its module fails to import is an error of its own, with its traceback."""
    (tmp_path / "flows").mkdir()  # the folder in which the command runs is on Python's path
    (tmp_path / "flows" / "commands.py").write_text("import no_such_module\n")
    done = without_a_checkout("run")
    assert done.returncode == 1 and "checkout" not in done.stderr
    assert "No module named 'no_such_module'" in done.stderr


def test_a_missing_package_is_named_with_the_remedy(
    tmp_path: Path, without_a_checkout: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """As where the checkout was installed without what the pipeline needs."""
    shutil.copytree(PROJECT / "flows", tmp_path / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    done = without_a_checkout("run")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("scriptsight run: The package '") and f"`make env` in {tmp_path}" in done.stderr
