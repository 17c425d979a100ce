"""The numbers in README.md and docs/, written from the files that hold them.

    python -m docs.figures           write them anew
    python -m docs.figures --check   change nothing; fail where the text says another number than the files

A number stands between two comments of Markdown, the first of which says where it comes from:

    <!-- figure: probe linear_top1 .3f -->0.562<!-- /figure -->

What can be said there:

    STAGE PATH FORMAT                          a figure of metrics/STAGE.json, keys parted by slashes
    interval STAGE PATH FORMAT                 PATH_low to PATH_high of the same file
    mean WORLD BUDGET OBJECTIVE FIGURE         docs/compare.csv: the mean over its seeds
    range WORLD BUDGET OBJECTIVE FIGURE        the least and the greatest of them
    ahead WORLD BUDGET RIVAL FIGURE            points that TVTS is ahead, with the 95% t interval over seeds
    table headline, table results              what the default learned, beside its controls: short, and all of it
    table objectives WORLD BUDGET              the means of all objectives
    table ahead WORLD                          how far TVTS is ahead of each, by both budgets
    table benchmarks                           a row for each benchmark of which benchmarks/results/ has the result

`--check` reads the result files as git has them staged or committed, not as the last run left them: whoever runs the
pipeline on another machine gets other last digits in metrics/, and the text is still right.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.experiments import standings
from flows.experiments.standings import Standing
from scriptsight.errors import InputError
from scriptsight.files import whole_file

ROOT = Path(__file__).resolve().parent.parent
MARK = re.compile(r"<!-- figure: (?P<what>[^>]+?) -->(?P<text>.*?)<!-- /figure -->", re.DOTALL)
STAGES = ("ingest", "segment", "pretrain", "probe", "retrieve")
COMPARED = "docs/compare.csv"

SHOWN = ("sorting", "slow", "loop", "v2v", "t2v")  # columns of the table of objectives
AHEAD = ("slow", "loop", "t2v")  # and of the table of differences

# What is measured, its value, and what to read it against; in braces what could stand in a mark.
RESULTS = (
    (
        "four shuffled transcripts put in their places by looking at the video",
        "**{pretrain val/sort_accuracy .3f}**",
        "chance {pretrain val/chance .3f}; the same model with the video blanked "
        "{pretrain val/sort_accuracy_blank .3f}",
    ),
    ("all four in their places", "{pretrain val/sort_exact .3f}", "chance {pretrain val/chance_exact .3f}"),
    (
        "linear probe on frozen features, 12 actions",
        "**{probe linear_top1 .3f}** ({interval probe linear_top1 .3f})",
        "chance {probe chance .3f}; untrained encoder {probe random_init/linear_top1 .3f}",
    ),
    (
        "the same probe without the order of frames: shuffled; first frame only",
        "{probe order/shuffled_top1 .3f}; {probe order/first_frame_top1 .3f}",
        "{probe order/needs_order .0%} of the accuracy above chance needs the order",
    ),
    ("attentive probe", "{probe attentive_top1 .3f}", "untrained encoder {probe random_init/attentive_top1 .3f}"),
    ("k nearest neighbours", "{probe knn_top1 .3f}", "untrained encoder {probe random_init/knn_top1 .3f}"),
    (
        "5-way 5-shot",
        "{probe few_shot/5_shot_top1 .3f}",
        "chance {probe chances/few_shot .3f}; untrained encoder {probe random_init/few_shot/5_shot_top1 .3f}",
    ),
    (
        "zero-shot, classes by sentences",
        "{probe zero_shot_top1 .3f}",
        "chance {probe chance .3f}; untrained encoder {probe random_init/zero_shot_top1 .3f}",
    ),
    (
        "video-to-video recall at 1",
        "{probe v2v_r1 .3f}",
        "chance {probe chances/v2v_r1 .3f}; untrained encoder {probe random_init/v2v_r1 .3f}",
    ),
    (
        "a script finds its scene among {retrieve gallery d}: recall at 1",
        "**{retrieve t2v/r1 .3f}** ({interval retrieve t2v/r1 .3f})",
        "chance {retrieve chance_r1 .3f}",
    ),
)
HEADLINE = (0, 2, 3, 8, 9)  # of RESULTS


@dataclass(frozen=True)
class Benchmark:
    """A row of the table of benchmarks: what was measured, how its JSON line is written out, and the command."""

    what: str
    value: str  # a format string over the keys of the JSON line
    command: str


BENCHMARKS = {
    "step": Benchmark(
        "a training step at the paper's size (ViT-B/16, 16 frames of 224 px) against the official formulation in "
        "fp32, one core: the arithmetic that was chosen there; speed; its time over that of the fastest way; share "
        "of the machine's best matrix rate; largest difference of the forward pass in fp32; peak memory; and of a "
        "step of the default: arithmetic, time over the fastest way's, share of the matrix rate",
        "{way}; {speedup:.2f}x; {vs_best:.2f}; {mfu:.2f}; {max_abs_diff:.0e}; {peak_mb:,.0f} MB against "
        "{reference_peak_mb:,.0f} MB; {default[way]}, {default[vs_best]:.2f}, {default[mfu]:.2f}",
        "OMP_NUM_THREADS=1 python benchmarks/step.py",
    ),
    "speedrun": Benchmark(
        "the default's training until it sorts nine in ten transcripts of the validation split: steps; seconds on "
        "two cores; accuracy at the end of the schedule (medians over the seeds)",
        "{steps:.0f}; {seconds:.0f}; {sort_accuracy:.3f}",
        "python benchmarks/speedrun.py",
    ),
    "loader": Benchmark(
        "reading a training sample from stored segments of `jpeg_chroma: 420` against a seek for every frame, and "
        "against decord, one core; the same for 444; mean difference from the source's pictures, of 255, for both; "
        "bytes of the stored stretch (420) and of the same seconds in the source",
        "{vs_seek:.0f}x, {vs_decord:.0f}x; {full_chroma_vs_seek:.0f}x, {full_chroma_vs_decord:.0f}x; "
        "{difference:.1f}, {full_chroma_difference:.1f}; {bytes_per_sample:,.0f}, {source_bytes_per_sample:,.0f}",
        "python benchmarks/loader.py",
    ),
    "remote": Benchmark(
        "training from shards in an object store, on the same machine, through a cache that has room for a third of "
        "them, against training from shards here: share of the time that steps wait for data; the same from here; "
        "speed",
        "{wait_share:.1%}; {local_wait_share:.1%}; {vs_local:.2f}x",
        "python benchmarks/remote.py",
    ),
    "decoding": Benchmark(
        "two frames a second out of a film, as the stages take them, against decord, one core: in H.264; in VP9",
        "{vs_decord_h264:.1f}x; {vs_decord_vp9:.1f}x",
        "python benchmarks/decoding.py",
    ),
    "ingest": Benchmark(
        "ingest and segment: hours of video an hour and core; two workers against one; peak memory for N videos and "
        "for 10 N",
        "{video_hours_per_core_hour:.1f}; {two_workers:.2f}x; {peak_mb_1x:.0f} and {peak_mb_10x:.0f} MB",
        "python benchmarks/ingest.py",
    ),
    "nce": Benchmark(
        "CPD's noise drawn once for the batch against a draw for each sample, for 4,096 and 16,392 noise pairs: "
        "speed; extra memory",
        "{speedup_4096:.0f}x and {speedup_16392:.0f}x; {memory_4096:.0f}x and {memory_16392:.0f}x less",
        "python benchmarks/nce.py",
    ),
    "sentences": Benchmark(
        "the text part of CPD's first stage: sentences of a frozen DistilBERT computed once against in every epoch, "
        "over 1, 10 and 150 epochs",
        "{speedup_1_epochs:.1f}x, {speedup_10_epochs:.1f}x, {speedup_150_epochs:.0f}x",
        "python benchmarks/sentences.py",
    ),
    "search": Benchmark(
        "search among a million moments, one core: exact queries a second and recall, and how many times that is "
        "faiss's flat index as installed, and with BLAS for batches; one query of 10,000 moments, and by faiss; "
        "of 20,000, and by faiss; one of the graph (100,000 moments), and its recall",
        "{qps:.0f}, {recall:.3f}, {vs_faiss:.1f}x, {vs_faiss_blas:.1f}x; {single_10000_ms:.2f} ms, "
        "{faiss_single_10000_ms:.2f} ms; {single_ms:.2f} ms, {faiss_single_ms:.2f} ms; {hnsw_ms:.1f} ms, "
        "{hnsw_recall:.3f}",
        "OMP_NUM_THREADS=1 python benchmarks/search.py",
    ),
    "page": Benchmark(
        "the search page while fifty people type at once over a million moments, on two cores: answers a second; "
        "median and 99th percentile; errors; memory at the start, in the middle, at the end; the 99th percentile of "
        "the same searches with a thread for each request",
        "{queries_per_second:.0f}; {median_ms:.0f} and {p99_ms:,.0f} ms; {errors}; "
        "{memory_mb[0]:,.0f}, {memory_mb[1]:,.0f}, {memory_mb[2]:,.0f} MB; {plain_p99_ms:,.0f} ms",
        "python benchmarks/page.py",
    ),
    "features": Benchmark(
        "frozen features as the stages extract them against batch by batch in fp32, one core: speed; smallest cosine "
        "between both",
        "{speedup:.1f}x; {cosine_min:.5f}",
        "OMP_NUM_THREADS=1 python benchmarks/features.py",
    ),
    "retiming": Benchmark(
        "scripts of real speech moved by up to a minute and stretched by up to 4%, found by `ingest.retime`: "
        "believed; median and largest error in seconds; scripts of other films that are believed, and their highest "
        "confidence; processor's seconds a minute of film",
        "{believed:.0%} of {scripts}; {error_median_s:.2f}, {error_max_s:.2f}; {others_believed} of {others:,}, "
        "{others_confidence_max:.2f}; {seconds_a_minute:.2f}",
        "python benchmarks/retiming.py /data/grid_s1",
    ),
    "startup": Benchmark(
        "seconds, medians: Python alone, with `import scriptsight`; `scriptsight --help`",
        "{python[median_s]:.2f}, {import[median_s]:.2f}; {help[median_s]:.2f}",
        "python benchmarks/startup.py",
    ),
    "orchestration": Benchmark(
        "a whole run of the default pipeline: seconds in all, seconds that are not the stages' own work, of which "
        "imports",
        "{total_s:.0f}, {orchestration_s:.0f}, {imports_s:.0f}",
        "python benchmarks/orchestration.py --project",
    ),
    "sweep": Benchmark(
        "a study of the default parameters: two workers against one; trials",
        "{speedup:.2f}x; {trials}",
        "python benchmarks/sweep.py",
    ),
}


class Results:
    """The files that hold numbers: as they lie in the folder, or as git has them staged or committed."""

    def __init__(self, root: Path, *, staged: bool) -> None:
        self._root = root
        self._git = shutil.which("git") if staged else None
        if self._git and self._run("rev-parse", "--is-inside-work-tree").returncode:
            self._git = None  # an archive of the sources: there is nothing but its files

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [str(self._git), "-C", str(self._root), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words

    def read(self, name: str) -> str | None:
        """The text of a file below the root; None where there is none."""
        if self._git:
            done = self._run("show", f":./{name}")
            return None if done.returncode else done.stdout
        path = self._root / name
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def names(self, folder: str) -> list[str]:
        """The JSON files of a folder, sorted."""
        if self._git:
            return sorted(self._run("ls-files", "--", f"{folder}/*.json").stdout.splitlines())
        return sorted(path.relative_to(self._root).as_posix() for path in (self._root / folder).glob("*.json"))


class Figures:
    """What a mark stands for."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._read: dict[str, Any] = {}

    def text(self, what: str) -> str:
        """The text that belongs between the comments of a mark.

        Raises:
            InputError: the mark is not one of those described above, or the file or the figure is not there.
        """
        kind, *words = what.split()
        kinds: dict[str, tuple[Callable[..., str], int]] = {
            "interval": (self._interval, 3),
            "mean": (self._mean, 4),
            "range": (self._range, 4),
            "ahead": (self._ahead_in_words, 4),
            **{stage: (lambda *given, stage=stage: self._figure(stage, *given), 2) for stage in STAGES},
        }
        if kind == "table":
            return self._table(words)
        if kind not in kinds or len(words) != kinds[kind][1]:
            raise InputError(f"unknown figure {what!r}; `python -m docs.figures --help` shows what there is")
        return kinds[kind][0](*words)

    def _json(self, name: str) -> Any:
        if name not in self._read:
            text = self._results.read(name)
            if text is None:
                raise InputError(f"there is no {name}: run the stage, and add the file to git")
            self._read[name] = json.loads(text)
        return self._read[name]

    def _figure(self, stage: str, path: str, form: str) -> str:
        here = self._json(f"metrics/{stage}.json")
        for key in path.split("/"):
            if not isinstance(here, Mapping) or key not in here:
                raise InputError(f"metrics/{stage}.json has no {path}")
            here = here[key]
        return format(here, form)

    def _interval(self, stage: str, path: str, form: str) -> str:
        return " to ".join(self._figure(stage, f"{path}_{end}", form) for end in ("low", "high"))

    def _table(self, words: Sequence[str]) -> str:
        tables: dict[tuple[str, int], Callable[..., Iterator[list[str]]]] = {
            ("headline", 1): self._headline,
            ("results", 1): self._default_results,
            ("objectives", 3): self._objectives,
            ("ahead", 2): self._ahead_of_all,
            ("benchmarks", 1): self._benchmarks,
        }
        if not words or (words[0], len(words)) not in tables:
            raise InputError(
                f"unknown table {' '.join(words)!r}; `python -m docs.figures --help` shows what there is"
            )
        heads, *rows = tables[words[0], len(words)](*words[1:])
        if not rows:
            return "\n"
        lines = ["| " + " | ".join(row) + " |" for row in (heads, ["---"] * len(heads), *rows)]
        return "\n\n" + "\n".join(lines) + "\n\n"

    def _headline(self) -> Iterator[list[str]]:
        heads, *rows = self._default_results()
        yield from [heads, *(rows[number] for number in HEADLINE)]

    def _default_results(self) -> Iterator[list[str]]:
        yield ["measured on held-out videos", "value", "read it against"]
        for row in RESULTS:
            yield [re.sub(r"{([^{}]+)}", lambda match: self.text(match[1]), cell) for cell in row]

    def _benchmarks(self) -> Iterator[list[str]]:
        yield ["measured", "value", "on", "command"]
        for name, row in BENCHMARKS.items():
            file = f"benchmarks/results/{name}.json"
            if self._results.read(file) is not None:
                try:
                    found = self._json(file)
                    yield [row.what, row.value.format(**found), found["processor"], f"`{row.command}`"]
                except (LookupError, TypeError, ValueError) as error:
                    raise InputError(f"{file} is not the JSON line of `{row.command}`: {error!r}") from None
        for file in self._results.names("benchmarks/results"):
            found = self._json(file)
            if "gpu" in found:
                what = f"the same step on {found['gpu']}, bf16 against fp32, each at its best batch size; MFU"
                value = f"{found['speedup']:.1f}x; {found['ours']['mfu']:.2f}"
                yield [what, value, "", "`python benchmarks/step.py`"]

    def _standing(self, world: str, budget: str) -> Standing:
        """All objectives' seeds in one world and by one budget; the reference is the same by both budgets."""
        if COMPARED not in self._read:
            text = self._results.read(COMPARED)
            if text is None:
                raise InputError(f"there is no {COMPARED}: `scriptsight compare --preset full --out docs` writes it")
            self._read[COMPARED] = list(csv.DictReader(text.splitlines()))
        standing = Standing()
        for row in self._read[COMPARED]:
            if (row["world"], row["budget"]) == (world, budget):
                seed = {name: float(value) for name, value in row.items() if name not in standings.KEYS and value}
                standing.trained.setdefault(row["objective"], []).append(seed)
        standing.chance = standing.trained.pop(standings.CHANCE, [{}])[0]
        if not standing.trained:
            raise InputError(f"{COMPARED} has nothing of world {world} and budget {budget}")
        return standing

    def _seeds(self, world: str, budget: str, objective: str, figure: str) -> list[float]:
        seeds = self._standing(world, budget).trained.get(objective, [])
        if not any(figure in seed for seed in seeds):
            raise InputError(f"{COMPARED} has no {figure} of {objective} in world {world}, budget {budget}")
        return [seed[figure] for seed in seeds if figure in seed]

    def _mean(self, world: str, budget: str, objective: str, figure: str) -> str:
        return f"{statistics.mean(self._seeds(world, budget, objective, figure)):.3f}"

    def _range(self, world: str, budget: str, objective: str, figure: str) -> str:
        seeds = self._seeds(world, budget, objective, figure)
        return f"{min(seeds):.3f} to {max(seeds):.3f}"

    def ahead(self, world: str, budget: str, rival: str, figure: str) -> tuple[float, float, float]:
        """Points by which TVTS is ahead of a rival: the mean of the seeds' differences, and its 95% t interval."""
        found = standings.ahead(self._standing(world, budget), rival, figure)
        if found is None:
            raise InputError(f"{COMPARED} has fewer than two seeds of {rival} in world {world}, budget {budget}")
        mean, low, high = (100 * value for value in found)
        return mean, low, high

    def _ahead_in_words(self, world: str, budget: str, rival: str, figure: str) -> str:
        mean, low, high = self.ahead(world, budget, rival, figure)
        return f"{mean:.0f} points ({low:.0f} to {high:.0f})"

    def _objectives(self, world: str, budget: str) -> Iterator[list[str]]:
        yield ["objective", *(standings.COLUMNS[figure] for figure in SHOWN)]
        standing = self._standing(world, budget)
        for name, title in standings.NAMES.items():
            seeds = standing.trained.get(name, [])
            values = [[seed[figure] for seed in seeds if figure in seed] for figure in SHOWN]
            yield [title, *(f"{statistics.mean(found):.3f}" if found else "-" for found in values)]
        chance = standing.chance
        yield ["chance", *(f"{chance[figure]:.3f}" if figure in chance else "-" for figure in SHOWN)]

    def _ahead_of_all(self, world: str) -> Iterator[list[str]]:
        yield ["TVTS ahead of", "budget", *(standings.COLUMNS[figure] for figure in AHEAD)]
        for rival in (name for name in standings.NAMES if name != "tvts"):
            for budget, title in standings.BUDGETS.items():
                cells = [
                    "{:+.0f} ({:+.0f} to {:+.0f})".format(*self.ahead(world, budget, rival, one)) for one in AHEAD
                ]
                yield [standings.NAMES[rival], title, *cells]


