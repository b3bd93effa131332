"""Implants: closed forms of volume and inertia, names, frames, sizes, limits, files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.implants.bending import bend_plate
from organtwin.implants.implant import LocalFrame
from organtwin.implants.implant_files import implant_sizes, load_implant
from organtwin.implants.importing import import_step, import_surface, step_unit
from organtwin.implants.mass import mass_properties
from organtwin.implants.materials import load_material
from organtwin.implants.materials import names as material_names
from organtwin.implants.pedicle import read_pedicle_screw
from organtwin.implants.plate_surface import flat_plate
from organtwin.implants.plates import Hole, Plate, StraightPlate, TibialPlate, rounded
from organtwin.implants.screws import AROUND, BoneScrew
from organtwin.implants.seating import rest, seated
from organtwin.implants.solid import fill
from organtwin.implants.stem import HipStem
from organtwin.implants.tables import catalogue_names
from organtwin.mesh.defects import inspect
from organtwin.mesh.quality import dihedral_angles, signed_volumes
from organtwin.mesh.surface_files import TriangleSurface


def cylinder(radius, length, around=64, along=40):
    """Closed cylinder along x about the origin, with `along` rings."""
    angle = 2 * np.pi * np.arange(around) / around
    ring = np.column_stack([np.zeros(around), radius * np.cos(angle), radius * np.sin(angle)])
    x = np.linspace(-0.5 * length, 0.5 * length, along)
    points = np.concatenate(
        [ring + np.array([a, 0, 0]) for a in x] + [[[x[0], 0, 0], [x[-1], 0, 0]]]
    )
    number = np.arange(along * around).reshape(along, around)
    low, high = number[:-1], number[1:]
    a, b = low.ravel(), np.roll(low, -1, 1).ravel()
    c, d = np.roll(high, -1, 1).ravel(), high.ravel()
    first, last = number[0], number[-1]
    triangles = np.concatenate([
        np.column_stack([a, c, b]), np.column_stack([a, d, c]),
        np.column_stack([first, np.roll(first, -1), np.full(around, along * around)]),
        np.column_stack([np.roll(last, -1), last, np.full(around, along * around + 1)]),
    ])  # fmt: skip
    surface = TriangleSurface(points, triangles)
    return surface if surface.volume > 0 else replace(surface, triangles=triangles[:, ::-1])


def drawn(generator):
    """The drawn surface, which is finer and quicker than what is checked and remeshed."""
    faces = generator.faces()
    surface = TriangleSurface(faces.points, faces.triangles)
    return surface if surface.volume > 0 else replace(surface, triangles=faces.triangles[:, ::-1])


def test_mass_properties_of_a_block():
    """Ixx = V (b² + c²) / 12; the polyhedron is the block, so that only rounding is left."""
    corners = np.array([[x, y, z] for x in (1, 5) for y in (2, 8) for z in (-3, 6)], float)
    faces = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    triangles = np.array([t for a, b, c, d in faces for t in ((a, b, c), (a, c, d))])
    found = mass_properties(TriangleSurface(corners, triangles))
    assert found.volume == pytest.approx(4 * 6 * 9)
    assert found.centre == pytest.approx([3, 5, 1.5])
    wanted = 216 / 12 * np.diag([36 + 81, 16 + 81, 16 + 36])
    assert found.inertia == pytest.approx(wanted, abs=1e-9)
    with pytest.raises(InputError, match="encloses"):
        mass_properties(TriangleSurface(corners, triangles[:, ::-1]))


def test_stem_has_the_volume_of_its_sections():
    """Pappus and Guldin for bent paths: V = ∫ A (1 - κ p) ds with the sections' middles at p."""
    stem = HipStem()
    s = np.linspace(0.0, stem.end, 40_001)
    area, middle = stem.area(s)
    curved = (s > stem.bend[0]) & (s < stem.bend[1])
    wanted = np.trapezoid(area * (1.0 - middle * curved / stem.bend_radius), s)
    assert drawn(stem).volume == pytest.approx(wanted, rel=3e-3)


