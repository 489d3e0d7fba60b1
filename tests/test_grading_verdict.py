"""From evidence to points: what scores, what scores nothing, and what is no score at all."""

import base64
import copy
import json
import math

import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output
from nbgrader.utils import determine_grade

from autograder.evidence import MIME, collect
from autograder.exercise import find_exercise
from autograder.grading import kept, verdict
from autograder.grading.verdict import judge_notebook
from autograder.judging.reference import Reference

TOPIC, NAME, POINTS, SEEDS = "00_start_here", "mean_loss", 3.0, (101, 102, 103)


@pytest.fixture(scope="module")
def reference():
    return Reference(TOPIC)


@pytest.fixture(scope="module")
def evidence(reference):
    """A function that gives the evidence of a mistake, by name, or of the reference."""
    functions = reference.mistake_functions(NAME) | {"right": reference.functions[NAME]}
    return lambda name: collect(find_exercise(NAME), functions[name], SEEDS)


def emitted(evidence) -> object:
    return new_output("display_data", data={MIME: evidence})


def executed(*outputs, source: str = f'check("{NAME}", {NAME})', grade_id: str = "c", **notes):
    """A notebook with one check cell, as the execution leaves it."""
    marks = {"grade_id": grade_id, "grade": True, "solution": False, "locked": True, "points": POINTS, "schema_version": 3}
    cell = new_code_cell(source, metadata={"nbgrader": marks}, outputs=list(outputs), execution_count=4)
    return new_notebook(cells=[cell], metadata={"course": notes or {"grading_seeds": list(SEEDS)}})


def points(notebook, oracle) -> float:
    """Judge it and read the points as nbgrader does."""
    assert judge_notebook(notebook, lambda topic: oracle) == {}
    score, most = determine_grade(notebook.cells[0])
    assert most == POINTS
    return score


def said(notebook) -> str:
    return notebook.cells[0].outputs[0].data["text/plain"]


def test_a_right_answer_gets_all_points(reference, evidence):
    notebook = executed(emitted(evidence("right")))
    assert points(notebook, reference) == POINTS
    assert [output.output_type for output in notebook.cells[0].outputs] == ["display_data", "execute_result"]
    assert set(notebook.cells[0].outputs[0].data) == {"text/html", "text/plain", kept.MIME}


def test_a_mistake_gets_the_cases_it_passes_and_is_named(reference, evidence):
    notebook = executed(emitted(evidence("divided_by_rows")))
    cases = len(find_exercise(NAME).cases)
    earned = points(notebook, reference)
    passed = said(notebook).count("✓")
    assert 0 < passed < cases
    assert earned == round(POINTS * passed / cases, 2)
    assert list(notebook.cells[0].metadata.course.mistakes) == ["divided_by_rows"]


def test_an_answer_that_calls_a_wrong_one_is_told_so():
    """Also where the one that is called is checked after it."""
    namespace: dict = {"math": math}
    exec(RESTING, namespace)
    names, reference = ("bits_per_byte", "perplexity"), Reference("01_pretraining")
    evidence = {name: collect(find_exercise(name), namespace[name], SEEDS) for name in names}
    cells = [executed(emitted(evidence[n]), source=f'check("{n}", {n})', grade_id=n).cells[0] for n in names]
    notebook = new_notebook(cells=cells, metadata={"course": {"grading_seeds": list(SEEDS)}})
    for _ in range(2):  # judged, and judged again
        assert judge_notebook(notebook, lambda topic: reference) == {}
        resting, wrong = (cell.outputs[0].data for cell in notebook.cells)
        for form in ("text/plain", "text/html"):
            assert "calls `perplexity`, which has not passed its check" in resting[form]
            assert "has not passed its check" not in wrong[form]


RESTING = """
def perplexity(token_losses):
    return token_losses.sum().exp().item()


def bits_per_byte(token_losses, text):
    return math.log2(perplexity(token_losses)) * len(token_losses) / len(text.encode())
"""


