"""Judgements of people: what is kept, what counts, and what becomes of damage, kills and hostile texts."""

from __future__ import annotations

import csv
import io
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from scriptsight import judgements
from scriptsight.errors import InputError
from scriptsight.judgements import BACK, DOWN, UP, Judgement, Query, Store, Stretch

RED = Query("the red circle")
HERE = Stretch("c", "videos/a.mp4", 10.0, 20.0)


def thumb(
    number: int = 0, verdict: int = UP, who: str = "ada", stretch: Stretch = HERE, query: Query = RED
) -> Judgement:
    """A judgement of second `number`."""
    return Judgement(
        who,
        verdict,
        query,
        stretch,
        "c/a/0",
        "default",
        "0" * 64,
        1,
        0.5,
        f"2026-12-01T00:00:{number:02}.000000+00:00",
    )


def test_judgements_come_back_as_they_were_given_and_none_twice(tmp_path: Path) -> None:
    store = Store(tmp_path / "w" / "judgements.db")
    assert store.read() == []
    like = Query(like=HERE, collections=("c", "b"), said="Ünï \" ' ; DROP TABLE judgements; --")
    given = [thumb(1), thumb(2, DOWN, query=like), thumb(3, BACK), replace(thumb(4), rank=None, score=None)]
    assert store.add(*given) == 4 and store.add(*given) == 0
    read = store.read()
    assert [one.query.key for one in read] == [one.query.key for one in given]
    assert read[0] == given[0] and read[3] == given[3]
    assert store.read(like.key)[0].query.collections == ("b", "c")
    assert len(store.read(RED.key)) == 3
    assert (tmp_path / "w" / ".gitignore").read_text() == "*\n"


def test_equal_queries_have_one_key() -> None:
    assert Query("the  red circle ", labels=("b", "a")).key == Query("the red circle", labels=("a", "b", "a")).key
    keys = {RED.key, replace(RED, by="both").key, replace(RED, said="red").key, Query(like=HERE).key}
    assert len(keys) == 4
    assert replace(RED, by="both", said="red").need == RED.need != Query(like=HERE).need
    assert Query.from_json(Query(like=HERE, splits=("test",)).as_json()) == Query(like=HERE, splits=("test",))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (replace(thumb(), verdict=2), "verdict"),
        (replace(thumb(), who=" "), "name has 1 to 80"),
        (replace(thumb(), who="a\nb"), "can be printed"),
        (replace(thumb(), stretch=replace(HERE, end=1.0)), "begins before it ends"),
        (replace(thumb(), stretch=replace(HERE, end=float("inf"))), "begins before it ends"),
        (replace(thumb(), query=Query()), "is of a query"),
        (replace(thumb(), query=Query("a", clip="0" * 64)), "one of them"),
        (replace(thumb(), query=Query(clip="../../etc/passwd")), "no digest of a clip"),
        (replace(thumb(), query=Query("a", by="magic")), "not by 'magic'"),
        (replace(thumb(), query=Query("a" * 20_000)), "too long"),
        (replace(thumb(), at="yesterday"), "no time"),
        (replace(thumb(), at="2026-12-01T00:00:00.000000+01:00"), "no time"),
        (replace(thumb(), score=float("nan")), "score"),
    ],
)
def test_what_is_no_judgement_is_not_kept(tmp_path: Path, wrong: Judgement, says: str) -> None:
    store = Store(tmp_path / "judgements.db")
    with pytest.raises(InputError, match=says):
        store.add(thumb(1), wrong)
    assert store.read() == []


# ------------------------------------------------------------------------------------------------- what counts


