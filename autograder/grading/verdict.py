"""From the evidence in an executed notebook to a report and points, in nbgrader's own terms.

A check cell leaves here with two outputs: the report, which carries the evidence along so that the cell can be judged
again without running anything, and a number, which nbgrader records. A check cell that gave no evidence gets 0 and a
sentence. A judge that fails gives nothing: that is no zero of the student's, so the cell waits for a manual grade.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from nbformat.notebooknode import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor, SaveAutoGrades
from traitlets import Bool

from autograder.evidence import MIME
from autograder.exercise import find_exercise
from autograder.grading import kept
from autograder.grading.cells import course_notes, coursedir_of, grade_id, is_check, seeds_of, solutions_path
from autograder.grading.demos import why_missing
from autograder.grading.nodes import new_output
from autograder.grading.rebuild import defined_names
from autograder.judging.judge import DISCOUNTED, CaseVerdict, Oracle, Verdict, judge_evidence, note_shaky
from autograder.judging.reference import Reference, checked_exercise
from autograder.judging.report import to_html, to_text

MAX_EVIDENCE = 20_000_000  # characters of JSON, whatever the exercise
LEAST_ROOM, TIMES = 200_000, 20  # and of each exercise: this, and so many times what its reference gives
TOO_LARGE = "What the check cell emitted is too large: your function returned far more than was asked for."
OracleOf = Callable[[str], Oracle]  # topic -> oracle


class Judge(NbGraderPreprocessor):
    """nbgrader preprocessor between Execute and SaveGrades."""

    def preprocess(self, nb: NotebookNode, resources: dict):
        student, solutions = resources["nbgrader"]["student"], solutions_path(coursedir_of(self))
        lost = self.parent.parent.lost
        if lost:
            course_notes(nb).lost = lost
            self.parent.parent.unjudged.append(f"{student}: {lost}")
        failures = judge_notebook(nb, lambda topic: reference(topic, solutions))
        for name, error in failures.items() if not lost else ():
            sentence = f"{student}: {name} could not be judged: {type(error).__name__}: {error}"
            self.log.error(sentence, exc_info=error)
            self.parent.parent.unjudged.append(sentence)
        return nb, resources


class SaveGrades(SaveAutoGrades):
    """SaveAutoGrades, where a cell that could not be judged is one that needs a manual grade.

    In a re-judge (`same_answers`) a grade that a person gave needs that person again only where the points beneath it
    have changed.
    """

    same_answers = Bool(False)
    lost = False

    def preprocess(self, nb: NotebookNode, resources: dict):
        self.lost = bool(course_notes(nb).get("lost"))
        names = resources["nbgrader"]
        self.notebook_id, self.assignment_id, self.student_id = (names[n] for n in ("notebook", "assignment", "student"))
        with Gradebook(names["db_url"]) as self.gradebook:
            # One transaction: a submission has all its new points or none of them, and a disk is waited for once.
            commit, self.gradebook.db.commit = self.gradebook.db.commit, self.gradebook.db.flush
            for index, cell in enumerate(nb.cells):
                self.preprocess_cell(cell, resources, index)
            commit()
        return nb, resources

    def _add_score(self, cell: NotebookNode, resources: dict) -> None:
        names = (self.notebook_id, self.assignment_id, self.student_id)
        grade = self.gradebook.find_grade(cell.metadata["nbgrader"]["grade_id"], *names)
        before, waiting = grade.auto_score, grade.needs_manual_grade
        super()._add_score(cell, resources)
        if self.lost or course_notes(cell).get("unjudged"):
            grade.auto_score, grade.needs_manual_grade = None, True
        elif self.same_answers and grade.manual_score is not None and grade.auto_score == before:
            grade.needs_manual_grade = waiting
        self.gradebook.db.commit()

    def _add_comment(self, cell: NotebookNode, resources: dict) -> None:
        if not self.lost:  # "No response." would be false
            super()._add_comment(cell, resources)


@lru_cache
def reference(topic: str, solutions: Path) -> Reference:
    """The reference of a chapter, kept so that a class is judged against one computation."""
    torch.set_num_threads(1)  # as the kernels have: graders side by side would wait for each other's threads
    return Reference(topic, solutions)


def judge_notebook(nb: NotebookNode, oracle_of: OracleOf) -> dict[str, Exception]:
    """Rewrite the check cells' outputs. Returns the failures of the judge itself, by the cell's grade_id.

    Works alike on a freshly executed notebook and on one that was judged before.
    """
    failures, judged, notes = {}, [], course_notes(nb)
    unreadable, lost = notes.get("unreadable"), notes.get("lost")
    for cell in filter(is_check, nb.cells):
        evidence, problem, seeds = None, unreadable, seeds_of(nb, cell)
        try:
            if lost:
                raise Lost(lost)
            if not seeds and not unreadable:
                raise NotExecuted("the notebook was not executed: run nbgrader autograde without --no-execute")
            if not unreadable:
                evidence, problem = _evidence_of(cell)
                if problem is None and len(json.dumps(evidence)) > _room_for_evidence(cell, seeds, oracle_of):
                    evidence, problem = None, TOO_LARGE
            judged.append((cell, _judge_cell(cell, evidence, problem, seeds, oracle_of), evidence, problem))
        except Exception as error:  # whatever it is, it is not the student's
            failures[grade_id(cell)] = error
            _wait_for_a_person(cell, evidence, problem, error)
    note_shaky([verdict for _, verdict, *_ in judged])
    for cell, verdict, *_ in judged:
        _explain_missing_names(verdict, nb, cell)
    for cell, verdict, evidence, problem in judged:
        _write_verdict(cell, verdict, evidence, problem)
    return failures


def is_judged(notebook: NotebookNode) -> bool:
    """Whether a notebook was graded to its end: executed, each check cell judged, and not lost on the way."""
    notes = course_notes(notebook)
    run = "grading_seeds" in notes or "unreadable" in notes
    return run and "lost" not in notes and all(map(_was_judged, filter(is_check, notebook.cells)))


def _was_judged(cell: NotebookNode) -> bool:
    return bool({"exercise", "unjudged"} & cell.metadata.get("course", {}).keys())


class NotExecuted(Exception):
    """There is nothing to judge, through no fault of the student's."""


