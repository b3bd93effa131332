"""The page of a rehearsal, and the command that writes it."""

import json

import pytest

from organtwin.errors import InputError
from organtwin.export import rehearsal_page
from organtwin.export.rehearsal_page import boundary_changes, verdict, write_rehearsal_page
from organtwin.export.rehearsal_pictures import interval

RANK = {
    "place": 1, "name": "a-23", "advised": True, "score": 0.3, "broken": [],
    "reasons": ["mild leak"], "shares": {"leak": 0.2, "gradient": 0.1}, "behind": "",
    "unknown": ["coronary"], "why": "Mild leak.", "settings": {},
    "indices": {"leak": {"value": 2.0, "unit": "mm²"}, "other": {"value": None, "unit": "1"}},
}  # fmt: skip
WORSE = RANK | {"place": 2, "name": "b-26", "advised": False, "why": "Not advised: too <large>."}
RANKING = {
    "title": "Two valves", "written": "now", "versions": {"organtwin": "1"},
    "ranks": [RANK, WORSE],
    "members": [
        {"name": "a-23", "status": "finished", "reason": "", "seconds": 60.0},
        {"name": "b-26", "status": "finished", "reason": "", "seconds": 60.0},
        {"name": "c-29", "status": "failed", "reason": "no equilibrium", "seconds": 1.0},
    ],
    "rules": [{"name": "size", "index": "oversizing_*"}],
    "criteria": [
        {"name": "leak", "index": "leak", "weight": 3.0, "good": 0.0, "bad": None, "words": ""}
    ],
}  # fmt: skip
SENSITIVITY = {
    "of": "a-23", "runs": [{"status": "finished"}, {"status": "failed"}],
    "indices": [
        {"name": "leak", "unit": "mm²", "value": 2.0, "low": 1.0, "high": 11.0,
         "threshold": [None, 10.0], "sure": False, "largest": "depth", "turns": ["depth 3 mm"],
         "missing": [], "by": [
             {"factor": "depth", "below": 0.8, "above": 8.0, "share": 0.9, "values": {}},
             {"factor": "mesh", "below": 0.6, "above": 4.0, "share": 0.1, "values": {}}]},
        {"name": "still", "unit": "1", "value": 1.0, "low": 1.0, "high": 1.0,
         "threshold": [None, None], "sure": True, "largest": "", "turns": [], "missing": ["mesh"],
         "by": []},
    ],
}  # fmt: skip


def drawn(path):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"picture")
    return path


def test_the_page_tells_ranks_reasons_and_intervals(tmp_path):
    (tmp_path / "ranking.json").write_text(json.dumps(RANKING))
    (tmp_path / "sensitivity.json").write_text(json.dumps(SENSITIVITY))
    page = write_rehearsal_page(tmp_path).read_text(encoding="utf-8")
    assert "Mild leak." in page
    assert "too &lt;large&gt;" in page
    assert "no equilibrium" in page
    assert "2 (1 to 11)" in page
    assert interval({"value": 1.047, "low": 1.036, "high": 1.054}) == "1.047 (1.036 to 1.054)"
    assert "depth (90" in page
    assert "iframe src" not in page  # no member has the record of a valve
    assert "Not judged, for its index is missing: coronary." in page
    for name in ("ranking.png", "tornado.png"):
        assert (tmp_path / "pictures" / name).stat().st_size > 10_000


def test_boundary_conditions_come_first(tmp_path, monkeypatch):
    for name in ("draw_ranking", "draw_tornado"):  # seen above; they take seconds
        monkeypatch.setattr(rehearsal_page, name, lambda _, path, *__: drawn(path))
    by = [
        {
            "factor": "how it is held",
            "below": 1.0,
            "above": 0.0,
            "share": 0.5,
            "values": {"potted": 1.0, "bed": None},
        },
        {"factor": "depth", "below": 0.3, "above": 0.4, "share": 0.5, "values": {"3 mm": 2.4}},
        {"factor": "mesh", "below": 0.4, "above": 0.3, "share": 0.1, "values": {}},
    ]
    moved = {**SENSITIVITY["indices"][0], "by": by}
    found = {**SENSITIVITY, "boundary": ["how it is held"], "indices": [
        {**SENSITIVITY["indices"][1], "by": by[1:]}, moved,
    ]}  # fmt: skip
    (one,) = boundary_changes(RANKING, found)  # the other is no index that ranks
    assert one["words"] == "leak" and one["cells"] == {"how it is held: potted": "1 (−50 %)"}
    assert one["others"] == pytest.approx([25.0, 25.0])
    assert "Boundary conditions alone move leak of a-23 by −50 %" in verdict(RANKING, found)
    (tmp_path / "ranking.json").write_text(json.dumps(RANKING))
    first, ranked = "Boundary conditions first", "<h2>Ranked</h2>"
    page = write_rehearsal_page(tmp_path).read_text(encoding="utf-8")
    assert first not in page and "is not known yet" in page
    (tmp_path / "sensitivity.json").write_text(json.dumps(found))
    page = write_rehearsal_page(tmp_path).read_text(encoding="utf-8")
    assert page.index(first) < page.index("1 (−50 %)") < page.index(ranked)
    (tmp_path / "sensitivity.json").write_text(
        json.dumps({**found, "indices": [{**moved, "by": [{**by[0], "values": {}}]}]})
    )
    page = write_rehearsal_page(tmp_path).read_text(encoding="utf-8")
    assert "no boundary condition that was tried moves" in page


def test_the_best_are_compared(tmp_path, monkeypatch):
    compared = []
    monkeypatch.setattr(
        "organtwin.export.tavr_comparison.write_comparison",
        lambda members, path, title: compared.append((members, path)),
    )
    (tmp_path / "ranking.json").write_text(json.dumps(RANKING))
    valve = tmp_path / "members" / "a-23"
    valve.mkdir(parents=True)
    (valve / "deployed.npz").touch()
    page = write_rehearsal_page(tmp_path).read_text(encoding="utf-8")
    assert 'iframe src="comparison.html"' in page
    assert compared == [({"a-23": valve}, tmp_path / "comparison.html")]


def test_the_page_of_a_sweep_that_has_only_begun(tmp_path):
    (tmp_path / "ranking.json").write_text(json.dumps(RANKING | {"ranks": []}))
    page = write_rehearsal_page(tmp_path).read_text(encoding="utf-8")
    assert "No member is finished yet." in page
    assert "iframe src" not in page


def test_without_a_ranking_there_is_no_page(tmp_path):
    with pytest.raises(InputError, match="Run the rehearsal first"):
        write_rehearsal_page(tmp_path)


def test_the_verdict():
    text = verdict(RANKING, SENSITIVITY)
    assert text == (
        "2 of 3 plans are finished, 1 failed. First is a-23: mild leak. 1 is not advised. "
        "Of a-23 the intervals of leak lie across a threshold."
    )
    unjudged = RANK | {"unknown": ["leak", "size", "coronary (left)"]}
    rules = [{"name": "size", "index": "*"}, {"name": "coronary", "index": "laceration_*"}]
    text = verdict(RANKING | {"ranks": [unjudged], "rules": rules}, {})
    assert text.endswith("Rules that a-23 was not judged by: size, coronary (left).")
    refused = RANKING | {"ranks": [WORSE]}
    assert "None can be advised; b-26 comes nearest." in verdict(refused, {})
