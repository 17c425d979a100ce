"""Work in parts: how a stage grows with its corpus, runs on other machines, and goes on where it was interrupted.

A *plan* is a file with a line for every item (a video), cut into chunks. A chunk becomes a *part*: files, and
a summary `KEY.json` that is written last. All lie in a work folder, which is named after the stage's parameters and
this package's code, and KEY is a digest of the chunk's lines. So a part that is there is what doing its chunk again
would give, and is not done again, unless its checksum shows that it is damaged; but where something was refused for a
reason that may have passed by then, such as a server that did not answer, it is. Parts are put together in the order
of the plan, whoever made them, whenever.

When all is put together the work folder goes, and what became of each line is kept beside it: the next run with the
same parameters and code takes that over, and does anew only what is new, or changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pydantic import TypeAdapter

from scriptsight.catalogue import Reject
from scriptsight.code_digest import code_digest
from scriptsight.errors import InputError
from scriptsight.files import crc32, room, whole_file, whole_folder
from scriptsight.media import LISTABLE, Failed, MediaError, fingerprint, isolated, listed
from scriptsight.reporting import Reporter

_KEPT = "kept"  # beside the work folders: what the last run made
_MADE = "made.db"
FOLDERS = 16  # whose listings are kept
# Reasons of rejects that a later run may not meet.
PASSING = frozenset({"crashed", "disk full", "no access", "timed out", "unreachable"})


class Refusing(Protocol):
    """A part says what was refused in its chunk."""

    @property
    def rejects(self) -> Sequence[Reject]: ...


P = TypeVar("P", bound=Refusing)


@dataclass(frozen=True)
class Chunk:
    """Consecutive lines of a plan: `length` bytes from `offset`, `items` lines, of one group of the stage's."""

    plan: str
    offset: int
    length: int
    items: int
    group: str
    key: str

    def lines(self) -> list[bytes]:
        """The items as the plan has them.

        Raises:
            InputError: the plan is damaged.
        """
        with Path(self.plan).open("rb") as file:
            if not 0 <= self.offset <= self.offset + self.length <= os.fstat(file.fileno()).st_size:
                raise _damaged(self.plan, "it is shorter than it was")
            file.seek(self.offset)
            lines = file.read(self.length).splitlines()
        if len(lines) != self.items or key([self.group.encode(), *lines]) != self.key:
            raise _damaged(self.plan, f"the {self.items} lines from byte {self.offset} on are not what was written")
        return lines


def _damaged(plan: str | Path, cause: object) -> InputError:
    return InputError(f"The plan {plan} is damaged: {cause}. Run the stage again, which writes it anew.")


@dataclass(frozen=True)
class Plan:
    """All chunks, in order. They stay on disk: there may be millions."""

    folder: Path
    chunks: int
    items: int

    def __iter__(self) -> Iterator[Chunk]:
        """Raises: InputError: the list of chunks is damaged."""
        path, found = self.folder / "chunks.jsonl", 0
        with path.open("rb") as file:
            for line in file:
                found += 1
                yield _chunk(path, line)
        if found != self.chunks:
            raise _damaged(path, f"it has {found} lines instead of {self.chunks}")


def _chunk(path: Path, line: bytes) -> Chunk:
    try:
        values = json.loads(line)
        numbers = [values[name] for name in ("offset", "length", "items")]
        if not all(isinstance(number, int) for number in numbers) or not isinstance(values["group"], str):
            raise ValueError("a chunk with values of other types")
        if not re.fullmatch("[0-9a-f]{32}", values["key"]):  # it becomes the name of a file
            raise ValueError(f"a chunk has the key {values['key']!r}")
        return Chunk(plan=str(path.with_name("plan.jsonl")), **values)
    except Exception as error:  # whatever damage makes of JSON and its types
        raise _damaged(path, error) from error


