"""Regions and surfaces of assemblies, longer shafts, laws of cortex, ways of screws."""

import json
from dataclasses import replace

import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.image.volume import Grid
from organtwin.mesh.conforming.faces_between import with_interfaces
from organtwin.mesh.mesh_files import read_mesh
from organtwin.mesh.quality import signed_volumes
from organtwin.orthopaedics.assembly import (
    Assembly,
    Fineness,
    Zone,
    on_plane,
    only,
    retagged,
    surface_area,
)
from organtwin.orthopaedics.bone_model import CortexLaw, canal_of, extended, painted
from organtwin.orthopaedics.pedicle_screw import (
    PedicleScrewOptions,
    _bone_screw,
    _moved,
    _Spine,
    _way,
)
from organtwin.surgery.bodies import Bodies, bodies_of_surfaces
from organtwin.surgery.placement import Frame
from organtwin.surgery.screws import rod


def blocks(n=4):
    """A cube of 4 mm: ``bone`` around a column ``pin``, ``head`` on top; 6 tetrahedra per cube."""
    index = np.arange((n + 1) ** 3).reshape(n + 1, n + 1, n + 1)
    points = np.indices(index.shape).reshape(3, -1).T.astype(float)
    corner = [index[i : n + i, j : n + j, k : n + k].ravel() for i in (0, 1) for j in (0, 1)
              for k in (0, 1)]  # fmt: skip
    ways = ((0, 1, 3, 7), (0, 3, 2, 7), (0, 2, 6, 7), (0, 6, 4, 7), (0, 4, 5, 7), (0, 5, 1, 7))
    cells = np.concatenate([np.stack([corner[k] for k in way], axis=1) for way in ways])
    turned = signed_volumes(points, cells) < 0.0
    cells[turned] = cells[turned][:, [0, 2, 1, 3]]
    x, y, z = points[cells].mean(axis=1).T
    regions = np.where(z > 3.0, 3, 1)
    regions[(np.abs(x - 2.0) < 1.0) & (np.abs(y - 2.0) < 1.0) & (z < 3.0)] = 2
    return with_interfaces(points, cells, regions, {"bone": 1, "pin": 2, "head": 3})[0]


def assembly():
    mesh = retagged(blocks(), "bone-outside", "distal", on_plane(np.zeros(3), np.eye(3)[2], 0.01))
    return Assembly(
        "pin in a block", mesh, ("bone",), {"pin": "Ti6Al4V"}, removed=("head",), filled=("pin",),
        pairs=(("bone", "pin"),), frames={"pin": Frame(np.array([2.0, 2.0, 3.0]), np.eye(3))},
        zones={"pin": (Zone("coated", "pin", low=-2.0), Zone("polished", "pin", high=-2.0))},
        points={"tip": np.array([2.0, 2.0, 0.0])}, notes=("A block.",),
    )  # fmt: skip


def test_intact_and_operated_bone_are_cells_of_one_mesh():
    made = assembly()
    intact, left = made.intact(), made.operated()
    assert signed_volumes(intact.mesh.points, intact.mesh.cells).sum() == pytest.approx(64.0)
    assert left.mesh.volume("bone") == pytest.approx(36.0)
    assert left.mesh.volume("pin") == pytest.approx(12.0)
    assert "head" not in left.mesh.region_names
    # A cell of the one is a cell of the other.
    for part in (intact, left):
        own = part.mesh.points[part.mesh.cells].mean(axis=1)
        whole = made.mesh.points[made.mesh.cells[part.cells]].mean(axis=1)
        assert np.allclose(own, whole)
    assert surface_area(left.mesh, "distal") == pytest.approx(12.0)
    for one, other in (("bone", "pin"), ("pin", "bone")):
        assert surface_area(left.mesh, f"{one}_at_{other}_coated") == pytest.approx(16.0)
        assert surface_area(left.mesh, f"{one}_at_{other}_polished") == pytest.approx(8.0)
    bonded = made.operated(separated=False).mesh
    assert len(left.mesh.points) > len(bonded.points)


def test_an_assembly_is_written_and_read_again(tmp_path):
    made = assembly()
    made.write(tmp_path)
    again = read_mesh(tmp_path / "assembly.msh", organ=False)
    assert set(again.region_names) == {"bone", "pin", "head"}
    assert again.volume("pin") == pytest.approx(12.0)
    assert surface_area(again, "distal") == pytest.approx(12.0)
    told = json.loads((tmp_path / "assembly.json").read_text(encoding="utf-8"))
    assert told["volumes mm3"]["head"] == pytest.approx(16.0)
    assert told["pairs"] == [["bone", "pin"]] and told["smallest dihedral angle degrees"] > 40.0


