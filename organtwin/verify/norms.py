"""Distance of what is computed from what is exact."""

from __future__ import annotations

import numpy as np
import ufl
from ufl.core.expr import Expr

from organtwin.solve.assembly import integral


def relative_error(found: Expr, exact: Expr, dx: ufl.Measure) -> float:
    """‖found − exact‖ / ‖exact‖ in L², over what the measure covers; collective.

    Args:
        found: Any shape.
        exact: Of the same shape.
        dx: Measure, of a volume or a surface.
    """
    off, size = (integral(ufl.inner(e, e) * dx) for e in (found - exact, exact))
    return float(np.sqrt(off / size))
