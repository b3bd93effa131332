"""A block of bone with a stem in it: the smallest operated bone."""

import numpy as np

from organtwin.bone.calibration import Calibration
from organtwin.image.volume import Grid, Image
from organtwin.mesh.volume_mesh import TetrahedralMesh
from organtwin.orthopaedics.anatomical_frames import AnatomicalFrame
from organtwin.orthopaedics.assembly import Assembly, Zone
from organtwin.orthopaedics.hip_stem import CANAL_GAP
from organtwin.orthopaedics.neck_indices import NECK, NeckSections
from organtwin.orthopaedics.operation import Load, Operation, Place, Seat
from organtwin.surgery.placement import Frame

#: Edges (mm) of the block's boxes.
X = np.array([0.0, 7.0, 13.0, 20.0])
Z = np.array([0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0])
#: Corners of the six tetrahedra of a box (Kuhn).
SIX = np.array([[0, 1, 3, 7], [0, 1, 5, 7], [0, 2, 3, 7], [0, 2, 6, 7], [0, 4, 5, 7], [0, 4, 6, 7]])
LINE = Calibration(0.0, 8e-4)


def assembly():
    """Femur with a stem from z = 20 mm upwards, its upper 10 mm are cut away around the stem."""
    nodes = np.array(np.meshgrid(X, X, Z, indexing="ij")).reshape(3, -1).T
    shape = (len(X), len(X), len(Z))
    number = np.arange(len(nodes)).reshape(shape)
    cells, regions = [], []
    for i, j, k in np.ndindex(shape[0] - 1, shape[1] - 1, shape[2] - 1):
        box = number[i : i + 2, j : j + 2, k : k + 2].ravel()[[0, 4, 2, 6, 1, 5, 3, 7]]
        cells.append(box[SIX])
        inside = i == 1 and j == 1 and k >= 2
        regions += [2 if inside else 3 if k == 5 else 1] * 6
    cells, regions = np.concatenate(cells), np.array(regions)
    corners = nodes[cells]
    wrong = np.linalg.det(corners[:, 1:] - corners[:, :1]) < 0
    cells[wrong] = cells[wrong][:, [0, 2, 1, 3]]
    facets, tags, names = surfaces(nodes, cells, regions)
    mesh = TetrahedralMesh(
        nodes, cells, regions, {"femur": 1, "stem": 2, "removed": 3}, facets, tags, names
    )
    grid = Grid((12, 12, 32), np.full(3, 2.5), np.array([-4.0, -4.0, -6.0]), np.eye(3))
    scan = Image(np.full(grid.shape, 900.0, np.float32), grid, "HU")
    stem = Frame(np.array([10.0, 10.0, 50.0]), np.eye(3))
    return Assembly(
        "block", mesh, ("femur",), {"stem": "Ti6Al4V"}, ("removed",), ("stem",),
        (("femur", "stem"),),
        {"stem": (Zone("coated", "stem", low=-15.0), Zone("polished", "stem", high=-15.0))},
        {"stem": stem, "resection": stem},
        {"head_centre": np.array([0.0, 10.0, 70.0]), "stem_tip": np.array([10.0, 10.0, 20.0])},
        {
            "leg longer by mm": 0.0, "offset larger by mm": 0.0,
            "canal fill from side to side, largest": 0.9,
        }, (), scan, {NECK: neck().table(), CANAL_GAP: np.column_stack([nodes, 0.0 * nodes[:, 0]])},
    )  # fmt: skip


def neck():
    """Round, straight, from the stem to its head, in the stem's axes."""
    way = np.array([-10.0, 0.0, 20.0])
    along = way / np.linalg.norm(way)
    centre = np.linspace(0.0, 0.8, 5)[:, None] * way
    medial = np.cross(along, [0.0, 1.0, 0.0])
    rows = [np.tile(x, (5, 1)) for x in (medial, along, np.full(3, 4.0))]
    return NeckSections(centre, *rows)


def surfaces(nodes, cells, regions):
    """Outer facets and those between regions, with names."""
    faces = np.sort(cells[:, [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]].reshape(-1, 3), axis=1)
    owner = np.repeat(regions, 4)
    unique, which, count = np.unique(faces, axis=0, return_inverse=True, return_counts=True)
    most = np.zeros(len(unique), int)
    np.maximum.at(most, which.ravel(), owner)
    least = np.full(len(unique), 9)
    np.minimum.at(least, which.ravel(), owner)
    low = nodes[unique][:, :, 2].max(axis=1) == 0.0
    tag = np.zeros(len(unique), int)
    outer = count == 1
    tag[outer & (least == 1)] = 2
    tag[outer & low] = 1
    tag[outer & (least == 3)] = 3
    tag[outer & (least == 2)] = 4
    tag[~outer & (least == 2) & (most == 3)] = 4
    tag[~outer & (least == 1) & (most == 3)] = 5
    tag[~outer & (least == 1) & (most == 2)] = 6
    names = {"distal": 1, "femur_surface": 2, "head": 3, "stem_neck": 4, "resection": 5,
             "stem-femur": 6}  # fmt: skip
    return unique[tag > 0], tag[tag > 0], names


def operation(interference=0.01, friction=0.6):
    """A force down on the stem's neck, walked with and let go."""
    head = Place((0.0, 10.0, 70.0), ("stem_neck",))
    seats = tuple(
        Seat(f"stem, {part}", f"stem_at_femur_{part}", f"femur_at_stem_{part}", friction, size)
        for part, size in (("coated", interference), ("polished", 0.0))
    )
    return Operation(
        "hip_stem", "block", ("femur",), {"stem": "Ti6Al4V"}, ("distal",), seats, {"head": head},
        {"head": Place((0.0, 10.0, 70.0), ("head",))},
        (Load("walking", "made up", {"head": (10e3, 0.0, -100e3)}),),
    )  # fmt: skip


def frame():
    """Medial towards −x."""
    axes = np.array([[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]])
    return AnatomicalFrame(np.zeros(3), axes, "left")
