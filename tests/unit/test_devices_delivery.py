"""Balloons with their compliance chart, sheaths that move along frames."""

from functools import cache

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.devices import bench, delivery, device_files
from organtwin.devices.balloon import ATMOSPHERE, Balloon, BalloonSurface
from organtwin.devices.cylinder import Cylinder, Strut
from organtwin.devices.fibre_laws import ElasticFibre, SuperelasticFibre, cobalt_chromium
from organtwin.devices.frame import Pattern, Struts
from organtwin.devices.sheath import Sheath
from organtwin.errors import InputError
from organtwin.materials.nitinol import Nitinol
from organtwin.verify import beams, frame_cell, rings
from organtwin.verify.delivery import delivery_records

RANDOM = np.random.default_rng(7)
CHART = ((0.0, 14.0), (300.0, 15.0), (700.0, 16.0))
BALLOON = Balloon(CHART, 300.0, 700.0, 20.0, 6.0)


def device(law, crimped, balloon=None, columns=8):
    """A small frame of two rings of diamonds, 16 mm wide."""
    pattern = Pattern(columns, (4.0, 4.0), (0.0,), ((0.0, 16.0), (8.0, 16.0)))
    return device_files.Device(
        "small", "any", pattern, Struts(law, 0.4, (0.3, 0.3), 0.4), 16.0, crimped, 0.0,
        (13.0, 15.0), device_files.Fatigue(amplitude=0.004), {}, balloon,
    )  # fmt: skip


# --- chart --------------------------------------------------------------------------------------


def test_chart_goes_both_ways():
    for pressure in (0.0, 120.0, 300.0, 555.0, 700.0):
        assert BALLOON.pressure(np.array(BALLOON.diameter(pressure))) == pytest.approx(pressure)
    assert BALLOON.pressure(np.array(9.0)) == 0.0  # folded
    assert BALLOON.pressure(np.array(16.5)) == pytest.approx(900.0)  # straight on
    assert BALLOON.diameter_of(BALLOON.volume(12.3)) == pytest.approx(12.3)
    assert BALLOON.nominal_volume == pytest.approx(np.pi / 4 * 225 * (20 + 8))
    # A cylinder and an ellipsoid, by quadrature of the meridian that struts without depth feel.
    felt = Strut(np.zeros(20001), np.ones(20001))
    surface = BalloonSurface(felt, radius=7.5, balloon=BALLOON)
    z = np.linspace(-16, 16, 20001)
    R = 7.5 * surface._cap(z)[0]
    tips = 2 * np.pi * 7.5**2 * 6 * (2 / 3 - 0.95 + 0.95**3 / 3)
    assert np.pi * np.trapezoid(R**2, z) + tips == pytest.approx(BALLOON.nominal_volume, rel=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chart": ((0.0, 14.0),)}, "two pairs"),
        ({"chart": ((10.0, 14.0), (800.0, 15.0))}, "at no pressure"),
        ({"chart": ((0.0, 14.0), (800.0, 13.0))}, "must rise"),
        ({"rated_burst": 900.0}, "off the chart"),
        ({"nominal_pressure": 800.0}, "above the rated"),
        ({"shoulder": 0.0}, "shoulder"),
    ],
)
def test_balloons_refuse_nonsense(change, message):
    fields = {
        "chart": CHART, "nominal_pressure": 300.0, "rated_burst": 700.0, "length": 20.0,
        "shoulder": 6.0,
    }  # fmt: skip
    with pytest.raises(InputError, match=message):
        Balloon(**{**fields, **change})