class Lost(Exception):
    """The grader failed on this submission before there was anything to judge."""


def _judge_cell(cell: NotebookNode, evidence, problem: str | None, seeds: tuple, oracle_of: OracleOf) -> Verdict:
    exercise = find_exercise(checked_exercise(cell) or "(none)")
    return judge_evidence(exercise.name, evidence, oracle_of(exercise.topic), seeds, problem=problem)


def _explain_missing_names(verdict: Verdict, nb: NotebookNode, check_cell: NotebookNode) -> None:
    """Where an answer, or the cell that should define it, lacks a name of a demonstration, say why it is not there."""
    for case in verdict.cases:
        if "is not defined" in case.problem:
            case.problem = f"{case.problem} {why_missing(case.problem, nb)}".rstrip()
    if verdict.problem.endswith("is not defined."):
        for cell in nb.cells[: nb.cells.index(check_cell)]:
            if cell.cell_type == "code" and verdict.exercise in defined_names(cell.source):
                errors = [str(output.evalue) for output in cell.outputs if output.output_type == "error"]
                verdict.problem = f"{verdict.problem} {why_missing(' '.join(errors), nb)}".rstrip()


def _write_verdict(cell: NotebookNode, verdict: Verdict, evidence, problem: str | None) -> None:
    points = float(cell.metadata.nbgrader.points)
    earned = round(points * verdict.score, 2)
    report = {"text/html": to_html(verdict, points), "text/plain": to_text(verdict, points)}
    number = new_output("execute_result", data={"text/plain": f"{earned:g}"}, execution_count=None)
    _rewrite(cell, report, evidence, problem)
    cell.outputs.append(number)
    cell.metadata.course |= {
        "exercise": verdict.exercise,
        "mistakes": verdict.diagnoses,
        "unanswered": verdict.unanswered,
        "shaky": verdict.shaky,
        "unnamed": _unnamed(verdict),
    }


