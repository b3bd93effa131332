"""organtwin: finite-element organ models from medical images, on DOLFINx."""

import contextlib
import os

# One thread per MPI rank: ranks are the parallelism, threads below them only fight for cores.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

# h5py after dolfinx.fem.petsc meets a foreign HDF5 ("Not a datatype"); before it all is well.
import h5py  # noqa: E402, F401

# The wheel loads its libraries here; conda-forge's DOLFINx needs nothing and has no such module.
with contextlib.suppress(ImportError):
    import dolfinx_solver  # noqa: F401

__version__ = "0.1.0"
