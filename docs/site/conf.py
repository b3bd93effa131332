"""Sphinx reads the repository's own Markdown and makes the site of it: make site."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = "organtwin"
author = "The organtwin authors"
html_title = "organtwin"
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
root_doc = "docs/index"

# Pages lie where a reader of the repository finds them, so their links hold in both places.
include_patterns = [
    "docs/*.md", "docs/decisions/*.md", "docs/api/*.md", "docs/tutorials/*.md",
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md",
    "benchmarks/README.md", "docker/README.md", "meshes/README.md", "meshes/*/README.md",
]  # fmt: skip

extensions = ["myst_parser", "sphinx_external_toc", "mathml"]
external_toc_path = str(HERE / "toc.yml")
myst_enable_extensions = ["dollarmath", "deflist"]
# `$` in shell lines is none of an equation: those of the pages stand in lines of their own.
myst_dmath_allow_labels = False
myst_heading_anchors = 4
