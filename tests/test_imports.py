"""Arrows run one way: notebooks -> course -> data; autograder.check -> probes; judge -> probes, solutions.

Read from the source, so that an import inside a function counts too.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("course", "autograder", "data")

# Whoever is not named here runs in the student's kernel or could: it must work where there are no solutions.
# These are the instructor's side, the only modules that may name the folder or import one another.
INSTRUCTORS_SIDE = ("autograder.judging.reference", "autograder.workshop", "autograder.grading")


def modules(root: Path, package: str) -> Iterator[tuple[str, ast.Module]]:
    """Each module of a package: its dotted name and its parsed source."""
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        yield name, ast.parse(path.read_bytes(), str(path))


def imports(name: str, tree: ast.Module, is_package: bool = False) -> set[str]:
    """The dotted names that a module imports, wherever in it; `from a import b` counts as a and as a.b."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".")
                parents = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parents, base]).rstrip(".")
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def below(name: str, packages: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of the packages or within one."""
    return any(name == p or name.startswith(p + ".") for p in packages)


def arrows(root: Path, package: str) -> Iterator[tuple[str, str]]:
    """(importing module, imported name) for every import in a package."""
    for name, tree in modules(root, package):
        is_package = (root / name.replace(".", "/")).is_dir()
        for imported in imports(name, tree, is_package):
            yield name, imported


FORBIDDEN = [
    ("course", ("autograder", "solutions", "tests")),
    ("data", ("course", "autograder", "solutions", "tests")),
    ("autograder", ("solutions", "tests")),
    ("autograder.chapters", ("autograder.judging.judge", "autograder.judging.key", *INSTRUCTORS_SIDE)),
]


@pytest.mark.parametrize(("importer", "forbidden"), FORBIDDEN, ids=[importer for importer, _ in FORBIDDEN])
def test_no_arrow_points_back(root: Path, importer: str, forbidden: tuple[str, ...]) -> None:
    wrong = [
        f"{name} imports {imported}"
        for name, imported in arrows(root, importer.split(".")[0])
        if below(name, (importer,)) and below(imported, forbidden)
    ]
    assert not wrong, f"{importer} must not import {', '.join(forbidden)}: {wrong}"


# `autograder prepare` and `rejudge` stand in the students' command line, for instructors: they import when called.
CALLED_BY_INSTRUCTORS = {("autograder.cli", "autograder.grading"), ("autograder.cli", "autograder.workshop.prepare")}


def test_the_students_side_does_not_need_the_instructors(root: Path) -> None:
    wrong = [
        f"{name} imports {imported}"
        for name, imported in arrows(root, "autograder")
        if not below(name, INSTRUCTORS_SIDE)
        and below(imported, INSTRUCTORS_SIDE)
        and not any(name == n and below(imported, (i,)) for n, i in CALLED_BY_INSTRUCTORS)
    ]
    assert not wrong, wrong


def test_only_the_instructors_side_names_the_solutions_folder(root: Path) -> None:
    """No string outside it is a path into solutions/. Docstrings may mention it: they open nothing."""
    wrong = []
    for package in PACKAGES:
        for name, tree in modules(root, package):
            if below(name, INSTRUCTORS_SIDE):
                continue
            nodes = list(ast.walk(tree))
            docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
            strings = [n for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
            wrong += [
                f"{name}, line {node.lineno}: {node.value!r}"
                for node in strings
                if id(node) not in docstrings and (node.value + "/").startswith("solutions/")
            ]
    assert not wrong, wrong


def test_the_packages_are_read(root: Path) -> None:
    """The checks above pass on nothing at all; this one does not."""
    for package in PACKAGES:
        assert any(True for _ in modules(root, package)), f"no module was found in {package}/"
    assert ("autograder.check", "autograder.evidence.collect") in set(arrows(root, "autograder"))


def test_imports_are_seen_wherever_they_stand() -> None:
    source = "import a.b\ndef f():\n    from c import d\n    from .e import g\n    from .. import h\n"
    assert imports("p.q.r", ast.parse(source)) == {"a.b", "c", "c.d", "p.q.e", "p.q.e.g", "p", "p.h"}
    assert imports("p.q", ast.parse("from .e import g"), is_package=True) == {"p.q.e", "p.q.e.g"}