def test_catalogue_has_balloons_where_they_belong():
    volumes = []
    for size in device_files.sizes("sapien3_like"):
        loaded = device_files.load_device("sapien3_like", size)
        balloon = loaded.balloon
        assert balloon.rated_burst == pytest.approx(7 * ATMOSPHERE)
        volumes.append(balloon.nominal_volume / 1e3)
        # Folded it fits into the crimped frame, and it is longer than that.
        assert balloon.length > loaded.pattern.height
    assert volumes == pytest.approx([11, 17, 23, 33], rel=0.01)
    assert device_files.load_device("evolut_like", "26").balloon is None
    with pytest.raises(InputError, match="no balloon"):
        delivery.on_balloon(device_files.load_device("evolut_like", "26"))


def test_a_bad_balloon_in_a_file_is_told(tmp_path):
    text = (device_files.CATALOGUE / "sapien3_like.toml").read_text()
    file = tmp_path / "mine.toml"
    file.write_text(text.replace('rated_burst = "7 atm"', 'rated_burst = "9 atm"'))
    with pytest.raises(InputError, match=r"sizes\.26.*off the chart"):
        device_files.load_device(file, "26")
    file.write_text(text.replace('["3 atm", "25.3 mm"]', '["3 mm", "25.3 mm"]'))
    with pytest.raises(InputError, match=r"sizes\.26\.balloon\.chart.*pressure"):
        device_files.load_device(file, "26")


# --- surfaces -----------------------------------------------------------------------------------


@pytest.mark.parametrize("friction", [0.0, 0.3])
@pytest.mark.parametrize("which", ["balloon", "sheath"])
def test_derivatives_of_contact(which, friction):
    n = 40
    strut = Strut(RANDOM.uniform(0.05, 0.15, n), RANDOM.uniform(0.5, 1, n))
    if which == "balloon":
        tool = BalloonSurface(strut, friction, penalty=1e3, radius=5.0, balloon=BALLOON)
        z = RANDOM.uniform(-14, 14, n)
        R = (5.0 + strut.half_depth) * tool._cap(z)[0]
    else:
        tool = Sheath(strut, friction, penalty=1e3, radius=5.0, mouth=1.0, lip=2.0)
        s = RANDOM.uniform(-1.0, 1.5, n)
        lip = 2.0 + strut.half_depth
        z, R = 1.0 - s, 5.0 + 2.0 - np.sqrt(lip**2 - np.maximum(s, 0.0) ** 2)
    angle, rho = RANDOM.uniform(0, 2 * np.pi, n), R + RANDOM.uniform(-0.002, 0.002, n)
    x = np.column_stack([rho * np.cos(angle), rho * np.sin(angle), z])
    tool.commit(x + 1e-3 * RANDOM.normal(size=x.shape))
    force, stiffness = tool.push(x)
    assert 5 < (np.abs(force).sum(axis=1) > 0).sum() < n
    h = 1e-7
    for j in range(3):
        step = h * np.eye(3)[j]
        slope = (tool.push(x + step)[0] - tool.push(x - step)[0]) / (2 * h)
        # Left out: the turn of the slip's plane, and terms of the order penetration × curvature of
        # the balloon's cap, whose distance is of first order.
        allowed = (2e-3 if friction or which == "balloon" else 1e-6) * np.abs(stiffness).max()
        assert np.abs(slope - stiffness[:, :, j]).max() < allowed


def test_a_long_sheath_is_a_cylinder():
    strut = Strut(np.full(12, 0.1), np.ones(12))
    angle = RANDOM.uniform(0, 2 * np.pi, 12)
    rho = 5.0 + RANDOM.uniform(-0.2, 0.02, 12)
    x = np.column_stack([rho * np.cos(angle), rho * np.sin(angle), RANDOM.normal(size=12)])
    tools = Cylinder(strut, radius=5.0), Sheath(strut, radius=5.0, mouth=-9.0)
    for one, other in zip(tools[0].push(x), tools[1].push(x), strict=True):
        assert np.allclose(one, other)
    assert tools[1].pull(x) == 0.0


