"""Sections of a frame, the gap around it, and what leaks through."""

import numpy as np
import pytest

from organtwin.devices.cross_sections import cross_section, levels
from organtwin.devices.device_files import load_device
from organtwin.devices.frame import Part, build
from organtwin.devices.gap import Gap, Rays, lumen
from organtwin.devices.leak import Blood, leak
from organtwin.errors import InputError

AXES = np.eye(3)


def frame(stretch=(1.0, 1.0, 1.0)):
    device = load_device("sapien3_like", "26")
    mesh = build(device.pattern, 4, Part.WHOLE).mesh
    return device, mesh.points * stretch, mesh.ends


def rays(heights, count=180):
    return Rays(np.zeros(3), AXES, np.asarray(heights, float), count)


def cylinder(radius, top, n=72, off=(0.0, 0.0), tilt=0.0):
    """Triangles of a cylinder from -top to top, moved and leant."""
    turn = np.arange(n) * 2 * np.pi / n
    ring = np.column_stack([radius * np.cos(turn) + off[0], radius * np.sin(turn) + off[1]])
    low, high = (
        np.column_stack([ring + np.array([tilt * z, 0.0]), np.full(n, z)]) for z in (-top, top)
    )
    a, b = np.arange(n), (np.arange(n) + 1) % n
    triangles = np.concatenate([np.stack([a, b, b + n], 1), np.stack([a, b + n, a + n], 1)])
    return np.concatenate([low, high]), triangles


def ring_gap(inner, outer, length=10.0, cells=20, count=90, eccentricity=0.0):
    """Gap between two cylinders, the outer one aside by a share of their distance."""
    at = rays((np.arange(cells) + 0.5) * length / cells, count)
    aside = eccentricity * (outer - inner)
    wall = aside * np.cos(at.turns) + np.sqrt(outer**2 - (aside * np.sin(at.turns)) ** 2)
    whole = np.ones((cells, count))
    return Gap(at, inner * whole, wall * whole)


def test_a_stretched_frame_has_the_diameters_of_its_ellipse():
    device, points, ends = frame((1.1, 0.9, 1.0))
    height = 0.37 * device.pattern.height
    found = levels(points, ends, AXES, [height], half_depth=0.0, nominal=device.nominal)[0]
    long, short = (
        2 * float(device.pattern.radius()(np.array(height))) * s for s in (1.1, 0.9)
    )  # fmt: skip
    # Chords lie inside the ellipse: by half an angle between struts, 1 - cos, at the most.
    sag = 1.0 - np.cos(np.pi / len(set(np.round(np.arctan2(*points[:, :2].T), 6))))
    least, most = found.diameters
    assert most == pytest.approx(long, rel=0.01 + sag)
    assert least == pytest.approx(short, rel=0.02 + sag)
    assert found.eccentricity == pytest.approx(1 - 0.9 / 1.1, abs=0.02)
    area = np.pi * long * short / 4
    assert found.outline.area == pytest.approx(area, rel=0.04)
    assert found.outline.area < area
    assert found.expansion == pytest.approx(found.outline.area / (np.pi / 4 * device.nominal**2))


def test_sections_turn_with_the_frame():
    device, points, ends = frame((1.1, 0.9, 1.0))
    height = 0.37 * device.pattern.height
    straight = cross_section(points, ends, AXES, height, 0.2)
    c, s = np.cos(0.7), np.sin(0.7)
    R = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    turned = cross_section(points @ R.T, ends, AXES @ R.T, height, 0.2)
    np.testing.assert_allclose(turned.points, straight.points @ R.T, atol=1e-9)


def test_a_plane_beside_the_frame_is_refused():
    _, points, ends = frame()
    with pytest.raises(InputError, match=r"0 struts cross .* 99\.0 mm"):
        cross_section(points, ends, AXES, 99.0, 0.2)


def test_rays_find_a_leaning_cylinder():
    points, triangles = cylinder(12.0, 20.0, 720, off=(1.0, 0.0), tilt=0.1)
    at = rays([-3.0, 0.0, 4.0])
    found = lumen(points, triangles, at)
    aside = 1.0 + 0.1 * at.heights[:, None]
    exact = aside * np.cos(at.turns) + np.sqrt(144.0 - (aside * np.sin(at.turns)) ** 2)
    np.testing.assert_allclose(found, exact, atol=12.0 * (1 - np.cos(np.pi / 720)))


