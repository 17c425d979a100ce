"""Unit vectors, so that a product is a cosine."""

from __future__ import annotations

import numpy as np


def unit(features: np.ndarray) -> np.ndarray:
    """Vectors of [..., D] scaled to length 1, float64; a vector of zeros stays zeros and is like nothing."""
    features = features.astype(np.float64)
    return features / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), 1e-12)


def pooled(features: np.ndarray) -> np.ndarray:
    """One unit vector a video, float64 [N, D]: the direction of the mean of its views' unit vectors.

    Args:
        features: [N, D], or of several views [N, V, D].
    """
    return unit(unit(features).mean(axis=1)) if features.ndim == 3 else unit(features)
