import numpy as np
import pytest

from scriptsight.retrieve import metrics
from scriptsight.retrieve.metrics import ranks, summary


def naive(queries: np.ndarray, gallery: np.ndarray) -> list[int]:
    found = []
    for i in range(len(queries)):
        own = float(queries[i] @ gallery[i])
        others = [float(queries[i] @ gallery[j]) for j in range(len(gallery)) if j != i]
        found.append(1 + sum(score >= own for score in others))
    return found


@pytest.mark.parametrize("tied", [False, True])
def test_ranks_equal_a_naive_loop(tied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "CHUNK", 128)
    rng = np.random.default_rng(0)
    # Small integers tie often, and exactly in every order of summing.
    queries, gallery = (
        (rng.integers(-2, 3, (300, 4)) if tied else rng.normal(size=(300, 16))).astype(np.float64) for _ in range(2)
    )
    gallery = queries + gallery  # better than chance
    assert ranks(queries, gallery).tolist() == naive(queries, gallery)


def test_a_collapsed_model_is_last_not_first() -> None:
    same = np.ones((7, 3)) / np.sqrt(3)
    assert ranks(same, same).tolist() == [7] * 7


def test_repeated_vectors_tie_wherever_they_stand() -> None:
    rng = np.random.default_rng(1)
    vector = rng.normal(size=(1, 63)).astype(np.float32)
    for n in (2, 3, 5, 17, 33):  # sizes at which a product is summed in different orders
        assert ranks(np.repeat(vector, n, 0), np.repeat(vector, n, 0)).tolist() == [n] * n


def test_summary() -> None:
    assert summary(np.array([1, 2, 5, 6, 10, 11, 400, 1])) == {
        "r1": 0.25,
        "r5": 0.5,
        "r10": 0.75,
        "median_rank": 5.5,
    }
