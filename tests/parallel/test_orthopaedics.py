"""Loads and indices on all ranks equal those on one."""

import numpy as np
import pytest
import ufl
from dolfinx import fem
from dolfinx.fem import petsc as fem_petsc
from mpi4py import MPI
from petsc4py import PETSc

from organtwin.errors import InputError
from organtwin.mechanics.terms import Fields
from organtwin.orthopaedics import weighted_indices as weighted
from organtwin.orthopaedics.fracture_indices import bone_indices, bone_risk
from organtwin.orthopaedics.joint_indices import centre_of_pressure, contact_indices
from organtwin.orthopaedics.micromotion_indices import micromotion, micromotion_indices
from organtwin.orthopaedics.remodelling import RemodellingLaw, adapt_density
from organtwin.orthopaedics.shielding_indices import shielding, shielding_indices
from organtwin.orthopaedics.spread_loads import Patch, SpreadForces
from organtwin.orthopaedics.states import rigid_motion, surface_state
from organtwin.verify.geometry import box

COMM = MPI.COMM_WORLD
COUNT = 400


def points():
    """Places, weights and values of all ranks together, drawn alike on each."""
    rng = np.random.default_rng(5)
    return rng.uniform(0.0, 20.0, (COUNT, 3)), rng.uniform(0.5, 2.0, COUNT), rng.normal(size=COUNT)


def part(comm, *arrays):
    """A rank's share; the last rank of several gets nothing to sum over."""
    shares = max(comm.size - 1, 1)
    here = slice(comm.rank, None, shares) if comm.rank < shares else slice(0, 0)
    return tuple(array[here] for array in arrays)


def everything(comm):
    """All indices of made-up data, by name."""
    x, w, v = part(comm, *points())
    zones = (np.arange(COUNT) % 8)[comm.rank :: max(comm.size - 1, 1)][: len(x)]
    slip = 0.1 * np.column_stack([v, v**2, 0.0 * v])
    moved = micromotion(x, w, (slip, 0.01 * v), (0.0 * slip, 0.0 * v))
    found = micromotion_indices(moved, comm=comm, zones=zones)[0]
    strain = 0.004 * np.column_stack([v, np.roll(np.sin(x), 1, axis=1), 0.0 * x[:, :2]])
    found += bone_indices(bone_risk(x, strain, w, comm=comm), comm=comm)[0]
    shielded = shielding([np.exp(v)], [np.exp(0.5 * v)], w, w)
    found += shielding_indices(shielded, comm=comm, zones=zones)[0]
    normal = np.tile([0.0, 0.6, 0.8], (len(x), 1))
    found += contact_indices(x, w, v, normal, comm=comm)[0]
    named = {one.name: one.value for one in found}
    for k, value in enumerate(centre_of_pressure(x, w, v, comm=comm)):
        named[f"centre_{k}"] = value
    motion = rigid_motion(x, slip, w, comm=comm)
    named |= {f"turn_{k}": value for k, value in enumerate(motion.turn)}
    named["residual"] = motion.residual
    adapted = adapt_density(
        0.5 * w, w, lambda rho: np.exp(v) * rho ** (-1.5), RemodellingLaw(rate=0.2), reference=1.0,
        comm=comm, step=0.5, until=20.0,
    )  # fmt: skip
    named |= {"steps": len(adapted.time), "mass": adapted.mass[-1]}
    return named


def test_indices_do_not_depend_on_the_ranks():
    found, alone = everything(COMM), everything(MPI.COMM_SELF)
    assert found.keys() == alone.keys()
    assert len(found) > 40
    for name, value in alone.items():
        assert found[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name


def test_averages_in_balls_reach_across_ranks():
    x, w, v = points()
    expected = weighted.ball_average(MPI.COMM_SELF, x, w, v, 3.0)
    mine, own = part(COMM, x, w, v), part(COMM, expected)[0]
    np.testing.assert_allclose(weighted.ball_average(COMM, *mine, 3.0), own, rtol=1e-12)
    # Errors of one rank are raised on all of them.
    wrong = mine[2][:-1] if COMM.rank == 0 else mine[2]
    with pytest.raises(InputError, match="values"):
        weighted.ball_average(COMM, mine[0], mine[1], wrong, 3.0)


def loaded(comm):
    """Resultant, moment about the origin, areas, and the sum of squares of a traction."""
    domain = box(comm, (20.0, 20.0, 10.0), (8, 8, 4))
    term = SpreadForces(domain, {
        "muscle": Patch((5.1, 6.2, 10.0), ("z1",), 4.4), "joint": Patch((20.0, 5.0, 25.0), ("x1",)),
    })  # fmt: skip
    term.set({"muscle": np.array([1.0, 2.0, 30.0]), "joint": np.array([-5.0, 3.0, 0.0])})
    space = fem.functionspace(domain.mesh, ("P", 1, (3,)))
    u = fem.Function(space)
    fields = Fields(u, None, u, ufl.TestFunction(space), None, fem.Constant(domain.mesh, 1e9), 0)
    vector = fem_petsc.assemble_vector(fem.form(-term.form(domain, fields)))
    vector.ghostUpdate(addv=PETSc.InsertMode.ADD, mode=PETSc.ScatterMode.REVERSE)
    nodes = vector.array.reshape(-1, 3)
    arm = space.tabulate_dof_coordinates()[: len(nodes)]
    u.interpolate(lambda x: np.array([x[0] * x[1], x[2] ** 2, x[0]]))
    top = surface_state(domain, u, "z1")
    return [
        *comm.allreduce(nodes.sum(axis=0)), *comm.allreduce(np.cross(arm, nodes).sum(axis=0)),
        comm.allreduce(float((nodes**2).sum())), *term.areas.values(), *term.shift.values(),
        comm.allreduce(float(top.area.sum())), *comm.allreduce(top.area @ top.moved),
    ]  # fmt: skip


def test_spread_forces_do_not_depend_on_the_ranks():
    np.testing.assert_allclose(loaded(COMM), loaded(MPI.COMM_SELF), rtol=1e-9, atol=1e-9)


def test_a_patch_without_facets_is_refused_on_all_ranks():
    domain = box(COMM, (4.0, 4.0, 4.0), (2, 2, 2))
    with pytest.raises(InputError, match="nearest is"):
        SpreadForces(domain, {"a": Patch((2.0, 2.0, 9.0), ("z1",), 1.0)})
