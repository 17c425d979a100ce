"""The search page while fifty people type at once, over a million moments on two cores.

    python benchmarks/page.py [--people N] [--seconds S] [--moments N] [--cores N] [--folder DIR] [--part all]

The server is `scriptsight page` itself, in a process of its own on `--cores` processor cores; the people are in this
process. A person types something that is said in the corpus, a key every 120 to 250 ms; as the page does, what is
typed is searched for after a pause of 180 ms or more, an answer that is not there when typing goes on is abandoned,
and at the end of the sentence it is searched for anyway. Then the person reads the answers for one to three seconds,
opens one, and types the next. Of the searches 70% are by picture, 15% by words and 15% by both, and one in ten asks
for one collection alone. Pictures and videos are not asked for: there are none.

The baseline, in the same run under the same people, is the same search behind the same kind of server without what
`scriptsight page` adds: each request is a call of `Searcher.search` in a thread of its own.

Moments have 64 dimensions, made up as in benchmarks/search.py, and sentences whose words are as unevenly frequent as
those of English. With `--folder` they are kept for the next time. Times are those of answers that were not abandoned.
The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil
import torch
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.machine import processor
from scriptsight.models import bundle
from scriptsight.models.bundle import Encoder
from scriptsight.models.video import VideoViT
from scriptsight.params.models import WordText
from scriptsight.pretrain import encoders
from scriptsight.retrieve import index as indexes
from scriptsight.retrieve.search import Filters, Searcher

WIDTH, LATENT, NOISE = 64, 32, 0.1  # of the vectors
VOCABULARY, SENTENCES, EACH = 8000, 20_000, 2  # words, different sentences, sentences of a moment
VIDEO = 20  # moments of a video
COLLECTIONS = 4
KEY, PAUSE, READING = (0.12, 0.25), 0.18, (1.0, 3.0)  # seconds
WARM_UP = 5.0  # seconds that count for nothing
TOP = 12
PATIENCE = 30.0  # seconds, after which no answer is an error


def main() -> None:
    """Make the corpus, measure both servers, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=50, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each server (default: %(default)g)")
    parser.add_argument("--moments", type=int, default=1_000_000, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--cores", type=int, default=2, metavar="N", help="of the server (default: %(default)s)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where the corpus is kept (default: nowhere)")
    parser.add_argument("--part", choices=("ours", "plain", "all"), default="all", help="which of the two servers")
    parser.add_argument("--serve-plainly", type=int, metavar="PORT", help=argparse.SUPPRESS)  # what the baseline is
    options = parser.parse_args()
    if options.serve_plainly:
        serve_plainly(options.folder, options.serve_plainly)
        return
    with nullcontext(options.folder) if options.folder else tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if not (folder / "models/index/config.json").is_file():
            make(folder, options.moments)
        found: dict[str, object] = {}
        for prefix, command in (
            ("", [sys.executable, "-m", "scriptsight", "page", str(folder), "--port"]),
            ("plain_", [sys.executable, __file__, "--folder", str(folder), "--serve-plainly"]),
        ):
            if options.part in ("all", "plain" if prefix else "ours"):
                figures = measured(command, options.people, options.seconds, options.cores)
                print(json.dumps(figures), file=sys.stderr)
                found |= {f"{prefix}{name}": value for name, value in figures.items()}
    asked = {"people": options.people, "moments": options.moments, "cores": options.cores}
    print(json.dumps({**found, **asked, "processor": processor()}))


# ------------------------------------------------------------------------------------------------- the corpus


def make(folder: Path, count: int) -> None:
    """Write a model that nobody trained, and an index of made-up moments, as a workspace has them."""
    torch.manual_seed(0)
    said = sentences()
    video = VideoViT(width=96, depth=4, heads=3, patch=8, tubelet=2, size=32, frames=8)
    text = encoders.text(WordText(kind="words", width=96, vocabulary=VOCABULARY), said, 50)
    bundle.save(Encoder(video, text, embed_dim=WIDTH).eval(), folder / "models/pretrained")
    weights = bundle.weights_digest(folder / "models/pretrained")
    indexes.write(folder / "models/index", vectors(count), moments(count, said), weights, "exact")


def vectors(count: int) -> np.ndarray:
    """Unit vectors that vary in few directions, and a little in all, float32 [count, WIDTH]."""
    rng = np.random.default_rng(0)
    basis = rng.standard_normal((LATENT, WIDTH), dtype=np.float32)
    basis /= LATENT**0.5
    found = rng.standard_normal((count, LATENT), dtype=np.float32) @ basis
    found += np.float32(NOISE) * rng.standard_normal((count, WIDTH), dtype=np.float32)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found


def sentences() -> list[str]:
    """Sentences of four to nine words; the frequency of a word falls with its rank (Zipf)."""
    rng = np.random.default_rng(1)
    letters = "etaoinshrdlucmfwypvbgk"
    words = sorted({"".join(rng.choice(list(letters), 2 + n % 8)) for n in range(2 * VOCABULARY)}, key=len)
    share = 1 / np.arange(1, VOCABULARY + 1)
    return [
        " ".join(words[number] for number in rng.choice(VOCABULARY, rng.integers(4, 10), p=share / share.sum()))
        for _ in range(SENTENCES)
    ]


def moments(count: int, said: list[str]) -> Iterator[dict[str, object]]:
    """Rows as the retrieve stage writes them: two cues in ten seconds."""
    rng = np.random.default_rng(2)
    for row in range(count):
        texts = [said[number] for number in rng.integers(0, len(said), EACH)]
        number, place = divmod(row, VIDEO)
        yield {
            "uri": f"videos/{number}.mp4",
            "collection": f"talks{number % COLLECTIONS}",
            "split": "train",
            "segment_id": f"talks{number % COLLECTIONS}/{number}/{place}",
            "start": 12.0 * place,
            "end": 12.0 * place + 10,
            "text": " / ".join(texts),
            "cues": [
                {"start": 12.0 * place + 5 * k, "end": 12.0 * place + 5 * k + 4, "text": text}
                for k, text in enumerate(texts)
            ],
            "label": None,
            "language": "en",
            "content": f"{row:032x}",
        }


# ------------------------------------------------------------------------------------------------- the servers


def serve_plainly(folder: Path, port: int) -> None:
    """The baseline: each request searches by itself, in a thread of Starlette's."""
    searcher = Searcher(folder / "models/index", folder / "models/pretrained")

    def search(request: Request) -> Response:
        asked = request.query_params
        filters = Filters(collections=tuple(asked.getlist("collection")))
        (found,) = searcher.search([asked["q"]], top=int(asked["top"]), by=asked["by"], filters=filters)  # type: ignore[arg-type]
        return JSONResponse({"moments": [asdict(one) | {"id": one.segment_id} for one in found]})

    def moment(request: Request) -> Response:
        row = searcher.index.row_of(request.path_params["id"])
        return JSONResponse(searcher.index.moments.slice(row, 1).to_pylist()[0])

    app = Starlette(routes=[Route("/api/search", search), Route("/api/moment/{id:path}", moment)])
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


@contextmanager
def serving(command: list[str], cores: int) -> Iterator[tuple[str, psutil.Process]]:
    """Start a server whose last argument is a port, on some cores -> its address and its process, when it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Its log goes to a file: a full pipe would stop it.
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen([*command, str(port)], stdout=log, stderr=log, start_new_session=True)  # noqa: S603
        try:
            os.sched_setaffinity(process.pid, sorted(os.sched_getaffinity(0))[:cores])
            address = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 300
            while True:
                with suppress(httpx.HTTPError):
                    if (
                        httpx.get(f"{address}/api/search", params=params("a b", "picture"), timeout=60).status_code
                        == 200
                    ):
                        break
                if process.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    sys.exit(f"the server does not start: {log.read().decode()}")
                time.sleep(0.2)
            yield address, psutil.Process(process.pid)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def params(query: str, by: str) -> dict[str, str]:
    """A search as the page's address has it."""
    return {"q": query, "by": by, "top": str(TOP)}


# -------------------------------------------------------------------------------------------------- the people


@dataclass
class Heard:
    """What people saw."""

    times: dict[str, list[float]] = field(default_factory=dict)  # seconds of answers, by kind of request
    abandoned: int = 0
    errors: list[str] = field(default_factory=list)

    def add(self, kind: str, seconds: float) -> None:
        self.times.setdefault(kind, []).append(seconds)


def measured(command: list[str], people: int, seconds: float, cores: int) -> dict[str, object]:
    """Start a server, have people use it, and say how it answered."""
    with serving(command, cores) as (address, process):
        asyncio.run(crowd(address, people, WARM_UP, Heard(), []))
        heard, memory = Heard(), [memory_mb(process)]
        asyncio.run(crowd(address, people, seconds, heard, memory, process))
        memory.append(memory_mb(process))
    searches = [one for kind, times in heard.times.items() if kind != "moment" for one in times]
    return {
        "median_ms": milliseconds(searches, 50),
        "p99_ms": milliseconds(searches, 99),
        **{f"{kind}_p99_ms": milliseconds(times, 99) for kind, times in sorted(heard.times.items())},
        "queries_per_second": round(len(searches) / seconds, 1),
        "abandoned": heard.abandoned,
        "errors": len(heard.errors),
        "first_errors": heard.errors[:3],
        "memory_mb": [memory[0], memory[len(memory) // 2], memory[-1]],
    }


def milliseconds(seconds: list[float], percentile: float) -> float:
    """A percentile of some times; 0 of none."""
    return round(1000 * float(np.percentile(seconds, percentile)), 1) if seconds else 0.0


def memory_mb(process: psutil.Process) -> float:
    """The resident memory of a process and of those that it started, the mapped files of the index among it."""
    family = [process, *process.children(recursive=True)]
    return round(sum(one.memory_info().rss for one in family) / 2**20, 0)


async def crowd(
    address: str,
    people: int,
    seconds: float,
    heard: Heard,
    memory: list[float],
    process: psutil.Process | None = None,
) -> None:
    """Have people type for some seconds; `memory` gets that of the server every second."""
    said = sentences()
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=PATIENCE, limits=limits) as client:
        end = time.monotonic() + seconds
        at_work = [
            asyncio.create_task(person(client, random.Random(number), said, end, heard)) for number in range(people)
        ]
        while time.monotonic() < end:
            await asyncio.sleep(1)
            if process is not None:
                memory.append(memory_mb(process))
        await asyncio.gather(*at_work)


async def person(client: httpx.AsyncClient, own: random.Random, said: list[str], end: float, heard: Heard) -> None:
    """Type sentence after sentence until the time is over."""
    await asyncio.sleep(own.uniform(0, 2))
    while time.monotonic() < end:
        sentence = own.choice(said)
        by = own.choices(("picture", "words", "both"), (70, 15, 15))[0]
        more = {"collection": f"talks{own.randrange(COLLECTIONS)}"} if own.random() < 0.1 else {}
        asked: asyncio.Task[list[str]] | None = None
        for length in range(1, len(sentence) + 1):
            wait = own.uniform(*KEY)
            if length == len(sentence):
                wait = PAUSE
            if wait >= PAUSE:
                await asyncio.sleep(PAUSE)
                abandon(asked, heard)
                asked = asyncio.create_task(search(client, sentence[:length], by, more, heard))
                wait -= PAUSE
            await asyncio.sleep(wait)
            if time.monotonic() > end:
                abandon(asked, heard)
                return
        found = await asked if asked else []
        await asyncio.sleep(own.uniform(*READING))
        if found:
            await ask(client, f"/api/moment/{own.choice(found)}", {}, "moment", heard)


def abandon(asked: asyncio.Task[list[str]] | None, heard: Heard) -> None:
    """Stop waiting for an answer, as a browser does: the connection is closed."""
    if asked is not None and not asked.done():
        asked.cancel()
        heard.abandoned += 1


async def search(client: httpx.AsyncClient, query: str, by: str, more: dict[str, str], heard: Heard) -> list[str]:
    """Search for what is typed -> the ids of the moments."""
    if not query.strip():
        return []
    answer = await ask(client, "/api/search", params(query, by) | more, by, heard)
    return [str(moment["id"]) for moment in answer["moments"]] if answer else []


async def ask(client: httpx.AsyncClient, path: str, asked: dict[str, str], kind: str, heard: Heard):  # type: ignore[no-untyped-def]
    """The JSON of an address, None after an error; its time is noted."""
    started = time.perf_counter()
    try:
        answer = await client.get(path, params=asked)
        if answer.status_code != 200:
            raise ValueError(f"{answer.status_code} {answer.text[:200]}")
    except (httpx.HTTPError, ValueError) as error:
        heard.errors.append(f"{path} {asked}: {type(error).__name__} {error}")
        return None
    heard.add(kind, time.perf_counter() - started)
    return answer.json()


if __name__ == "__main__":
    main()