def _unnamed(verdict: Verdict) -> dict[str, dict[str, str]]:
    """The failing cases in which no mistake was recognised, each with its sentence and what came."""
    if verdict.problem or verdict.unanswered or find_exercise(verdict.exercise).open:  # nobody knows an open task's mistakes
        return {}
    failing = [case for case in verdict.cases if not case.passed and not case.problem.startswith(DISCOUNTED)]
    return {
        case.name: {"sentence": case.sentence, "came": _what_came(case)[:300]}
        for case in failing
        if case.mistake not in verdict.diagnoses
    }


def _what_came(case: CaseVerdict) -> str:
    if case.problem or not case.differences:
        return case.problem
    first = case.differences[0]
    return f"{first.name}: expected {first.expected}, got {first.got}"


def _rewrite(cell: NotebookNode, report: dict, evidence, problem: str | None) -> None:
    """Put the report in place of the outputs, and keep what a re-judge needs: the evidence, or why there is none."""
    if problem is None and evidence is not None:
        report = report | {kept.MIME: _kept_before(cell) or kept.pack(evidence)}
    cell.outputs = [new_output("display_data", data=report)]
    cell.execution_count = None
    timed = {"seconds": seconds} if (seconds := course_notes(cell).get("seconds")) is not None else {}
    cell.metadata.course = NotebookNode(timed if problem is None else timed | {"problem": problem})


def _room_for_evidence(cell: NotebookNode, seeds: tuple, oracle_of: OracleOf) -> int:
    """How much evidence is read: generous beside what the reference gives, as a wrong answer may give more."""
    exercise = find_exercise(checked_exercise(cell) or "(none)")
    return min(MAX_EVIDENCE, LEAST_ROOM + TIMES * oracle_of(exercise.topic).evidence_size(exercise, seeds))


def _evidence_of(cell: NotebookNode) -> tuple[object, str | None]:
    """The evidence a check cell emitted, or that was kept of it, and a sentence where there is none to judge."""
    known = course_notes(cell).get("problem")  # from an earlier judgement
    if known:
        return None, known
    if of_then := _kept_before(cell):
        return kept.unpack(of_then, MAX_EVIDENCE), None
    emitted = [output.data[MIME] for output in cell.outputs if MIME in output.get("data", {})]
    if not emitted:
        return None, f"The check cell emitted no result{_why(cell)}."
    if len(emitted) > 1:
        return (
            None,
            f"The check cell emitted {len(emitted)} results where one is expected, so none of them counts.",
        )
    if len(json.dumps(emitted[0])) > MAX_EVIDENCE:
        return None, TOO_LARGE
    return emitted[0], None


def _kept_before(cell: NotebookNode) -> str:
    """The packed evidence of a cell that was judged before; '' where it was not, or had none."""
    if not _was_judged(cell):  # an output may be a student's
        return ""
    return next((output.data[kept.MIME] for output in cell.outputs if kept.MIME in output.get("data", {})), "")


def _why(cell: NotebookNode) -> str:
    errors = [output for output in cell.outputs if output.output_type == "error"]
    return f": {str(errors[-1].ename)[:80]}: {str(errors[-1].evalue).rstrip('.')[:400]}" if errors else ""


def _wait_for_a_person(cell: NotebookNode, evidence, problem: str | None, error: Exception) -> None:
    """Say so in the page, and keep the evidence for a re-judge."""
    sentence = (
        "This cell could not be judged. That is an error of the grader, not yours; an instructor will look at it."
    )
    _rewrite(cell, {"text/plain": f"{sentence}\n({type(error).__name__})"}, evidence, problem)
    cell.metadata.course |= {"unjudged": True, "mistakes": {}}
