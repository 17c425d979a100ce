"""Names of nested values, as MLflow and Optuna know them: `pretrain.tvts.sort_weight`, `t2v/r1`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scriptsight.errors import InputError


def flat(values: Mapping[str, Any], separator: str, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with joined names; characters that MLflow refuses in a name become `_`."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = prefix + re.sub(r"[^\w .\-]", "_", str(key))
        if isinstance(value, Mapping):
            found |= flat(value, separator, name + separator)
        else:
            found[name] = value
    return found


def numbers(path: Path, prefix: str = "") -> dict[str, float]:
    """The numbers of a JSON file of metrics by such names, as `random_init/linear_top1`.

    Raises:
        InputError: it can't be read, or is no object of JSON.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("it is no object")
        named = flat(values, "/", prefix).items()
        return {name: float(value) for name, value in named if isinstance(value, int | float)}
    except (OSError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(
            f"The figures {path} can't be read ({error}): remove the file, and run its stage again."
        ) from None


def recorded(stage: str, values: Mapping[str, float]) -> dict[str, float]:
    """The numbers of metrics/STAGE.json under the names that they have in MLflow."""
    if stage == "pretrain":
        return dict(values)
    prefix = f"data/{stage}" if stage in ("ingest", "segment") else stage
    return {f"{prefix}/{name}": value for name, value in values.items()}
