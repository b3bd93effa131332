"""What is read off the beating heart: numbers of each step, fields of some."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import ufl
from dolfinx import fem, la
from numpy.typing import NDArray
from ufl.core.expr import Expr

from organtwin.coupling.electromechanics import Electromechanics
from organtwin.coupling.wall_motion import WallMotion
from organtwin.materials.active import ActiveStress, ConstantTension
from organtwin.materials.kinematics import Directions, Material, first_piola
from organtwin.mechanics.problem import Mechanics
from organtwin.mechanics.terms import Incompressibility
from organtwin.solve import options
from organtwin.solve.assembly import compiled, integral
from organtwin.solve.outcome import Step
from organtwin.units import ML, MMHG

Array = NDArray[np.float64]


class HeartScalars:
    """Row of numbers of the present state, in the units of the clinic.

    Args:
        heart: The process.
        leads: Gives the ECG leads (mV) of the present potential by name; collective.
        motion: Measures the left ventricle's wall.
        begun: When the heart's clock began (ms).
    """

    def __init__(
        self,
        heart: Electromechanics,
        leads: Callable[[], Mapping[str, float]] | None = None,
        motion: WallMotion | None = None,
        begun: float = 0.0,
    ) -> None:
        self.heart = heart
        self._leads = leads
        self._motion = motion
        self._begun = begun
        domain = heart.mechanics.domain
        F = ufl.Identity(3) + ufl.grad(heart.mechanics.displacement)
        self._tension = fem.Function(heart.muscle.stretch.function_space)
        self._calcium = fem.Function(heart.node_space)
        integrands = {
            "volume": ufl.det(F) * domain.dx(degree=4),
            "tension": self._tension * domain.dx(degree=heart.mechanics.fields.degree),
            "calcium": self._calcium * domain.dx(degree=4),
        }
        self._forms = {name: compiled(form) for name, form in integrands.items()}
        self._rest_volume = domain.volume()

    def __call__(self, t: float, step: Step) -> dict[str, float]:
        """The row; collective."""
        heart = self.heart
        tension = heart.muscle.tension()
        self._tension.x.array[: tension.size] = tension
        self._calcium.x.array[:] = heart.calcium()
        y, given = heart.loop_state, heart.mechanics.pressures
        own = t - self._begun
        pressures = heart.loop.pressures(y, own, given)
        volumes = heart.loop.volumes(y)
        flows = heart.loop.flows(y, own, given)
        return {
            "t [ms]": t,
            **{f"p_{name} [mmHg]": p / MMHG for name, p in pressures.items()},
            **{f"V_{name} [mL]": volume / ML for name, volume in volumes.items()},
            "Q_mv [mL/s]": flows.mitral,
            "Q_av [mL/s]": flows.aortic,
            "Q_tv [mL/s]": flows.tricuspid,
            "Q_pv [mL/s]": flows.pulmonary,
            "activated [%]": 100 * heart.ep.activated_fraction(),
            "calcium_mean [uM]": self._integral("calcium") / self._rest_volume,
            "active_tension_mean [kPa]": self._integral("tension") / self._rest_volume,
            "volume_gap [mL]": self._gap() / ML,
            "tissue_volume [mL]": self._integral("volume") / ML,
            **(self._motion() if self._motion else {}),
            **{f"ecg_{lead} [mV]": v for lead, v in (self._leads() if self._leads else {}).items()},
            "newton": step.newton,
            "factorisations": step.factorisations,
        }

    def _gap(self) -> float:
        """Largest difference of a cavity's volume (mm³) from that of the circulation."""
        heart = self.heart
        between = heart.mechanics.volumes() - heart.loop_state[heart.loop.ventricles]
        return float(np.abs(between).max())

    def _integral(self, name: str) -> float:
        return integral(self._forms[name])


#: Cell fields that follow from the deformation.
_DERIVED = ("fibre_stress", "von_mises_stress", "fibre_strain")
_NODAL = ("transmembrane_potential", "calcium", "active_tension", "pressure")


