"""Segmentations with names of whatever program: 3D Slicer, DICOM-SEG or TotalSegmentator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from organtwin.image.segmentation import Choice, Segmentation
from organtwin.image.slicer import read_slicer
from organtwin.image.totalsegmentator import read_totalsegmentator
from organtwin.image.volume import Grid


def read_segmentation(
    path: str | Path,
    names: Choice = None,
    *,
    priority: Sequence[str] = (),
    grid: Grid | None = None,
) -> Segmentation:
    """Read a segmentation that knows the names of its labels.

    A folder or a NIfTI file is TotalSegmentator's, a ``.nrrd`` file 3D Slicer's; any other file
    has to be a DICOM-SEG. Names are found whatever their capitals, spaces, hyphens and underscores.

    Args:
        path: Folder or file.
        names: Segments to take, or organtwin's name → name in the file; all if None.
        priority: Names in the file (or organtwin's); where segments overlap the one listed first
            wins, and a listed one wins against one that isn't. Other overlaps are refused.
        grid: Where to sample the labels (nearest voxel); what lies outside is cut off. Without it
            the labels stay on the voxels of the file.

    Raises:
        InputError: the file can't be used, a name is not in it, segments overlap, or all is empty.
    """
    place = Path(path)
    if place.is_dir() or place.name.endswith((".nii", ".nii.gz")):
        return read_totalsegmentator(place, names, priority=priority, grid=grid)
    if place.name.endswith((".nrrd", ".nhdr")):
        return read_slicer(place, names, priority=priority, grid=grid)
    from organtwin.image.dicom_segmentation import read_dicom_segmentation  # takes a second

    return read_dicom_segmentation(place, names, priority=priority, grid=grid)
