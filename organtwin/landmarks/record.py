"""What a landmark is: a geometry with a name, a confidence and where it came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError, suggestion

type Vector = NDArray[np.float64]

#: Source of what organtwin found itself.
AUTOMATIC = "automatic"


@dataclass(frozen=True)
class Point:
    """A place.

    Attributes:
        at: Coordinates (LPS, mm), shape (3,).
    """

    at: Vector


@dataclass(frozen=True)
class Plane:
    """A plane, drawn as a disc.

    Attributes:
        centre: Middle of the disc (LPS, mm), shape (3,).
        normal: Unit normal, shape (3,).
        diameter: Diameter of a disc of the same area as what lies in the plane (mm); 0 if unknown.
    """

    centre: Vector
    normal: Vector
    diameter: float = 0.0

    def height(self, points: Vector) -> Vector:
        """Signed distance of points from the plane, positive where the normal points (mm)."""
        return np.asarray((np.asarray(points) - self.centre) @ self.normal)


@dataclass(frozen=True)
class Line:
    """An axis from one end to the other.

    Attributes:
        start: First end (LPS, mm), shape (3,).
        end: Second end (LPS, mm), shape (3,).
    """

    start: Vector
    end: Vector

    @property
    def direction(self) -> Vector:
        """Unit vector from the start to the end, shape (3,)."""
        along = self.end - self.start
        return np.asarray(along / np.linalg.norm(along))


@dataclass(frozen=True)
class Curve:
    """A path through points.

    Attributes:
        points: Points in their order (LPS, mm), shape (n, 3).
        radii: Radius of the largest ball around each point that fits inside (mm), shape (n,);
            empty if unknown.
    """

    points: Vector
    radii: Vector = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Sphere:
    """A ball.

    Attributes:
        centre: Centre (LPS, mm), shape (3,).
        radius: Radius (mm).
    """

    centre: Vector
    radius: float


type Geometry = Point | Plane | Line | Curve | Sphere
#: What each kind of landmark is called.
KINDS: Mapping[type, str] = {
    Point: "point", Plane: "plane", Line: "line", Curve: "curve", Sphere: "sphere"
}  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """One measured thing that a confidence rests on.

    Attributes:
        name: What was measured.
        value: Measured value.
        unit: Unit of the value: ``mm``, ``°``, ``%`` or nothing.
        factor: What it leaves of the confidence, 0 to 1.
    """

    name: str
    value: float
    unit: str
    factor: float

    def __str__(self) -> str:
        return f"{self.name} {self.value:.3g} {self.unit}".rstrip() + f" ({self.factor:.2f})"


@dataclass(frozen=True)
class Confidence:
    """Product of what each evidence leaves.

    Attributes:
        evidence: What was measured.
    """

    evidence: tuple[Evidence, ...] = ()

    @property
    def value(self) -> float:
        """Confidence, 0 to 1; 1 without evidence, as of what a person placed."""
        return float(np.prod([part.factor for part in self.evidence]))

    def __str__(self) -> str:
        made = "; ".join(str(part) for part in self.evidence)
        return f"{self.value:.2f}" + (f": {made}" if made else "")


@dataclass(frozen=True)
class Landmark:
    """A named geometry in the patient.

    Attributes:
        name: Anatomical name; see `organtwin.landmarks.catalogue`.
        geometry: Point, plane, line, curve or sphere (LPS, mm).
        confidence: How far to trust it, and why.
        source: ``automatic``, or ``markups`` and the file.
        measures: Further numbers of it: name with unit → value.
    """

    name: str
    geometry: Geometry
    confidence: Confidence = Confidence()
    source: str = AUTOMATIC
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """``point``, ``plane``, ``line``, ``curve`` or ``sphere``."""
        return KINDS[type(self.geometry)]


def against(name: str, value: float, half: float, unit: str = "") -> Evidence:
    r"""Evidence of something that should be small: an error, a spread, a disagreement.

    .. math:: f = \frac{1}{1 + (v / h)^2}

    Args:
        name: What was measured.
        value: Measured value :math:`v`; what is no number leaves nothing.
        half: Value :math:`h` that leaves half of the confidence.
        unit: Unit of both.
    """
    factor = 1.0 / (1.0 + (value / half) ** 2) if np.isfinite(value) else 0.0
    return Evidence(name, float(value), unit, float(factor))


def favouring(name: str, value: float, half: float, unit: str = "") -> Evidence:
    r"""Evidence of something that should be large: a contrast, a coverage, a length.

    .. math:: f = \frac{v^2}{v^2 + h^2}

    Args:
        name: What was measured.
        value: Measured value :math:`v`; negative ones and what is no number leave nothing.
        half: Value :math:`h` that leaves half of the confidence.
        unit: Unit of both.
    """
    factor = value**2 / (value**2 + half**2) if np.isfinite(value) and value > 0.0 else 0.0
    return Evidence(name, float(value), unit, float(factor))


def find(landmarks: Iterable[Landmark], name: str) -> Landmark:
    """The landmark of a name.

    Raises:
        InputError: none of that name was found.
    """
    known = {landmark.name: landmark for landmark in landmarks}
    if name not in known:
        raise InputError("landmarks", f"no landmark `{name}` was found.", suggestion(name, known))
    return known[name]
