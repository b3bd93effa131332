"""A tibial plateau as planned: depth of the raft, holes, hold, steps, loads of a bench."""

from dataclasses import replace

import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.image.volume import Grid
from organtwin.orthopaedics.assembly import Fineness
from organtwin.orthopaedics.assessment import Judged
from organtwin.orthopaedics.cartilage_contact import Columns
from organtwin.orthopaedics.operation import Load
from organtwin.orthopaedics.outcome import Outcome
from organtwin.orthopaedics.plateau_assessment import (
    Gap,
    add_cartilage,
    add_surface,
    seam_of,
)
from organtwin.orthopaedics.plateau_fixation import raft_depth, require_hold
from organtwin.orthopaedics.plateau_options import TibialPlateauOptions
from organtwin.orthopaedics.plateau_plan import CONDYLE_BENCH, plateau_operation
from organtwin.surgery.bodies import Bodies
from organtwin.surgery.placement import Frame
from organtwin.surgery.screws import Screw
from tests import implanted_block

UP = np.array([0.0, 0.0, 1.0])


@pytest.mark.parametrize("depth", [0.0, 2.0, 5.0, 6.0, 8.0, 12.0])
@pytest.mark.parametrize("step", [0.0, 2.0])
def test_the_raft_lies_below_the_piece_where_screws_have_room(depth, step):
    if step > depth:
        with pytest.raises(InputError, match="stays 2 mm too low"):
            TibialPlateauOptions(depth=depth, step=step)
        return
    asked = TibialPlateauOptions(depth=depth, step=step, fineness=Fineness(5.0, 2.5, 2.5, 1.0))
    radius, found = 0.25 * sum(asked.screw), raft_depth(asked)
    piece = asked.thick + step - 0.5 * asked.gap
    assert piece < found - radius and found + radius < asked.thick + depth + 7.0
    if asked.open:
        # No slice of an empty void is thinner than voxels show.
        ceiling, floor = piece + asked.gap, asked.thick + depth - 0.5 * asked.gap
        for slice_ in (found - radius - ceiling, floor - found - radius):
            assert slice_ >= 1.2 or slice_ <= 0.0
    assert raft_depth(TibialPlateauOptions(raft_below=12.0)) == 12.0


def test_options_out_of_range_are_refused():
    with pytest.raises(InputError, match=r"raft: 5 screws"):
        TibialPlateauOptions(raft=5)
    with pytest.raises(InputError, match=r"gap: 0.6 mm in voxels"):
        TibialPlateauOptions(gap=0.6)
    with pytest.raises(InputError, match="no fixation `nail`"):
        TibialPlateauOptions(fixation="nail")


def blocks():
    """Tibia x < 0, split fragment 0 < x < 10, a piece at x = -10 ± 6 above z = -8."""
    grid = Grid((60, 60, 60), np.full(3, 1.0), np.full(3, -30.0), np.eye(3))
    x, y, z = np.moveaxis(grid.points(np.indices((60, 60, 60)).reshape(3, -1).T), 1, 0)
    box = np.max([np.abs(x) - 25.0, np.abs(y) - 25.0, np.abs(z) - 25.0], axis=0)
    piece = np.max([np.abs(x + 10.0) - 6.0, np.abs(y) - 9.0, -8.0 - z, z], axis=0)
    fields = {
        "tibia": np.maximum(np.maximum(box, x), -piece), "depressed_fragment": piece,
        "lateral_fragment": np.maximum(np.maximum(box, -x), x - 10.0),
    }  # fmt: skip
    shaped = {n: f.reshape(60, 60, 60).astype(np.float32) for n, f in fields.items()}
    return Bodies(grid, shaped)


def held(*lines):
    screws = {
        f"screw{k}": Screw(np.array([12.0, *a]), np.array([-22.0, *b]), 3.5, 2.4, name=f"screw{k}")
        for k, (a, b) in enumerate(lines, 1)
    }
    fit = {f"{name}: breach of the wall mm": 0.0 for name in screws}
    notes: list[str] = []
    require_hold(blocks(), screws, tuple(screws), UP, fit, notes)
    return fit, notes


def test_screws_must_hold_both_fragments():
    rows = [((y, -11.0), (y, -11.0)) for y in (-6.0, 0.0, 6.0)]
    fit, notes = held(*rows)
    assert fit["screws that hold the lateral fragment"] == 3 and not notes
    assert fit["screws below the depressed fragment"] == 3
    assert fit["screw2: in the lateral fragment mm"] == pytest.approx(10.0, abs=0.6)
    assert fit["screw2: below the depressed fragment mm"] == pytest.approx(12.0, abs=0.6)
    assert "One screw alone" in held(rows[1])[1][0]
    with pytest.raises(InputError, match=r"1 of 3 screws of the raft .* screw1, screw3 miss"):
        held(((-15.0, -11.0),) * 2, rows[1], ((15.0, -11.0),) * 2)
    with pytest.raises(InputError, match=r"screw1 and screw2: only -1.5 mm"):
        held(rows[1], ((2.0, -11.0), (2.0, -11.0)))
    with pytest.raises(InputError, match="no screw goes through it"):
        require_hold(
            blocks(), {"screw1": Screw(np.array([-1.0, 0, -11]), np.array([-22.0, 0, -11]), 3, 2)},
            ("screw1",), UP, {"screw1: breach of the wall mm": 0.0}, [],
        )  # fmt: skip
    with pytest.raises(InputError, match=r"screw1: its thread leaves the bone by 2.0 mm"):
        require_hold(
            blocks(), {"screw1": Screw(np.array([1.0, 0, -11]), np.array([-22.0, 0, -11]), 3, 2)},
            ("screw1",), UP, {"screw1: breach of the wall mm": 2.0}, [],
        )  # fmt: skip


