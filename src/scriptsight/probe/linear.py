"""Linear probe: a logistic regression on frozen features, fitted with L-BFGS.

The TVTS paper trains the same layer with SGD and no penalty; a convex fit needs no schedule and has one
answer.
"""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ITERATIONS = 2000  # scikit-learn warns when the fit needs more


def predict(train: np.ndarray, classes: np.ndarray, test: np.ndarray, c: float) -> np.ndarray:
    """Predict the classes of `test` -> int64 [N].

    Args:
        train, test: features [N_train, D], [N, D]; both are standardised with the mean and spread of `train`.
        classes: of `train`, int64 [N_train].
        c: inverse strength of the L2 penalty.
    """
    model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=ITERATIONS))
    model.fit(train.astype(np.float64), classes)
    return model.predict(test.astype(np.float64))
