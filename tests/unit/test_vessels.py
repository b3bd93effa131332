import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.anatomy.vessels import vessel_directions
from organtwin.errors import MeshError
from organtwin.mesh.domain import read_domain
from organtwin.mesh.shapes.meshing import mesh_shape
from organtwin.mesh.shapes.solids import Tube

ENDS = {"inner": "inner", "outer": "outer", "inlet": "inlet", "outlets": ("outlet",)}


@pytest.fixture(scope="module")
def tube(tmp_path_factory):
    """A quarter of a ring about the y axis, which starts along z."""
    path = tmp_path_factory.mktemp("tube") / "tube.msh"
    mesh_shape(Tube(radius=8.0, length=40.0, layers=(("wall", 3.0),), bend=90.0), 3.0, path)
    return read_domain(path, MPI.COMM_SELF)


def exact(tube):
    """Directions at the middles of cells, and how far these are from the ends (rad)."""
    x = tube.mesh.geometry.x[tube.mesh.geometry.dofmaps[0]].mean(axis=1)
    big = 40.0 / (np.pi / 2)
    turn = np.arctan2(x[:, 2], big - x[:, 0])
    centre = np.column_stack([big - big * np.cos(turn), 0 * turn, big * np.sin(turn)])
    e_z = np.column_stack([np.sin(turn), 0 * turn, np.cos(turn)])
    e_r = x - centre
    e_r /= np.linalg.norm(e_r, axis=1, keepdims=True)
    return np.cross(e_z, e_r), e_z, e_r, np.minimum(turn, np.pi / 2 - turn)


@pytest.mark.parametrize("angle", [0.0, 30.0])
def test_directions_in_a_bent_tube(tube, angle):
    space = fem.functionspace(tube.mesh, ("DG", 0, (3,)))
    found = vessel_directions(tube, space, angle=angle, degree=2, **ENDS)
    around, along, out, inside = exact(tube)
    f, s, n = (d.x.array.reshape(-1, 3) for d in (found.f0, found.s0, found.n0))
    np.testing.assert_allclose(np.einsum("ni,nj->nij", n, n).trace(axis1=1, axis2=2), 1.0)
    np.testing.assert_allclose(np.einsum("ij,ij->i", f, s), 0.0, atol=1e-12)
    alpha = np.radians(angle)
    wanted = np.cos(alpha) * around + np.sin(alpha) * along
    away = inside > 0.2
    for here, there in ((f, wanted), (n, out)):
        cosine = np.einsum("ij,ij->i", here, there)[away]
        assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean() < 4.0


def test_an_empty_surface_is_named(tube):
    space = fem.functionspace(tube.mesh, ("DG", 0, (3,)))
    tube.surfaces["nothing"] = 99
    with pytest.raises(MeshError, match="surface `nothing` has no facets"):
        vessel_directions(tube, space, **{**ENDS, "inlet": "nothing"})
