"""A script beside the fields that shows in ParaView what matters of them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from organtwin.errors import InputError
from organtwin.export.atomic import write_text
from organtwin.export.dressed import SAMPLED, frame_of, limits
from organtwin.export.quantities import quantity, shown_value
from organtwin.export.result import Part, Result, open_result

logger = logging.getLogger(__name__)

#: ParaView's preset nearest to a colour map of ours.
_PRESETS = {
    "viridis": "Viridis (matplotlib)", "plasma": "Plasma (matplotlib)",
    "plasma_r": "Plasma (matplotlib)", "magma": "Magma (matplotlib)",
    "cividis": "Cividis", "RdBu_r": "Cool to Warm", "tension": "Magma (matplotlib)",
}  # fmt: skip
_SCRIPT = '''"""What matters of these fields, in ParaView 5.11 or later.

Run it by `pvpython show.py picture.png`, or in ParaView by Tools, Python Shell, Run Script.
"""

import os
import sys

from paraview.simple import *

here = os.path.dirname(os.path.abspath(__file__ if "__file__" in globals() else {directory!r}))
view = GetActiveViewOrCreate("RenderView")
view.UseColorPaletteForBackground = 0
view.Background = [1.0, 1.0, 1.0]
view.OrientationAxesLabelColor = [0.0, 0.0, 0.0]
shown = PVDReader(FileName=os.path.join(here, {file!r}))
view.ViewTime = {time!r}
if {moves!r}:
    shown = WarpByVector(Input=shown)
    shown.Vectors = ["POINTS", "displacement"]
display = Show(shown, view)
ColorBy(display, ({association!r}, {field!r}))
table = GetColorTransferFunction({field!r})
table.ApplyPreset({preset!r}, True)
if {inverted!r}:
    table.InvertTransferFunction()
table.RescaleTransferFunction({low!r}, {high!r})
display.SetScalarBarVisibility(view, True)
bar = GetScalarBar(table, view)
bar.Title, bar.ComponentTitle = {title!r}, ""
bar.TitleColor = bar.LabelColor = [0.0, 0.0, 0.0]
bar.TitleFontSize, bar.LabelFontSize = 18, 16
bar.RangeLabelFormat = bar.LabelFormat = "%-#.3g"
bar.WindowLocation = "Any Location"
bar.Position, bar.ScalarBarLength = [0.84, 0.06], 0.35
if {lines!r}:
    display.Opacity = 0.4
for name in {lines!r}:
    frame = Tube(Input=PVDReader(FileName=os.path.join(here, name)))
    frame.Radius = 0.2
    struts = Show(frame, view)
    ColorBy(struts, None)
    struts.DiffuseColor = [0.2, 0.25, 0.3]
view.CameraPosition, view.CameraFocalPoint, view.CameraViewUp = {camera!r}
view.CameraParallelProjection = 1
ResetCamera(view)
view.CameraParallelScale *= 0.75
Render(view)
if len(sys.argv) > 1 and sys.argv[1].endswith(".png"):
    view.ViewSize = [1200, 900]
    SaveScreenshot(sys.argv[1], view, ImageResolution=[1200, 900])
'''


def script_for_paraview(directory: Path, moment: str = "") -> Path | None:
    """Write ``fields/show.py`` of a result directory; None if there are no fields in it.

    Args:
        directory: Result directory.
        moment: Name of the time that is shown; the script's own choice if it is unknown.
    """
    try:
        return write_macro(open_result(directory), moment)
    except (InputError, OSError) as error:
        logger.info("no script for ParaView: %s", error)
        return None


def write_macro(result: Result, moment: str = "") -> Path | None:
    """Write ``fields/show.py``; None if there are no fields over time.

    Args:
        result: A result with ``fields/*.pvd``.
        moment: Name of the time that is shown: else the last of those that have names, or of
            those that have none the one at which the field differs most from place to place.
    """
    part = result.parts[0]
    file = result.directory / "fields" / f"{part.name}.pvd"
    if not file.is_file() or not part.fields:
        return None
    field = part.fields[0]
    known, frame = quantity(field), frame_of(result)
    low, high = limits(part, field)
    step = len(part.times) - 1 if part.moments else _telling(part, field)
    step = part.moments.index(moment) if moment in part.moments else step
    eye = frame.centre + 6.0 * frame.size * frame.axes[2]
    text = _SCRIPT.format(
        directory="fields/show.py", file=file.name, time=float(part.times[step]),
        moves=part.moves, field=field, low=low, high=high, title=known.title,
        association="CELLS" if part.is_by_cell(field) else "POINTS",
        preset=_PRESETS.get(known.colours, "Viridis (matplotlib)"),
        inverted=known.colours in ("plasma_r", "tension"),
        lines=[f"{line.name}.pvd" for line in result.lines],
        camera=(eye.tolist(), frame.centre.tolist(), frame.axes[1].tolist()),
    )  # fmt: skip
    write_text(file.parent / "show.py", text)
    return file.parent / "show.py"


def _telling(part: Part, field: str) -> int:
    """Number of the time, among some, at which a field differs most from place to place."""
    chosen = np.unique(np.linspace(0, len(part.times) - 1, SAMPLED).round().astype(int))
    spread = [np.ptp(np.quantile(shown_value(part.values(int(i), field)), (0.1, 0.9)))
              for i in chosen]  # fmt: skip
    return int(chosen[int(np.argmax(spread))])
