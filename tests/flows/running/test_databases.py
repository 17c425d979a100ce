"""Databases of MLflow, Optuna and Prefect: whole whenever their maker is killed, and never overwritten."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from flows.experiments.sweep import study
from flows.running import databases
from flows.tracking import store
from scriptsight.errors import InputError

MAKE = {  # what makes each in the folder where it runs
    "mlflow.db": "from flows.tracking import store; store.ensure_database('sqlite:///mlflow.db')",
    "optuna.db": "from flows.experiments.sweep import study; study._ensure_database('sqlite:///optuna.db')",
    "prefect.db": (
        "import os; os.environ['PREFECT_HOME'] = os.getcwd()\n"
        "from flows.orchestration import server; server.ensure_database()"
    ),
}


def start(name: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", MAKE[name]], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def make(name: str, folder: Path) -> str:
    """Make a database in a process of its own -> what that printed."""
    process = start(name, folder)
    said = "".join(process.communicate(timeout=120))
    assert process.returncode == 0, said
    return said


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as database:
        found = database.execute(query).fetchall()
        database.commit()
    return found


def schema(path: Path) -> list[tuple[object, ...]]:
    return rows(path, "SELECT type, name FROM sqlite_master ORDER BY 1, 2")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three of them."""
    folder = tmp_path_factory.mktemp("whole")
    for name in MAKE:
        make(name, folder)
    return folder


