"""Audit log: lines that hold, lines that were tampered with, runs at the same time."""

import json
import os
from contextlib import nullcontext
from pathlib import Path

import pytest
from typer.testing import CliRunner

from organtwin import audit
from organtwin.cli import app
from organtwin.cli_audit import entry
from organtwin.errors import InputError


@pytest.fixture
def log(tmp_path):
    file = tmp_path / "audit.jsonl"
    for number in range(5):
        audit.append(file, {"event": "begin", "run": str(number)})
    return file


def lines(file):
    return file.read_bytes().splitlines(keepends=True)


def test_a_log_holds_and_is_its_owners(log):
    found = audit.verify(log)
    assert (found.lines, found.broken) == (5, None)
    assert found.last == json.loads(lines(log)[-1])["hash"]
    assert log.stat().st_mode & 0o777 == 0o600
    assert audit.verify(log, head=json.loads(lines(log)[2])["hash"]).broken is None


def edited(rows):
    return [*rows[:2], rows[2].replace(b'"run": "2"', b'"run": "7"'), *rows[3:]]


def rehashed(rows):
    """A line that was changed by somebody who knows how hashes are made."""
    content = json.loads(rows[2]) | {"run": "7"}
    content["hash"] = audit._hash(content)
    return [*rows[:2], audit._line(content), *rows[3:]]


def doubled_key(rows):
    return [*rows[:2], rows[2].replace(b'"run"', b'"run": "9", "run"'), *rows[3:]]


@pytest.mark.parametrize(
    ("tamper", "broken", "reason"),
    [
        (edited, 3, "its content was changed"),
        (rehashed, 4, "does not follow from line 3"),
        (doubled_key, 3, "its content was changed"),
        (lambda rows: [*rows[:2], *rows[3:]], 3, "does not follow from line 2"),
        (lambda rows: rows[1:], 1, "no first line"),
        (lambda rows: [rows[0], rows[2], rows[1], *rows[3:]], 2, "reordered"),
        (lambda rows: [*rows[:3], rows[2], *rows[3:]], 4, "added"),
        (lambda rows: [*rows[:3], b"free text\n", *rows[3:]], 4, "no JSON"),
        (lambda rows: rows[:3], 4, "5 lines were written"),
        (lambda rows: [*rows[:4], rows[4][:-9]], 5, "cut short"),
        (lambda rows: [], 1, "5 lines were written"),
    ],
)
def test_the_first_broken_line_is_named(log, tamper, broken, reason):
    log.write_bytes(b"".join(tamper(lines(log))))
    found = audit.verify(log)
    assert found.broken == broken
    assert reason in found.reason
    result = CliRunner().invoke(app, ["audit", "verify", str(log)])
    assert result.exit_code == 1
    assert f"line {broken}: " in result.output


def test_a_log_written_anew_is_told_by_a_hash_kept_elsewhere(log):
    kept = audit.verify(log).last
    log.unlink()
    audit.append(log, {"event": "begin", "run": "other"})
    assert audit.verify(log).broken is None
    assert audit.verify(log, head=kept).reason == "no line has the hash that was given"


def test_after_a_line_cut_short_the_log_goes_on_and_tells(log):
    log.write_bytes(log.read_bytes()[:-20])
    audit.append(log, {"event": "begin", "run": "next"})
    assert audit.verify(log).broken == 5
    assert json.loads(lines(log)[-1])["run"] == "next"


def test_a_line_that_never_ended_makes_room_and_is_told(log):
    with log.open("ab") as stream:
        stream.write(b'{"number": 6, "event": "beg')
    assert audit.verify(log).reason == "it is cut short"
    audit.append(log, {"event": "begin", "run": "next"})
    assert (audit.verify(log).lines, audit.verify(log).broken) == (6, None)
    assert json.loads(lines(log)[-1])["torn"] == 27


def test_a_run_killed_before_the_head_was_written_breaks_nothing(log):
    head = Path(f"{log}.head").read_text()
    audit.append(log, {"event": "begin", "run": "killed"})
    Path(f"{log}.head").write_text(head)
    assert (audit.verify(log).lines, audit.verify(log).broken) == (6, None)
    audit.append(log, {"event": "begin", "run": "next"})
    assert audit.verify(log).broken is None


def test_a_full_disk_takes_the_whole_line_back(log, monkeypatch):
    before = log.read_bytes()
    real = os.fsync

    def full(descriptor):
        real(descriptor)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        audit.append(log, {"event": "end", "run": "4"})
    assert log.read_bytes() == before
    monkeypatch.setattr(os, "fsync", real)
    audit.append(log, {"event": "begin", "run": "next"})
    assert audit.verify(log).broken is None


