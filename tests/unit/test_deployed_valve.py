"""Sections of a frame, the gap around it and what leaks through, distance from the coronaries."""

import numpy as np
import pytest

from organtwin.aortic_root.outline import Outline
from organtwin.devices.coronary import CoronaryRisk, obstruction, valve_to_coronary
from organtwin.devices.cross_sections import cross_section, levels, skirt
from organtwin.devices.device_files import load_device
from organtwin.devices.frame import Part, build
from organtwin.devices.gap import Gap, Rays, lumen
from organtwin.devices.leak import Blood, leak
from organtwin.errors import InputError
from organtwin.export.gap_picture import draw_gap
from organtwin.verify.leaks import opening, ring_gap, thin_ring

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


def test_a_skirt_is_seen_from_an_axis_beside_its_own():
    _, points, ends = frame()
    at = Rays(np.array([1.0, 0.0, 2.0]), AXES, np.array([1.0, 3.0]), 360)
    found = skirt(points, ends, at, 0.2)
    for radii, height in zip(found, at.heights, strict=True):
        outline = cross_section(points, ends, AXES, 2.0 + height, 0.2)
        flat = radii[:, None] * np.column_stack([np.cos(at.turns), np.sin(at.turns)]) + [1.0, 0.0]
        turn = np.arctan2(flat[:, 1], flat[:, 0])
        np.testing.assert_allclose(np.hypot(*flat.T), outline.radius(turn), atol=0.03)
    with pytest.raises(InputError, match="the axis leaves the frame"):
        skirt(points, ends, Rays(np.array([20.0, 0.0, 2.0]), AXES, np.array([1.0])), 0.2)


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
    gap = ring_gap(1.0, eccentricity=0.5)
    np.testing.assert_allclose(gap.areas, np.pi * (13.0**2 - 12.0**2), rtol=1e-9)
    assert gap.sealed == 0.0
    assert ring_gap(1.0, eccentricity=1.0).sealed == pytest.approx(1 / 180)
    half = Gap(gap.rays, gap.skirt, np.where(gap.rays.turns < np.pi, gap.wall, 11.0))
    assert half.sealed == 0.5


@pytest.mark.parametrize("eccentricity", [0.0, 0.5, 0.9])
def test_slow_flow_through_a_thin_ring(eccentricity):
    found, exact = thin_ring(eccentricity)
    assert found == pytest.approx(exact, rel=0.01)


def test_fast_flow_is_that_of_an_opening():
    speed, exact = opening()
    assert speed == pytest.approx(exact, rel=1e-4)
    gap, thin = ring_gap(1.0, 0.3), Blood(viscosity=3.5e-9)
    found = leak(gap, 8.0, thin)
    area = float((gap.width * 0.5 * (gap.skirt + gap.wall))[0].mean()) * 2 * np.pi
    assert found.flow == pytest.approx(exact * area, rel=1e-4)
    assert found.effective_area == pytest.approx(area / np.sqrt(1.5), rel=1e-4)
    assert found.volume(500.0) == pytest.approx(0.5 * found.flow)


def test_friction_and_losses_of_a_plane_gap_add_up():
    gap = ring_gap(0.3)
    found = leak(gap, 8.0)
    v = found.fastest
    length = 10.0
    friction = 12 * 3.5e-3 * length * v / 0.3**2
    assert friction + 1.5 * 0.5 * 1.06 * v**2 == pytest.approx(8.0, rel=1e-6)


def test_nothing_leaks_past_a_sealed_level():
    gap = ring_gap(1.0)
    wall = gap.wall.copy()
    wall[7] = 11.9
    found = leak(Gap(gap.rays, gap.skirt, wall), 8.0)
    assert found.flow < 1e-6 * leak(gap, 8.0).flow


def test_flow_goes_around_a_seal_and_settles_with_the_grid():
    """A seal over half of the circumference, at half of the length."""

    def flow(cells, count):
        gap = ring_gap(0.2, cells=cells, count=count)
        half = slice(cells // 2 - cells // 10, cells // 2)
        wall = gap.wall.copy()
        wall[half, : count // 2] = 12.0
        found = leak(Gap(gap.rays, gap.skirt, wall), 8.0)
        leaves = found.entering.sum()
        assert found.flow == pytest.approx(leaves)
        return found.flow

    coarse, middle, fine = flow(10, 60), flow(20, 120), flow(40, 240)
    open_ring = leak(ring_gap(0.2), 8.0).flow
    assert 0.5 * open_ring < fine < 0.9 * open_ring
    assert abs(fine - middle) < 0.6 * abs(middle - coarse) < 0.02 * fine


def test_a_gap_is_drawn(tmp_path):
    gap = ring_gap(1.0, 1.0)
    assert draw_gap(gap, leak(gap, 8.0), tmp_path / "gap.png").stat().st_size > 10_000


def test_a_pressure_that_drives_nothing_is_refused():
    with pytest.raises(InputError, match="positive pressure"):
        leak(ring_gap(1.0), 0.0)


def test_grades_are_the_worse_of_volume_and_area():
    small, large = (
        leak(ring_gap(h, count=36), 8.0) for h in (0.05, 0.8)
    )  # fmt: skip
    assert small.effective_area < 10.0
    assert small.grade(500.0) == "mild"
    assert large.effective_area > 30.0
    assert large.grade(1.0) == "severe"
    assert small.grade(31.0e3 / small.flow) == "moderate"


def test_distance_of_a_round_valve_from_a_coronary():
    turn = np.arange(180) * np.pi / 90
    valve = Outline(np.array([1.0, 0.0, 5.0]), AXES, np.full(len(turn), 12.0))
    aside = np.array([np.cos(0.3), np.sin(0.3), 0.0])
    at = valve.centre + 15.0 * aside
    assert valve_to_coronary(valve, at) == pytest.approx(3.0, abs=0.01)
    assert valve_to_coronary(valve, valve.centre + 11.0 * aside) == pytest.approx(-1.0, abs=0.01)
    with pytest.raises(InputError, match=r"\+2\.0 mm off"):
        valve_to_coronary(valve, at + np.array([0.0, 0.0, 2.0]))


@pytest.mark.parametrize(
    ("distance", "cusp", "calcium", "high"),
    [(3.0, 14.0, 0.0, True), (5.0, 14.0, 0.0, False), (5.0, 14.0, 700.0, True),
     (3.0, 11.0, 700.0, False), (4.0, 14.0, 0.0, True)],
)  # fmt: skip
def test_a_tall_leaflet_near_the_ostium_or_heavy_is_a_risk(distance, cusp, calcium, high):
    assert CoronaryRisk(distance, cusp, 12.0, calcium).high is high


def test_cusp_to_ostium():
    assert obstruction(2.0, 4.0) == (0.5, True)
    assert obstruction(2.8, 4.0) == (pytest.approx(0.7), False)
    with pytest.raises(InputError, match="must be positive"):
        obstruction(2.0, 0.0)
