"""`scriptsight drift`: do new videos look like those that the champion learned from, and does it do as well on them?

The library compares (`scriptsight.drift`); here is which model is meant, and where the answer goes. The pipeline runs
this module as a process of its own after its segment stage: what fails here, or takes all memory, stops nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows import parameters
from flows.running.processes import die_with_parent, exit_on_error
from flows.tracking import registered, registry, store
from scriptsight import drift, files
from scriptsight.drift import Report, page, span
from scriptsight.errors import InputError

SEGMENTS = Path("data/segments")
PLOTS = Path("plots/drift")


@dataclass(frozen=True)
class Model:
    """A model with which new videos are compared: its folder, and its version if it is registered."""

    name: str
    folder: Path
    version: Any = None


@contextmanager
def found(client: Any, named: str | None, registry_name: str) -> Iterator[Model]:
    """The model that a person names: a folder, or a version or an alias of the registered model. None is the
    champion, or models/pretrained where there is none.

    Raises:
        InputError: nothing has that name.
    """
    if named is not None and (Path(named) / "config.json").is_file():
        yield Model(named, Path(named))
        return
    version = store.model_version(client, registry_name, named or registry.CHAMPION)
    if version is None and named is None:
        yield Model(f"{registry.BUNDLE} (there is no champion yet)", registry.BUNDLE)
        return
    if version is None:
        raise InputError(
            f"{named!r} is no folder with a model, and no version or alias of the registered model "
            f"{registry_name!r}: the MLflow page (`scriptsight ui`) lists versions."
        )
    name = f"version {version.version} of {registry_name}" + ("" if named else " (the champion)")
    with ExitStack() as held:
        yield Model(name, _bundle(version, held), version)


def _bundle(version: Any, held: ExitStack) -> Path:
    """The bundle of a registered version: the one at hand if it has the same weights, else a copy for a while."""
    weights = registry.BUNDLE / "model.safetensors"
    if weights.is_file() and files.digest(weights) == version.tags.get("weights_digest"):
        return registry.BUNDLE
    from mlflow.artifacts import download_artifacts

    folder = held.enter_context(tempfile.TemporaryDirectory())
    address = f"{version.source}/artifacts/{registry.BUNDLE.name}"
    return Path(download_artifacts(artifact_uri=address, dst_path=folder, tracking_uri=store.uri()))


def report(
    settings: parameters.Params, named: str | None = None, only: tuple[str, str | None] | None = None
) -> Report:
    """Compare, leave the answer in `PLOTS`, and with the model in MLflow if it is registered.

    Args:
        named: the model, see `found`.
        only: see `drift.compare`; such an answer is about chosen videos, and MLflow does not get it.

    Raises:
        InputError: there is nothing to compare, or MLflow can't be used.
    """
    with store.opened() as client, found(client, named, registered.name_of(client, settings.registry.name)) as model:
        made = drift.compare(model.folder, SEGMENTS, settings.pretrain.collections, model=model.name, only=only)
        pictures = page.write(made, PLOTS)
        if model.version is not None and only is None:
            _record(client, model.version, made, pictures)
    return made


def _record(client: Any, version: Any, made: Report, pictures: list[Path]) -> None:
    """Tags of the version, `drift_...`, with each figure and its interval; words and picture with its run."""
    tags = {"verdict": made.verdict, "new_videos": str(made.videos), "in_words": made.line}
    tags |= {
        finding.name.replace(" ", "_"): f"{finding.verdict}: {span(finding.new, finding.form)} instead of "
        f"{span(finding.old, finding.form)}, p = {finding.p_value:.2g}"
        for finding in made.findings
        if finding.old and finding.new
    }
    for name, value in tags.items():
        client.set_model_version_tag(version.name, version.version, f"drift_{name}", value)
    for path in pictures:
        client.log_artifact(version.run_id, str(path), "drift")


def command(options: argparse.Namespace) -> None:
    """Print the answer; it and its picture also go to plots/drift, and to the model's version in MLflow."""
    only: tuple[str, str | None] | None = None
    if options.only:
        collection, _, split = options.only.partition("/")
        only = collection, split or None
    made = report(parameters.load(options.params), options.model, only)
    print(json.dumps(made.as_json(), indent=2) if options.json else f"{page.markdown(made)}\n\n{PLOTS}/drift.png")


def main() -> None:
    """For the pipeline: compare with the champion, if there is one -> the answer as a line of JSON."""
    with exit_on_error("drift"):
        die_with_parent()
        settings = parameters.load()
        with store.opened() as client:
            registry_name = registered.name_of(client, settings.registry.name)
            champion = store.model_version(client, registry_name, registry.CHAMPION)
        made = report(settings, registry.CHAMPION) if champion is not None else None
        print(json.dumps(made and {"line": made.line, "verdict": made.verdict}), file=sys.stdout)


if __name__ == "__main__":
    main()