def test_many_inputs_are_told_together(tmp_path):
    hashes = [f"{k:064x}" for k in range(900)]
    assert list(audit.numbered(hashes[:3])) == ["input1", "input2", "input3"]
    (told,) = audit.numbered(hashes).items()
    assert told[0] == "900 inputs" and len(told[1]) == 64
    assert audit.numbered(hashes[::-1]) == dict([told])
    file = tmp_path / "log"
    audit.append(file, {"inputs": {f"input{k}": h for k, h in enumerate(hashes)}})
    assert audit.verify(file).broken is None  # also where another version told them one by one


def test_runs_at_the_same_time_wait_for_each_other(tmp_path):
    file, each = tmp_path / "audit.jsonl", 25
    children = []
    for run in range(4):
        child = os.fork()
        if child == 0:
            try:
                for _ in range(each):
                    audit.append(file, {"run": str(run)})
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    found = audit.verify(file)
    assert (found.lines, found.broken) == (4 * each, None)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "complete"),
        (KeyboardInterrupt(), "interrupted"),
        (InputError("Jane Doe.nii", "wrong"), "refused"),
        (ValueError("Jane Doe"), "failed: ValueError"),
    ],
)
def test_a_run_has_a_begin_and_an_end(tmp_path, monkeypatch, error, outcome):
    monkeypatch.delenv(audit.HOST, raising=False)
    file = tmp_path / "audit.jsonl"
    scan = tmp_path / "Jane_Doe.nii"
    scan.write_bytes(b"voxels")
    with (
        pytest.raises(type(error)) if error else nullcontext(),
        audit.noted(file, "organtwin mesh", audit.content_hash([scan]), {"version": "1"}),
    ):
        if error:
            raise error
    begin, end = (json.loads(line) for line in lines(file))
    assert begin["run"] == end["run"]
    assert (begin["event"], end["event"], end["outcome"]) == ("begin", "end", outcome)
    assert begin["inputs"] == {"input1": audit._sha256(scan)}
    assert begin["user"]
    assert "host" not in begin
    assert b"Jane" not in file.read_bytes()
    assert str(tmp_path).encode() not in file.read_bytes()


def test_a_log_that_cannot_be_written_stops_the_run_before_it_begins(tmp_path):
    (tmp_path / "folder").write_text("")
    with pytest.raises(InputError, match="it can't be written"):
        audit.begin(tmp_path / "folder" / "audit.jsonl", "organtwin run", {}, {})


def test_where_the_log_is(tmp_path, monkeypatch):
    monkeypatch.delenv(audit.PLACE, raising=False)
    assert audit.place(tmp_path) == tmp_path / "audit.jsonl"
    assert audit.place() is None
    monkeypatch.setenv(audit.PLACE, str(tmp_path / "mine.jsonl"))
    assert audit.place(tmp_path) == tmp_path / "mine.jsonl"
    monkeypatch.setenv(audit.PLACE, "off")
    assert audit.place(tmp_path) is None


@pytest.mark.parametrize("code", [0, 1, 2])
def test_commands_note_the_files_they_are_given(tmp_path, monkeypatch, code):
    file, scan = tmp_path / "mine.jsonl", tmp_path / "Jane_Doe.nii"
    scan.write_bytes(b"voxels")
    monkeypatch.setenv(audit.PLACE, str(file))
    monkeypatch.setattr("sys.argv", ["/opt/bin/organtwin", "segment", str(scan)])
    before = os.umask(0o022)
    try:
        with pytest.raises(SystemExit), entry(["segment", str(scan), "--picture"]):
            raise SystemExit(code)
        assert os.umask(0o022) == 0o077
    finally:
        os.umask(before)
    begin, end = (json.loads(line) for line in lines(file))
    assert begin["command"] == "organtwin segment"
    assert end["outcome"] == {0: "complete", 1: "failed: exit code 1", 2: "refused"}[code]
    assert b"Jane" not in file.read_bytes()
    # Commands that note their runs themselves are not told twice.
    monkeypatch.setattr("sys.argv", ["organtwin", "run", str(scan)])
    try:
        with entry(["run", str(scan)]):
            pass
    finally:
        os.umask(before)
    assert audit.verify(file).lines == 2


def test_the_content_of_a_folder_counts_not_its_names(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        for k in range(2):
            (tmp_path / name / f"{name}{k}").write_text(str(k))
    first, second = (audit.content_hash([tmp_path / name]) for name in ("one", "two"))
    assert first == second
    (Path(tmp_path) / "two" / "two1").write_text("other")
    assert audit.content_hash([tmp_path / "two"]) != first
