import pytest
from mpi4py import MPI

from organtwin.verify.biventricle import ventricles
from organtwin.verify.problems import select
from organtwin.verify.scar import Scar, scarred


def test_isthmus_and_lesion_lie_where_the_scar_is(tmp_path):
    heart = ventricles(MPI.COMM_SELF, tmp_path / "heart.msh", size=8.0, refinements=1)
    scar = Scar()
    whole, ablated = scarred(heart, scar), scarred(heart, scar, ablated=True)
    assert set(whole.regions) == {"lv", "rv", "scar", "isthmus", "entrance"}
    assert whole.volume() == pytest.approx(heart.domain.volume())
    assert whole.volume("rv") == pytest.approx(heart.domain.volume("rv"))
    # Through a wall of 10 mm.
    oval = whole.volume("scar", "isthmus", "entrance")
    assert oval == pytest.approx(10.0 * 3.14 / 4 * scar.length * scar.width, rel=0.25)
    lost = whole.volume("isthmus") - ablated.volume("isthmus")
    assert 0.0 < lost < ablated.volume("lesion")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fidelities", "scar_reentry"])
def test_ventricles_keep_to_what_verify_says_of_them(name):
    (problem,) = select([name])
    assert all(record.met for record in problem.compute(MPI.COMM_WORLD, False))


@pytest.mark.slow
def test_each_tissue_model_activates_both_ventricles():
    (problem,) = select(["fidelities"])
    records = problem.compute(MPI.COMM_SELF, True)
    assert len(records) == 10
    assert all(record.met for record in records), [r for r in records if not r.met]
