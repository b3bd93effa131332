"""Frames, their files, tools that touch them, and bench tests."""

import numpy as np
import pytest

from organtwin.devices import bench, device_files
from organtwin.devices.cylinder import Cylinder, Plate, Strut
from organtwin.devices.fibre_laws import (
    ElasticFibre,
    PlasticFibre,
    SuperelasticFibre,
    cobalt_chromium,
)
from organtwin.devices.frame import Part, Pattern, Struts, build, problem
from organtwin.errors import InputError
from organtwin.materials.nitinol import Nitinol
from organtwin.materials.plastic import J2Plasticity
from organtwin.verify import beams, frame_cell

RANDOM = np.random.default_rng(5)
PATTERN = Pattern(4, (4.0, 4.0), (3.0,), ((0.0, 20.0), (11.0, 20.0)))
STRUTS = Struts(ElasticFibre(5e7), 0.4, (0.3, 0.3), 0.4)


# --- tools --------------------------------------------------------------------------------------


def points_near(radius, count=12):
    angle = RANDOM.uniform(0, 2 * np.pi, count)
    rho = radius + RANDOM.uniform(-0.02, 0.02, count)
    return np.column_stack([rho * np.cos(angle), rho * np.sin(angle), RANDOM.normal(size=count)])


@pytest.mark.parametrize("friction", [0.0, 0.3])
@pytest.mark.parametrize("which", ["around", "within", "plate"])
def test_derivatives_of_contact(which, friction):
    strut = Strut(RANDOM.uniform(0.05, 0.15, 12), RANDOM.uniform(0.5, 1, 12))
    x = points_near(5.0)
    if which == "plate":
        tool = Plate(strut, friction, penalty=1e3, normal=(0.6, 0.0, 0.8), place=0.3)
    else:
        tool = Cylinder(strut, friction, penalty=1e3, radius=5.0, around=which == "around")
    tool.commit(x + 1e-3 * RANDOM.normal(size=x.shape))
    force, stiffness = tool.push(x)
    assert (np.abs(force).sum(axis=1) > 0).any()
    h = 1e-7
    for j in range(3):
        step = h * np.eye(3)[j]
        slope = (tool.push(x + step)[0] - tool.push(x - step)[0]) / (2 * h)
        # The turn of the slip's plane with the cylinder is left out: of the order slip/radius.
        allowed = (2e-3 if friction and which != "plate" else 1e-6) * np.abs(stiffness).max()
        assert np.abs(slope - stiffness[:, :, j]).max() < allowed


def test_friction_holds_up_to_its_bound_and_then_slides():
    felt = Strut(np.zeros(1), np.ones(1))
    vessel = Cylinder(felt, 0.25, penalty=1e4, radius=5.0)
    x = np.array([[5.01, 0.0, 0.0]])
    vessel.commit(x)
    for shift, expected in ((0.002, 0.002 * 2e3), (0.5, 0.25 * 100.0)):
        force = vessel.push(x + np.array([0, 0, shift]))[0][0]
        assert force[2] == pytest.approx(-expected)
    vessel.commit(x + np.array([0, 0, 0.5]))
    assert vessel.push(x + np.array([0, 0, 0.5]))[0][0, 2] == pytest.approx(-25.0)
    assert vessel.push(x + np.array([0, 0, 0.499]))[0][0, 2] == pytest.approx(-23.0)


def test_pulled_ring_needs_the_friction_of_its_radial_force():
    force, radial = beams.pulled_ring(0.3)
    assert radial > 1e4
    assert force == pytest.approx(0.3 * radial, rel=1e-9)


def test_augmentation_closes_the_penetration():
    sector = beams.ring(10.0, 4, 8)
    tool = Cylinder(Strut(np.zeros(5), sector.mesh.tributary), penalty=1e3, radius=9.9)
    model = beams.ring_model(sector, ElasticFibre(5e7), tool)
    deep = []
    for _ in range(25):
        assert model.solve().converged
        deep.append(tool.augment(model.x))
    # Each round multiplies the penetration by k/(k + ε) with the hoop stiffness k = E A/R².
    rate = 5e7 * 0.12 / 100 / (5e7 * 0.12 / 100 + 1e3)
    assert deep[-1] == pytest.approx(deep[0] * rate**24, rel=0.02)


