"""What a comparison came to: its figures seed by seed as a table, and what is drawn from that table alone: means with
their spread as Markdown, and bars."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scipy import stats

from flows.experiments import runner
from flows.experiments.contest import REFERENCE, STEPS, UNTRAINED, ObjectiveComparison, Preset, Run
from scriptsight.errors import InputError
from scriptsight.files import whole_file, write_csv
from scriptsight.ingest.world import VERBS
from scriptsight.pictures import COLOURS, INK, picture

# figure -> its column in the table; all are shares, and the higher the better
COLUMNS = {
    "sorting": "transcripts sorted",
    "sorting_blank": "... video blanked",
    "slow": "linear probe, slow actions",
    "loop": "linear probe, looped actions",
    "v2v": "video-to-video R@1, looped actions",
    "t2v": "text-to-video R@1",
}
CONTROLS = {
    "slow": "slow actions",
    "slow_shuffled": "... frames shuffled",
    "slow_first": "... first frame only",
    "loop": "looped actions",
    "loop_shuffled": "... frames shuffled",
    "loop_first": "... first frame only",
}
DRAWN = ("slow", "loop", "v2v", "t2v")
NAMES = {
    "tvts": "TVTS (sorting + alignment)",
    "contrastive": "alignment only",
    "cpd": "CPD (NCE, memory banks)",
    "masked_pixels": "masked pixels (VideoMAE)",
    "frame_order": "frame order (MERLOT's task)",
    "joint": "TVTS + CPD",
    "untrained": "untrained encoder",
}
WORLDS = {"undo": "every action is undone", "independent": "independent actions"}
ABOUT_WORLDS = {
    "undo": "In a scene every action is also undone: only the order of events distinguishes it from its reverse.",
    "independent": "Actions are drawn independently: which of them occur identifies a scene.",
}
BUDGETS = {"steps": "same steps", "seconds": "same seconds"}
ABOUT_BUDGETS = {
    "steps": "",
    "seconds": " Seconds are the processor's: each objective has as many steps as cost the same.",
}
CHANCE = "chance"  # in the table, in the place of an objective
KEYS = ("world", "budget", "objective")
FIGURES = ("seed", "steps", "seconds", *dict.fromkeys([*COLUMNS, *CONTROLS]))

SeedFigures = dict[str, float]  # of one training, by the names of FIGURES


@dataclass
class Standing:
    """Of one world and budget: the figures of each objective's seeds, and what guessing gets."""

    trained: dict[str, list[SeedFigures]] = field(default_factory=dict)
    chance: SeedFigures = field(default_factory=dict)

    @property
    def rivals(self) -> list[str]:
        """The objectives beside the reference."""
        return [name for name in self.trained if name not in (REFERENCE, UNTRAINED)]


Standings = dict[tuple[str, str], Standing]  # world and budget ->


def write(comparison: ObjectiveComparison) -> list[Path]:
    """Write what is there of a comparison into its folder -> table.md, table.csv and, if there is a rival yet,
    table.png."""
    table = comparison.root / "table.csv"
    rows = []
    for place, standing in collected(comparison).items():
        named = [*standing.trained.items(), (CHANCE, [standing.chance])]
        rows += [[*place, name, *map(one.get, FIGURES)] for name, seeds in named for one in seeds]
    write_csv(table, [*KEYS, *FIGURES], rows)
    markdown, *pictures = draw(table, comparison.root.name, comparison.preset)
    return [markdown, table, *pictures]


def draw(table: Path, name: str, preset: Preset) -> list[Path]:
    """Draw from a table of `write` alone -> the Markdown and, if there is anything to compare, the picture beside it.

    Args:
        name: of the preset, as the command has it.

    Raises:
        InputError: it is no such table.
    """
    standings = read(table)
    with whole_file(table.with_suffix(".md")) as partial:
        partial.write_text(_markdown(standings, name, preset), encoding="utf-8")
    if not standings:
        return [table.with_suffix(".md")]
    _bars(standings, table.with_suffix(".png"))
    return [table.with_suffix(".md"), table.with_suffix(".png")]


# -------------------------------------------------------------------------------------- collecting figures


def collected(comparison: ObjectiveComparison) -> Standings:
    """What is there of every world and budget in which the reference has a rival."""
    preset = comparison.preset
    found = {
        (world, budget): _collected(comparison, world, budget) for world in preset.worlds for budget in preset.budgets
    }
    return {place: standing for place, standing in found.items() if standing.rivals}


