"""Frames in tissue: contact of struts with facets, both in one equilibrium."""

from dataclasses import replace

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.devices import implantation
from organtwin.devices import rotations as rot
from organtwin.devices.beam import line, straight_elements
from organtwin.devices.bench import crimp_and_release, on_bench
from organtwin.devices.cylinder import Cylinder
from organtwin.devices.equilibrium import BeamProblem
from organtwin.devices.fibre_laws import ElasticFibre, cobalt_chromium
from organtwin.devices.foreseen import ENOUGH, LEAST, stops
from organtwin.devices.frame import Part, build, problem
from organtwin.devices.frame_first import go_first
from organtwin.devices.placement import Placed, Placement, put
from organtwin.devices.tissue_contact import StrutLaw, strut_points
from organtwin.devices.unfolding import unfold
from organtwin.errors import InputError
from organtwin.mechanics.contact_rounding import RoundedFacets
from organtwin.mechanics.contact_surface import surface
from organtwin.mechanics.dirichlet import Dirichlet
from organtwin.mechanics.formulation import PENALTY, PENALTY_P1
from organtwin.solve.outcome import Outcome
from organtwin.verify import tissue_rings
from organtwin.verify.delivery import BALLOON, small_frame
from organtwin.verify.rings import METAL, Tube, elastic_balance

COMM = MPI.COMM_SELF
RANDOM = np.random.default_rng(5)
SOFT = Tube(9.997, 12.0, 0.1, 3e4)
BOTH = [
    pytest.param(PENALTY, id="curved", marks=pytest.mark.slow),
    pytest.param(PENALTY_P1, id="rounded"),
]


# --- contact ------------------------------------------------------------------------------------


def test_points_share_out_the_length_of_struts():
    points, ends = line((0, 0, 0), (3, 0, 0), 3)
    mesh = straight_elements(points, ends, (0, 1, 0))
    few, many = (strut_points(mesh, np.full(4, 0.2), spacing) for spacing in (np.inf, 0.3))
    assert len(few.length) == 4
    assert len(many.length) == 4 + 3 * 3
    for found in (few, many):
        assert found.length.sum() == pytest.approx(3.0)
        # The trapezoidal rule.
        assert found.length @ found.positions(points)[:, 0] == pytest.approx(4.5)
        assert np.allclose(found.outwards(np.tile([1.0, 0, 0, 0], (4, 1))), [0, 1, 0])
    turned = rot.quaternion(np.tile([0.0, 0.0, 0.5 * np.pi], (4, 1)))
    assert np.allclose(many.outwards(turned), [-1, 0, 0])
    assert np.allclose(many.radius, 0.2)
    with pytest.raises(InputError, match="spacing"):
        strut_points(mesh, np.full(4, 0.2), 0.0)
    with pytest.raises(InputError, match="friction"):
        StrutLaw(1.0, -0.1)


def product(both, here, touching, step):
    """The coupled tangent times a step."""
    linear = both.linearise(here, touching)
    x = linear.matrix.createVecRight()
    y, n = x.duplicate(), both._own
    frame = step[: both._frame]
    x.array[:n], x.array[n:] = step[both._frame :], frame[both.beams.free]
    linear.matrix.mult(x, y)
    return np.concatenate([y.array[n:], y.array[:n]])


@pytest.mark.parametrize("formulation", BOTH)
@pytest.mark.parametrize("friction", [0.0, 1e-3, 1.0], ids=["smooth", "slides", "sticks"])
def test_tangent_is_the_derivative_of_the_residual(formulation, friction):
    both = tissue_rings.ring_within(
        COMM, ElasticFibre(METAL), SOFT, 1, friction=friction, formulation=formulation
    )
    both = type(both)(both.tissue, both.beams, both.contact, drag=lambda: 500.0)
    both.contact.refresh(both.beams.x, both.beams.q)
    both.contact.commit()
    size = both._frame + both._own
    free = np.zeros(size, bool)
    free[both.beams.free] = True
    held = [bc.dof_indices()[0] for bc in both.tissue.supports.bcs]
    free[both._frame :] = ~np.isin(np.arange(both._own), np.concatenate(held))
    both.move(np.where(free, 1e-4 * RANDOM.normal(size=size), 0.0))
    here, touching = both.respond(), both.touched()
    felt = both.contact.felt()
    assert len(felt.on) > 3
    assert felt.rub.slides.any() == (friction == 1e-3)
    v = np.where(free, RANDOM.normal(size=size), 0.0)
    exact, start, found = product(both, here, touching, v), both.place(), []
    h = 1e-8
    for sign in (1, -1):
        both.put(start)
        both.move(sign * h * v)
        found.append(both.residual(both.respond(), touching))
    slope = (found[0] - found[1]) / (2 * h)
    # Left out: that slip is counted from a place on the tissue beside the one that is touched.
    assert np.abs(slope - exact).max() < (1e-3 if friction else 1e-4) * np.abs(exact).max()