def test_the_latest_word_of_each_person_counts() -> None:
    given = [
        thumb(1),
        thumb(2, DOWN, "bob"),
        thumb(3, DOWN),
        thumb(4, UP, "bob"),
        thumb(5, UP, "cy"),
        thumb(6, BACK, "cy"),
    ]
    (found,) = judgements.opinions(given)
    assert (found.stretch, found.votes, found.gain) == (HERE, {"ada": DOWN, "bob": UP}, 0.5)
    assert judgements.opinions([*given, thumb(7, BACK), thumb(8, BACK, "bob")]) == []
    assert judgements.opinions(reversed(given)) == [found]  # whatever order an import brought them in


def test_a_moment_that_is_shown_a_little_longer_is_the_same() -> None:
    longer, beside = replace(HERE, end=24.0), replace(HERE, start=20.0, end=30.0)
    found = judgements.opinions([thumb(1), thumb(2, BACK, stretch=longer), thumb(3, DOWN, stretch=beside)])
    assert [(one.stretch, one.votes) for one in found] == [(beside, {"ada": DOWN})]


def test_a_stretch_has_the_opinion_on_what_it_overlaps_most_or_lies_within() -> None:
    known = judgements.opinions([thumb(1), thumb(2, DOWN, stretch=replace(HERE, start=20.0, end=62.0))])
    right, wrong = known
    for start, end, expected in (
        (10.0, 20.0, right),
        (12.0, 22.0, right),  # 8 of 12 seconds
        (15.0, 27.0, None),  # 5 of 17, and 7 of 47
        (14.0, 15.0, right),  # a part
        (30.0, 32.0, wrong),
        (0.0, 100.0, None),  # most of it was never looked at
    ):
        assert judgements.opinion_on(replace(HERE, start=start, end=end), known) is expected
    assert judgements.opinion_on(replace(HERE, uri="videos/b.mp4"), known) is None
    assert judgements.opinion_on(replace(HERE, collection="d"), known) is None


# ------------------------------------------------------------------------------------------------------ the file

WRITER = """
import sys
from pathlib import Path
from tests.test_judgements import thumb
from scriptsight.judgements import Store
from dataclasses import replace
store = Store(Path(sys.argv[1]))
for number in range(int(sys.argv[2])):
    store.add(*(replace(thumb(part), who=f"{sys.argv[3]} {number}") for part in range(3)))
    print(number, flush=True)
"""


