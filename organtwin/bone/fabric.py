"""Direction of trabeculae from the gradients of a CT, and orthotropic stiffness by it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dolfinx import fem
from numpy.typing import NDArray
from scipy import ndimage

from organtwin.bone.integration import trilinear
from organtwin.bone.mapping import window_of
from organtwin.errors import InputError
from organtwin.image.volume import Image
from organtwin.materials.bone import OrthotropicBone
from organtwin.materials.kinematics import Directions
from organtwin.mesh.domain import Domain

type Array = NDArray[np.float64]

#: Largest ratio of eigenvalues of a fabric, our choice: trabecular bone has 1.2 to 2.5, and what
#: voxels of half a millimetre show beyond it is the border of the bone.
MOST_ANISOTROPIC = 2.0
#: Exponent of the fabric in the moduli, our choice; Zysset and Curnier fit it to measurements.
EXPONENT = 1.0
#: Poisson's ratio across a direction of isotropic bone; our choice.
POISSON = 0.3
#: Six components of a symmetric tensor.
PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


@dataclass(frozen=True)
class Fabric:
    """Orientation of bone at some places.

    Attributes:
        values: Eigenvalues m₁ ≥ m₂ ≥ m₃ of the fabric, their sum 3, (n, 3).
        axes: Unit eigenvectors in this order, right-handed, as columns, (n, 3, 3): the first runs
            along the trabeculae.
    """

    values: Array
    axes: Array

    @property
    def anisotropy(self) -> Array:
        """Degree of anisotropy m₁/m₃, (n,); 1 is isotropic."""
        return np.asarray(self.values[:, 0] / self.values[:, 2])


def fabric_at(
    image: Image,
    points: Array,
    *,
    window: float = 3.0,
    noise: float = 0.0,
    most: float = MOST_ANISOTROPIC,
) -> Fabric:
    """Fabric from the structure tensor of an image.

        T = G_w * (∇g ∇gᵀ) + ε I,     M = 3 T^(−½) / tr T^(−½)

    with g the image after Gaussian smoothing by one voxel and G_w a Gaussian window. Values change
    least along trabeculae, so T is smallest and M largest there. At voxels of 0.3 mm and less this
    is the architecture; at clinical ones it is the large-scale pattern: along the cortex, along
    bundles that are seen as such, and little else. Ours; for the structure tensor see Bigün and
    Granlund (1987), Proc. ICCV, 433 (recalled).

    Args:
        image: The CT.
        points: Places (mm, LPS), (n, 3).
        window: Standard deviation of the window (mm); three trabecular spacings or more.
        noise: Standard deviation of the noise (HU): ε = (noise / window)², which lets T be
            isotropic where there is nothing but noise.
        most: Largest degree of anisotropy that is let through.

    Raises:
        InputError: a window narrower than the voxels.
    """
    spacing = image.grid.spacing
    if not window >= spacing.max():
        raise InputError(
            "fabric", f"a window of {window:g} mm for voxels of {spacing.max():g} mm.",
            "Take at least two voxels; 3 mm for clinical CT.",
        )  # fmt: skip
    values = np.asarray(image.values, dtype=np.float64)
    slopes = []
    for axis in range(3):
        order = [1 if axis == k else 0 for k in range(3)]
        slopes.append(ndimage.gaussian_filter(values, 1.0, order=order) / spacing[axis])
    index = image.grid.index(np.asarray(points, dtype=np.float64).reshape(-1, 3))
    sigma = (window / spacing).tolist()
    tensor = np.empty((len(index), 3, 3))
    for i, j in PAIRS:
        smooth = ndimage.gaussian_filter(slopes[i] * slopes[j], sigma)
        tensor[:, i, j] = tensor[:, j, i] = trilinear(smooth, index)
    turn = image.grid.direction
    tensor = turn @ tensor @ turn.T
    return of_structure(tensor, (noise / window) ** 2, most)


def of_structure(tensor: Array, least: float, most: float = MOST_ANISOTROPIC) -> Fabric:
    """Fabric of structure tensors, (n, 3, 3); ``least`` is added to their diagonal."""
    trace = np.einsum("naa->n", tensor)
    floor = least + 1e-6 * np.maximum(trace, 1e-12)
    energies, axes = np.linalg.eigh(tensor + floor[:, None, None] * np.eye(3))
    m = 1.0 / np.sqrt(np.maximum(energies, 1e-300))
    m = np.maximum(m, m[:, :1] / most)
    m *= 3.0 / m.sum(axis=1, keepdims=True)
    # The sign of an eigenvector means nothing; the same one on all ranks.
    largest = np.abs(axes).argmax(axis=1)
    sign = np.sign(np.take_along_axis(axes, largest[:, None, :], axis=1))
    axes = axes * np.where(sign == 0.0, 1.0, sign)
    axes[:, :, 2] = np.cross(axes[:, :, 0], axes[:, :, 1])
    return Fabric(m, axes)


def nine_constants(
    modulus: Array, fabric: Fabric, *, poisson: float = POISSON, exponent: float = EXPONENT
) -> dict[str, Array]:
    """Constants of `materials.bone.OrthotropicBone` for a modulus and a fabric, (n,) each.

        E_i = E m_i^{2l},   G_ij = E m_i^l m_j^l / (2(1 + ν)),   ν_ij = ν m_i^l / m_j^l

    The form of Zysset and Curnier (1995), Mech. Mater. 21:243 (read in public code that cites it):
    stiffness scaled by m_i^l m_j^l in the frame of the fabric, with E taken from the density. It is
    positive definite whenever the isotropic law is, and isotropic with E for m = (1, 1, 1).

    Args:
        modulus: E (kPa), (n,).
        fabric: Of the same places.
        poisson: ν of the isotropic bone.
        exponent: l; 1 gives E_f : E_n as the square of the degree of anisotropy.

    Raises:
        InputError: a Poisson ratio outside −1 to 0.5.
    """
    if not -1.0 < poisson < 0.5:
        raise InputError("poisson", f"{poisson:g}.", "Bone has 0.2 to 0.4.")
    m = fabric.values**exponent
    names = ("f", "s", "n")
    constants = {f"E_{a}": modulus * m[:, i] ** 2 for i, a in enumerate(names)}
    for i, j in ((0, 1), (0, 2), (1, 2)):
        pair = names[i] + names[j]
        constants[f"G_{pair}"] = modulus * m[:, i] * m[:, j] / (2.0 * (1.0 + poisson))
        constants[f"nu_{pair}"] = poisson * m[:, i] / m[:, j]
    return constants


def orthotropic_bone(
    domain: Domain,
    image: Image | None,
    modulus: fem.Function,
    *,
    window: float = 3.0,
    noise: float = 0.0,
    poisson: float = POISSON,
    exponent: float = EXPONENT,
) -> tuple[OrthotropicBone, Directions]:
    """Law and directions of a mapped mesh, constant in cells; collective.

    Args:
        domain: Tetrahedra or hexahedra.
        image: The CT (HU) on rank 0; not looked at elsewhere.
        modulus: Of `mapping.map_bone`, one value per cell (kPa).
        window: See `fabric_at`.
        noise: See `fabric_at`.
        poisson: See `nine_constants`.
        exponent: See `nine_constants`.

    Raises:
        InputError: a smooth modulus, or see `fabric_at`.
    """
    space = modulus.function_space
    element = space.ufl_element()
    if element.degree != 0:
        raise InputError(
            "orthotropic_bone", "the modulus is no field of one value per cell.",
            "Map with smooth=False.",
        )  # fmt: skip
    cells = domain.mesh.topology.index_map(3)
    own = cells.size_local
    nodes = np.asarray(domain.mesh.geometry.dofmaps[0])[:own]
    middles = np.asarray(domain.mesh.geometry.x)[nodes].mean(axis=1)
    room = 6.0 * window
    found = fabric_at(
        window_of(domain.comm, image, middles, room), middles, window=window, noise=noise
    )
    constants = nine_constants(
        np.asarray(modulus.x.array[:own]), found, poisson=poisson, exponent=exponent
    )
    fields = {}
    for name, values in constants.items():
        field = fem.Function(space, name=name)
        field.x.array[:own] = values
        field.x.scatter_forward()
        fields[name] = field
    vectors = fem.functionspace(domain.mesh, ("DG", 0, (3,)))
    axes = []
    for k, name in enumerate(("f0", "s0", "n0")):
        axis = fem.Function(vectors, name=name)
        axis.x.array[: 3 * own] = found.axes[:, :, k].ravel()
        axis.x.scatter_forward()
        axes.append(axis)
    return OrthotropicBone(**fields), Directions(*axes)