def test_flat_triangles_are_rounded_to_the_circle_that_they_stand_for():
    both = tissue_rings.ring_within(COMM, ElasticFibre(METAL), SOFT, 1, formulation=PENALTY_P1)
    facets = both.contact.facets
    assert isinstance(facets, RoundedFacets)
    rho = np.hypot(*facets.x[..., :2].reshape(-1, 2).T)
    sagitta = SOFT.inner * (1 - np.cos(np.pi / 32))
    assert np.abs(rho - SOFT.inner).max() < 5e-3 * sagitta
    assert facets.offsets.max() > 0.5 * sagitta
    assert surface(both.tissue, "inside").X.shape[1] == 3


def test_the_law_of_contact_is_linearised_where_a_motion_leads():
    both = tissue_rings.ring_within(
        COMM, ElasticFibre(METAL), replace(SOFT, inner=9.99), 1, friction=0.2,
        formulation=PENALTY_P1, stiff=10,
    )  # fmt: skip
    contact = both.contact
    both.commit()
    motion = 0.02 * RANDOM.normal(size=(len(contact.points.length), 3))
    felt, h = contact.felt(motion), 1e-7
    assert 0 < felt.rub.slides.sum() < len(felt.on) < len(contact.points.length)
    # On the line from no motion on, that law is the one that touches the law at the motion.
    near = contact.felt((1 + h) * motion)
    slope = (near.force - felt.force) / h
    assert np.allclose(felt.force - slope, felt.origin, atol=1e-4 * np.abs(felt.force).max())
    way = RANDOM.normal(size=motion.shape)
    work = np.sum(felt.force * way[contact.pairs.point[felt.on]])
    assert contact.work(motion, way) == pytest.approx(work)


def test_a_step_ends_where_forces_do_no_more_work():
    assert stops(lambda s: s - 2.0) == 1.0
    assert stops(lambda s: 1.0 + s) == 1.0
    assert stops(lambda s: s - 0.02) == LEAST
    for root in (0.2, 0.4, 0.7):
        for work in (
            lambda s, root=root: np.expm1(9 * (s - root)),
            lambda s, root=root: s - root if s < root else 1e3 * (s - root),
        ):
            assert 0.0 < stops(work) < 1.0
            assert abs(work(stops(work))) <= ENOUGH * abs(work(0.0))


# --- rings in tubes -----------------------------------------------------------------------------


@pytest.mark.parametrize("formulation", BOTH)
def test_ring_balances_the_tube_and_nothing_is_lost(formulation):
    tube = replace(SOFT, inner=9.99)
    both = tissue_rings.ring_within(COMM, ElasticFibre(METAL), tube, 1, formulation=formulation)
    assert both.solve().converged
    u, force = elastic_balance(tube)
    found = tissue_rings.balance(both, tube)
    assert found.widening == pytest.approx(u, rel=1e-3)
    assert found.force == pytest.approx(force, rel=5e-3 if formulation is PENALTY else 0.05)
    assert found.imbalance < 1e-12
    pressed = both.contact.pressed()
    assert 4 * pressed.normal.sum() == pytest.approx(found.force)
    assert np.hypot(*pressed.places[:, :2].T) == pytest.approx(tube.inner + u, rel=1e-4)
    assert pressed.length.sum() == pytest.approx(both.contact.grip().touching)
    # What the rows of the tissue and the nodes of the ring get, without supports in between.
    felt = both.contact.felt()
    both.contact._held[:] = False
    rows, values = both.contact.on_rows(felt)
    assert rows.shape == values.shape
    nodes = both.contact.on_nodes(felt, len(both.beams.x)).sum(axis=0)
    pressed = np.linalg.norm(nodes)
    total = [values[(rows - i) % 3 == 0].sum() for i in range(3)]
    assert np.allclose(total, -nodes, atol=1e-12 * pressed)


def test_drag_holds_the_tissue_back_and_leaves_no_trace():
    drag, widened = [0.0], []
    for first in (0.0, 1e6):
        both = tissue_rings.ring_within(COMM, ElasticFibre(METAL), SOFT, 1, formulation=PENALTY_P1)
        both = type(both)(both.tissue, both.beams, both.contact, drag=lambda: drag[0])
        for drag[0] in (first, 0.0, 0.0, 0.0, 0.0):  # facets are rounded anew in each step
            assert both.solve().converged
            both.commit()
            widened.append(np.abs(both.tissue.w.x.array).max())
    assert widened[5] < 0.5 * widened[0]
    assert widened[9] == pytest.approx(widened[4], rel=1e-3)


