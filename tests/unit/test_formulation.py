"""Formulations, prescribed displacements and what terms may hook into."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from petsc4py import PETSc

from organtwin.errors import InputError
from organtwin.mechanics.cavity import Cavity
from organtwin.mechanics.dirichlet import nodal_normals
from organtwin.mechanics.formulation import (
    P1_P1,
    P2_P0,
    PENALTY,
    PENALTY_P1,
    Q2_DPC1,
    TAYLOR_HOOD,
)
from organtwin.mechanics.problem import STATIC, Dirichlet, Mechanics
from organtwin.mechanics.terms import Incompressibility, Inertia, Spring, Traction, Viscosity
from organtwin.verify.geometry import box, truncated_ellipsoid
from organtwin.verify.solids import TIGHT, Rubber, block, patch_test

SLOW = [P2_P0, PENALTY, TAYLOR_HOOD, Q2_DPC1]


@pytest.mark.parametrize(
    "formulation",
    [P1_P1, PENALTY_P1, *(pytest.param(f, marks=pytest.mark.slow) for f in SLOW)],
    ids=lambda f: f.name,
)
def test_patch_test(formulation):
    assert patch_test(MPI.COMM_SELF, formulation) < 1e-12


# --- a block that is pressed, in all sorts of supports ------------------------------------------


def cube(n: int = 2):
    return box(MPI.COMM_SELF, (1.0, 1.0, 1.0), (n, n, n))


def pressed(domain, dirichlet, *terms, load=(0.0, 0.0, -0.5)) -> Mechanics:
    """Linear elements, one form for all tests."""
    traction = fem.Constant(domain.mesh, np.array(load))
    rubber = Rubber.on(domain, 3.0, 30.0)
    return Mechanics(
        domain,
        [*rubber.terms(), Traction(("z1",), traction), *terms],
        formulation=PENALTY_P1,
        dirichlet=dirichlet,
        tolerances=TIGHT,
    )


def solved(problem: Mechanics) -> np.ndarray:
    assert problem.solve().outcome.name == "CONVERGED"
    return problem.u.x.array.reshape(-1, 3)


SYMMETRY = tuple(Dirichlet(f"{axis}0", component=i) for i, axis in enumerate("xyz"))


def test_component_leaves_the_others_free():
    """Without friction at its sides a pressed block stays a block."""
    block = pressed(cube(), SYMMETRY)
    u = solved(block)
    X = block.V.tabulate_dof_coordinates()
    top = u[X[:, 2] > 0.99, 2]
    assert top == pytest.approx(np.full_like(top, top[0]), rel=1e-8)
    assert top[0] < -0.02
    wide = u[X[:, 0] > 0.99, 0]
    assert wide == pytest.approx(np.full_like(wide, wide[0]), rel=1e-8)
    assert wide[0] > 0.005


def rotation() -> np.ndarray:
    a, b = 0.4, 0.7
    A = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    B = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return A @ B


def test_normal_on_slanted_planes_is_the_component_of_the_upright_block():
    """Turned with its supports, the block deforms as before, turned; corners hold two or three."""
    Q = rotation()
    normal = tuple(Dirichlet(f"{axis}0", normal=True) for axis in "xyz")
    upright, turned = cube(), cube()
    turned.mesh.geometry.x[:] = turned.mesh.geometry.x @ Q.T
    u = solved(pressed(upright, SYMMETRY))
    found = solved(pressed(turned, normal, load=Q @ [0.0, 0.0, -0.5]))
    assert found @ Q == pytest.approx(u, abs=1e-9)
    assert np.abs(u).max() > 0.02


def test_normal_displacement_of_a_slanted_plane():
    Q = rotation()
    turned = cube()
    turned.mesh.geometry.x[:] = turned.mesh.geometry.x @ Q.T
    held = [Dirichlet(f"{axis}0", normal=True) for axis in "xyz"]
    gap = fem.Constant(turned.mesh, 0.0)
    block = pressed(turned, [*held, Dirichlet("z1", gap, normal=True)])
    for gap.value in (0.05, 0.1):
        u = solved(block)
        X = block.V.tabulate_dof_coordinates() @ Q
        moved = (u @ Q)[X[:, 2] > 0.99, 2]
        assert moved == pytest.approx(np.full_like(moved, gap.value), rel=1e-9)


def test_prescribed_motion_is_followed_in_large_steps():
    """Half its length in one step, and back."""
    domain = cube()
    length = fem.Constant(domain.mesh, 0.0)
    block = pressed(domain, [*SYMMETRY, Dirichlet("z1", length, component=2)])
    for length.value in (0.5, 0.0):
        u = solved(block)
        X = block.V.tabulate_dof_coordinates()
        assert u[:, 2] == pytest.approx(length.value * X[:, 2], abs=1e-7)


def test_later_condition_counts():
    domain = cube()
    up = ufl.as_vector([0.0, 0.0, 0.1])
    block = pressed(domain, [Dirichlet("z0"), Dirichlet("z0", up), Dirichlet("z1")])
    u = solved(block)
    X = block.V.tabulate_dof_coordinates()
    assert u[X[:, 2] < 0.01, 2] == pytest.approx(0.1)


def test_normals_of_a_curved_surface(tmp_path):
    """They converge to those of the ellipsoid, and quadratic nodes have one too."""
    worst = []
    for size in (2.5, 1.25):
        domain = truncated_ellipsoid(MPI.COMM_SELF, tmp_path / f"{size}.msh", size=size)
        V = fem.functionspace(domain.mesh, ("P", 2, (3,)))
        found = nodal_normals(domain, V, "lv_endo")
        on = np.linalg.norm(found, axis=1) > 0
        exact = -V.tabulate_dof_coordinates()[on] / np.array([7.0, 7.0, 17.0]) ** 2
        exact /= np.linalg.norm(exact, axis=1)[:, None]
        worst.append(np.arccos(np.clip(np.einsum("ni,ni->n", found[on], exact), -1, 1)).mean())
    assert worst[1] < 0.1
    assert worst[1] < 0.7 * worst[0]


def test_edge_has_no_normal():
    domain = cube()
    facets = mesh.exterior_facet_indices(domain.mesh.topology)
    tags = mesh.meshtags(domain.mesh, 2, facets, np.ones(len(facets), dtype=np.int32))
    skin = replace(domain, facet_tags=tags, surfaces={"skin": 1})
    with pytest.raises(InputError, match="has an edge"):
        Mechanics(
            skin,
            [Incompressibility(1.0)],
            formulation=PENALTY_P1,
            dirichlet=[Dirichlet("skin", normal=True)],
        )


# --- hooks --------------------------------------------------------------------------------------


class DiagonalSpring:
    """Springs on all unknowns, as a term that no form expresses; counts its calls."""

    def __init__(self, stiffness: float) -> None:
        self.stiffness = stiffness
        self.longest = np.zeros(1)
        self.problem: Mechanics | None = None
        self.refreshed = 0

    @property
    def state(self):
        return {"longest": self.longest}

    def form(self, domain, s):
        return ufl.Form([])

    def refresh(self, problem):
        self.problem = problem
        self.refreshed += 1

    def commit(self):
        self.longest[0] = max(self.longest[0], np.abs(self.problem.w.x.array).max())

    def add_residual(self, R):
        R.array[:] += self.stiffness * self.problem.w.x.array[: R.getLocalSize()]

    def tangent(self):
        _, owned = self.problem.W.dofmap.index_map, self.problem.w.x.petsc_vec.getSizes()
        K = PETSc.Mat().createAIJ((owned, owned), nnz=1, comm=self.problem.domain.comm)
        K.setDiagonal(self._full(owned))
        K.assemble()
        return K

    def _full(self, sizes):
        diagonal = PETSc.Vec().createMPI(sizes, comm=self.problem.domain.comm)
        diagonal.set(self.stiffness)
        return diagonal


def test_term_that_no_form_expresses():
    """Springs at the nodes hold the block back, and its tangent makes the iteration quadratic."""
    spring = DiagonalSpring(0.4)
    with_it, without = pressed(cube(), SYMMETRY, spring), pressed(cube(), SYMMETRY)
    assert np.abs(solved(with_it)).max() < 0.9 * np.abs(solved(without)).max()
    assert spring.refreshed > 1
    equations = with_it._equations
    equations.factorise()
    z, d = equations.get(), 1e-6 * np.sin(np.arange(len(equations.get())))
    held = with_it.supports.bcs[0].dof_indices()[0]
    d[held] = 0.0
    equations.set(z + d)
    equations.evaluate()
    assert equations.correction() == pytest.approx(-d, abs=1e-3 * np.abs(d).max())


def test_commit_and_restore():
    spring = DiagonalSpring(0.4)
    block = pressed(cube(), SYMMETRY, spring)
    before = {name: values.copy() for name, values in block.state.items()}
    assert "term3.longest" in before
    solved(block)
    assert spring.longest[0] == 0.0
    block.commit()
    assert spring.longest[0] > 0.01
    assert block.w_old.x.array == pytest.approx(block.w.x.array)
    block.restore(before)
    assert spring.longest[0] == 0.0
    assert not block.w.x.array.any()


def test_pressures_may_become_unknown_between_solves():
    """Loaded to a pressure, then held at the volume that it made: the pressure stays."""
    domain = cube()
    block = Mechanics(
        domain,
        Rubber.on(domain, 3.0, 30.0).terms(),
        formulation=PENALTY_P1,
        cavities=[Cavity("bath", "x1", "z1")],
        dirichlet=[Dirichlet("x0")],
        tolerances=TIGHT,
    )
    for pressure in (0.1, 0.2):
        assert block.solve(pressures=[pressure]).outcome.name == "CONVERGED"
    volume = block.volumes()
    block.pressures[:] = 0.15
    solution = block.solve(supply=lambda p: (volume, np.zeros((1, 1))))
    assert solution.outcome.name == "CONVERGED"
    assert block.pressures == pytest.approx([0.2], rel=1e-6)


# --- what is refused ----------------------------------------------------------------------------

REFUSED = {
    "negative density": (lambda: Inertia(-1.0), "density = -1"),
    "negative stiffness": (lambda: Spring(("z0",), -1.0), "stiffness = -1"),
    "negative viscosity": (lambda: Viscosity(-0.1), "eta = -0.1"),
    "bulk modulus zero": (lambda: Incompressibility(0.0), "bulk_modulus = 0"),
    "fourth component": (lambda: Dirichlet("z0", component=3), "component = 3"),
    "component and normal": (lambda: Dirichlet("z0", component=1, normal=True), "Choose one"),
    "scalar for all": (lambda: Dirichlet("z0", ufl.as_ufl(1.0)), "shape"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_at_construction(name):
    make, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        make()


def test_incompressible_penalty_is_refused():
    with pytest.raises(InputError, match="bulk_modulus is missing"):
        Mechanics(cube(1), [Incompressibility()], formulation=PENALTY_P1)


def test_stabilisation_needs_a_modulus():
    with pytest.raises(InputError, match="shear_modulus"):
        Mechanics(cube(1), [Incompressibility()], formulation=P1_P1)


def test_wrong_cells_are_refused():
    with pytest.raises(InputError, match="it needs a mesh of hexahedron"):
        Mechanics(cube(1), [], formulation=Q2_DPC1)
    with pytest.raises(InputError, match="it needs a mesh of tetrahedron"):
        Mechanics(block(MPI.COMM_SELF, Q2_DPC1, (1.0, 1.0, 1.0), (1, 1, 1)), [], formulation=P1_P1)


def test_inertia_needs_a_scheme():
    with pytest.raises(InputError, match="quasi-static"):
        Mechanics(cube(1), [Inertia(1.0)], formulation=PENALTY_P1)


def test_penalty_has_no_pressure():
    block = pressed(cube(1), ())
    assert block.Q is None
    with pytest.raises(InputError, match="has no pressure"):
        _ = block.p


def test_factors_of_a_short_step_do_not_pass_for_convergence():
    """Viscosity over a short step makes the tangent so stiff that all its corrections are tiny."""
    domain = cube()
    block = pressed(domain, SYMMETRY, Viscosity(100.0))
    block.dt.value = 0.01
    assert solved(block)[:, 2].min() > -1e-3
    block.dt.value = STATIC
    relaxed = solved(block)[:, 2].min()
    fresh = pressed(domain, SYMMETRY, Viscosity(100.0))
    assert relaxed == pytest.approx(solved(fresh)[:, 2].min(), rel=1e-6)
    assert relaxed < -1e-2
