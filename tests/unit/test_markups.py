from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from organtwin.errors import InputError
from organtwin.image.markups import (
    Box,
    Curve,
    Landmarks,
    Line,
    Markup,
    Plane,
    read_markup,
    read_markups,
    write_markups,
)

TURN, _ = np.linalg.qr(np.array([[1.0, 0.2, 0.1], [-0.3, 1.0, 0.0], [0.1, 0.2, 1.0]]))
TURN[:, 2] = np.cross(TURN[:, 0], TURN[:, 1])
HINGES = np.array([[10.0, -20.0, 30.0], [12.5, -4.0, 31.0], [1.0, -9.0, 35.5]])


def every_kind() -> tuple[Markup, ...]:
    return (
        Landmarks("hinges", HINGES, ("right", "left", "non-coronary"), ("ostium",)),
        Line("axis", HINGES[0], HINGES[1], ("apex", "base")),
        Curve("centreline", HINGES, ("1", "2", "3")),
        Curve("annulus", HINGES, ("1", "2", "3"), closed=True),
        Plane("valve", HINGES[0], TURN, np.array([30.0, 40.0])),
        Box("crop", HINGES[1], TURN, np.array([5.0, 60.0, 7.0]), inside_out=True),
    )


def save(path: Path, *entries: dict[str, object]) -> Path:
    path.write_text(json.dumps({"@schema": "x", "markups": entries}))
    return path


def point(*position: float, label: str = "") -> dict[str, object]:
    return {"label": label, "position": list(position)}


@pytest.mark.parametrize("system", ["LPS", "RAS"])
def test_round_trip_keeps_everything(tmp_path: Path, system: str) -> None:
    path = tmp_path / "all.mrk.json"
    write_markups(every_kind(), path, coordinate_system=system)
    again = read_markups(path)
    for before, after in zip(every_kind(), again, strict=True):
        assert type(before) is type(after)
        for field, value in vars(before).items():
            if isinstance(value, np.ndarray):
                np.testing.assert_allclose(getattr(after, field), value, atol=1e-9)
            else:
                assert getattr(after, field) == value


def test_ras_file_has_the_signs_of_slicer(tmp_path: Path) -> None:
    path = tmp_path / "all.mrk.json"
    write_markups(every_kind(), path, coordinate_system="RAS")
    entry = json.loads(path.read_text())["markups"][0]
    assert entry["coordinateSystem"] == "RAS"
    assert entry["controlPoints"][0]["position"] == [-10.0, 20.0, 30.0]


def test_file_name_by_which_slicer_knows_markups(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x.json: 3D Slicer knows markups by `.mrk.json`"):
        write_markups(every_kind(), tmp_path / "x.json")
    with pytest.raises(InputError, match="coordinateSystem `ARS` is unknown"):
        write_markups(every_kind(), tmp_path / "x.mrk.json", coordinate_system="ARS")


def test_matrices_of_a_plane_carry_slicers_axes_into_the_patient(tmp_path: Path) -> None:
    plane = Plane("valve", HINGES[0], TURN, np.array([30.0, 40.0]))
    for system in ("LPS", "RAS"):
        path = tmp_path / f"{system}.mrk.json"
        write_markups([plane], path, coordinate_system=system)
        entry = json.loads(path.read_text())["markups"][0]
        base, within = (
            np.array(entry[key]).reshape(4, 4) for key in ("baseToNode", "objectToBase")
        )
        if system == "LPS":  # what Slicer does on reading
            base[:2], within[:2] = -base[:2], -within[:2]
        ras_corner = (base @ within @ [15.0, -20.0, 0.0, 1.0])[:3]
        lps_corner = plane.centre + plane.axes @ [15.0, -20.0, 0.0]
        np.testing.assert_allclose(ras_corner * [-1, -1, 1], lps_corner)
        assert all(isinstance(x, float) for x in [*entry["baseToNode"], *entry["size"]])


def test_simple_list_of_the_slicer_manual(tmp_path: Path) -> None:
    entry = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "controlPoints": [point(-53.4, -73.3, 0.0, label="F-1"), point(49.9, -88.6, 0, label="")],
    }
    landmarks = read_markup(save(tmp_path / "f.mrk.json", entry), Landmarks)
    assert landmarks.labels == ("F-1", "2")
    np.testing.assert_allclose(landmarks.point("F-1"), [-53.4, -73.3, 0.0])


def test_points_in_ras_and_micrometres(tmp_path: Path) -> None:
    entry = {
        "type": "Line",
        "coordinateSystem": "RAS",
        "coordinateUnits": ["um", "UCUM", "micrometer"],
        "controlPoints": [point(0, 0, 0), point(3000, 4000, 0)],
    }
    line = read_markup(save(tmp_path / "l.mrk.json", entry), Line)
    np.testing.assert_allclose(line.end, [-3.0, -4.0, 0.0])
    assert line.length == pytest.approx(5.0)


