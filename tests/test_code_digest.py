"""Lists of code, held to what is really imported."""

from __future__ import annotations

from scriptsight import code_digest
from tests.imports import SOURCE, reached

# What changes no number of a training or of features: parameters (their values are in the key), the catalogue (types
# of cues), pictures, the digests themselves, and what is written of the videos that were learned from.
NO_NUMBERS = {"catalogue.py", "code_digest.py", "overlap.py", "params", "pictures.py"}
AFTERWARDS = {"features.py", "language_id.py", "profile.py"}


def _numbers(found: set[str]) -> set[str]:
    return {unit for unit in found if unit.partition("/")[0] not in NO_NUMBERS}


def test_the_code_of_a_training_is_what_pretrain_imports() -> None:
    assert _numbers(reached(SOURCE / "pretrain")) - AFTERWARDS == set(code_digest.TRAINING)


def test_the_code_of_features_is_what_features_imports() -> None:
    assert _numbers(reached(SOURCE / "features.py")) == set(code_digest.FEATURES)


def test_every_name_is_code() -> None:
    for name in (*code_digest.TRAINING, *code_digest.FEATURES):
        assert code_digest.sources([name]), name


def test_other_code_has_another_digest() -> None:
    digests = {code_digest.code_digest(names) for names in ((".",), code_digest.TRAINING, code_digest.FEATURES)}
    assert len(digests) == 3
    assert code_digest.code_digest(("models", "clips.py")) == code_digest.code_digest(("clips.py", "models"))