def test_tools_refuse_nonsense():
    with pytest.raises(InputError, match="penalty"):
        Cylinder(Strut(np.zeros(1), np.ones(1)), penalty=0.0)


# --- frames -------------------------------------------------------------------------------------


def test_geometry_of_a_frame():
    whole = build(PATTERN, 4, Part.WHOLE).mesh
    assert np.ptp(whole.points[:, 2]) == pytest.approx(PATTERN.height) == 11.0
    assert np.allclose(np.hypot(*whole.points[:, :2].T), 10.0)
    total = (whole.lengths * whole.share).sum()
    for part in (Part.HALF_CELL, Part.HALF):
        some = build(PATTERN, 4, part)
        share = (some.mesh.lengths * some.mesh.share).sum() * some.copies
        assert share == pytest.approx(total, rel=1e-12)
    # Eight struts in a ring, four links: four and two elements long; shared ends counted once.
    assert len(whole.ends) == 16 * 4 + 4 * 2
    assert len(whole.points) == 16 * 3 + 4 * 1 + 16
    unrolled = 16 * np.hypot(4.0, 10 * np.pi / 4) + 4 * 3.0
    assert total == pytest.approx(unrolled, rel=2e-3)


@pytest.mark.parametrize(("part", "pins"), [(Part.HALF, (2,)), (Part.WHOLE, (2, 5))])
def test_half_a_cell_stands_for_the_frame(part, pins):
    forces = []
    for which, held in ((Part.HALF_CELL, (2,)), (part, pins)):
        frame = build(PATTERN, 3, which)
        tool = Cylinder(STRUTS.felt(frame.mesh), radius=10.19)
        model = problem(frame, STRUTS, [tool], held)
        curve = bench.drive(model, tool, 9.5, frame.copies, step=0.3)
        forces.append(curve.force[-1])
    assert forces[1] == pytest.approx(forces[0], rel=1e-6)


def test_refined_frame_presses_alike():
    forces = []
    for elements in (4, 8, 16):
        frame = build(PATTERN, elements)
        tool = Cylinder(STRUTS.felt(frame.mesh), radius=10.2)
        curve = bench.drive(problem(frame, STRUTS, [tool]), tool, 9.0, frame.copies, step=0.3)
        forces.append(curve.force[-1])
    assert abs(forces[2] / forces[1] - 1) < 0.02
    assert abs(forces[2] - forces[1]) < 0.5 * abs(forces[1] - forces[0])


def test_corners_stiffen_a_frame_as_they_do_a_cell():
    """Close to a flat net: many cells, and no more than bending of the struts in the wall."""
    pattern = Pattern(60, (6.0, 6.0), (0.0,), ((0.0, 120.0), (12.0, 120.0)))
    struts = Struts(ElasticFibre(5e7), 0.4, (0.6, 0.6), 0.6)
    forces = []
    for corners in (None, struts.ring_widths):
        frame = build(pattern, 8, corners=corners)
        assert (frame.kind == 2).sum() == (0 if corners is None else 8)
        tool = Cylinder(struts.felt(frame.mesh), penalty=1e8, radius=60.2)
        curve = bench.drive(problem(frame, struts, [tool]), tool, 60.0, frame.copies, step=1.0)
        forces.append(curve.force[-1])
    cell = frame_cell.Cell(np.pi * 60 / 60, 6.0, 0.6, 0.4)
    flat = [
        frame_cell.beam_curve(struts.law, cell, [1 - 0.2 / 60], 8, corners=corners)[0]
        for corners in (False, True)
    ]
    assert 1.2 < flat[1] / flat[0] < 1.8
    assert forces[1] / forces[0] == pytest.approx(flat[1] / flat[0], rel=0.05)
    with pytest.raises(InputError, match="4 elements along a strut"):
        build(pattern, 4, corners=struts.ring_widths)
    with pytest.raises(InputError, match="% of it corners"):
        build(pattern, 8, corners=(3.0, 3.0))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"columns": 2}, "columns"),
        ({"rings": (4.0, -1.0)}, "without height"),
        ({"links": ()}, "need 1 links"),
        ({"profile": ((0.0, 20.0), (0.0, 21.0))}, "rising"),
        ({"profile": ((0.0, 20.0), (5.0, 0.0))}, "not positive"),
    ],
)
def test_patterns_refuse_nonsense(change, problem):
    fields = {"columns": 4, "rings": (4.0, 4.0), "links": (3.0,), "profile": PATTERN.profile}
    with pytest.raises(InputError, match=problem):
        Pattern(**{**fields, **change})


