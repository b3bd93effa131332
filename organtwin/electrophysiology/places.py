"""Where the entries of the state of an electrophysiology are."""

from __future__ import annotations

import numpy as np
from dolfinx import mesh

from organtwin.electrophysiology.prescribed import PrescribedActivation
from organtwin.electrophysiology.reaction_diffusion import ReactionDiffusion
from organtwin.process import Places, keyed

#: Arrays of owned nodes only.
_OWNED = ("increment", "increment_before", "extracellular_potential_of")


def places(ep: ReactionDiffusion | PrescribedActivation) -> Places:
    """Nodes, owned nodes, the cells of each population and the cells of the mesh."""
    V = ep.v.function_space
    nodes = keyed(V.tabulate_dof_coordinates())
    keys = {"nodes": nodes, "owned": nodes[: V.dofmap.index_map.size_local]}
    of = {}
    for name, values in ep.state.items():
        if name in _OWNED:
            of[name] = "owned"
        elif values.shape[-1] == len(nodes):
            of[name] = "nodes"
    for k, population in enumerate(getattr(getattr(ep, "cells", None), "populations", ())):
        name = "states" if k == 0 else f"states_{k}"
        if population.nodes is not None:
            keys[name], of[name] = nodes[population.nodes], name
    if "deformation" in ep.state:
        cells = np.arange(len(ep.state["deformation"]) // 9, dtype=np.int32)
        keys["cells"] = keyed(mesh.compute_midpoints(V.mesh, 3, cells), 9)
        of["deformation"] = "cells"
    return Places(keys, of)
