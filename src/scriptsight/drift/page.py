"""A report on new videos as words and as a picture."""

from __future__ import annotations

from pathlib import Path

from scriptsight.drift import Finding, Report, span
from scriptsight.files import whole_file, write_json
from scriptsight.pictures import COLOURS, FAINT, INK, one_line, picture

COLOUR = {"differs": COLOURS[1], "no sign of it": COLOURS[0], "can't tell": FAINT}


def markdown(report: Report) -> str:
    """The report in Markdown, readable as it is."""
    lines = [f"model: {report.model}", "", report.line]
    if not report.findings:
        return "\n".join(lines)
    head = ("measure", "old", "new", "p", "recordings", "verdict")
    rows = [head, *(_cells(finding) for finding in report.findings)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines += [
        "",
        *(
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            for row in (rows[0], tuple("-" * width for width in widths), *rows[1:])
        ),
        "",
        *(f"- {finding.verdict}: {finding.words}" for finding in report.findings),
        "",
        "In parentheses are 95% intervals, by recordings. Each p is from parting the recordings anew, and adjusted "
        "for the number of measures (Holm).",
    ]
    return "\n".join(lines)


def _cells(finding: Finding) -> tuple[str, ...]:
    p_value = "-" if finding.p_value is None else f"{finding.p_value:.2g}"
    sizes = f"{finding.old_recordings} / {finding.new_recordings}"
    both = ("-" if one is None else span(one, finding.form) for one in (finding.old, finding.new))
    return finding.what, *both, p_value, sizes, finding.verdict


def draw(report: Report, path: Path) -> None:
    """Each measure on a line of its own: old videos and new ones, with their 95% intervals."""
    told = [finding for finding in report.findings if finding.old is not None and finding.new is not None]
    with picture(path, width=9, height=1.2 + 0.8 * max(1, len(told))) as figure:
        panels = figure.subplots(max(1, len(told)), 1, squeeze=False)[:, 0]
        title = f"{report.videos:,} {report.compared}, and what {report.model} learned from"
        figure.suptitle(one_line(title, 110), fontsize=10, x=0.02, ha="left")
        if not told:
            panels[0].set_axis_off()
        for axes, finding in zip(panels, told, strict=False):
            for place, (one, colour) in enumerate(((finding.old, INK), (finding.new, COLOUR[finding.verdict]))):
                assert one is not None
                axes.plot((one.low, one.high), (place, place), color=colour, linewidth=2)
                axes.plot(one.value, place, "o", color=colour)
            axes.set_yticks((0, 1), ("old", "new"))
            axes.set_ylim(1.6, -0.6)
            assert finding.old is not None and finding.new is not None
            old, new = (span(one, finding.form) for one in (finding.old, finding.new))
            axes.set_title(
                f"{finding.what}: old {old}, new {new}: {finding.verdict}", fontsize=9, fontweight="normal"
            )
            axes.xaxis.grid(True)
        figure.tight_layout()


def write(report: Report, folder: Path) -> list[Path]:
    """Leave `drift.json`, `drift.md` and `drift.png` in a folder -> the last two."""
    write_json(folder / "drift.json", report.as_json())
    with whole_file(folder / "drift.md") as partial:
        partial.write_text(f"{markdown(report)}\n", encoding="utf-8")
    draw(report, folder / "drift.png")
    return [folder / "drift.md", folder / "drift.png"]
