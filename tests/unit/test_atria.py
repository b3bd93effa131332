import numpy as np
import pytest
from dolfinx import fem
from mpi4py import MPI

from organtwin.anatomy.atria import atrial_fibres, bundles
from organtwin.anatomy.atria_bundles import LEFT_NAMES, RIGHT_NAMES, LeftAtrium, RightAtrium
from organtwin.errors import InputError, MeshError
from organtwin.mesh.domain import cellwise_vectors
from organtwin.verify.atria import LEFT, RIGHT, idealised_atrium

COMM = MPI.COMM_SELF
SHAPES = {"left": LEFT, "right": RIGHT}
ATRIA = {
    "left": LeftAtrium(appendage=tuple(LEFT.pipes["appendage"].tip)),
    "right": RightAtrium(appendage=tuple(RIGHT.pipes["appendage"].tip)),
}
NAMES = {"left": LEFT_NAMES, "right": RIGHT_NAMES}


class Wall:
    """An idealised atrium with its directions and bundles in the cells."""

    def __init__(self, side, path):
        self.side, self.shape, self.atrium = side, SHAPES[side], ATRIA[side]
        self.domain = idealised_atrium(COMM, self.shape, path, 4.0)
        found = atrial_fibres(self.domain, cellwise_vectors(self.domain), self.atrium)
        self.f, self.s, self.n = (d.x.array.reshape(-1, 3) for d in (found.f0, found.s0, found.n0))
        self.number = bundles(self.domain, self.atrium).x.array
        self.x = self.domain.mesh.geometry.x[self.domain.mesh.geometry.dofmaps[0]].mean(axis=1)

    def of(self, *names):
        return np.isin(self.number, [NAMES[self.side].index(name) + 1 for name in names])


@pytest.fixture(scope="module")
def walls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("atria")
    return {side: Wall(side, folder / f"{side}.msh") for side in SHAPES}


@pytest.fixture(params=["left", "right"])
def wall(walls, request):
    return walls[request.param]


