"""Where a frame and its tools are put in the anatomy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.devices import rotations as rot
from organtwin.devices.equilibrium import Action, BeamProblem, State
from organtwin.devices.newton import Touching
from organtwin.errors import InputError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Placement:
    """A rigid motion from the frame's axes (inflow downwards, z along its axis) to the anatomy's.

        x ↦ c + R (x − h z),   R = [z → axis] tilted, after turning about z

    Attributes:
        centre: c, point of the device's axis in the anatomy (mm).
        axis: Of the anatomy, towards the outflow; its length does not matter.
        height: h, height of that point in the frame's axes (mm); the frame's inflow end at the
            depth d below the point has h = inflow + d.
        tilt: Between both axes (°).
        towards: Direction that the device's axis is tilted to (°), about the anatomy's axis from
            the first of `across`.
        turn: Of the device about its own axis (°): for commissures.
    """

    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    axis: tuple[float, float, float] = (0.0, 0.0, 1.0)
    height: float = 0.0
    tilt: float = 0.0
    towards: float = 0.0
    turn: float = 0.0

    def __post_init__(self) -> None:
        if not np.linalg.norm(self.axis) > 0 or not abs(self.tilt) < 90:
            raise InputError(
                "Placement", f"axis {self.axis}, tilt {self.tilt:g}°.",
                "The axis has a length, and the tilt is less than 90°.",
            )  # fmt: skip

    def across(self) -> Array:
        """Two unit vectors across the anatomy's axis, right-handed with it, (2, 3)."""
        z = np.asarray(self.axis, float) / np.linalg.norm(self.axis)
        near = np.eye(3)[0] if abs(z[0]) < 0.9 else np.eye(3)[1]
        first = near - (near @ z) * z
        first /= np.linalg.norm(first)
        return np.stack([first, np.cross(z, first)])

    def rotation(self) -> Array:
        """R, (3, 3)."""
        first, second = self.across()
        third = np.cross(first, second)
        base = np.column_stack([first, second, third])
        to = math.radians(self.towards)
        about = np.array([-math.sin(to), math.cos(to), 0.0])
        spins = np.stack([math.radians(self.tilt) * about, [0, 0, math.radians(self.turn)]])
        tilt, turn = rot.matrix(rot.quaternion(spins))
        return np.asarray(base @ tilt @ turn)

    def moved(self, x: Array) -> Array:
        """Points of the device in the anatomy (mm), (n, 3)."""
        return np.asarray(self.centre + (x - [0.0, 0.0, self.height]) @ self.rotation().T)

    def back(self, x: Array) -> Array:
        """Points of the anatomy in the device's axes (mm), (n, 3)."""
        return np.asarray((x - self.centre) @ self.rotation() + [0.0, 0.0, self.height])


def put(beams: BeamProblem, placement: Placement) -> None:
    """Move a frame as a rigid body from its own axes to where it is deployed.

    Its tools have to be `Placed` by the same placement.
    """
    state = beams.state()
    turn = rot.from_matrix(placement.rotation()[None])
    q = rot.product(np.broadcast_to(turn, state.q.shape), state.q)
    beams.restore(State(placement.moved(state.x), q, state.histories))
    beams.commit()


@dataclass(frozen=True)
class Placed:
    """A tool made for the device's axes, in the anatomy.

    Attributes:
        tool: Crimper, balloon, sheath.
        placement: Where.
    """

    tool: Action
    placement: Placement

    def foresee(self, x: Array, dx: Array) -> Touching:
        """As the tool does."""
        R = self.placement.rotation()
        return self.tool.foresee(self.placement.back(x), dx @ R)

    def push(self, x: Array, touching: Touching | None = None) -> tuple[Array, Array]:
        """As the tool does, along the anatomy's axes."""
        R = self.placement.rotation()
        force, stiffness = self.tool.push(self.placement.back(x), touching)
        return force @ R.T, R @ stiffness @ R.T

    def commit(self, x: Array) -> None:
        """As the tool does."""
        self.tool.commit(self.placement.back(x))
