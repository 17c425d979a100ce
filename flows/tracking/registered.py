"""Under which name this folder's models are registered.

On a team's server all workspaces share one registry, and models of different corpora have nothing to be compared by.
So each workspace has a registered model of its own, unless `registry.name` in its parameters names one.
"""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

from filelock import FileLock

from flows.running import dvc_experiment
from flows.tracking import store
from scriptsight import files

PROJECT_NAME = "scriptsight"
OWNER = "workspace"  # tag of a registered model: whose it is, by `identity`
IDENTITY = ".workspace"  # in mlruns/: it moves with the folder
LONGEST = 40  # letters of a folder's name


def name_of(client: Any, chosen: str | None) -> str:
    """The name of the registered model of the current folder.

    Args:
        chosen: `registry.name`; None: `scriptsight`, and in a workspace `scriptsight-FOLDER`. Where another workspace
            of this name has that on the server, the beginning of this one's identity follows.
    """
    if chosen is not None:
        return chosen
    if not Path("overrides.yaml").is_file():
        return PROJECT_NAME
    folder = re.sub(r"\W+", "-", dvc_experiment.folder_name()).strip("-")[:LONGEST] or "workspace"
    own = f"{PROJECT_NAME}-{folder}"
    known = find(client, own)
    if store.at_home():  # nobody else's; a version before this registered everything as the project's
        return own if known is not None or find(client, PROJECT_NAME) is None else PROJECT_NAME
    return own if known is None or known.tags.get(OWNER) == identity() else f"{own}-{identity()[:8]}"


def find(client: Any, name: str) -> Any:
    """The registered model of this name, or None."""
    found = client.search_registered_models(f"name = '{name}'")
    return found[0] if found else None


def ensure(client: Any, name: str, about: str) -> None:
    """Make the registered model `name`, if need be, as this workspace's."""
    if find(client, name) is None:
        client.create_registered_model(name, tags={OWNER: identity()}, description=about)


def hint(client: Any, name: str, chosen: str | None) -> str:
    """What is worth knowing about the name when it is used first; empty if nothing is."""
    if chosen is not None or name == PROJECT_NAME:
        return ""
    if name.endswith(f"-{identity()[:8]}"):
        other = name.removesuffix(f"-{identity()[:8]}")
        return f" Another workspace has {other!r}: set registry.name to it in both to compare their models."
    if not store.at_home() and find(client, PROJECT_NAME) is not None:
        return f" To go on with the versions of {PROJECT_NAME!r}, set registry.name to it."
    return ""


def identity() -> str:
    """Names this workspace, wherever it is moved: 32 hexadecimal digits, made when it is first asked for."""
    path = store.folder() / IDENTITY
    path.parent.mkdir(exist_ok=True)
    if not path.is_file() or not path.stat().st_size:  # an earlier version, when killed, left it empty
        with FileLock(path.with_suffix(".lock")):  # else two that begin at once would each have their own
            if not path.is_file() or not path.stat().st_size:
                with files.whole_file(path) as partial:
                    partial.write_text(uuid.uuid4().hex, encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()