def degrees(a, b):
    """Angle between the lines along rows (degrees)."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.degrees(np.arccos(np.clip(np.abs(np.sum(a * b, axis=1)) / lengths, 0.0, 1.0)))


def test_directions_are_orthonormal_in_every_cell(wall):
    frame = np.stack([wall.f, wall.s, wall.n], axis=1)
    np.testing.assert_allclose(
        frame @ frame.transpose(0, 2, 1), np.broadcast_to(np.eye(3), frame.shape), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(frame), 1.0, atol=1e-12)


def test_the_normal_points_out_of_the_ellipsoid(wall):
    out = wall.x / (np.array(wall.shape.radii) - wall.shape.wall / 2) ** 2
    level = np.sum((wall.x / wall.shape.radii) ** 2, axis=1)
    body = (level < 1.0) & (wall.x @ wall.shape.out < wall.shape.distance - 5.0)
    for pipe in wall.shape.pipes.values():
        beside = np.linalg.norm(np.cross(wall.x, pipe.direction), axis=1)
        body &= (beside > pipe.radius + 5.0) | (wall.x @ pipe.direction < 0.0)
    assert np.count_nonzero(body) > 500
    assert (np.sum(wall.n * out, axis=1)[body] > 0.0).all()
    assert degrees(wall.n, out)[body].mean() < 4.0


def test_fibres_run_around_the_valves_and_veins(wall):
    for name, (centre, normal) in wall.shape.rings.items():
        if name == "coronary_sinus":  # has no value in the rule
            continue
        height = (wall.x - centre) @ normal
        across = wall.x - centre - height[:, None] * normal
        if name == wall.shape.valve:
            # Normal of the ellipse in which the plane cuts the ellipsoid.
            tangent = np.cross(normal, wall.x / np.array(wall.shape.radii) ** 2)
            near = height > -3.0
        else:
            tangent = np.cross(normal, across)
            pipe = wall.shape.pipes[name]
            near = (height > -5.0) & (np.linalg.norm(across, axis=1) < pipe.radius + 0.5)
        assert np.count_nonzero(near) > 50
        angle = degrees(wall.f, tangent)[near]
        assert angle.mean() < 5.0, name
        assert np.percentile(angle, 95) < 12.0, name


def test_all_bundles_are_there(wall):
    counts = [np.count_nonzero(wall.of(name)) for name in NAMES[wall.side]]
    assert min(counts) > 20
    assert sum(counts) == len(wall.number)


def test_left_bundles_lie_where_anatomy_puts_them(walls):
    left = walls["left"]
    x, _, z = left.x.T
    assert (z[left.of("mitral_ring")] < 5.0).all()
    assert (x[left.of("left_veins")] > 10.0).all()
    assert (x[left.of("right_veins")] < -5.0).all()
    tip = LEFT.pipes["appendage"].tip
    distance = np.linalg.norm(left.x - tip, axis=1)
    assert left.of("appendage")[distance < 8.0].all()
    assert distance[left.of("appendage")].max() < 25.0
    roof = (z > 12.0) & (np.abs(x) < 3.0)
    assert left.of("body")[roof].all()


def test_right_bundles_lie_where_anatomy_puts_them(walls):
    right = walls["right"]
    rings = right.shape.rings
    valve, upper, lower = (rings[n][0] for n in ("tricuspid", "superior_cava", "inferior_cava"))
    lateral = np.cross(upper - valve, lower - valve)
    lateral /= np.linalg.norm(lateral)
    side = (right.x - valve) @ lateral
    height = right.x @ right.shape.out
    for name in ("crista_terminalis", "pectinate_muscles", "appendage", "appendage_tip"):
        assert side[right.of(name)].mean() > 2.0, name
    for name in ("septum", "upper_septum", "lower_septum"):
        assert side[right.of(name)].mean() < -2.0, name
    assert height[right.of("tricuspid_ring")].min() > 0.0
    # Around the caval axis, from the back over the lateral wall to the valve.
    behind = np.cross(lateral, (upper - lower) / np.linalg.norm(upper - lower))
    angle = np.arctan2(right.x @ lateral, right.x @ behind * np.sign(behind @ (upper - valve)))
    middle = (np.abs(right.x[:, 2]) < 10.0) & (side > 0.0)
    order = ("intercaval", "crista_terminalis", "pectinate_muscles", "vestibule", "tricuspid_ring")
    means = [angle[right.of(name) & middle].mean() for name in order]
    assert (np.diff(means) > 0.0).all()
    assert right.x[right.of("superior_cava"), 2].min() > 0.0
    assert right.x[right.of("inferior_cava"), 2].max() < 0.0
    tip = RIGHT.pipes["appendage"].tip
    assert np.linalg.norm(right.x - tip, axis=1)[right.of("appendage_tip")].max() < 15.0


def test_the_crista_runs_from_cava_to_cava_and_pectinate_muscles_cross_it(walls):
    right = walls["right"]
    cava = np.array([0.0, 0.0, 1.0])
    down = cava - right.n * (right.n @ cava)[:, None]
    body = np.abs(right.x[:, 2]) < 18.0
    angle = degrees(right.f, down)
    assert np.median(angle[right.of("crista_terminalis") & body]) < 10.0
    assert angle[right.of("crista_terminalis") & body].max() < 35.0
    assert np.median(angle[right.of("pectinate_muscles") & body]) > 60.0
    assert np.median(angle[right.of("intercaval") & body]) > 75.0


def test_fibres_lie_in_other_spaces_too(walls):
    left = walls["left"]
    space = fem.functionspace(left.domain.mesh, ("DG", 1, (3,)))
    found = atrial_fibres(left.domain, space, left.atrium)
    np.testing.assert_allclose(
        np.linalg.norm(found.f0.x.array.reshape(-1, 3), axis=1), 1.0, atol=1e-12
    )


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_appendage_is_optional(walls, side):
    wall = walls[side]
    bare = type(wall.atrium)()
    number = bundles(wall.domain, bare).x.array
    appendages = [k for k, n in enumerate(NAMES[side], 1) if n.startswith("appendage")]
    assert not np.isin(number, appendages).any()
    assert set(number) == set(range(1, len(NAMES[side]) + 1)) - set(appendages)


def test_missing_and_empty_surfaces_are_named(walls):
    domain = walls["left"].domain
    with pytest.raises(InputError, match=r"no surface `mitral_valve`. Did you mean `mitral`"):
        bundles(domain, LeftAtrium(mitral="mitral_valve"))
    domain.surfaces["nothing"] = 99
    with pytest.raises(MeshError, match="surface `nothing` has no facets"):
        bundles(domain, LeftAtrium(right_veins=("right_superior_vein", "nothing")))
    with pytest.raises(InputError, match=r"appendage is 1.+ mm away"):
        bundles(domain, LeftAtrium(appendage=(100.0, 100.0, 100.0)))


def test_limits_in_the_wrong_order_are_refused():
    with pytest.raises(InputError, match=r"tau_rpv = 0.1 is not over tau_lpv"):
        LeftAtrium(tau_lpv=0.65, tau_rpv=0.1)
    with pytest.raises(InputError, match=r"tau_ras = 0.135 is not over tau_ib"):
        RightAtrium(tau_ib=0.35, tau_ras=0.135)
    with pytest.raises(InputError, match=r"tau_tv = 1.2 is not under 1"):
        RightAtrium(tau_tv=1.2)
    with pytest.raises(InputError, match="no veins on one side"):
        LeftAtrium(left_veins=())


def test_rings_in_one_line_have_no_sides(walls):
    rings = {"tricuspid": "superior_cava", "superior": "superior_cava"}
    with pytest.raises(MeshError, match="lie on one line"):
        bundles(walls["right"].domain, RightAtrium(**rings))
