"""Where a model's code, data and parameters come from: what was used, which need not be what lies in the folder now.

`data/segments` may have been cut with other parameters than params.yaml has by now, from another catalogue than
`data/catalogue`, and dvc.lock may be of neither: stages are also run by hand. So ingest and segment leave a note of
what they made, under the digest of its content, and a training looks up the note of what it reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import flows
import scriptsight
from flows import PROJECT
from flows.names import flat, numbers
from flows.parameters import Params, load, of_machine
from flows.running import locks
from scriptsight import code_digest, files
from scriptsight.errors import InputError
from scriptsight.params.pretrain import PretrainParams
from scriptsight.redaction import redacted

SEGMENTS, CATALOGUE, BUNDLE = Path("data/segments"), Path("data/catalogue"), Path("models/pretrained")
NOTES = locks.LOCKS / "made"
UNKNOWN = "params.yaml and metrics/ as they lay there; what made data/segments is not known"


@dataclass(frozen=True)
class DataSet:
    """Segments that a stage reads, as MLflow lists them; `digest` is that of `overlap.data_digest`."""

    name: str
    digest: str
    context: str  # what they are for
    rows: int | None = None  # None: not known

    def event(self) -> dict[str, Any]:
        """For the process that records."""
        return {"name": self.name, "digest": self.digest, "context": self.context, "rows": self.rows}


@dataclass(frozen=True)
class Made:
    """What data/segments was made with: parameters and figures of ingest and segment, and how that is known."""

    known_by: str
    params: Mapping[str, Any]
    figures: Mapping[str, float]
    catalogue: str | None = None  # digest of the catalogue that was cut; None: not known


def figures(stage: str) -> dict[str, float]:
    """The numbers of metrics/STAGE.json under names such as `random_init/linear_top1`; none before it ran. Of
    `speed`, how fast the training went."""
    path = Path("metrics") / f"{stage}.json"
    return numbers(path) if path.is_file() else {}


def computed() -> dict[str, str]:
    """How the model was computed, by its own folder: computed/precision, computed/attention, computed/threads, ..."""
    path = Path("models/pretrained/computed.json")
    about = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {f"computed/{name}": str(value) for name, value in about.items()}


def used(
    params: Params, sections: Iterable[str] = ("ingest", "segment", "pretrain", "probe", "retrieve")
) -> dict[str, Any]:
    """The parameters of some sections that distinguish runs: not those of other objectives, of the machine, or left
    open."""
    return used_of(params.model_dump(mode="json", include=set(sections)), params)


def used_of(values: Mapping[str, Any], known: Params | None = None) -> dict[str, Any]:
    """As `used`, of the content of a parameters file, which another version may have written.

    Args:
        known: parameters that say which keys are of the machine; None: the project's own.
    """
    found = flat(values, ".")
    objective = found.get("pretrain.objective")
    parts = {name.rpartition(".")[2] for name in found if name.startswith("pretrain.joint.objectives.")}
    kinds = set(get_args(PretrainParams.model_fields["objective"].annotation)) - {objective}
    kinds -= parts if objective == "joint" else set()
    if objective == "contrastive":  # whose parameters are those of tvts
        kinds.discard("tvts")
    others = ("registry.", "sweep.", *(f"pretrain.{kind}." for kind in kinds))
    machine = set(of_machine(known or load(PROJECT / "params.yaml")))
    return {
        name: value
        for name, value in found.items()
        if value is not None and not name.startswith(others) and name not in machine
    }


# ------------------------------------------------------------------------------------------------------ data


def training(params: Params) -> DataSet | None:
    """The segments that pretrain learns from; None where there are none, which the stage itself says."""
    return _data("", "training", ((name, "train") for name in params.pretrain.collections))


def measured(stage: str, params: Params) -> DataSet | None:
    """The segments that the figures of a stage are of: of pretrain the validation splits."""
    if stage == "probe":
        tests = params.probe.tests.values()
        splits = {
            (name, split) for one in tests for name in one.collections for split in (one.train_split, one.test_split)
        }
        return _data(" (probe)", "probe", splits)
    if stage == "retrieve":
        return _data(" (retrieve)", "retrieve", [(params.retrieve.collection, params.retrieve.split)])
    there = [name for name in params.pretrain.collections if (SEGMENTS / name / "val").is_dir()]
    return _data(" (validation)", "validation", ((name, "val") for name in there))


def learned_from() -> DataSet | None:
    """The segments that the model in models/pretrained says it was trained on; None: it doesn't say it."""
    from scriptsight import overlap

    digest = overlap.trained_on(BUNDLE)
    return DataSet(SEGMENTS.as_posix(), digest, "training") if digest else None


