"""Inflate both ventricles of a patient: from the image to a pressure–volume curve.

    python demos/inflate_ventricle/inflate_ventricle.py
    mpirun -n 2 python demos/inflate_ventricle/inflate_ventricle.py

Blood fills the relaxed heart of a segmented CT to the pressures at the end of diastole, 8 mmHg on
the left and 4 mmHg on the right. The wall is incompressible and stiffens the more it is stretched
(Holzapfel & Ogden 2009); springs stand for the pericardium and for what the cut base is attached
to. The image is taken as free of load: what that leaves out is told in docs/decisions.

What you will learn: the program from label map to equilibrium, parts 1 to 3, has twenty lines.
Try next: `law = HolzapfelOgden.cardiomechanics()`, a finer `SIZE`, or `formulation=P2_P0`.
"""

import organtwin  # noqa: F401 - brings its libraries in the right order

# isort: split
from pathlib import Path

import matplotlib as mpl
import numpy as np
import ufl
from dolfinx import fem
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from mpi4py import MPI

from organtwin.anatomy.fibres import FibreAngles, fibres
from organtwin.export.fields import FieldWriter
from organtwin.export.plates import colour_bar, panels, save
from organtwin.export.scene import boundary, open_towards, render, smooth, stance
from organtwin.export.series import read_series
from organtwin.image.labels import biventricular
from organtwin.image.readers import read_labels
from organtwin.materials.active import fibre_stretch
from organtwin.materials.holzapfel_ogden import HolzapfelOgden
from organtwin.materials.kinematics import Directions
from organtwin.mechanics.cavity import Cavity
from organtwin.mechanics.problem import Mechanics
from organtwin.mechanics.terms import Incompressibility, PassiveStress, Spring
from organtwin.mesh.domain import cellwise_vectors, read_domain, region_field
from organtwin.mesh.tetrahedra import tetrahedralise
from organtwin.parallel import on_root
from organtwin.solve.steward import follow
from organtwin.units import ML, MMHG

HERE, OUT, SIZE = Path(__file__).parent, Path("results/inflate_ventricle"), 7.0  # mm
LABELS = {
    "lv_myocardium": 1, "left_atrium": 2, "lv_blood": 3, "right_atrium": 4,
    "rv_blood": 5, "aorta": 6, "pulmonary_artery": 7,
}  # fmt: skip
PRESSURES = np.array([8.0, 4.0]) * MMHG  # left and right, kPa
comm = MPI.COMM_WORLD


# 1. Image to mesh.
def mesh() -> None:
    """On one rank."""
    OUT.mkdir(parents=True, exist_ok=True)
    labels = read_labels(HERE / "../../meshes/wholeheart/wh.nii.gz", LABELS)
    tetrahedralise(biventricular(labels, rv_wall_thickness=3.0), size=SIZE, path=OUT / "heart.msh")


on_root(comm, mesh)
heart = read_domain(OUT / "heart.msh", comm)

# 2. Fibres, and what the walls are made of and held by.
found = fibres(heart, FibreAngles(), cellwise_vectors(heart))
directions = Directions(found.f0, found.s0, found.n0)
law = HolzapfelOgden.holzapfel_ogden_2009()
terms = [
    PassiveStress(law, directions), Incompressibility(),
    Spring(("epi",), 0.1, normal_only=True), Spring(("base",), 0.1),
]  # fmt: skip
cavities = [Cavity("lv", "lv_endo", "base"), Cavity("rv", "rv_endo", "base")]
problem = Mechanics(heart, terms, cavities=cavities)


# 3. Inflation: the steward raises the pressures, each accepted step adds a point to the curve.
def apply(factor: float) -> None:
    """Set the pressures (kPa)."""
    problem.pressures[:] = factor * PRESSURES


curve = [np.append(0.0, problem.volumes() / ML)]
path = follow(
    problem, apply, first=0.05, largest=0.1,
    on_accept=lambda factor: curve.append(np.append(factor, problem.volumes() / ML)),
)  # fmt: skip
path.require()

# 4. What came of it: volumes, and the stretch of the fibres.
factors, left, right = np.array(curve).T
F = ufl.Identity(3) + ufl.grad(problem.u)
cells = fem.functionspace(heart.mesh, ("DG", 0))
stretch = fem.Function(cells, name="fibre_stretch")
points = cells.element.interpolation_points
stretch.interpolate(fem.Expression(fibre_stretch(F, directions.f0), points))
u = fem.Function(fem.functionspace(heart.mesh, ("P", 1, (3,))), name="u")
u.interpolate(problem.u)
FieldWriter(OUT, "inflated", heart.mesh).write(
    0.0, {"u": u, "fibre_stretch": stretch, "region": region_field(heart)}
)
tissue = heart.volume()
J = comm.allreduce(fem.assemble_scalar(fem.form(ufl.det(F) * heart.dx())), op=MPI.SUM)
if comm.rank == 0:
    print(f"{path.steps} load steps, {path.retries} refused, {path.iterations} iterations")
    print(f"left ventricle {left[0]:.1f} -> {left[-1]:.1f} mL at 8 mmHg")
    print(f"right ventricle {right[0]:.1f} -> {right[-1]:.1f} mL at 4 mmHg")
    print(f"tissue: volume changed by {100 * (J / tissue - 1):.3f} %")


# 5. Picture.
def picture() -> None:
    """The heart before and after, cut open, and the pressure–volume curves; on one rank."""
    series = read_series(OUT / "inflated.pvd")
    grid, region = series.mesh, series.at_cells(0, "region")
    view = stance(grid, np.where(region == heart.regions["rv"], 2, 1))
    colours, norm = mpl.colormaps["viridis"], Normalize(0.9, 1.2)
    images = []
    for share in (0.0, 1.0):
        shape = grid.copy()
        shape.points = grid.points + share * series.at_points(0, "u")
        shape.cell_data["stretch"] = 1 + share * (series.at_cells(0, "fibre_stretch") - 1)
        half = smooth(boundary(open_towards(shape, view, view.front)), 35.0)
        look = {"scalars": "stretch", "cmap": colours, "clim": (norm.vmin, norm.vmax)}
        images.append(render([(half, look)], view))
    figure, axes = panels(images, ["Free of load", "End of diastole"])
    colour_bar(figure, axes, colours, norm, "Fibre stretch")
    save(figure, OUT / "inflate_ventricle.png")
    figure = Figure(figsize=(5.0, 3.6), layout="constrained")
    ax = figure.add_subplot()
    for volumes, pressure, name in ((left, 8.0, "left"), (right, 4.0, "right")):
        ax.plot(volumes, factors * pressure, "o-", markersize=3, label=f"{name} ventricle")
    ax.set(xlabel="Volume (mL)", ylabel="Pressure (mmHg)")
    ax.legend()
    save(figure, OUT / "pressure_volume.png")


on_root(comm, picture)

# 6. Check: the ventricles fill, ever more stiffly, and the tissue keeps its volume.
assert left[-1] > 1.1 * left[0]
assert right[-1] > 1.1 * right[0]
stiffness = np.diff(factors) / np.diff(left)
assert stiffness[-1] > 2 * stiffness.min()
assert abs(J / tissue - 1) < 1e-3
