"""Process of `land_speed.py` that solves one problem with fenicsx-pulse, in its environment.

Uses the public interface of fenicsx-pulse with its default solver and the load paths of its own
demos: the given pressures of problem 1, continuation with steps that double and halve in problem
2, equal steps in problem 3. This file runs in the other environment: it imports nothing of
organtwin.

    python peer_pulse.py PROBLEM MESH FIBRES

MESH is a gmsh file, or the divisions of the beam's edges as ``20,4,4``; FIBRES a file with the
function ``helix`` of points and depths, and ``wall_depth``. Prints one line of JSON.
"""

import contextlib
import importlib.util
import json
import sys
import time

with contextlib.suppress(ImportError):
    import dolfinx_solver  # noqa: F401  (finds PETSc where wheels bring it)

import basix.ufl
import dolfinx
import numpy as np
import pulse
from dolfinx.io import gmsh as gmshio
from mpi4py import MPI

DEGREE = 4
LOADS = {1: (0.004, 0.0), 2: (10.0, 0.0), 3: (15.0, 60.0)}
PARAMETERS = {1: (2.0, 8.0, 2.0, 4.0), 2: (10.0, 1.0, 1.0, 1.0), 3: (2.0, 8.0, 2.0, 4.0)}


def beam(cells):
    """Mesh of the beam with its end (1) and its lower face (2) as markers."""
    corners = [[0.0, 0.0, 0.0], [10.0, 1.0, 1.0]]
    mesh = dolfinx.mesh.create_box(MPI.COMM_WORLD, corners, cells)
    marks = [
        pulse.Marker(name="fixed", marker=1, dim=2, locator=lambda x: np.isclose(x[0], 0.0)),
        pulse.Marker(name="pressed", marker=2, dim=2, locator=lambda x: np.isclose(x[2], 0.0)),
    ]
    return pulse.Geometry(mesh=mesh, boundaries=marks, metadata={"quadrature_degree": DEGREE})


def ventricle(path):
    """Mesh of the ventricle with its base and its endocardium as markers."""
    data = gmshio.read_from_msh(path, MPI.COMM_WORLD, 0, 3)
    names = {"fixed": "base", "pressed": "lv_endo"}
    marks = {name: (data.physical_groups[here].tag, 2) for name, here in names.items()}
    return pulse.Geometry(
        mesh=data.mesh, facet_tags=data.facet_tags, markers=marks,
        metadata={"quadrature_degree": DEGREE},
    )  # fmt: skip


def directions(mesh, problem, file):
    """Fibre, sheet and normal."""
    if problem != 3:
        return [dolfinx.fem.Constant(mesh, np.eye(3)[i]) for i in range(3)]
    told = importlib.util.spec_from_file_location("fibres", file)
    fibres = importlib.util.module_from_spec(told)
    told.loader.exec_module(fibres)
    element = basix.ufl.quadrature_element(mesh.basix_cell(), value_shape=(3,), degree=DEGREE)
    space = dolfinx.fem.functionspace(mesh, element)
    x = space.tabulate_dof_coordinates().T
    f, s = fibres.helix(x, fibres.wall_depth(x))
    found = []
    for values in (f, s, np.cross(f, s, axis=0)):
        function = dolfinx.fem.Function(space)
        function.x.array[:] = values.T.ravel()
        found.append(function)
    return found


