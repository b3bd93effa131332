"""Passage between nested meshes: exact for the spaces used, and it keeps integrals."""

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from organtwin.cells.tension import Land2017
from organtwin.coupling.muscle import Muscle
from organtwin.coupling.nesting import Nesting
from organtwin.coupling.transfer import quadrature_space
from organtwin.errors import InputError, MeshError
from organtwin.materials.kinematics import Directions
from organtwin.mesh.domain import Domain, refine
from organtwin.parallel import on_root, total
from organtwin.solve.assembly import integral
from organtwin.verify.biventricle import biventricle


@pytest.fixture(scope="module")
def mesh_file(tmp_path_factory):
    return on_root(MPI.COMM_WORLD, lambda: tmp_path_factory.mktemp("mesh")) / "ventricles.msh"


@pytest.fixture(
    scope="module", params=[(1, 4), (1, 2), pytest.param((2, 4), marks=pytest.mark.slow)]
)
def nested(request, mesh_file):
    """Meshes, a fine P1 space, the quadrature space of the coarse mesh and the passage."""
    domain = biventricle(MPI.COMM_WORLD, mesh_file, size=22.0, scale=0.05)
    times, degree = request.param
    refinement = refine(domain, times)
    V = fem.functionspace(refinement.fine.mesh, ("P", 1))
    points = quadrature_space(refinement.coarse.mesh, degree)
    return refinement, V, points, Nesting(refinement, V, points)


def at_points(space, expression):
    """Values of UFL at the points of the owned cells."""
    msh = space.mesh
    cells = np.arange(msh.topology.index_map(3).size_local, dtype=np.int32)
    points, _ = space.ufl_element().custom_quadrature()
    return fem.Expression(expression, points).eval(msh, cells).ravel()


def wave(x):
    return np.sin(2 * x[0]) * np.cos(x[1]) + x[2] ** 2


def test_linear_fields_arrive_as_they_are(nested):
    refinement, V, points, passage = nested
    v = fem.Function(V)
    v.interpolate(lambda x: 1.0 + 2.0 * x[0] - x[1] + 0.5 * x[2])
    x = at_points(points, ufl.SpatialCoordinate(refinement.coarse.mesh)).reshape(-1, 3)
    expected = 1.0 + x @ [2.0, -1.0, 0.5]
    assert passage.to_points(v.x.array) == pytest.approx(expected, abs=1e-12)


def test_the_integral_is_kept_on_the_way_to_the_points(nested):
    refinement, V, _, passage = nested
    v = fem.Function(V)
    v.interpolate(wave)
    there = total(V.mesh.comm, float(passage.weights @ passage.to_points(v.x.array)))
    assert there == pytest.approx(integral(v * refinement.fine.dx()), rel=1e-13)


def test_the_integral_is_kept_on_the_way_to_the_nodes(nested):
    refinement, V, points, passage = nested
    x = at_points(points, ufl.SpatialCoordinate(refinement.coarse.mesh)).reshape(-1, 3)
    stretch = 1.0 + 0.1 * np.sin(2 * x[:, 0]) * x[:, 1] ** 2
    v = fem.Function(V)
    v.x.array[:] = passage.to_nodes(stretch)
    here = total(V.mesh.comm, float(passage.weights @ stretch))
    assert integral(v * refinement.fine.dx()) == pytest.approx(here, rel=1e-13)
    assert passage.to_nodes(np.ones_like(stretch)) == pytest.approx(1.0, abs=1e-13)


def test_quadratic_nodes_take_over_what_is_there(nested):
    """Any field, at each local node of the quadratic elements."""
    _, V, _, passage = nested
    v, expected = fem.Function(V), fem.Function(passage.node_space)
    for field in (v, expected):
        field.interpolate(wave)
    assert passage.at_nodes(v.x.array) == pytest.approx(expected.x.array, abs=1e-12)


def test_meshes_that_are_not_refined_are_refused(mesh_file):
    refinement = refine(biventricle(MPI.COMM_WORLD, mesh_file, size=22.0, scale=0.05), 0)
    V = fem.functionspace(refinement.fine.mesh, ("P", 1))
    with pytest.raises(MeshError, match=r"times ≥ 1"):
        Nesting(refinement, V, quadrature_space(refinement.coarse.mesh, 4))


