"""Cartilage as an elastic foundation."""

import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.orthopaedics.cartilage_contact import Columns, Foundation, press, sunk_columns


def bowl(radius=30.0, thickness=4.0, spacing=0.5, reach=25.0):
    """A ball over a plane: gap r²/2R."""
    x, y = (g.ravel() for g in np.mgrid[-reach:reach:spacing, -reach:reach:spacing])
    x, y = x + 0.5 * spacing, y + 0.5 * spacing
    n = len(x)
    place = np.column_stack([x, y, np.zeros(n)])
    return Columns(place, np.full(n, spacing**2), (x**2 + y**2) / (2.0 * radius),
                   np.full(n, thickness), np.zeros(n, int), (x > 0.0).astype(int))  # fmt: skip


def test_a_ball_on_a_foundation():
    """∫ M (δ - r²/2R)/h over r < a = √(2Rδ): F = π M R δ²/h, p₀ = M δ/h."""
    law, columns, force = Foundation(), bowl(), 300e3
    assert law.confined == pytest.approx(5e3 * 0.55 / (1.45 * 0.1))
    found = press(columns, np.zeros(len(columns.gap)), force, law)
    approach = np.sqrt(force * 4.0 / (np.pi * law.confined * 30.0))
    assert found.approach == pytest.approx(approach, rel=2e-3)
    assert found.pressure.max() == pytest.approx(law.confined * approach / 4.0, rel=5e-3)
    assert (found.pressure * columns.area).sum() == pytest.approx(force, rel=1e-9)
    closed = columns.area[found.pressure > 0.0].sum()
    assert closed == pytest.approx(np.pi * 60.0 * approach, rel=2e-2)
    assert found.strain == pytest.approx(approach / 4.0, rel=5e-3)


def test_a_step_presses_its_edge_more():
    columns = bowl(radius=300.0)
    low = np.where(columns.part == 1, 0.4, 0.0)
    even = press(columns, np.zeros(len(low)), 300e3)
    step = press(columns, low, 300e3)
    assert step.pressure.max() > 1.2 * even.pressure.max()
    assert step.pressure[columns.part == 1].max() < step.pressure.max()


def test_columns_sink_with_what_carries_them():
    columns = bowl(reach=5.0)
    points = np.array([[-5.0, -5, 0], [-5, 5, 0], [-4, 0, 0], [5, 5, 0], [5, -5, 0], [4, 0, 0]])
    moved = np.zeros((6, 3))
    moved[3:, 2] = -0.7
    up = np.array([0.0, 0.0, 1.0])
    sunk = sunk_columns(columns, (np.arange(3), np.arange(3, 6)), points, moved, up)
    assert sunk == pytest.approx(np.where(columns.part == 1, 0.7, 0.0))
    again = Columns.of_table(columns.table())
    assert np.array_equal(again.part, columns.part) and np.array_equal(again.gap, columns.gap)


def test_what_can_not_be_pressed_is_refused():
    columns = bowl(reach=5.0)
    with pytest.raises(InputError, match="under 0 mN"):
        press(columns, np.zeros(len(columns.gap)), 0.0)
    with pytest.raises(InputError, match="0 columns"):
        press(columns.of_half(1), np.zeros(0), 1.0)
    with pytest.raises(InputError, match="ν"):
        Foundation(poisson=0.5)
