"""The made-up class: its answers are what they claim to be, and stock nbgrader gives every one what it is worth."""

import ast
import csv
import inspect
import re
from pathlib import Path

import pytest
import torch
import warm_python
from conftest import WHOLE
from notebook_runs import in_full

from autograder.judging.reference import Reference, hint_of
from autograder.workshop import demo
from autograder.workshop.madeup import Answers, make_class, source_as_answer, worth
from autograder.workshop.release import chapters, source_notebook

MODULE = '''
import functools
import math
from collections import Counter, defaultdict
from autograder.judging.catalogue import mistake

LIMIT = 3


def twice(function):
    return functools.wraps(function)(lambda *given: 2 * function(*given))


def _unused(x):
    return x


def _cosine(x):
    return math.cos(x) * LIMIT


@mistake("answer")
def first(x):
    """The hint of the first."""
    return _cosine(x)


@mistake("answer")
@twice
def second(x, shape=_cosine):
    """The hint of the second."""
    return first(x) + shape(x)
'''


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As in grading; for such small tensors more threads are slower too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", ["first", "second"])
def test_a_mistake_becomes_an_answer_with_all_it_needs_and_no_more(name):
    function = next(node for node in ast.parse(MODULE).body if getattr(node, "name", "") == name)
    source = source_as_answer(MODULE, ast.unparse(function), "answer")
    namespace, module = {}, {}
    exec(source, namespace)
    exec(MODULE, module)
    assert namespace["answer"](0.5) == module[name](0.5)
    for absent in ("Counter", "_unused", "mistake", "hint of"):
        assert absent not in source


@pytest.mark.parametrize("topic", chapters())
def test_every_mistake_and_alternative_can_be_handed_in(topic):
    reference = Reference(topic)
    for exercise in Answers(reference).exercises:
        for name, function in (reference.mistake_functions(exercise) | reference.alternative_functions(exercise)).items():
            module = Path(inspect.unwrap(function).__globals__["__file__"]).read_text(encoding="utf-8")
            source = source_as_answer(module, inspect.getsource(function), exercise)
            namespace: dict = {}
            exec(source, namespace)
            assert callable(namespace[exercise]), name
            assert hint_of(function) not in " ".join(source.split())


def test_the_class_is_worth_different_things():
    """A class in which everybody deserves the same would show nothing."""
    reference = Reference("01_pretraining")
    submissions = {s.student: s for s in make_class(source_notebook("01_pretraining"), reference)}
    seeds = dict.fromkeys(reference.points, (101, 102, 103))
    points = {student: worth(s, reference, seeds) for student, s in submissions.items()}
    full = sum(reference.points.values())
    assert len(submissions) >= 12
    assert points["ada"] == points["bert"] == points["colab"] == points["gap"] == points["named"] == full
    assert points["blank"] == points["nothing"] == 0
    assert 0 < points["cleo"] < points["eva"] < full
    assert all(0 < points[student] < full for student in ("dan", "crash", "loop", "cut", "cheat"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("topic", chapters())
def test_stock_nbgrader_gives_every_submission_what_it_is_worth(topic, tmp_path, capsys, monkeypatch):
    """Files in trouble are the same trouble in every chapter: the first has them all. Of the others, the one that the
    commit chooses has six submissions, right and wrong, and the rest have one, with right answers and wrong ones; in
    `make test-whole`, chapter 01 has all the troubles too, and nobody has one alone.
    """
    monkeypatch.setattr(demo, "subprocess", warm_python)
    folder = tmp_path / "demo"
    asked = ["--topic", topic, "--into", str(folder), "--one-seed"]
    if topic == "00_start_here":  # no cell of it takes a second: endless loops are given less time
        monkeypatch.setattr(demo, "CELL_SECONDS", 10)
        monkeypatch.setattr(demo, "CASE_SECONDS", 4)
    elif not (WHOLE and topic == "01_pretraining"):
        asked += ["--only-answers"]
        asked += [] if topic in in_full() else ["--only", "eva"]
    assert demo.main(asked) == 0, capsys.readouterr().out
    said = capsys.readouterr().out
    with (folder / "grades.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(list((folder / "submitted").iterdir()))
    for row in rows:
        assert re.search(rf"^{row['student_id']} .* {float(row['score']):.2f} +{float(row['score']):.2f}$", said, re.M)
        assert (folder / "feedback" / row["student_id"] / topic / f"{topic}.html").exists()
    assert re.search(r"^ +\d+  \w+ +\w+$", said, re.M), "the most frequent mistakes"
    assert "BEGIN SOLUTION" not in "".join(p.read_text() for p in (folder / "feedback").rglob("*.html"))


def test_a_wrong_score_is_noticed(capsys):
    submission = next(make_class(source_notebook("00_start_here"), Reference("00_start_here")))
    assert demo.show([submission], {"ada": 1.0}, {"ada": 1.0})
    assert not demo.show([submission], {"ada": 0.5}, {"ada": 1.0})
    assert "WRONG" in capsys.readouterr().out
    assert not demo.show([submission], {}, {"ada": 1.0})


def test_a_chapter_that_is_not_released_is_said(capsys, tmp_path):
    assert demo.main(["--topic", "99_nothing", "--into", str(tmp_path / "demo")]) == 1
    assert "make release" in capsys.readouterr().err


def test_a_student_who_is_not_in_the_class_is_said(capsys, tmp_path):
    assert demo.main(["--topic", "00_start_here", "--into", str(tmp_path / "demo"), "--only", "ada", "zoe"]) == 1
    assert "zoe" in capsys.readouterr().err
