"""Pictures, report and comparison page of deployed valves, drawn from valves that are known."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest

from organtwin.devices.tissue_contact import Pressed
from organtwin.errors import InputError
from organtwin.export import tavr_comparison, tavr_maps, tavr_pictures, tavr_report
from organtwin.export.index_words import verdict_in_words
from organtwin.export.tavr_comparison import LARGEST, write_comparison
from organtwin.export.tavr_pictures import Shown
from organtwin.export.tavr_report import draw_tavr, write_tavr_report
from organtwin.export.tavr_scene import same_size
from organtwin.export.tavr_view import (
    Valve,
    averaged,
    ceiling,
    edges,
    finer,
    joined,
    names_at,
    struts,
)
from organtwin.export.tavr_words import WORDING, in_words, shown_value, threshold_in_words
from organtwin.export.views import View
from organtwin.index import Index
from organtwin.tavr.indices import assess
from tests.deployed_valves import deployed, patch, root, tube


def pressed(radius=12.86, count=24, force=200.0):
    turn = np.arange(count) * 2 * np.pi / count
    places = np.column_stack([radius * np.cos(turn), radius * np.sin(turn), np.full(count, -2.0)])
    one = np.ones(count)
    return Pressed(places, force * one, 0.0 * one, 0.8 * one)


def coarse(radius=12.86):
    """Patches of a tube as `deployed` has them, of fewer triangles."""
    points, triangles = tube(radius, -15.0, 45.0, around=48, along=20)
    x, y, z = points[triangles].mean(axis=1).T
    septum = (np.abs(np.arctan2(y, x) - 0.5 * np.pi) < 0.4) & (np.abs(z - 1.2) < 3.3)
    right, left = ((np.abs(z - 14.0) < 3.0) & (side * x > 0.97 * radius) for side in (1, -1))
    parts = {"inner": ~(septum | right | left), "ostium_right": right, "ostium_left": left,
             "membranous_septum": septum}  # fmt: skip
    return {name: patch(points, triangles, here) for name, here in parts.items()}


def valve(**changes):
    """A frame that presses on its tube, with stress before and after."""
    surfaces = coarse()
    before = {name: one[0] for name, one in surfaces.items()}
    found = deployed(pressed=pressed(), **changes)
    found = replace(found, surfaces=surfaces, surfaces_before=before)
    stress = np.linspace(20.0, 120.0, len(found.wall[1]))
    found = replace(found, stress=1.5 * stress, stress_before=stress)
    return Valve(found, None, root())


def bare():
    """The same without septum, ostia, leaflets, stress, contact, and measures of the root."""
    found = deployed()
    inner = {"inner": coarse()["inner"]}
    return Valve(replace(found, surfaces=inner, surfaces_before={}))


def directory(folder, one, complete=True):
    """A result directory with what the report reads."""
    (folder / "stages" / "root").mkdir(parents=True)
    (folder / "stages" / "deploy").mkdir()
    one.deployed.save(folder / "deployed.npz")
    if one.root is not None:
        found = assess(one.deployed, one.root)
        record = {"measured": one.root.as_record()}
        (folder / "stages" / "root" / "root.json").write_text(json.dumps(record))
        (folder / "indices.json").write_text(json.dumps([i.record() for i in found.indices]))
    state = {"name": "let go", "time": 0.0, "diameters_mm": [24.0, 25.0], "height_mm": 18.0,
             "pressing_N": 4.8, "rubbing_N": 0.1, "penetration_mm": 0.01, "touching_mm": 19.0,
             "sticking": 1.0, "seconds": 100.0}  # fmt: skip
    deploy = {"device": "SAPIEN-3-like 26", "complete": complete, "reason": "no way on",
              "states": [state], "stages": []}  # fmt: skip
    (folder / "stages" / "deploy" / "deploy.json").write_text(json.dumps(deploy))
    run = {"status": "complete", "title": "Test", "started": "2026-11-22T20:00:00+0000",
           "versions": {"organtwin": "0"}, "case": {}, "mpi_size": 1}  # fmt: skip
    (folder / "run.json").write_text(json.dumps(run))
    return folder


# --- geometry -----------------------------------------------------------------------------------


def test_the_averaged_pressure_adds_up_to_the_force():
    side = np.linspace(-5.0, 5.0, 201)
    x, y = np.meshgrid(side, side)
    points = np.column_stack([x.ravel(), y.ravel(), 0.0 * x.ravel()])
    places = np.array([[0.3, 0.1, 0.0], [-1.0, 0.7, 0.0]])
    pressure = averaged(places, np.array([150.0, 50.0]), points)
    assert pressure.sum() * (side[1] - side[0]) ** 2 == pytest.approx(200.0, rel=1e-3)
    assert pressure.min() == 0.0
    assert np.array_equal(averaged(np.zeros((0, 3)), np.zeros(0), points[:3]), np.zeros(3))


@pytest.mark.parametrize("sides", [4, 8])
def test_struts_are_closed_and_as_thick_and_wide_as_they_are(sides):
    one = deployed()
    (points, triangles), element = struts(one, sides)
    assert len(element) == len(triangles)
    assert len(edges(triangles)) == 0
    a, b, c = (points[triangles[:, k]] for k in range(3))
    volumes = np.bincount(element, np.einsum("ij,ij->i", a, np.cross(b, c)) / 6.0)
    ends = one.nodes[one.ends]
    length = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1) + 0.5 * one.width
    full = length * one.thickness * one.width
    share = volumes / full
    assert (share > 0.7).all() and (share < 1.0 + 1e-9).all()
    corner = points.reshape(len(one.ends), 2, sides, 3)[:, 0] - points.reshape(
        len(one.ends), 2, sides, 3)[:, 0].mean(axis=1, keepdims=True)  # fmt: skip
    out = ends.mean(axis=1) * [1, 1, 0]
    out /= np.linalg.norm(out, axis=1)[:, None]
    assert np.ptp(np.einsum("mki,mi->mk", corner, out), axis=1).max() <= one.thickness[0] * 1.01


def test_a_finer_surface_has_the_same_area_and_mean_values():
    one = valve()
    points, triangles = joined(*one.deployed.wall)
    more, cells = finer(points, triangles)
    assert len(cells) == 4 * len(triangles)

    def area(p, t):
        return np.linalg.norm(np.cross(p[t[:, 1]] - p[t[:, 0]], p[t[:, 2]] - p[t[:, 0]])).sum()

    assert 4 * area(more, cells) / 2 == pytest.approx(area(points, triangles), rel=1e-9)
    assert one.at_wall(np.full(len(triangles), 7.0)) == pytest.approx(7.0)


def test_the_unrolled_wall_is_where_the_tube_is():
    one = valve()
    turns, at = one.wall_at(np.array([-3.0, 0.0, 5.0]), 90)
    assert turns[0] == -180.0 and turns[-1] == pytest.approx(176.0)
    flat = one.unrolled(at)
    away = np.radians(flat[1, :, 0] - turns)
    assert np.abs(np.exp(1j * away) - 1.0).max() < 1e-9  # -180° and 180° are one
    assert flat[2, :, 1] == pytest.approx(5.0)
    assert np.hypot(at[..., 0], at[..., 1]) == pytest.approx(12.86, rel=3e-3)


def test_colours_reach_what_the_data_do():
    assert ceiling(np.array([0.0, 97.0])) == 100.0
    assert ceiling(np.array([1.21]), 100.0) == 1.5
    assert ceiling(np.zeros(3)) == 1.0
    values = np.random.default_rng(0).uniform(0.0, 3.3, 1000)
    assert 3.2 < ceiling(values) <= 4.0


def test_cusps_are_named_where_they_are():
    assert names_at((0.0, 86.0, 205.0)) == {
        "Right cusp": 0.0, "Left cusp": 86.0, "Non-coronary": -155.0,
    }  # fmt: skip


def test_points_lie_on_a_picture_where_the_camera_shows_them():
    view = View(np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0]), np.zeros(3), (2.0, 1.0))
    assert view.flat(np.array([[1.0, 5.0, 2.0]])) == pytest.approx(np.array([[1.0, 2.0]]))
    wide = same_size([view, replace(view, size=(5.0, 4.0))])
    assert {one.size for one in wide} == {(5.0, 4.0)}


# --- pictures -----------------------------------------------------------------------------------


@pytest.fixture
def plain(monkeypatch):
    """Scenes are not rendered, but their parts are made; what was asked for is kept."""
    asked = []

    def image(self, parts, pixels=820):
        asked.append(parts)
        return np.full((40, 60, 3), 255, np.uint8)

    monkeypatch.setattr(View, "image", image)
    monkeypatch.setattr(
        tavr_pictures, "save", lambda figure, path: path.write_bytes(b"png") and path
    )
    return asked


def limits(parts, scalars="value"):
    return {look["clim"] for _, look in parts if look.get("scalars") == scalars}


def test_colours_of_scenes_follow_the_data(plain, tmp_path):
    one = valve()
    tavr_pictures.draw_valve(one, tmp_path / "a.png")
    assert limits(plain[0]) == {(0.0, 2.0)}  # strain of 2 %
    plain.clear()
    tavr_pictures.draw_contact_wall(one, tmp_path / "b.png")
    ((_, top),) = limits(plain[0])
    assert 0.7 * top <= one.pressure.max() <= 1.3 * top
    plain.clear()
    tavr_pictures.draw_wall_stress(one, tmp_path / "c.png")
    assert limits(plain[0]) == limits(plain[1]) == {(0.0, 200.0)}
    assert limits(plain[2]) == {(-60.0, 60.0)}


def test_a_valve_without_septum_leaflets_stress_or_contact_is_drawn(plain, tmp_path):
    one = bare()
    tavr_pictures.draw_valve(one, tmp_path / "a.png")
    tavr_pictures.draw_contact_wall(one, tmp_path / "b.png")
    with pytest.raises(InputError, match="not computed"):
        tavr_pictures.draw_wall_stress(one, tmp_path / "c.png")
    with pytest.raises(InputError, match="root"):
        tavr_pictures.draw_coronaries(one, tmp_path / "d.png")
    with pytest.raises(InputError, match="root"):
        tavr_maps.draw_levels(one, tmp_path / "e.png")
    with pytest.raises(InputError, match="no states"):
        tavr_pictures.draw_sequence(one, [], tmp_path / "f.png")


def test_stages_are_drawn_to_one_scale(plain, tmp_path):
    one = valve()
    m = len(one.deployed.ends)
    tissue = {name: points for name, (points, _) in one.deployed.surfaces.items()}
    states = [
        Shown("Crimped", "", 0.5 * one.deployed.nodes, np.full(m, 0.04), tissue),
        Shown("Let go", "24 mm", one.deployed.nodes, np.full(m, 0.02), tissue),
    ]
    tavr_pictures.draw_sequence(one, states, tmp_path / "f.png")
    assert len(plain) == 2
    assert limits(plain[0]) == limits(plain[1]) == {(0.0, 4.0)}


def test_the_map_of_contact_shows_where_struts_press(tmp_path):
    path = tavr_maps.draw_contact_map(valve(), tmp_path / "map.png", title="Contact")
    found = matplotlib.image.imread(path)[..., :3]
    assert found.shape[0] > 400 and found.shape[1] > 900
    assert (found.max(axis=2) < 0.3).mean() > 0.01  # dark bands of pressure and letters


@pytest.mark.slow
def test_every_picture_is_drawn_and_stands_in_the_report(tmp_path):
    folder = directory(tmp_path / "run", valve())
    names = {path.name for path in draw_tavr(folder)}
    assert {"valve.png", "contact_map.png", "contact_wall.png", "levels.png", "leak_map.png",
            "coronaries.png", "wall_stress.png"} <= names  # fmt: skip
    for name in names:
        found = matplotlib.image.imread(folder / "pictures" / name)
        assert found[..., :3].std() > 0.02  # not empty
    missing = json.loads((folder / "pictures" / "missing.json").read_text())
    assert set(missing) == {"sequence.png", "root_sheet.png", "root_mesh.png"}
    page = write_tavr_report(folder).read_text(encoding="utf-8")
    assert page.count("data:image/") == len(names)


# --- report -------------------------------------------------------------------------------------


def outside(page):
    """Addresses that a browser would load."""
    return re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)[^"']*["']|url\(\s*["']?http""", page)


