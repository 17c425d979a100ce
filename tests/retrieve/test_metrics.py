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
    found = summary(np.array([1, 2, 5, 6, 10, 11, 400, 1]))
    assert {name: found[name] for name in ("r1", "r5", "r10", "r50", "median_rank", "mean_rank")} == {
        "r1": 0.25,
        "r5": 0.5,
        "r10": 0.75,
        "r50": 0.875,
        "median_rank": 5.5,
        "mean_rank": 54.5,
    }
    assert found["r1_low"] < 0.25 < found["r1_high"] and found["r50_high"] == 1.0


def test_summary_takes_captions_of_one_video_together() -> None:
    ranks_of_captions, owners = np.repeat([1, 9, 1, 9], 25), np.repeat(np.arange(4), 25)
    alone, together = summary(ranks_of_captions), summary(ranks_of_captions, owners)
    assert alone["r1"] == together["r1"] == 0.5
    assert together["r1_low"] < alone["r1_low"] and together["r1_high"] > alone["r1_high"]


def naive_of_several(scores: np.ndarray, of_queries: np.ndarray, of_gallery: np.ndarray) -> list[int]:
    """The official way of MSVD's video-to-text: the best of the right answers among all wrong ones."""
    found = []
    for i, video in enumerate(of_queries):
        best = max(scores[i, j] for j in range(len(of_gallery)) if of_gallery[j] == video)
        found.append(1 + sum(scores[i, j] >= best for j in range(len(of_gallery)) if of_gallery[j] != video))
    return found


@pytest.mark.parametrize("tied", [False, True])
def test_several_captions_a_video_equal_a_naive_loop(tied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "CHUNK", 16)
    rng = np.random.default_rng(2)
    owners = rng.permutation(np.concatenate([np.arange(20), rng.integers(0, 20, 60)]))
    videos = (rng.integers(-1, 2, (20, 3)) if tied else rng.normal(size=(20, 8))).astype(np.float64)
    captions = videos[owners] + (rng.integers(-1, 2, (80, 3)) if tied else rng.normal(size=(80, 8)))
    numbers = np.arange(20)
    there = ranks(captions, videos, owners, numbers)
    back = ranks(videos, captions, numbers, owners)
    assert there.tolist() == naive_of_several(captions @ videos.T, owners, numbers)
    assert back.tolist() == naive_of_several(videos @ captions.T, numbers, owners)
    assert len(set(back.tolist())) > 1


def test_a_video_s_own_captions_do_not_stand_in_its_way() -> None:
    video, other = np.array([[1.0, 0.0]]), np.array([[0.6, 0.8]])
    captions = np.array([[1.0, 0.0], [0.8, 0.6], [0.7, 0.7]])
    owners = np.array([1, 0, 0])  # the first caption, another video's, is nearest
    assert ranks(np.concatenate([video, other]), captions, np.arange(2), owners).tolist() == [2, 3]


def test_a_query_without_an_answer_is_an_error() -> None:
    with pytest.raises(ValueError, match="belongs to video 7"):
        ranks(np.ones((1, 2)), np.ones((2, 2)), np.array([7]), np.array([0, 1]))


def test_dual_softmax_equals_its_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "CHUNK", 7)
    rng = np.random.default_rng(3)
    queries, gallery = (rng.normal(size=(40, 6)) for _ in range(2))
    gallery += queries
    queries, gallery = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, gallery))
    scores = queries @ gallery.T
    prior = np.exp(scores / 0.05) / np.exp(scores / 0.05).sum(axis=0)  # over queries
    expected = naive_of_several(scores * prior, np.arange(40), np.arange(40))
    found = ranks(queries, gallery, dual_softmax=0.05)
    assert found.tolist() == expected != ranks(queries, gallery).tolist()


def test_dual_softmax_demotes_what_everybody_finds() -> None:
    hub = np.array([0.8, 0.8, 0.8, 0.0]) / np.linalg.norm([0.8, 0.8, 0.8])
    queries = np.eye(4)[:3] @ np.eye(4)
    gallery = np.stack([*(0.5 * np.eye(4)[:3] + 0.866 * np.eye(4)[3]), hub])
    assert ranks(queries, gallery, np.arange(3), np.arange(4)).tolist() == [2, 2, 2]  # the hub comes first
    assert ranks(queries, gallery, np.arange(3), np.arange(4), dual_softmax=0.05).tolist() == [1, 1, 1]
