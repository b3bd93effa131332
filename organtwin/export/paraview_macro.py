"""A script beside the fields that shows in ParaView what matters of them."""

from __future__ import annotations

from pathlib import Path

from organtwin.export.atomic import write_text
from organtwin.export.dressed import frame_of, limits
from organtwin.export.quantities import quantity
from organtwin.export.result import Result

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
for name in {lines!r}:
    frame = Tube(Input=PVDReader(FileName=os.path.join(here, name)))
    frame.Radius = 0.2
    Show(frame, view)
view.CameraPosition, view.CameraFocalPoint, view.CameraViewUp = {camera!r}
view.CameraParallelProjection = 1
ResetCamera(view)
Render(view)
if len(sys.argv) > 1 and sys.argv[1].endswith(".png"):
    SaveScreenshot(sys.argv[1], view, ImageResolution=[1200, 900])
'''


def write_macro(result: Result) -> Path | None:
    """Write ``fields/show.py``; None if there are no fields over time.

    Args:
        result: A result with ``fields/*.pvd``.
    """
    part = result.parts[0]
    file = result.directory / "fields" / f"{part.name}.pvd"
    if not file.is_file() or not part.fields:
        return None
    field = part.fields[0]
    known, frame = quantity(field), frame_of(result)
    low, high = limits(part, field)
    step = len(part.times) - 1 if part.moments else len(part.times) // 4
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
