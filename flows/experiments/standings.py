"""What a comparison came to: its figures seed by seed, a table, and bars with their spread."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scipy import stats

from flows.experiments import contest
from scriptsight.files import whole_file
from scriptsight.ingest.world import VERBS
from scriptsight.pictures import COLOURS, INK, picture

if TYPE_CHECKING:
    from flows.experiments.compare import ObjectiveComparison, Run

# figure -> its column in the table; all are shares, and the higher the better
COLUMNS = {
    "sorting": "transcripts sorted",
    "sorting_blank": "... video blanked",
    "slow": "linear probe, slow",
    "loop": "linear probe, loop",
    "v2v": "video to video R@1 (loop)",
    "t2v": "text to video R@1",
}
CONTROLS = {
    "slow": "slow",
    "slow_shuffled": "... frames shuffled",
    "slow_first": "... first frame only",
    "loop": "loop",
    "loop_shuffled": "... frames shuffled",
    "loop_first": "... first frame only",
}
DRAWN = ("slow", "loop", "v2v", "t2v")
NAMES = {
    "tvts": "TVTS (sorting and alignment)",
    "contrastive": "alignment alone",
    "cpd": "CPD",
    "masked_pixels": "masked pixels (VideoMAE)",
    "frame_order": "frame order (MERLOT's task)",
    "joint": "TVTS + CPD",
    "untrained": "random initialisation",
}
WORLDS = {
    "undo": "Every verb is also undone: only the order of events tells a verb from its reverse",
    "independent": "Verbs drawn independently: which verbs occur identifies a scene",
}
BUDGETS = {"steps": "the same steps", "seconds": "the same processor seconds"}
Figures = dict[str, float]
Standing = dict[str, list[Figures]]  # objective -> a seed's figures each


def probe_section(base: Mapping[str, Any], clips: Sequence[str]) -> dict[str, Any]:
    """The probe's parameters for a comparison: linear probe and video-to-video recall on both kinds of clips."""
    tests = {name: {"collections": [name]} for name in clips}
    return {**base, "tests": tests, "protocols": ["linear", "video_to_video"]}


def all_of(comparison: ObjectiveComparison) -> dict[tuple[str, str], Standing]:
    """What is there of every world and budget in which the reference has a rival."""
    preset = comparison.preset
    found = {(world, budget): read(comparison, world, budget) for world in preset.worlds for budget in preset.budgets}
    return {key: standing for key, standing in found.items() if standing.keys() - {"tvts", "untrained"}}


def read(comparison: ObjectiveComparison, world: str, budget: str) -> Standing:
    """What is there of a world and a budget. The reference is the same in both budgets."""
    from flows.experiments.compare import REFERENCE, STEPS, UNTRAINED, Run

    found: Standing = {}
    for name in (*comparison.preset.objectives, UNTRAINED):
        own = STEPS if name in (REFERENCE, UNTRAINED) else budget
        runs = [Run(world, seed, name, own) for seed in comparison.preset.seeds]
        found[name] = [figures for run in runs if (figures := _figures(comparison, run))]
    return {name: seeds for name, seeds in found.items() if seeds}


def _figures(comparison: ObjectiveComparison, run: Run) -> Figures:
    """Of one training; empty if it is not there yet."""
    folder = run.folder(comparison.root)
    paths = folder / contest.RESULT, folder / "measured" / contest.RESULT
    if not all(path.is_file() for path in paths):
        return {}
    trained, measured = (contest.read(path) for path in paths)
    val, steps = trained["val"], trained["steps"]
    figures = {"seed": run.seed, "steps": steps, "seconds": steps * trained["step_seconds"]}
    for name in ("sort_accuracy", "tvts/sort_accuracy"):  # the joint objective's figures carry their part's name
        if name in val:
            figures |= {"sorting": val[name], "sorting_blank": val[f"{name}_blank"]}
    return figures | _probed(measured["probe"]) | {"t2v": measured["retrieve"]["t2v"]["r1"]}


def _probed(measured: Mapping[str, Any]) -> Figures:
    figures = {"v2v": measured["loop"]["v2v_r1"]}
    for clips, found in measured.items():
        order = found["order"]
        figures |= {
            clips: found["linear_top1"],
            f"{clips}_shuffled": order["shuffled_top1"],
            f"{clips}_first": order["first_frame_top1"],
        }
    return figures


def chance(comparison: ObjectiveComparison) -> Figures:
    """What guessing gets, from the first measurement that is there."""
    for path in sorted(comparison.root.glob(f"*/*/measured/{contest.RESULT}")):
        measured = contest.read(path)
        verbs = 1 / len(VERBS)  # clips are balanced, and a query's own class is about so much of the others
        clips = dict.fromkeys((*CONTROLS, "v2v"), verbs)
        k = comparison.base["pretrain"]["k"]
        return {"sorting": 1 / k, "sorting_blank": 1 / k, **clips, "t2v": measured["retrieve"]["chance_r1"]}
    return {}


def spread(values: Sequence[float]) -> str:
    """Mean and range as text."""
    if not values:
        return "-"
    mean = statistics.mean(values)
    return f"**{mean:.3f}** ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else f"**{mean:.3f}**"


def ahead(standing: Standing, rival: str, figure: str) -> tuple[float, float, float] | None:
    """How far the reference is ahead of a rival: the mean of the seeds' differences (both learn from the same films
    and are probed on the same clips) with its 95% t interval; None with fewer than two seeds of both."""
    rivals = {other["seed"]: other for other in standing.get(rival, [])}
    pairs = [(one, rivals[one["seed"]]) for one in standing.get("tvts", []) if one["seed"] in rivals]
    differences = [one[figure] - other[figure] for one, other in pairs]
    if len(differences) < 2:
        return None
    mean = statistics.mean(differences)
    half = stats.t.ppf(0.975, len(differences) - 1) * statistics.stdev(differences) / len(differences) ** 0.5
    return mean, mean - half, mean + half


