"""Addresses of MLflow that can't be used are told at once, in one message."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from flows.tracking import store
from scriptsight.errors import InputError

NO_PORT = "127.0.0.1:9"


@pytest.mark.parametrize(
    ("address", "match"),
    [
        ("postgresql://me:secret@127.0.0.1:9/mlflow", r"driver psycopg2 is not installed.*postgresql\+psycopg://"),
        ("mysql://me:secret@127.0.0.1:9/mlflow", "driver MySQLdb is not installed"),
        (f"postgresql+psycopg://me:secret@{NO_PORT}/mlflow", "refused.*correct or unset MLFLOW_TRACKING_URI"),
        ("postgresql+psycopg://me:secret@nowhere.invalid/mlflow", "can't be used"),
        ("postgresql+nothing://me:secret@127.0.0.1/mlflow", "nothing"),
        ("postgresql+psycopg://me:secret@127.0.0.1:port/mlflow", "can't be used"),
        (f"http://me:secret@{NO_PORT}", "does not answer"),
        ("htpp://me:secret@127.0.0.1", "can't be used"),
        ("no address", "can't be used"),
        ("sqlite:////proc/mlflow.db", "can't be made"),
    ],
)
def test_an_address_that_can_not_be_used_is_told_within_seconds(
    address: str, match: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    since = time.monotonic()
    with pytest.raises(InputError, match=match) as found, store.opened() as client:
        client.search_experiments()
    assert time.monotonic() - since < 20
    assert "secret" not in str(found.value) and "\n" not in str(found.value)


def test_a_database_server_that_says_nothing_is_waited_for_in_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        since = time.monotonic()
        with pytest.raises(InputError, match="can't be used"):
            store.require_answer(f"postgresql+psycopg://me@127.0.0.1:{mute.getsockname()[1]}/mlflow")
        assert time.monotonic() - since < 20
