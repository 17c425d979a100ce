"""Which Prefect server records a run."""

from __future__ import annotations

import pytest

from flows.orchestration import server


def test_a_dead_prefect_server_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://someone:secret@127.0.0.1:9/api")
    monkeypatch.setenv("PREFECT_PROFILE", "")  # restored afterwards
    assert not server.from_environment()
    said = capsys.readouterr().err
    assert "PREFECT_API_URL=http://***@127.0.0.1:9/api does not answer" in said