def test_unknown_regions_surfaces_and_sizes_are_refused():
    mesh = blocks()
    with pytest.raises(InputError, match="no region `bine`"):
        only(mesh, ("bine",))
    with pytest.raises(InputError, match="no surface `top`"):
        retagged(mesh, "top", "other")
    with pytest.raises(InputError, match="coarser than the mesh"):
        Fineness(4.0, 2.0, 1.0, 1.5)


def test_a_shaft_goes_on_with_its_section():
    bone = rod(np.zeros(3), np.array([0.0, 0.0, 40.0]), 24.0, sides=48)
    made = extended(bone, np.array([0.0, 0.0, -1.0]), np.array([0.0, 0.0, 5.0]), 45.0, voxel=1.5)
    assert made.points[:, 2].min() == pytest.approx(-40.0, abs=0.3)
    assert made.volume == pytest.approx(80.0 * np.pi * 12.0**2, rel=0.01)
    with pytest.raises(InputError, match="misses the bone"):
        extended(bone, np.array([0.0, 0.0, -1.0]), np.array([0.0, 0.0, 100.0]), 4.0, voxel=1.5)


def test_a_cortex_by_law_leaves_a_canal_and_paints_it():
    bone = rod(np.zeros(3), np.array([0.0, 0.0, 40.0]), 24.0, sides=48)
    law = CortexLaw((0.0, 40.0), (6.0, 2.0), (-50.0, 200.0), level=1000.0)
    up = np.eye(3)[2]
    bodies = bodies_of_surfaces({"bone": bone}, 1.0)
    canal = bodies.changed({"canal": canal_of(bodies, "bone", law, up, np.zeros(3))})
    axis = np.array([[8.5, 0.0, 10.0], [8.5, 0.0, 30.0]])
    # 12 mm less 5 mm of cortex, then less 3 mm; inside, distances are right to half a voxel.
    assert canal.at("canal", axis) == pytest.approx([1.5, -0.5], abs=0.5)
    scan = painted(bone, law, up, np.zeros(3), 1.0)
    at = np.round(scan.grid.index(np.array([[11.0, 0.0, 20.0], [0.0, 0.0, 20.0]]))).astype(int)
    assert scan.values[tuple(at.T)] == pytest.approx([1000.0, 75.0], abs=5.0)
    with pytest.raises(InputError, match="ascend"):
        CortexLaw((1.0, 0.0), (1.0, 1.0), (0.0, 0.0))


def test_a_way_through_a_pedicle_keeps_to_its_middle():
    """A body in front of a canal of 16 mm, with pedicles of 10 mm at either side of it."""
    edge = 1.0
    grid = Grid((90, 80, 40), np.full(3, edge), np.array([-45.0, -45.0, -20.0]), np.eye(3))
    x, y, z = np.moveaxis(grid.points(np.indices(grid.shape).reshape(3, -1).T), 1, 0)
    body = np.maximum(np.hypot(x, (y + 25.0) * 1.2) - 20.0, np.abs(z) - 14.0)
    arm = np.maximum(np.maximum(np.abs(np.abs(x) - 13.0) - 5.0, np.abs(y) - 16.0),
                     np.abs(z - 3.0) - 5.0)  # fmt: skip
    field = np.minimum(body, arm).reshape(grid.shape).astype(np.float32)
    bodies = Bodies(grid, {"vertebra": field})
    at = Frame(np.array([0.0, -25.0, 0.0]), np.eye(3))
    bone = bodies.surface("vertebra")
    spine = _Spine(bodies, bone, bone, np.zeros(3), at)
    asked = PedicleScrewOptions()
    screws = [_bone_screw(asked, length) for length in (45.0, 35.0)]
    for name, sign in (("screw_left", 1.0), ("screw_right", -1.0)):
        line = _way(spine, name, screws, asked)
        crossing = line.start + (0.0 - line.start[1]) / line.direction[1] * line.direction
        assert sign * crossing[0] == pytest.approx(13.0, abs=1.5)
        assert crossing[2] == pytest.approx(3.0, abs=1.5)
        assert line.direction[1] < -0.8 and sign * line.direction[0] <= 1e-9
        # Turned towards the middle it crosses the pedicle in the same place.
        inwards = _way(spine, name, screws, replace(asked, turn=np.radians(8.0)))
        assert inwards.direction @ line.direction == pytest.approx(
            np.cos(np.radians(8.0)), abs=2e-3
        )
        assert sign * inwards.direction[0] < sign * line.direction[0] - 0.1
        across = inwards.start + (0.0 - inwards.start[1]) / inwards.direction[1] * inwards.direction
        assert across == pytest.approx(crossing, abs=0.5)
    wider = _moved(spine, 1.0)
    assert wider.bone.volume > bone.volume and wider.frame is spine.frame
