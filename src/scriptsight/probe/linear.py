"""Linear probe: a logistic regression on frozen features, fitted with L-BFGS.

A convex fit needs no schedule and has one answer, within seconds. `probe.sgd` trains the same layer as the papers
do.
"""

from __future__ import annotations

import numpy as np

from scriptsight.errors import needs
from scriptsight.probe.predictions import Predictions, by_view

with needs("learn", "Probing"):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

ITERATIONS = 2000  # scikit-learn warns when the fit needs more


def fit_predict(train: np.ndarray, classes: np.ndarray, test: np.ndarray, c: float) -> Predictions:
    """Fit on `train`, predict `test`; scores are probabilities, averaged over an item's views.

    Args:
        train, test: features [N_train, V, D], [N, V, D], or [N, D] of one view; both are standardised with the
            mean and spread of `train`. Each view of a training item is a sample of weight 1 / V.
        classes: of `train`, int64 [N_train], from 0 to C - 1.
        c: inverse strength of the L2 penalty.
    """
    train, test = by_view(train).astype(np.float64), by_view(test).astype(np.float64)
    views = train.shape[1]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=ITERATIONS))
    model.fit(
        train.reshape(-1, train.shape[2]),
        np.repeat(classes, views),
        logisticregression__sample_weight=np.full(len(train) * views, 1 / views),
    )
    probabilities = model.predict_proba(test.reshape(-1, test.shape[2])).reshape(*test.shape[:2], -1)
    scores = np.zeros((len(test), classes.max() + 1))
    scores[:, model.classes_] = probabilities.mean(axis=1)
    return Predictions(scores)


def predict(train: np.ndarray, classes: np.ndarray, test: np.ndarray, c: float) -> np.ndarray:
    """The likeliest classes alone, int64 [N]; see `fit_predict`."""
    return fit_predict(train, classes, test, c).classes