@pytest.mark.slow
def test_nodes_follow_smooth_fields_as_the_mesh_becomes_finer(mesh_file):
    errors = []
    for times in (0, 1):
        coarse = refine(biventricle(MPI.COMM_WORLD, mesh_file, size=22.0, scale=0.05), times).fine
        refinement = refine(coarse)
        V = fem.functionspace(refinement.fine.mesh, ("P", 1))
        points = quadrature_space(coarse.mesh, 4)
        x = at_points(points, ufl.SpatialCoordinate(coarse.mesh)).reshape(-1, 3)
        v = fem.Function(V)
        v.x.array[:] = Nesting(refinement, V, points).to_nodes(np.sin(x[:, 0]))
        exact = ufl.sin(ufl.SpatialCoordinate(V.mesh)[0])
        errors.append(np.sqrt(integral((v - exact) ** 2 * refinement.fine.dx(degree=4))))
    assert errors[1] < 0.6 * errors[0]


@pytest.mark.parametrize("degree", [1, 2])
def test_the_deformation_of_fine_cells_is_that_of_the_coarse_mesh(nested, degree):
    """The gradient of quadratic displacements, in the middle of each part; integrals agree."""
    refinement, V, _, passage = nested
    u = fem.Function(fem.functionspace(refinement.coarse.mesh, ("P", degree, (3,))))
    u.interpolate(lambda x: [0.1 * x[0] * x[1], 0.2 * x[2] ** 2 - x[0], 0.3 * x[1] * x[2]])
    F = passage.deformation(u)
    fine = refinement.fine.mesh
    own = fine.topology.index_map(3).size_local
    corners = fine.geometry.x[fine.geometry.dofmaps[0][:own]]
    if degree == 2:
        x, y, z = corners.mean(axis=1).T
        gradient = np.zeros((own, 3, 3))
        gradient[:, 0, 0], gradient[:, 0, 1] = 0.1 * y, 0.1 * x
        gradient[:, 1, 0], gradient[:, 1, 2] = -1.0, 0.4 * z
        gradient[:, 2, 1], gradient[:, 2, 2] = 0.3 * z, 0.3 * y
        assert pytest.approx(np.eye(3) + gradient, abs=1e-12) == F
    volumes = np.abs(np.linalg.det(corners[:, 1:] - corners[:, :1])) / 6
    weights = np.arange(1.0, 10.0).reshape(3, 3)
    there = total(V.mesh.comm, float(np.einsum("c,cij,ij->", volumes, F, weights)))
    part = fem.Constant(refinement.coarse.mesh, weights)
    here = integral(ufl.inner(part, ufl.Identity(3) + ufl.grad(u)) * refinement.coarse.dx())
    assert there == pytest.approx(here, rel=1e-12)


def test_ghost_cells_are_refused():
    """A single rank has none; with several, their values would be wrong without a word."""
    comm = MPI.COMM_WORLD
    corners, numbers = [[0.0] * 3, [2.0, 1.0, 1.0]], [4, 2, 2]
    msh = mesh.create_box(comm, corners, numbers, ghost_mode=mesh.GhostMode.shared_facet)
    cells = msh.topology.index_map(3)
    own = np.arange(cells.size_local, dtype=np.int32)
    none = np.array([], dtype=np.int32)
    domain = Domain(
        msh, mesh.meshtags(msh, 3, own, np.ones_like(own)), mesh.meshtags(msh, 2, none, none),
        {"box": 1}, {},
    )  # fmt: skip
    directions = Directions(*(fem.Constant(msh, e) for e in np.eye(3)))
    assert (comm.allreduce(cells.num_ghosts) > 0) == (comm.size > 1)
    for use in (refine, lambda domain: Muscle(domain, directions, Land2017())):
        if comm.size == 1:
            use(domain)
            continue
        with pytest.raises(InputError, match=r"ghost cells.*GhostMode.none"):
            use(domain)
