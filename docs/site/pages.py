"""Write the pages of the site that follow from the code: of subpackages, demos and verification.

Run: ``python docs/site/pages.py``; `make site` does. They are no part of the repository.
"""

import ast
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import griffe

ROOT = Path(__file__).parents[2]
API, TUTORIALS = ROOT / "docs/api", ROOT / "docs/tutorials"
VERIFICATION = ROOT / "docs/verification.md"
#: Markdown that docstrings do not mean: they hold formulas, indices and powers of their own.
MARKED = re.compile(r"(`[^`]*`)|([\[\]$*_<])")
#: What a script runs before it says what it does.
BANNER = re.compile(r"^import organtwin  # noqa.*\n\n?|^# isort: split\n", re.MULTILINE)


def plain(text: str) -> str:
    """A docstring's text, as it stands, where it is not code; indented lines are formulas."""
    lines = []
    for line in text.replace("``", "`").splitlines():
        formula = line.startswith("    ")
        lines.append(line if formula else MARKED.sub(lambda m: m[1] or "\\" + m[2], line))
    return "\n".join(lines)


def terms(items: list, named: str) -> Iterator[str]:
    """A list of arguments, attributes or exceptions."""
    if not items:
        return
    yield f"{named}\n"
    for item in items:
        name = getattr(item, "name", None) or str(item.annotation)
        text = plain(" ".join(item.description.split()))
        yield f"* `{name}`: {text}" if text else f"* `{name}`"
    yield ""


def body(thing: griffe.Object) -> Iterator[str]:
    """What a docstring says, section by section."""
    kinds = griffe.DocstringSectionKind
    headings = {kinds.parameters: "Arguments", kinds.attributes: "Attributes",
                kinds.raises: "Raises", kinds.other_parameters: "Arguments"}  # fmt: skip
    if thing.docstring is None:
        return
    for section in thing.docstring.parse("google", warnings=False):
        if section.kind is kinds.text:
            yield plain(section.value) + "\n"
        elif section.kind in headings:
            yield from terms(section.value, headings[section.kind])
        elif section.kind in (kinds.returns, kinds.yields):
            text = " ".join(plain(" ".join(one.description.split())) for one in section.value)
            yield f"Returns: {text}\n"
        elif section.kind is kinds.admonition:
            yield plain(section.value.description) + "\n"


def public(members: dict[str, griffe.Object | griffe.Alias]) -> Iterator[griffe.Object]:
    """Documented members that are defined there and not private, in the order of the file."""
    for name, member in members.items():
        if not member.is_alias and not name.startswith("_") and member.docstring is not None:
            yield member


def signature(function: griffe.Function, name: str) -> str:
    """A function's name, arguments and result, as in Python."""
    arguments, starred = [], False
    for one in function.parameters:
        if one.name in ("self", "cls"):
            continue
        if one.kind is griffe.ParameterKind.keyword_only and not starred:
            arguments.append("*")
            starred = True
        star = {griffe.ParameterKind.var_positional: "*", griffe.ParameterKind.var_keyword: "**"}
        starred = starred or one.kind is griffe.ParameterKind.var_positional
        text = star.get(one.kind, "") + one.name
        text += f": {one.annotation}" if one.annotation is not None else ""
        default = one.default is not None and one.kind not in star
        arguments.append(text + (f" = {one.default}" if default else ""))
    result = f" -> {function.returns}" if function.returns is not None else ""
    line = f"{name}({', '.join(arguments)}){result}"
    if len(line) > 92:
        line = f"{name}(\n    " + ",\n    ".join(arguments) + f",\n){result}"
    return f"```python\n{line}\n```\n"


def described(thing: griffe.Object) -> Iterator[str]:
    """A class with its methods, or a function.

    Only modules have headings: Sphinx copies the headings of all pages for the margin of each.
    """
    if thing.is_class:
        yield f"**class** `{thing.name}`\n"
        yield from body(thing)
        for member in public(thing.members):
            if member.is_function:
                yield signature(member, f"{thing.name}.{member.name}")
                yield from body(member)
            elif member.is_attribute and "property" in member.labels:
                yield f"`{thing.name}.{member.name}`\n"
                yield from body(member)
    elif thing.is_function:
        yield signature(thing, thing.name)
        yield from body(thing)


def module(one: griffe.Module) -> Iterator[str]:
    """A module's section."""
    yield f"## `{one.path}`\n"
    yield from body(one)
    for member in public(one.members):
        yield from described(member)


