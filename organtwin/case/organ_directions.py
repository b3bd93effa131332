"""Directions and coordinates of one tissue of an organ, on all ranks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.anatomy.atria import Atrium, atrial_fibres, bundles
from organtwin.anatomy.atria_bundles import LEFT_NAMES, RIGHT_NAMES
from organtwin.anatomy.atria_bundles import LeftAtrium as LeftRule
from organtwin.anatomy.atria_bundles import RightAtrium as RightRule
from organtwin.anatomy.coordinates import coordinates
from organtwin.anatomy.fibres import FibreAngles, Fibres, fibres
from organtwin.anatomy.measures import angle_to, helix_angle, local_axis, mean_line_angle
from organtwin.anatomy.segments import NAMES, aha_segments
from organtwin.anatomy.trabeculae import trabecular_directions
from organtwin.anatomy.ventricular_coordinates import INSERTION, ventricular_coordinates
from organtwin.anatomy.vessels import vessel_coordinates, vessel_directions
from organtwin.case.organ import OrganCase, Source
from organtwin.case.organ_surfaces import Part, atrium_part, ventricles_part, vessel_part
from organtwin.case.organ_tissues import Bone, LeftAtrium, RightAtrium, Ventricles, Vessel
from organtwin.errors import InputError
from organtwin.image.cropping import cropped
from organtwin.image.readers import read_image
from organtwin.image.volume import Image
from organtwin.mesh.distribute import collect, distribute
from organtwin.mesh.domain import Domain, cellwise_vectors
from organtwin.mesh.quality import signed_volumes
from organtwin.mesh.tissue import Borders, numbers_of
from organtwin.mesh.volume_mesh import TetrahedralMesh
from organtwin.parallel import on_root
from organtwin.units import ML

type Values = NDArray[np.float64]

#: Depths in the wall (parts of it) at which helix angles are told: name → from, to.
LAYERS = {"inside": (0.0, 0.1), "in the middle": (0.45, 0.55), "outside": (0.9, 1.0)}
#: Anisotropy over which a direction of trabeculae is marked.
MARKED = 0.5
#: Margin of the scan around bone, in widths of the window.
MARGIN = 4.0


@dataclass(frozen=True)
class Account:
    """What was found in one tissue, for the report.

    Attributes:
        name: Name of the tissue, as ``aorta``.
        regions: Integers of its regions in the mesh.
        shown: Field that the fibres are coloured by.
        up: Direction that is up in pictures.
        front: Direction towards the eye.
        fields: Its scalar fields.
        numbers: Rows of what, value and unit.
        parts: Rows of the name of a part and its volume (mL).
        decisions: What was done, one sentence each.
    """

    name: str
    regions: tuple[int, ...]
    shown: str
    fields: tuple[str, ...]
    numbers: tuple[tuple[str, str, str], ...]
    parts: tuple[tuple[str, float], ...] = ()
    up: tuple[float, ...] = (0.0, 0.0, 1.0)
    front: tuple[float, ...] = (0.0, -1.0, 0.0)
    decisions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """Fields of the cells of one tissue, on rank 0.

    Attributes:
        cells: Index of its cells in the whole mesh.
        f0: Fibre direction in each, zero if it has none, (n, 3).
        s0: Sheet direction; None if the rule has none.
        scalars: Name → one value per cell.
        account: What the report tells.
    """

    cells: NDArray[np.int64]
    f0: Values
    s0: Values | None
    account: Account
    scalars: Mapping[str, Values] = field(default_factory=dict)


class First:
    """Work of rank 0, whose result stays there."""

    def __init__(self, comm: MPI.Comm) -> None:
        self.comm = comm

    def __call__[T](self, work: Callable[[], T]) -> T:
        """Result of ``work`` on rank 0; elsewhere None, which only rank 0's work may look at."""
        kept: list[T] = []
        on_root(self.comm, lambda: kept.append(work()))
        return kept[0] if kept else None  # type: ignore[return-value]


def _spread(first: First, part: Part) -> Domain:
    return distribute(part.mesh if first.comm.rank == 0 else None, first.comm)


