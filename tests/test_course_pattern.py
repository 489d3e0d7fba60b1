"""What every chapter has: pages that fit a laptop, drawings, predictions, an open task, a loop of the reader's, an ending."""

import ast
import re
from collections import Counter
from functools import cache
from string import Formatter

import jupytext
import nbformat
import pytest

from autograder.exercise import exercises_of
from autograder.judging.reference import ROOT, SOLUTIONS
from autograder.predict import load_predictions
from autograder.workshop.release import chapters
from autograder.workshop.robust import bare_seeds

CHAPTERS = [topic for topic in chapters() if topic != "00_start_here"]
MOST_CELLS, MOST_COLUMNS = 80, 96
LEAST_DRAWINGS, LEAST_PREDICTIONS, MOST_PREDICTIONS = 3, 3, 5


def released(topic: str):
    return nbformat.read(ROOT / "course" / topic / f"{topic}.ipynb", as_version=4)


@cache
def source_cells(topic: str, kind: str) -> list[str]:
    cells = jupytext.read(SOLUTIONS / topic / f"{topic}.py").cells
    return [cell.source for cell in cells if cell.cell_type == kind]


def calls(topic: str, name: str) -> list[ast.Call]:
    """The calls of a function in a chapter's code, in their order; "drawings." finds all functions of that module."""
    found = []
    for source in source_cells(topic, "code"):
        nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        called = [node for node in nodes if ast.unparse(node.func).startswith(name)]
        found += [node for node in called if name.endswith(".") or ast.unparse(node.func) == name]
    return found


@pytest.mark.parametrize("topic", chapters())
def test_a_chapter_fits_a_laptops_page(topic):
    cells = released(topic).cells
    lines = [line for cell in cells if cell.cell_type == "code" for line in cell.source.splitlines()]
    assert [line for line in lines if len(line) > MOST_COLUMNS] == []
    assert len(cells) <= MOST_CELLS, f"{len(cells)} cells"


@pytest.mark.parametrize("topic", chapters())
def test_a_chapter_has_drawings(topic):
    drawn = {ast.unparse(call.func) for call in calls(topic, "drawings.")}
    assert len(drawn) >= LEAST_DRAWINGS, f"drawings: {sorted(drawn)}"


@pytest.mark.parametrize("topic", CHAPTERS)
def test_a_chapter_asks_for_predictions(topic):
    assert LEAST_PREDICTIONS <= len(calls(topic, "predict")) <= MOST_PREDICTIONS


@pytest.mark.parametrize("topic", chapters())
def test_what_is_predicted_is_explained_afterwards(topic):
    """Each question once, its choices on the page, its outcome after it, its texts with all their numbers."""
    asked = [call.args[0].value for call in calls(topic, "predict")]
    told = {call.args[0].value: call for call in calls(topic, "reveal")}
    texts = {name: question for name, question in load_predictions().items() if question["topic"] == topic}
    assert sorted(asked) == sorted(told) == sorted(texts), "asked, told and written are not the same"
    assert [name for name, times in Counter(asked).items() if times > 1] == []
    assert all(ast.literal_eval(call.args[1]) == "" for call in calls(topic, "predict")), "an answer is given away"
    everything = "\n".join(cell.source for cell in jupytext.read(SOLUTIONS / topic / f"{topic}.py").cells)
    for name, question in texts.items():
        before, _, after = everything.partition(f'predict("{name}"')
        assert f'reveal("{name}"' not in before and f'reveal("{name}"' in re.sub(r"\s*\n\s*", "", after)
        page = before[before.rindex("**Predict.**") :]
        assert re.findall(r"^- \*\*(\w)\*\* ", page, re.M) == list(question["choices"]), f"{name}: choices on the page"
        whys = question["why"] if isinstance(question["why"], dict) else {"": question["why"]}
        fields = {field for text in (*whys.values(), *question["choices"].values()) for _, field, _, _ in Formatter().parse(text)}
        named = {keyword.arg for keyword in told[name].keywords}
        assert {re.split(r"[.\[]", field)[0] for field in fields if field} <= named, f"{name}: numbers that the call lacks"


@pytest.mark.parametrize("topic", CHAPTERS)
def test_a_chapter_has_an_open_task(topic):
    (task,) = [exercise for exercise in exercises_of(topic) if exercise.open]
    assert len(task.own_cases) >= 3, "partial credit takes some bars"


@pytest.mark.parametrize("topic", CHAPTERS)
def test_a_chapter_has_a_training_loop_that_the_reader_writes(topic):
    parts = re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", "\n".join(source_cells(topic, "code")), re.S)
    assert any(re.search(r"^\s*(for|while) .*^\s+\S*\.step\(\)", part, re.S | re.M) for part in parts)


@pytest.mark.parametrize("topic", CHAPTERS)
def test_a_chapter_ends_with_what_was_measured_questions_and_what_was_not_shown(topic):
    prose = "\n".join(source_cells(topic, "markdown"))
    headings = re.findall(r"^## (.+)$", prose, re.M)
    measured, questions, missing = (
        next((i for i, heading in enumerate(headings) if heading.startswith(begins)), None)
        for begins in ("What you measured", "Questions", "What was not shown")
    )
    assert None not in (measured, questions, missing) and measured < questions < missing, headings[-4:]
    folded = prose[prose.index("## Questions") : prose.index("## What was not shown")].count("<details>")
    assert 3 <= folded <= 5


@pytest.mark.parametrize("topic", chapters())
def test_every_seed_can_be_shifted(topic):
    """`make robust` runs a chapter with other luck: a bare number would stay the same in every run."""
    assert bare_seeds(topic) == []


def test_no_two_predictions_have_one_name():
    names = [call.args[0].value for topic in chapters() for call in calls(topic, "predict")]
    assert [name for name, times in Counter(names).items() if times > 1] == []
