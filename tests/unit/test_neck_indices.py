"""The neck of a stem as a beam."""

import numpy as np
import pytest

from organtwin.implants.materials import load_material
from organtwin.implants.stem import HipStem
from organtwin.orthopaedics.neck_indices import NeckSections, _second_moment, neck_indices

STEM = HipStem()
TITANIUM = load_material("Ti6Al4V")


def found(indices):
    return {one.name: one.value for one in indices[0]}


def test_second_moments_of_rectangles_circles_and_what_lies_between():
    a, b = np.array([3.0]), np.array([2.0])
    assert _second_moment(a, b, np.zeros(1)) == pytest.approx(6.0 * 4.0**3 / 12.0)
    assert _second_moment(b, b, b) == pytest.approx(np.pi * 2.0**4 / 4.0)
    # A stadium: a rectangle of 2 × 4 between two halves of a circle.
    assert _second_moment(a, b, b) == pytest.approx(2.0 * 4.0**3 / 12.0 + np.pi * 2.0**4 / 4.0)
    r = np.array([1.0])
    y = np.linspace(-2.0, 2.0, 400_001)
    cut = np.where(np.abs(y) > 1.0, 1.0 - np.sqrt(np.maximum(1.0 - (np.abs(y) - 1.0) ** 2, 0)), 0.0)
    numeric = np.trapezoid(2.0 * (3.0 - cut) * y**2, y)
    assert _second_moment(a, b, r) == pytest.approx(numeric, rel=1e-8)


def test_a_force_along_the_neck_compresses_it():
    sections = NeckSections.of(STEM)
    force = -1e6 * STEM.neck_axis
    pulled, pressed = sections.stress(STEM.head_point, force)
    circle = np.abs(sections.half - 0.5 * STEM.neck_diameter).max(axis=1) < 1e-9
    assert circle.sum() > 5
    expected = -1e6 / (np.pi * 0.25 * STEM.neck_diameter**2)
    assert pulled[circle] == pytest.approx(expected, rel=1e-6)
    assert pressed[circle] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("across", [(0.0, 1.0, 0.0), "medial"])
def test_a_force_across_the_neck_bends_it(across):
    sections = NeckSections.of(STEM)
    way = sections.medial[-1] if across == "medial" else np.array(across)
    pulled, pressed = sections.stress(STEM.head_point, 1e6 * way)
    circle = np.abs(sections.half - 0.5 * STEM.neck_diameter).max(axis=1) < 1e-9
    arm = np.linalg.norm(STEM.head_point - sections.centre[circle], axis=1)
    modulus = np.pi * STEM.neck_diameter**3 / 32.0
    assert pulled[circle] == pytest.approx(1e6 * arm / modulus, rel=1e-6)
    assert pressed[circle] == pytest.approx(-1e6 * arm / modulus, rel=1e-6)


def test_areas_are_those_of_the_stem():
    s = np.linspace(STEM.resection, STEM.end - STEM.taper_length, 60)
    area, middle = STEM.area(s)
    sections = NeckSections.of(STEM)
    assert sections.inertia()[0] == pytest.approx(area)
    offset = np.einsum("ki,ki->k", sections.centre - STEM.path(s)[0], sections.medial)
    assert offset == pytest.approx(middle)
    again = NeckSections.of_table(sections.table())
    assert np.array_equal(again.table(), sections.table())


def test_indices_by_hand():
    sections = NeckSections.of(STEM)
    force = 2.3e6 * np.array([0.0, 0.0, -1.0])
    values = found(neck_indices(sections, STEM.head_point, force, 0.1, TITANIUM))
    pulled, pressed = sections.stress(STEM.head_point, force)
    assert values["neck_stress"] == pytest.approx(np.abs(pressed).max() / 1e3)
    assert values["neck_yield_safety"] == pytest.approx(
        TITANIUM.yield_stress / np.abs(pressed).max()
    )
    # Soderberg's line on the side that is pulled; the catalogue's limit is of R = 0.1 too.
    sf, sy = TITANIUM.fatigue_limit, TITANIUM.yield_stress
    reversed_ = 0.45 * sf / (1.0 - 0.55 * sf / sy)
    use = 0.45 * pulled.max() / reversed_ + 0.55 * pulled.max() / sy
    use = max(use, 0.45 * np.abs(pressed).max() / reversed_)
    assert values["neck_fatigue_safety"] == pytest.approx(1.0 / use)


def test_a_longer_head_bends_the_neck_more_and_no_force_asks_nothing():
    force = 2.3e6 * np.array([0.0, 0.0, -1.0])
    sections = NeckSections.of(STEM)
    longer = STEM.with_head(8.0)
    a, b = (
        found(neck_indices(sections, one.head_point, force, 0.0, TITANIUM))["neck_stress"]
        for one in (STEM, longer)
    )
    assert b > 1.1 * a
    assert list(found(neck_indices(sections, STEM.head_point, 0.0 * force, 0.0, TITANIUM))) == [
        "neck_stress"
    ]