def _collected(comparison: ObjectiveComparison, world: str, budget: str) -> Standing:
    """What is there of a world and a budget. The reference is the same in both budgets."""
    standing = Standing()
    for name in (*comparison.preset.objectives, UNTRAINED):
        own = STEPS if name in (REFERENCE, UNTRAINED) else budget
        for run in (Run(world, seed, name, own) for seed in comparison.preset.seeds):
            paths = [folder(comparison.root) / runner.RESULT for folder in (run.folder, run.measured)]
            if all(path.is_file() for path in paths):
                trained, measured = map(runner.read, paths)
                standing.trained.setdefault(name, []).append(_of_seed(run.seed, trained, measured))
                standing.chance = _chance(comparison.base["pretrain"]["k"], measured)
    return standing


def _of_seed(seed: int, trained: Mapping[str, Any], measured: Mapping[str, Any]) -> SeedFigures:
    val, steps, probed = trained["val"], trained["steps"], measured["probe"]
    figures = {"seed": seed, "steps": steps, "seconds": steps * trained["step_seconds"]}
    for name in ("sort_accuracy", "tvts/sort_accuracy"):  # the joint objective's figures carry their part's name
        if name in val:
            figures |= {"sorting": val[name], "sorting_blank": val[f"{name}_blank"]}
    figures |= {"v2v": probed["loop"]["v2v_r1"], "t2v": measured["retrieve"]["t2v"]["r1"]}
    for clips, found in probed.items():
        figures |= {
            clips: found["linear_top1"],
            f"{clips}_shuffled": found["order"]["shuffled_top1"],
            f"{clips}_first": found["order"]["first_frame_top1"],
        }
    return figures


def _chance(k: int, measured: Mapping[str, Any]) -> SeedFigures:
    """What guessing gets. Clips are balanced, and a query's own class is about so much of the others."""
    verbs = dict.fromkeys((*CONTROLS, "v2v"), 1 / len(VERBS))
    return {"sorting": 1 / k, "sorting_blank": 1 / k, **verbs, "t2v": measured["retrieve"]["chance_r1"]}


def read(table: Path) -> Standings:
    """What `write` wrote.

    Raises:
        InputError: it is no such table.
    """
    found: Standings = {}
    with table.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if list(rows.fieldnames or ()) != [*KEYS, *FIGURES]:
            columns = ", ".join(rows.fieldnames or ())
            raise InputError(f"{table} is no table of a comparison: its columns are {columns or 'none'}.")
        for row in rows:
            standing = found.setdefault((row["world"], row["budget"]), Standing())
            try:
                figures = {name: float(row[name]) for name in FIGURES if row[name]}
            except ValueError as error:
                raise InputError(f"{table} is damaged in line {rows.line_num}: {error}.") from error
            if row["objective"] == CHANCE:
                standing.chance = figures
            else:
                standing.trained.setdefault(row["objective"], []).append(figures)
    return found


# ---------------------------------------------------------------------------------------------- statistics


def spread(values: Sequence[float]) -> str:
    """Mean and range as text."""
    if not values:
        return "-"
    mean = statistics.mean(values)
    return f"**{mean:.3f}** ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else f"**{mean:.3f}**"


def ahead(standing: Standing, rival: str, figure: str) -> tuple[float, float, float] | None:
    """How far the reference is ahead of a rival: the mean of the seeds' differences (both learn from the same films
    and are probed on the same clips) with its 95% t interval; None with fewer than two seeds of both."""
    rivals = {other["seed"]: other for other in standing.trained.get(rival, [])}
    pairs = [(one, rivals[one["seed"]]) for one in standing.trained.get(REFERENCE, []) if one["seed"] in rivals]
    differences = [one[figure] - other[figure] for one, other in pairs]
    if len(differences) < 2:
        return None
    mean = statistics.mean(differences)
    half = stats.t.ppf(0.975, len(differences) - 1) * statistics.stdev(differences) / len(differences) ** 0.5
    return mean, mean - half, mean + half


# --------------------------------------------------------------------------------------- words and pictures