NAMES = {"tibia": 1, "callus": 2, "lateral_fragment": 3}


@pytest.fixture(scope="module")
def block():
    """The block's cut-away part as a fragment over a tibia, its stem as callus."""
    made = implanted_block.assembly()
    mesh = replace(made.mesh, region_names=NAMES)
    knee = Frame(np.array([10.0, 10.0, 60.0]), np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]))
    points = {"plateau_lateral": np.array([17.0, 10.0, 60.0]),
              "plateau_medial": np.array([3.0, 10.0, 60.0])}  # fmt: skip
    return replace(made, mesh=mesh, frames={"knee": knee}, points=points, implants={}, pairs=())


def found_of(made):
    mesh = made.mesh
    top = mesh.facets[mesh.points[mesh.facets][:, :, 2].min(axis=1) == 60.0]
    outcome = Outcome(
        mesh.points, mesh.cells, mesh.regions, NAMES, mesh.points, mesh.cells,
        np.arange(len(mesh.cells)),
    )  # fmt: skip
    return outcome, {"plateau_lateral": top}


def test_a_step_is_what_reduction_and_load_made():
    """The slope of a sound joint across the gap is none."""
    tibia = np.array([[0.0, 0.0, 0.0], [0.0, 2.0, 0.0], [-2.0, 0.0, 0.0], [0.0, 0.0, -2.0]])
    piece = tibia * [-1.0, 1.0, 1.0] + [1.5, 0.0, 0.7]  # across a gap, higher by its slope
    points = np.concatenate([tibia, piece])
    cells = np.arange(8).reshape(2, 4)
    names = {"tibia": 1, "depressed_fragment": 2}
    outcome = Outcome(points, cells, np.array([1, 2]), names, points, cells, np.arange(2))
    apart = points[:2] - points[4:6]
    width = np.linalg.norm(apart, axis=1)
    gap = Gap(np.array([4, 5]), np.array([0, 1]), np.ones(2), width, apart / width[:, None])
    facets = {"plateau_lateral": np.array([[0, 1, 2], [4, 5, 6]])}
    moved = np.zeros((8, 3))
    moved[4:, 2] = -0.3
    seam = seam_of(outcome, gap, facets, moved, UP, step=2.0)
    assert seam.steps(loaded=False) == pytest.approx([-2.0, -2.0])
    assert seam.steps() == pytest.approx([-2.3, -2.3])
    sound = seam_of(outcome, gap, facets, moved, UP)
    assert sound.steps(loaded=False) == pytest.approx([0.0, 0.0])
    assert sound.steps() == pytest.approx([-0.3, -0.3])


def test_the_bench_presses_the_fragment_alone(block):
    operation, _, notes = plateau_operation(
        block, 750e3, ["walking", CONDYLE_BENCH], 0.2, (1.0, 6.0), (1e3, 1e5), 2e5, bench=400.0
    )
    walking, bench = operation.loads
    assert set(bench.forces) == {"plateau_lateral"} and not bench.intact and walking.intact
    assert np.linalg.norm(bench.forces["plateau_lateral"]) == pytest.approx(400e3)
    assert [stage.name for stage in operation.healing] == ["1 week", "6 weeks"]
    assert "20 % of the loads of daily life are borne." in notes
    with pytest.raises(InputError, match="no load `flying`"):
        plateau_operation(block, 750e3, ["flying"], 0.2, (1.0,), (1e3,), 2e5)
    outcome, facets = found_of(block)
    moved = np.zeros_like(outcome.points)
    moved[:, 2] = -0.5
    for load, told in ((walking, False), (bench, True)):
        judged = Judged()
        add_surface(judged, outcome, load, facets, moved, UP, "")
        stiff = [one.value for one in judged.indices if one.name == "construct_stiffness"]
        assert stiff == (pytest.approx([800.0]) if told else [])


def test_the_joint_presses_where_its_cartilages_meet(block):
    """Columns of one thickness, nearer to each other at one side."""
    x, y = (g.ravel() for g in np.mgrid[1.0:20.0:1.0, 1.0:20.0:1.0])
    n = len(x)
    columns = Columns(
        np.column_stack([x, y, np.full(n, 60.0)]), np.ones(n), 0.02 * (x - 17.0) ** 2,
        np.full(n, 4.0), (x < 10.0).astype(int), np.ones(n, int),
    )  # fmt: skip
    with_table = replace(block, tables={"cartilage": columns.table()})
    operation, _, _ = plateau_operation(with_table, 750e3, ["walking"], 0.2, (1.0,), (1e3,), 2e5)
    at = operation.places["plateau_lateral"].point
    assert at == pytest.approx((17.0, 10.0, 60.0), abs=0.6)
    assert operation.places["plateau_medial"].point[0] > 6.0
    outcome, facets = found_of(block)
    judged = Judged()
    load = Load("stand", "stand", {"plateau_lateral": (0.0, 0.0, -200e3)})
    add_cartilage(judged, outcome, load, facets, np.zeros_like(outcome.points), UP, columns, "")
    found = {one.name: one.value for one in judged.indices}
    assert found["cartilage_lateral_contact_force"] == pytest.approx(200.0)
    assert found["cartilage_lateral_pressure_max"] > found["cartilage_lateral_pressure_mean"] > 0.5
    assert not any("medial" in name for name in found)
