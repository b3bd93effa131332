"""Bill of materials: what is installed here, of which version, under which licence.

CycloneDX 1.6 as JSON, which scanners of vulnerabilities read. Made from what the packages tell of
themselves; nothing is asked of the network.
"""

from __future__ import annotations

import platform
import re
import time
import uuid
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from typing import Any

from organtwin import __version__

#: Name of this package, the root of the tree.
OWN = "organtwin"
#: Longest text that is a licence's name rather than its text.
LONGEST_NAME = 120


def bill() -> dict[str, Any]:
    """The bill of this environment, as a document of CycloneDX 1.6.

    Components are the installed packages and the Python that runs them; dependencies are what the
    packages require and is installed, extras included.

    Source:
        CycloneDX specification 1.6 (ECMA-424); package URLs: the package-url specification, type
        ``pypi``; names are normalised as PEP 503 says.
    """
    found = _installed()
    root = _reference(OWN, __version__)
    references = {name: _reference(name, one.version) for name, one in found.items()}
    references[OWN] = root
    python = _reference("python", platform.python_version())
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "component": _component(OWN, __version__, root, "application"),
        },
        "components": [
            {
                "type": "platform", "bom-ref": python, "name": platform.python_implementation(),
                "version": platform.python_version(),
            },
            *(
                _component(name, one.version, references[name]) | _licence(one)
                for name, one in sorted(found.items())
                if name != OWN
            ),
        ],
        "dependencies": [
            {
                "ref": references[name],
                "dependsOn": sorted(references[n] for n in _needs(one, found)),
            }
            for name, one in sorted(found.items())
        ],
    }  # fmt: skip


def _installed() -> dict[str, Distribution]:
    """Packages by normalised name; of two of one name the one that Python imports."""
    found: dict[str, Distribution] = {}
    for one in distributions():
        name = one.metadata["Name"]
        if name:
            found.setdefault(_normal(name), one)
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _reference(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version.replace('+', '%2B')}"


def _component(name: str, version: str, reference: str, kind: str = "library") -> dict[str, Any]:
    return {"type": kind, "bom-ref": reference, "name": name, "version": version, "purl": reference}


def _licence(one: Distribution) -> dict[str, Any]:
    """What the package says: an SPDX expression, else a name, else its classifiers."""
    told = one.metadata
    expression = str(told.get("License-Expression") or "")
    if expression:
        return {"licenses": [{"expression": expression}]}
    name = str(told.get("License") or "").strip()
    classifiers = [
        str(text).rpartition(" :: ")[2]
        for text in told.get_all("Classifier") or []
        if str(text).startswith("License ::")
    ]
    if name and "\n" not in name and len(name) <= LONGEST_NAME:
        classifiers = [name]
    return (
        {"licenses": [{"license": {"name": text}} for text in classifiers]} if classifiers else {}
    )


def _needs(one: Distribution, known: Iterable[str]) -> set[str]:
    """Names of the installed packages that a package requires."""
    names = {
        _normal(re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0]) for text in one.requires or []
    }
    return names & set(known)