class Load:
    """A problem of fenicsx-pulse and what puts a share of its load on.

    Args:
        number: Problem, 1 to 3.
        geometry: Its geometry.
        fibres: File with the fibres of problem 3.
    """

    def __init__(self, number, geometry, fibres):
        self.number, self.newton, self.failures = number, 0, 0
        mesh = geometry.mesh
        self.pressure, self.tension = (dolfinx.fem.Constant(mesh, 0.0) for _ in range(2))
        axes = dict(zip(("f0", "s0", "n0"), directions(mesh, number, fibres), strict=True))
        C, *exponents = PARAMETERS[number]
        constants = {
            name: pulse.Variable(dolfinx.fem.Constant(mesh, value), "dimensionless")
            for name, value in zip(("bf", "bt", "bfs"), exponents, strict=True)
        }
        material = pulse.Guccione(
            C=pulse.Variable(dolfinx.fem.Constant(mesh, C), "kPa"), **constants, **axes
        )
        if number == 3:
            active = pulse.ActiveStress(axes["f0"], activation=pulse.Variable(self.tension, "kPa"))
        else:
            active = pulse.active_model.Passive()
        model = pulse.CardiacModel(
            material=material, active=active, compressibility=pulse.Incompressible()
        )

        def fixed(V):
            facets = geometry.facet_tags.find(geometry.markers["fixed"][0])
            dofs = dolfinx.fem.locate_dofs_topological(V, 2, facets)
            return [dolfinx.fem.dirichletbc(dolfinx.fem.Function(V), dofs)]

        pressed = pulse.NeumannBC(
            traction=pulse.Variable(self.pressure, "kPa"), marker=geometry.markers["pressed"][0]
        )
        conditions = pulse.BoundaryConditions(dirichlet=(fixed,), neumann=(pressed,))
        self.problem = pulse.StaticProblem(model=model, geometry=geometry, bcs=conditions)
        self.old = []

    def to(self, share):
        """Try to put a share of the load on; whether that went well, and its iterations."""
        pressure, tension = LOADS[self.number]
        self.pressure.value, self.tension.value = pressure * share, tension * share
        converged = self.problem.solve()
        taken = self.problem.problem.solver.getIterationNumber()
        self.newton += taken
        self.failures += not converged
        if converged:
            now = (share, self.problem.u.x.array.copy(), self.problem.p.x.array.copy())
            self.old = [*self.old[-1:], now]
        return converged, taken

    def back(self):
        """Return to the last share that went well."""
        _, self.problem.u.x.array[:], self.problem.p.x.array[:] = self.old[-1]

    def extrapolate(self, share):
        """First guess from the last two states."""
        if len(self.old) < 2:
            return
        (a, u_a, p_a), (b, u_b, p_b) = self.old
        d = (share - a) / (b - a)
        self.problem.u.x.array[:] = (1 - d) * u_a + d * u_b
        self.problem.p.x.array[:] = (1 - d) * p_a + d * p_b

    def run(self):
        """The load path of the demo of this problem; steps."""
        if self.number == 1:
            return self.equal([0.125, 0.25, 0.5, 0.75, 1.0])
        if self.number == 3:
            return self.equal(np.linspace(0, 1, 20)[1:])
        return self.continued(0.1)

    def equal(self, shares):
        """Given steps; one that fails is halved."""
        todo, steps = list(shares), 0
        while todo:
            if self.to(todo[0])[0]:
                todo.pop(0)
                steps += 1
                continue
            self.back()
            todo.insert(0, (self.old[-1][0] + todo[0]) / 2)
        return steps

    def continued(self, size):
        """Steps that grow when they were easy and are halved when they fail."""
        share, steps = 0.0, 0
        while share < 1.0:
            new = min(share + size, 1.0)
            self.extrapolate(new)
            converged, taken = self.to(new)
            if not converged:
                self.back()
                size /= 2
                continue
            share, steps = new, steps + 1
            if taken < 3:
                size *= 1.5
        return steps

    def displacement(self, point):
        """Displacement of a point."""
        mesh, x = self.problem.geometry.mesh, np.array([point])
        tree = dolfinx.geometry.bb_tree(mesh, 3, padding=1e-6)
        near = dolfinx.geometry.compute_collisions_points(tree, x)
        cell = dolfinx.geometry.compute_colliding_cells(mesh, near, x).links(0)[:1]
        return self.problem.u.eval(x, cell)


def main():
    """Solve and tell."""
    number, mesh, fibres = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    geometry = beam([int(n) for n in mesh.split(",")]) if number == 1 else ventricle(mesh)
    load = Load(number, geometry, fibres)
    load.to(0.0)  # compiled and allocated before the clock starts
    load.newton = 0
    start = time.process_time()
    steps = load.run()
    seconds = time.process_time() - start
    if number == 1:
        values = {"deflection": 1.0 + load.displacement([10.0, 0.5, 1.0])[2]}
    else:
        apex = {"endocardium": -17.0, "epicardium": -20.0}
        values = {name: z + load.displacement([0.0, 0.0, z])[2] for name, z in apex.items()}
    spaces = (load.problem.u_space, load.problem.p_space)
    unknowns = sum(V.dofmap.index_map.size_global * V.dofmap.index_map_bs for V in spaces)
    print(json.dumps({
        "seconds": seconds, "steps": steps, "failures": load.failures,
        "iterations": load.newton, "factorisations": load.newton, "unknowns": unknowns,
        "values": {name: float(value) for name, value in values.items()},
    }))  # fmt: skip


if __name__ == "__main__":
    main()