def modules(package: griffe.Module) -> Iterator[griffe.Module]:
    """Modules of a package, deep first, in the order of the alphabet."""
    for name, member in sorted(package.members.items()):
        if not member.is_alias and member.is_module and not name.startswith("_"):
            yield member
            yield from modules(member)


def write_api() -> None:
    """One page for each part of organtwin."""
    shutil.rmtree(API, ignore_errors=True)
    API.mkdir()
    whole = griffe.load("organtwin", search_paths=[ROOT])
    rows = []
    for name, part in sorted(whole.members.items()):
        if part.is_alias or not part.is_module or name.startswith(("_", "cli")):
            continue
        lines = [f"# `organtwin.{name}`\n", *body(part)]
        for member in public(part.members):
            lines += described(member)
        for one in modules(part):
            lines += module(one)
        (API / f"organtwin.{name}.md").write_text("\n".join(lines), encoding="utf-8")
        about = part.docstring.value.splitlines()[0] if part.docstring else ""
        rows.append(f"| [{name}](organtwin.{name}.md) | {plain(about)} |")
    head = (ROOT / "docs/site/api.md").read_text(encoding="utf-8")
    (API / "index.md").write_text(head + "\n".join(rows) + "\n", encoding="utf-8")


def pictures(demo: str) -> list[str]:
    """Pictures of `docs/images` that the page of demos shows in the section that names a demo."""
    text = (ROOT / "docs/demos.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    found = [one for one in sections if f"`{demo}`" in one]
    return [line for one in found for line in re.findall(r"!\[.*?\]\(images/.*?\)", one)]


def write_tutorials() -> None:
    """One page for each demo: what it shows, its pictures, its script and its case file."""
    shutil.rmtree(TUTORIALS, ignore_errors=True)
    TUTORIALS.mkdir()
    for script in sorted(ROOT.glob("demos/*/*.py")):
        source = script.read_text(encoding="utf-8")
        tree = ast.parse(source)
        about = ast.get_docstring(tree)
        if about is None or script.stem != script.parent.name:
            continue
        code = "\n".join(source.splitlines()[tree.body[0].end_lineno :]).strip()
        title, _, rest = plain(about).partition("\n")
        lines = [f"# {script.stem.replace('_', ' ').capitalize()}\n", title, rest, ""]
        lines += [line.replace("(images/", "(../images/") + "\n" for line in pictures(script.stem)]
        lines += ["## The script\n", "```python", BANNER.sub("", code), "```\n"]
        for case in sorted(script.parent.glob("*.toml")):
            lines += [f"## `{case.name}`\n", "```toml", case.read_text(encoding="utf-8"), "```\n"]
        (TUTORIALS / f"{script.stem}.md").write_text("\n".join(lines), encoding="utf-8")


def write_verification() -> None:
    """What `organtwin verify` found, from the values that are kept in the repository."""
    problems = json.loads((ROOT / "docs/site/verification.json").read_text(encoding="utf-8"))
    lines = [(ROOT / "docs/site/verification.md").read_text(encoding="utf-8")]
    for group in dict.fromkeys(one["group"] for one in problems.values()):
        lines.append(f"## {group}\n")
        for name, one in problems.items():
            if one["group"] == group:
                lines += verified(name, one)
    VERIFICATION.write_text("\n".join(lines), encoding="utf-8")


def verified(name: str, one: dict) -> Iterator[str]:
    """A problem's heading, and its quantities beside their references."""
    found = one["found"]
    yield f"### `{name}`: {plain(one['about'])}\n"
    if found is None:
        yield "Not run for this page.\n"
        return
    ranks = "one rank" if found["mpi_size"] == 1 else f"{found['mpi_size']} ranks"
    coarse = ", on the coarser mesh of `--quick`" if found["quick"] else ""
    yield f"organtwin {found['version']}, {found['date'][:10]}, {ranks}{coarse}.\n"
    yield "| quantity | value | expected | unit | source | |"
    yield "|---|---:|---:|---|---|---|"
    for record in found["records"]:
        value, reference, tolerance = (
            "" if record[key] is None else f"{record[key]:.6g}"
            for key in ("value", "reference", "tolerance")
        )
        sense = {"equal": f"{reference} ± {tolerance}", "at most": f"≤ {reference}",
                 "at least": f"≥ {reference}"}.get(record["sense"], reference)  # fmt: skip
        words = [plain(record[key]).replace("|", "\\|") for key in ("quantity", "unit", "source")]
        yield f"| {words[0]} | {value} | {sense} | {words[1]} | {words[2]} | {record['verdict']} |"
    yield ""


if __name__ == "__main__":
    write_api()
    write_tutorials()
    write_verification()
