from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from organtwin.image.volume import LabelMap
from organtwin.mesh.conforming.coarsening import _FARTHEST, _signed, coarsened

UNEVEN = np.array([0.3, 0.5, 1.1])


def blobs(seed: int = 3) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(4, 30, 26, 18))
    smooth = np.array([ndimage.gaussian_filter(part, 2.0) for part in noise])
    return smooth.argmax(axis=0).astype(np.uint8)


def test_signed_distances_are_exact_up_to_their_largest() -> None:
    mask = blobs() == 1
    inside, outside = (
        ndimage.distance_transform_edt(part, sampling=UNEVEN) for part in (mask, ~mask)
    )
    farthest = _FARTHEST * np.linalg.norm(UNEVEN)
    wanted = (inside - outside).clip(-farthest, farthest)
    np.testing.assert_allclose(_signed(mask, UNEVEN), wanted, atol=1e-5)


@pytest.mark.parametrize("edge", [0.8, 1.4])
def test_distances_further_away_decide_nothing(edge: float, monkeypatch) -> None:
    values = np.pad(blobs(), 3)
    names = {"one": 1, "two": 2, "three": 3}
    labels = LabelMap(values, names, UNEVEN, np.zeros(3), np.eye(3))
    near = coarsened(labels, edge).values
    monkeypatch.setattr("organtwin.mesh.conforming.coarsening._FARTHEST", 10.0)
    np.testing.assert_array_equal(near, coarsened(labels, edge).values)
