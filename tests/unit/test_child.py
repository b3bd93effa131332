import os
import time

import numpy as np
import pytest

from organtwin.errors import MeshError
from organtwin.mesh.conforming.child import in_child


def test_arrays_come_back_in_order():
    one, two = in_child(lambda: (np.arange(3), np.eye(2)), 10.0, "test")
    assert one.tolist() == [0, 1, 2]
    assert two.shape == (2, 2)


def test_errors_come_back_as_they_are():
    def fail():
        raise MeshError("gmsh", "PLC error.", "Smooth less.")

    with pytest.raises(MeshError, match=r"gmsh: PLC error\. Smooth less\."):
        in_child(fail, 10.0, "test")


def test_a_crash_is_an_error_here():
    with pytest.raises(MeshError, match=r"gmsh: it crashed \(code -11\)"):
        in_child(lambda: os.kill(os.getpid(), 11), 10.0, "gmsh")


def test_a_hang_ends_after_the_limit():
    start = time.monotonic()
    with pytest.raises(MeshError, match="gmsh: it took longer than 0 s"):
        in_child(lambda: time.sleep(60), 0.3, "gmsh")
    assert time.monotonic() - start < 10.0