@dataclass(frozen=True)
class Work(Generic[P]):
    """What is done with each chunk; picklable. `P` is a dataclass of plain values, which becomes JSON.

    Attributes:
        folder: the work folder, absolute.
        home: where relative addresses start, absolute: work may be done in processes that are elsewhere.
        do: from the lines of a chunk, or of a part of it, to its part; runs in a process that may die.
        refuse: the part of a line whose processes did not survive it.
        part: the type P.
        timeout: seconds for an item; a chunk of several has twice that before they are done one by one.
    """

    folder: Path
    home: Path
    do: Callable[[Sequence[bytes]], P]
    refuse: Callable[[bytes, Failed], P]
    part: type[P]
    timeout: float

    def summary(self, chunk: Chunk) -> Path:
        """The file that says that the chunk is done."""
        return self.folder / file_name(chunk.key, ".json")

    def parts(self, chunks: Iterable[Chunk]) -> Iterator[P]:
        """What became of finished chunks, in their order.

        Raises:
            InputError: a summary is damaged.
        """
        read = TypeAdapter(list[self.part])  # type: ignore[name-defined]
        for chunk in chunks:
            path = self.summary(chunk)
            try:
                parts = read.validate_json(_unsealed(path.read_bytes()))
            except Exception as error:  # whatever damage makes of JSON and its types
                raise InputError(
                    f"The part {path} is damaged: {error}. Remove it, and run the stage again."
                ) from error
            yield from parts


_SEALED = re.compile(rb'\{"crc32": "([0-9a-f]{8})", "parts": (.*)\}', re.DOTALL)


def _seal(parts: bytes) -> bytes:
    """JSON with its CRC-32, as JSON."""
    return b'{"crc32": "%08x", "parts": %b}' % (zlib.crc32(parts), parts)


def _unsealed(data: bytes) -> bytes:
    """The JSON that `_seal` took.

    Raises:
        ValueError: it is not what was written.
    """
    found = _SEALED.fullmatch(data)
    if found is None or int(found[1], 16) != zlib.crc32(found[2]):
        raise ValueError("it is not what was written")
    return found[2]


@dataclass
class PartFile:
    """A file of a part while it is written, to `path`. Then it has a `name` below the work folder, which shows
    damage: in it is the CRC-32 of its bytes."""

    path: Path
    name: str = ""


@contextmanager
def part_file(folder: Path, lines: Sequence[bytes], suffix: str) -> Iterator[PartFile]:
    """Write a file of the part that is made of these lines, whole or not at all."""
    path = folder / file_name(key(lines), suffix)
    with whole_file(path) as temporary:
        written = PartFile(temporary)
        yield written
        written.path, checksum = path, crc32(temporary)
    written.name = file_name(key(lines), f".{checksum}{suffix}")
    path.replace(folder / written.name)


def whole_part(folder: Path, name: str) -> Path:
    """Where the file of a part lies.

    Raises:
        InputError: it is missing or damaged.
    """
    path = folder / name
    if not path.is_file() or crc32(path) != name.split(".")[-2]:
        raise InputError(
            f"The part {path} is {'damaged' if path.is_file() else 'missing'}: remove the folder {folder}, and run "
            "the stage again."
        )
    return path


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Write lines, and after them one with their CRC-32, for `read_lines`."""
    total = 0
    with room(path), path.open("wb") as file:
        for line in lines:
            total = zlib.crc32(line, total)
            file.write(line + b"\n")
        file.write(b"%08x\n" % total)


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines that `write_lines` wrote.

    Raises:
        InputError: after the last one, if they are damaged.
    """
    total, last = 0, b""
    with path.open("rb") as file:
        for number, line in enumerate(file):
            if number:
                total = zlib.crc32(last, total)
                yield last
            last = line.removesuffix(b"\n")
    if last != b"%08x" % total:
        raise _damaged(path, "its lines are not what was written")


# Finishes chunks (with how many they are), in any order and anywhere, and yields how many it finished since it last
# did. The library's own is `processes`.
Mapper = Callable[[Work[Any], Iterable[Chunk], int], Iterator[int]]


