"""What engineers read off a solution: von Mises and principal stresses, strains, energy."""

from __future__ import annotations

import numpy as np
from dolfinx import fem
from numpy.typing import NDArray

from organtwin.mechanics.linear import LinearElasticity
from organtwin.mechanics.recovery import (
    Recovery,
    cell_stiffness,
    cell_strains,
    cell_stresses,
    tensors,
)

Floats = NDArray[np.float64]

#: Units of the fields.
UNITS = {
    "von_mises_stress": "kPa",
    "largest_principal_stress": "kPa",
    "smallest_principal_stress": "kPa",
    "largest_principal_strain": "1",
    "smallest_principal_strain": "1",
    "strain_energy_density": "kPa",
}


def cell_fields(problem: LinearElasticity) -> dict[str, fem.Function]:
    """Fields of `UNITS`, one value per cell: those of stress and strain at its centre.

    The energy density ½ σ : C⁻¹ σ in kPa is in µJ/mm³.
    """
    centre = np.full((1, 3), 0.25)
    stress = cell_stresses(problem, centre)[:, 0]
    strain = cell_strains(problem, centre)[:, 0]
    compliance = np.linalg.inv(cell_stiffness(problem))
    values = _values(stress, strain, compliance)
    space = fem.functionspace(problem.domain.mesh, ("DG", 0))
    return {name: _function(space, name, value) for name, value in values.items()}


def averaged_fields(problem: LinearElasticity, *, jump: float | None = None
                    ) -> dict[str, fem.Function]:  # fmt: skip
    """The same of the recovered stress at the vertices, linear in each cell.

    Continuous within a region (and within a step of ``jump``, see `Recovery`), not across its
    borders. The strain is that of the recovered stress, C⁻¹ σ*, without eigenstrains.
    """
    recovery = Recovery(problem, jump=jump)
    stress = recovery.nodes[:, :4]
    compliance = np.linalg.inv(recovery.stiffness)
    strain = np.einsum("cij,cnj->cni", compliance, stress)
    values = _values(stress, strain, compliance[:, None])
    space = fem.functionspace(problem.domain.mesh, ("DG", 1))
    return {name: _function(space, name, value) for name, value in values.items()}


def von_mises(stress: Floats) -> Floats:
    """√(3/2 s : s) of the deviator s of stresses in six numbers (…, 6)."""
    deviator = stress.copy()
    deviator[..., :3] -= stress[..., :3].mean(axis=-1, keepdims=True)
    return np.asarray(np.sqrt(1.5 * (deviator**2).sum(axis=-1)))


def _values(stress: Floats, strain: Floats, compliance: Floats) -> dict[str, Floats]:
    stresses, strains = (np.linalg.eigvalsh(tensors(x)) for x in (stress, strain))
    elastic = np.einsum("...ij,...j->...i", compliance, stress)
    values = (
        von_mises(stress), stresses[..., 2], stresses[..., 0], strains[..., 2], strains[..., 0],
        (stress * elastic).sum(axis=-1) / 2,
    )  # fmt: skip
    return dict(zip(UNITS, values, strict=True))


def _function(space: fem.FunctionSpace, name: str, values: Floats) -> fem.Function:
    field = fem.Function(space, name=name)
    field.x.array[space.dofmap.list[: len(values)].ravel()] = values.ravel()
    field.x.scatter_forward()
    return field
