"""The filling curve of a left ventricle from one volume and one pressure (Klotz)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from organtwin.errors import InputError
from organtwin.units import ML, MMHG

#: Coefficient (mmHg) and exponent of the normalised curve of human hearts, P = A_n V_n^B_n.
A_N, B_N = 27.78, 2.76
#: V₀ / V_m = 0.6 − 0.006 P_m (P_m in mmHg).
V0_AT_ZERO, V0_SLOPE = 0.6, 0.006
#: Pressure (mmHg) above which α and β are taken from V₁₅ instead of V₃₀.
SWITCH = 22.0
#: V₁₅ = V₀ + 0.8 (V₃₀ − V₀).
V15_SHARE = 0.8


@dataclass(frozen=True)
class FillingCurve:
    """End-diastolic pressure–volume relation, P = α V^β.

    Attributes:
        V0: Volume at zero pressure (mm³).
        V30: Volume at 30 mmHg (mm³).
        alpha: Coefficient, for mmHg and mL.
        beta: Exponent.
    """

    V0: float
    V30: float
    alpha: float
    beta: float

    def pressure(self, volume: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Pressure (kPa) at a volume (mm³)."""
        return np.asarray(self.alpha * (np.asarray(volume) / ML) ** self.beta * MMHG)


def filling_curve(volume: float, pressure: float) -> FillingCurve:
    """The curve through one measured point of diastole.

        V₀ = V_m (0.6 − 0.006 P_m),    V₃₀ = V₀ + (V_m − V₀) / (P_m / A_n)^(1/B_n),
        β = ln(P_m / 30) / ln(V_m / V₃₀),    α = 30 / V₃₀^β

    Above 22 mmHg, β = ln(P_m / 15) / ln(V_m / V₁₅), α = P_m / V_m^β.

    Args:
        volume: End-diastolic volume V_m (mm³), > 0.
        pressure: End-diastolic pressure P_m (kPa), > 0 and below 40 mmHg.

    Raises:
        InputError: a volume or a pressure that the curve is not for.

    Source:
        Klotz et al. (2006), Am. J. Physiol. Heart Circ. Physiol. 291:H403–H412; as a computation,
        with the constants used here: Klotz, Dickstein & Burkhoff (2007), Nat. Protoc.
        2:2152–2158.

    >>> curve = filling_curve(120 * ML, 10 * MMHG)
    >>> round(curve.V0 / ML, 6)
    64.8
    """
    P, V = pressure / MMHG, volume / ML
    if not 0 < P < 40 or not V > 0:
        raise InputError(
            "Klotz curve",
            f"an end-diastolic volume of {V:.4g} mL at {P:.4g} mmHg.",
            "The volume must be > 0, the pressure between 0 and 40 mmHg.",
        )
    V0 = V * (V0_AT_ZERO - V0_SLOPE * P)
    V30 = V0 + (V - V0) / (P / A_N) ** (1 / B_N)
    if P <= SWITCH:
        beta = np.log(P / 30.0) / np.log(V / V30)
        alpha = 30.0 / V30**beta
    else:
        V15 = V0 + V15_SHARE * (V30 - V0)
        beta = np.log(P / 15.0) / np.log(V / V15)
        alpha = P / V**beta
    return FillingCurve(V0 * ML, V30 * ML, float(alpha), float(beta))