# --- device files -------------------------------------------------------------------------------


def test_catalogue_is_complete():
    assert device_files.names() == ["evolut_like", "sapien3_like"]
    assert device_files.sizes("sapien3_like") == ["20", "23", "26", "29"]
    assert device_files.sizes("evolut_like") == ["23", "26", "29", "34"]
    for name in device_files.names():
        for size in device_files.sizes(name):
            device = device_files.load_device(name, size)
            assert device.annulus[0] < device.annulus[1] <= 1.05 * device.nominal
            keys = {"columns", "metal", "fatigue", "nominal_diameter", "height", "rings", "links",
                    "profile", "struts", "skirt_height", "crimped_diameter", "annulus"}  # fmt: skip
            assert keys | ({"balloon"} if device.balloon else set()) == set(device.sources)
            top = max(z for z, _ in device.pattern.profile)
            assert top == pytest.approx(device.pattern.height, abs=1e-9)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('thickness = "0.5 mm"', "thickness = 0.5", "sizes.26.thickness.*with its unit"),
        ('thickness = "0.5 mm"', 'thickness = "0.5 kPa"', "sizes.26.thickness.*length is needed"),
        ("columns = 12", "columns = 2", "columns"),
        ("columns = 12", "colums = 12", "columns"),
        ('law = "plastic"', 'law = "rubber"', "metal"),
        ('crimped_diameter = "7.5 mm"', 'crimped_diameter = "3 mm"', "side by side"),
        ('nominal_diameter = "25.71 mm"', 'nominal_diameter = "-2 mm"', "greater than 0"),
        ("name =", "name", "no TOML"),
    ],
)
def test_a_users_file_is_checked(tmp_path, old, new, message):
    text = (device_files.CATALOGUE / "sapien3_like.toml").read_text()
    assert old in text
    file = tmp_path / "mine.toml"
    head, size, tail = text.partition("[sizes.26]")
    here = old in tail
    file.write_text(
        head + size + tail.replace(old, new, 1) if here else head.replace(old, new) + size + tail
    )
    with pytest.raises(InputError, match=message):
        device_files.load_device(file, "26")


def test_unknown_devices_and_sizes(tmp_path):
    with pytest.raises(InputError, match=r"In the catalogue: evolut_like"):
        device_files.load_device(tmp_path / "none.toml", "26")
    with pytest.raises(InputError, match="26"):
        device_files.load_device("sapien3_like", "27")


# --- bench --------------------------------------------------------------------------------------


def cut(law, limit=0.004, static=None, pattern=PATTERN, crimped=10.0):
    """A small frame."""
    fatigue = device_files.Fatigue(amplitude=limit, static=static)
    struts = Struts(law, 0.4, (0.3, 0.3), 0.4)
    largest = max(d for _, d in pattern.profile)
    return device_files.Device(
        "small", "any", pattern, struts, largest, crimped, 0.0, (15.0, 19.0), fatigue, {}
    )


#: Two rings of diamonds.
DIAMONDS = Pattern(8, (4.0, 4.0), (0.0,), ((0.0, 16.0), (8.0, 16.0)))


def crimp_expand(device, elements, step):
    on = bench.on_bench(device, elements)
    crimped = bench.crimp_and_release(on, step=step)
    assert crimped.diameters[1] < 1.15 * device.crimped  # it stays crimped
    assert crimped.release.force_at(0.85 * device.nominal) == 0.0
    assert crimped.imbalance < 0.04  # in steps as large as these
    recoil = bench.expand(on, device.nominal, step=step)
    assert recoil.full == pytest.approx(device.nominal, rel=0.012)
    return crimped, recoil