def test_a_sheath_that_slides_drags_by_friction():
    felt = Strut(np.zeros(1), np.ones(1))
    sheath = Sheath(felt, 0.25, penalty=1e4, radius=5.0, mouth=-9.0)
    x = np.array([[5.01, 0.0, 0.0]])  # pressed by 100 mN
    sheath.commit(x)
    for moved, expected in ((0.002, 0.002 * 2e3), (0.5, 25.0)):
        sheath.mouth = -9.0 + moved
        assert sheath.pull(x) == pytest.approx(expected)
    sheath.commit(x)
    sheath.mouth -= 0.001  # back: the spring slackens
    assert sheath.pull(x) == pytest.approx(23.0)


# --- inflation ----------------------------------------------------------------------------------


@cache
def crimped():
    """State of the small frame when it was crimped and let go."""
    on = bench.on_bench(device(cobalt_chromium(), 9.0), 3)
    bench.crimp_and_release(on, step=0.15)
    return on.model.state()


def on_small_balloon(balloon=BALLOON):
    on = delivery.on_balloon(device(cobalt_chromium(), 9.0, balloon), 3)
    on.model.restore(crimped())
    on.model.commit()
    return on


def test_inflation_is_the_expansion_by_a_cylinder():
    plain = bench.on_bench(device(cobalt_chromium(), 9.0), 3)
    plain.model.restore(crimped())
    plain.model.commit()
    known = bench.expand(plain, 15.0 + 2 * 0.4, step=0.15)
    on = on_small_balloon()
    found = delivery.inflate(on, BALLOON.nominal_volume, step=0.15)
    assert np.mean(found.full) == pytest.approx(known.full, rel=1e-6)
    assert np.mean(found.left) == pytest.approx(known.left, rel=1e-4)
    assert found.recoil == pytest.approx(known.share, abs=1e-4)
    assert found.height == pytest.approx(known.height, rel=1e-4)
    filling = found.filling
    assert filling.curve.force[-1] == pytest.approx(known.expansion.force[-1], rel=1e-4)
    # The pressure: wall and frame, by virtual work.
    frame = filling.curve.force[-1] / (np.pi * 15.0 * 28.0)
    assert filling.pressure[-1] == pytest.approx(300.0 + frame)
    assert 0.005 < found.recoil < 0.06
    # What the fluid does is what the wall and the frame take.
    folded = filling.curve.diameter <= 14.0
    work = np.trapezoid(filling.pressure[folded], filling.volume[folded])
    assert work == pytest.approx(filling.curve.work[folded][-1], rel=0.02)


@pytest.mark.slow
def test_fuller_balloons_leave_wider_frames():
    left, pressures = [], []
    for share in (0.88, 1.0, 1.06):
        found = delivery.inflate(on_small_balloon(), share * BALLOON.nominal_volume, step=0.15)
        left.append(np.mean(found.left))
        pressures.append(found.filling.pressure[-1])
        assert np.mean(found.full) == pytest.approx(
            BALLOON.diameter_of(share * BALLOON.nominal_volume) + 0.8, rel=0.01
        )
    assert left[0] < left[1] < left[2]
    assert pressures[0] < pressures[1] < pressures[2] < BALLOON.rated_burst


def test_a_pressure_is_reached_from_below():
    on = on_small_balloon()
    found = delivery.inflate_to_pressure(on, 400.0, step=0.15)
    pressures = found.filling.pressure
    assert pressures[-1] == pytest.approx(400.0, rel=1e-3)
    assert pressures.max() < 400.0 * (1 + 1e-6)
    # The frame keeps the balloon from what the chart says of the free one.
    assert 2 * np.sqrt(found.filling.volume[-1] / np.pi / 28.0) < BALLOON.diameter(400.0)
    assert (np.diff(found.filling.curve.work) >= 0).all()
    with pytest.raises(InputError, match="do not open the frame"):
        delivery.inflate_to_pressure(on_small_balloon(), 5.0, step=0.15)


