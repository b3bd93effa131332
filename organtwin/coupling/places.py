"""Where the entries of the state of a beating heart are."""

from __future__ import annotations

import numpy as np
from dolfinx import fem, mesh
from numpy.typing import NDArray

from organtwin.coupling.electromechanics import Electromechanics
from organtwin.electrophysiology.places import places as electrical_places
from organtwin.electrophysiology.prescribed import PrescribedActivation
from organtwin.electrophysiology.reaction_diffusion import ReactionDiffusion
from organtwin.mechanics.problem import Mechanics
from organtwin.process import Places, keyed

Array = NDArray[np.float64]

#: Arrays by the set of their entries.
_UNKNOWNS = ("mechanics.w", "mechanics.w_old", "displacement_pressure_before")
_DISPLACEMENTS = (
    "unloading", "prestress_displacement", "mechanics.velocity", "mechanics.acceleration",
)  # fmt: skip


def places(heart: Electromechanics) -> Places:
    """Unknowns of the mechanics, points of the muscle, and what the electrophysiology has."""
    mechanics, msh = heart.mechanics, heart.mechanics.domain.mesh
    points = _points(heart.muscle.stretch.function_space)
    cells = msh.topology.index_map(3)
    middles = mesh.compute_midpoints(
        msh, 3, np.arange(cells.size_local + cells.num_ghosts, dtype=np.int32)
    )
    keys = {
        "unknowns": _unknowns(mechanics),
        "displacements": keyed(mechanics.V.tabulate_dof_coordinates(), 3),
        "points": keyed(points),
        "owned points": keyed(points[: heart.muscle.states.shape[1]]),
        "tensors": keyed(points, 9),
        "cells": keyed(middles, 9),
    }
    of = {
        **dict.fromkeys(_UNKNOWNS, "unknowns"),
        "stretch": "points",
        "muscle": "owned points",
        **dict.fromkeys(_DISPLACEMENTS, "displacements"),
        "prestress": "tensors",
        "prestress_mean": "cells",
    }
    of = {name: kind for name, kind in of.items() if name in heart.state}
    own = Places({kind: keys[kind] for kind in dict.fromkeys(of.values())}, of)
    ep = heart.ep
    if not isinstance(ep, ReactionDiffusion | PrescribedActivation):
        return own
    return own | electrical_places(ep).within("ep.")


def _points(space: fem.FunctionSpace) -> Array:
    """Where the entries of a quadrature space are, shape (n, 3).

    Points on a face belong to each of its cells: all are moved a little to the middle of theirs.
    """
    x = space.mesh.geometry.x[space.mesh.geometry.dofmaps[0]]
    place, _ = space.ufl_element().custom_quadrature()
    shape = 0.99 * np.column_stack([1 - place.sum(axis=1), place]) + 0.01 / 4
    at = np.empty((len(x) * len(place), 3))
    at[space.dofmap.list] = np.einsum("qi,cia->cqa", shape, x)
    return at


def _unknowns(mechanics: Mechanics) -> Array:
    keys = np.empty((len(mechanics.w.x.array), 4))
    keys[mechanics._u_dofs] = keyed(mechanics.V.tabulate_dof_coordinates(), 3)
    if mechanics.Q is not None:
        keys[mechanics._p_dofs] = keyed(mechanics.Q.tabulate_dof_coordinates())
        keys[mechanics._p_dofs, 3] = 3.0
    return keys
