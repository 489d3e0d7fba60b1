"""Answers of different students that are nearly identical.

Compared is what is left of an answer when names of its own, comments, docstrings and annotations are taken away: runs of
a few nodes of its syntax tree. Runs that the course's own files hold, or that many of the class have, say nothing and
are left out. What remains in common is a reason to talk, never a proof.
"""

import ast
import builtins
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

RUN = 12  # nodes in a run: about a line
LEAST_RUNS = 60  # that two answers must share: a handful of lines that nobody else writes
LEAST_SHARE = 0.8  # of the smaller one's rare runs
RARE_SHARE, RARE_MOST = 5, 50  # a run is rare where at most one in so many have it, and at most so many in all
_ALWAYS = 3  # and in a small class, where three have it


@dataclass(frozen=True)
class Alike:
    """Students whose answers are nearly identical. share: of what is rare in the least alike pair, from 0 to 1;
    exercises: those in which it is found.
    """

    students: tuple[str, ...]
    share: float
    exercises: tuple[str, ...]


def nearly_identical(answers: Mapping[str, Mapping[str, str]], given: Iterable[str] = ()) -> list[Alike]:
    """Groups of students, most alike first.

    answers: {exercise: {student: source}}; given: sources that everybody may know or come to (the released cells, the
    reference, known mistakes).
    """
    exercises = frozenset(answers)
    known = set().union(*(runs(source, exercises) for source in given))
    sizes: Counter = Counter()  # rare runs of each student
    shared: dict[tuple[str, str], Counter] = defaultdict(Counter)  # of each pair, by exercise
    for exercise, sources in answers.items():
        holders = defaultdict(list)
        for student in sorted(sources):
            for run in runs(sources[student], exercises) - known:
                holders[run].append(student)
        rare = max(_ALWAYS, min(RARE_MOST, len(sources) // RARE_SHARE))
        for students in holders.values():
            if len(students) <= rare:
                sizes.update(students)
                for pair in combinations(students, 2):
                    shared[pair][exercise] += 1
    alike = {}
    for pair, counts in shared.items():
        share = counts.total() / min(sizes[student] for student in pair)
        if counts.total() >= LEAST_RUNS and share >= LEAST_SHARE:
            alike[pair] = (share, {exercise for exercise, count in counts.items() if count >= RUN})
    return _groups(alike, list(answers))


def _groups(alike: dict[tuple[str, str], tuple[float, set[str]]], order: list[str]) -> list[Alike]:
    """Pairs that have a student in common are one group."""
    group_of: dict[str, set[str]] = {}
    for pair in alike:
        joined = set(pair).union(*(group_of.get(student, set()) for student in pair))
        group_of |= dict.fromkeys(joined, joined)
    groups = []
    for students in {id(group): group for group in group_of.values()}.values():
        pairs = [found for pair, found in alike.items() if set(pair) <= students]
        named = set().union(*(exercises for _, exercises in pairs))
        least = min(share for share, _ in pairs)
        groups.append(Alike(tuple(sorted(students)), least, tuple(name for name in order if name in named)))
    return sorted(groups, key=lambda group: (-group.share, -len(group.exercises), group.students))


def runs(source: str, exercises: Collection[str] = ()) -> set[int]:
    """The runs of a source; none where it is no Python. exercises: names that are not the student's own to choose."""
    found: set[int] = set()
    for tokens in form(source, exercises):
        found |= {hash(tokens[i : i + RUN]) for i in range(len(tokens) - RUN + 1)}
    return found


def form(source: str, exercises: Collection[str] = ()) -> tuple[tuple[str, ...], ...]:
    """Of each statement at the top of a source, the nodes, where names of its own are alike; () where it is no Python."""
    tree = parsed(source)
    if tree is None:
        return ()
    everywhere = {name for node in tree.body for name in _bound(node, inside=False)}
    own = [(everywhere | set(_bound(node, inside=True))) - set(exercises) for node in tree.body]
    return tuple(tuple(_tokens(node, names)) for node, names in zip(tree.body, own))


def parsed(source: str) -> ast.Module | None:
    """The syntax tree without docstrings and annotations; notebooks' magic lines are left out. None: no Python."""
    try:
        tree = ast.parse(re.sub(r"^[ \t]*[%!?].*$", "", source, flags=re.MULTILINE))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            node.body = node.body[1:] or [ast.Pass()] if ast.get_docstring(node, clean=False) is not None else node.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    return tree


def _bound(node: ast.AST, inside: bool) -> Iterable[str]:
    """The names that a statement gives: what it defines and assigns; with `inside`, in its functions too."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
        if not inside:
            return
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            yield part.id
        elif isinstance(part, ast.arg):
            yield part.arg
        elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield part.name


def _tokens(tree: ast.AST, own: Collection[str]) -> Iterable[str]:
    """The nodes in the order of the text; a name that is the student's own is just a name. No depth is too much."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        waiting += reversed(list(ast.iter_child_nodes(node)))
        if isinstance(node, ast.Name):
            yield "a name" if node.id in own and not hasattr(builtins, node.id) else node.id
        elif isinstance(node, ast.Constant):
            yield f"{type(node.value).__name__} {hash(node.value)}"  # a number may be too long to be written out
        elif isinstance(node, ast.Attribute):
            yield f".{node.attr}"
        elif isinstance(node, ast.keyword):
            yield f"{node.arg}="
        elif not isinstance(node, ast.expr_context):
            yield type(node).__name__
