"""What is kept of a deployed valve: the frame, the tissue's surfaces around it, and its contact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from organtwin.devices.tissue_contact import Pressed
from organtwin.errors import InputError

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: The surfaces that together are the inner side of the wall, in the order of `Deployed.wall`.
WALL = ("inner", "ostium_right", "ostium_left", "membranous_septum")
#: Where leaflets and calcium cover the wall: it is no side of the lumen, but closes `WALL`.
COVERED = "covered_wall"
#: Sides of the native leaflets.
LEAFLETS = ("ventricular", "aortic", "free_edge")
#: Nodes of the frame at rest whose heights differ by less are one crown (mm).
SAME_HEIGHT = 1e-3
#: What an axis may be off its length and its right angles.
SQUARE = 1e-6
#: Layout of the file.
VERSION = 1


@dataclass(frozen=True)
class Deployed:
    """A valve in tissue, small and the same on all ranks. Lengths in mm, in the scan's coordinates.

    Attributes:
        device: Its name without the size, as in the device file.
        size: Its size.
        family: ``balloon-expandable`` or ``self-expanding``.
        nominal: Diameter by which it is called.
        skirt: Height of the skirt over the inflow, of the frame at rest; 0 if not known.
        friction: Coefficient between struts and tissue.
        nodes: Places of the frame's nodes, (n, 3).
        rest: The same, free of stress, in the device's own axes with the inflow at z = 0, (n, 3).
        ends: Nodes of its elements, (m, 2).
        thickness: Of the struts across the tube's wall, (m,).
        width: Of the struts in the tube's surface, (m,).
        strain: Least and largest strain of the fibres of each element, (m, 2).
        placement_centre: Where the device was aimed at, (3,).
        placement_axes: Rows are two directions across the anatomy's axis and the axis, (3, 3).
        pressed: Where struts press on tissue.
        pressed_width: Width of the strut that presses at each place, (k,).
        surfaces: Name → (points, triangles) as they are now; normals point out of the tissue.
        surfaces_before: Name → the same points in the scan.
        stress: Largest principal Cauchy stress (kPa) of each triangle of `wall`; none if unknown.
        stress_before: The same before the deployment.
        calcified: Which triangles of `wall` lie on calcium, whose stress is not the wall's; none of
            them if None.
        strain_amplitude: Half the change of each element's worst fibre over a beat, (m,); none
            where no beat was computed.
        strain_mean: Mean strain of that fibre, (m,).
        fatigue_safety: Of the worst fibre of all; see `organtwin.tavr.fatigue`.
    """

    device: str
    size: str
    family: str
    nominal: float
    skirt: float
    friction: float
    nodes: Array
    rest: Array
    ends: Integers
    thickness: Array
    width: Array
    strain: Array
    placement_centre: Array
    placement_axes: Array
    pressed: Pressed
    pressed_width: Array
    surfaces: Mapping[str, tuple[Array, Integers]]
    surfaces_before: Mapping[str, Array] = field(default_factory=dict)
    stress: Array | None = None
    stress_before: Array | None = None
    calcified: NDArray[np.bool_] | None = None
    strain_amplitude: Array | None = None
    strain_mean: Array | None = None
    fatigue_safety: float | None = None

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise InputError("deployed valve", problem, "Collect or write it again.")

    def _problem(self) -> str:
        n, m, k = len(self.nodes), len(self.ends), len(self.pressed.places)
        wall = sum(len(self.surfaces[name][1]) for name in WALL if name in self.surfaces)
        wanted: list[tuple[str, NDArray[Any] | None, tuple[int, ...]]] = [
            ("nodes", self.nodes, (n, 3)), ("rest", self.rest, (n, 3)),
            ("ends", self.ends, (m, 2)), ("thickness", self.thickness, (m,)),
            ("width", self.width, (m,)), ("strain", self.strain, (m, 2)),
            ("placement_centre", self.placement_centre, (3,)),
            ("placement_axes", self.placement_axes, (3, 3)),
            ("pressed.places", self.pressed.places, (k, 3)),
            ("pressed.normal", self.pressed.normal, (k,)),
            ("pressed.tangential", self.pressed.tangential, (k,)),
            ("pressed.length", self.pressed.length, (k,)),
            ("pressed_width", self.pressed_width, (k,)),
            ("stress", self.stress, (wall,)), ("stress_before", self.stress_before, (wall,)),
            ("calcified", self.calcified, (wall,)),
            ("strain_amplitude", self.strain_amplitude, (m,)),
            ("strain_mean", self.strain_mean, (m,)),
        ]  # fmt: skip
        if n == 0 or m == 0:
            return "it has no frame."
        for name, values, shape in wanted:
            if values is not None and values.shape != shape:
                return f"`{name}` has the shape {values.shape}, not {shape}."
            if values is not None and not np.isfinite(values).all():
                return f"`{name}` holds numbers that are not finite."
        if self.ends.min() < 0 or self.ends.max() >= n:
            return f"`ends` names nodes that are not there ({n} nodes)."
        if self.family not in {"balloon-expandable", "self-expanding"}:
            return f"`family` is {self.family!r}."
        if not (self.nominal > 0.0 and min(self.thickness.min(), self.width.min()) > 0.0):
            return "a diameter, thickness or width is not positive."
        axes = self.placement_axes
        if np.abs(axes @ axes.T - np.eye(3)).max() > SQUARE:
            return "`placement_axes` are no unit vectors at right angles."
        return self._surface_problem()

    def _surface_problem(self) -> str:
        for name, (points, triangles) in self.surfaces.items():
            if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
                return f"surface `{name}` has no points in space."
            if triangles.ndim != 2 or triangles.shape[1] != 3:
                return f"surface `{name}` has no triangles."
            if len(triangles) and not (triangles.min() >= 0 and triangles.max() < len(points)):
                return f"triangles of surface `{name}` name points that are not there."
        for name, points in self.surfaces_before.items():
            if name not in self.surfaces or points.shape != self.surfaces[name][0].shape:
                return f"surface `{name}` before the deployment does not fit that after it."
        return ""

    # --- frame ----------------------------------------------------------------------------------

    @cached_property
    def crowns(self) -> list[Integers]:
        """Nodes that have the same height in the frame at rest, from the inflow on."""
        order = np.argsort(self.rest[:, 2], kind="stable")
        cuts = np.flatnonzero(np.diff(self.rest[order, 2]) > SAME_HEIGHT) + 1
        return [np.sort(part) for part in np.split(order, cuts)]

    @cached_property
    def axis(self) -> Array:
        """Direction of the frame's own axis, from inflow to outflow: through its crowns' middles.

        Crowns are weighted by their nodes; the direction is that of least squares.
        """
        middles = np.array([self.nodes[crown].mean(axis=0) for crown in self.crowns])
        weight = np.array([float(len(crown)) for crown in self.crowns])
        away = middles - np.average(middles, axis=0, weights=weight)
        _, _, rows = np.linalg.svd(away * np.sqrt(weight)[:, None], full_matrices=False)
        way = rows[0]
        return np.asarray(way if way @ (middles[-1] - middles[0]) > 0.0 else -way)

    @cached_property
    def axes(self) -> Array:
        """Rows: two directions across the frame's own axis, the first as the placement's; it."""
        up = self.axis
        first = self.placement_axes[0] - (self.placement_axes[0] @ up) * up
        if np.linalg.norm(first) < 0.1:  # the frame lies across its placement
            first = self.placement_axes[2] - (self.placement_axes[2] @ up) * up
        first = first / np.linalg.norm(first)
        return np.stack([first, np.cross(up, first), up])

    @cached_property
    def origin(self) -> Array:
        """Point of the frame's own axis at the height of its inflow, (3,)."""
        middle, up = self.nodes.mean(axis=0), self.axis
        low = self.nodes[self.crowns[0]].mean(axis=0)
        return np.asarray(middle + ((low - middle) @ up) * up)

    def height_of(self, rest: float) -> float:
        """Height over `origin` that a height of the frame at rest has now, between its crowns."""
        crowns, up = self.crowns, self.axis
        before = np.array([self.rest[crown, 2].mean() for crown in crowns])
        now = np.array([((self.nodes[crown] - self.origin) @ up).mean() for crown in crowns])
        return float(np.interp(rest, before, now))

    # --- tissue ---------------------------------------------------------------------------------

    @cached_property
    def wall(self) -> tuple[Array, Integers]:
        """The inner side of the wall: points and triangles of all of `WALL`, in that order."""
        parts = [self.surfaces[name] for name in WALL if name in self.surfaces]
        return _joined(parts)

    @property
    def lumen(self) -> tuple[Array, Integers]:
        """`wall` with the strips on which leaflets stand: a surface without holes."""
        parts = [self.wall, *([self.surfaces[COVERED]] if COVERED in self.surfaces else [])]
        return _joined(parts)

    @property
    def lumen_before(self) -> Array:
        """Points of `lumen` in the scan."""
        parts = [self.surfaces_before[COVERED]] if COVERED in self.surfaces_before else []
        return np.concatenate([self.wall_before, *parts])

    @property
    def wall_before(self) -> Array:
        """Points of `wall` in the scan."""
        parts = [self.surfaces_before[name] for name in WALL if name in self.surfaces_before]
        return np.concatenate(parts) if parts else np.zeros((0, 3))

    @property
    def leaflets(self) -> tuple[Array, Integers]:
        """All sides of the native leaflets; nothing where there are none."""
        parts = [self.surfaces[name] for name in LEAFLETS if name in self.surfaces]
        return _joined(parts)

    # --- file -----------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write it as an npz file; one rank does it."""
        content: dict[str, Any] = {"version": VERSION}
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name == "pressed":
                content |= {f"pressed.{key}": part for key, part in vars(value).items()}
            elif one.name == "surfaces":
                for name, (points, triangles) in value.items():
                    content[f"points.{name}"], content[f"triangles.{name}"] = points, triangles
            elif one.name == "surfaces_before":
                content |= {f"before.{name}": points for name, points in value.items()}
            elif value is not None:
                content[one.name] = value
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as out:
            np.savez_compressed(out, **content)
        return file

    @classmethod
    def load(cls, path: str | Path) -> Deployed:
        """Read what `save` wrote.

        Raises:
            InputError: no such file, or it holds no deployed valve.
        """
        place = str(path)
        try:
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in file.files}
        except FileNotFoundError:
            raise InputError(place, "no such file.", "Run the deployment first.") from None
        except (OSError, ValueError, BadZipFile, EOFError, TypeError) as error:
            raise InputError(
                place, f"can't be read as an npz file ({error}).", "Run the deployment again."
            ) from None
        if "version" not in found or int(found.pop("version")) != VERSION:
            raise InputError(place, "is no deployed valve of this version.", "Deploy it again.")
        try:
            return cls(**_members(found))
        except KeyError as error:
            raise InputError(place, f"lacks {error}.", "Run the deployment again.") from None
        except TypeError as error:
            raise InputError(
                place, f"is no deployed valve ({error}).", "Run the deployment again."
            ) from None
        except InputError as error:
            raise InputError(place, error.problem, error.remedy) from None


def _members(found: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """Arguments of `Deployed` from the arrays of a file."""
    pressed = {name: found.pop(f"pressed.{name}") for name in Pressed.__dataclass_fields__}
    members: dict[str, Any] = {"pressed": Pressed(**pressed)}
    names = [key.split(".", 1)[1] for key in found if key.startswith("points.")]
    members["surfaces"] = {
        name: (found.pop(f"points.{name}"), found.pop(f"triangles.{name}").astype(np.int64))
        for name in names
    }
    before = [key for key in found if key.startswith("before.")]
    members["surfaces_before"] = {key.split(".", 1)[1]: found.pop(key) for key in before}
    for name, value in found.items():
        members[name] = value.item() if value.ndim == 0 else value
    return members


def _joined(parts: list[tuple[Array, Integers]]) -> tuple[Array, Integers]:
    """Surfaces as one; their common points stay apart."""
    if not parts:
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    first = np.cumsum([0, *(len(points) for points, _ in parts)])
    points = np.concatenate([points for points, _ in parts])
    shifted = [tri + at for (_, tri), at in zip(parts, first, strict=False)]
    return points, np.concatenate(shifted)
