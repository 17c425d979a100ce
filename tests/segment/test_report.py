"""The page on a collection: right numbers, text that stays text, the same bytes, memory that stays flat."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import simplejpeg

from scriptsight import catalogue, ingest, segment
from scriptsight.catalogue import CUES, REJECTS, VIDEOS, Cue, Reject, Video
from scriptsight.errors import InputError
from scriptsight.params.segment import SegmentParams
from scriptsight.segment import report
from scriptsight.segments import SCHEMA, Segment, is_transcript, to_batch
from tests import small
from tests.conftest import MakeVideo

HOSTILE = """<script>alert(1)</script> <img src=x onerror=alert(2)> "'&amp; {{ 7 * 7 }} ‮gpj.exe"""


class Page(HTMLParser):
    """What a browser would make of the page: its elements, addresses, text, and the rows of its tables."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self._cell = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._cell:
            self.rows[-1][-1] += data

    def row(self, first: str, number: int = 0) -> list[str]:
        return [row for row in self.rows if row[0] == first][number]

    def column(self, name: str, row: Sequence[str]) -> str:
        return row[next(head for head in self.rows if name in head).index(name)]


def video(name: str, cues: Sequence[Cue] = (), seconds: float = 10.0, **keys: object) -> Video:
    values: dict[str, Any] = {"collection": "mine", "split": "train", "uri": f"v/{name}.mp4", "language": "en"} | keys
    return Video(
        video_id=name, size=1, digest="", duration=seconds, fps=8.0, width=64, height=48, codec="h264",
        has_audio=False, cues=tuple(cues), **values,
    )  # fmt: skip


def segments_of(one: Video) -> list[Segment]:
    """One segment a video, all of it."""
    frames = [simplejpeg.encode_jpeg(np.full((32, 40, 3), 40 * i, np.uint8)) for i in range(4)]
    return [
        Segment(
            f"{one.collection}/{one.video_id}/0", one.video_id, one.uri, 0.0, one.duration,
            np.linspace(0, one.duration, 4, endpoint=False), frames, one.cues, one.title, one.captions, one.label,
        )
    ]  # fmt: skip


def put(folder: Path, videos: Sequence[Video], rejects: Sequence[Reject] = (), late: Sequence[Reject] = ()) -> None:
    """A catalogue and segments of these videos, and what either stage refused."""
    ordered = sorted(videos, key=lambda one: (one.collection, one.video_id))
    tables = {
        "catalogue/videos": (VIDEOS, [{name: getattr(one, name) for name in VIDEOS.names} for one in ordered]),
        "catalogue/cues": (
            CUES,
            [
                {"collection": one.collection, "video_id": one.video_id, "index": i, **asdict(cue)}
                for one in ordered
                for i, cue in enumerate(one.cues)
            ],
        ),
        "catalogue/rejects": (REJECTS, [asdict(reject) for reject in rejects]),
        "segments/rejects": (REJECTS, [asdict(reject) for reject in late]),
    }
    for name, (schema, rows) in tables.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / f"{name}.parquet", row_group_size=64)
    for where in sorted({(one.collection, one.split) for one in ordered}):
        shard = folder / "segments" / where[0] / where[1] / "00000.arrow"
        shard.parent.mkdir(parents=True, exist_ok=True)
        with pa.OSFile(str(shard), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
            for one in ordered:
                if (one.collection, one.split) == where:
                    writer.write_batch(to_batch(segments_of(one)))


def page_of(folder: Path, metrics: Path | None = None) -> str:
    report.write(folder / "report.html", folder / "catalogue", folder / "segments", metrics)
    return (folder / "report.html").read_text(encoding="utf-8")


def naive_narrated(one: Video) -> float:
    """Seconds under cues, by looking into every tenth."""
    moments = (np.arange(round(one.duration * 10)) + 0.5) / 10
    return sum(any(cue.start <= moment < cue.end for cue in one.cues) for moment in moments) / 10


def random_videos() -> list[Video]:
    rng = np.random.default_rng(0)
    videos = []
    for i in range(40):
        seconds = float(rng.integers(5, 40))
        times = np.sort(rng.integers(0, round(seconds * 10), (int(rng.integers(0, 12)), 2)) / 10, axis=1)
        cues = [
            Cue(float(start), float(end), " ".join(["word", "ä"] * int(rng.integers(1, 5))))
            for start, end in times[np.argsort(times[:, 0])]
        ]
        videos.append(video(f"v{i:02}", cues, seconds, split=("train", "val")[i % 2], collection=f"c{i % 3}"))
    return videos


def test_numbers_are_those_of_a_naive_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    videos = random_videos()
    put(tmp_path, videos)
    html = page_of(tmp_path)
    page = Page(html)
    for number, name in enumerate(("c0", "c1", "c2")):
        for where in ("train", "val"):
            these = [one for one in videos if (one.collection, one.split) == (name, where)]
            row = page.row(where, number)
            narrated, seconds = sum(map(naive_narrated, these)), sum(one.duration for one in these)
            assert page.column("videos", row) == str(len(these))
            assert page.column("hours", row) == f"{seconds / 3600:.2f}"
            assert page.column("cues", row) == str(sum(len(one.cues) for one in these))
            assert float(page.column("time under cues", row).rstrip("%")) == pytest.approx(
                100 * narrated / seconds, abs=0.1
            )
            for k in range(2, 9):
                eligible = [one for one in these if sum(is_transcript(cue.text) for cue in one.cues) >= k]
                assert page.column(f"K = {k}", row) == str(len(eligible))
    monkeypatch.setattr(report, "BATCH", 7)  # videos go on from batch to batch
    assert page_of(tmp_path) == html


def test_histograms_count_what_they_say() -> None:
    counts = report.histogram([0.5, 0.1 + 0.2 + 0.2, 0.499, 99.0, -1.0, np.nan, np.inf], report.CUE_SECONDS)
    assert counts[0] == 2  # 0.499 s, and the negative one
    assert counts[1] == 2  # 0.5 s, however it was rounded
    assert counts[-1] == 1
    assert counts.sum() == 5  # those that are not finite are in none
    labels = report.bin_labels(report.LENGTHS, report.short_time)
    assert labels[:2] + labels[-3:] == ["0 s", "1 s", "30 min", "1 h", "2 h+"]


def test_text_of_the_data_stays_text(tmp_path: Path) -> None:
    cue = Cue(0.0, 2.0, HOSTILE)
    hostile = video(
        "a", [cue], uri=f"v/{HOSTILE}.mp4", title=HOSTILE, label=HOSTILE, captions=(HOSTILE,), language=HOSTILE
    )
    reject = Reject("mine", HOSTILE, HOSTILE, HOSTILE)
    put(tmp_path, [hostile], [reject], [reject])
    html = page_of(tmp_path)
    page = Page(html)
    assert set(page.tags) <= {
        "html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "ul", "ol", "li", "b", "p", "table", "tr",
        "th", "td", "div", "span", "img", "figure", "figcaption", "a",
    }  # fmt: skip
    assert all(value.startswith("data:image/") for name, value in page.attributes if name == "src")
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert "http" not in html.replace("http-equiv", "")  # nothing is fetched
    assert page.text.count("<script>alert(1)</script>") >= 7  # cue, title, label, caption, and of both rejects
    assert "{{ 7 * 7 }}" in page.text
    assert "‮" not in page.text  # it would turn what follows around


def test_rejects_are_counted_by_reason_with_first_examples(tmp_path: Path) -> None:
    early = [Reject("mine", f"v/{i}.mp4", "unreadable video", f"bad {i}") for i in range(5)]
    early.append(Reject("gone", "v/x.mp4", "missing video", "no such file"))  # a collection without a video
    put(tmp_path, [video("a")], early, [Reject("mine", "v/a.mp4", "broken stretch", "after 2 s")])
    page = Page(page_of(tmp_path))
    assert page.row("unreadable video")[1:3] == ["ingest", "5"]
    assert [i for i in range(5) if f"v/{i}.mp4" in page.row("unreadable video")[3]] == [0, 1, 2]
    assert page.row("broken stretch")[1:3] == ["segment", "1"]
    assert page.row("missing video")[1:3] == ["ingest", "1"]


def test_samples_are_evenly_chosen_with_times_and_frames(tmp_path: Path) -> None:
    videos = [video(f"v{i:02}", [Cue(65.0, 66.5, f"this is said in {i}")], 80.0) for i in range(60)]
    put(tmp_path, videos)
    html = page_of(tmp_path)
    text = Page(html).text
    assert [i for i in range(60) if f"this is said in {i}\n" in text] == [5, 15, 25, 35, 45, 55]
    assert "1:05.0 \N{EN DASH} 1:06.5" in text
    assert html.count('src="data:image/jpeg;base64,') == 6 * 4
    assert all(f"0:{second}.0" in text for second in ("20", "40"))


def test_cleaning_is_shown_where_ingest_reports_it(tmp_path: Path) -> None:
    put(tmp_path, [video("a")])
    (tmp_path / "ingest.json").write_text(json.dumps({"cleaned": {"no letters": 3, "repeats": 1200}}))
    page = Page(page_of(tmp_path, tmp_path / "ingest.json"))
    assert page.row("repeats") == ["repeats", "1,200"]
    assert "cleaning" not in Page(page_of(tmp_path, tmp_path / "none.json")).text
    (tmp_path / "ingest.json").write_text("[]")
    with pytest.raises(InputError, match=r"ingest\.json is no metrics file of ingest"):
        page_of(tmp_path, tmp_path / "ingest.json")


def test_the_page_of_a_real_run(make_video: MakeVideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_video(Path("v/a.mp4"), seconds=12)
    Path("v/a.vtt").write_text(
        "WEBVTT\n\n00:01.000 --> 00:04.000\na first sentence\n\n00:03.000 --> 00:07.000\nanother\n"
    )
    make_video(Path("v/b.mp4"), seconds=6)
    Path("v/broken.mp4").write_bytes(b"no video")
    collection = {"kind": "folder", "path": "v", "splits": {"*": "train"}}
    ingest.run(small.ingest_params({"mine": collection}))
    segment.run(
        SegmentParams(
            fps=4, short_side=32, max_seconds=6, max_gap_seconds=1, pad_seconds=0.5, jpeg_quality=90, shard_mb=10,
            timeout_seconds=60, workers=1, runner="processes", dask_address=None, max_reject_share=0.5,
        )
    )  # fmt: skip
    report.write(Path("report.html"), Path("data/catalogue"), Path("data/segments"), Path("metrics/ingest.json"))
    page = Page(Path("report.html").read_text(encoding="utf-8"))
    row = page.row("train")
    shown = [page.column(name, row) for name in ("videos", "segments", "cues", "time under cues", "K = 2")]
    assert shown == ["2", "2", "2", "33.3%", "0"]  # 6 of 18 s; "another" is too short for a transcript
    assert page.row("unreadable video")[1] == "ingest"
    assert len(list(catalogue.read("data/catalogue"))) == 2


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no catalogue in .*: run the ingest stage first"):
        page_of(tmp_path)
    put(tmp_path, [video("a", [Cue(0, 1, "said")])])
    (tmp_path / "segments" / "rejects.parquet").rename(tmp_path / "kept")
    with pytest.raises(InputError, match=r"no segments in .*: run the segment stage first"):
        page_of(tmp_path)
    (tmp_path / "kept").rename(tmp_path / "segments" / "rejects.parquet")
    put(tmp_path / "other", [video("b", [Cue(0, 1, "said")])])
    (tmp_path / "other/catalogue/cues.parquet").rename(tmp_path / "catalogue/cues.parquet")
    with pytest.raises(InputError, match="are of other videos than its own"):
        page_of(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_workers_do_not_carry_it() -> None:
    code = (
        "import sys, scriptsight.segment.report\n"
        "print(sorted({'matplotlib', 'jinja2', 'PIL', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read as Linux shows it")
def test_memory_is_flat_in_the_number_of_videos(tmp_path: Path) -> None:
    # Not getrusage: its peak is that of the process that started this one, where that was larger.
    code = (
        "import sys\nfrom pathlib import Path\nfrom scriptsight.segment import report\n"
        "folder = Path(sys.argv[1])\nreport.write(folder / 'r.html', folder / 'catalogue', folder / 'segments')\n"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    peaks = []
    for times in (5, 25):  # below, readers' buffers are not full yet
        folder = tmp_path / str(times)
        put(folder, [video("v", [Cue(0, 1, "said")])])
        grow(folder, 1000 * times)
        command = [sys.executable, "-c", code, str(folder)]
        one = os.environ | {"OMP_NUM_THREADS": "1"}  # every thread that reads may hold buffers of its own
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=one)  # noqa: S603
        peaks.append(int(done.stdout) / 1024)
    assert (folder / "catalogue/cues.parquet").stat().st_size > 25e6
    assert peaks[1] < peaks[0] + 10  # MB; read whole, the cues alone are 40 more


def grow(folder: Path, count: int) -> None:
    """Repeat the catalogue's one video and its cue: `count` videos of 10 cues with 200 random characters each."""
    rng = np.random.default_rng(0)
    ids = pa.array([f"v{i:08}" for i in range(count)])
    for name, repeats in (("videos", 1), ("cues", 10)):
        path = folder / "catalogue" / f"{name}.parquet"
        table = pq.read_table(path)
        rows = np.arange(count).repeat(repeats)
        grown = table.take(pa.array(np.zeros(len(rows), np.int64)))
        grown = grown.set_column(grown.schema.get_field_index("video_id"), "video_id", ids.take(pa.array(rows)))
        if name == "cues":
            letters = rng.integers(97, 123, (len(rows), 200), dtype=np.uint8).tobytes()
            texts = pa.array([letters[i : i + 200].decode() for i in range(0, len(letters), 200)])
            grown = grown.set_column(grown.schema.get_field_index("text"), "text", texts)
        pq.write_table(grown.cast(table.schema), path, row_group_size=2048)
