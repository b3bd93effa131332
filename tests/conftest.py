"""What all tests share: a time limit, order among MPI ranks, folders that ranks have in common."""

import faulthandler
import gc
import os
import sys

import pytest
from mpi4py import MPI

import organtwin  # noqa: F401 - brings its libraries in the right order, before any test module
from organtwin.parallel import on_root

#: Longest that a test may take (s); a rank that waits for ever for another ends here.
LIMIT = 240
SLOW_LIMIT = 1200
RANK = MPI.COMM_WORLD.rank


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    config.stash_stderr = os.dup(sys.stderr.fileno())
    if RANK > 0:
        # One account of the run is enough; what fails here is told by the hook below.
        reporter = config.pluginmanager.getplugin("terminalreporter")
        reporter._tw._file = open(os.devnull, "w")  # noqa: SIM115, PTH123


def pytest_collection_finish():
    # What was imported stays; to search it for garbage again and again would take minutes.
    gc.collect()
    gc.freeze()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item, nextitem):
    marker = item.get_closest_marker("limit")
    default = SLOW_LIMIT if item.get_closest_marker("slow") else LIMIT
    seconds = marker.args[0] if marker else default
    faulthandler.dump_traceback_later(seconds, exit=True, file=item.config.stash_stderr)
    yield
    faulthandler.cancel_dump_traceback_later()
    # PETSc and MPI objects are freed collectively: at the same place on every rank.
    if MPI.COMM_WORLD.size > 1 or nextitem is None or nextitem.path != item.path:
        gc.collect()
    MPI.COMM_WORLD.barrier()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if RANK > 0 and report.failed:
        text = f"\n[rank {RANK}] {report.nodeid}\n{report.longreprtext}\n"
        os.write(item.config.stash_stderr, text.encode())


@pytest.fixture
def shared_tmp_path(tmp_path):
    """A folder that all ranks have in common; rank 0's."""
    return on_root(MPI.COMM_WORLD, lambda: tmp_path)
