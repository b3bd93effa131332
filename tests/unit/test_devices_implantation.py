"""Frames let go from a capsule: its surface, the tools' state, whole frames beside half cells."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from organtwin.devices import implantation
from organtwin.devices.cylinder import Cylinder, Strut
from organtwin.devices.delivery import in_sheath
from organtwin.devices.device_files import load_device
from organtwin.devices.fibre_laws import SuperelasticFibre
from organtwin.devices.frame_state import frame_arrays, restore_frame
from organtwin.devices.load_path import Drag, follow
from organtwin.devices.placement import Placement
from organtwin.devices.sheath import Capsule, Hook
from organtwin.errors import InputError
from organtwin.materials.nitinol import Nitinol
from organtwin.verify.delivery import BALLOON, small_frame

RANDOM = np.random.default_rng(11)
PLACE = Placement((5.0, -2.0, 1.0), (0.2, 0.0, 1.0), tilt=20.0)


# --- capsule and hook ---------------------------------------------------------------------------


def radii(capsule, depth):
    """Radius of the surface that axes of struts meet, at depths below the mouth."""
    x = np.column_stack([np.ones_like(depth), np.zeros_like(depth), capsule.mouth - depth])
    g, e, _ = capsule.gap(x)
    return 1.0 + g / e[:, 0]  # g = −(R − ρ) cos β, and the force points inwards by cos β


@pytest.mark.parametrize("friction", [0.0, 0.3])
def test_derivatives_of_the_capsule(friction):
    n = 60
    strut = Strut(np.full(n, 0.2), RANDOM.uniform(0.5, 1, n))
    capsule = Capsule(strut, friction, penalty=1e3, radius=3.0, mouth=1.0, bend=4.0, slope=0.8)
    depth, angle = RANDOM.uniform(-2, 8, n), RANDOM.uniform(0, 2 * np.pi, n)
    rho = radii(capsule, depth) + RANDOM.uniform(-0.002, 0.002, n)
    x = np.column_stack([rho * np.cos(angle), rho * np.sin(angle), capsule.mouth - depth])
    capsule.commit(x + 1e-3 * RANDOM.normal(size=x.shape))
    force, stiffness = capsule.push(x)
    assert 20 < (np.abs(force).sum(axis=1) > 0).sum() < n - 10
    h = 1e-7
    for j in range(3):
        step = h * np.eye(3)[j]
        slope = (capsule.push(x + step)[0] - capsule.push(x - step)[0]) / (2 * h)
        # As for balloons: the distance is one of first order; the turn of a slip is left out.
        assert np.abs(slope - stiffness[:, :, j]).max() < 2e-3 * np.abs(stiffness).max()


def test_a_capsule_is_a_tube_that_widens_smoothly():
    strut = Strut(np.full(12, 0.2), np.ones(12))
    capsule = Capsule(strut, radius=3.0, mouth=-9.0, bend=4.0, slope=0.5)
    tube = Cylinder(strut, radius=3.0)
    within = np.column_stack([RANDOM.uniform(2.5, 3, 12), np.zeros(12), RANDOM.uniform(-9, 9, 12)])
    for one, other in zip(tube.push(within), capsule.push(within), strict=True):
        assert np.allclose(one, other)
    s = np.linspace(-1, 12, 4001)
    dense = Capsule(Strut(np.zeros(4001), np.ones(4001)), radius=3.0, mouth=0.0, bend=4, slope=0.5)
    R = radii(dense, s)
    assert R[s <= 0] == pytest.approx(3.0)
    assert np.diff(R).min() >= 0
    first = np.gradient(R, s)
    assert first[-2] == pytest.approx(0.5) and np.abs(np.gradient(first, s)).max() < 0.2
    assert np.abs(np.diff(np.gradient(first, s)))[5:-5].max() < 2e-3  # no jump of the curvature
    # Where the mouth is clear, what lies at the top is just within.
    mouth = dense.clear(20.0, 5.0)
    assert np.interp(mouth - 20.0, s, R) == pytest.approx(5.0)
    with pytest.raises(InputError, match="bend 0"):
        Capsule(strut, radius=3.0, bend=0.0)


def test_a_hook_holds_along_the_axis():
    hook = Hook(np.array([0.0, 50.0]), np.array([7.0, 4.0]))
    force, slope = hook.push(np.array([[1.0, 2, 3], [1, 2, 3]]))
    assert np.allclose(force, [[0, 0, 0], [0, 0, 50.0]])
    assert np.allclose(slope[1], np.diag([0, 0, -50.0])) and not slope[0].any()
    hook.share = 0.5
    assert hook.push(np.array([[1.0, 2, 3], [1, 2, 3]]))[0][1, 2] == pytest.approx(25.0)


# --- deployments without tissue -----------------------------------------------------------------


def small():
    return small_frame(SuperelasticFibre(Nitinol.stent()), 8.0)


@cache
def small_crimped():
    return implantation.crimped(small(), 2, sheathed=True)


def small_in_sheath(state, place=PLACE):
    implant = implantation.in_sheath_at(small(), place, 2, state=state, slope=0.5)
    return implant, [
        replace(implantation.unsheathing(implant), step=0.05), implantation.letting_go(implant),
        *implantation.post_dilation(implant, 1.1 * BALLOON.nominal_volume, balloon=BALLOON),
    ]  # fmt: skip


def test_a_frame_leaves_its_capsule_and_is_dilated(tmp_path):
    small_crimped().save(tmp_path / "crimped.npz")
    state = implantation.Crimped.load(tmp_path / "crimped.npz")
    implant, stages = small_in_sheath(state)
    assert implant.balloon is None and implant.diameters()[1] == pytest.approx(8.0, abs=0.1)
    stages[2] = replace(stages[2], step=0.3)
    held = implant.own()[implant.hook.stiffness > 0, 2]
    kept = {}

    def note(name, part):
        if name == "unsheathing" and part > 0.8 and not kept:
            kept.update(frame_arrays(implant.beams), tools=implant.tools_state(), part=part)
        if name == "letting go" and part == 1.0:
            kept["free"] = implant.own()

    account = implantation.deploy(implant.beams, stages[:2], on_accept=note)
    assert account.complete, account.reason
    # Free it is what it was, and where the hook held it.
    rest = implant.frame.mesh.points
    free = kept["free"]
    assert np.hypot(*free[:, :2].T) == pytest.approx(np.hypot(*rest[:, :2].T), abs=2e-3)
    assert free[implant.hook.stiffness > 0, 2] == pytest.approx(held, abs=2e-3)
    assert implant.beams.energies()[0] < 1.0
    # Another process takes it up half way: everything is as it was there, and it ends as the
    # first.
    again, stages_again = small_in_sheath(state)
    restore_frame(again.beams, kept)
    again.restore_tools(kept["tools"])
    assert again.tools_state() == kept["tools"]
    assert again.sheath.mouth > implant.start
    assert again.beams.solve().converged
    assert np.abs(again.beams.x - kept["x"]).max() < 0.02  # the drag starts anew
    account = implantation.deploy(again.beams, [replace(stages_again[0], step=0.15)])
    assert account.complete, account.reason
    assert np.abs(again.own() - free).max() < 5e-3
    # A balloon widens it and lets it recoil; the metal is superelastic.
    balloon = implant.beams.actions[-1].tool
    account = implantation.deploy(implant.beams, stages[2:3])
    assert account.complete, account.reason
    wide = BALLOON.diameter_of(1.1 * BALLOON.nominal_volume) + 2 * 0.4
    assert implant.diameters()[1] == pytest.approx(wide, abs=0.02)
    assert 2 * balloon.radius == pytest.approx(wide - 0.8) and balloon.active
    saved = implant.tools_state()
    with pytest.raises(InputError, match="tools saved"):
        implantation.in_sheath_at(small(), PLACE, 2, state=state).restore_tools(saved)
    account = implantation.deploy(implant.beams, stages[3:])
    assert account.complete and implant.diameters()[1] < wide
    # Its axis is that of the frame, which the placement tilts.
    axis = np.array(implant.present().axis)
    assert axis @ PLACE.rotation()[:, 2] == pytest.approx(np.linalg.norm(axis), rel=1e-4)


def test_implants_refuse_what_does_not_fit():
    state = small_crimped()
    with pytest.raises(InputError, match="2 elements along a strut"):
        implantation.in_sheath_at(small(), PLACE, 3, state=state)
    with pytest.raises(InputError, match="is that of another 99"):
        implantation.in_sheath_at(small(), PLACE, 2, state=replace(state, device="another 99"))
    implant = implantation.in_sheath_at(small(), PLACE, 2, state=state)
    with pytest.raises(InputError, match=r"a share of 1\.5"):
        implantation.unsheathing(implant, 1.5)
    with pytest.raises(InputError, match="rated burst"):
        implantation.post_dilation(implant, 9e9, balloon=BALLOON)
    bare = replace(implant, sheath=None, device=replace(implant.device, balloon=None))
    with pytest.raises(InputError, match="no sheath"):
        implantation.unsheathing(bare)
    with pytest.raises(InputError, match="no balloon"):
        implantation.post_dilation(bare, 1.0)


def test_a_balloon_that_touches_nothing_is_told(caplog):
    implant = implantation.in_sheath_at(small(), PLACE, 2, state=small_crimped())
    thin = replace(BALLOON, chart=tuple((p, 0.1 * d) for p, d in BALLOON.chart))
    implantation.post_dilation(implant, thin.nominal_volume, balloon=thin)[0].start()
    assert "touches nothing" in caplog.text and "Take a larger one" in caplog.text
    caplog.clear()
    implantation.post_dilation(implant, BALLOON.nominal_volume, balloon=BALLOON)[0].start()
    assert not caplog.text


def test_friction_of_tools_is_remembered():
    state = small_crimped()
    one, two = (implantation.in_sheath_at(small(), PLACE, 2, 0.2, state=state) for _ in range(2))
    assert implantation.deploy(one.beams, [implantation.unsheathing(one, 0.03)]).complete
    restore_frame(two.beams, frame_arrays(one.beams))
    two.restore_tools(one.tools_state())
    x = one.own() + 1e-3 * RANDOM.normal(size=one.own().shape)
    assert one.sheath.push(x)[0] == pytest.approx(two.sheath.push(x)[0], abs=1e-9)
    assert one.sheath.pull(one.own()) > 10.0


# --- a catalogue frame --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.limit(600)
def test_a_whole_frame_leaves_its_capsule_as_half_a_cell_does():
    device, elements = load_device("evolut_like", "26"), 2
    implant = implantation.in_sheath_at(device, Placement(), elements)
    catheter = in_sheath(device, elements)
    half, frame, whole = catheter.model, catheter.frame, implant.sheath
    felt = device.struts.felt(frame.mesh)
    capsule = Capsule(
        felt, penalty=whole.penalty, radius=whole.radius, mouth=whole.mouth, bend=whole.bend,
        slope=whole.slope,
    )  # fmt: skip
    tools = {type(a.tool): a.tool for a in implant.beams.actions[:3]}
    core = Cylinder(felt, penalty=tools[Cylinder].penalty, radius=tools[Cylinder].radius,
                    around=False)  # fmt: skip
    drag = Drag(np.full(len(half.x), implantation.SLOWED), half.x)
    drag.stiffness[frame.planes] *= 0.5  # half of the nodes in planes of symmetry
    half.actions[:] = [capsule, core, drag]
    half.commit()
    for share in (0.15, 0.3, 0.5, 0.7, 0.9, 1.0):
        account = implantation.deploy(implant.beams, [implantation.unsheathing(implant, share)])
        assert account.complete, account.reason
        before, end = capsule.mouth, whole.mouth

        def to(factor, before=before, end=end):
            capsule.mouth = before + factor * (end - before)

        step = min(1.0, implantation.SLIDING / (end - before))
        follow(half, to, first=0.3 * step, largest=step)
        rho = np.hypot(*half.x[:, :2].T) + 0.5 * device.struts.thickness
        found = implant.diameters()
        assert found == pytest.approx((2 * rho.min(), 2 * rho.max()), rel=0.01)
        energies = np.array(implant.beams.energies()), frame.copies * np.array(half.energies())
        assert energies[0] == pytest.approx(energies[1], rel=0.01, abs=1e-3 * energies[1].max())
