"""The stages: what is stale and why, and whether the model and the index are whole and of each other."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flows.doctor.findings import Finding, Place, note, ok, problem
from flows.names import flat
from flows.running import locks, mending
from scriptsight import files
from scriptsight.errors import InputError
from scriptsight.params import reading

MODEL, INDEX = Path("models/pretrained"), Path("models/index")
MANY = 3  # keys in a line


def stale(place: Place) -> Iterator[Finding]:
    """What a run would do, and why."""
    if place.kind == "none":
        return
    if not Path("dvc.yaml").is_file() or not Path(".dvc").is_dir():
        yield note("nothing was made here yet", place.run)
        return
    if "pipeline" in locks.held():
        yield ok("not looked at: a run is at work")
        return
    if mending.lock_is_cut_off():
        yield note(f"{mending.LOCK} was left half-written by a run that was killed", f"{place.run}   (mends it)")
        return
    edited = list(_edited(place))
    yield from edited
    from dvc.exceptions import DvcException
    from dvc.utils.strictyaml import YAMLSyntaxError, YAMLValidationError

    from flows.running import repository

    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    try:
        found = repository.status()
    except (DvcException, YAMLSyntaxError, YAMLValidationError) as error:
        words = " ".join(str(error).split())
        yield problem(f"DVC can't say what is stale: {words}", f"mend or move away {mending.LOCK}, or `git init`")
        return
    for name, why in found.items():
        yield note(f"{name}: {why}", place.run)
    if not found and not edited:
        yield ok("all stages are up to date")


def _edited(place: Place) -> Iterator[Finding]:
    """Values in overrides.yaml that the last run did not have: a run takes them over before DVC looks."""
    if not Path("overrides.yaml").is_file() or not Path("params.yaml").is_file():
        return
    try:
        now, before = flat(place.values, "."), flat(reading.read_yaml("params.yaml"), ".")
    except InputError:  # the check of the parameters says why
        return
    keys = sorted(key for key in now.keys() | before.keys() if now.get(key) != before.get(key))
    keys = [key for key in keys if not _is_path(now.get(key), before.get(key))]
    if keys:
        named = ", ".join(keys[:MANY]) + (f" and {len(keys) - MANY} more" if len(keys) > MANY else "")
        yield note(f"overrides.yaml has other values than the last run: {named}", place.run)


def _is_path(one: Any, other: Any) -> bool:
    """Whether two values are one place, which a workspace's params.yaml names absolutely."""
    return isinstance(one, str) and isinstance(other, str) and Path(one).resolve() == Path(other).resolve()


def model(place: Place) -> Iterator[Finding]:
    """The trained model."""
    if place.kind != "none":
        yield from _whole(MODEL, "model", "pretrain", place)


def index(place: Place) -> Iterator[Finding]:
    """The index of moments, and whether that model made it."""
    if place.kind == "none":
        return
    found = list(_whole(INDEX, "index", "retrieve", place))
    yield from found
    if found[0].status != "ok" or not (MODEL / "model.safetensors").is_file():
        return
    made_by = json.loads((INDEX / "config.json").read_text(encoding="utf-8")).get("weights")
    if made_by != files.digest(MODEL / "model.safetensors"):
        yield problem(f"the index was made by another model than {MODEL}", place.run)


def _whole(folder: Path, what: str, stage: str, place: Place) -> Iterator[Finding]:
    """Whether a folder is as it was written, by the checksums in its config.json."""
    config = folder / "config.json"
    if not config.is_file():
        yield note(f"there is no {what} in {folder} yet", place.run)
        return
    remedy = f"rm -r {folder} && {place.run}"
    try:
        sealed = files.check_sealed(config, _names(config), f"Have {stage} make it again.")
    except InputError as error:
        yield problem(str(error), remedy)
        return
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
    if sealed:
        yield ok(f"{folder} is whole, {size:.1f} MiB")
    else:
        yield note(f"{folder} is from before there were checksums: damage would not be seen", remedy)


def _names(config: Path) -> list[str]:
    """The files whose checksums a config has; none where it can't be read, which the check of it says."""
    try:
        listed: Mapping[str, Any] = json.loads(config.read_text(encoding="utf-8")).get(files.CHECKSUMS, {})
        return [name for name in listed if name != config.name]
    except (OSError, ValueError, AttributeError, TypeError):
        return []
