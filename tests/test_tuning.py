"""What is fastest here is measured once, and kept."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from scriptsight import tuning


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCRIPTSIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def works(seconds: float) -> Callable[[], None]:
    """Something that keeps a processor busy for so long."""

    def work() -> None:
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass

    return work


def never() -> dict[str, Callable[[], object]]:
    raise AssertionError("it was measured before")


def test_the_faster_way_is_taken_and_kept() -> None:
    answer = tuning.fastest("which", lambda: {"slow": works(0.02), "fast": works(0.004)})
    assert answer.way == "fast" and answer.seconds["slow"] >= 0.02 > answer.seconds["fast"] >= 0.004
    assert str(answer).startswith("fast ") and "slow 2" in str(answer)
    assert tuning.fastest("which", never) == answer


def test_the_first_way_stays_where_another_is_hardly_faster() -> None:
    ways = {"usual": works(0.02), "other": works(0.0198)}
    assert tuning.fastest("which", lambda: ways).way == "usual"


def test_a_busy_moment_turns_nothing_over() -> None:
    busy = iter([0.02, 0.02, 0.02, *[0.0] * 99])  # in the first rounds the processor has other things to do
    ways = {"usual": lambda: works(0.01 + next(busy))(), "other": works(0.02)}
    assert tuning.fastest("which", lambda: ways).way == "usual"


def test_what_others_do_here_does_not_count() -> None:
    def disturbed() -> None:
        works(0.01)()
        time.sleep(0.05)  # the processor is somebody else's

    assert tuning.fastest("which", lambda: {"usual": disturbed, "other": works(0.02)}).way == "usual"


def test_other_questions_and_other_machines_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(question: str) -> str:
        return tuning.fastest(question, lambda: {question: lambda: None}).way

    assert [asked("one"), asked("two")] == ["one", "two"]
    assert set(tuning.read(tuning.place())) == {"one", "two"}
    before = tuning.place()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert tuning.place() != before and tuning.read(tuning.place()) == {}


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", '{"answers": {"which": {"way": "a"}}}', '{"answers": {"which": 3}}']
)
def test_a_damaged_file_is_measured_anew(text: str) -> None:
    tuning.place().parent.mkdir(parents=True)
    tuning.place().write_text(text)
    assert tuning.fastest("which", lambda: {"a": lambda: None}).way == "a"
    assert json.loads(tuning.place().read_text())["answers"]["which"]["way"] == "a"


def test_without_a_place_to_keep_it_the_answer_is_there_all_the_same(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    assert tuning.fastest("which", lambda: {"a": works(0.01), "b": lambda: None}).way == "b"


def test_processes_that_ask_at_once_measure_once(tmp_path: Path) -> None:
    tally = tmp_path / "tally"
    program = (
        "import sys\nfrom scriptsight import tuning\n"
        f"def work(): open({str(tally)!r}, 'a').write('x')\n"
        "print(tuning.fastest('which', lambda: {'a': work}).way)"
    )
    several = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)  # noqa: S603
        for _ in range(3)
    ]
    assert [one.communicate(timeout=60)[0].strip() for one in several] == ["a"] * 3
    assert 1 + tuning.ROUNDS[0] <= len(tally.read_text()) <= 1 + tuning.ROUNDS[1]
