"""The machine and what is installed on it."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import psutil

from flows import PROJECT
from flows.doctor.findings import Finding, Place, note, ok, problem
from flows.running import git, mending
from flows.running.estimate import processor as name_of_processor
from scriptsight import tuning
from scriptsight.errors import InputError
from scriptsight.params import reading

GIB = 2**30
MEMORY = 4 * GIB  # that a run of the default needs
LEAST_MEMORY = GIB  # free, below which a stage is killed
LEAST_DISK = GIB  # free, where nobody knows what a run will write
TEMPORARY = GIB // 2  # free for what stages write in passing
ASK_SECONDS = 5  # for a program that is asked something
DECODERS = ("h264", "hevc", "vp9", "av1")
ENCODERS = ("libx264", "aac")  # for browsers, of videos that they do not play
SHOWN = 5  # names in a line
MEASURED = 4  # the latest answers that are shown
CGROUP = Path("/sys/fs/cgroup")


def processor(_: Place) -> Iterator[Finding]:
    """Its name, how many cores this process may use, and how busy they are."""
    cores, load = _cores(), os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    text = f"{name_of_processor()}, {cores} cores, of which about {max(0, cores - load):.0f} are free"
    if load > 2 * cores:
        yield note(f"{text}: {load:.0f} processes want them", "end other programs, or expect a run to take longer")
    else:
        yield ok(text)


def _cores() -> int:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = _cgroup("cpu.max").split()
    if len(limit) == 2 and limit[0] != "max":
        return max(1, min(allowed, int(limit[0]) // int(limit[1])))
    return allowed


def _cgroup(name: str) -> str:
    """A limit of the container that this runs in; "" where there is none."""
    try:
        return (CGROUP / name).read_text(encoding="utf-8")
    except OSError:
        return ""


def memory(_: Place) -> Iterator[Finding]:
    """All of it, and what is free."""
    found = psutil.virtual_memory()
    total, free = found.total, found.available
    limit, used = _cgroup("memory.max").strip(), _cgroup("memory.current").strip()
    if limit.isdecimal() and used.isdecimal():
        total, free = min(total, int(limit)), min(free, int(limit) - int(used))
    yield of_memory(total, free)


def of_memory(total: int, free: int) -> Finding:
    """What so many bytes of memory are good for."""
    text = f"{total / GIB:.1f} GiB, {free / GIB:.1f} of them free"
    remedy = "end other programs; else lower `batch` and `workers` in the parameters"
    if free < LEAST_MEMORY:
        return problem(f"{text}: a stage may be killed", remedy)
    if total < 0.9 * MEMORY:
        return note(f"{text}: the default needs {MEMORY // GIB}", remedy)
    return ok(text)


def arithmetic(place: Place) -> Iterator[Finding]:
    """What computes and in which precision, and what was measured here (`scriptsight.arithmetic.choose`), without
    torch, whose import takes seconds."""
    gpu, for_gpu = _gpu(), _torch_is_for_gpu()
    asked = "auto"
    if place.kind != "none":
        try:
            asked = place.settings.pretrain.engine.precision
        except InputError:
            asked = "auto"  # what is wrong with the parameters is another check's
    if gpu and not for_gpu:
        yield note(f"{gpu} is not used: the PyTorch here is for processors", "install PyTorch for CUDA (pytorch.org)")
    if gpu and for_gpu:
        yield ok(f"{gpu}; {'fp32' if asked == 'fp32' else 'bf16'}, as pretrain.engine.precision is {asked}")
        return
    kept = list(tuning.read(tuning.place()).items())[-MEASURED:]
    if asked != "auto":
        other = "bf16" if asked == "fp32" else "fp32"
        slower = any(one.way.startswith(other) for _, one in kept)
        text = f"no GPU; cpu, {asked}, as pretrain.engine.precision says"
        remedy = "set pretrain.engine.precision to auto"
        yield note(f"{text}: {other} was faster here", remedy) if slower else ok(text)
    elif not kept:
        yield ok("no GPU; whether fp32 or bf16 is faster here is measured when a model is first trained or used")
    else:
        yield ok("no GPU; the fastest way is taken of those that were measured here")
    for question, one in kept:
        yield ok(f"{question}: {one.way} of {one}")
    if kept:
        yield ok(f"measured again if {tuning.place()} is removed")


def _gpu() -> str:
    """The first GPU by NVIDIA's own program; "" without one."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    lines = _said(program, "--query-gpu=name,memory.free", "--format=csv,noheader").splitlines()
    more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
    return f"{lines[0]} free{more}" if lines else ""


def _torch_is_for_gpu() -> bool:
    """By a file of torch, which is not imported."""
    found = importlib.util.find_spec("torch")
    version = Path(found.origin).with_name("version.py") if found and found.origin else None
    text = version.read_text(encoding="utf-8") if version and version.is_file() else ""
    return bool(re.search(r"^(cuda|hip)\b[^=]*= *'", text, re.M))