def in_vessel(
    first: First, mesh: TetrahedralMesh, borders: Borders, name: str, section: Vessel, degree: int
) -> Found | None:
    """Vessel: around, along and through its wall; collective, the result is on rank 0."""
    part = first(lambda: vessel_part(mesh, borders, section, f"[anatomy.vessels.{name}]"))
    domain = _spread(first, part)
    ends = {"inner": "inner", "outer": "outer", "inlet": "inlet", "outlets": ("outlets",)}
    at = vessel_coordinates(domain, degree=degree, **ends)  # type: ignore[arg-type]
    found = vessel_directions(
        domain, cellwise_vectors(domain), angle=section.angle, at=at, **ends  # type: ignore[arg-type]
    )  # fmt: skip
    f0, s0 = _directions(domain, found)
    along, through = collect(domain, at.along), collect(domain, at.through)
    if f0 is None or along is None or through is None:
        return None
    weights, middles = _volumes(part.mesh), _middles(part.mesh)
    angle = angle_to(f0, local_axis(middles, weights, along))
    mean, spread = _mean(angle, weights)
    numbers = [
        _volume_row(weights),
        ("Fibres to the vessel's axis, mean ± spread", f"{mean:.1f} ± {spread:.1f}", "degree"),
        *_ranges({"along": along, "transmural": through}),
    ]
    scalars = {"along": along, "transmural": through, "fibre_angle": angle}
    account = Account(
        name, part.regions, "fibre_angle", ("along", "transmural"), tuple(numbers),
        decisions=part.decisions,
    )  # fmt: skip
    return Found(part.cells, f0, s0, account, scalars)


def in_ventricles(
    first: First, mesh: TetrahedralMesh, borders: Borders, section: Ventricles, case: OrganCase,
    degree: int,
) -> Found | None:  # fmt: skip
    """Ventricles: fibres, coordinates, segments; collective, the result is on rank 0."""
    part = first(lambda: ventricles_part(mesh, borders, section, case.source))
    domain = _spread(first, part)
    angles = FibreAngles(section.alpha_endo, section.alpha_epi, section.beta_endo, section.beta_epi)
    smooth = coordinates(domain, degree=degree)
    found = fibres(domain, angles, cellwise_vectors(domain), at=smooth)
    f0, s0 = _directions(domain, found)
    decisions = []
    fields = {}
    if "rv_endo" in domain.surfaces:
        at = coordinates(domain) if degree > 1 else smooth
        universal = ventricular_coordinates(domain, at=at)
        fields = {
            "apicobasal": universal.apicobasal, "transmural": universal.transmural,
            "rotational": universal.rotational, "transventricular": universal.transventricular,
            "aha_segment": aha_segments(domain, at=at),
        }  # fmt: skip
    else:
        fields = {"apicobasal": smooth.apicobasal, "transmural": smooth.epi}
        decisions.append(
            "Rotational coordinate and segments need the blood of the right ventricle, which shows "
            "where the septum is; apicobasal is a Laplace field without it."
        )
    if smooth.axis.front @ np.cross(smooth.axis.direction, smooth.axis.septum) < 0.0:
        decisions.append(
            "The right ventricle does not lie where it would in a patient whose front is the front "
            "of these coordinates: anterior and inferior segments may be exchanged. Check the axes "
            "of the file ([source] space)."
        )
    scalars = {name: collect(domain, u) for name, u in fields.items()}
    if f0 is None:
        return None
    known = {name: values for name, values in scalars.items() if values is not None}
    if "rotational" in known:
        known["rotational"] = np.angle(np.exp(1j * known["rotational"]))
    known["fibre_angle"] = helix_angle(f0, _middles(part.mesh), smooth.axis)
    weights = _volumes(part.mesh)
    numbers, parts = _of_ventricles(part.mesh, known, weights)
    length = ("Long axis, apex to base", f"{smooth.axis.length:.1f}", "mm")
    account = Account(
        "ventricles", part.regions, "fibre_angle", tuple(fields), (length, *numbers), parts,
        tuple(smooth.axis.direction.tolist()), tuple(smooth.axis.front.tolist()),
        (*part.decisions, *decisions),
    )  # fmt: skip
    return Found(part.cells, f0, s0, account, known)


def _of_ventricles(
    part: TetrahedralMesh, known: Mapping[str, Values], weights: Values
) -> tuple[list[tuple[str, str, str]], tuple[tuple[str, float], ...]]:
    """Rows of the report, and the volume of each segment (mL)."""
    left = part.regions == part.region_names["lv"]
    numbers = [_volume_row(weights[left], "Left ventricle with septum")]
    if not left.all():
        numbers.append(_volume_row(weights[~left], "Right free wall"))
    free = left & (np.abs(known.get("rotational", np.full(len(left), np.pi))) > INSERTION)
    for name, (low, high) in LAYERS.items():
        layer = free & (known["transmural"] >= low) & (known["transmural"] <= high)
        mean = mean_line_angle(known["fibre_angle"][layer], weights[layer])
        text = f"{mean:+.0f}" if np.isfinite(mean) else "no cells"
        numbers.append((f"Helix angle of the left free wall {name}", text, "degree"))
    shown = [k for k in ("apicobasal", "transmural", "rotational") if k in known]
    numbers += _ranges({name: known[name] for name in shown})
    segments: tuple[tuple[str, float], ...] = ()
    if "aha_segment" in known:
        volume = np.bincount(known["aha_segment"].astype(np.int64), weights, len(NAMES) + 1) / ML
        segments = tuple((f"{k} {name}", float(volume[k])) for k, name in enumerate(NAMES, 1))
    return numbers, segments