@pytest.mark.parametrize(
    "facts",
    [
        {"normal": [0.0, 0.0, 2.0]},
        {"orientation": [-1.0, 0, 0, 0, -1, 0, 0, 0, 1]},
        {"baseToNode": [-1.0, 0, 0, 9, 0, -1, 0, 9, 0, 0, 1, 9, 0, 0, 0, 1]},
        {"controlPoints": [point(1, 2, 3), point(5, 2, 3), point(1, 8, 3)]},
    ],
    ids=["normal", "orientation", "matrix", "three points"],
)
def test_planes_of_all_kinds(tmp_path: Path, facts: dict[str, object]) -> None:
    entry = {"type": "Plane", "controlPoints": [point(1, 2, 3)]} | facts
    plane = read_markup(save(tmp_path / "p.mrk.json", entry), Plane)
    np.testing.assert_allclose(plane.normal, [0.0, 0.0, 1.0])
    np.testing.assert_allclose(plane.centre, [1.0, 2.0, 3.0])
    np.testing.assert_allclose(plane.axes.T @ plane.axes, np.eye(3), atol=1e-12)
    assert np.linalg.det(plane.axes) == pytest.approx(1.0)
    np.testing.assert_allclose(plane.height(np.array([[7.0, 7.0, 5.5]])), [2.5])


def test_box_knows_what_is_in_it(tmp_path: Path) -> None:
    entry = {"type": "ROI", "roiType": "Box", "size": [2, 4, 6], "controlPoints": [point(1, 1, 1)]}
    box = read_markup(save(tmp_path / "b.mrk.json", entry), Box)
    points = np.array([[1.9, 2.9, 3.9], [2.1, 1.0, 1.0]])
    assert box.contains(points).tolist() == [True, False]
    turned = read_markup(save(tmp_path / "t.mrk.json", entry | {"insideOut": True}), Box)
    assert turned.contains(points).tolist() == [False, True]


def test_markups_are_found_by_name(tmp_path: Path) -> None:
    path = tmp_path / "all.mrk.json"
    write_markups(every_kind(), path)
    assert read_markup(path, Curve, "annulus").closed
    with pytest.raises(InputError, match=r"2 curve markups\."):
        read_markup(path, Curve)
    with pytest.raises(InputError, match=r"no curve markups called `anulus`\. Did you mean `ann"):
        read_markup(path, Curve, "anulus")


def test_landmarks_say_what_is_missing() -> None:
    landmarks = every_kind()[0]
    assert isinstance(landmarks, Landmarks)
    with pytest.raises(InputError, match=r"point `ostium` was not placed"):
        landmarks.point("ostium")
    with pytest.raises(InputError, match=r"no point `rigth`\. Did you mean `right`\?"):
        landmarks.point("rigth")
    twice = Landmarks("x", HINGES[:2], ("a", "a"))
    with pytest.raises(InputError, match=r"2 points are called `a`"):
        twice.point("a")


TWO = [point(0, 0, 0), point(1, 1, 1)]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"type": "Angle"}, "type `Angle` is not read"),
        ({"type": "Plan"}, r"type `Plan` is not read\. Did you mean `Plane`"),
        ({"type": "Line", "coordinateSystem": "LAS"}, "coordinateSystem `LAS` is unknown"),
        ({"type": "Line", "coordinateUnits": "m"}, "coordinateUnits `m` is unknown"),
        ({"type": "Line", "controlPoints": TWO[:1]}, r"a line with 1 placed point\(s\)"),
        ({"type": "ClosedCurve", "controlPoints": TWO}, r"a curve with 2 placed point\(s\)"),
        ({"type": "Curve", "controlPoints": [{"position": [1, 2]}]}, r"point 1 `1`: `position` is"),
        ({"type": "Curve", "controlPoints": [{"label": "q"}]}, "`q`: `position` is None instead"),
        ({"type": "Curve", "controlPoints": 3}, "`controlPoints` is no list"),
        ({"type": "Plane"}, "neither a center nor a placed point"),
        ({"type": "Plane", "controlPoints": TWO}, "neither a normal nor three points"),
        ({"type": "Plane", "controlPoints": [*TWO, TWO[1]]}, "a plane without direction"),
        ({"type": "Plane", "center": [0, 0, 0], "normal": [0, 0, 0]}, "plane without direction"),
        (
            {
                "type": "Plane",
                "center": [0, 0, 0],
                "normal": [1, 0, 0],
                "orientation": [-1, 0, 0, 0, -1, 0, 0, 0, 1],
            },
            "point to different directions",
        ),
        ({"type": "ROI", "center": [0, 0, 0]}, "`size` is None instead of 3 numbers"),
        ({"type": "ROI", "center": [0, 0, 0], "size": [1, 0, 1]}, "a box of size"),
        (
            {
                "type": "ROI",
                "center": [0, 0, 0],
                "size": [1, 1, 1],
                "orientation": [1, 1, 0, 0, 1, 0, 0, 0, 1],
            },
            "axes are not at right angles",
        ),
        ({"type": "Line", "controlPoints": [TWO[0], point(0, 0, 9e4)]}, "extends over 9e.04 mm"),
    ],
)
def test_wrong_markups_are_refused(tmp_path: Path, entry: dict[str, object], message: str) -> None:
    path = save(tmp_path / "wrong.mrk.json", entry)
    with pytest.raises(InputError, match=f"wrong.mrk.json, markup 1.*{message}"):
        read_markups(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Dear colleague", "no JSON file"),
        ("[1, 2]", "no list `markups` in it"),
        ('{"markups": [3]}', "no list `markups` in it"),
        ('{"markups": []}', "holds no markups"),
    ],
)
def test_files_that_hold_no_markups(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.mrk.json"
    path.write_text(text)
    with pytest.raises(InputError, match=f"x.mrk.json: {message}"):
        read_markups(path)
    with pytest.raises(InputError, match=r"absent.mrk.json: no such file"):
        read_markups(tmp_path / "absent.mrk.json")
