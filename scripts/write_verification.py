"""Write docs/site/verification.json, from which the site's page of verification is made.

Run: ``python scripts/write_verification.py`` after `organtwin verify`, whose values it takes. A
problem that was not run since the sources changed keeps what the file told of it before, if that is
of the same version. Values of `--quick` are taken where there are no others, and told as such.
"""

import organtwin  # noqa: I001 - brings its libraries in the right order

import json
from dataclasses import asdict
from pathlib import Path

from organtwin.verified import latest
from organtwin.verify.electrical_problems import ELECTROPHYSIOLOGY
from organtwin.verify.interface_problems import INTERFACES
from organtwin.verify.mechanical_problems import MECHANICS
from organtwin.verify.problem import Problem
from organtwin.verify.problems import PROBLEMS

FILE = Path(__file__).parents[1] / "docs/site/verification.json"
#: Heading → problems; the others come last.
GROUPS = {
    "Electrophysiology": ELECTROPHYSIOLOGY,
    "Mechanics": MECHANICS,
    "Contact, friction and cohesion": INTERFACES,
}
OTHERS = "Anatomy, devices, bones and circulation"


def group_of(problem: Problem) -> str:
    """Heading under which a problem stands."""
    return next((name for name, known in GROUPS.items() if problem in known), OTHERS)


def main() -> None:
    """Write the file, and tell what is missing in it."""
    before = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    found, lacking = {}, []
    for problem in PROBLEMS:
        told = latest(problem.name)
        kept = before.get(problem.name, {}).get("found")
        new = told is not None and told.of_these_sources
        if told is not None and new and (not told.quick or kept is None or kept["quick"]):
            entry = {key: value for key, value in asdict(told).items() if key != "problem"}
        elif kept is not None and kept["version"] == organtwin.__version__:
            entry = kept
        else:
            entry = None
            lacking.append(problem.name)
        found[problem.name] = {
            "group": group_of(problem), "about": problem.about, "found": entry,
        }  # fmt: skip
    text = json.dumps(found, indent=1, ensure_ascii=False, default=float)
    FILE.write_text(text + "\n", encoding="utf-8")
    print(f"{len(found) - len(lacking)} of {len(found)} problems; not run: {lacking or 'none'}")


if __name__ == "__main__":
    main()
