"""A force and a moment on a surface do the work on rigid motions that they should."""

import numpy as np
import pytest
import ufl
from dolfinx import fem
from mpi4py import MPI

from organtwin.mechanics.formulation import PENALTY, PENALTY_P1
from organtwin.mechanics.linear import LinearElasticity
from organtwin.mechanics.terms import RigidLoad
from organtwin.solve.assembly import integral
from organtwin.verify.bone_mechanics import elastic
from organtwin.verify.geometry import box


@pytest.mark.parametrize("formulation", [PENALTY_P1, PENALTY])
def test_resultants_are_exact_on_coarse_facets(formulation):
    domain = box(MPI.COMM_SELF, (2.0, 1.0, 1.0), (2, 2, 2))
    force, moment, point = np.array([3.0, -2.0, 1.0]), np.array([5.0, 7.0, -4.0]), (0.3, 0.2, 1.5)
    load = RigidLoad(
        domain, ("z1",), ufl.as_vector(force.tolist()), ufl.as_vector(moment.tolist()), point
    )
    problem = LinearElasticity(domain, [elastic(1000.0), load], formulation=formulation)
    motion = fem.Function(problem.V)
    for shift, turn in zip(np.eye(6)[:, :3], np.eye(6)[:, 3:], strict=True):
        motion.interpolate(
            lambda x, a=shift, b=turn: a[:, None] + np.cross(b, x.T - np.array(point)).T
        )
        work = ufl.replace(load.form(domain, problem.fields), {problem.fields.u_test: motion})
        assert -integral(work) == pytest.approx(shift @ force + turn @ moment, abs=1e-10)
