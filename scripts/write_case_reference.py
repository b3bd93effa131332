"""Write docs/case-file.md from the schema: make docs."""

from pathlib import Path

from organtwin.case.reference import case_reference

if __name__ == "__main__":
    page = Path(__file__).parents[1] / "docs" / "case-file.md"
    page.write_text(case_reference(), encoding="utf-8")
