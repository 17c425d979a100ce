"""Unit vectors, so that a product is a cosine."""

from __future__ import annotations

import numpy as np


def unit(features: np.ndarray) -> np.ndarray:
    """Rows of [N, D] scaled to length 1, float64; a row of zeros stays zeros and is like nothing."""
    features = features.astype(np.float64)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