def test_oversized_ring_is_pulled_out_by_friction():
    found = tissue_rings.pull_out(COMM, SOFT, 1, 0.3, formulation=PENALTY_P1, stiff=10)
    assert found == pytest.approx(1.0, abs=1e-3)


@pytest.mark.slow
def test_rings_of_all_sorts_agree_with_the_closed_form():
    records = tissue_rings.tissue_records(COMM, quick=False)
    assert [record.quantity for record in records if not record.met] == []


def test_a_ring_is_let_go_step_by_step_and_comes_back():
    tube = replace(SOFT, inner=9.99)
    both = tissue_rings.ring_within(
        COMM, ElasticFibre(METAL), tube, 1, formulation=PENALTY_P1, crimper=9.97
    )
    crimper = both.beams.actions[0]
    wide = implantation.Stage("opening", lambda: opened(crimper, 9.97, 10.1), 0.5)
    seen = []
    start = both.state
    account = implantation.deploy(both, [wide], on_accept=lambda *at: seen.append(at))
    assert account.complete
    assert seen[-1] == ("opening", 1.0)
    u, _ = elastic_balance(tube)
    end = both.state
    assert tissue_rings.balance(both, tube).widening == pytest.approx(u, rel=1e-3)
    # Back to the start, and from its copies to the end again.
    both.restore(start)
    assert np.allclose(both.beams.x, start["frame.x"])
    assert not both.tissue.w.x.array.any()
    both.restore(end)
    before = both.beams.x.copy()
    assert both.solve().converged
    assert np.abs(both.beams.x - before).max() < 1e-7


def test_a_frame_that_goes_first_meets_the_tissue_at_the_same_place():
    places, tube = [], replace(SOFT, inner=9.99)
    for first in (True, False):
        both = tissue_rings.ring_within(
            COMM, ElasticFibre(METAL), tube, 1, friction=0.2, formulation=PENALTY_P1, stiff=10,
            crimper=9.992,
        )  # fmt: skip
        crimper = both.beams.actions[0]
        for radius in (9.992, 9.994):
            crimper.radius = radius
            if first:
                both.contact.refresh(both.beams.x, both.beams.q)
                before = both.beams.x
                assert go_first(both.beams, both.contact)
                assert np.abs(both.beams.x - before).max() > 1e-4
            assert both.solve().converged
            both.commit()
        assert both.contact.touches
        # What the crimper lets go would run ahead.
        assert not both._is_driven()
        places.append(both.beams.x)
    assert np.abs(places[0] - places[1]).max() < 1e-6
    crimper.around, crimper.radius = False, 9.995
    assert both._is_driven()
    # Without an equilibrium of its own the frame stays.
    both.beams.actions.append(Trap())
    both.beams.actions[-1].is_set = True
    assert not go_first(both.beams, both.contact)
    assert np.array_equal(both.beams.x, places[1])


def test_multipliers_take_what_a_soft_penalty_lets_through():
    tube = replace(SOFT, inner=9.99)
    both = tissue_rings.ring_within(
        COMM, ElasticFibre(METAL), tube, 1, formulation=PENALTY_P1, stiff=0.1
    )
    depths, forces = [], []
    for _ in range(5):
        assert both.solve().converged
        forces.append(tissue_rings.balance(both, tube).force)
        depths.append(both.contact.augment())
    assert depths[4] < 0.03 * depths[0]
    assert forces[4] == pytest.approx(elastic_balance(tube)[1], rel=0.05)


def opened(tool, start, end):
    return lambda factor: setattr(tool, "radius", start + factor * (end - start))


class Trap:
    """A tool that no equilibrium is found with once it is set."""

    is_set = False

    def foresee(self, x, dx):
        return np.zeros(len(x), bool)

    def push(self, x, touching=None):
        return np.full(x.shape, np.nan if self.is_set else 0.0), np.zeros((len(x), 3, 3))

    def commit(self, x):
        pass


def test_a_stage_that_fails_is_told_and_undone():
    both = tissue_rings.ring_within(
        COMM, ElasticFibre(METAL), SOFT, 1, formulation=PENALTY_P1, crimper=9.97
    )
    trap = Trap()
    both.beams.actions.append(trap)
    stage = implantation.Stage(
        "squeezing", lambda: lambda factor: setattr(trap, "is_set", factor > 0.5), 0.25
    )
    account = implantation.deploy(both, [stage])
    assert not account.complete
    assert account.stage == "squeezing"
    assert 0.3 < account.reached <= 0.5
    assert "squeezing: stopped at load factor" in account.reason
    assert np.isfinite(both.beams.x).all()
    assert not trap.is_set
    assert both.solve().converged


