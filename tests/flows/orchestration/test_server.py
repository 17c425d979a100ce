"""Which Prefect server records a run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows import reachable
from flows.orchestration import server
from scriptsight.errors import InputError
from tests.flows.conftest import stop


def test_a_dead_prefect_server_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://someone:secret@127.0.0.1:9/api")
    monkeypatch.setenv("PREFECT_PROFILE", "")  # restored afterwards
    assert not server.from_environment()
    said = capsys.readouterr().err
    assert "PREFECT_API_URL=http://***@127.0.0.1:9/api does not answer" in said


def test_two_servers_that_start_at_once_share_a_new_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    started = [server.own() for _ in range(2)]
    try:
        for url, process in started:
            server.wait(url, process)
    finally:
        for _, process in started:
            process.terminate()
        for _, process in started:
            process.wait(60)


def test_a_server_that_is_started_by_hand_is_let_make_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ours starts while half of the tables are there."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    words = [str(Path(sys.executable).parent / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", port]
    log = (tmp_path / "log").open("wb")
    by_hand = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)  # noqa: S603
    try:
        while not (tmp_path / "prefect.db").exists():
            assert by_hand.poll() is None
            time.sleep(0.01)
        url, process = server.own()
        server.wait(url, process)
        server.wait(f"http://127.0.0.1:{port}/api", by_hand)
        process.terminate()
        process.wait(60)
    finally:
        stop(by_hand)
        log.close()


def test_a_damaged_database_of_prefect_is_told_by_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    (tmp_path / "prefect.db").write_text("no database")
    url, process = server.own()
    with pytest.raises(InputError, match="did not start"):
        server.wait(url, process)
    said = capfd.readouterr().err
    assert f"Prefect's server: Prefect's database {tmp_path}/prefect.db is damaged" in said
    assert "Traceback" not in said


def test_a_temporary_server_ends_with_a_process_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    waiting = (
        "import os, time; from flows.orchestration import server; server.temporary()\n"
        "print(os.environ['PREFECT_API_URL'], flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", waiting], stdout=subprocess.PIPE, text=True)  # noqa: S603
    assert process.stdout
    url = process.stdout.readline().strip()
    assert reachable.answers(url)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60
    while reachable.answers(url, 1):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_server_that_a_profile_names_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("PREFECT_PROFILE", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    (tmp_path / "profiles.toml").write_text(
        'active = "team"\n[profiles.team]\nPREFECT_API_URL = "http://team:4200/api"\n[profiles.alone]\n'
    )
    server.temporary()
    assert "PREFECT_API_URL" not in os.environ  # none was started
    monkeypatch.setenv("PREFECT_PROFILE", "alone")
    assert not server._in_profile()
