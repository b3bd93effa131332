"""All of a frame from half a cell of it: positions, rotations and histories of the metal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from organtwin.devices import rotations as rot
from organtwin.devices.equilibrium import BeamProblem, State
from organtwin.devices.frame import Frame, unfolded
from organtwin.devices.section import FibreSection, History, Section
from organtwin.errors import InputError

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Nodes are the same when they are nearer than this (mm).
SAME = 1e-4


@dataclass(frozen=True)
class _Sources:
    """Where the elements of the whole frame come from.

    Attributes:
        element: Element of half a cell, (m,).
        flipped: Whether the third axis of the section points the other way, (m,).
    """

    element: Integers
    flipped: NDArray[np.bool_]


def unfold(half: Frame, model: BeamProblem, frame: Frame, whole: BeamProblem) -> None:
    """Bring a whole frame to the accepted state of half a cell of the same pattern.

    Loads must have had the symmetry of the frame. Third axes of sections change their direction
    with a mirror, or where an element runs the other way; the fibres change places then.

    Args:
        half: Half a cell.
        model: Its beams.
        frame: The whole frame, with as many elements along a strut.
        whole: Its beams; their contact is committed.

    Raises:
        InputError: they are not of the same pattern.
    """
    points = unfolded(half, half.mesh.points)
    copies, n = points.shape[:2]
    away, place = cKDTree(frame.mesh.points).query(points.reshape(-1, 3))
    if away.max() > SAME or len(np.unique(place)) < len(frame.mesh.points):
        raise InputError(
            "unfold", "half a cell and the frame don't fit each other.",
            "Build both of the same pattern with as many elements along a strut.",
        )  # fmt: skip
    state = model.state()
    x, q = np.empty_like(frame.mesh.points), np.empty((len(frame.mesh.points), 4))
    x[place] = unfolded(half, state.x).reshape(-1, 3)
    # Rows of a rotation are vectors, and so are the axes that they are told by.
    Q = rot.matrix(state.q)
    axes = np.stack([unfolded(half, np.tile(e, (n, 1))) for e in np.eye(3)], axis=-1)
    turned = axes @ Q @ axes.transpose(0, 1, 3, 2)
    q[place] = rot.from_matrix(turned.reshape(-1, 3, 3))
    sources = _sources(half, frame, place.reshape(copies, n))
    histories = tuple(
        _spread(section, history, part, own, sources)
        for (section, own), (_, part), history in zip(
            whole.parts, model.parts, state.histories, strict=True
        )
    )
    whole.restore(State(x, q, histories))
    whole.commit()


def _sources(half: Frame, frame: Frame, place: Integers) -> _Sources:
    number = {tuple(sorted(pair)): i for i, pair in enumerate(frame.mesh.ends.tolist())}
    element = np.empty(len(frame.mesh.ends), np.int64)
    flipped = np.zeros(len(frame.mesh.ends), bool)
    for copy, nodes in enumerate(place):
        mirrored = copy >= len(place) // 2
        for i, (a, b) in enumerate(nodes[half.mesh.ends].tolist()):
            j = number[(a, b) if a < b else (b, a)]
            reversed_ = frame.mesh.ends[j, 0] != a
            element[j], flipped[j] = i, mirrored != reversed_
    return _Sources(element, flipped)


def _spread(
    section: Section, history: History, part: Integers, own: Integers, sources: _Sources
) -> History:
    """Histories of the whole frame's elements of one section."""
    order = _mirror(section)
    at = np.searchsorted(part, sources.element[own])
    found = {}
    for name, values in history.items():
        new = values[at].copy()
        flipped = sources.flipped[own]
        if order is not None and new.ndim > 1:
            new[flipped] = new[flipped][:, order]
        found[name] = new
    return found


def _mirror(section: Section) -> Integers | None:
    """For each fibre the one on the other side of the second axis."""
    if not isinstance(section, FibreSection):
        return None
    fibres = section.shape.fibres()
    _, order = cKDTree(np.column_stack([fibres.y, fibres.z])).query(
        np.column_stack([fibres.y, -fibres.z])
    )
    return np.asarray(order, np.int64)
