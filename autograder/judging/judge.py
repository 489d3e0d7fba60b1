"""The judge: compares evidence with what the reference gives on the same probes and seeds, and names known mistakes.

It is handed its *oracle*: the reference itself where the solutions are (`autograder.judging.reference`), or the answer key in
a student's notebook (`autograder.judging.key`). Both give, for a case and a seed, the expected summary and the fingerprints of
the known mistakes. Evidence is data from an untrusted process; nothing in it is executed or believed.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from autograder.evidence import VERSION
from autograder.exercise import SIZES, Case, Exercise, exercises_of, find_exercise
from autograder.judging import fingerprints
from autograder.judging.explain import describe, what_they_say
from autograder.judging.rules import RULES, Entry, Summary, entries_agree
from autograder.values import MalformedEvidence, decode


@dataclass(frozen=True)
class KnownMistake:
    """A wrong solution that students really write. prints: fingerprint by (case name, seed)."""

    name: str
    hint: str
    prints: dict[tuple[str, int], dict]


class Oracle(Protocol):
    """What the judge needs to know and a student's process does not."""

    def expected(self, exercise: Exercise, case: Case, seed: int) -> Summary: ...
    def mistakes(self, exercise: Exercise, seeds: Sequence[int]) -> list[KnownMistake]: ...


@dataclass(frozen=True)
class Difference:
    """One named value of a case that is not as expected."""

    name: str
    expected: str
    got: str
    says: str


@dataclass
class CaseVerdict:
    """problem: why nothing could be compared (the answer raised, hung, …); diagnosis: the hint of a known mistake."""

    name: str
    sentence: str
    passed: bool
    problem: str = ""
    differences: list[Difference] = field(default_factory=list)
    mistake: str = ""
    diagnosis: str = ""


@dataclass
class Verdict:
    """The judgement of one answer.

    problem: why there was nothing to judge; mistake: the one that explains it all; uses: the chapter's other exercises
    that it calls; shaky: those of them that have not passed, where this one fails too (see `note_shaky`).
    """

    exercise: str
    topic: str
    section: str
    cases: list[CaseVerdict]
    problem: str = ""
    unanswered: bool = False
    mistake: str = ""
    hint: str = ""
    uses: list[str] = field(default_factory=list)
    shaky: list[str] = field(default_factory=list)

    @property
    def score(self) -> float:
        """The share of cases passed, in [0, 1]."""
        return 0.0 if self.problem else sum(case.passed for case in self.cases) / len(self.cases)

    @property
    def passed(self) -> bool:
        return not self.problem and all(case.passed for case in self.cases)

    @property
    def diagnoses(self) -> dict[str, str]:
        """Every mistake recognised: name and hint."""
        named = {self.mistake: self.hint} | {case.mistake: case.diagnosis for case in self.cases}
        return {name: hint for name, hint in named.items() if name}


def judge_evidence(name: str, evidence, oracle: Oracle, seeds: Sequence[int], problem: str | None = None) -> Verdict:
    """The verdict on the evidence for exercise `name`, of which every case on every one of `seeds` counts.

    problem: a sentence saying why there is no evidence; then every case fails. Evidence in a form that was not agreed
    is such a problem too. Nothing in the evidence can make this raise.
    """
    exercise = find_exercise(name)
    verdict = Verdict(exercise.name, exercise.topic, exercise.section, [])
    try:
        if problem:
            raise MalformedEvidence(problem)
        records = _read(exercise, evidence, seeds)
    except MalformedEvidence as error:
        verdict.problem = str(error)
        verdict.cases = [CaseVerdict(case.name, case.sentence, False) for case in exercise.cases]
        return verdict
    verdict.uses = _read_uses(exercise, evidence)
    # An answer that calls another has been written, even where the other has not.
    verdict.unanswered = not verdict.uses and all(record.unanswered for record in records.values())
    verdict.cases = [_judge_case(exercise, case, seeds, records, oracle) for case in exercise.cases]
    if not verdict.passed and not verdict.unanswered:
        _diagnose(verdict, exercise, records, oracle.mistakes(exercise, seeds))
    return verdict


def note_shaky(verdicts: Sequence[Verdict], passing: Collection[str] = ()) -> None:
    """Note in each verdict that fails which of the answers it calls pass neither here nor, as `passing` says, elsewhere."""
    sound = {*passing, *(verdict.exercise for verdict in verdicts if verdict.passed)}
    for verdict in verdicts:
        verdict.shaky = [] if verdict.passed else [name for name in verdict.uses if name not in sound]


def _read_uses(exercise: Exercise, evidence: dict) -> list[str]:
    listed = evidence.get("uses")
    return [e.name for e in exercises_of(exercise.topic) if isinstance(listed, list) and e.name in listed]


