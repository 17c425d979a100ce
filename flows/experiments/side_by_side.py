"""`scriptsight compare MODEL MODEL ...`: any models beside each other, in one page, one Markdown and one JSON file.

What each is worth with its interval and by paired tests, which parameters and data differ, how each learned, and the
models' own pictures. `named` says how models are named, `comparison` what is said of them, `page` how it looks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows import parameters
from flows.experiments import named, page
from flows.experiments.comparison import LETTERS, Comparison, compare
from flows.tracking import registered, store
from scriptsight.errors import InputError
from scriptsight.files import whole_file, write_json

PLOTS = Path("plots/compare")
COMPARED = "compared"  # tag of a run: where the newest page is that it is on


def publish(client: Any, comparison: Comparison, folder: Path = PLOTS) -> tuple[list[Path], str | None]:
    """Leave the page, the Markdown and the JSON in `folder`, and with the newest run in MLflow, to which a tag of all
    runs leads -> the files, and that run's id if there is one."""
    paths = [folder / f"compare.{kind}" for kind in ("html", "md", "json")]
    page.write(comparison, paths[0])
    with whole_file(paths[1]) as partial:
        partial.write_text(f"{comparison}\n", encoding="utf-8")
    write_json(paths[2], comparison.as_json())
    runs = {entry.model.run_id: entry.model.started for entry in comparison.entries if entry.model.run_id}
    if not runs:
        return paths, None
    newest = max(runs, key=lambda run_id: runs[run_id])
    names = [(entry.model.run_id or entry.model.name) for entry in comparison.entries]
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
    where = f"compare/{'-'.join(run_id[:8] for run_id in list(runs)[:4])}-{digest}"
    for path in paths:
        client.log_artifact(newest, str(path), where)
    for run_id in runs:
        client.set_tag(run_id, COMPARED, f"run {newest[:8]}, artifact {where}/{paths[0].name}")
    return paths, newest


def found(client: Any, names: Sequence[str], registered: str) -> tuple[list[named.Source], list[str]]:
    """The models of these names, each once -> they, and what is told of names that are left out.

    Raises:
        InputError: a name is of nothing; fewer than two models are left, or more than there are letters.
    """
    sources: dict[str, named.Source] = {}
    remarks = []
    for name in names:
        source = named.find(client, name, registered)
        if source.key in sources:
            remarks.append(f"{name!r} is {sources[source.key].name}, which is named twice: it is shown once.")
        sources.setdefault(source.key, source)
    if len(sources) < 2:
        (one,) = sources.values()
        raise InputError(f"All names are of {one.name}: there is nothing to compare. Name two models or more.")
    if len(sources) > len(LETTERS):
        raise InputError(f"{len(sources)} models are too many for one page: name {len(LETTERS)} at most.")
    return list(sources.values()), remarks


def command(options: argparse.Namespace) -> None:
    """Print the comparison; the page goes to plots/compare and to the newest run in MLflow."""
    with store.opened() as client:
        chosen = parameters.load(options.params).registry
        registry = registered.name_of(client, chosen.name)
        sources, remarks = found(client, options.models, registry)
        version = store.model_version(client, registry, "champion")
        comparison = compare(
            sources,
            options.metric or chosen.metric,
            champion=version.run_id if version else None,
            all_pairs=options.all_pairs,
            remarks=remarks,
        )
        if options.metric and options.metric not in comparison.figures:
            has = ", ".join(comparison.figures) or "none at all"
            raise InputError(f"--metric: no model has outcomes of {options.metric!r} (there are: {has}).")
        paths, run_id = publish(client, comparison)
    for path in paths if options.out else ():
        options.out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, options.out / path.name)
    if options.json:
        print(json.dumps(comparison.as_json(), indent=2))
        return
    print(comparison)
    print(f"\n{paths[0]}" + (f", and with the run {run_id[:8]} in MLflow under compare/" if run_id else ""))