def test_output_beside_the_evidence_costs_nothing_and_is_not_kept(reference, evidence):
    noise = [
        new_output("stream", name="stderr", text="a progress bar, a warning"),
        new_output("execute_result", data={"text/plain": "0", "text/html": "<script>alert(1)</script>"}),
        new_output("error", ename="E", evalue="", traceback=[]),
    ]
    notebook = executed(*noise, emitted(evidence("right")), *noise)
    assert points(notebook, reference) == POINTS
    assert "<script" not in str(notebook)
    assert "progress bar" not in str(notebook)


def test_no_evidence_is_no_points_and_the_reason_is_told(reference):
    notebook = executed(new_output("execute_result", data={"text/plain": "3.0"}))
    assert points(notebook, reference) == 0
    assert "emitted no result." in said(notebook)
    error = new_output("error", ename="NameError", evalue="name 'mean_loss' is not defined", traceback=[])
    notebook = executed(error)
    assert points(notebook, reference) == 0
    assert "NameError: name 'mean_loss' is not defined" in said(notebook)


def test_evidence_twice_is_no_points(reference, evidence):
    notebook = executed(emitted(evidence("sum_for_mean")), emitted(evidence("right")))
    assert points(notebook, reference) == 0
    assert "emitted 2 results" in said(notebook)


@pytest.mark.parametrize(
    "forged",
    [
        None,
        5,
        "right",
        [],
        {},
        {"version": 1, "exercise": "causal_lm_loss", "records": []},
        {"version": 1, "exercise": NAME, "records": []},
        {"version": 1, "exercise": NAME, "records": [{"case": "three_losses", "seed": 101, "data": {"mean": {}}}]},
        {"version": 1, "exercise": NAME, "records": [{"case": [], "seed": {}, "data": 5}] * 3},
        {"version": 1, "exercise": NAME, "uses": 5, "records": []},
        {"version": 1, "exercise": NAME, "uses": [{}, [], None, NAME, "<b>"], "records": []},
        {"version": 1, "exercise": NAME, "points": 99, "score": 1.0, "passed": True, "records": [7]},
    ],
)
def test_forged_evidence_is_no_points_and_no_failure(reference, forged):
    notebook = executed(emitted(forged))
    assert points(notebook, reference) == 0


def test_evidence_on_other_seeds_does_not_count(reference):
    right = reference.functions[NAME]
    notebook = executed(emitted(collect(find_exercise(NAME), right, (1, 2, 3)) | {"grading_seeds": [1, 2, 3]}))
    assert points(notebook, reference) == 0


def test_evidence_that_is_too_large_is_no_points(reference, evidence, monkeypatch):
    monkeypatch.setattr(verdict, "MAX_EVIDENCE", 100)
    notebook = executed(emitted(evidence("right")))
    assert points(notebook, reference) == 0
    assert "too large" in said(notebook)


def test_an_exercise_has_room_for_its_own_evidence_alone(reference, evidence):
    """Many times what the reference gives, and far from what another exercise may need."""
    right = evidence("right")
    notebook = executed(emitted(right | {"padding": "x" * 100_000}))
    assert points(notebook, reference) == POINTS
    notebook = executed(emitted(right | {"padding": "x" * 1_000_000}))
    assert points(notebook, reference) == 0
    assert "too large" in said(notebook)


def test_what_is_kept_is_what_was_emitted_and_small():
    array = {"array": {"dtype": "int64", "shape": [500], "data": base64.b64encode(bytes(4000)).decode()}}
    odd = [{"dtype": "x", "shape": [], "data": "no base64"}, {"dtype": 1, "shape": 2, "data": "QQ"}, "text", None, {"data": 5}]
    for evidence in (array, [array, array], odd, {}, 5, "äöü\ud83d"):
        assert kept.unpack(kept.pack(evidence), 100_000) == evidence
    assert len(kept.pack(array)) < 300 < len(json.dumps(array))


