"""`course/` is what `solutions/` generates, and holds nothing that a student must not see."""

import ast
import json
from pathlib import Path

import jupytext
import nbformat
import pytest

from autograder.judging.key import KEYS, same_key
from autograder.judging.reference import ROOT, SOLUTIONS, is_solution
from autograder.workshop.release import chapters, release_key, release_notebook

CHAPTERS = chapters()


@pytest.mark.parametrize("topic", CHAPTERS)
def test_course_is_what_solutions_generate(topic, tmp_path):
    release_notebook(topic, tmp_path)
    committed = ROOT / "course" / topic / f"{topic}.ipynb"
    fresh = tmp_path / topic / f"{topic}.ipynb"
    assert committed.exists(), f"{committed} is missing: run `make release`"
    assert committed.read_text() == fresh.read_text(), f"{committed} is out of date: run `make release`"


@pytest.mark.slow
@pytest.mark.parametrize("topic", CHAPTERS)
def test_answer_key_is_what_the_reference_gives(topic, tmp_path):
    release_key(topic, tmp_path)
    committed = json.loads((KEYS / f"{topic}.json").read_text())
    fresh = json.loads((tmp_path / f"{topic}.json").read_text())
    assert same_key(committed, fresh), f"the answer key of {topic} is out of date: run `make release`"


def test_no_chapter_is_left_over():
    released = {p.parent.name for p in (ROOT / "course").glob("*/*.ipynb") if ".ipynb_checkpoints" not in p.parts}
    assert released == set(CHAPTERS)
    assert {p.stem for p in KEYS.glob("*.json")} == set(CHAPTERS)


def _secret_statements(topic: str) -> set[str]:
    """The statements of reference bodies, mistakes and alternatives that are long enough to be told from anybody's."""
    notebook = jupytext.read(SOLUTIONS / topic / f"{topic}.py")
    answers = [cell.source for cell in notebook.cells if is_solution(cell) and cell.cell_type == "code"]
    answers += [(SOLUTIONS / topic / f"{name}.py").read_text() for name in ("mistakes", "alternatives")]
    public = {line for cell in notebook.cells if not is_solution(cell) for line in _lines(cell.source)}
    # Of a written answer, every line is secret.
    written = [cell for cell in notebook.cells if is_solution(cell) and cell.cell_type == "markdown"]
    secret = {line for cell in written for line in _lines(cell.source)}
    for source in answers:
        for function in [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)]:
            body = function.body[1:] if ast.get_docstring(function) else function.body
            for statement in body:
                secret.update(_lines(ast.get_source_segment(source, statement)))
    # A loop's or a condition's head is anybody's; what is done inside gives a solution away.
    return {line for line in secret - public if len(line) > 30 and not line.endswith(":")}


def _lines(text: str) -> set[str]:
    return {line.split("  #")[0].strip() for line in text.splitlines()}


def _what_a_student_gets() -> dict[Path, str]:
    """Every text file below course/, autograder/ and data/ that goes into the wheel or the release."""
    folders = [ROOT / name for name in ("course", "autograder", "data")]
    kinds = {".py", ".ipynb", ".json", ".md", ".txt"}
    files = [p for folder in folders for p in folder.rglob("*") if p.suffix in kinds]
    return {p: p.read_text(encoding="utf-8") for p in files if "__pycache__" not in p.parts}


@pytest.mark.parametrize("topic", CHAPTERS)
def test_nothing_secret_reaches_a_student(topic):
    secrets = _secret_statements(topic)
    assert len(secrets) >= 3, "the search itself found nothing to search for"
    for path, text in _what_a_student_gets().items():
        lines = _notebook_lines(text) if path.suffix == ".ipynb" else _lines(text)
        found = secrets & lines
        assert not found, f"{path} holds lines of solutions: {sorted(found)[:3]}"
        if path.suffix == ".ipynb":
            assert "BEGIN SOLUTION" not in text and "HIDDEN TESTS" not in text


def _notebook_lines(text: str) -> set[str]:
    return {line for cell in json.loads(text)["cells"] for line in _lines("".join(cell["source"]))}


@pytest.mark.parametrize("topic", CHAPTERS)
def test_ids_are_stable_and_named(topic):
    notebook = nbformat.read(ROOT / "course" / topic / f"{topic}.ipynb", as_version=4)
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    for cell in notebook.cells:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        if grade_id:
            assert cell.id == grade_id
    assert not any(cell.get("outputs") for cell in notebook.cells), "a release carries no outputs"