def writer(path: Path, count: int, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(count), name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603


def test_a_writer_that_is_killed_leaves_what_it_said_was_kept_and_no_half(tmp_path: Path) -> None:
    path = tmp_path / "judgements.db"
    said = 0
    for turn in range(3):
        process = writer(path, 100_000, f"turn {turn}")
        assert process.stdout
        for _ in range(4 + 3 * turn):
            process.stdout.readline()
        time.sleep(0.001 * turn)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        said += 4 + 3 * turn + len(process.stdout.read().splitlines())
        process.stdout.close()
    names = [one.who for one in Store(path).read()]
    assert all(names.count(name) == 3 for name in set(names))
    assert said <= len(set(names)) <= said + 3  # the last of each turn may have been kept before it was said
    assert Store(path).add(thumb(9)) == 1


def test_processes_and_threads_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "judgements.db"
    processes = [writer(path, 10, name) for name in ("one", "two")]

    def write(name: str) -> None:
        for number in range(10):
            Store(path).add(thumb(number, who=name))

    threads = [threading.Thread(target=write, args=(f"thread {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert len(Store(path).read()) == 2 * 10 * 3 + 4 * 10


def test_reading_changes_no_byte(tmp_path: Path) -> None:
    """DVC would take it for a judgement."""
    store = Store(tmp_path / "judgements.db")
    store.add(thumb())
    before = store.path.read_bytes()
    store.read()
    store.add(thumb())  # which is there already
    assert store.path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == [".gitignore", "judgements.db"]


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "page", "foreign", "row"])
def test_damage_is_named_with_its_remedy_and_nothing_is_replaced(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path / "judgements.db")
    store.add(*(thumb(number % 60, who=f"person {number}") for number in range(200)))
    content = store.path.read_bytes()
    if damage == "foreign":
        store.path.unlink()
        with sqlite3.connect(store.path) as other:
            other.execute("CREATE TABLE other (a)")
        other.close()
    elif damage == "row":
        with sqlite3.connect(store.path) as other:
            other.execute("UPDATE judgements SET query = '{}' WHERE id = 7")
        other.close()
    else:
        spoilt = {"cut": content[:5000], "empty": b"", "text": b"hello" * 2000}.get(
            damage, content[:8192] + b"\xff" * 4096 + content[12288:]
        )
        store.path.write_bytes(spoilt)
    before = store.path.read_bytes()
    with pytest.raises(InputError, match=r"judgements\.db is damaged.*--import"):
        store.read()
    if damage not in ("page", "row", "cut"):  # the others may take more: reading says what is wrong
        with pytest.raises(InputError, match=r"judgements\.db is damaged"):
            store.add(thumb(1))
        assert store.path.read_bytes() == before


def test_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "judgements.db")
    store.add(thumb())
    with sqlite3.connect(store.path) as newer:
        newer.execute("PRAGMA user_version = 2")
    newer.close()
    with pytest.raises(InputError, match="format 2, this version reads 1: update scriptsight"):
        store.read()


def test_a_full_disk_and_a_folder_that_is_none_are_told(tmp_path: Path) -> None:
    store = Store(tmp_path / "judgements.db")
    store.add(thumb())
    limited = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (12000, 12000)); exec(sys.argv.pop(1))"
    )
    command = [sys.executable, "-c", limited, WRITER, str(store.path), "500", "x"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert ended.returncode and "while writing" in ended.stderr and "Free some space" in ended.stderr, ended.stderr
    assert len(store.read()) == 1 + 3 * len(ended.stdout.splitlines())
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="can't be read and written"):
        Store(tmp_path / "file" / "judgements.db").add(thumb())


def test_a_busy_file_is_waited_for_and_then_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judgements, "PATIENCE", 0.1)
    store = Store(tmp_path / "judgements.db")
    store.add(thumb())
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(InputError, match="is busy"):
        store.add(thumb(1))
    other.close()
    assert store.add(thumb(1)) == 1


# ---------------------------------------------------------------------------------------------------------- CSV


def test_a_table_comes_back_and_no_cell_is_a_formula() -> None:
    hostile = [
        thumb(1, who="=1+1"),
        thumb(2, query=Query('=HYPERLINK("http://x";"y")')),
        thumb(3, query=Query("'quoted, with\nlines"), stretch=replace(HERE, uri="@SUM(A1)")),
        replace(thumb(4, BACK, query=Query(like=HERE)), rank=None, score=-0.25, segment_id="+c/a/0"),
    ]
    text = judgements.to_csv(hostile)
    for line in csv.reader(io.StringIO(text)):
        assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for cell in line)
    assert [one.as_json() for one in (one.query for one in judgements.from_csv(text, "x"))] == [
        one.query.as_json() for one in hostile
    ]
    assert [replace(one, query=RED) for one in judgements.from_csv("\ufeff" + text, "x")] == [
        replace(one, query=RED) for one in hostile
    ]
    saved = judgements.to_csv(judgements.from_csv(text, "x"))
    assert judgements.to_csv(judgements.from_csv(saved, "x")) == saved


def test_a_wrong_line_is_named() -> None:
    good = judgements.to_csv([thumb(1), thumb(2)])
    for spoilt, says in (
        (good.replace(",up,", ",fine,", 1), "line 2, is no judgement: A verdict"),
        (good.replace("10.0,20.0", "ten,20.0", 1), "line 2"),
        (good.replace('{""by', "[", 1), "line 2.*no query"),
        (good.rstrip("\n").rpartition(",")[0], "line 3.*too few"),
        ("a,b\n1,2\n", "no column"),
    ):
        with pytest.raises(InputError, match=says):
            judgements.from_csv(spoilt, "table.csv")