def test_stem_is_where_its_parameters_say():
    stem = HipStem(ccd=130.0, offset=44.0, neck_length=40.0)
    made = stem.implant(3.0)
    assert made.mass == pytest.approx(4.4 * made.surface.volume)
    head, neck = made.point("head_centre"), made.direction("neck")
    assert head[0] == pytest.approx(44.0) and head[1] == 0.0
    # The plane of resection goes through the origin and lies a neck's length below the head.
    assert head @ neck == pytest.approx(40.0)
    assert made.point("resection") @ neck == pytest.approx(0.0, abs=1e-9)
    assert np.degrees(np.arccos(neck[2])) == pytest.approx(180.0 - 130.0)
    assert made.surface.points[:, 2].min() == pytest.approx(-stem.length, abs=0.1)
    assert set(made.surface.names) == {
        "distal",
        "proximal_coating",
        "neck",
        "head_seat",
        "taper_end",
    }
    # The cone: its points lie where the full angle says.
    cone = made.surface.points[np.unique(made.surface.part("head_seat"))] - head
    along = cone @ neck
    radius = np.linalg.norm(cone - along[:, None] * neck, axis=1)
    wanted = 7.0 - np.tan(np.radians(0.5 * 5.666)) * (along + stem.taper_length)
    assert np.abs(radius - wanted).max() < 0.12
    assert np.abs(made.surface.points[:, 1]).max() < 10.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ccd": 90.0}, "ccd is 90 degrees"),
        ({"neck_length": 58.0}, "resection lies in the bend"),
        ({"corner": 5.0}, "more than half of the tip"),
        ({"flare": 20.0}, "would cut each other"),
        ({"neck_diameter": 15.0}, "under a taper"),
        ({"head_diameter": 22.0, "taper_diameter": 16.0}, "in a head of 22 mm"),
        ({"coating_height": 200.0}, "beyond the tip"),
    ],
)
def test_impossible_stems_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        HipStem(**change)


def test_smooth_screw_has_the_volume_of_its_parts():
    """Cone at the tip, cylinder, spherical zone, rim of the head, hexagon.

    Round parts are drawn as regular polygons, whose area is n/2 sin(2π/n) r².
    """
    screw = BoneScrew(thread="outer", drive=2.5)
    around = 0.5 * AROUND * np.sin(2 * np.pi / AROUND)
    r, tip = 1.75, 1.2
    cone = around * tip / 3 * r**2 * (1 + 0.3 + 0.09)
    rod = around * r**2 * (screw.length - tip)
    rim = 0.7 * screw.head_height
    middle = (9 - r**2 + rim**2) / (2 * rim)
    sphere = r**2 + middle**2
    zone = around * (sphere * rim - (middle**3 - (middle - rim) ** 3) / 3)
    top = around * 9 * (screw.head_height - rim)
    hexagon = 0.5 * np.sqrt(3) * 2.5**2 * screw.recess
    wanted = cone + rod + zone + top - hexagon
    body = mass_properties(drawn(screw))
    assert body.volume == pytest.approx(wanted, rel=2e-3)
    assert body.centre[:2] == pytest.approx([0, 0], abs=1e-3)
    assert body.inertia[0, 0] == pytest.approx(body.inertia[1, 1], rel=1e-3)


def test_a_helix_has_the_volume_of_its_mean_section():
    screw = BoneScrew(length=20.0, thread="helix", drive=0.0)
    longer = replace(screw, length=25.0)
    gained = drawn(longer).volume - drawn(screw).volume
    assert gained == pytest.approx(5.0 * screw.helix_area, rel=0.01)


def test_a_helix_is_right_handed():
    """Its crest moves towards +z where the angle about z grows."""
    x = drawn(BoneScrew(length=16.0, thread="helix", drive=0.0)).points
    crest = x[np.hypot(x[:, 0], x[:, 1]) > 1.74]
    crest = crest[(crest[:, 2] > 5) & (crest[:, 2] < 10)]
    angle = np.arctan2(crest[:, 1], crest[:, 0])
    turns = crest[:, 2] / 1.25 - angle / (2 * np.pi)
    assert np.abs(np.exp(2j * np.pi * turns).mean()) > 0.95
    assert np.abs(np.exp(2j * np.pi * (turns + angle / np.pi)).mean()) < 0.3