@pytest.mark.parametrize("text", ["", "QQ==", "no base64", kept.pack("x" * 10_000), kept.pack([1])[:-8], 5])
def test_what_was_not_kept_is_refused_and_large_things_are_not_unpacked(text):
    with pytest.raises(ValueError, match=r"cannot be read|cut off"):
        kept.unpack(text, 1000)


def test_what_a_kernel_says_was_kept_is_not_read(reference, evidence):
    forged = new_output("display_data", data={kept.MIME: kept.pack(evidence("right"))})
    assert points(executed(forged), reference) == 0


def test_an_unreadable_submission_is_no_points_and_says_why(reference):
    notebook = executed(unreadable="homework.ipynb is empty.")
    assert points(notebook, reference) == 0
    assert "homework.ipynb is empty." in said(notebook)


def test_judging_again_changes_nothing(reference, evidence):
    for outputs in ([emitted(evidence("right"))], [emitted(evidence("sum_for_mean"))], [], [emitted({}), emitted({})]):
        notebook = executed(*outputs)
        first = points(notebook, reference)
        before = copy.deepcopy(notebook)
        assert points(notebook, reference) == first
        assert notebook == before


class Broken:
    """An oracle that fails: an error of the instructor's side."""

    def expected(self, exercise, case, seed):
        raise RuntimeError("the reference has a bug")

    def mistakes(self, exercise, seeds):
        return []

    def evidence_size(self, exercise, seeds):
        raise RuntimeError("the reference has a bug")


def test_a_failing_judge_scores_nothing_and_can_be_repaired(reference, evidence):
    notebook = executed(emitted(evidence("right")))
    failures = judge_notebook(notebook, lambda topic: Broken())
    assert str(failures["c"]) == "the reference has a bug"
    assert notebook.cells[0].metadata.course.unjudged is True
    assert "error of the grader, not yours" in said(notebook)
    assert points(notebook, reference) == POINTS
    assert "unjudged" not in notebook.cells[0].metadata.course


def test_what_was_not_executed_is_not_judged(reference, evidence):
    notebook = executed(nothing=True)
    assert "not executed" in str(judge_notebook(notebook, lambda topic: reference)["c"])
    notebook.metadata.course = {"grading_seeds": list(SEEDS)}
    notebook.cells[0].outputs = [emitted(evidence("right"))]
    assert points(notebook, reference) == POINTS


def test_a_check_cell_that_asks_nothing_known_waits_for_a_person(reference):
    for source in ("assert True", 'check("no_such_exercise", f)'):
        notebook = executed(source=source)
        assert "c" in judge_notebook(notebook, lambda topic: reference)


def test_a_judged_cell_says_what_the_class_report_needs(reference, evidence):
    """Which mistake, or which case nobody can name; and how long it took, kept through judgement after judgement."""
    wrong = copy.deepcopy(evidence("right"))
    wrong["records"][0]["error"] = {"type": "ValueError", "message": "new", "line": "", "number": 1}
    named, unnamed, right = (executed(emitted(e)) for e in (evidence("sum_for_mean"), wrong, evidence("right")))
    for notebook in (named, unnamed, right):
        notebook.cells[0].metadata.course = {"seconds": 1.25}  # as the runner notes it
        assert not verdict.is_judged(notebook)
        for _ in range(2):
            points(notebook, reference)
            assert verdict.is_judged(notebook)
            assert notebook.cells[0].metadata.course.seconds == 1.25
    notes = [notebook.cells[0].metadata.course for notebook in (named, unnamed, right)]
    assert [list(n.mistakes) for n in notes] == [["sum_for_mean"], [], []]
    case = find_exercise(NAME).cases[0]
    told = {"sentence": case.sentence, "came": "Your function raised ValueError: new"}
    assert [n.unnamed for n in notes] == [{}, {case.name: told}, {}]