def _said(*words: str) -> str:
    """What a program prints; "" where it fails or hangs."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=ASK_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def decoders(_: Place) -> Iterator[Finding]:
    """PyAV, the FFmpeg in it, and what that reads and writes; decord, which benchmarks compare with."""
    import av
    from av.codec import Codec
    from av.error import FFmpegError

    def known(name: str, mode: str) -> bool:
        try:
            Codec(name, mode)  # type: ignore[arg-type]
        except (FFmpegError, ValueError):
            return False
        return True

    lib = ".".join(map(str, av.library_versions["libavcodec"]))
    reads = [name for name in DECODERS if known(name, "r")]
    writes = [name for name in ENCODERS if known(name, "w")]
    text = f"PyAV {av.__version__}, libavcodec {lib}, reads {', '.join(reads)}, writes {', '.join(writes)}"
    missing = [name for name in (*DECODERS, *ENCODERS) if name not in (*reads, *writes)]
    yield note(f"{text}; lacks {', '.join(missing)}", "make env") if missing else ok(text)
    try:
        yield ok(f"decord {metadata.version('decord')}, which only benchmarks use")
    except metadata.PackageNotFoundError:
        yield ok("no decord, which only benchmarks use")


def disk(place: Place) -> Iterator[Finding]:
    """Free space where a run writes, a line a disk."""
    places = {place.folder: _needed(place), Path(tempfile.gettempdir()): TEMPORARY}
    if (cache := place.folder / ".dvc/cache").exists():
        places[cache.resolve()] = places[place.folder]
    disks: dict[int, list[Path]] = {}
    for path in places:
        disks.setdefault(path.stat().st_dev, []).append(path)
    for paths in disks.values():
        needed = max(places[path] for path in paths)
        yield of_disk(", ".join(map(str, paths)), shutil.disk_usage(paths[0]).free, needed)


def _needed(place: Place) -> int:
    """Bytes that a run of all stages writes: what the last one did, as dvc.lock has it."""
    lock = place.folder / mending.LOCK
    try:
        stages = reading.read_yaml(lock)["stages"].values() if lock.is_file() else ()
        made = sum(int(out.get("size", 0)) for stage in stages for out in stage.get("outs", ()))
    except (InputError, KeyError, TypeError, ValueError, AttributeError):  # the check `stages` says what is wrong
        made = 0
    return max(made, LEAST_DISK)


def of_disk(where: str, free: int, needed: int) -> Finding:
    """What so many free bytes are good for."""
    text = f"{free / GIB:.1f} GiB free in {where}; a run of all stages writes about {needed / GIB:.1f} GiB"
    remedy = "free some space: old versions of outputs go with `dvc gc --workspace`"
    if free < needed:
        return problem(text, remedy)
    return note(text, remedy) if free < 2 * needed else ok(text)


def python(_: Place) -> Iterator[Finding]:
    """Its version, against what the project takes."""
    from packaging.specifiers import SpecifierSet

    file = PROJECT / "pyproject.toml"
    wanted = tomllib.loads(file.read_text(encoding="utf-8"))["project"]["requires-python"] if file.is_file() else ""
    here = platform.python_version()
    if SpecifierSet(wanted).contains(here, prereleases=True):
        yield ok(f"Python {here} ({sys.executable})")
    else:
        yield problem(f"Python {here} ({sys.executable}); the project takes {wanted}", "make env PYTHON=python3.12")


def packages(_: Place) -> Iterator[Finding]:
    """What is installed, against requirements.lock."""
    from packaging.requirements import Requirement

    lock = PROJECT / "requirements.lock"
    if not lock.is_file():
        yield ok("no requirements.lock to compare with: this is no checkout")
        return
    lines = (line.rstrip(" \\") for line in lock.read_text(encoding="utf-8").splitlines() if line[:1].isalnum())
    locked = [one for one in map(Requirement, lines) if one.marker is None or one.marker.evaluate()]
    installed = {_plain(one.name): one.version for one in metadata.distributions()}
    differing = []
    for one in locked:
        found = installed.get(_plain(one.name))
        if found is None:
            differing.append(f"{one.name} is missing")
        elif not one.specifier.contains(found, prereleases=True):
            differing.append(f"{one.name} {found} (locked{str(one.specifier).replace('==', ' ')})")
    if not differing:
        yield ok(f"all {len(locked)} are those of requirements.lock")
        return
    more = f" and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
    text = f"{len(differing)} of {len(locked)} are others than in requirements.lock: {', '.join(differing[:SHOWN])}"
    yield note(text + more, f"make -C {PROJECT} env")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def version_control(place: Place) -> Iterator[Finding]:
    """git, with which DVC compares runs."""
    program = shutil.which("git")
    if program is None:
        yield note("git is not installed: runs can't be compared, nor experiments made", "install git")
    elif not git.is_there(place.folder):
        folder = git.root(place.folder)
        yield problem(
            f"git refuses the repository {folder}, as one of another user",
            f"git config --global --add safe.directory {folder}",
        )
    else:
        yield ok(_said(program, "--version"))