def test_tissue_can_be_solved_again_after_its_factors_failed(monkeypatch):
    wall = tissue_rings.ring_within(
        COMM, ElasticFibre(METAL), SOFT, 1, formulation=PENALTY_P1
    ).tissue
    wall.w.x.array[:] = 1e-4 * RANDOM.normal(size=wall.w.x.array.size)
    start = wall.w.x.array.copy()
    equations = wall._equations
    assemble = equations._assemble_tangent

    def lost():
        assemble()
        equations._A.scale(np.nan)

    with monkeypatch.context() as broken:
        broken.setattr(equations, "_assemble_tangent", lost)
        assert wall.solve().outcome is Outcome.LINEAR_FAILED
    assert np.array_equal(wall.w.x.array, start)
    assert wall.solve().outcome is Outcome.CONVERGED
    assert np.abs(wall.w.x.array).max() < 1e-6


def test_tissue_held_off_the_axes_is_refused():
    both = tissue_rings.ring_within(COMM, ElasticFibre(METAL), SOFT, 1, formulation=PENALTY_P1)
    tissue = type(both.tissue)(
        both.tissue.domain, both.tissue.terms, formulation=PENALTY_P1,
        dirichlet=[Dirichlet("outside", normal=True)],
    )  # fmt: skip
    with pytest.raises(InputError, match="no axis"):
        type(both)(tissue, both.beams, both.contact)


# --- whole frames -------------------------------------------------------------------------------


def test_half_a_cell_unfolds_to_all_of_a_crimped_frame():
    device = small_frame(cobalt_chromium(), 9.0)
    bench = on_bench(device, 3)
    crimp_and_release(bench, step=0.15)
    frame = build(device.pattern, 3, Part.WHOLE)
    whole = problem(frame, device.struts, [], pins=())
    unfold(bench.frame, bench.model, frame, whole)
    copies = bench.frame.copies
    assert whole.energies() == pytest.approx([copies * e for e in bench.model.energies()])
    rest = whole.residual(whole.respond(), whole.touched())
    assert np.abs(rest).max() < 1e-6 * np.abs(whole.resultants()).max()
    with pytest.raises(InputError, match="don't fit"):
        coarse = build(device.pattern, 2, Part.WHOLE)
        unfold(bench.frame, bench.model, coarse, problem(coarse, device.struts, [], pins=()))


def test_placed_frames_and_tools_move_together():
    device = small_frame(ElasticFibre(5e7), 9.0)
    frame = build(device.pattern, 2, Part.WHOLE)
    felt = device.struts.felt(frame.mesh)
    place = Placement((1.0, -2.0, 3.0), (0.0, 1.0, 1.0), 4.0, 12.0, 30.0, 7.0)
    R = place.rotation()
    assert np.allclose(R @ R.T, np.eye(3))
    assert np.linalg.det(R) == pytest.approx(1.0)
    axis = np.array([0.0, 1.0, 1.0]) / np.sqrt(2)
    assert np.degrees(np.arccos(R[:, 2] @ axis)) == pytest.approx(12.0)
    assert R[:, 2] @ place.across()[0] == pytest.approx(np.sin(np.radians(12)) * np.cos(np.pi / 6))
    assert np.allclose(place.moved(np.array([[0.0, 0.0, 4.0]])), [[1.0, -2.0, 3.0]])
    x = RANDOM.normal(size=(5, 3))
    assert np.allclose(place.back(place.moved(x)), x)
    tool = Cylinder(felt, radius=8.0 + 0.19)
    here = BeamProblem(frame.mesh, device.struts.sections(), kind=frame.row)
    put(here, place)
    assert np.abs(here.strains()).max() < 1e-12
    force, stiffness = Placed(tool, place).push(here.x)
    own, own_stiffness = tool.push(frame.mesh.points)
    assert np.abs(own).max() > 0
    assert np.allclose(force, own @ R.T)
    assert np.allclose(stiffness, R @ own_stiffness @ R.T)
    with pytest.raises(InputError, match="tilt"):
        Placement(tilt=95.0)


def test_stages_of_a_balloon_in_the_open():
    """Without tissue a whole frame does what half a cell of it does."""
    device = replace(small_frame(cobalt_chromium(), 9.0), balloon=BALLOON)
    implant = implantation.on_balloon_at(device, Placement((5.0, 0.0, 0.0), tilt=20.0), 2)
    crimped = implant.diameters()
    assert crimped[1] < 10.5
    balloon = implant.balloon
    stages = [
        replace(implantation.filling(balloon, BALLOON.nominal_volume), step=0.15),
        implantation.emptying(balloon), implantation.letting_go(implant),
    ]  # fmt: skip
    account = implantation.deploy(implant.beams, stages)
    assert account.complete, account.reason
    low, high = implant.diameters()
    assert 15.0 < low <= high < 15.9
    assert [name for name, _ in account.paths] == ["filling", "emptying", "letting go"]
    with pytest.raises(InputError, match="rated burst"):
        implantation.filling(balloon, 2 * BALLOON.largest_volume)
