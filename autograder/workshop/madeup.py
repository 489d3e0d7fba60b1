"""A made-up class: submissions of a chapter whose worth is known, because they are put together from known answers.

The right answers are the reference's, the wrong ones come from `solutions/NN_topic/mistakes*.py`. What a submission
should score is not written anywhere: it is what the judge gives its functions, on the seeds that graded the class.
"""

import ast
import inspect
import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_code_cell, new_output

from autograder.evidence import answers_used, collect
from autograder.exercise import Case, Exercise, find_exercise
from autograder.grading.cells import grade_id, is_check
from autograder.judging.compare import Summary
from autograder.judging.judge import KnownMistake, judge_evidence
from autograder.judging.reference import Reference, checked_exercise, is_solution

MARKS = ("mistake", "alternative")  # decorators of the catalogue


@dataclass(frozen=True)
class Answer:
    """An answer to one exercise: its source in a notebook, and the function it comes to (None where it is useless)."""

    source: str
    function: Callable | None


@dataclass
class Submission:
    """What one student hands in, and the answers in it that ought to count, by exercise."""

    student: str
    story: str
    content: bytes
    counts: dict[str, Answer]
    file_name: str | None = None

    def write(self, folder: Path, topic: str) -> None:
        """Put the file where nbgrader looks for it."""
        place = folder / self.student / topic
        place.mkdir(parents=True)
        (place / (self.file_name or f"{topic}.ipynb")).write_bytes(self.content)


@dataclass(frozen=True)
class ScoresAlone:
    """The reference as an oracle that knows no mistakes: to name them takes long and changes no score."""

    reference: Reference

    def expected(self, exercise: Exercise, case: Case, seed: int) -> Summary:
        return self.reference.expected(exercise, case, seed)

    def mistakes(self, exercise: Exercise, seeds: Sequence[int]) -> list[KnownMistake]:
        return []


def worth(submission: Submission, reference: Reference, seeds: tuple[int, ...]) -> float:
    """The points the submission deserves: of each answer, the share of the cases it passes on the seeds."""
    points = 0.0
    for name, answer in submission.counts.items():
        if answer.function is not None:
            function = _among(submission.counts, name, reference)
            points += round(reference.points[name] * _share(name, function, reference, seeds), 2)
    return round(points, 2)


def _among(answers: dict[str, Answer], name: str, reference: Reference) -> Callable:
    """The answer as it works in the notebook, where the other answers that it calls are the student's too."""
    function, right = answers[name].function, reference.functions
    used = [n for n in answers_used(find_exercise(name), function) if n in answers and function is right[name]]
    others = {n: _among(answers, n, reference) for n in used}
    if all(other is right[n] for n, other in others.items()):
        return function
    namespace = inspect.unwrap(function).__globals__ | others
    exec(answers[name].source, namespace)
    return namespace[name]


@cache
def _share(name: str, answer: Callable, reference: Reference, seeds: tuple[int, ...]) -> float:
    """Of the cases, those that an answer passes. Kept: most students of a class share most of their answers."""
    return judge_evidence(name, collect(find_exercise(name), answer, seeds), ScoresAlone(reference), seeds).score


class Answers:
    """The answers there are to a chapter's exercises."""

    def __init__(self, reference: Reference):
        self.reference = reference
        self.exercises = [name for cell in reference.notebook.cells if (name := checked_exercise(cell))]

    def right(self) -> dict[str, Answer]:
        """The reference's."""
        cells = {grade_id(cell): cell for cell in self.reference.notebook.cells if is_solution(cell)}
        return {
            name: Answer(_without_marks(cells[name].source), self.reference.functions[name]) for name in self.exercises
        }

    def alternatives(self) -> dict[str, Answer]:
        """Right answers, each in another shape."""
        return {
            name: self._from(self.reference.alternative_functions, name, 0) for name in self.exercises
        }

    def mistake(self, exercise: str, number: int) -> Answer:
        """The known mistake of that number, counted round and round."""
        return self._from(self.reference.mistake_functions, exercise, number)

    def _from(self, functions_of: Callable, exercise: str, number: int) -> Answer:
        functions = functions_of(exercise)
        name = list(functions)[number % len(functions)]
        module = Path(inspect.unwrap(functions[name]).__globals__["__file__"]).read_text(encoding="utf-8")
        return Answer(source_as_answer(module, inspect.getsource(functions[name]), exercise), functions[name])