def test_rays_past_the_end_of_the_wall_are_told():
    with pytest.raises(InputError, match=r"no wall .* at 21\.0 mm"):
        lumen(*cylinder(12.0, 20.0), rays([0.0, 21.0]))


def test_areas_of_a_gap():
    gap = ring_gap(12.0, 13.0, eccentricity=0.5)
    np.testing.assert_allclose(gap.areas, np.pi * (13.0**2 - 12.0**2), rtol=1e-9)
    assert gap.sealed == 0.0
    assert ring_gap(12.0, 13.0, eccentricity=1.0).sealed == pytest.approx(1 / 90)
    half = Gap(gap.rays, gap.skirt, np.where(gap.rays.turns < np.pi, gap.wall, 11.0))
    assert half.sealed == 0.5


@pytest.mark.parametrize("eccentricity", [0.0, 0.5, 0.9])
def test_slow_flow_through_a_thin_ring(eccentricity):
    """Q = π D h³ Δp / (12 μ L) (1 + 3/2 e²), for a thin gap of which one side is moved by e h."""
    thick = Blood(viscosity=350.0)  # so that no pressure is lost at the ends
    gap = ring_gap(12.0, 12.1, count=180, eccentricity=eccentricity)
    found = leak(gap, 8.0, thick).flow
    exact = np.pi * 24.1 * 0.1**3 * 8.0 / (12 * 350.0 * 10.0) * (1 + 1.5 * eccentricity**2)
    assert found == pytest.approx(exact, rel=0.01)


def test_fast_flow_is_that_of_an_opening():
    """Without friction v = √(2 Δp / (1 + ζ) ρ) everywhere."""
    thin = Blood(viscosity=3.5e-9)
    gap = ring_gap(12.0, 13.0, eccentricity=0.3)
    found = leak(gap, 8.0, thin)
    speed = np.sqrt(2 * 8.0 / (1.5 * 1.06))
    assert found.fastest == pytest.approx(speed, rel=1e-4)
    inside = gap.width * 0.5 * (gap.skirt + gap.wall) * 2 * np.pi / 90
    assert found.flow == pytest.approx(speed * inside[0].sum(), rel=1e-4)
    assert found.effective_area == pytest.approx(inside[0].sum() / np.sqrt(1.5), rel=1e-4)
    assert found.volume(500.0) == pytest.approx(0.5 * found.flow)


def test_friction_and_losses_of_a_plane_gap_add_up():
    gap = ring_gap(12.0, 12.3)
    found = leak(gap, 8.0)
    v = found.fastest
    length = 10.0
    friction = 12 * 3.5e-3 * length * v / 0.3**2
    assert friction + 1.5 * 0.5 * 1.06 * v**2 == pytest.approx(8.0, rel=1e-6)


def test_nothing_leaks_past_a_sealed_level():
    gap = ring_gap(12.0, 13.0)
    wall = gap.wall.copy()
    wall[7] = 11.9
    found = leak(Gap(gap.rays, gap.skirt, wall), 8.0)
    assert found.flow < 1e-6 * leak(gap, 8.0).flow


def test_flow_goes_around_a_seal_and_settles_with_the_grid():
    """A seal over half of the circumference, at half of the length."""

    def flow(cells, count):
        gap = ring_gap(12.0, 12.2, cells=cells, count=count)
        half = slice(cells // 2 - cells // 10, cells // 2)
        wall = gap.wall.copy()
        wall[half, : count // 2] = 12.0
        found = leak(Gap(gap.rays, gap.skirt, wall), 8.0)
        leaves = found.entering.sum()
        assert found.flow == pytest.approx(leaves)
        return found.flow

    coarse, middle, fine = flow(10, 60), flow(20, 120), flow(40, 240)
    open_ring = leak(ring_gap(12.0, 12.2), 8.0).flow
    assert 0.5 * open_ring < fine < 0.9 * open_ring
    assert abs(fine - middle) < 0.6 * abs(middle - coarse) < 0.02 * fine


def test_a_pressure_that_drives_nothing_is_refused():
    with pytest.raises(InputError, match="positive pressure"):
        leak(ring_gap(12.0, 13.0), 0.0)
