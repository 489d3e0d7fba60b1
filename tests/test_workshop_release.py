"""`course/` is what `solutions/` generates, and holds nothing that a student must not see."""

import ast
import gzip
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import jupytext
import nbformat
import pytest

from autograder.judging.key import KEYS, key_path, read_key, same_key, topics_with_key, write_key
from autograder.judging.reference import ROOT, SOLUTIONS, is_solution
from autograder.workshop.release import chapters, release_key, release_notebooks

CHAPTERS = chapters()
MOST_BYTES = 300_000  # of an answer key


@pytest.fixture(scope="module")
def generated(tmp_path_factory) -> Path:
    """All chapters, released into a folder of their own."""
    folder = tmp_path_factory.mktemp("course")
    release_notebooks(CHAPTERS, folder)
    return folder


@pytest.mark.parametrize("topic", CHAPTERS)
def test_course_is_what_solutions_generate(topic, generated):
    committed = ROOT / "course" / topic / f"{topic}.ipynb"
    fresh = generated / topic / f"{topic}.ipynb"
    assert committed.exists(), f"{committed} is missing: run `make release`"
    assert committed.read_text() == fresh.read_text(), f"{committed} is out of date: run `make release`"


def test_a_released_key_is_left_alone_while_it_says_the_same(tmp_path):
    """Floats differ from machine to machine. (That each key is what its reference gives: test_cNN_matrix.py.)"""
    release_key("00_start_here", tmp_path)
    path = key_path("00_start_here", tmp_path)
    content = read_key(path)
    assert same_key(read_key(key_path("00_start_here", KEYS)), content)
    (exercise,) = content["exercises"].values()
    write_key(content | {"note": "left alone"}, path)
    release_key("00_start_here", tmp_path)
    assert "note" in read_key(path)
    exercise["points"] += 1
    for outdated in (content, {"topic": "00_start_here"}, {"of": ["another form"]}):
        write_key(outdated, path)
        release_key("00_start_here", tmp_path)
        assert same_key(read_key(key_path("00_start_here", KEYS)), read_key(path))


@pytest.mark.parametrize("topic", CHAPTERS)
def test_an_answer_key_is_small(topic):
    assert key_path(topic, KEYS).stat().st_size < MOST_BYTES, "every copy of the course carries it: what takes the room?"


def test_the_same_key_gives_the_same_bytes_whenever_and_wherever_it_is_written(tmp_path, monkeypatch):
    content = read_key(key_path("00_start_here", KEYS))
    write_key(content, tmp_path / "a.json.gz")
    monkeypatch.setattr("time.time", lambda: 4e9)
    write_key(content, tmp_path / "b.json.gz")
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()
    assert read_key(tmp_path / "a.json.gz") == content


def test_no_chapter_is_left_over():
    released = {p.parent.name for p in (ROOT / "course").glob("*/*.ipynb") if ".ipynb_checkpoints" not in p.parts}
    assert released == set(CHAPTERS)
    assert topics_with_key(KEYS) == CHAPTERS


def _secret_statements(topic: str) -> set[str]:
    """The statements of reference bodies, mistakes and alternatives that are long enough to be told from anybody's."""
    notebook = jupytext.read(SOLUTIONS / topic / f"{topic}.py")
    answers = [cell.source for cell in notebook.cells if is_solution(cell) and cell.cell_type == "code"]
    files = [path for name in ("mistakes*", "alternatives*") for path in (SOLUTIONS / topic).glob(f"{name}.py")]
    answers += [path.read_text(encoding="utf-8") for path in files]
    public = {line for cell in notebook.cells if not is_solution(cell) for line in _lines(cell.source)}
    # Of a written answer, every line is secret.
    written = [cell for cell in notebook.cells if is_solution(cell) and cell.cell_type == "markdown"]
    secret = {line for cell in written for line in _lines(cell.source)}
    for source in answers:
        lines = source.splitlines()
        for function in [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)]:
            body = function.body[1:] if ast.get_docstring(function) else function.body
            for statement in body:
                secret.update(_lines("\n".join(lines[statement.lineno - 1 : statement.end_lineno])))
    # A loop's or a condition's head is anybody's; what is done inside gives a solution away.
    return {line for line in secret - public if len(line) > 30 and not line.endswith(":")}


def _lines(text: str) -> set[str]:
    return {line.split("  #")[0].strip() for line in text.splitlines()}


@cache
def _what_a_student_gets() -> dict[Path, str]:
    """Every text below course/, autograder/ and data/ that goes into the wheel or the release, also if compressed."""
    folders = [ROOT / name for name in ("course", "autograder", "data")]
    kinds = {".py", ".ipynb", ".json", ".md", ".txt", ".gz"}
    files = [p for folder in folders for p in folder.rglob("*") if p.suffix in kinds]
    return {p: _text(p) for p in files if "__pycache__" not in p.parts}


def _text(path: Path) -> str:
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()


@pytest.mark.parametrize("topic", CHAPTERS)
def test_nothing_secret_reaches_a_student(topic):
    secrets = _secret_statements(topic)
    assert len(secrets) >= 3, "the search itself found nothing to search for"
    for path, text in _what_a_student_gets().items():
        found = secrets & _lines_of(path, text)
        assert not found, f"{path} holds lines of solutions: {sorted(found)[:3]}"
        if path.suffix == ".ipynb":
            assert "BEGIN SOLUTION" not in text and "HIDDEN TESTS" not in text


@cache
def _lines_of(path: Path, text: str) -> set[str]:
    if path.suffix == ".ipynb":
        return {line for cell in json.loads(text)["cells"] for line in _lines("".join(cell["source"]))}
    if path.name.endswith((".json", ".json.gz")):
        return {line for string in _strings(json.loads(text)) for line in _lines(string)}
    return _lines(text)


def _strings(content) -> Iterator[str]:
    """Every string in what a JSON file holds, keys too: a file may be one line, but a string in it is a text."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, (list, dict)):
        for item in content:
            yield from _strings(item)
        if isinstance(content, dict):
            yield from _strings(list(content.values()))


def test_the_search_for_secrets_looks_inside_a_compressed_key(tmp_path):
    path = tmp_path / "00_nothing.json.gz"
    write_key({"exercises": {"a": ["x", {"b": "def f(x):\n    return x.square().sum() / len(x)\n"}]}}, path)
    assert "return x.square().sum() / len(x)" in _lines_of(path, _text(path))
    assert key_path("01_pretraining", KEYS) in _what_a_student_gets()


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