def _markdown(standings: Standings, name: str, preset: Preset) -> str:
    trainings = {
        (world, STEPS if objective == REFERENCE else budget, objective, one["seed"])
        for (world, budget), standing in standings.items()
        for objective, seeds in standing.trained.items()
        for one in seeds
        if objective != UNTRAINED
    }
    parts = [
        "# The objectives compared\n",
        f"By `scriptsight compare --preset {name}`: {len(trainings)} of its {preset.trainings} trainings. Means over "
        "the seeds, each with films, clips and initialisation of its own; in brackets the least and the most.\n",
    ]
    for (world, budget), standing in standings.items():
        parts.append(f"## {_heading(world, budget)}\n")
        parts.append(f"{ABOUT_WORLDS[world]}{ABOUT_BUDGETS[budget]}\n")
        parts.append(_table(standing, COLUMNS, with_cost=True))
        if lines := list(_differences(standing)):
            parts.append(f"{NAMES[REFERENCE]} ahead of (points, mean of the seeds' differences, 95% t interval):\n")
            parts.append("\n".join(lines) + "\n")
        if any("slow_shuffled" in one for seeds in standing.trained.values() for one in seeds):
            parts.append("The same linear probes with the order of frames taken away:\n")
            parts.append(_table(standing, CONTROLS, with_cost=False))
    return "\n".join(parts)


def _heading(world: str, budget: str) -> str:
    return f"{WORLDS[world].capitalize()}, {BUDGETS[budget]}"


def _table(standing: Standing, columns: Mapping[str, str], with_cost: bool) -> str:
    heads = ["objective", "seeds", *(["steps", "processor seconds"] if with_cost else []), *columns.values()]
    rows = [heads, ["---"] * len(heads)]
    for name, seeds in standing.trained.items():
        cost = [
            " to ".join(dict.fromkeys(f"{edge(one[key] for one in seeds):.0f}" for edge in (min, max)))
            for key in (("steps", "seconds") if with_cost else ())
        ]
        values = [spread([one[key] for one in seeds if key in one]) for key in columns]
        rows.append([NAMES[name], str(len(seeds)), *cost, *values])
    floor = [f"{standing.chance[key]:.3f}" if key in standing.chance else "" for key in columns]
    rows.append([CHANCE, *[""] * (len(heads) - 1 - len(columns)), *floor])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _differences(standing: Standing) -> Iterator[str]:
    for rival in standing.trained:
        found = {figure: ahead(standing, rival, figure) for figure in DRAWN if rival != REFERENCE}
        leads = [
            f"{COLUMNS[figure]} {100 * lead[0]:+.1f} ({100 * lead[1]:+.1f} to {100 * lead[2]:+.1f})"
            for figure, lead in found.items()
            if lead
        ]
        if leads:
            yield f"- {NAMES[rival]}: " + "; ".join(leads)


def _bars(standings: Standings, path: Path) -> None:
    """A row of panels for each world and budget: bars are means over the seeds, dots the seeds."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    palette = (COLOURS[0], "#5b9bd5", "#7a5ea8", COLOURS[1], "#c96567", "#4c9a77", COLOURS[2])
    colours = dict(zip(NAMES, palette, strict=True))
    heights = [*[2.8] * len(standings), 0.7]  # inches; the last is the legend's
    with picture(path, width=11, height=sum(heights)) as figure:
        figure.set_layout_engine("constrained", h_pad=0.08)
        *rows, below = list(figure.subfigures(len(heights), 1, height_ratios=heights))  # type: ignore[arg-type]
        for row, ((world, budget), standing) in zip(rows, standings.items(), strict=True):
            row.suptitle(_heading(world, budget), x=0.01, ha="left", fontsize=11, fontweight="bold")
            for axes, key in zip(row.subplots(1, len(DRAWN)), DRAWN, strict=True):
                for place, (name, seeds) in enumerate(standing.trained.items()):
                    values = [one[key] for one in seeds if key in one]
                    if values:
                        axes.bar(place, statistics.mean(values), 0.75, color=colours[name])
                        axes.plot([place] * len(values), values, "o", color=INK, markersize=3)
                if key in standing.chance:
                    axes.axhline(standing.chance[key], color=INK, linestyle=":", linewidth=1)
                axes.set_xticks([])
                axes.set_title(COLUMNS[key], fontsize=9, fontweight="normal")
                axes.yaxis.grid(True)
        shown = [name for name in NAMES if any(name in standing.trained for standing in standings.values())]
        handles: list[Any] = [Patch(color=colours[name], label=NAMES[name]) for name in shown]
        handles.append(Line2D([], [], color=INK, linestyle=":", linewidth=1, label=CHANCE))
        below.legend(handles=handles, loc="center", ncols=4, fontsize=9)