def test_the_report_says_the_verdict_first_and_needs_nothing_else(tmp_path):
    folder = directory(tmp_path, valve())
    page = write_tavr_report(folder).read_text(encoding="utf-8")
    assert page.index("raise concern") < page.index("For research only") < page.index("<table")
    assert "SAPIEN-3-like 26" in page and "Effective regurgitant orifice" in page
    assert "Khan et al." in page  # a source
    assert not outside(page)


def test_the_report_of_a_failed_deployment_says_so(tmp_path):
    page = write_tavr_report(directory(tmp_path, bare(), complete=False)).read_text("utf-8")
    assert "was not completed" in page and "no way on" in page
    assert "What a planner asks" not in page


def test_a_picture_that_fails_is_told_and_the_others_are_drawn(tmp_path, monkeypatch):
    folder = directory(tmp_path, bare())
    for name in ("draw_valve", "draw_contact_wall"):
        monkeypatch.setattr(tavr_pictures, name, lambda valve, path, **_: path.write_bytes(b"x"))
    monkeypatch.setattr(tavr_report.tavr_maps, "draw_contact_map", lambda *_: 1 / 0)
    monkeypatch.setattr(tavr_report.tavr_maps, "draw_leak_map", lambda *_: None)
    steps = []
    drawn = draw_tavr(folder, lambda share, name: steps.append(share))
    assert {path.name for path in drawn} >= {"valve.png", "contact_wall.png"}
    missing = json.loads((folder / "pictures" / "missing.json").read_text())
    assert "ZeroDivisionError" in missing["contact_map.png"]
    assert "wall_stress.png" in missing and "coronaries.png" in missing
    assert steps == sorted(steps) and steps[-1] == 1.0


