"""Process that times the numpy kernel gotranx makes of a definition, in its environment.

``run STEPS`` on standard input is answered with the nanoseconds of processor time per node and
step as JSON; also offers `cell` to `peer_beat.py`. Imports nothing of organtwin.
"""

import json
import pathlib
import sys
import tempfile
import time
import types

import gotranx
import numpy as np


def cell(definition: str, *, potential: str = "") -> types.ModuleType:
    """Numpy kernel of a definition by gotranx.

    Its sections are dropped, since gotranx looks for the states of a section within it. Guards of
    removable singularities are left out, for they cost the kernel time and the definition has none.

    Args:
        definition: File.
        potential: State that takes an explicit step, as in our kernels; without one all states
            take the exponential one, as is usual there.
    """
    lines = pathlib.Path(definition).read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith(("expressions(", "#")))
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "cell.ode"
        path.write_text(text, encoding="utf-8")
        ode = gotranx.load_ode(path, remove_singularities=False)
    scheme = gotranx.schemes.Scheme
    stiff = [state.name for state in ode.states if state.name != potential]
    code = gotranx.cli.gotran2py.get_code(
        ode,
        scheme=[scheme.hybrid_rush_larsen if potential else scheme.generalized_rush_larsen],
        stiff_states=stiff if potential else None,
    )
    module = types.ModuleType("cell")
    exec(code, module.__dict__)
    module.step = module.hybrid_rush_larsen if potential else module.generalized_rush_larsen
    return module


def main() -> None:
    definition, nodes, dt = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    module = cell(definition, potential="V")
    parameters, row = module.init_parameter_values(), module.state_index("V")
    for line in sys.stdin:
        steps = int(line.split()[1])
        states = np.repeat(module.init_state_values()[:, None], nodes, axis=1)
        states[row] = np.linspace(-85.0, 20.0, nodes)
        start = time.process_time()
        for n in range(steps):
            states = module.step(states, n * dt, dt, parameters)
        taken = (time.process_time() - start) / (nodes * steps) * 1e9
        print(json.dumps({"nanoseconds": taken}), flush=True)


if __name__ == "__main__":
    main()
