"""Mutations: small changes to a piece of Python that nobody thought of beforehand. Source goes in, mutants come out.

A mutant is one change that one of the operators (`autograder.workshop.operators`) makes in one place; changes that give
the same tree are one mutant. Annotations, docstrings, imports and what is inside `raise` are left alone.
"""

import ast
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from autograder.workshop.operators import OPERATORS, InPlaceOfTwo, Place


@dataclass(frozen=True)
class Mutant:
    """One change. line: in the source, from 1; change: "old -> new", unique among the mutants of a source."""

    operator: str
    line: int
    change: str
    source: str


def mutants_of(source: str, leave_alone: Callable[[ast.stmt], bool] = lambda statement: False) -> list[Mutant]:
    """All mutants of a source, in the order of their lines and of OPERATORS.

    leave_alone: of the statements at the top, those that are not to be changed.
    """
    before = unchanged(source)
    tree = _without_annotations(ast.parse(source))
    seen, changes, mutants = {before}, {}, []
    for place in _places(tree, leave_alone):
        for name, replacements in OPERATORS.items():
            for new in replacements(place):
                with _put(place, new):
                    after = ast.unparse(tree)
                if after in seen or not _compiles(after):
                    continue
                seen.add(after)
                change = _describe(before, after)
                changes[change] = times = changes.get(change, 0) + 1
                mutants.append(Mutant(name, place.node.lineno, change + (f"  (#{times})" if times > 1 else ""), after))
    return mutants


def unchanged(source: str) -> str:
    """The source as its mutants are written, without a change."""
    return ast.unparse(_without_annotations(ast.parse(source)))


# --- The tree: where changes can be made, making one, and saying what it was


def _without_annotations(tree: ast.Module) -> ast.Module:
    """They are not changed, and a change is read more easily without them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.FunctionDef):
            node.returns = None
    return tree


def _places(tree: ast.Module, leave_alone) -> Iterator[Place]:
    for index, statement in enumerate(tree.body):
        if not leave_alone(statement):
            yield from _walk(Place(statement, (tree,), "body", index))


def _walk(place: Place) -> Iterator[Place]:
    node = place.node
    if _is_docstring(node) or isinstance(node, (ast.Import, ast.ImportFrom)):
        return
    if hasattr(node, "lineno"):
        yield place
    if isinstance(node, ast.Raise):
        return
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "type_comment"):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST):
                yield from _walk(Place(child, (node, *place.parents), field, index))


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@contextmanager
def _put(place: Place, new) -> Iterator[None]:
    """The tree with `new` in that place, for as long as the context lasts."""
    holder, old = place.parents[0], getattr(place.parents[0], place.field)
    if isinstance(new, list):
        changed = [*old[: place.index], *new, *old[place.index + 1 + isinstance(new, InPlaceOfTwo) :]]
        if place.field == "body" and all(map(_is_docstring, changed)):
            changed.append(ast.Pass())
    elif place.index is None:
        changed = new
    else:
        changed = [*old[: place.index], new, *old[place.index + 1 :]]
    setattr(holder, place.field, changed)
    try:
        yield
    finally:
        setattr(holder, place.field, old)


def _compiles(source: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "'int' object is not subscriptable": that is how such a mutant dies
        try:
            compile(source, "<mutant>", "exec")
        except (SyntaxError, ValueError):
            return False
    return True


def _describe(before: str, after: str) -> str:
    """ "old -> new": the lines that differ. A line that is only added stands behind the line before it."""
    old, new = before.splitlines(), after.splitlines()
    same = 0
    while same < min(len(old), len(new)) and old[same] == new[same]:
        same += 1
    rest = 0
    while rest < min(len(old), len(new)) - same and old[-1 - rest] == new[-1 - rest]:
        rest += 1
    if same + rest == len(old):
        same = max(0, same - 1)
    gone, come = (_joined(lines[same : len(lines) - rest]) for lines in (old, new))
    return f"{gone} -> {come or '(nothing)'}"


def _joined(lines: list[str]) -> str:
    lines = [line.strip() for line in lines]
    return "; ".join(lines if len(lines) <= 3 else [lines[0], "…", lines[-1]])
