"""High dynamic range pictures as standard ones, so that a model sees one kind of picture.

PQ (HDR10, HDR10+, Dolby Vision with a compatible base) and HLG carry light over a wider range, in wider
colours; shown as they are, they look pale and dim. The rule, the same for every picture and with no look at its
content: what is up to 0.6 of reference white (203 cd/m2, ITU-R BT.2408) keeps its light, what is brighter is
pressed smoothly below white and keeps its hue; colours beyond BT.709 are clipped to it. Dolby Vision without a
compatible base (profile 5) is decoded as if it had one: its colours are wrong.
"""

from __future__ import annotations

from functools import cache

import numpy as np

PQ, HLG = 16, 18  # transfer characteristics, ITU-T H.273

_REFERENCE_WHITE = 203.0  # cd/m2, BT.2408
_HLG_PEAK = 1000.0  # cd/m2, the nominal display of BT.2100
_KNEE = 0.6  # of reference white
_GAMMA = 2.4  # of a standard display, BT.1886
_TO_BT709 = np.array(  # linear light, BT.2087
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)


def as_standard(image: np.ndarray, transfer: int) -> np.ndarray:
    """RGB uint8 [H, W, 3] coded with `transfer` (ITU-T H.273) in BT.2020 colours -> the same, BT.709 with gamma.

    A picture of another transfer is returned as it is.
    """
    if transfer not in (PQ, HLG):
        return image
    light = np.maximum(linear_light(transfer)[image] @ _TO_BT709.T, 0)
    # The brightest of the three colours says by how much all are dimmed, so that the hue stays.
    brightest = light.max(axis=2, keepdims=True)
    above = np.maximum(brightest - _KNEE, 0) / (1 - _KNEE)
    pressed = np.minimum(brightest, _KNEE) + (1 - _KNEE) * -np.expm1(-above)
    light *= pressed / np.maximum(brightest, 1e-6)
    return np.rint(255 * light ** (1 / _GAMMA)).astype(np.uint8)


@cache
def linear_light(transfer: int) -> np.ndarray:
    """Linear light of the 256 codes, 1 is reference white; BT.2100, tables 4 (PQ) and 5 (HLG)."""
    code = np.arange(256) / 255
    if transfer == PQ:
        root = code ** (1 / 78.84375)
        nits = 10000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    else:
        low, high = code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12
        nits = _HLG_PEAK * np.where(code <= 0.5, low, high) ** 1.2  # the system gamma, of each colour by itself
    return (nits / _REFERENCE_WHITE).astype(np.float32)
