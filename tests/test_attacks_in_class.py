"""Every hostile or broken submission of `hostile_submissions.py`, in one class, graded in the sandbox.

Behind the submissions of each kind comes a clean one, which must be graded as if they had not been there.
"""

import os
import re
import shutil
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import attack_runner
import nbformat
import pytest
from attack_table import Row, note
from conftest import why_no_sandbox
from grading_chapter import RIGHT, TOPIC, Course, answered
from hostile_submissions import KINDS, MARKUP, SUBMISSIONS, XSS, Submission, clean

from autograder.grading.sandbox.policy import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
# Without a sandbox these would run as whoever runs the tests.
needed = pytest.mark.skipif(bool(why_no_sandbox()), reason=f"NO HOSTILE SUBMISSION WAS TRIED: {why_no_sandbox()}")
BLANK = "zz-blank"


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Iterator[Course]:
    course = Course.make(tmp_path_factory.mktemp("hostile"))
    for kind in KINDS:
        course.hand_in(clean(kind), answered(course.release, **RIGHT))
    course.hand_in(BLANK, course.release)
    for one in SUBMISSIONS:
        made = one.make(course, one.student)
        if made is not None:
            course.hand_in(one.student, made)
    yield course
    shutil.rmtree(course.root, ignore_errors=True)  # pytest keeps folders: pipes and links are not to lie about


@pytest.fixture(scope="module")
def worth(course) -> Iterator[dict[str, float]]:
    """Student -> what is to be in the gradebook."""
    counts = {one.student: one.worth for one in SUBMISSIONS if one.worth is not None}
    with course.worth(counts | {clean(kind): RIGHT for kind in KINDS} | {BLANK: {}}) as points:
        yield points


@pytest.fixture(scope="module")
def before(course) -> dict:
    return states_of(course)


@pytest.fixture(scope="module")
def log(course, before) -> str:
    """Grade the class, and write the pages. Folders with refused names make the command fail, at its end."""
    limits = ("--Execute.timeout=6", "--Execute.check_timeout=20", "--Execute.memory_mb=1500")
    quick = {"COURSE_CASE_SECONDS": "1.5", "COURSE_MEMORY_MB": "1000"}
    said = course.python("-m", "autograder.cli", "grade", TOPIC, "--workers=4", *limits, rc=1, **quick)
    course.nbgrader("generate_feedback", TOPIC)
    return said


@pytest.fixture(scope="module")
def table(request, course, worth, log, before) -> list[Row]:
    """What was measured, a row for each kind and one for all that is outside the class."""
    grades, found = course.grades(), []
    for kind in KINDS:
        row = Row(kind, "handed in")
        for one in (one for one in SUBMISSIONS if one.kind == kind):
            got, deserved = grades.get(one.student, 0.0), worth.get(one.student, 0.0)
            row.attacks += 1
            row.gained += max(0.0, got - deserved)
            row.lost += max(0.0, deserved - got)
            row.silent += not is_said(course, log, one)
        row.harmed = int(grades.get(clean(kind)) != 7)
        found.append(row)
    after = states_of(course)
    changed = [path for path in before | after if before.get(path) != after.get(path)]
    found.append(Row("files and processes after all of these", "handed in", outside=len(changed) + len(left_in_tmp())))
    note(request.config, found)
    return found


def states_of(course: Course) -> dict[str, str]:
    """All that a submission could have changed: what was handed in, the course, its code, the packages' start-up files."""
    classroom = course.root / "classroom"
    made = [classroom / name for name in ("autograded", "feedback", "gradebook.db")]
    seen = {}
    for path in sorted(course.root.rglob("*")):
        ours = any(path.is_relative_to(folder) for folder in made) or "__pycache__" in path.parts
        if not ours and path.is_file() and not path.is_symlink():
            seen[str(path)] = path.read_bytes()
    packages = Path(nbformat.__file__).parents[1]
    code = [*(ROOT / "autograder").rglob("*.py"), *packages.glob("*.pth"), *packages.glob("*.py")]
    return seen | {str(path): str(path.stat().st_mtime_ns) for path in code}


def left_in_tmp() -> list[str]:
    return [name for name in os.listdir("/dev/shm") if name.startswith(("left_behind", "full"))]


def is_said(course: Course, log: str, one: Submission) -> bool:
    """Whether the page of a submission, or the log where it has none, says what has to be said."""
    return one.says in (log if one.worth is None else course.feedback(one.student))


@needed
@pytest.mark.parametrize("one", SUBMISSIONS, ids=lambda one: one.name)
def test_a_submission_gets_what_its_answers_are_worth_and_a_sentence(course, worth, log, one):
    grades = course.grades()
    if one.worth is None:
        assert one.student not in grades and one.says in log
        return
    assert one.says in course.feedback(one.student)
    assert grades[one.student] == worth[one.student]


@needed
@pytest.mark.parametrize("kind", KINDS)
def test_who_comes_behind_them_is_graded_as_ever(course, worth, log, kind):
    assert course.grades()[clean(kind)] == worth[clean(kind)] == 7
    assert "The sign is wrong" not in course.feedback(clean(kind))


@needed
def test_the_table_of_submissions_is_all_noughts(table):
    assert all(row.is_clean() for row in table), [row for row in table if not row.is_clean()]
    assert sum(row.attacks for row in table) == len(SUBMISSIONS) >= 60


def test_there_are_enough_attacks_and_each_says_what_it_does():
    assert len(SUBMISSIONS) + len(attack_runner.attacks()) >= 120
    assert len({one.name for one in SUBMISSIONS}) == len({one.student for one in SUBMISSIONS}) == len(SUBMISSIONS)
    assert all(re.fullmatch("[A-Z0-9].*[.?]", one.does, re.DOTALL) for one in SUBMISSIONS)


@needed
def test_no_page_holds_a_script_of_a_students(course, log):
    """The pages' own scripts (formulas) are those of a blank submission."""
    own = course.feedback(BLANK)
    for one in (one for one in SUBMISSIONS if one.worth is not None):
        page = course.feedback(one.student)
        body = page[page.index("<body") :]
        assert XSS not in page and "<img src=x" not in page, one.name
        assert page.count("<script") == own.count("<script"), one.name
        assert not re.search(r"<(?!/?summary|/?details)[a-z][^>]*\son[a-z]+\s*=", body), one.name
        assert not re.search(r"""(href|src)\s*=\s*["']?\s*(javascript|data:text)""", body, re.IGNORECASE), one.name
    assert any(XSS.split(">")[0] in unescape(course.feedback(one.student)) for one in SUBMISSIONS if one.kind == MARKUP)


@needed
def test_no_page_holds_the_reference(course, log):
    for one in (one for one in SUBMISSIONS if one.worth is not None):
        page = unescape(re.sub("<[^>]*>", "", course.feedback(one.student)))
        assert "BEGIN SOLUTION" not in page, one.name
        assert "return 2 * x" not in page or one.name == "the_reference_and_the_neighbour", one.name


@needed
def test_a_re_judge_of_them_all_runs_nothing_and_changes_nothing(course, worth, log):
    course.python("-m", "autograder.grading.rejudge", TOPIC)
    assert course.grades() == worth