def work_folder(root: Path, *about: str) -> Path:
    """The work folder below `root` for exactly this: parameters as text; the package's code is added.

    What a run with other parameters left there is removed.
    """
    folder = root.resolve() / key([text.encode() for text in (*about, code_digest())])
    for stale in root.glob("*"):
        if stale.name != folder.name and re.fullmatch("[0-9a-f]{32}", stale.name):
            shutil.rmtree(stale, ignore_errors=True)
    with room(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def remove(folder: Path) -> None:
    """Remove a work folder whose parts were put together, and its root if nothing else is in it."""
    shutil.rmtree(folder)
    with suppress(OSError):
        folder.parent.rmdir()


# --------------------------------------------------------------------------------- from one run to the next


def kept(folder: Path) -> Path:
    """Where what the last run made is kept for the work folder `folder`."""
    return folder.parent / _KEPT


def made_before(folder: Path, lines: Sequence[bytes]) -> list[bytes | None]:
    """What the last run with the parameters and the code of the work folder `folder` said of each line, as `keep` got
    it; None of a line that it did not have, or where the record is damaged."""
    path = kept(folder) / _MADE
    if not path.is_file():
        return [None] * len(lines)
    try:
        # Nobody writes to it: it needs no lock, and may lie on a shared file system.
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)) as made:
            asked = "SELECT said FROM made WHERE line = ?"
            rows = [made.execute(asked, (_line_key(folder, line),)).fetchone() for line in lines]
        return [None if row is None else zlib.decompress(row[0]) for row in rows]
    except (sqlite3.Error, zlib.error):
        return [None] * len(lines)


def said_of(folder: Path, lines: Sequence[bytes], said: Sequence[bytes]) -> str:
    """Write what became of each line of a part into the work folder -> the file's name."""
    with part_file(folder, lines, ".said") as file:
        pairs = zip(lines, said, strict=True)
        write_lines(file.path, (_line_key(folder, line) + b" " + one for line, one in pairs))
    return file.name


def keep(folder: Path, said: Iterable[tuple[bytes, bytes]], files: Path | None = None) -> None:
    """Keep what became of each line, pairs as `read_said` gives them, for the next run; what was kept before goes.

    Args:
        files: a folder whose files are kept too; on one disk they take no room.

    Raises:
        InputError: the disk is full.
        OSError: the file system has no links.
    """
    with whole_folder(kept(folder)) as partial:
        with closing(sqlite3.connect(partial / _MADE, isolation_level=None)) as made:
            made.execute("PRAGMA journal_mode = OFF")
            made.execute("CREATE TABLE made (line BLOB PRIMARY KEY, said BLOB) WITHOUT ROWID")
            made.execute("BEGIN")
            rows = ((line, zlib.compress(one)) for line, one in said)
            made.executemany("INSERT OR REPLACE INTO made VALUES (?, ?)", rows)
            made.execute("COMMIT")
        for file in sorted(files.rglob("*")) if files else ():
            if file.is_file():
                place = partial / file.relative_to(str(files))
                place.parent.mkdir(parents=True, exist_ok=True)
                place.hardlink_to(file)  # outputs are replaced, and their files never changed


def read_said(folder: Path, name: str) -> Iterator[tuple[bytes, bytes]]:
    """The keys of the lines of a part, and what became of each, as `said_of` wrote it."""
    for line in read_lines(whole_part(folder, name)):
        found, _, said = line.partition(b" ")
        yield found, said


def _line_key(folder: Path, line: bytes) -> bytes:
    """Names a line, and the parameters and code that the work folder stands for."""
    return key([folder.name.encode(), line]).encode()


def key(lines: Sequence[bytes]) -> str:
    """A name for these very lines; safe as a file name."""
    total = hashlib.sha256()
    for line in lines:
        total.update(line + b"\n")
    return total.hexdigest()[:32]


def file_name(key: str, suffix: str) -> str:
    """Where the file of a key lies in the work folder: in one of 256 folders, as there may be millions."""
    return f"{key[:2]}/{key}{suffix}"


def write_plan(folder: Path, chunks: Iterable[tuple[str, Sequence[bytes]]]) -> Plan:
    """Write the plan of chunks (group, lines without line feeds) into the work folder."""
    offset, count, items = 0, 0, 0
    with (
        room(folder),
        (folder / "plan.jsonl").open("wb") as plan,
        (folder / "chunks.jsonl").open("w", encoding="utf-8") as index,
    ):
        for group, lines in chunks:
            length = plan.write(b"".join(line + b"\n" for line in lines))
            chunk = Chunk("", offset, length, len(lines), group, key([group.encode(), *lines]))
            row = asdict(chunk)
            del row["plan"]
            index.write(json.dumps(row) + "\n")
            offset, count, items = offset + length, count + 1, items + len(lines)
    return Plan(folder, count, items)