def source_as_answer(module: str, function: str, exercise: str) -> str:
    """The source of a function as an answer cell: under the exercise's name, with all that it uses of its module."""
    answer = ast.parse(textwrap.dedent(function)).body[0]
    definitions = {name: node for node in ast.parse(module).body for name in _names_defined(node)}
    definitions[answer.name] = answer
    needed: dict[str, ast.stmt] = {}
    _collect_needed(definitions, answer, needed)
    helpers = {node.lineno: node for node in needed.values() if node is not answer}
    answer.name = exercise
    parts = [node for _, node in sorted(helpers.items())] + [answer]
    for node in parts:
        if (node is answer or getattr(node, "decorator_list", [])) and ast.get_docstring(node):
            node.body = node.body[1:]  # the hint: no student writes it
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = _own_decorators(node)
    return "\n\n\n".join(ast.unparse(node) for node in parts)


def _own_decorators(node: ast.FunctionDef) -> list[ast.expr]:
    """Those that are part of the answer, such as @torch.no_grad(): all but the catalogue's marks."""
    return [d for d in node.decorator_list if not (isinstance(d, ast.Call) and getattr(d.func, "id", "") in MARKS)]


def _names_defined(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
    if isinstance(node, ast.Assign):
        return [n.id for target in node.targets for n in ast.walk(target) if isinstance(n, ast.Name)]
    return []


def _collect_needed(definitions: dict, node: ast.stmt, needed: dict) -> None:
    body = [node.args, *node.body, *_own_decorators(node)] if isinstance(node, ast.FunctionDef) else [node]
    for used in (n for part in body for n in ast.walk(part) if isinstance(n, ast.Name)):
        if used.id in definitions and used.id not in needed:
            needed[used.id] = definitions[used.id]
            _collect_needed(definitions, definitions[used.id], needed)


def make_class(release: NotebookNode, reference: Reference, troubles: bool = True) -> Iterator[Submission]:
    """The submissions: first those that differ in their answers, then, unless told otherwise, one for each way in which
    a file may be in trouble. The latter is much the same in every chapter.
    """
    answers = Answers(reference)
    right, names = answers.right(), answers.exercises

    def submission(student: str, story: str, counts: dict[str, Answer], notebook: NotebookNode | None = None):
        return Submission(student, story, as_bytes(notebook or filled(release, counts)), counts)

    yield submission("ada", "everything right", right)
    yield submission("blank", "nothing answered", {})
    yield submission("bert", "everything right, in other shapes", answers.alternatives())
    yield submission("cleo", "a known mistake in every answer", {n: answers.mistake(n, 0) for n in names})
    yield submission("dan", "two known mistakes", right | {n: answers.mistake(n, 0) for n in names[:2]})
    yield submission("eva", "every other answer wrong", right | {n: answers.mistake(n, 1) for n in names[::2]})
    if not troubles:
        return

    crashing = Answer(f"import os\n\n\ndef {names[0]}(*args, **kwargs):\n    os._exit(1)", None)
    counts = right | {names[0]: crashing}
    yield submission("crash", "ends the process, in a cell and in a function", counts, crash(filled(release, counts)))

    looping = Answer(f"def {names[-1]}(*args, **kwargs):\n    while True:\n        pass", None)
    counts = right | {names[-1]: looping}
    yield submission("loop", "endless loops, in a cell and in a function", counts, loop(filled(release, counts)))

    yield submission("colab", "saved by Colab", right, as_colab_saves(filled(release, right)))
    yield submission("gap", "a check cell deleted, another changed", right, without_a_check(filled(release, right)))

    wrong = right | {names[0]: answers.mistake(names[0], 0)}
    copied = with_copies(filled(release, wrong), right[names[0]].source)
    yield submission("copy", "cells copied; the copy mends a mistake", right, copied)

    kept = dict(list(right.items())[: (len(names) + 1) // 2])
    yield Submission("cut", "the file ends in the middle", cut_after(filled(release, right), list(kept)[-1]), kept)

    yield submission("cheat", "patches everything, answers one exercise wrongly", wrong, cheat(filled(release, wrong)))
    yield Submission(
        "named", "another file name, a byte order mark", as_bytes(filled(release, right)), right, "my work.ipynb"
    )
    yield Submission("nothing", "a web page in place of a notebook", b"<html>Please log in</html>", {})


def as_bytes(notebook: NotebookNode) -> bytes:
    """The notebook as a file. Written by hand: nbformat would mend what is to be broken."""
    return json.dumps(notebook, indent=1).encode()


def filled(release: NotebookNode, answers: dict[str, Answer]) -> NotebookNode:
    """The release with answers in its answer cells."""
    notebook = nbformat.from_dict(release)
    for name, answer in answers.items():
        _cell(notebook, name).source = answer.source
    return notebook


def crash(notebook: NotebookNode) -> NotebookNode:
    """With a cell of its own, in the middle, that ends the process."""
    notebook.cells.insert(len(notebook.cells) // 2, new_code_cell("import os\nos._exit(1)"))
    return notebook


def loop(notebook: NotebookNode) -> NotebookNode:
    """With a cell of its own, in the middle, that never ends."""
    notebook.cells.insert(len(notebook.cells) // 2, new_code_cell("while True:\n    pass"))
    return notebook


def as_colab_saves(notebook: NotebookNode) -> NotebookNode:
    """As Colab writes a notebook: its own keys everywhere, ids in the metadata, another kernelspec, format 4.0."""
    for number, cell in enumerate(notebook.cells):
        cell.metadata |= {"id": f"c0lab{number:07d}", "colab": {"base_uri": "https://localhost:8080/"}}
        cell.pop("id")
        if cell.cell_type == "code":
            cell.metadata.outputId = f"0u7{number:09d}"
            cell.execution_count = number
            cell.outputs = [new_output("stream", name="stdout", text="…\n")]
    notebook.metadata = nbformat.from_dict(
        {
            "accelerator": "GPU",
            "colab": {"provenance": [], "gpuType": "T4"},
            "kernelspec": {"name": "python3", "display_name": "Python 3"},
        }
    )
    notebook.nbformat_minor = 0
    return notebook


def without_a_check(notebook: NotebookNode) -> NotebookNode:
    """With one check cell gone and the next emptied."""
    checks = [cell for cell in notebook.cells if is_check(cell)]
    notebook.cells.remove(checks[0])
    if len(checks) > 1:
        checks[1].source = "# I was not sure what this is for."
    return notebook


def with_copies(notebook: NotebookNode, better: str) -> NotebookNode:
    """With the first answer cell copied and mended in the copy, and a check cell copied."""
    first = next(cell for cell in notebook.cells if is_solution(cell))
    check = next(cell for cell in notebook.cells if is_check(cell))
    copied = nbformat.from_dict(first)
    copied.source, copied.id = better, "copied-answer"
    notebook.cells.insert(notebook.cells.index(first) + 1, copied)
    notebook.cells.append(nbformat.from_dict(check) | {"id": "copied-check"})
    return notebook


def cut_after(notebook: NotebookNode, name: str) -> bytes:
    """The beginning of the file, up to the middle of the cell after the answer to `name`."""
    whole = as_bytes(notebook)
    following = notebook.cells[notebook.cells.index(_cell(notebook, name)) + 1]
    return whole[: whole.index(json.dumps(following.id).encode())]


def cheat(notebook: NotebookNode) -> NotebookNode:
    """With cells that try what has worked against other graders, before every check cell."""
    for cell in [c for c in notebook.cells if is_check(c)]:
        notebook.cells.insert(notebook.cells.index(cell), new_code_cell(CHEAT))
        cell.metadata.tags = ["skip-execution"]
        cell.metadata.nbgrader.points = 0
        cell.source = "100.0"
    notebook.metadata.course = {"grading_seeds": [1, 2, 3]}
    return notebook


CHEAT = """\
import sys, torch
import autograder, autograder.check, autograder.evidence, autograder.exercise, autograder.judging.judge
from IPython.display import display

def forged(*args, **kwargs):
    display({"application/vnd.course.evidence+json": {"version": 1, "score": 1.0, "records": []}}, raw=True)
    return 100.0

check = autograder.check = sys.modules["autograder.check"].check = forged
for exercise in autograder.exercise._registry.values():
    exercise.own_cases.clear()
autograder.evidence.collect_limited = autograder.evidence.run_case = forged
autograder.judging.judge.judge_evidence = forged
for name in ("assert_close", "assert_allclose"):
    setattr(torch.testing, name, lambda *args, **kwargs: None)
torch.allclose = torch.equal = torch.isclose = lambda *args, **kwargs: True
100.0"""


def _cell(notebook: NotebookNode, name: str) -> NotebookNode:
    return next(cell for cell in notebook.cells if grade_id(cell) == name)


def _without_marks(source: str) -> str:
    return "\n".join(
        line for line in source.splitlines() if line.strip() not in ("### BEGIN SOLUTION", "### END SOLUTION")
    )