@pytest.fixture
def mlflow(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole database of MLflow in the current folder, with a run in it."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(whole / "mlflow.db", tmp_path)
    rows(tmp_path / "mlflow.db", "INSERT INTO experiments(experiment_id, name) VALUES (7, 'seven')")
    rows(tmp_path / "mlflow.db", "INSERT INTO runs(run_uuid, experiment_id) VALUES ('abc', 7)")
    return tmp_path / "mlflow.db"


@pytest.mark.parametrize("kills", [1, pytest.param(5, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", MAKE)
def test_a_killed_maker_leaves_nothing_or_a_whole_database(
    name: str, kills: int, whole: Path, tmp_path: Path
) -> None:
    """Killed while it makes the tables: once soon after its first byte, and at five moments of the second from it."""
    moments = random.Random(0)
    killed = 0
    for _ in range(kills):
        (tmp_path / name).unlink(missing_ok=True)
        maker = start(name, tmp_path)
        while maker.poll() is None and not any(tmp_path.glob(f".partial-*-{name}")):
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.2 * kills))
        maker.kill()
        maker.communicate()
        killed += maker.returncode == -signal.SIGKILL
        assert not (tmp_path / name).exists() or schema(tmp_path / name) == schema(whole / name)
    assert killed
    make(name, tmp_path)
    assert schema(tmp_path / name) == schema(whole / name)
    assert sorted(path.name for path in tmp_path.glob(f"*{name}*")) == [f".{name}.lock", name]


@pytest.mark.parametrize("name", MAKE)
def test_makers_that_begin_at_once_make_one(name: str, whole: Path, tmp_path: Path) -> None:
    makers = [start(name, tmp_path) for _ in range(3)]
    said = [maker.communicate(timeout=600) for maker in makers]
    assert [maker.returncode for maker in makers] == [0, 0, 0], said
    assert schema(tmp_path / name) == schema(whole / name)


@pytest.mark.parametrize("name", MAKE)
def test_a_database_that_is_whole_stays_as_it_is(name: str, whole: Path, tmp_path: Path) -> None:
    before = Path(shutil.copy(whole / name, tmp_path)).read_bytes()
    inode = (tmp_path / name).stat().st_ino
    assert make(name, tmp_path) == ""
    assert ((tmp_path / name).read_bytes(), (tmp_path / name).stat().st_ino) == (before, inode)


# ------------------------------------------------------------------------------------- older and damaged ones

OLDER_MLFLOW = """
from alembic import command
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base
engine = utils.create_sqlalchemy_engine('sqlite:///mlflow.db')
Base.metadata.create_all(engine)
config = utils._get_alembic_config('sqlite:///mlflow.db')
with engine.begin() as connection:
    config.attributes['connection'] = connection
    command.upgrade(config, 'cc1f77228345')
"""


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """MLflow's database as an older version of it made it, with a run in it."""
    subprocess.run([sys.executable, "-c", OLDER_MLFLOW], cwd=tmp_path, check=True, capture_output=True)  # noqa: S603
    path = tmp_path / "mlflow.db"
    rows(path, "INSERT INTO experiments(experiment_id, name) VALUES (7, 'seven')")
    rows(path, "INSERT INTO runs(run_uuid, experiment_id, name) VALUES ('abc', 7, 'a run')")
    return path


def test_an_older_database_is_brought_up_to_date_and_kept_beside(older: Path, whole: Path) -> None:
    before = older.read_bytes()
    said = make("mlflow.db", older.parent)
    (kept,) = older.parent.glob("mlflow.db.before-*")
    assert str(kept) in said and kept.read_bytes() == before
    assert {name for _, name in schema(whole / "mlflow.db")} <= {name for _, name in schema(older)}
    assert rows(older, "SELECT run_uuid, name FROM runs") == [("abc", "a run")]
    assert make("mlflow.db", older.parent) == ""


def test_an_upgrade_that_is_killed_leaves_the_older_or_the_newer(older: Path, whole: Path) -> None:
    before = older.read_bytes()
    for number in range(4):
        maker = start("mlflow.db", older.parent)
        while maker.poll() is None and not any(older.parent.glob(".partial-*-mlflow.db")):
            time.sleep(0.002)
        time.sleep(0.15 * number)
        maker.kill()
        maker.communicate()
        assert older.read_bytes() == before or len(schema(older)) >= len(schema(whole / "mlflow.db"))
    make("mlflow.db", older.parent)
    assert rows(older, "SELECT run_uuid, name FROM runs") == [("abc", "a run")]


def test_a_database_in_use_is_not_replaced(older: Path) -> None:
    """Its user would go on writing to the old file."""
    reading = (
        "import sqlite3, sys; database = sqlite3.connect(sys.argv[1]); database.execute('PRAGMA table_info(runs)')\n"
        "print(1, flush=True); input()"
    )
    other = subprocess.Popen([sys.executable, "-c", reading, older], stdin=-1, stdout=-1)  # noqa: S603
    try:
        assert other.stdout and other.stdout.readline()
        with pytest.raises(InputError, match=f"mlflow.db is in use .by process {other.pid}"):
            store.ensure_database(f"sqlite:///{older}")
    finally:
        other.kill()
        other.communicate()


def refused(path: Path, match: str) -> None:
    """The database is refused in one message that names it, and stays as it is."""
    before = path.read_bytes()
    with pytest.raises(InputError, match=match) as found:
        store.ensure_database(f"sqlite:///{path}")
    assert str(path) in str(found.value) and "\n" not in str(found.value)
    assert path.read_bytes() == before
    assert not list(path.parent.glob(".partial-*"))


def test_a_half_made_database_is_told_and_stays(mlflow: Path) -> None:
    """As it was left by a kill while MLflow made it: it says that it is older than its tables are."""
    rows(mlflow, "UPDATE alembic_version SET version_num = 'cc1f77228345'")
    refused(mlflow, r"start that made it was killed .*(duplicate column|already exists).*It holds 1 runs")
    rows(mlflow, "DELETE FROM runs")
    refused(mlflow, "It is empty: move it away")


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ("text", "is damaged .it is no SQLite database"),
        ("short", "is damaged .it is no SQLite database"),
        ("truncated", "is damaged .*malformed"),
        ("scribbled", "is damaged"),
        ("newer", "was written by a newer MLflow .version ffffffffffff"),
    ],
)
def test_a_damaged_database_is_told_and_stays(mlflow: Path, how: str, match: str) -> None:
    content = mlflow.read_bytes()
    match how:
        case "text":
            mlflow.write_text("no database at all\n" * 100)
        case "short":
            mlflow.write_bytes(content[:10])
        case "truncated":
            mlflow.write_bytes(content[: len(content) // 2])
        case "scribbled":
            mlflow.write_bytes(content[:8192] + b"\xff" * 40_000 + content[48_192:])
        case "newer":
            rows(mlflow, "UPDATE alembic_version SET version_num = 'ffffffffffff'")
    refused(mlflow, match)


def test_a_database_of_something_else_gets_no_tables(tmp_path: Path, whole: Path) -> None:
    shutil.copy(whole / "optuna.db", tmp_path)
    refused(tmp_path / "optuna.db", "is not MLflow's database")
    rows(tmp_path / "mine.db", "CREATE TABLE shopping (item)")
    refused(tmp_path / "mine.db", "holds the tables of something else")
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(InputError, match=r"folder\.db is a folder"):
        store.ensure_database(f"sqlite:///{tmp_path}/folder.db")


def test_an_empty_file_becomes_a_database_without_an_older_ones_last_steps(tmp_path: Path, whole: Path) -> None:
    """SQLite plays a journal that it finds into whatever database lies beside it."""
    (tmp_path / "optuna.db").touch()
    (tmp_path / "optuna.db-journal").write_bytes(b"x" * 600)
    study._ensure_database(f"sqlite:///{tmp_path}/optuna.db")
    assert schema(tmp_path / "optuna.db") == schema(whole / "optuna.db")
    assert not (tmp_path / "optuna.db-journal").exists()


def test_a_link_to_a_database_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "optuna.db").symlink_to(tmp_path / "elsewhere" / "optuna.db")
    study._ensure_database(f"sqlite:///{tmp_path}/optuna.db")
    assert (tmp_path / "optuna.db").is_symlink() and schema(tmp_path / "elsewhere" / "optuna.db")


def test_a_disk_that_is_full_is_told(tmp_path: Path) -> None:
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n" + MAKE["optuna.db"]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", limited], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert "InputError: Optuna's database" in done.stderr and "free some space" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".optuna.db.lock"]


@pytest.mark.parametrize(
    "address", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=ro&uri=true", "http://h"]
)
def test_what_is_no_file_is_left_to_its_library(address: str) -> None:
    assert databases.file_of(address) is None