def _data(what: str, context: str, splits: Iterable[tuple[str, str]]) -> DataSet | None:
    from scriptsight import overlap
    from scriptsight.segments import Segments

    try:
        opened = [(name, Segments(SEGMENTS, name, split)) for name, split in sorted(splits)]
    except InputError:
        return None
    if not opened:
        return None
    rows = sum(len(part) for _, part in opened)
    return DataSet(f"{SEGMENTS.as_posix()}{what}", overlap.data_digest(opened), context, rows)


def note(stage: str, params: Params) -> None:
    """Note what ingest or segment has just made. It never raises: the data is worth more than its note."""
    try:
        own = {"params": _plain(used(params, [stage])), "figures": figures(stage)}
        catalogue = _catalogue()
        if stage == "ingest":
            _write("catalogue", catalogue, own)
        else:
            _write(
                "segments", _all_segments(), {**own, "catalogue": catalogue, "ingest": _read("catalogue", catalogue)}
            )
    except (InputError, OSError, ValueError) as error:
        print(f"WARNING: what {stage} made is not noted ({redacted(error)}): MLflow won't know its parameters.")


def made(params: Params) -> Made:
    """What data/segments was made with: by the note of it, else by params.yaml and metrics/ as they are. DVC has seen
    that these belong to it; of a stage that was started by hand nobody knows, and `known_by` says so."""
    try:
        found = _read("segments", _all_segments())
    except InputError:  # the stage says what is wrong with them
        found = None
    if found is None:
        named = {
            f"{stage}/{name}": value for stage in ("ingest", "segment") for name, value in figures(stage).items()
        }
        known_by = "DVC" if os.environ.get("DVC_STAGE") else UNKNOWN
        return Made(known_by, used(params, ["ingest", "segment"]), named)
    before = found["ingest"] or {"params": {}, "figures": {}}
    named = {f"ingest/{name}": value for name, value in before["figures"].items()}
    named |= {f"segment/{name}": value for name, value in found["figures"].items()}
    return Made("its note", {**before["params"], **found["params"]}, named, found["catalogue"])


def _all_segments() -> str:
    from scriptsight import overlap
    from scriptsight.segments import Segments

    places = sorted({path.parent for path in SEGMENTS.glob("*/*/*.arrow")})
    return overlap.data_digest(
        (place.parent.name, Segments(SEGMENTS, place.parent.name, place.name)) for place in places
    )


def _catalogue() -> str:
    """SHA-256 of the files of the catalogue, with their places, as long as a `data_digest`."""
    total = hashlib.sha256()
    for path in sorted(path for path in CATALOGUE.rglob("*") if path.is_file()):
        total.update(f"{path.relative_to(CATALOGUE).as_posix()}\0{files.digest(path)}\n".encode())
    return total.hexdigest()[:32]


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON has them, without passwords."""
    plain: dict[str, Any] = json.loads(redacted(values))
    return plain


def _write(what: str, digest: str, values: Mapping[str, Any]) -> None:
    files.write_json(NOTES / f"{what}-{digest}.json", dict(values))


def _read(what: str, digest: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads((NOTES / f"{what}-{digest}.json").read_text(encoding="utf-8"))
        needed = {"params", "figures"} | ({"catalogue", "ingest"} if what == "segments" else set())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and needed <= found.keys() else None


# ------------------------------------------------------------------------------------------------------ code


def code() -> dict[str, str]:
    """Tags of the code that runs: its digest, and the commit of the checkout that it lies in, if it does."""
    tags = {"code_digest": code_digest.code_digest()[:32]}
    library, own = (_checkout(Path(str(package.__file__))) for package in (scriptsight, flows))
    if library:
        tags |= {"mlflow.source.git.commit": library[0], "git_commit": library[0], "git_changed_files": library[1]}
    if own != library:  # an editable install of another checkout, for one
        tags["git_commit_flows"] = own[0] if own else "none"
    return tags


def _checkout(file: Path) -> tuple[str, str] | None:
    """The commit of the repository that has a file among its own, and how many of its files differ from that."""
    if not _git(file.parent, "ls-files", "--error-unmatch", file.name):  # no repository, or not its code
        return None
    commit = _git(file.parent, "rev-parse", "HEAD")
    return (commit[0], str(len(_git(file.parent, "status", "--porcelain")))) if commit else None


def _git(folder: Path, *arguments: str) -> list[str]:
    """Lines that git prints in a folder; none where there is no repository or no git."""
    git = shutil.which("git")
    if not git:
        return []
    command = [git, "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.splitlines() if done.returncode == 0 else []