def test_indices_in_words():
    one = Index.of("leak", "regurgitant_volume", 45.0, "mL", "f", "s", None, 30.0)
    two = Index.of("coronary", "laceration_left", 0.0, "1", "f", "s", None, 0.0)
    assert in_words("frame_leaflets_expansion") == "Leaflets, expansion"
    assert in_words("wall_stress_ratio_annulus") == "Stress after / before, annulus"
    assert shown_value(one).split() == ["45.0", "mL"] and shown_value(two) == "no"
    assert threshold_in_words(one).split() == ["up", "to", "30", "mL"]
    told = verdict_in_words([one, two], "Valve 26", WORDING)
    assert told.startswith("Valve 26: 1 of 2 indices")
    assert "regurgitant volume 45.0" in told
    assert "all 1 indices" in verdict_in_words([two], "Valve 26", WORDING)


# --- comparison ---------------------------------------------------------------------------------


def embedded(page):
    return json.loads(
        re.search(r'id="content">(.*?)</script>', page, re.DOTALL)[1].replace("<\\/", "</")
    )


def test_the_comparison_is_one_small_file_with_all_valves(tmp_path, monkeypatch):
    monkeypatch.setattr(tavr_comparison, "get_plotlyjs", lambda: "/* library */")
    members = {
        "26, 4 mm": directory(tmp_path / "a", valve()),
        "29, 4 mm": directory(tmp_path / "b", valve(device=("sapien3_like", "29"), depth=6.0)),
        "bare": directory(tmp_path / "c", bare(), complete=False),
        "gone": tmp_path / "nothing",
    }
    path = write_comparison(members, tmp_path / "comparison.html", title="A </script> test")
    page = path.read_text(encoding="utf-8")
    assert not outside(page) and "http" not in page
    content = embedded(page)
    assert [one["name"] for one in content["members"]] == ["26, 4 mm", "29, 4 mm", "bare"]
    assert content["members"][2]["told"].endswith("not completed")
    assert "gone" in page and "no such file" in page
    first = content["members"][0]
    frame = np.frombuffer(base64.b64decode(first["frame"]), "<i2").reshape(-1, 3)
    assert len(frame) == 8 * len(valve().deployed.ends)
    assert content["step"] == 1.0 / 400.0
    assert np.abs(frame[:, :2]).max() / 400.0 == pytest.approx(13.0, abs=1.0)
    assert content["scales"]["strain"]["high"] == 2.0
    assert content["scales"]["rise"]["low"] == -content["scales"]["rise"]["high"]
    assert first["indices"]["oversizing_area"][2] in {"within", "above", "below"}
    assert "stress" in first and "stress" not in content["members"][2]
    with pytest.raises(InputError, match="no deployment"):
        write_comparison({"gone": tmp_path / "nothing"}, tmp_path / "x.html")


def test_a_long_root_is_not_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(tavr_comparison, "get_plotlyjs", lambda: "/* library */")
    points, triangles = tube(12.86, -15.0, 104.0, around=48, along=20)
    inner = patch(points, triangles, np.ones(len(triangles), bool))
    long = Valve(replace(bare().deployed, surfaces={"inner": inner}))
    folder = directory(tmp_path / "a", long)
    content = embedded(write_comparison({"long": folder}, tmp_path / "x.html").read_text("utf-8"))
    wall = np.frombuffer(base64.b64decode(content["members"][0]["wall"]["points"]), "<i2")
    heights = content["step"] * wall.reshape(-1, 3)[:, 2]
    assert np.ptp(heights) == pytest.approx(119.0, abs=0.01)


@pytest.mark.slow
def test_many_valves_stay_below_the_limit(tmp_path):
    folder = directory(tmp_path / "a", valve(device=("evolut_like", "29")))
    path = write_comparison({f"valve {k}": folder for k in range(12)}, tmp_path / "all.html")
    assert path.stat().st_size < LARGEST
