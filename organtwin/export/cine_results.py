"""A segmented cine as files: a surface for each phase, the volume curve, the figures."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from organtwin.export.volume_curve import volume_curve
from organtwin.mesh.surface_files import write_surface
from organtwin.segment.cine import Cine
from organtwin.segment.cine_quality import VolumeErrors


def write_beat(cine: Cine, errors: VolumeErrors | None, stem: Path) -> dict[str, Any]:
    """Write the surfaces of all phases and the volume curve; what the report says of the beat.

    Args:
        cine: Segmented beat.
        errors: Comparison with a reference.
        stem: The labels' path without its suffix: ``heart`` gives ``heart-surfaces/`` and
            ``heart-volume.png``.
    """
    folder, picture = (stem.with_name(stem.name + end) for end in ("-surfaces", "-volume.png"))
    files = _write_surfaces(cine, folder)
    reference = None if errors is None else (errors.times, errors.volumes)
    volume_curve(cine.times, cine.volumes, picture, cycle=cine.cycle, reference=reference)
    return {
        "times_ms": cine.times.tolist(),
        "volumes_ml": cine.volumes.tolist(),
        "cycle_ms": cine.cycle,
        "end_diastole": _phase(cine, cine.end_diastole),
        "end_systole": _phase(cine, cine.end_systole),
        "ejection_fraction": cine.ejection_fraction,
        "confidence": cine.confidence,
        "surfaces": [f"{folder.name}/{file.name}" for file in files],
        "picture": picture.name,
        "reference": None if errors is None else errors.record(),
    }


def _phase(cine: Cine, phase: int) -> dict[str, float]:
    return {
        "phase": phase,
        "time_ms": float(cine.times[phase]),
        "volume_ml": float(cine.volumes[phase]),
    }


def _write_surfaces(cine: Cine, folder: Path) -> list[Path]:
    """One file per phase; those of an earlier run with more phases are gone."""
    if folder.is_dir() and all(file.match("phase-*.vtp") for file in folder.iterdir()):
        shutil.rmtree(folder)
    files = [folder / f"phase-{k:02d}.vtp" for k in range(len(cine.surfaces))]
    for surface, file in zip(cine.surfaces, files, strict=True):
        write_surface(surface, file)
    return files