class HeartFields:
    """Fields of the present state on the mechanics mesh.

    At the nodes (quadratic): displacement from the image (mm), transmembrane_potential (mV),
    calcium (µM), active_tension and pressure (kPa). In the cells, at their midpoints: fibre_stress
    and von_mises_stress (Cauchy, kPa) and fibre_strain (Green–Lagrange, from the reference state).
    A pressure that is not continuous is shown by its mean around each node.

    Args:
        heart: The process.
        passive: Passive law, for the stress.
        fibre, sheet, normal: Directions in the cells.
        constant: Further cell fields that never change.
    """

    def __init__(
        self,
        heart: Electromechanics,
        passive: Material,
        fibre: fem.Function,
        sheet: fem.Function,
        normal: fem.Function,
        constant: Mapping[str, fem.Function],
    ) -> None:
        self.heart = heart
        self._constant = {"fibre": fibre, "sheet": sheet, "normal": normal, **constant}
        cells = fem.functionspace(heart.mechanics.domain.mesh, ("DG", 0))
        self._nodal = {name: fem.Function(heart.node_space, name=name) for name in _NODAL}
        self._cell = {name: fem.Function(cells, name=name) for name in _DERIVED}
        self._tension = fem.Function(cells)
        self._weights = _NodalMean(heart.node_space)
        middle = cells.element.interpolation_points
        F = heart.muscle.reference.F(heart.mechanics.displacement, in_cells=True)
        self._pressure = fem.Expression(
            hydrostatic(heart.mechanics, ufl.det(F)), middle, jit_options=options.jit()
        )
        expressions = self._stresses(passive, Directions(fibre, sheet, normal), F)
        self._expressions = {
            name: fem.Expression(e, middle, jit_options=options.jit())
            for name, e in zip(_DERIVED, expressions, strict=True)
        }

    def __call__(self) -> dict[str, fem.Function]:
        """Fields by name; collective."""
        heart, nodal = self.heart, self._nodal
        tension = heart.muscle.tension().reshape(-1, len(heart.muscle.points)).mean(axis=1)
        self._tension.x.array[: tension.size] = tension
        nodal["transmembrane_potential"].x.array[:] = heart.transmembrane_potential()
        nodal["calcium"].x.array[:] = heart.calcium()
        nodal["active_tension"].x.array[:] = self._weights(tension)
        for name, expression in self._expressions.items():
            self._cell[name].interpolate(expression)
        self._take_pressure(nodal["pressure"])
        return {"displacement": heart.mechanics.u, **nodal, **self._cell, **self._constant}

    def _take_pressure(self, nodal: fem.Function) -> None:
        mechanics = self.heart.mechanics
        if mechanics.formulation.pressure == ("P", 1):
            nodal.interpolate(mechanics.p)
            return
        mesh = mechanics.domain.mesh
        cells = np.arange(mesh.topology.index_map(3).size_local, dtype=np.int32)
        nodal.x.array[:] = self._weights(np.asarray(self._pressure.eval(mesh, cells)).ravel())

    def _stresses(self, passive: Material, seen: Directions, F: Expr) -> tuple[Expr, Expr, Expr]:
        muscle = self.heart.muscle
        directions = muscle.reference.directions(seen, in_cells=True)
        share = muscle.stress.cross_fibre_fraction
        active = ActiveStress(ConstantTension(self._tension), share)
        P = first_piola(passive, F, directions) + active.first_piola(F, directions)
        p = hydrostatic(self.heart.mechanics, ufl.det(F))
        sigma = P * F.T / ufl.det(F) + p * ufl.Identity(3)
        deviator = sigma - ufl.tr(sigma) / 3 * ufl.Identity(3)
        f = F * directions.f0
        ff = ufl.inner(f, f)
        von_mises = ufl.sqrt(1.5 * ufl.inner(deviator, deviator))
        return ufl.inner(f, sigma * f) / ff, von_mises, (ff - 1) / 2


def hydrostatic(mechanics: Mechanics, J: Expr) -> Expr:
    """Pressure (kPa) that holds the volume, also where it is no unknown; tension is positive.

    Args:
        mechanics: With `Incompressibility` of the usual energy.
        J: Volume ratio.
    """
    if mechanics.fields.p is not None:
        return mechanics.fields.p
    terms = (getattr(term, "term", term) for term in mechanics.terms)
    moduli = (term.bulk_modulus for term in terms if isinstance(term, Incompressibility))
    return next(modulus for modulus in moduli if modulus is not None) / 2 * (J - 1 / J)


class _NodalMean:
    """Mean of the cell values around each node, for showing what lives in the cells."""

    def __init__(self, space: fem.FunctionSpace) -> None:
        n_cells = space.mesh.topology.index_map(3).size_local
        self._nodes = space.dofmap.list[:n_cells]
        self._sum = la.vector(space.dofmap.index_map, 1)
        self._count = self._gather(np.ones(n_cells))

    def __call__(self, cells: Array) -> Array:
        return self._gather(cells) / np.maximum(self._count, 1.0)

    def _gather(self, cells: Array) -> Array:
        self._sum.array[:] = 0.0
        np.add.at(self._sum.array, self._nodes, cells[:, None])
        self._sum.scatter_reverse(la.InsertMode.add)
        self._sum.scatter_forward()
        return np.asarray(self._sum.array.copy())
