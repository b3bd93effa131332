"""A beating heart from a segmented CT, stage by stage.

The same stages as ``organtwin run demos/heartbeat/case.toml``, on a coarse mesh, as a script:

    python demos/heartbeat/heartbeat.py
    mpirun -n 2 python demos/heartbeat/heartbeat.py

What you will learn: how an image becomes a mesh with named surfaces, how fibres, cells, tissue and
circulation are put together, and how one loop moves them all. Equations and sources stand in the
docstrings of what is used here.
"""

import organtwin  # noqa: F401, I001 - brings its libraries in the right order

from pathlib import Path

import numpy as np
from dolfinx import fem
from mpi4py import MPI

from organtwin.anatomy.coordinates import coordinates
from organtwin.anatomy.fibres import FibreAngles, fibres
from organtwin.anatomy.landmarks import activation_sites
from organtwin.cells.kernel import compile_kernel
from organtwin.cells.model import CellModel
from organtwin.cells.pacing import pace
from organtwin.cells.population import Cells
from organtwin.circulation.limit_cycle import limit_cycle
from organtwin.circulation.network import ClosedLoop
from organtwin.coupling.electromechanics import Electromechanics
from organtwin.coupling.measures import HeartScalars
from organtwin.coupling.transfer import quadrature_space
from organtwin.coupling.ventricles import Myocardium, contracting_ventricles
from organtwin.electrophysiology.conductivity import Conductivity, conductivity_tensor
from organtwin.electrophysiology.monodomain import monodomain
from organtwin.electrophysiology.reaction_diffusion import COARSE, local_nodes
from organtwin.electrophysiology.stimulus import Balls, Stimulus
from organtwin.image.labels import biventricular
from organtwin.image.readers import read_labels
from organtwin.materials.kinematics import Directions
from organtwin.mesh.domain import cellwise_vectors, read_domain, refine
from organtwin.mesh.tetrahedra import tetrahedralise
from organtwin.parallel import on_root
from organtwin.run.observers import Table
from organtwin.run.simulate import simulate

HERE = Path(__file__).parent
OUT = Path("results/heartbeat_script")
PERIOD = 800.0  # ms
comm = MPI.COMM_WORLD

# 1. Image and geometry: the label map becomes two ventricles below a flat base.
LABELS = {
    "lv_myocardium": 1, "left_atrium": 2, "lv_blood": 3, "right_atrium": 4,
    "rv_blood": 5, "aorta": 6, "pulmonary_artery": 7,
}  # fmt: skip


def mesh() -> None:
    """Image to mesh, on one rank."""
    OUT.mkdir(parents=True, exist_ok=True)
    labels = read_labels(HERE / "../../meshes/wholeheart/wh.nii.gz", LABELS)
    tetrahedralise(biventricular(labels, rv_wall_thickness=3.0), size=8.0, path=OUT / "heart.msh")


# 2. Mesh: every rank gets its part; the electrical mesh halves each edge of the mechanical one.
on_root(comm, mesh)
domain = read_domain(OUT / "heart.msh", comm)
refinement = refine(domain)
fine = refinement.fine

# 3. Fibres by rule: where the mechanics integrates, and in the cells of the electrical mesh.
at = coordinates(domain, degree=2)
angles = FibreAngles(alpha_endo=60.0, alpha_epi=-60.0, beta_endo=-65.0, beta_epi=25.0)
in_points = fibres(domain, angles, quadrature_space(domain.mesh, 4, (3,)), degree=2, at=at)
in_cells = fibres(fine, angles, cellwise_vectors(fine))

# 4. Electrophysiology: a paced cell at each node, early sites on the endocardia.
kernel = compile_kernel(CellModel.load("ten_tusscher_2006_endo"), comm)
cell = pace(kernel, cycle_length=PERIOD, beats=10)
sigma = Conductivity(fibre=0.44, sheet=0.23, normal=0.23, endocardial_layer=2.0)  # mS/mm
tensor = conductivity_tensor(
    fine, sigma, in_cells.f0, in_cells.s0, in_cells.n0, endocardium=("lv_endo", "rv_endo")
)
sites = activation_sites(domain, at, ["lv_septal", "lv_anterior", "lv_posterior", "rv_lateral"])
V = fem.functionspace(fine.mesh, ("P", 1))
cells = Cells.uniform(kernel, cell.states, cell.v, local_nodes(V))
stimulus = Stimulus(Balls(sites, radius=8.0), period=PERIOD)
ep = monodomain(V, cells, tensor, [stimulus], scheme=COARSE)

# 5. Mechanics and circulation: tissue, muscle, cavities, a closed loop around them.
directions = Directions(in_points.f0, in_points.s0, in_points.n0)
mechanics, muscle, _ = contracting_ventricles(domain, directions, Myocardium.human())
loop = ClosedLoop.regazzoni_2022(PERIOD)
settled = limit_cycle(loop, loop.filled(loop.rest(), -200_000.0)).state  # mm³
heart = Electromechanics(ep, mechanics, muscle, loop, settled, refinement=refinement)

# 6. Fill to end-diastole, then one beat.
pressures = loop.pressures(settled, 0.0)
heart.fill(np.array([pressures["lv"], pressures["rv"]]))
heart.fit_loop(settled)
table = Table(comm, OUT / "scalars.csv", HeartScalars(heart))
simulate(heart, t_end=PERIOD, dt=2.0, observers=[table])
table.close()

# 7. Check: a normal left ventricle ejects about half of its blood, and none of it is lost.
if comm.rank == 0:
    beat = np.genfromtxt(OUT / "scalars.csv", delimiter=",", names=True, deletechars="")
    volume, pressure = beat["V_lv_[mL]"], beat["p_lv_[mmHg]"]
    print(f"LV ejection fraction {100 * (1 - volume.min() / volume[0]):.0f} %")
    print(f"LV peak pressure {pressure.max():.0f} mmHg")
    assert 0.45 < 1 - volume.min() / volume[0] < 0.70
    assert 90 < pressure.max() < 150