@dataclass
class Record:
    """One case on one seed, decoded. Either summary, or the sentence `failure`."""

    summary: Summary | None
    failure: str = ""
    error: str = ""
    unanswered: bool = False


def _read(exercise: Exercise, evidence, seeds: Sequence[int]) -> dict[tuple[str, int], Record]:
    if not isinstance(evidence, dict) or evidence.get("version") != VERSION:
        raise MalformedEvidence("The check cell emitted something that is not evidence of this course's check.")
    if evidence.get("exercise") != exercise.name:
        raise MalformedEvidence(f"The check cell emitted evidence of another exercise than {exercise.name}.")
    raw = evidence.get("records")
    if not isinstance(raw, list) or not all(isinstance(record, dict) for record in raw):
        raise MalformedEvidence("The evidence holds no list of records.")
    found = {(r["case"], r["seed"]): r for r in raw if isinstance(r.get("case"), str) and type(r.get("seed")) is int}
    return {
        (case.name, seed): read_record(case, found.get((case.name, seed))) for case in exercise.cases for seed in seeds
    }


def read_record(case: Case, raw: dict | None) -> Record:
    """Decode one record of evidence. Whatever is wrong with it becomes the sentence `failure`."""
    if raw is None:
        return Record(None, failure="It was not run.")
    if isinstance(raw.get("stopped"), dict):
        return Record(None, failure=f"Your function was stopped: {str(raw['stopped'].get('sentence'))[:300]}")
    if isinstance(raw.get("error"), dict):
        return _read_error(raw["error"])
    try:
        data = {str(name): decode(value) for name, value in dict(raw["data"]).items()}
        summary = RULES[case.rule](data)
    except Exception as error:  # a rule may stumble over data of a form it did not foresee: that data is not right
        return Record(None, failure=f"What your function returned cannot be compared ({type(error).__name__}).")
    return Record(summary)


def _read_error(raw: dict) -> Record:
    kind, message = str(raw.get("type", ""))[:80], str(raw.get("message", ""))[:500]
    if kind == "Unexpected":
        return Record(None, failure=message, error=f"{kind}: {message}")
    if raw.get("unanswered") is True:
        return Record(None, failure="Not answered yet.", error=kind, unanswered=True)
    line, number = str(raw.get("line", ""))[:200], raw.get("number")
    where = f" in your line {number}: `{line}`" if line else ""
    return Record(None, failure=f"Your function raised {kind}{where}: {message}", error=kind)


def _judge_case(exercise: Exercise, case: Case, seeds, records, oracle: Oracle) -> CaseVerdict:
    """Passed when it agrees on every seed; otherwise tells of the first seed on which it does not."""
    for seed in seeds:
        record = records[case.name, seed]
        if record.failure:
            return CaseVerdict(case.name, case.sentence, False, problem=record.failure)
        want = oracle.expected(exercise, case, seed)
        differences = compare(record.summary, want, case.rtol)
        if differences:
            return CaseVerdict(case.name, case.sentence, False, differences=differences)
    return CaseVerdict(case.name, case.sentence, True)


def compare(got: Summary, want: Summary, rtol: float) -> list[Difference]:
    """The entries in which a summary is not as expected, each with what its numbers say."""
    sizes = want[SIZES].value if SIZES in want else {}
    missing = Entry(None)
    return [
        Difference(
            name,
            describe(entry.value),
            describe(got.get(name, missing).value),
            what_they_say(got.get(name, missing), entry, rtol, sizes),
        )
        for name, entry in want.items()
        if name != SIZES and not entries_agree(got.get(name, missing), entry, rtol)
    ]


def _diagnose(verdict: Verdict, exercise: Exercise, records, mistakes: list[KnownMistake]) -> None:
    prints = {key: fingerprints.fingerprint(record.summary, record.error) for key, record in records.items()}
    matching = {
        m.name: {key for key in prints if key in m.prints and fingerprints.agree(prints[key], m.prints[key])}
        for m in mistakes
    }
    for mistake in mistakes:
        if len(matching[mistake.name]) == len(prints):
            verdict.mistake, verdict.hint = mistake.name, mistake.hint
            break
    for case in verdict.cases:
        if not case.passed:
            _diagnose_case(case, verdict, records, prints, matching, mistakes)


def _diagnose_case(case: CaseVerdict, verdict: Verdict, records, prints, matching, mistakes) -> None:
    if verdict.mistake:
        case.mistake, case.diagnosis = verdict.mistake, verdict.hint
        return
    keys = {key for key in records if key[0] == case.name}
    # An exception of the same type is too weak a likeness to name a mistake by.
    if any(fingerprints.is_error(prints[key]) for key in keys):
        return
    suspects = [m for m in mistakes if keys <= matching[m.name]]
    if suspects:
        best = max(suspects, key=lambda m: len(matching[m.name]))
        case.mistake, case.diagnosis = best.name, best.hint