def test_interface_of_the_cylinder_pulls_out_like_the_thread():
    for thread in ("core", "mean", "outer"):
        screw = BoneScrew(thread=thread)
        force = screw.interface_strength(3000.0) * np.pi * screw.cylinder * 20.0
        assert force == pytest.approx(screw.pull_out(3000.0, 20.0))
    assert BoneScrew().shear_factor == pytest.approx(0.5 + 0.57735 * 0.55 / 1.25)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"core": 3.5}, "core < diameter"),
        ({"pitch": 0.5}, "larger pitch or core"),
        ({"thread_length": 60.0}, "thread_length is 60 mm of 40 mm"),
        ({"head_diameter": 3.6}, "head wider"),
        ({"drive": 5.0}, "smaller drive"),
        ({"head": "flat"}, "no head `flat`"),
        ({"length": 300.0}, "length is 300 mm"),
    ],
)
def test_impossible_screws_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        BoneScrew(**change)


def test_flat_plate_has_the_volume_of_its_outline():
    """Area of a rectangle with round corners, less the holes' polygons, times the thickness."""
    corners = np.array([[-20.0, -6.0], [20.0, -6.0], [20.0, 6.0], [-20.0, 6.0]])
    outline = rounded(corners, np.full(4, 3.0))
    plate = Plate(outline, (Hole(-8.0, 0.0, 5.0), Hole(8.0, 0.0, 5.0)), 3.0, edge=0.0)
    assert plate.area == pytest.approx(40 * 12 - (4 - np.pi) * 9, rel=1e-3)
    made = flat_plate(plate, 1.5)
    hole = 0.5 * 16 * np.sin(2 * np.pi / 16) * 2.5**2
    assert made.surface.volume == pytest.approx(3.0 * (plate.area - 2 * hole))
    assert set(made.surface.names) == {"bottom", "top", "sides", "hole1", "hole2"}
    wall = made.surface.points[np.unique(made.surface.part("hole2"))]
    assert np.hypot(wall[:, 0] - 8.0, wall[:, 1]) == pytest.approx(2.5)
    assert made.smallest_wall == pytest.approx(3.0)
    with pytest.raises(InputError, match="beside hole 1"):
        replace(plate, holes=(Hole(0, 0, 5.0), Hole(0.0, 3.0, 5.0), Hole(10, 0, 3.0)))


def test_sides_of_tibial_plates_are_mirror_images():
    right, left = (TibialPlate(side=side).plate() for side in ("right", "left"))
    mirrored = right.outline * [1.0, -1.0]
    apart = np.linalg.norm(left.outline[:, None] - mirrored[None], axis=2).min(axis=1)
    assert apart.max() < 1e-9
    # Lateral out and proximal up, y is posterior on the right: the head hangs over in front.
    assert -right.outline[:, 1].min() > right.outline[:, 1].max() + 5.0


@pytest.fixture(scope="module")
def bent():
    bone = cylinder(22.0, 160.0)
    frame = LocalFrame(np.array([3.0, 0.0, 30.0]), np.eye(3))
    return bend_plate(StraightPlate(edge=0.0).plate(), bone, frame, 1.5), bone


def test_a_plate_on_a_cylinder(bent):
    """Radii of underside and top, constant thickness, round holes, no place inside the bone."""
    made, _ = bent
    surface = made.surface
    assert inspect(surface).defects() == ()
    x = surface.points
    below, above = (np.unique(surface.part(name)) for name in ("bottom", "top"))
    radius = np.hypot(x[:, 1], x[:, 2])
    assert radius[below].min() > 21.9 and radius[below].max() < 22.5
    thick = np.linalg.norm(x[above] - x[below], axis=1)
    assert thick == pytest.approx(3.3, abs=1e-6)
    axis, foot = made.direction("hole1"), made.point("hole1")
    wall = x[np.unique(surface.part("hole1"))] - foot
    across = wall - (wall @ axis)[:, None] * axis
    assert np.linalg.norm(across, axis=1) == pytest.approx(2.5, abs=1e-3)
    assert made.frame.origin == pytest.approx([3.0, 0.0, 22.0], abs=0.1)


