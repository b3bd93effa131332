"""Finite rotations of many nodes at once: quaternions, rotation vectors and their derivatives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Angle (rad) below which the functions of the angle are taken from their series.
SMALL = 1e-3


def skew(v: Array) -> Array:
    """[v]ₓ, the matrix of a cross product, (…, 3) → (…, 3, 3)."""
    out = np.zeros((*v.shape, 3))
    out[..., 0, 1], out[..., 0, 2], out[..., 1, 2] = -v[..., 2], v[..., 1], -v[..., 0]
    out[..., 1, 0], out[..., 2, 0], out[..., 2, 1] = v[..., 2], -v[..., 1], v[..., 0]
    return out


def quaternion(theta: Array) -> Array:
    """Unit quaternion (w, x, y, z) of rotation vectors (rad), (…, 3) → (…, 4)."""
    half = 0.5 * np.linalg.norm(theta, axis=-1, keepdims=True)
    return np.concatenate([np.cos(half), 0.5 * np.sinc(half / np.pi) * theta], axis=-1)


def vector(q: Array) -> Array:
    """Rotation vector (rad) of unit quaternions, its angle at most π, (…, 4) → (…, 3)."""
    q = np.where(q[..., :1] < 0, -q, q)
    w, v = q[..., :1], q[..., 1:]
    length = np.linalg.norm(v, axis=-1, keepdims=True)
    safe = np.maximum(length, 1e-300)
    return np.where(length < 1e-12, 2.0 * v, 2.0 * np.arctan2(length, w) / safe * v)


def product(p: Array, q: Array) -> Array:
    """Quaternion of the rotation ``q`` followed by ``p``."""
    pw, pv, qw, qv = p[..., :1], p[..., 1:], q[..., :1], q[..., 1:]
    w = pw * qw - np.sum(pv * qv, axis=-1, keepdims=True)
    return np.concatenate([w, pw * qv + qw * pv + np.cross(pv, qv)], axis=-1)


def conjugate(q: Array) -> Array:
    """Quaternion of the inverse rotation."""
    return q * np.array([1.0, -1.0, -1.0, -1.0])


def matrix(q: Array) -> Array:
    """Rotation matrices of unit quaternions, (…, 4) → (…, 3, 3)."""
    W = skew(q[..., 1:])
    return np.asarray(np.eye(3) + 2.0 * (q[..., :1, None] * W + W @ W))


def from_matrix(R: Array) -> Array:
    """Unit quaternions of rotation matrices, (…, 3, 3) → (…, 4).

    The largest of the four components is computed first, so that none is divided by a small one.
    """
    trace = np.trace(R, axis1=-2, axis2=-1)
    diagonal = np.diagonal(R, axis1=-2, axis2=-1)
    squares = np.concatenate(
        [trace[..., None], 2.0 * diagonal - trace[..., None]], axis=-1
    )  # 4 q² − 1
    largest = np.argmax(squares, axis=-1)
    x, y, z = (R[..., a, b] - R[..., b, a] for a, b in ((2, 1), (0, 2), (1, 0)))
    s = {(i, j): R[..., i, j] + R[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2))}
    one = 1.0 + squares
    rows = np.stack(
        [
            np.stack([one[..., 0], x, y, z], axis=-1),
            np.stack([x, one[..., 1], s[0, 1], s[0, 2]], axis=-1),
            np.stack([y, s[0, 1], one[..., 2], s[1, 2]], axis=-1),
            np.stack([z, s[0, 2], s[1, 2], one[..., 3]], axis=-1),
        ],
        axis=-2,
    )
    q = np.take_along_axis(rows, largest[..., None, None], axis=-2)[..., 0, :]
    return np.asarray(q / np.linalg.norm(q, axis=-1, keepdims=True))


def turned(q: Array, spin: Array) -> Array:
    """Quaternions after a further rotation by the vectors ``spin`` about fixed axes."""
    q = product(quaternion(spin), q)
    return np.asarray(q / np.linalg.norm(q, axis=-1, keepdims=True))


def spin_coefficient(angle: Array) -> tuple[Array, Array]:
    """Values c and c'/θ of c(θ) = (1 − (θ/2) cot(θ/2)) / θ².

    With it the derivative of a rotation vector is δφ = (I + ½[φ]ₓ + c [φ]ₓ²) δΘ for a further
    rotation δΘ about the turned axes, and with the minus sign about the fixed ones.
    """
    small = angle < SMALL * 30  # c loses digits by cancellation, its series does not
    t = np.where(small, 1.0, angle)
    half = 0.5 * t
    cot = half / np.tan(half)
    c = (1.0 - cot) / t**2
    slope = (0.25 / np.sin(half) ** 2 - 0.5 / t / np.tan(half)) / t - 2.0 * c / t
    a2 = angle**2
    series = 1 / 12 + a2 / 720 + a2**2 / 30240
    series_slope = 1 / 360 + a2 / 7560 + a2**2 / 201600
    return np.where(small, series, c), np.where(small, series_slope, slope / t)


def half_coefficient(angle: Array) -> tuple[Array, Array]:
    """Values τ and τ'/θ of τ(θ) = tan(θ/4)/θ, of the rotation half way between two nodes."""
    small = angle < SMALL * 30
    t = np.where(small, 1.0, angle)
    tan = np.tan(t / 4)
    tau = tan / t
    slope = (0.25 * (1 + tan**2) - tau) / t
    a2 = angle**2
    series = 0.25 + a2 / 192 + a2**2 / 7680
    series_slope = 1 / 96 + a2 / 1920 + 17 * a2**2 / 860160
    return np.where(small, series, tau), np.where(small, series_slope, slope / t)