def in_atrium(
    first: First, mesh: TetrahedralMesh, borders: Borders, side: str,
    section: LeftAtrium | RightAtrium, degree: int,
) -> Found | None:  # fmt: skip
    """Atrium: fibres and bundles; collective, the result is on rank 0."""
    part = first(lambda: atrium_part(mesh, borders, section, f"[anatomy.{side}_atrium]"))
    domain = _spread(first, part)
    rule, names = _atrial_rule(section)
    f0, s0 = _directions(
        domain, atrial_fibres(domain, cellwise_vectors(domain), rule, degree=degree)
    )
    number = collect(domain, bundles(domain, rule, degree=degree))
    if f0 is None or number is None:
        return None
    weights = _volumes(part.mesh)
    volume = np.bincount(number.astype(np.int64), weights, len(names) + 1) / ML
    parts = tuple((name.replace("_", " "), float(volume[k])) for k, name in enumerate(names, 1))
    account = Account(
        f"{side}_atrium", part.regions, "bundle", ("bundle",), (_volume_row(weights),), parts,
        decisions=part.decisions,
    )  # fmt: skip
    return Found(part.cells, f0, s0, account, {"bundle": number})


def _atrial_rule(section: LeftAtrium | RightAtrium) -> tuple[Atrium, Sequence[str]]:
    levels = {key: value for key, value in section.model_dump().items() if key.startswith("tau_")}
    common: dict[str, Any] = {"appendage": section.appendage, **levels}
    if isinstance(section, LeftAtrium):
        left = LeftRule(left_veins=("left_veins",), right_veins=("right_veins",), **common)
        return left, LEFT_NAMES
    return RightRule(superior="superior", inferior="inferior", **common), RIGHT_NAMES


def in_bone(mesh: TetrahedralMesh, section: Bone, source: Source) -> Found:
    """Bone: directions of its trabeculae; from voxels, so rank 0 does them alone.

    Raises:
        InputError: no scan, or the bone lies outside of it.
    """
    regions = numbers_of(mesh, section.regions, "[anatomy.bone] regions")
    chosen = np.flatnonzero(np.isin(mesh.regions, regions))
    path, series = section.image, section.series
    if path is None:
        path, series = source.image, source.series
    if path is None:
        raise InputError("[anatomy.bone]", "no scan.", "Give the `image` that shows the bone.")
    image = read_image(path, series or None)
    if not isinstance(image, Image):
        raise InputError("[anatomy.bone] image", "several times.", "Give a single image.")
    middles = mesh.points[mesh.cells[chosen]].mean(axis=1)
    near = cropped(image, middles, MARGIN * section.window)
    found = trabecular_directions(near, middles, noise=section.noise, window=section.window)
    part = replace(mesh, cells=mesh.cells[chosen], regions=mesh.regions[chosen])
    weights = _volumes(part)
    quartiles = np.quantile(found.anisotropy, [0.25, 0.5, 0.75])
    share = 100.0 * weights[found.anisotropy > MARKED].sum() / weights.sum()
    numbers = (
        _volume_row(weights),
        ("Anisotropy, quartiles", ", ".join(f"{q:.2f}" for q in quartiles), ""),
        (f"Volume with an anisotropy over {MARKED:g}", f"{share:.0f}", "%"),
    )
    account = Account("bone", tuple(regions.tolist()), "anisotropy", ("anisotropy",), numbers)
    return Found(chosen, found.direction, None, account, {"anisotropy": found.anisotropy})


def _directions(domain: Domain, found: Fibres) -> tuple[Values | None, Values | None]:
    return collect(domain, found.f0), collect(domain, found.s0)


def _middles(mesh: TetrahedralMesh) -> Values:
    return np.asarray(mesh.points[mesh.cells].mean(axis=1))


def _volumes(mesh: TetrahedralMesh) -> Values:
    return signed_volumes(mesh.points, mesh.cells)


def _volume_row(weights: Values, what: str = "Volume") -> tuple[str, str, str]:
    return what, f"{weights.sum() / ML:.3g}", "mL"


def _ranges(fields: Mapping[str, Values]) -> list[tuple[str, str, str]]:
    """Least and largest values of coordinates."""
    unit = {"rotational": "rad"}
    return [
        (
            f"{name.capitalize()} coordinate",
            f"{_zero(v.min()):.2f} to {v.max():.2f}",
            unit.get(name, ""),
        )
        for name, v in fields.items()
    ]


def _zero(value: float) -> float:
    """Without the sign of a zero that rounding left."""
    return round(value, 2) + 0.0


def _mean(values: Values, weights: Values) -> tuple[float, float]:
    """Mean and standard deviation."""
    mean = float(np.average(values, weights=weights))
    return mean, float(np.sqrt(np.average((values - mean) ** 2, weights=weights)))