def test_a_bent_plate_keeps_its_lengths(bent):
    """Arc lengths around the cylinder: half the width is 5.5 mm, so its rim is at 5.5/22 rad."""
    made, _ = bent
    x = made.surface.points[np.unique(made.surface.part("bottom"))]
    assert np.ptp(x[:, 0]) == pytest.approx(86.0, abs=0.1)
    angle = np.arctan2(x[:, 1], x[:, 2])
    assert np.ptp(angle) * 22.0 == pytest.approx(11.0, abs=0.15)


def test_plates_without_bone_are_refused():
    bone, plate = cylinder(22.0, 160.0), StraightPlate().plate()
    with pytest.raises(InputError, match="no bone below"):
        bend_plate(plate, bone, LocalFrame(np.array([300.0, 0, 30.0]), np.eye(3)), 1.5)
    with pytest.raises(InputError, match="has bone below"):
        bend_plate(plate, bone, LocalFrame(np.array([90.0, 0, 30.0]), np.eye(3)), 1.5)
    thin = cylinder(4.2, 160.0)
    # On thinner bone than it can be bent to it stands off, no tighter than three thicknesses.
    made = bend_plate(plate, thin, LocalFrame(np.array([0.0, 0, 5.0]), np.eye(3)), 1.5)
    below = made.surface.points[np.unique(made.surface.part("bottom"))]
    assert np.ptp(below[:, 2]) < 5.5**2 / (2.0 * 3.0 * 3.3) + 0.1
    with pytest.raises(InputError, match="falls away"):
        tilted = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
        turn = np.radians(15.0)
        about = np.array([[np.cos(turn), 0.0, np.sin(turn)], [0.0, 1.0, 0.0],
                          [-np.sin(turn), 0.0, np.cos(turn)]])  # fmt: skip
        bend_plate(plate, bone, LocalFrame(np.array([0.0, 0, 22.0]), tilted @ about.T), 1.5)


def test_screws_sit_in_their_holes(bent):
    """A round head touches the rim of its hole; a conical one ends flush with the plate."""
    made, _ = bent
    plate = StraightPlate(edge=0.0).plate()
    locking = load_implant("locking_screws", "3.5", length=20.0)
    screw = seated(made, plate, 2, locking, 0.9)
    axis, foot = made.direction("hole2"), made.point("hole2")
    assert screw.direction("axis") == pytest.approx(-axis)
    assert (screw.point("head_top") - foot) @ axis == pytest.approx(3.3)
    cortical = BoneScrew(length=20.0)
    height = rest(cortical, 2.5)
    assert cortical.head_radius(height) == pytest.approx(2.5)
    lean = seated(made, plate, 2, cortical, 0.9, tilt=(0.0, 10.0)).direction("axis")
    assert np.degrees(np.arccos(-lean @ axis)) == pytest.approx(10.0)
    with pytest.raises(InputError, match="falls through"):
        rest(cortical, 3.2)
    with pytest.raises(InputError, match=r"thread of 3\.5 mm"):
        rest(cortical, 1.7)
    with pytest.raises(InputError, match="no hole 9"):
        seated(made, plate, 9, cortical)
    with pytest.raises(InputError, match="tilt is 20 degrees"):
        seated(made, plate, 2, locking, tilt=(20.0, 0.0))


SCREWS = Path(__file__).parents[2] / "meshes" / "implants" / "pedicle_screws"


