"""A result directory that looks like a heartbeat but takes seconds: for pictures and the report.

Motion, potential and tension are formulas on a real mesh; pressures and volumes come from a small
two-chamber sketch of a heartbeat. Nothing here is physics.
"""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from organtwin.anatomy.coordinates import Coordinates, coordinates
from organtwin.anatomy.fibres import FibreAngles, fibres
from organtwin.anatomy.landmarks import SITES, activation_sites
from organtwin.export.fields import FieldWriter
from organtwin.mesh.domain import Domain, read_domain, refine, region_field
from organtwin.mesh.quality import MeshReport, mesh_quality

BEAT = 800.0
#: Heights of the leads (mV).
LEADS = {
    "I": 0.6, "II": 1.0, "III": 0.4, "aVR": -0.8, "aVL": 0.1, "aVF": 0.7,
    "V1": -0.5, "V2": -0.3, "V3": 0.5, "V4": 1.2, "V5": 1.1, "V6": 0.8,
}  # fmt: skip

type Array = NDArray[np.float64]


def write_fake_result(
    directory: Path, mesh: Path, *, refinements: int = 1, interval: float = 25.0
) -> Path:
    """Write fields, scalars, ``run.json`` and the mesh report; returns ``directory``."""
    domain = read_domain(mesh, MPI.COMM_SELF)
    at = coordinates(domain, degree=2)
    fine = refine(domain, refinements).fine
    times = np.arange(0.0, BEAT + 1e-9, interval)
    early = _activation(fine, at)
    _write_activation(directory, fine, early)
    _write_potential(directory, fine, early, times)
    _write_mechanics(directory, domain, at, times)
    rows = _scalars()
    with (directory / "scalars.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(rows)
        table.writerows(np.column_stack(list(rows.values())).round(5).tolist())
    _write_mesh_report(directory, domain, mesh)
    manifest = _manifest(domain)
    (directory / "run.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return directory


def contraction(t: float) -> float:
    """Between 0 (relaxed) and 1."""
    return float(
        np.clip(np.sin(np.pi * (t - 40.0) / 380.0), 0.0, 1.0) ** 1.3 if 40 < t < 420 else 0
    )


def _activation(domain: Domain, at: Coordinates) -> fem.Function:
    sites = np.array(list(activation_sites(domain, at, list(SITES)).values()))
    early = fem.Function(fem.functionspace(domain.mesh, ("Lagrange", 1)))
    early.interpolate(
        lambda x: 8.0 + np.linalg.norm(x.T[:, None] - sites[None], axis=2).min(axis=1) / 0.75
    )
    return early


def _potential(since: Array) -> Array:
    upstroke = 1.0 / (1.0 + np.exp(-np.clip(since, -60, 60) / 0.4))
    recovery = 1.0 / (1.0 + np.exp(np.clip((since - 280.0) / 18.0, -60, 60)))
    return np.asarray(-85.0 + 110.0 * upstroke * recovery * (1.0 - 0.0006 * np.maximum(since, 0)))


def _write_activation(directory: Path, domain: Domain, early: fem.Function) -> None:
    directions = fibres(domain, FibreAngles(), fem.functionspace(domain.mesh, ("DG", 0, (3,))))
    writer = FieldWriter(directory / "fields", "activation", domain.mesh)
    apd = fem.Function(early.function_space)
    apd.x.array[:] = 300.0 - 0.3 * early.x.array
    fields = {"activation_time": early, "apd": apd, "fibre": directions.f0}
    writer.write(0.0, {**fields, "region": region_field(domain)})


def _write_potential(directory: Path, domain: Domain, early: fem.Function, times: Array) -> None:
    writer = FieldWriter(directory / "fields", "electrophysiology", domain.mesh)
    v = fem.Function(early.function_space)
    for t in times:
        v.x.array[:] = _potential(t - early.x.array)
        writer.write(float(t), {"transmembrane_potential": v})


def _write_mechanics(directory: Path, domain: Domain, at: Coordinates, times: Array) -> None:
    cells = fem.functionspace(domain.mesh, ("DG", 0, (3,)))
    directions = fibres(domain, FibreAngles(), cells, at=at)
    constant = {"fibre": directions.f0, "sheet": directions.s0, "normal": directions.n0}
    region = fem.Function(fem.functionspace(domain.mesh, ("DG", 0)))
    for name, number in domain.regions.items():
        region.x.array[domain.cells(name)] = number
    early = _activation(domain, at)
    nodal = early.function_space
    u = fem.Function(fem.functionspace(domain.mesh, ("Lagrange", 2, (3,))))
    F = ufl.Identity(3) + ufl.grad(u)
    strain = fem.Expression(
        (ufl.inner(F * directions.f0, F * directions.f0) - 1) / 2,
        region.function_space.element.interpolation_points,
    )
    writer = FieldWriter(directory / "fields", "mechanics", domain.mesh, degree=2)
    for t in times:
        c = contraction(float(t))
        u.interpolate(lambda x, c=c: _motion(x.T, at, c).T)
        stretch = fem.Function(region.function_space)
        stretch.interpolate(strain)
        fields = {"displacement": u, **constant, "region": region, "fibre_strain": stretch}
        for name, values in {
            "transmembrane_potential": _potential(t - early.x.array),
            "calcium": 0.1 + 0.9 * c * np.ones_like(early.x.array),
            "active_tension": 60.0 * c * (1.0 + 0.2 * np.sin(early.x.array / 10.0)),
            "pressure": 8.0 * c * np.ones_like(early.x.array),
        }.items():
            fields[name] = fem.Function(nodal)
            fields[name].x.array[:] = values
        for name, factor in (("fibre_stress", 50.0), ("von_mises_stress", 45.0)):
            fields[name] = fem.Function(region.function_space)
            fields[name].x.array[:] = factor * c * (1.0 + stretch.x.array)
        writer.write(float(t), fields)


def _motion(x: Array, at: Coordinates, c: float) -> Array:
    """Ring-wise almost volume-preserving squeeze, shortening and twist about the long axis."""
    axis = at.axis
    height = axis.height(x)[:, None]
    along = axis.direction
    r = x - axis.apex
    r = r - (r @ along)[:, None] * along
    radius = np.linalg.norm(r, axis=1, keepdims=True) + 1e-9
    squeeze = -6.5 * c * (20.0 / np.maximum(radius, 14.0)) * r / np.maximum(radius, 14.0)
    shorten = 9.0 * c * (1.0 - height) * along - 8.0 * c * along
    twist = np.deg2rad(10.0) * c * (1.0 - height) * np.cross(along, r)
    return np.asarray(squeeze + shorten + twist)


def _scalars() -> dict[str, Array]:
    t = np.arange(0.0, BEAT + 1e-9, 2.0)
    e = np.array([contraction(ti) for ti in t])
    fill = np.clip((t - 430.0) / 300.0, 0.0, 1.0) ** 0.6
    eject = np.clip((t - 100.0) / 200.0, 0.0, 1.0)
    eject = eject * eject * (3 - 2 * eject)
    v_lv = 125.0 - 70.0 * eject + 70.0 * fill * (t > 430)
    v_rv = 140.0 - 70.0 * eject + 70.0 * fill * (t > 430)
    p_lv = 7.0 + 1.5 * fill + 108.0 * np.clip(e * 1.25, 0, 1) ** 0.9
    p_rv = 4.0 + 1.0 * fill + 22.0 * np.clip(e * 1.25, 0, 1) ** 0.9
    opened = (t > 100) & (t < 305)
    decay = 78.0 + 40.0 * np.exp(-np.maximum(t - 290.0, 0.0) / 350.0)
    p_ao = np.where(
        opened, np.maximum(p_lv - 1.5, 80.0), np.where(t < 100, 82 - t / 50, decay - 10)
    )
    q_av = np.where(opened, np.gradient(-v_lv, t) * 1000.0, 0.0)
    q_mv = np.where(t > 430, np.gradient(v_lv, t) * 1000.0, 0.0)
    qrs = np.exp(-(((t - 45) / 9) ** 2)) - 0.3 * np.exp(-(((t - 65) / 8) ** 2))
    wave = 0.25 * np.exp(-(((t - 320) / 40) ** 2))
    columns = {
        "t [ms]": t, "p_lv [mmHg]": p_lv, "p_rv [mmHg]": p_rv,
        "p_la [mmHg]": 8.0 + 3.0 * np.exp(-(((t - 400) / 60) ** 2)),
        "p_ra [mmHg]": 4.0 + 1.0 * np.exp(-(((t - 400) / 60) ** 2)),
        "p_ar_sys [mmHg]": p_ao, "p_ven_sys [mmHg]": 25.0 + 0 * t, "p_ar_pul [mmHg]": 0.2 * p_ao,
        "p_ven_pul [mmHg]": 10.0 + 0 * t, "V_lv [mL]": v_lv, "V_rv [mL]": v_rv,
        "V_la [mL]": 60.0 + 20 * eject - 20 * fill * (t > 430),
        "V_ra [mL]": 60.0 + 20 * eject - 20 * fill * (t > 430),
        "Q_mv [mL/s]": q_mv, "Q_av [mL/s]": q_av, "Q_tv [mL/s]": q_mv, "Q_pv [mL/s]": q_av,
        "activated [%]": 100.0 * np.clip((t - 8.0) / 75.0, 0, 1),
        "calcium_mean [uM]": 0.1 + 0.9 * e,
        "active_tension_mean [kPa]": 60.0 * e, "tissue_volume [mL]": 131.0 * (1 + 0.002 * e),
        **{f"ecg_{name} [mV]": size * (qrs + wave) for name, size in LEADS.items()},
        "newton": 2.0 + np.round(e),
        "factorisations": np.where(np.arange(t.size) % 9 == 0, 1.0, 0.0),
    }  # fmt: skip
    return {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}


def _write_mesh_report(directory: Path, domain: Domain, path: Path) -> None:
    volumes = {name: domain.volume(name) / 1000.0 for name in domain.regions}
    quality = mesh_quality(
        domain.mesh.geometry.x,
        domain.mesh.geometry.dofmaps[0].astype(np.int64),
        volumes,
        {name: volume * 1.01 for name, volume in volumes.items()},
    )
    report = MeshReport(
        str(path), 5.0, quality, {name: len(domain.cells(name)) for name in domain.regions},
        {name: domain.area(name) for name in domain.surfaces}, {"lv_blood": 90.0},
        {"lv_blood": 0.0},
        ("Slivers were removed.",),
    )  # fmt: skip
    folder = directory / "stages" / "mesh"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mesh.json").write_text(json.dumps(asdict(report)), encoding="utf-8")


def _manifest(domain: Domain) -> dict[str, object]:
    results = {
        "lv_end_diastolic_volume": (125.0, "mL"), "lv_end_systolic_volume": (55.0, "mL"),
        "lv_ejection_fraction": (56.0, "%"), "lv_stroke_volume": (70.0, "mL"),
        "rv_end_diastolic_volume": (140.0, "mL"), "rv_end_systolic_volume": (70.0, "mL"),
        "rv_ejection_fraction": (50.0, "%"), "rv_stroke_volume": (70.0, "mL"),
        "lv_peak_pressure": (115.0, "mmHg"), "rv_peak_pressure": (27.0, "mmHg"),
        "cardiac_output": (5.25, "L/min"), "total_activation_time": (83.0, "ms"),
        "tissue_volume_change": (0.2, "%"),
        "mesh_cells": (float(domain.mesh.topology.index_map(3).size_global), "1"),
        "mesh_min_dihedral_angle": (12.0, "degree"), "wall_time": (412.0, "s"),
        "peak_memory": (2900.0, "MiB"),
    }  # fmt: skip
    stages = {"image": 9.0, "mesh": 14.0, "cell": 6.0, "solve": 380.0, "report": 45.0}
    return {
        "status": "complete",
        "title": "A made-up heartbeat",
        "started": "2026-11-21T05:00:00+0000",
        "case": {
            "title": "A made-up heartbeat",
            "mesh": {"size": "5 mm"},
            "fibres": {"rule": "bayer", "alpha_endo": "60 deg"},
            "mechanics": {"passive": {"law": "holzapfel_ogden", "a": "0.059 kPa"}},
            "run": {"beats": 1},
        },
        "inputs": {"meshes/wholeheart/wh.nii.gz": "ab12" * 16},
        "versions": {"organtwin": "0.1.0", "python": "3.12.1", "fenics-dolfinx": "0.11.0"},
        "git_commit": "0123abcd",
        "machine": {"system": "Linux", "cores": 2, "memory_gib": 23.0},
        "mpi_size": 2,
        "stages": {
            name: {
                "wall_time_s": s,
                "peak_memory_mib": 500 + 6 * s,
                "mpi_size": 1,
                "reused": s < 10,
            }
            for name, s in stages.items()
        },
        "solver": {"mechanics steps": 400, "newton iterations": 1012, "factorisations": 44},
        "decisions": [
            "The right ventricular wall is the shell of 3 mm around its blood pool.",
            "The ventricles are cut by a plane below all four valves.",
        ],
        "results": {name: {"value": v, "unit": unit} for name, (v, unit) in results.items()},
    }
