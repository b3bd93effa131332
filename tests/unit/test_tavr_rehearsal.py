"""Where a device is put, its second balloon, and the frame's lines for ParaView."""

from dataclasses import replace

import numpy as np
import pytest
import pyvista as pv
from mpi4py import MPI

from organtwin.devices.device_files import load_device
from organtwin.export.frame_series import FrameSeries
from organtwin.tavr.rehearsal import Settings, balloon_of, placement

ORIGIN = np.array([10.0, -20.0, 300.0])
#: Rows: any axes across an inclined annulus.
AXES = np.linalg.qr(np.array([[0.3, 0.9, 0.5], [0.6, -0.4, 0.2], [-0.5, 0.2, 0.8]]).T)[0].T
AXES *= np.sign(np.linalg.det(AXES))


def test_expanded_frames_land_at_the_depth():
    for name, size, ends in (("sapien3_like", "23", (-3.0, 21.0)), ("evolut_like", "26", (0, 50))):
        device = load_device(name, size)
        rest = max(height for height, _ in device.pattern.profile)
        where = placement(ORIGIN, AXES, device, ends, Settings(depth=3.0))
        middle, top = np.array([[0, 0, 0.5 * sum(ends)], [0, 0, ends[1]]], float)
        shortened = middle - [0, 0, rest / 2] if name == "sapien3_like" else top - [0, 0, rest]
        inflow = where.moved(shortened[None])[0]
        assert inflow == pytest.approx(ORIGIN - 3.0 * AXES[2])


def test_angles_count_from_the_root_wherever_it_lies():
    device = load_device("sapien3_like", "23")
    settings = Settings(tilt=10.0, towards=30.0, turn=0.0)
    where = placement(ORIGIN, AXES, device, (0.0, 24.0), settings)
    axis = AXES @ where.rotation()[:, 2]
    assert np.degrees(np.arccos(axis[2])) == pytest.approx(10.0)
    assert np.degrees(np.arctan2(axis[1], axis[0])) == pytest.approx(30.0)
    straight = placement(ORIGIN, AXES, device, (0.0, 24.0), replace(settings, tilt=0.0))
    assert AXES @ straight.rotation()[:, 0] == pytest.approx([1.0, 0.0, 0.0])
    turned = placement(ORIGIN, AXES, device, (0.0, 24.0), Settings(turn=15.0))
    first = AXES @ turned.rotation()[:, 0]
    assert np.degrees(np.arctan2(first[1], first[0])) == pytest.approx(15.0)


def test_a_second_balloon_has_the_diameter_that_was_asked_for():
    balloon = balloon_of(25.0)
    assert balloon.diameter_of(balloon.nominal_volume) == pytest.approx(25.0)
    assert balloon.diameter(balloon.rated_burst) == pytest.approx(27.0)


def test_lines_of_a_frame_are_read_by_paraview_and_gone_on_with(tmp_path):
    nodes, ends = np.eye(3), np.array([[0, 1], [1, 2]])
    for resume in (None, 1.0):
        series = FrameSeries(tmp_path, "frame", MPI.COMM_SELF, resume=resume)
        for t in (0.0, 1.0) if resume is None else (1.0, 2.0):
            series.write(t, nodes + t, ends, at_nodes={"contact_force": nodes},
                         at_struts={"fibre_strain": np.array([0.1, 0.2])})  # fmt: skip
    reader = pv.get_reader(tmp_path / "frame.pvd")
    assert reader.time_values == [0.0, 1.0, 2.0]
    reader.set_active_time_value(2.0)
    mesh = reader.read()[0]
    assert mesh.points == pytest.approx(nodes + 2.0)
    assert mesh.n_lines == 2
    assert mesh.cell_data["fibre_strain"] == pytest.approx([0.1, 0.2])
    assert mesh.point_data["contact_force"].shape == (3, 3)