@pytest.mark.parametrize(
    ("name", "length"),
    [("scaled_550x40", 40.0), pytest.param("scaled_625x45", 45.0, marks=pytest.mark.slow)],
)
def test_pedicle_screws_are_measured(name, length):
    """Lengths as the files are called; the axis is y of their drawing, to a degree."""
    made, found = read_pedicle_screw(SCREWS / f"{name}.vtk")
    assert inspect(made.surface).defects() == ()
    assert found.length == pytest.approx(length, abs=0.5)
    assert abs(found.axis[1]) > np.cos(np.radians(1.0))
    assert 0.88 < found.diameter / (float(name[7:10]) / 100) < 1.02
    assert 0.6 < found.core / found.diameter < 0.8
    assert 13.5 < found.tulip_diameter < 15.0 and found.tulip_height == pytest.approx(16.2, abs=0.2)
    assert found.residual < 0.1
    assert made.frame.into(found.tip) == pytest.approx([0, 0, found.length], abs=1e-9)
    assert set(made.surface.names) == {"shank", "tulip"}


def test_moved_implants_keep_their_mass_and_names(tmp_path):
    made = BoneScrew(length=12.0, drive=0.0).implant(0.8)
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    there = made.moved(turn, np.array([5.0, 6.0, 7.0]))
    assert there.mass == pytest.approx(made.mass)
    assert there.frame.into(there.point("tip")) == pytest.approx(made.point("tip"))
    back = there.at(LocalFrame.own())
    assert back.surface.points == pytest.approx(made.surface.points, abs=1e-9)
    with pytest.raises(InputError, match="right-handed"):
        made.moved(np.diag([1.0, 1.0, -1.0]), np.zeros(3))
    with pytest.raises(InputError, match="Did you mean `head_top`"):
        made.point("head")
    made.write(tmp_path / "screw.stl")
    read = import_surface(tmp_path / "screw.stl", material="316L")
    assert read.surface.volume == pytest.approx(made.surface.volume, rel=1e-5)
    assert list(read.surface.names) == ["surface"]
    with pytest.raises(InputError, match="implants have 3 to 600 mm"):
        import_surface(tmp_path / "screw.stl", unit="m")


def test_tetrahedra_keep_the_surface():
    made = BoneScrew(length=12.0, drive=0.0).implant(0.6)
    mesh = fill(made)
    assert mesh.volume("screw") == pytest.approx(made.surface.volume)
    assert (signed_volumes(mesh.points, mesh.cells) > 0).all()
    assert dihedral_angles(mesh.points, mesh.cells).min() > 5.0
    assert set(mesh.facet_names) == {"tip", "thread", "head"}
    assert len(mesh.facets) == len(made.surface.triangles)


@pytest.mark.parametrize("name", catalogue_names())
def test_the_catalogue_can_be_made(name):
    """Walls of 1 mm or more, every number with its source; masses grow with the sizes."""
    masses = []
    for size in implant_sizes(name):
        made = load_implant(name, size, **({"length": 45.0} if "screws" in name else {}))
        if isinstance(made, StraightPlate | TibialPlate):
            plate = made.plate()
            assert plate.smallest_wall >= 1.0
            masses.append(plate.area * plate.thickness)
        elif isinstance(made, BoneScrew):
            assert made.smallest_wall >= 1.0
            masses.append(made.core)
        else:
            assert made.smallest_wall >= 6.0
            s = np.linspace(0, made.end, 500)
            masses.append(np.trapezoid(made.area(s)[0], s))
    assert (np.diff(masses) >= 0).all()