def pages(root: Path) -> list[Path]:
    """The files whose numbers are written: README.md and all pages, but for the table that the comparison writes."""
    found = [path for path in (root / "docs").rglob("*.md") if path.name != "compare.md"]
    return [root / "README.md", *sorted(found)]


def filled(text: str, figures: Figures, name: str) -> tuple[str, list[str]]:
    """A page with its numbers -> the page with those of the files, and a line for each that was another.

    Raises:
        InputError: a mark can't be read or has no figure; the message names page and line.
    """
    different = []

    def fill(match: re.Match[str]) -> str:
        line = text.count("\n", 0, match.start()) + 1
        try:
            found = figures.text(match["what"])
        except (InputError, ValueError) as error:
            raise InputError(f"{name}:{line}: {error}") from None
        if found != match["text"]:
            shown = (match["text"].strip() or "nothing", found.strip() or "nothing")
            different.append(f"{name}:{line}: {match['what']}: the page says {shown[0]}, the files say {shown[1]}")
        return f"<!-- figure: {match['what']} -->{found}<!-- /figure -->"

    new = MARK.sub(fill, text)
    if (opened := text.count("<!-- figure:")) != (count := len(MARK.findall(text))):
        raise InputError(f"{name}: {opened} figures begin, and {count} of them end with <!-- /figure -->")
    return new, different


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """The command -> exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m docs.figures", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a number is stale")
    check: bool = parser.parse_args(arguments).check
    figures = Figures(Results(root, staged=check))
    stale: list[str] = []
    try:
        for page in pages(root):
            text = page.read_text(encoding="utf-8")
            new, different = filled(text, figures, page.relative_to(root).as_posix())
            stale += different
            if different and not check:
                with whole_file(page) as partial:
                    partial.write_text(new, encoding="utf-8")
    except InputError as error:
        print(f"figures: {error}", file=sys.stderr)
        return 1
    for line in stale:
        print(line if check else line.split(": the page says")[0])
    if stale and check:
        print("Run `python -m docs.figures`, and add the pages and the result files to git.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
