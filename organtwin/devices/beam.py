"""Geometrically exact beams with shear: kinematics, forces and tangent of all elements at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from organtwin.devices import rotations as rot
from organtwin.errors import InputError

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class BeamMesh:
    """Two-node beam elements with the triads of their sections; strain-free as it is given.

    Struts that share a node are joined rigidly there: a node has one rotation, and each element
    keeps its own triads relative to it.

    Attributes:
        points: Reference positions (mm), (n, 3).
        ends: Nodes of each element, (m, 2).
        triads: Quaternions of the section triads at both ends, (m, 2, 4). The first axis runs along
            the beam, the others span the section.
        share: Part of each element that belongs to the model, (m,): 1/2 in a plane of symmetry.
    """

    points: Array
    ends: Integers
    triads: Array
    share: Array

    def __post_init__(self) -> None:
        shortest = self.lengths.min(initial=np.inf)
        if not shortest > 0:
            raise InputError("BeamMesh", "an element has no length.", "Merge its nodes.")

    @property
    def lengths(self) -> Array:
        """Distance between the ends of each element (mm), (m,)."""
        first, second = self.ends.T
        return np.linalg.norm(self.points[second] - self.points[first], axis=1)

    @property
    def tributary(self) -> Array:
        """Length of beam that belongs to each node (mm), (n,)."""
        halves = np.repeat(0.5 * self.lengths * self.share, 2)
        return np.bincount(self.ends.ravel(), halves, len(self.points))


def straight_elements(
    points: ArrayLike, ends: ArrayLike, across: ArrayLike, share: ArrayLike = 1.0
) -> BeamMesh:
    """Elements whose triads follow their chords; a curved beam becomes a polygon.

    Args:
        points: Reference positions (mm), (n, 3).
        ends: Nodes of each element, (m, 2).
        across: About the second axis of the sections, (3,) or (m, 3); what of it lies along the
            beam is removed.
        share: Part of each element that belongs to the model.

    Raises:
        InputError: an element without length, or ``across`` along the beam.
    """
    x, pairs = np.asarray(points, float), np.asarray(ends, np.int64)
    e1 = x[pairs[:, 1]] - x[pairs[:, 0]]
    triads = rot.from_matrix(triad(e1, np.broadcast_to(np.asarray(across, float), e1.shape)))
    return BeamMesh(
        x, pairs, np.repeat(triads[:, None], 2, axis=1),
        np.broadcast_to(np.asarray(share, float), len(pairs)).copy(),
    )  # fmt: skip


def triad(along: Array, across: Array) -> Array:
    """Rotation matrices with the first column ``along``, the second near ``across``, (m, 3, 3)."""
    length = np.linalg.norm(along, axis=-1, keepdims=True)
    e1 = along / np.maximum(length, 1e-300)
    e2 = across - np.sum(across * e1, axis=-1, keepdims=True) * e1
    size = np.linalg.norm(e2, axis=-1, keepdims=True)
    if not (size > 1e-6 * np.linalg.norm(across, axis=-1, keepdims=True)).all():
        raise InputError(
            "triad", "an axis of a section lies along the beam.", "Give another direction across."
        )
    e2 = e2 / size
    return np.stack([e1, e2, np.cross(e1, e2)], axis=-1)


@dataclass(frozen=True)
class Kinematics:
    """Strains of all elements in their middle, and what their derivatives need.

    Attributes:
        strain: Γ₁ Γ₂ Γ₃ (1), κ₁ κ₂ κ₃ (1/mm) less those at rest, (m, 6).
        gamma: Λᵀ r' with the rotation Λ in the middle, (m, 3).
        phi: Rotation vector from the first to the second end, (m, 3).
        first, second, middle: Rotation matrices, (m, 3, 3).
    """

    strain: Array
    gamma: Array
    phi: Array
    first: Array
    second: Array
    middle: Array


class Elements:
    """Simo–Reissner beam elements with two nodes and one integration point.

        Γ = Λᵀ r' − (at rest),   κ = axial(Λᵀ Λ') − (at rest)

    Positions are interpolated linearly and rotations along the shortest way between the nodes,
    Λ(s) = Λ₁ exp(s/L φ) with φ = log(Λ₁ᵀ Λ₂). Then κ = φ/L is constant, strains do not see rigid
    motions, and they depend on the present state only, not on the way to it. One integration point
    in the middle removes shear and membrane locking and keeps the second order.

    The interpolation is that of Crisfield and Jelenić for two nodes. The derivatives in closed form
    are our own; the tests compare them with finite differences.

    Source:
        Simo (1985), Comput. Methods Appl. Mech. Eng. 49:55–70; Simo & Vu-Quoc (1986), 58:79–116;
        Crisfield & Jelenić (1999), Proc. R. Soc. Lond. A 455:1125–1147.
    """

    def __init__(self, mesh: BeamMesh) -> None:
        self.mesh = mesh
        self.lengths = mesh.lengths
        self.size = 6 * len(mesh.points)
        self._rest = np.zeros((len(mesh.ends), 6))
        identity = np.tile([1.0, 0.0, 0.0, 0.0], (len(mesh.points), 1))
        self._rest = self.kinematics(mesh.points, identity).strain
        #: Degrees of freedom of each element, (m, 12): translation and spin of both nodes.
        self.dofs = (6 * mesh.ends[:, :, None] + np.arange(6)).reshape(-1, 12)

    def kinematics(self, x: Array, q: Array) -> Kinematics:
        """Strains at positions ``x`` (mm), (n, 3) and nodal rotations ``q``, (n, 4)."""
        first, second = (rot.product(q[self.mesh.ends[:, i]], self.mesh.triads[:, i])
                         for i in (0, 1))  # fmt: skip
        phi = rot.vector(rot.product(rot.conjugate(first), second))
        middle = rot.matrix(rot.product(first, rot.quaternion(0.5 * phi)))
        chord = x[self.mesh.ends[:, 1]] - x[self.mesh.ends[:, 0]]
        gamma = np.einsum("eji,ej->ei", middle, chord) / self.lengths[:, None]
        strain = np.hstack([gamma, phi / self.lengths[:, None]]) - self._rest
        return Kinematics(strain, gamma, phi, rot.matrix(first), rot.matrix(second), middle)

    def gradient(self, k: Kinematics) -> tuple[Array, Array, Array]:
        """Derivatives of strains, φ and the middle's spin by translations and spins of the nodes.

        Returns:
            B (m, 6, 12), Dφ (m, 3, 12), Dm (m, 3, 12); spins are about fixed axes.
        """
        m, L = len(k.phi), self.lengths[:, None, None]
        W, one = rot.skew(k.phi), np.eye(3)
        angle = np.linalg.norm(k.phi, axis=1)[:, None, None]
        c, tau = rot.spin_coefficient(angle)[0], rot.half_coefficient(angle)[0]
        onwards = one + 0.5 * W + c * (W @ W)
        P1, P2 = k.first.transpose(0, 2, 1), k.second.transpose(0, 2, 1)
        D_phi, D_m = np.zeros((m, 3, 12)), np.zeros((m, 3, 12))
        D_phi[:, :, 3:6], D_phi[:, :, 9:] = -onwards.transpose(0, 2, 1) @ P1, onwards @ P2
        D_m[:, :, 3:6], D_m[:, :, 9:] = 0.5 * (one - tau * W) @ P1, 0.5 * (one + tau * W) @ P2
        B = np.empty((m, 6, 12))
        B[:, :3] = rot.skew(k.gamma) @ D_m
        across = k.middle.transpose(0, 2, 1) / L
        B[:, :3, :3] -= across
        B[:, :3, 6:9] += across
        B[:, 3:] = D_phi / L
        return B, D_phi, D_m

    def forces(self, B: Array, resultants: Array) -> Array:
        """Forces (mN) and moments (mN mm) of each element on its nodes, (m, 12)."""
        volume = self.lengths * self.mesh.share
        return np.einsum("eij,ei,e->ej", B, resultants, volume)

    def stiffness(
        self, k: Kinematics, B: Array, D_phi: Array, D_m: Array, resultants: Array, C: Array
    ) -> Array:
        """Tangent of `forces` by translations and spins, (m, 12, 12).

        Away from equilibrium it is not symmetric, because spins do not commute.

        Args:
            k: Kinematics.
            B: From `gradient`.
            D_phi: From `gradient`.
            D_m: From `gradient`.
            resultants: n, m in the section's axes, (m, 6).
            C: Their derivative by the strains, (m, 6, 6).
        """
        K = self.lengths[:, None, None] * (B.transpose(0, 2, 1) @ C @ B)
        K += self._geometric(k, B, D_phi, D_m, resultants)
        K *= self.mesh.share[:, None, None]
        return K

    def _geometric(
        self, k: Kinematics, B: Array, D_phi: Array, D_m: Array, resultants: Array
    ) -> Array:
        """Change of the element forces at constant resultants."""
        n, m, L = resultants[:, :3], resultants[:, 3:], self.lengths[:, None]
        phi, W, N, M = k.phi, rot.skew(k.phi), rot.skew(n), rot.skew(m)
        angle = np.linalg.norm(phi, axis=1)[:, None, None]
        (c, c1), (tau, tau1) = rot.spin_coefficient(angle), rot.half_coefficient(angle)
        q = L * np.cross(n, k.gamma)
        phi_m = np.cross(phi, m)
        twice = np.cross(phi, phi_m)
        # Derivatives by φ of (I ± ½[φ] + c[φ]²) m and ±½ τ φ × q.
        even = -c * (rot.skew(phi_m) + W @ M) + c1 * _dyad(twice, phi)
        turn = 0.5 * (-tau * rot.skew(q) + tau1 * _dyad(np.cross(phi, q), phi))
        dq = L[:, :, None] * (N @ B[:, :3])
        one, G = np.eye(3), np.zeros((len(n), 12, 12))
        sway = k.middle @ N @ D_m
        G[:, :3], G[:, 6:9] = sway, -sway
        wq, wm, wwm = 0.5 * tau[:, 0] * np.cross(phi, q), 0.5 * phi_m, c[:, 0] * twice
        moments = (0.5 * q + wq - (m + wm + wwm), 0.5 * q - wq + (m - wm + wwm))
        for rows, R, own, sign in (
            (slice(3, 6), k.first, moments[0], 1.0),
            (slice(9, 12), k.second, moments[1], -1.0),
        ):
            half = 0.5 * (one + sign * tau * W)
            dM = half @ dq + (sign * turn + 0.5 * M - sign * even) @ D_phi
            G[:, rows] = R @ dM
            G[:, rows, rows] -= R @ rot.skew(own) @ R.transpose(0, 2, 1)
        return G


def _dyad(a: Array, b: Array) -> Array:
    return np.einsum("ei,ej->eij", a, b)


def line(start: Sequence[float], end: Sequence[float], elements: int) -> tuple[Array, Integers]:
    """Points (n, 3) and elements (m, 2) of a straight row of equal elements."""
    points = np.linspace(np.asarray(start, float), np.asarray(end, float), elements + 1)
    first = np.arange(elements)
    return points, np.column_stack([first, first + 1])
