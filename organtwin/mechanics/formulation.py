"""What displacement and pressure are made of: the finite elements of a mixed formulation."""

from __future__ import annotations

from dataclasses import dataclass

import basix.ufl
from basix import CellType
from dolfinx import fem, mesh

from organtwin.errors import InputError


@dataclass(frozen=True)
class Formulation:
    """Elements of displacement and pressure.

    On hexahedra the same names give the tensor-product elements (Q2–Q1 for `TAYLOR_HOOD`).

    Attributes:
        name: As it stands in messages and reports.
        degree: Of the displacement.
        pressure: Family and degree of the pressure; None when there is none, and the volume is
            held by a penalty.
        stabilised: Whether the pair is unstable by itself, so that `Incompressibility` adds a
            stabilisation (and asks for a shear modulus that scales it).
        cells: Cells that it exists for.
    """

    name: str
    degree: int
    pressure: tuple[str, int] | None
    stabilised: bool = False
    cells: tuple[str, ...] = ("tetrahedron", "hexahedron")

    @property
    def quadrature(self) -> int:
        """Degree that volume terms of tissue are integrated with.

        Linear displacements strain a tetrahedron evenly: 4 points are enough for fibres that turn
        in it, a third of those of quadratic ones.
        """
        return 2 * self.degree

    def space(self, msh: mesh.Mesh) -> fem.FunctionSpace:
        """Space of the unknown (u, p), or of u alone; collective.

        Raises:
            InputError: it does not exist for the cells of this mesh.
        """
        cell = msh.basix_cell()
        self._check(cell)
        u = basix.ufl.element("P", cell, self.degree, shape=(3,))
        if self.pressure is None:
            return fem.functionspace(msh, u)
        family, degree = self.pressure
        p = basix.ufl.element(family, cell, degree)
        return fem.functionspace(msh, basix.ufl.mixed_element([u, p]))

    def displacements(self, msh: mesh.Mesh) -> fem.FunctionSpace:
        """Space of u, numbered as in every problem of this formulation; collective."""
        W = self.space(msh)
        return W.sub(0).collapse()[0] if self.pressure else W

    def _check(self, cell: CellType) -> None:
        if cell.name not in self.cells:
            raise InputError(
                f"formulation `{self.name}`",
                f"it needs a mesh of {' or '.join(self.cells)}, this one has {cell.name}.",
                "TAYLOR_HOOD works on both.",
            )


#: Quadratic displacement, continuous linear pressure: stable and accurate, the default.
TAYLOR_HOOD = Formulation("P2-P1", 2, ("P", 1))
#: Linear displacement and pressure with a pressure stabilisation: cheap, on fine meshes.
P1_P1 = Formulation("P1-P1", 1, ("P", 1), stabilised=True, cells=("tetrahedron",))
#: Quadratic displacement, one pressure per cell: stable, volume held cell by cell, first order in
#: the pressure and second in the displacement.
P2_P0 = Formulation("P2-P0", 2, ("DP", 0), cells=("tetrahedron",))
#: Quadratic displacement alone; the volume is held by a penalty, so only nearly.
PENALTY = Formulation("P2", 2, None)
#: Linear displacement alone. It locks when the bulk modulus is large: for compressible tissue.
PENALTY_P1 = Formulation("P1", 1, None)
#: Triquadratic displacement, discontinuous linear pressure on hexahedra.
Q2_DPC1 = Formulation("Q2-DPC1", 2, ("DPC", 1), cells=("hexahedron",))
#: The same under the name that hexahedral meshes are spoken of.
HEX = Q2_DPC1

#: By name, as a case file would choose.
FORMULATIONS = {f.name: f for f in (TAYLOR_HOOD, P1_P1, P2_P0, PENALTY, PENALTY_P1, Q2_DPC1)}
