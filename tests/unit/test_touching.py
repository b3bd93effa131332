import numpy as np
import pytest

from organtwin.image.touching import contact_areas
from organtwin.image.volume import LabelMap


def test_contacts_of_a_block_are_its_faces() -> None:
    values = np.zeros((6, 6, 6), np.uint8)
    values[:3, 1:5, 1:5] = 1
    values[3:5, 1:5, 1:5] = 2
    labels = LabelMap(values, {"a": 1, "b": 2}, np.array([1.0, 2, 3]), np.zeros(3), np.eye(3))
    found = contact_areas(labels)
    assert found[1, 2] == pytest.approx(4 * 4 * 6)
    assert found[0, 1] == pytest.approx(16 * 6 + 2 * 12 * 3 + 2 * 12 * 2)  # the image's end too
