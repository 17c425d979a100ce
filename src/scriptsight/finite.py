"""No number that is NaN or infinite goes from a model to features, from these to ranks, or from ranks to a file.

Comparisons with NaN are false, so that a query whose scores are NaN would have no wrong item before its right one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scriptsight.errors import InputError

REMEDY = "Nothing can be ranked by them: run the pretrain stage again, with a smaller lr."


def check(values: np.ndarray | Tensor, what: str, remedy: str = REMEDY) -> None:
    """See that numbers are finite.

    Args:
        values: [N, ...].
        what: begins the message, in the plural: "the vectors of the queries".

    Raises:
        InputError: some are not; the message says in how many of the N rows, and in which first.
    """
    array = np.atleast_1d(values.detach().float().cpu().numpy() if isinstance(values, Tensor) else values)
    if np.isfinite(array).all():
        return
    rows = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
    raise InputError(
        f"{what[:1].upper()}{what[1:]} are not finite: {len(rows)} of {len(array)} hold NaN or infinity, "
        f"the first is number {rows[0]}. {remedy}"
    )


def check_weights(weights: Mapping[str, Tensor], source: str | Path, remedy: str) -> None:
    """See that the weights of a model are finite.

    Raises:
        InputError: some are not; the message names `source` and the first tensor.
    """
    for name, value in weights.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            broken = int((~torch.isfinite(value)).sum())
            raise InputError(f"{source}: {name} holds {broken} numbers that are NaN or infinite. {remedy}")