def finish(work: Work[Any], plan: Plan, mapper: Mapper, label: str, reporter: Reporter) -> None:
    """Have every chunk of the plan done that is not done yet, or in which something failed that may have passed."""
    for chunk in plan:
        path = work.summary(chunk)
        if not path.is_file():
            continue
        try:
            again = _may_have_passed(work, chunk)
        except InputError:
            reporter.message(f"{label}: {path} is damaged, it is made again")
            again = True
        if again:
            path.unlink()
    there = sum(work.summary(chunk).is_file() for chunk in plan)
    if there:
        reporter.message(f"{label}: {there} of {plan.chunks} parts are there from an interrupted run")
    missing = (chunk for chunk in plan if not work.summary(chunk).is_file())
    left = plan.chunks - there
    finished = (1 for count in mapper(work, missing, left) for _ in range(count)) if left else ()
    for _ in reporter.progress(finished, label, left):
        pass


def _may_have_passed(work: Work[Any], chunk: Chunk) -> bool:
    return any(reject.reason in PASSING for part in work.parts([chunk]) for reject in part.rejects)


def processes(work: Work[Any], chunks: Iterable[Chunk], total: int, *, workers: int) -> Iterator[int]:
    """Finish chunks in `workers` processes of this machine; the default mapper, and what others do with theirs."""
    begun: dict[int, Chunk] = {}

    def lines() -> Iterator[list[bytes]]:
        for number, chunk in enumerate(chunks):
            begun[number] = chunk
            yield chunk.lines()

    dump = TypeAdapter(list[work.part])  # type: ignore[name-defined]
    for number, outcomes in isolated(
        work.do, lines(), workers=min(workers, total), timeout=work.timeout, home=work.home
    ):
        parts = [work.refuse(items[0], part) if isinstance(part, Failed) else part for items, part in outcomes]
        with whole_file(work.summary(begun.pop(number))) as temporary:
            temporary.write_bytes(_seal(dump.dump_json(parts)))
        yield 1


def in_processes(workers: int) -> Mapper:
    """The mapper `processes` with a number of workers."""
    return partial(processes, workers=workers)


def stamp(uri: str) -> str:
    """What shows that a file changed, without reading it; "" for one that is not there.

    Of a member of an archive (`tar://MEMBER::ARCHIVE`) it is the archive's.
    """
    address = _whole_file(uri)
    return _remote_stamp(address) if "://" in address else _local_stamp(address)


def _whole_file(uri: str) -> str:
    """The file itself, or the archive that has it."""
    # Only addresses are chained by "::"; in a path it belongs to the name.
    return uri.rpartition("::")[2] if "://" in uri else uri


def _local_stamp(path: str) -> str:
    try:
        found = os.stat(path)  # noqa: PTH116 - twice as fast as Path.stat, and there may be millions
    except OSError:
        return ""
    return f"{found.st_size}:{found.st_mtime_ns}"


def _remote_stamp(address: str) -> str:
    try:
        return _as_stamp(fingerprint(address))
    except MediaError:
        return ""


def _as_stamp(found: tuple[int, str]) -> str:
    size, mark = found
    return f"{size}:{mark}"


class Stamps:
    """The stamps of many files, for as long as a plan is made: an object store is asked for a listing of each folder
    instead of for each file. What it listed last is kept in memory, about 200 bytes a file."""

    def __init__(self) -> None:
        # By folder; None where the store does not let it be listed.
        self._folders: OrderedDict[str, dict[str, str] | None] = OrderedDict()
        # The members of an archive, which share its stamp, come one after the other.
        self._alone = lru_cache(maxsize=1024)(_remote_stamp)

    def of(self, uri: str) -> str:
        """As `stamp` says it."""
        address = _whole_file(uri)
        if "://" not in address:
            # A folder on this machine names its files but says neither size nor time: each must be asked anyway.
            return _local_stamp(address)
        folder, _, name = address.rpartition("/")
        if address.partition("://")[0] not in LISTABLE or not name or folder.endswith("/"):
            return self._alone(address)
        if folder in self._folders:
            self._folders.move_to_end(folder)
        else:
            self._folders[folder] = _listed_stamps(folder)
            if len(self._folders) > FOLDERS:
                self._folders.popitem(last=False)
        known = self._folders[folder]
        return self._alone(address) if known is None else known.get(name, "")


def _listed_stamps(folder: str) -> dict[str, str] | None:
    try:
        return {name: _as_stamp(found) for name, found in listed(folder).items()}
    except MediaError as error:
        return {} if error.reason == "missing video" else None
