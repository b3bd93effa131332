"""One example of every elastic law, for tests, the verification table and the documentation.

The numbers are examples of the right size, not recommendations; those that come from the
literature have a named constructor at their law.
"""

from __future__ import annotations

from organtwin.errors import InputError, suggestion
from organtwin.materials.active import ActiveStrain
from organtwin.materials.arterial import HolzapfelGasserOgden
from organtwin.materials.bone import OrthotropicBone
from organtwin.materials.guccione import Fung, Guccione, Usyk
from organtwin.materials.holzapfel_ogden import HolzapfelOgden
from organtwin.materials.isotropic import MooneyRivlin, NeoHookean, Ogden, SaintVenantKirchhoff
from organtwin.materials.kinematics import Material
from organtwin.materials.organs import Cartilage, Liver, LungParenchyma, VerondaWestmann
from organtwin.materials.valve import LeeSacks, MayNewmanYin

_HO = HolzapfelOgden.holzapfel_ogden_2009()

LAWS: dict[str, Material] = {
    "neo-Hooke": NeoHookean(mu=2.0),
    "Mooney-Rivlin": MooneyRivlin(c_1=1.5, c_2=0.5),
    "Ogden": Ogden(mu=(1.3, -0.2), alpha=(7.3, -5.1)),
    "Guccione": Guccione(stiffness=2.0, b_f=8.0, b_t=2.0, b_fs=4.0),
    "Usyk": Usyk(stiffness=2.0, b_f=8.0, b_s=6.0, b_n=3.0, b_fs=12.0, b_fn=3.0, b_sn=3.0),
    "Fung": Fung(
        stiffness=5.0, a_ff=3.0, a_ss=2.0, a_nn=1.0, a_fs=0.5, a_fn=0.2, a_sn=-0.1,
        b_fs=1.0, b_fn=0.8, b_sn=0.6,
    ),
    "Holzapfel-Ogden": _HO,
    "Holzapfel-Ogden, logistic switch": HolzapfelOgden(
        a=_HO.a, b=_HO.b, a_f=_HO.a_f, b_f=_HO.b_f, a_s=_HO.a_s, b_s=_HO.b_s,
        a_fs=_HO.a_fs, b_fs=_HO.b_fs, logistic=100.0,
    ),
    "Holzapfel-Ogden, dispersed": HolzapfelOgden(
        a=_HO.a, b=_HO.b, a_f=_HO.a_f, b_f=_HO.b_f, a_s=_HO.a_s, b_s=_HO.b_s,
        a_fs=_HO.a_fs, b_fs=_HO.b_fs, kappa_f=0.08, kappa_s=0.09,
    ),
    "Holzapfel-Gasser-Ogden": HolzapfelGasserOgden(c=3.0, k_1=2.4, k_2=0.8, angle=29.0),
    "Holzapfel-Gasser-Ogden, dispersed": HolzapfelGasserOgden(
        c=7.6, k_1=996.6, k_2=524.6, angle=50.0, kappa=0.2, delta=0.01
    ),
    "Lee-Sacks": LeeSacks(c_10=10.0, c_0=0.2, c_1=4.0, c_2=30.0, weight=0.5),
    "May-Newman-Yin": MayNewmanYin(mu=1.0, c_0=0.4, c_1=4.3, c_2=100.0),
    "Veronda-Westmann": VerondaWestmann(c_1=1.0, c_2=2.0),
    "lung": LungParenchyma.birzle_2019(),
    "liver": Liver(a=1.0, b=3.0),
    "cartilage": Cartilage(youngs_modulus=500.0, poisson_ratio=0.15, beta=0.5),
    "bone": OrthotropicBone.transversely_isotropic(
        E_f=17e6, E_t=11e6, G_ft=3.3e6, nu_ft=0.3, nu_tt=0.35
    ),
    "active strain": ActiveStrain(_HO, gamma=-0.1, sheet_share=0.7),
}  # fmt: skip


def example(name: str) -> Material:
    """The example of that name.

    Raises:
        InputError: no law of that name.
    """
    if name == "Saint-Venant-Kirchhoff":  # made when asked for: it warns
        return SaintVenantKirchhoff(youngs_modulus=10.0, poisson_ratio=0.3)
    if name not in LAWS:
        raise InputError("materials", f"no law `{name}`.", suggestion(name, names()))
    return LAWS[name]


def names() -> list[str]:
    """Names of all laws."""
    return [*LAWS, "Saint-Venant-Kirchhoff"]
