"""A plateau's fragments that touch: their borders, their seats, how far their faces move."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.errors import InputError
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.orthopaedics.assembly import Assembly, Fineness, meshed
from organtwin.orthopaedics.gap_indices import FaceMotion, face_indices
from organtwin.orthopaedics.outcome import Contact, Outcome
from organtwin.orthopaedics.plateau_assessment import judge_plateau
from organtwin.orthopaedics.plateau_fracture import Knee, broken
from organtwin.orthopaedics.plateau_options import CARRIERS, TibialPlateauOptions
from organtwin.orthopaedics.plateau_plan import CONDYLE_BENCH, plateau_operation
from organtwin.orthopaedics.tibial_plateau import _named, _touching
from organtwin.surgery.placement import Frame

X, Y, Z = np.eye(3)
FINE = Fineness(6.0, 4.0, 4.0, 1.5)


def box(low, high):
    """Closed surface of a box, seen from outside."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    points = np.array(low) + corners * (np.array(high) - np.array(low))
    return TriangleSurface(points, np.array(triangles))


@pytest.fixture(scope="module")
def knee():
    """A block as a tibia, lateral to x, its joint at z = 0."""
    bone = box((-70.0, -25.0, -45.0), (22.0, 25.0, 0.0))
    return Knee(bone, np.zeros(3), -48.0 * X, Z, X, -Y, -Z, -45.0 * Z, "left")


@pytest.mark.parametrize("step", [0.0, 2.0])
def test_touching_fragments_share_their_borders(knee, step):
    asked = TibialPlateauOptions(gap=0.0, step=step, fineness=FINE)
    bodies, fit = broken(knee, asked)
    assert set(bodies.names) == {*CARRIERS, "graft"}
    whole = 92.0 * 50.0 * 45.0
    lowered = step * np.pi * 6.5 * 12.5
    assert sum(bodies.volume(n) for n in bodies.names) == pytest.approx(whole - lowered, rel=0.01)
    height = -bodies.at("depressed_fragment", np.array([[-4.0, 0.0, -step - 1.5]]))[0]
    assert height == pytest.approx(1.5, abs=0.3)
    assert fit["step of the piece mm"] == -step
    for one, other in combinations(bodies.names, 2):
        assert bodies.shared(one, other) < 0.002 * whole


def test_a_split_has_no_piece(knee):
    bodies, _ = broken(knee, TibialPlateauOptions(gap=0.0, fracture="split", fineness=FINE))
    assert set(bodies.names) == {"tibia", "lateral_fragment"}
    bodies, _ = broken(knee, TibialPlateauOptions(gap=2.0, fracture="split", fineness=FINE))
    assert set(bodies.names) == {"tibia", "lateral_fragment", "callus"}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"gap": 0.6}, "0 for fragments that touch"),
        ({"gap": 0.0, "depth": 0.9}, "a void of 0.9 mm under the piece"),
        ({"gap": 0.0, "graft": False}, "nothing holds it: its void is empty"),
        ({"fracture": "split", "step": 1.0}, "no piece that could stay too low"),
        ({"fracture": "spli"}, "no fracture `spli`"),
    ],
)
def test_what_would_be_lost_or_fall_is_refused(asked, words):
    with pytest.raises(InputError, match=words):
        TibialPlateauOptions(**asked)


def test_movement_of_faces():
    area = np.array([1.0, 1.0, 2.0, 16.0])
    found = FaceMotion(
        area, np.array([0.003, -0.001, 0.0, 0.0]), np.array([0.004, 0.002, 0.0, 0.0]),
        np.array([-5.0, 10.0, 10.0, 0.0]),
    )  # fmt: skip
    told = {one.name: one.value for one in face_indices(found, comm=MPI.COMM_SELF)[0]}
    assert told["fragments_movement_max"] == pytest.approx(5.0)
    assert told["fragments_movement_95"] == pytest.approx(2.0)
    assert told["fragments_opening_max"] == pytest.approx(3.0)
    assert told["fragments_slip_max"] == pytest.approx(4.0)
    assert told["fragments_touching"] == pytest.approx(15.0)
    empty = FaceMotion(*(np.zeros(0),) * 4)
    assert "they have no area" in face_indices(empty, comm=MPI.COMM_SELF)[1][0]


