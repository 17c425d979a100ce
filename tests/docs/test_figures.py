"""Numbers in README.md and docs/ are those of the result files, and a stale one is found."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
from pathlib import Path

import pytest

from docs import figures

ROOT = Path(__file__).resolve().parents[2]


def test_no_number_of_the_documentation_is_stale(capsys: pytest.CaptureFixture[str]) -> None:
    status = figures.main(["--check"])
    assert status == 0, capsys.readouterr().out


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(folder), *words], check=True)  # noqa: S603, S607 - our own words


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project: a page, a result, and a benchmark's result."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "metrics").mkdir()
    (tmp_path / "README.md").write_text(
        "Probe: <!-- figure: probe linear_top1 .3f -->0.5<!-- /figure -->, between\n"
        "<!-- figure: interval probe linear_top1 .2f -->?<!-- /figure -->.\n\n"
        "<!-- figure: table benchmarks --><!-- /figure -->\n"
    )
    (tmp_path / "metrics/probe.json").write_text(
        '{"linear_top1": 0.5625, "linear_top1_low": 0.5, "linear_top1_high": 1}'
    )
    return tmp_path


def test_numbers_are_written(project: Path) -> None:
    assert figures.main([], project) == 0
    text = (project / "README.md").read_text()
    assert "-->0.562<!--" in text
    assert "-->0.50 to 1.00<!--" in text
    assert figures.main(["--check"], project) == 0


def test_a_stale_number_is_named_with_both_values(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert figures.main(["--check"], project) == 1
    said = capsys.readouterr().out
    assert "README.md:1: probe linear_top1 .3f: the page says 0.5, the files say 0.562" in said
    assert "-->0.5<!--" in (project / "README.md").read_text()  # and nothing was changed


def test_the_check_reads_what_git_has_and_not_what_the_last_run_left(project: Path) -> None:
    assert figures.main([], project) == 0
    git(project, "init", "-q")
    git(project, "add", ".")
    (project / "metrics/probe.json").write_text('{"linear_top1": 0.1, "linear_top1_low": 0, "linear_top1_high": 1}')
    assert figures.main(["--check"], project) == 0
    git(project, "add", "metrics")
    assert figures.main(["--check"], project) == 1


def test_a_benchmark_has_a_row_once_its_result_is_there(project: Path) -> None:
    assert figures.main([], project) == 0
    assert "features.py" not in (project / "README.md").read_text()
    results = project / "benchmarks/results"
    results.mkdir(parents=True)
    (results / "features.json").write_text('{"speedup": 3.74, "cosine_min": 0.999971, "processor": "Some CPU"}')
    (results / "SOME_GPU.json").write_text('{"gpu": "Some GPU", "speedup": 7.12, "ours": {"mfu": 0.41}}')
    assert figures.main([], project) == 0
    text = (project / "README.md").read_text()
    assert "| 3.7x; 0.99997 | Some CPU | `OMP_NUM_THREADS=1 python benchmarks/features.py` |" in text
    assert "on Some GPU" in text and "| 7.1x; 0.41 |" in text


def test_a_result_of_another_program_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "benchmarks/results").mkdir(parents=True)
    (project / "benchmarks/results/features.json").write_text('{"speed": 1}')
    assert figures.main([], project) == 1
    assert "benchmarks/results/features.json is not the JSON line of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        ("probe linear_top2 .3f", "README.md:1: metrics/probe.json has no linear_top2"),
        ("retrieve t2v/r1 .3f", "README.md:1: there is no metrics/retrieve.json"),
        ("probe linear_top1", "README.md:1: unknown figure"),
        ("tables benchmarks", "README.md:1: unknown figure"),
        ("table everything", "README.md:1: unknown table"),
        ("probe linear_top1 .3q", "README.md:1: "),
    ],
)
def test_a_mark_that_names_nothing_is_an_error(
    project: Path, capsys: pytest.CaptureFixture[str], mark: str, says: str
) -> None:
    (project / "README.md").write_text(f"<!-- figure: {mark} -->1<!-- /figure -->\n")
    assert figures.main([], project) == 1
    assert says in capsys.readouterr().err


def test_a_mark_without_its_end_is_an_error(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "README.md").write_text("Probe: <!-- figure: probe linear_top1 .3f -->0.562\n")
    assert figures.main([], project) == 1
    assert "1 figures begin, and 0 of them end" in capsys.readouterr().err


def test_how_far_a_method_is_ahead_is_the_paired_t_interval(tmp_path: Path) -> None:
    """Against the textbook formula: the t quantile of two degrees of freedom is 4.303."""
    (tmp_path / "docs").mkdir()
    ours, theirs = (0.5, 0.6, 0.7), (0.4, 0.45, 0.5)
    rows = ["world,budget,objective,seed,loop"]
    rows += [f"undo,steps,tvts,{seed},{value}" for seed, value in enumerate(ours)]
    rows += [f"undo,steps,cpd,{seed},{value}" for seed, value in reversed(list(enumerate(theirs)))]
    (tmp_path / "docs/compare.csv").write_text("\n".join(rows) + "\n")
    found = figures.Figures(figures.Results(tmp_path, staged=False))
    points = [100 * (one - other) for one, other in zip(ours, theirs, strict=True)]
    half = 4.302653 * statistics.stdev(points) / math.sqrt(3)
    assert found.ahead("undo", "steps", "cpd", "loop") == pytest.approx((15, 15 - half, 15 + half), rel=1e-6)
    assert found.text("ahead undo steps cpd loop") == f"15 points ({15 - half:.0f} to {15 + half:.0f})"
    assert found.text("mean undo steps tvts loop") == "0.600"
    assert found.text("range undo steps cpd loop") == "0.400 to 0.500"


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks/results").glob("*.json")), ids=lambda path: path.stem)
def test_kept_results_belong_to_a_benchmark(path: Path) -> None:
    assert path.stem in figures.BENCHMARKS or "gpu" in json.loads(path.read_text(encoding="utf-8"))
