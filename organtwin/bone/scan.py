"""Is a CT fit for densities of bone? What its header and its values give away."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.bone.calibration import Calibration
from organtwin.errors import InputError
from organtwin.image.dicom_headers import quiet
from organtwin.image.volume import Image

logger = logging.getLogger(__name__)

type Mask = NDArray[np.bool_]

#: Elements of a header that are read; none of them names a person, a place or a date.
ELEMENTS = (
    "Modality", "KVP", "ConvolutionKernel", "SliceThickness", "SpacingBetweenSlices",
    "ContrastBolusAgent", "RescaleSlope", "RescaleIntercept", "GantryDetectorTilt",
)  # fmt: skip
#: Largest value that exports with few bits have (HU): bone is cut off at the first ones.
CLIPS = (1023, 1024)
#: Largest value of twelve bits with the usual intercept: only metal is cut off.
FULL_SCALE = (3070, 3071, 3072)
#: A cut leaves this many voxels at the largest value, and this many times those below it.
CUT_VOXELS, CUT_RATIO = 10, 4.0
#: No bone is above it (HU); metal is.
METAL = 2200.0
#: A patch of metal that is no noise (mm³).
METAL_VOLUME = 50.0
#: Where fat, muscle and organs lie (HU), and below which share they are missing.
SOFT, FEW = (-200.0, 200.0), 0.02
#: Stored numbers of soft tissue have a larger share, and there is little between them and air.
MANY, BETWEEN = 0.1, (300.0, 700.0)
#: No value of a sound scan lies below the first one, but padding may; without the intercept none
#: lies below the second one, and voxels beyond the field of view below the third (HU).
TWICE, RAW, PADDING = -1600.0, -100.0, -2500.0
#: Slice distances above which a cortex of 1 mm is not seen, and bone is not told apart (mm).
COARSE_SLICES, USELESS_SLICES = 1.5, 5.0
#: Blood without contrast agent is below it (HU).
PLAIN_BLOOD = 80.0
#: Around a bone, from here to there off it (mm); how much denser bone is at least than that (HU),
#: and its outer layer than all of it. Five bones of a scan: 85 to 220 HU and 1.3 to 1.5 times; with
#: the scan mirrored or moved by 6 to 12 mm 5 to 90 HU and 0.6 to 1.1 times.
AROUND, DENSER, SHELL = (3.0, 9.0), 40.0, 1.15
#: Beginnings of names of sharp kernels, by maker; a glance, not a list.
SHARP = ("B6", "B7", "B8", "H6", "H7", "H8", "BR6", "BR7", "BL6", "BONE", "EDGE", "ULTRA", "FC3",
         "FC8", "YB", "YC", "YD", "D", "LUNG")  # fmt: skip
#: Of these the whole name must fit.
SHARP_WHOLE = {"D", "YB", "YC", "YD", "E", "L"}


@dataclass(frozen=True)
class ScanSettings:
    """What the header tells of how a CT was made; None where it does not.

    Attributes:
        kvp: Voltage of the tube (kV).
        kernel: Name of the reconstruction kernel.
        thickness: Of a slice (mm).
        contrast: Whether contrast agent was given.
        tilt: Of the gantry (degrees).
    """

    kvp: float | None = None
    kernel: str | None = None
    thickness: float | None = None
    contrast: bool | None = None
    tilt: float | None = None


def read_settings(path: str | Path) -> ScanSettings:
    """Settings from the first CT file in a DICOM folder, or from one file.

    Raises:
        InputError: no DICOM file of a CT there.
    """
    start = Path(path)
    files = [start] if start.is_file() else sorted(p for p in start.rglob("*") if p.is_file())
    with quiet():
        for file in files:
            try:
                header = pydicom.dcmread(
                    file, stop_before_pixels=True, specific_tags=list(ELEMENTS)
                )
            except Exception:  # no DICOM, or a damaged file: the next may do
                continue
            if header.get("Modality") == "CT":
                return _settings(header)
    raise InputError(
        str(start), f"no DICOM file of a CT among {len(files)}.",
        "Give the folder of the series; a NIfTI or NRRD file has lost these settings.",
    )  # fmt: skip


def _settings(header: Any) -> ScanSettings:
    def number(name: str) -> float | None:
        try:
            value = float(header.get(name))
        except (TypeError, ValueError):
            return None
        return value if np.isfinite(value) else None

    kernel = header.get("ConvolutionKernel")
    words = [kernel] if isinstance(kernel, str) else list(kernel or [])
    agent = header.get("ContrastBolusAgent")
    return ScanSettings(
        kvp=number("KVP"),
        kernel=" ".join(str(word) for word in words) or None,
        thickness=number("SliceThickness"),
        contrast=None if agent is None else str(agent).strip().upper() not in ("", "NONE", "NO"),
        tilt=number("GantryDetectorTilt"),
    )


def check_scan(
    image: Image,
    settings: ScanSettings | None = None,
    calibration: Calibration | None = None,
    *,
    bone: Mask | None = None,
    blood: Mask | None = None,
) -> tuple[str, ...]:
    """Refuse a CT that cannot give densities of bone, and say what makes others doubtful.

    Args:
        image: The CT.
        settings: From its header, if there was one.
        calibration: What will be used, if that is known.
        bone: Voxels of the bones that will be mapped: metal in them is refused, and a scan that
            shows no bone there.
        blood: Voxels of large vessels: their brightness tells contrast agent.

    Returns:
        One sentence for each doubt, with what to do about it; also logged.

    Raises:
        InputError: the values are not HU, were not rescaled or twice, or are cut off below compact
            bone; the slices are too thick; metal lies in the bone, or no bone is there.
    """
    known = settings or ScanSettings()
    refuse_unless_hounsfield(image)
    doubts = [
        *_cut_off(image),
        *_slices(image, known),
        *_metal(image, bone),
        *(_belongs(image, bone) if bone is not None else ()),
        *_exposure(known, calibration),
        *_contrast(image, known, blood),
    ]
    if calibration is None:
        doubts.append(
            "No calibration: use phantom rods (`from_rods`) or tissues (`from_tissues`); default "
            "numbers put ± 40 % on the modulus."
        )
    for doubt in doubts:
        logger.warning("%s", doubt)
    return tuple(doubts)


def refuse_unless_hounsfield(image: Image) -> None:
    """Stop where values are not Hounsfield units on their scale.

    Raises:
        InputError: another quantity; the intercept was left out, or used twice.
    """
    values = np.asarray(image.values)
    if image.quantity != "HU":
        raise InputError(
            "CT", f"the values are `{image.quantity}`, not HU.",
            "Read the CT from its DICOM series, or say quantity=\"HU\" if the file lost it.",
        )  # fmt: skip
    low, high = float(values.min()), float(values.max())
    if low < TWICE and _share(values, SOFT) < FEW:
        raise InputError(
            "CT", f"the values reach down to {low:.0f} and next to none lie where soft tissue does "
            f"({SOFT[0]:g} to {SOFT[1]:g} HU): the intercept was used twice.",
            "Add 1024, or export the series again.",
        )  # fmt: skip
    raw = (SOFT[0] + 1024.0, SOFT[1] + 1024.0)
    if low >= RAW and _share(values, raw) > max(MANY, 3.0 * _share(values, BETWEEN)):
        raise InputError(
            "CT", f"the values go from {low:.0f} to {high:.0f} and soft tissue lies around 1050: "
            "the intercept was left out, they are stored numbers and not HU.",
            "Use rescale slope and intercept of the DICOM header (often 1 and -1024).",
        )  # fmt: skip
    if 0.0 < high - low < 20.0:
        raise InputError(
            "CT", f"the values go from {low:g} to {high:g}.",
            "They are attenuations or scaled numbers; HU of a body span some 2000.",
        )  # fmt: skip


def metal_mask(image: Image) -> Mask:
    """Voxels of metal: patches above what bone can have."""
    bright = np.asarray(image.values) > METAL
    if not bright.any():
        return np.asarray(bright)
    numbers, count = ndimage.label(bright, structure=np.ones((3, 3, 3)))
    sizes = np.bincount(numbers.ravel(), minlength=count + 1) * image.grid.voxel_volume
    sizes[0] = 0.0
    return np.asarray((sizes >= METAL_VOLUME)[numbers])


def _share(values: NDArray[Any], window: tuple[float, float]) -> float:
    """Share of the voxels in the field of view whose values lie in a window."""
    seen = values > PADDING
    inside = np.count_nonzero((values >= window[0]) & (values <= window[1]))
    return inside / max(int(np.count_nonzero(seen)), 1)


def _cut_off(image: Image) -> list[str]:
    values = np.asarray(image.values)
    high = float(values.max())
    at_top = int(np.count_nonzero(values >= high - 0.5))
    below = int(np.count_nonzero((values >= high - 50.5) & (values < high - 0.5))) / 50.0
    if at_top < CUT_VOXELS or at_top < CUT_RATIO * max(below, 1.0):
        return []
    if round(high) in FULL_SCALE or high > METAL:
        return [
            (
                f"{at_top} voxels are cut off at {high:.0f} HU: metal is brighter than the file "
                "can say. Bone is not concerned, but streaks around the metal change its values."
            )
        ]
    where = "" if round(high) not in CLIPS else ", as exports with 11 bits do"
    raise InputError(
        "CT", f"{at_top} voxels have the largest value, {high:.0f} HU: it is cut off there{where}.",
        "Compact bone reaches 2000 HU and would be too soft. Export the series again with 12 bits, "
        "without a window.",
    )  # fmt: skip


def _slices(image: Image, settings: ScanSettings) -> list[str]:
    coarse = max(float(image.grid.spacing.max()), settings.thickness or 0.0)
    if coarse > USELESS_SLICES:
        raise InputError(
            "CT", f"slices or voxels of {coarse:.1f} mm blur bone with what is around it.",
            f"Take a series of {COARSE_SLICES:g} mm or finer.",
        )  # fmt: skip
    doubts = []
    if coarse > COARSE_SLICES:
        doubts.append(
            f"Voxels of {coarse:.1f} mm do not show a cortex: it comes out thick and soft. Take a "
            f"finer series, or find its thickness by `cortex.fit_cortex`."
        )
    if settings.tilt:
        doubts.append(
            f"The gantry was tilted by {settings.tilt:g} degrees: resample to upright slices."
        )
    return doubts


def _metal(image: Image, bone: Mask | None) -> list[str]:
    metal = metal_mask(image)
    if not metal.any():
        return []
    volume = float(metal.sum()) * image.grid.voxel_volume / 1000.0
    middle = image.grid.points(np.argwhere(metal).mean(axis=0)).round().tolist()
    if bone is not None and (metal & bone).any():
        raise InputError(
            "CT", f"metal ({volume:.1f} mL around {middle} mm) lies in the bone: values there and "
            "around it are not those of bone.",
            "Take the other side or another scan, or leave the metal and 10 mm around it out of "
            "the mask.",
        )  # fmt: skip
    return [
        (
            f"Metal of {volume:.1f} mL around {middle} mm: keep the bones that are mapped clear of "
            "its streaks."
        )
    ]


def _belongs(image: Image, bone: Mask) -> list[str]:
    """Whether labels and scan show the same bone in the same place.

    A bone is denser than what lies around it, and its outer layer, the cortex, denser than all of
    it. What is marked in a scan that is mirrored, or of another position, is neither.
    """
    remedy = (
        "Look at both in one viewer: one may be mirrored (left and right swapped), moved, or of "
        "another patient."
    )
    if not bone.any():
        raise InputError("labels", "the bone that they show lies outside of the CT.", remedy)
    room = int(np.ceil(AROUND[1] / image.grid.spacing.min())) + 1
    box = tuple(
        slice(max(int(at.min()) - room, 0), int(at.max()) + room + 1) for at in np.nonzero(bone)
    )
    inside, values = bone[box], np.minimum(np.asarray(image.values)[box], METAL)
    off = ndimage.distance_transform_edt(~inside, sampling=image.grid.spacing)
    around = (off > AROUND[0]) & (off <= AROUND[1]) & (values > PADDING)
    edge = inside & ~ndimage.binary_erosion(inside)
    within, shell = float(values[inside].mean()), float(values[edge].mean())
    beside = float(values[around].mean()) if around.any() else -np.inf
    if within - beside < DENSER:
        raise InputError(
            "CT and labels", f"where the bone is marked the CT has {within:.0f} HU on average, and "
            f"{beside:.0f} HU around it: that is no bone.", remedy,
        )  # fmt: skip
    if shell < SHELL * within:
        return [
            (
                f"The outer layer of the marked bone ({shell:.0f} HU) is hardly denser than all of "
                f"it ({within:.0f} HU): labels are too large, or not of this place. {remedy}"
            )
        ]
    return []


def _exposure(settings: ScanSettings, calibration: Calibration | None) -> list[str]:
    doubts = []
    kvp = settings.kvp
    by_tissues = calibration is not None and calibration.kind == "references"
    if kvp is not None and abs(kvp - 120.0) > 5.0 and by_tissues:
        doubts.append(
            f"The scan has {kvp:g} kVp, the densities of tissues hold for 120 kVp: bone may be "
            "wrong by 10 %. Give densities found at this voltage, or use rods."
        )
    kernel = (settings.kernel or "").upper()
    first = kernel.split()[0] if kernel else ""
    if first and (
        first in SHARP_WHOLE
        or any(first.startswith(name) for name in SHARP if name not in SHARP_WHOLE)
    ):
        doubts.append(
            f"Kernel `{settings.kernel}` sharpens edges: the cortex overshoots and noise is high. "
            "Take a standard kernel, or calibrate rods scanned with this one."
        )
    return doubts


def _contrast(image: Image, settings: ScanSettings, blood: Mask | None) -> list[str]:
    remedy = (
        "Marrow takes it up and trabecular density comes out too high; take the series before the "
        "contrast, and do not calibrate by muscle or blood."
    )
    if blood is not None and blood.any():
        level = float(np.median(np.asarray(image.values)[blood]))
        if level > PLAIN_BLOOD:
            return [f"Blood at {level:.0f} HU holds contrast agent. {remedy}"]
    if settings.contrast:
        return [f"The header tells of contrast agent. {remedy}"]
    return []