@pytest.fixture(scope="module")
def split(knee):
    """The split block as an assembly."""
    bodies, _ = broken(knee, TibialPlateauOptions(gap=0.0, fracture="split", fineness=FINE))
    mesh = _named(meshed(bodies, FINE, implants=(), place="block").mesh, knee)
    points = {"plateau_lateral": np.zeros(3), "plateau_medial": -48.0 * X}
    return Assembly(
        "block", mesh, ("tibia", "lateral_fragment"), {}, pairs=_touching(mesh), points=points,
        frames={"knee": Frame.of(np.zeros(3), Z, X)},
    )  # fmt: skip


def test_the_faces_are_seats_and_nothing_heals(split):
    assert split.pairs == (("lateral_fragment", "tibia"),)
    operation, _, notes = plateau_operation(
        split, 750e3, [CONDYLE_BENCH], 0.2, (1.0, 6.0), (1e3, 1e5), 2e5, friction=0.5
    )
    (seat,) = operation.seats
    assert (seat.surface, seat.friction) == ("lateral_fragment_at_tibia", 0.5)
    assert [stage.name for stage in operation.healing] == ["fresh"]
    assert any("rub on each other (coefficient 0.5)" in note for note in notes)
    assert operation.bones == ("tibia", "lateral_fragment")
    part = split.operated().mesh
    assert {seat.surface, seat.other} <= set(part.facet_names)
    with pytest.raises(InputError, match="no callus"):
        plateau_operation(replace(split, pairs=()), 750e3, [CONDYLE_BENCH], 0.2, (1.0,), (1e3,), 0)


def test_a_step_is_told_of_fragments_that_touch(split):
    """The fragment sinks by 20 µm and goes 10 µm aside."""
    operation, _, _ = plateau_operation(
        split, 750e3, [CONDYLE_BENCH], 0.2, (1.0,), (1e3,), 2e5
    )  # fmt: skip
    part, whole = split.operated(), split.mesh
    mesh, names = part.mesh, whole.region_names
    own = np.unique(mesh.cells[mesh.regions == names["lateral_fragment"]])
    moved = np.zeros_like(mesh.points)
    moved[own] = (0.01, 0.0, -0.02)
    n, step = len(whole.cells), operation.loads[0].name
    gone = f"unloaded after {step}"
    zero = {"stress": np.zeros((n, 6)), "strain": np.zeros((n, 6)), "energy": np.zeros(n)}
    one = {"opening": np.array([0.01]), "slip": np.array([[0.0, 0.0, -0.02]]),
           "pressure": np.zeros(1)}  # fmt: skip
    outcome = Outcome(
        whole.points, whole.cells, whole.regions, names, mesh.points, mesh.cells, part.cells,
        {"density": np.ones(n), "modulus": np.ones(n)}, {step: zero, gone: zero}, {},
        {operation.seats[0].name: Contact(np.zeros((1, 3)), X[None], np.ones(1), {step: one})},
        {step: moved, gone: 0.0 * moved}, [step, gone],
    )  # fmt: skip
    facets = {name: mesh.facets[mesh.facet_tags == tag] for name, tag in mesh.facet_names.items()}
    judged = judge_plateau(outcome, operation, facets, Z)
    told = {index.name.removeprefix(f"{step}_"): index.value for index in judged.indices}
    assert [told["step_off"], told["step_off_mean"]] == pytest.approx([0.02, 0.02])
    assert told["gap_widening"] == pytest.approx(0.01)
    assert told["step_off_initial"] == 0.0
    assert told["fragments_movement_max"] == pytest.approx(np.hypot(10.0, 20.0))
    assert not any("interfragmentary" in name for name in told)