def test_files_are_checked(tmp_path):
    text = """name = "rod"\nkind = "straight_plate"\nmaterial = "Ti6Al4V"\nascending = ["length"]
[sources]\n{sources}
[common]\nwidth = "11 mm"\nthickness = "3 mm"\nhole_diameter = "5 mm"\nspacing = "13 mm"
kind = "locking"\nedge = "0.5 mm"
[sizes.a]\nlength = "{a}"\nholes = 4\n[sizes.b]\nlength = "90 mm"\nholes = 5\n"""
    keys = ["length", "width", "thickness", "holes", "hole_diameter", "spacing", "kind", "edge"]
    sources = "\n".join(f'{key} = "mine"' for key in keys)
    file = tmp_path / "mine.toml"

    def write(sources=sources, a="80 mm"):
        file.write_text(text.format(sources=sources, a=a), encoding="utf-8")

    write()
    assert load_implant(file, "a").length == 80.0
    assert load_implant(file, "a", thickness=2.5).thickness == 2.5
    with pytest.raises(InputError, match="no size `c`"):
        load_implant(file, "c")
    with pytest.raises(InputError, match="no attribute `thicknes`"):
        load_implant(file, "a", thicknes=2.0)
    write(a="8 cm")
    assert load_implant(file, "a").length == 80.0
    write(a="80 kPa")
    with pytest.raises(InputError, match="a length is needed"):
        load_implant(file, "a")
    write(a="95 mm")
    with pytest.raises(InputError, match="smaller than 95 of size a"):
        load_implant(file, "a")
    write(sources='length = "mine"')
    with pytest.raises(InputError, match="nothing for"):
        load_implant(file, "a")
    with pytest.raises(InputError, match="In the catalogue"):
        load_implant(tmp_path / "none.toml", "a")
    with pytest.raises(InputError, match="no length of 37 mm"):
        load_implant("cortical_screws", "3.5", length=37.0)


def test_materials_have_all_numbers_with_sources():
    assert set(material_names()) == {"Ti6Al4V", "316L", "CoCrMo", "PEEK", "PMMA"}
    for name in material_names():
        made = load_material(name)
        assert made.fatigue_limit < made.yield_stress < made.youngs_modulus / 25.0
        assert 1.0 < made.density < 9.0  # mg/mm³ = g/cm³
        assert all(made.sources.values())
    assert load_material("Ti6Al4V").youngs_modulus == 110e6
    with pytest.raises(InputError, match="no material `titan`"):
        load_material("titan")


STEP_HEADER = "ISO-10303-21;\nHEADER;ENDSEC;DATA;\n"


@pytest.mark.parametrize(
    ("unit", "said"),
    [
        ("#1=(LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT(.MILLI.,.METRE.));", "mm"),
        ("#1=(LENGTH_UNIT()NAMED_UNIT(*)SI_UNIT($,.METRE.));", "m"),
        ("#1=CONVERSION_BASED_UNIT('INCH',#2);#2=SI_UNIT(.MILLI.,.METRE.);", "inch"),
    ],
)
def test_units_of_step_files(tmp_path, unit, said):
    file = tmp_path / "part.step"
    file.write_text(STEP_HEADER + unit, encoding="ascii")
    assert step_unit(file) == said


def test_step_files_without_unit_are_refused(tmp_path):
    file = tmp_path / "part.step"
    file.write_text(STEP_HEADER, encoding="ascii")
    with pytest.raises(InputError, match="no unit of length"):
        step_unit(file)
    file.write_text("solid", encoding="ascii")
    with pytest.raises(InputError, match="no STEP file"):
        step_unit(file)


@pytest.mark.parametrize("factor", [1.0, 1000.0])
def test_step_files_are_read_in_mm(tmp_path, factor):
    """A block of 8 × 6 × 5 mm, written in mm and, with a changed header, in m."""
    import gmsh

    from organtwin.mesh.tetrahedra import gmsh_session

    file = tmp_path / "block.step"
    with gmsh_session():
        gmsh.model.occ.addBox(0, 0, 0, *(np.array([8.0, 6.0, 5.0]) / factor))
        gmsh.model.occ.synchronize()
        gmsh.write(str(file))
    if factor > 1.0:
        text = file.read_text(encoding="latin-1")
        assert "SI_UNIT(.MILLI.,.METRE.)" in text
        text = text.replace("SI_UNIT(.MILLI.,.METRE.)", "SI_UNIT($,.METRE.)")
        file.write_text(text, encoding="latin-1")
    made = import_step(file, 2.0, names={"end": 1})
    assert made.surface.volume == pytest.approx(240.0)
    assert inspect(made.surface).defects() == ()
    assert "end" in made.surface.names and len(made.surface.names) == 6
    with pytest.raises(InputError, match="has no face 9"):
        import_step(file, 2.0, names={"end": 9})