def test_recoil_grows_with_the_yield_stress():
    shares = []
    for stress in (450e3, 900e3):
        metal = J2Plasticity.from_engineering(240e6, 0.3, stress, hardening=2e6)
        device = cut(PlasticFibre(metal), pattern=DIAMONDS, crimped=11.0)
        shares.append(crimp_expand(device, 4, 0.15)[1].share)
    assert 0.005 < shares[0] < 0.08
    assert shares[1] > 1.4 * shares[0]


def test_crimper_makes_way_for_a_frame_that_is_widened():
    device = cut(cobalt_chromium(), pattern=DIAMONDS, crimped=13.0)
    on = bench.on_bench(device, 3)
    bench.crimp_and_release(on, step=0.3)
    wide = bench.expand(on, 17.6, step=0.3)  # the crimper stood at 16.6 mm
    assert wide.full == pytest.approx(17.6, rel=0.012)
    assert wide.expansion.force.max() < 1e6


def test_released_nitinol_comes_back():
    device = cut(SuperelasticFibre(Nitinol.stent()), pattern=DIAMONDS, crimped=8.0)
    on = bench.on_bench(device, 4)
    crimped = bench.crimp_and_release(on, step=0.1)
    assert np.abs(on.model.x - on.model.mesh.points).max() < 1e-6
    assert crimped.imbalance < 0.01
    for diameter in (9.5, 12.0):
        pushed, held = (curve.force_at(diameter) for curve in (crimped.crimping, crimped.release))
        assert 0 < held < pushed
    assert crimped.release.hoop_force_at(12.0) == pytest.approx(held / (2 * np.pi))
    with pytest.raises(InputError, match="off the curve"):
        crimped.release.force_at(1.0)
    assert crimped.diameters[1] == pytest.approx(16.4)
    with pytest.raises(InputError, match="no expansion"):
        bench.expand(on, 4.0)


@pytest.mark.slow
def test_catalogue_balloon_expandable():
    device = device_files.load_device("sapien3_like", "23")
    crimped, recoil = crimp_expand(device, 4, 0.1)
    # The table's 24.5 mm when crimped: rings were laid out for it with rigid struts.
    assert crimped.crimping.height[-1] == pytest.approx(24.5, rel=0.04)
    assert 0.01 < recoil.share < 0.06  # 3.9 ± 1.1 % in patients (Sammour 2020)
    assert recoil.height == pytest.approx(18.0, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["23", "29"])
def test_catalogue_self_expanding(size):
    device = device_files.load_device("evolut_like", size)
    on = bench.on_bench(device, 3)
    crimped = bench.crimp_and_release(on, step=0.1)
    assert np.abs(on.model.x - on.model.mesh.points).max() < 1e-6
    assert crimped.imbalance < 0.01
    middle = float(np.mean(device.annulus))
    assert 0 < crimped.release.force_at(middle) < crimped.crimping.force_at(middle)


def test_strain_amplitude_of_an_elastic_frame():
    found = [
        bench.pulsate(bench.on_bench(cut(ElasticFibre(5e7)), 3), 19.0, change, cycles=1, step=1.0)
        for change in (0.01, 0.02)
    ]
    assert found[1].amplitude.max() == pytest.approx(2 * found[0].amplitude.max(), rel=0.02)
    assert found[0].safety == pytest.approx(0.004 / found[0].amplitude.max())
    with_mean = bench.pulsate(
        bench.on_bench(cut(ElasticFibre(5e7), static=0.1), 3), 19.0, 0.01, cycles=1, step=1.0
    )
    assert with_mean.safety < found[0].safety


def test_crushed_frame():
    soft = bench.crush(cut(ElasticFibre(5e7)), 17.0, elements=3, step=0.3)
    stiff = bench.crush(cut(ElasticFibre(1e8)), 17.0, elements=3, step=0.3)
    metal = bench.crush(cut(cobalt_chromium()), 17.0, elements=3, step=0.3)
    assert (np.diff(soft.force) > 0).all() and soft.distance[-1] == 17.0
    assert stiff.force[-1] == pytest.approx(2 * soft.force[-1], rel=0.02)
    assert 0 < metal.force[-1] < 4.8 * soft.force[-1]
    with pytest.raises(InputError, match="mm wide"):
        bench.crush(cut(cobalt_chromium()), 40.0)
