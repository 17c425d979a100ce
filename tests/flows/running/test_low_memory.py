"""A stage that gets too little memory says so, and ends; it neither hangs nor dies of a library's words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flows.running.processes import exit_on_error
from tests import small

resource = pytest.importorskip("resource")
FEW = 1_500 * 2**20  # bytes of addresses


@pytest.mark.parametrize("stage", ["ingest", "pretrain"])
def test_a_stage_with_few_addresses_ends_with_a_message(tmp_path: Path, stage: str) -> None:
    (tmp_path / "params.yaml").write_bytes((small.PROJECT / "params.yaml").read_bytes())
    ended = subprocess.run(  # noqa: S603
        [sys.executable, "-m", f"flows.{stage}"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{small.PROJECT / 'src'}:{small.PROJECT}", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (FEW, FEW)),
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"{stage}: Processes may have 1.5 GiB of memory here (ulimit -v)")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("can't start new thread"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        OSError(12, "Cannot allocate memory"),
        ImportError("libtorch.so: failed to map segment from shared object"),
    ],
)
def test_memory_that_runs_out_is_one_message_with_what_helps(error: Exception) -> None:
    with (
        pytest.raises(SystemExit, match=r"ingest: memory or threads ran out .*Lower `workers`"),
        exit_on_error("ingest"),
    ):
        raise error


def test_other_errors_keep_their_traceback() -> None:
    with pytest.raises(RuntimeError, match="a fault"), exit_on_error("ingest"):
        raise RuntimeError("a fault")