def test_bursting_is_refused_and_the_frame_kept():
    on = on_small_balloon()
    before = on.model.x.copy()
    with pytest.raises(InputError, match="at its rated burst pressure"):
        delivery.inflate(on, 1.01 * BALLOON.largest_volume)
    with pytest.raises(InputError, match=r"rated burst pressure of 6.91 atm"):
        delivery.inflate_to_pressure(on, 701.0)
    with pytest.raises(InputError, match="from the frame"):
        delivery.inflate(on, BALLOON.largest_volume, step=0.15)
    assert np.array_equal(on.model.x, before)
    found = delivery.inflate(on, BALLOON.nominal_volume, step=0.15)  # and goes on
    assert np.mean(found.left) > 14.0
    with pytest.raises(InputError, match="plain cylinder"):
        delivery.inflate(bench.on_bench(device(cobalt_chromium(), 9.0)), 3000.0)


@pytest.mark.slow
def test_a_balloon_off_its_place_leaves_a_cone():
    short = Balloon(CHART, 300.0, 700.0, 6.0, 6.0)
    found, centred = (
        delivery.inflate(on_small_balloon(short), short.nominal_volume, shift=shift, step=0.15)
        for shift in (6.0, 0.0)
    )
    assert found.left[0] < 0.97 * centred.left[0]
    assert found.left[1] - found.left[0] > 2 * (centred.left[1] - centred.left[0])


# --- sheath -------------------------------------------------------------------------------------


def small_nitinol():
    return device(SuperelasticFibre(Nitinol.stent()), 8.0)


def test_release_and_recapture():
    catheter = delivery.in_sheath(small_nitinol(), 8, lip=1.5, step=0.15)
    crimped = catheter.model.x.copy()
    assert catheter.crimping.diameter[-1] == pytest.approx(8.0)
    release = delivery.slide(catheter, 0.6, step=0.03)
    assert release.share[-1] == catheter.share == pytest.approx(0.6)
    assert release.widest[0] == pytest.approx(8.0, abs=0.1) and release.widest[-1] > 9.5
    # The frame pushes the sheath off by the energy that it gives away.
    assert release.pull.min() < -100.0 and release.work[-1] < 0
    assert release.imbalance < 0.03
    back = delivery.slide(catheter, 0.0, step=0.03)
    assert back.imbalance < 0.03
    assert back.work[-1] > -release.work[-1]  # the plateau of loading is higher
    assert np.abs(catheter.model.x - crimped).max() < 0.05
    free = delivery.slide(catheter, 1.0, step=0.03)
    assert free.widest[-1] == pytest.approx(16.4, abs=1e-3)
    assert free.pull[-1] == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(InputError, match="can't be recaptured"):
        delivery.slide(catheter, 0.5)


def test_friction_makes_the_sheath_harder_to_move():
    found = []
    for friction in (0.0, 0.1):
        catheter = delivery.in_sheath(small_nitinol(), 6, friction, lip=1.5, step=0.15)
        release = delivery.slide(catheter, 0.4, step=0.04)
        found.append((release, delivery.slide(catheter, 0.1, step=0.04)))
        if friction:
            # Before the frame leaves: Coulomb's law for the radial force of the crimped frame.
            first = release.pull[np.searchsorted(release.share, 0.0)]
            assert first == pytest.approx(0.1 * catheter.crimping.force[-1], rel=0.1)
    (smooth, smooth_back), (rough, rough_back) = found
    assert rough.work[-1] > smooth.work[-1]
    assert rough_back.pull.min() < smooth_back.pull.min()


def test_shares_are_checked():
    catheter = delivery.in_sheath(small_nitinol(), 6, step=0.2, corners=True)
    assert (catheter.frame.kind == 2).sum() == 2 * 4  # two struts in half a cell
    with pytest.raises(InputError, match="not negative"):
        delivery.slide(catheter, -0.1)


# --- verification problems ----------------------------------------------------------------------


