"""How bones are held: what is recorded of it, and what it does to a block."""

import json
from dataclasses import replace

import numpy as np
import pytest
from mpi4py import MPI

from organtwin.bone.laws import stiffness
from organtwin.case.schema_implant import ImplantCase
from organtwin.errors import InputError
from organtwin.mesh.domain import read_domain
from organtwin.mesh.mesh_files import write_mesh
from organtwin.mesh.surface_files import TriangleSurface
from organtwin.orthopaedics.bone_model import grown
from organtwin.orthopaedics.holding import BED, HELD, JOINTS, held, without_muscles
from organtwin.orthopaedics.model import IntactBone, tissue_of
from organtwin.orthopaedics.operation import Load, Operation, Place
from organtwin.surgery.bodies import bodies_of_surfaces
from tests import implanted_block


def test_every_way_to_hold_has_a_key_and_a_note():
    keys = ImplantCase.model_fields["bone"].annotation.model_fields["held"].annotation.__args__
    assert set(keys) == {how for known in HELD.values() for how in known}
    usual = implanted_block.operation()
    for kind, known in HELD.items():
        assert known[0] == "fixed" and len(known) > 1
        for how in known:
            made, note = held(replace(usual, kind=kind), how, implanted_block.frame())
            assert (made == replace(usual, kind=kind)) == (how == "fixed") == (note == "")
            again = Operation.from_record(json.loads(json.dumps(made.record())))
            assert again == made
    with pytest.raises(InputError, match=r'"potted".*Of this kind: fixed, guided, bed'):
        held(usual, "potted", implanted_block.frame())


def test_without_muscles_joints_are_left():
    usual = implanted_block.operation()
    load = Load("a", "", {"head": (0.0, 0.0, -1.0), "vastus": (1.0, 0.0, 0.0)})
    places = {**usual.places, "vastus": Place((0.0, 0.0, 0.0), ("femur_surface",))}
    both = replace(usual, loads=(load,), places=places)
    left, _ = without_muscles(both)
    assert left.loads[0].forces == {"head": (0.0, 0.0, -1.0)}
    assert set(JOINTS) == {"hip_stem"}
    with pytest.raises(InputError, match="have none"):
        without_muscles(replace(both, kind="pedicle_screw"))


def test_a_bone_grows_along_its_normal():
    corners = np.array(np.meshgrid([0, 20.0], [0, 20.0], [0, 20.0], indexing="ij"))
    faces = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7],
                      [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]])  # fmt: skip
    cube = TriangleSurface(corners.reshape(3, -1).T, faces)
    bodies = bodies_of_surfaces({"bone": cube}, 1.0)
    assert grown(bodies, "bone", 0.0) is bodies
    for by in (-1.5, 1.5):
        points = grown(bodies, "bone", by).surface("bone").points
        assert np.ptp(points, axis=0) == pytest.approx(20.0 + 2 * by, abs=0.1)


# --- with equations -----------------------------------------------------------------------------


@pytest.mark.slow
def test_beds_give_way_and_guided_heads_keep_their_way(tmp_path):
    """A pull F beside the axis by a moves the block on a bed by F/(k A) + F a²/(k I); the guided
    head of a block that is pushed aside stays on its axis, by forces that are found in one go."""
    usual, comm = implanted_block.operation(), MPI.COMM_SELF
    write_mesh(implanted_block.assembly().intact().mesh, tmp_path / "intact.msh")
    domain = read_domain(tmp_path / "intact.msh", comm)
    law = stiffness("keyak_1998", implanted_block.LINE.mineral)
    scan = implanted_block.assembly().scan

    def bone(operation):
        tissue = tissue_of(domain, operation, scan, implanted_block.LINE, law, intact=True)
        return IntactBone(domain, operation, tissue)

    frame = implanted_block.frame()
    up = Load("up", "", {"head": (0.0, 0.0, 50e3)})
    resting = bone(held(usual, "bed", frame)[0])
    fixed = bone(usual)
    lifted = []
    for one in (resting, fixed):
        one.solve(up)
        lifted.append(one._work("head", np.eye(3)[2:])[0])
    # The rest is the strain of the bone.
    area, second, arm = 20.0**2, 20.0**4 / 12.0, 10.0
    rigid = 50e3 / BED["hip_stem"] * (1.0 / area + arm**2 / second)
    assert lifted[0] - lifted[1] == pytest.approx(rigid, rel=0.05)

    guided = bone(held(usual, "guided", frame)[0])
    load = usual.loads[0]
    found = guided.guide(load)
    guided.solve(load)
    before = guided._work("head", np.eye(3)[:2])
    guided.solve(found)
    after = guided._work("head", np.eye(3)[:2])
    assert np.abs(before).max() > 1e-3
    assert np.abs(after).max() < 1e-4 * np.abs(before).max()
    assert found.forces["head"][2] == pytest.approx(load.forces["head"][2])
    assert fixed.guide(load) == load
