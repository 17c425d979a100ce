"""Files and folders appear whole or not at all."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scriptsight.errors import InputError
from scriptsight.files import whole_file, whole_folder, write_csv, write_json


def test_a_failed_write_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "old").touch()
    with pytest.raises(RuntimeError), whole_file(tmp_path / "a.txt") as partial:
        partial.write_text("half")
        raise RuntimeError
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "b") as partial:
        (partial / "new").touch()
        raise RuntimeError
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["a.txt", "b", "b/old"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_a_folder_is_replaced_and_the_rest_of_a_killed_process_removed(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "old").touch()
    code = """
import os, signal, sys
from pathlib import Path
from scriptsight.files import whole_folder
with whole_folder(sys.argv[1]) as partial:
    (partial / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    for name in ("b", "my-b"):  # what was left of another output stays
        subprocess.run([sys.executable, "-c", code, str(tmp_path / name)], check=False)  # noqa: S603
    assert len(list(tmp_path.glob(".partial-*/half"))) == 2
    with whole_folder(tmp_path / "b") as partial:
        (partial / "new").touch()
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["new"]
    assert [path.name.endswith("-my-b") for path in sorted(tmp_path.iterdir())] == [True, False]


def test_who_writes_the_same_meanwhile_is_not_disturbed(tmp_path: Path) -> None:
    """Other machines have processes of the same number."""
    code = "import sys\nfrom scriptsight.files import whole_folder\nwith whole_folder(sys.argv[1]): pass"
    with whole_folder(tmp_path / "b") as one:
        (one / "mine").touch()
        elsewhere = one.with_name(re.sub("-[0-9a-f]{8}-", "-00000000-", one.name, count=1))
        elsewhere.mkdir()
        subprocess.run([sys.executable, "-c", code, str(tmp_path / "b")], check=True)  # noqa: S603
        assert elsewhere.is_dir()
        assert (one / "mine").exists()
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["mine"]
    with whole_file(tmp_path / "a") as first, whole_file(tmp_path / "a") as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a").read_text() == "first"


def test_a_full_disk_is_told_with_the_file_and_the_remedy(tmp_path: Path) -> None:
    target = tmp_path / "out.json"
    with (
        pytest.raises(InputError, match=rf"disk is full while writing {target}.*Free some space"),
        whole_file(target) as partial,
        Path("/dev/full").open("w") as full,
    ):
        partial.write_text("begun")
        full.write("x" * 100000)
    assert list(tmp_path.iterdir()) == []


def test_a_limit_of_file_sizes_is_told_whoever_writes(tmp_path: Path) -> None:
    """Libraries say it in exceptions of their own."""
    code = """
import resource, sqlite3, sys
from pathlib import Path
import numpy as np, pyarrow as pa, pyarrow.parquet as pq, torch
from safetensors.torch import save_file
from scriptsight.errors import InputError
from scriptsight.files import whole_file, whole_folder
def database(path):
    with sqlite3.connect(path) as opened:
        opened.execute("CREATE TABLE t (x)")
        opened.execute("INSERT INTO t VALUES (zeroblob(100000))")
writers = {
    "text": lambda path: path.write_text("x" * 100000),
    "npy": lambda path: np.save(path, np.zeros(100000)),
    "safetensors": lambda path: save_file({"x": torch.zeros(100000)}, path),
    "parquet": lambda path: pq.write_table(pa.table({"x": np.random.default_rng(0).random(100000)}), path),
    "db": database,
}
resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))
for name, write in writers.items():
    for whole in (whole_file, whole_folder):
        try:
            with whole(Path(sys.argv[1]) / f"out.{name}") as partial:
                write(partial if whole is whole_file else partial / f"a.{name}")
        except InputError as error:
            assert f"out.{name}" in str(error) and "while writing" in str(error), error
        else:
            raise AssertionError(name)
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)  # noqa: S603
    assert list(tmp_path.iterdir()) == []


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), whole_file(tmp_path / "a"):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_json_is_whole_and_has_no_nan(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"r1": 0.5})
    assert json.loads((tmp_path / "a.json").read_text()) == {"r1": 0.5}
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"r1": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"r1": 0.5}


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_no_number_that_is_none_gets_into_a_file(tmp_path: Path, number: float) -> None:
    with pytest.raises(InputError, match=r"a\.json is not written: t2v/r1 would be NaN or infinite"):
        write_json(tmp_path / "a.json", {"t2v": {"r1": number}, "n": 1})
    with pytest.raises(InputError, match=r"a\.csv is not written: loss would be NaN or infinite"):
        write_csv(tmp_path / "a.csv", ["step", "loss"], [[1, 0.5], [2, number]])
    assert list(tmp_path.iterdir()) == []