def test_a_ring_balances_an_elastic_tube():
    tube = rings.Tube(9.97, 12.0, 1.0, 3e6)
    found = rings.ring_in_tube(MPI.COMM_SELF, ElasticFibre(rings.METAL), tube, crimped=9.8, cells=1)
    u, force = rings.elastic_balance(tube)
    assert (found.widening, found.force) == pytest.approx((u, force), rel=0.01)
    assert found.pull == 0.0


@pytest.mark.slow
def test_rings_balance_elastic_tubes():
    records = rings.ring_records(MPI.COMM_SELF, quick=True)
    assert len(records) == 9
    assert [r.quantity for r in records if not r.met] == []


def test_closed_forms_of_rings_are_balances():
    law, tube = Nitinol.stent(), rings.Tube(9.6, 12.0, 1.0, 8e6)
    u, force = rings.superelastic_balance(law, tube)
    # On the lower plateau, between 180 and 200 MPa.
    stress = force / (2 * np.pi * beams.STRUT.area) * (9.6 + u) / 10.0
    assert 180e3 < stress < 200e3
    soft, hard = (rings.elastic_balance(rings.Tube(9.97, 12.0, 1.0, E)) for E in (1.0, 1e12))
    assert soft[0] == pytest.approx(0.03, rel=1e-3)  # the ring is as at rest
    assert hard[1] == pytest.approx(2 * np.pi * rings.METAL * beams.STRUT.area * 0.003, rel=1e-3)


@pytest.mark.slow
def test_delivery_problem_is_met():
    assert [r.quantity for r in delivery_records(quick=True) if not r.met] == []


# --- a cell as a solid --------------------------------------------------------------------------


def test_beams_of_a_cell_are_those_of_slender_ones():
    # A strut that is clamped at both ends bends as 12 EI/L³ and stretches as EA/L.
    cell = frame_cell.Cell(3.0, 4.0, 0.05, 0.1)
    law = ElasticFibre(1e8)
    force = frame_cell.beam_curve(law, cell, [1.0 - 1e-5])[0]
    inertia = 0.1 * 0.05**3 / 12
    across = 12 * 1e8 * inertia / 125
    # The crown is free to move along the axis: only the part across the strut is hindered.
    stiffness = 1 / (0.8**2 / across + 0.6**2 / (1e8 * 0.005 / 5))
    assert force == pytest.approx(-3e-5 * stiffness, rel=5e-3)
    with pytest.raises(InputError, match="no solid for ElasticFibre"):
        frame_cell.solid_curve(MPI.COMM_SELF, law, cell, [0.9], (1, 1, 1))


#: A strut of the balloon-expandable frame of size 26, and one of the self-expanding one.
COBALT_CELL = frame_cell.Cell(np.pi * 25.21 / 24, 2.89, 0.36, 0.5)
NITINOL_CELL = frame_cell.Cell(np.pi * 23 / 30, 5.0, 0.32, 0.45)


@pytest.mark.slow
@pytest.mark.limit(900)
@pytest.mark.parametrize(
    ("law", "cell", "path", "cells", "plain"),
    [
        # Crimping, which yields, and expansion, which yields the other way.
        (cobalt_chromium(), COBALT_CELL, (0.9, 0.8, 0.9, 1.0), (12, 3, 1), 0.12),
        (SuperelasticFibre(Nitinol.stent()), NITINOL_CELL, (0.8,), (40, 6, 1), 0.22),
    ],
    ids=["cobalt-chromium", "nitinol"],
)
def test_a_cell_as_a_solid(law, cell, path, cells, plain):
    """The corners that beams leave out make a solid stiffer, up to what they are made wider by."""
    solid = frame_cell.solid_curve(MPI.COMM_SELF, law, cell, path, cells)
    bare = frame_cell.beam_curve(law, cell, path) / solid
    wide = frame_cell.beam_curve(law, cell, path, corners=True) / solid
    assert (bare < 0.96).all() and (bare > 1 - plain).all()
    assert np.abs(wide - 1).max() < 0.05