def write(comparison: ObjectiveComparison) -> list[Path]:
    """table.md, table.csv and bars.png in the comparison's folder."""
    standings = all_of(comparison)
    paths = [comparison.root / name for name in ("table.md", "table.csv", "bars.png")]
    for path, text in zip(paths, (_markdown(comparison, standings), _csv(standings)), strict=False):
        with whole_file(path) as partial:
            partial.write_text(text, encoding="utf-8")
    if not standings:
        return paths[:2]
    _bars(standings, chance(comparison), paths[2])
    return paths


def _markdown(comparison: ObjectiveComparison, standings: Mapping[tuple[str, str], Standing]) -> str:
    preset = comparison.preset
    rivals = [name for name in preset.objectives if name != "tvts"]
    wanted = len(preset.worlds) * len(preset.seeds) * (1 + len(preset.budgets) * len(rivals))
    made = len(list(comparison.root.glob(f"*/*/measured/{contest.RESULT}")))
    made -= len(list(comparison.root.glob(f"*/untrained-*/measured/{contest.RESULT}")))
    parts = [
        "# The objectives compared\n",
        f"By `scriptsight compare --preset {comparison.root.name}`: {made} of its {wanted} trainings. Means over "
        "the seeds, each with films, clips and initialisation of its own; in brackets the least and the most.\n",
    ]
    guessed = chance(comparison)
    for (world, budget), standing in standings.items():
        parts.append(f"## {WORLDS[world]}; {BUDGETS[budget]}\n")
        parts.append(_table(standing, COLUMNS, guessed, with_cost=True))
        if lines := list(_differences(standing)):
            parts.append("TVTS ahead of (points, mean of the seeds' differences, 95% t interval):\n")
            parts.append("\n".join(lines) + "\n")
        if any("slow_shuffled" in figures for seeds in standing.values() for figures in seeds):
            parts.append("The same linear probes with the order of frames taken away:\n")
            parts.append(_table(standing, CONTROLS, guessed, with_cost=False))
    return "\n".join(parts)


def _table(standing: Standing, columns: Mapping[str, str], guessed: Figures, with_cost: bool) -> str:
    heads = ["objective", "seeds", *(["steps", "processor seconds"] if with_cost else []), *columns.values()]
    rows = [heads, ["---"] * len(heads)]
    for name, seeds in standing.items():
        cost = [
            " to ".join(dict.fromkeys(f"{edge(figures[key] for figures in seeds):.0f}" for edge in (min, max)))
            for key in (("steps", "seconds") if with_cost else ())
        ]
        values = [spread([figures[key] for figures in seeds if key in figures]) for key in columns]
        rows.append([NAMES[name], str(len(seeds)), *cost, *values])
    floor = [f"{guessed[key]:.3f}" if key in guessed else "" for key in columns]
    rows.append(["chance", *[""] * (len(heads) - 1 - len(columns)), *floor])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _differences(standing: Standing) -> Any:
    for rival in standing:
        if rival == "tvts":
            continue
        told = []
        for figure in DRAWN:
            if found := ahead(standing, rival, figure):
                mean, low, high = (100 * value for value in found)
                told.append(f"{COLUMNS[figure]} {mean:+.1f} ({low:+.1f} to {high:+.1f})")
        if told:
            yield f"- {NAMES[rival]}: " + "; ".join(told)


def _csv(standings: Mapping[tuple[str, str], Standing]) -> str:
    names = ["seed", "steps", "seconds", *dict.fromkeys([*COLUMNS, *CONTROLS])]
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["world", "budget", "objective", *names])
    for (world, budget), standing in standings.items():
        for objective, seeds in standing.items():
            for figures in seeds:
                table.writerow([world, budget, objective, *(figures.get(name, "") for name in names)])
    return text.getvalue()


def _bars(standings: Mapping[tuple[str, str], Standing], guessed: Figures, path: Path) -> None:
    """A row of panels for each world and budget: bars are means over the seeds, dots the seeds."""
    palette = (COLOURS[0], "#5b9bd5", "#7a5ea8", COLOURS[1], "#c96567", "#4c9a77", COLOURS[2])
    colours = dict(zip(NAMES, palette, strict=True))
    with picture(path, width=11, height=0.9 + 2.7 * len(standings)) as figure:
        grid = figure.subplots(len(standings), len(DRAWN), squeeze=False)
        for row, ((world, budget), standing) in zip(grid, standings.items(), strict=True):
            for axes, key in zip(row, DRAWN, strict=True):
                for place, (name, seeds) in enumerate(standing.items()):
                    values = [figures[key] for figures in seeds if key in figures]
                    if values:
                        axes.bar(place, statistics.mean(values), 0.75, color=colours[name])
                        axes.plot([place] * len(values), values, "o", color=INK, markersize=3)
                if key in guessed:
                    axes.axhline(guessed[key], color=INK, linestyle=":", linewidth=1)
                axes.set_xticks([])
                axes.set_title(COLUMNS[key], fontsize=9)
                axes.yaxis.grid(True)
            row[0].set_ylabel(f"{world}\n{BUDGETS[budget]}", fontsize=8)
        shown = {name for standing in standings.values() for name in standing}
        handles = [_patch(colours[name], NAMES[name]) for name in NAMES if name in shown]
        figure.legend(handles=handles, loc="lower center", ncols=4, fontsize=8)
        figure.tight_layout(rect=(0, 0.9 / (0.9 + 2.7 * len(standings)) * 0.75, 1, 1))


def _patch(colour: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour, label=label)
