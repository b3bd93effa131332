"""Write docs/case-file.md and its kin of meshes, calibrations, valves and implants: make docs."""

from pathlib import Path

from organtwin.case.reference import (
    calibration_reference,
    case_reference,
    implant_reference,
    organ_reference,
    tavr_reference,
)

if __name__ == "__main__":
    docs = Path(__file__).parents[1] / "docs"
    (docs / "case-file.md").write_text(case_reference(), encoding="utf-8")
    (docs / "calibration-case-file.md").write_text(calibration_reference(), encoding="utf-8")
    (docs / "mesh-case-file.md").write_text(organ_reference(), encoding="utf-8")
    (docs / "tavr-case-file.md").write_text(tavr_reference(), encoding="utf-8")
    (docs / "implant-case-file.md").write_text(implant_reference(), encoding="utf-8")
