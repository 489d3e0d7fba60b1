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
from autograder.judging.compare import MISSING, Summary, differing, same
from autograder.judging.explain import describe, what_they_say
from autograder.judging.rules import RULES
from autograder.values import MalformedEvidence, decode

Key = tuple[str, int]  # name of a case, and seed
DISCOUNTED = "It counts as soon as"  # begins what is said of a case that passes and is worth nothing yet


@dataclass(frozen=True)
class KnownMistake:
    """A wrong solution that students really write.

    prints: fingerprint by (case name, seed), of those alone in which what it gives is not the expected.
    """

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
    """problem: why nothing could be compared (the answer raised, hung, …); diagnosis: the hint of a known mistake, which
    is a guess where other cases do not bear it out; alike: in how many failing cases the answer does what it does.
    """

    name: str
    sentence: str
    passed: bool
    problem: str = ""
    differences: list[Difference] = field(default_factory=list)
    mistake: str = ""
    diagnosis: str = ""
    guess: bool = False
    alike: int = 0


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
        """Every mistake recognised, in more than one case: name and hint."""
        named = {self.mistake: self.hint} | {c.mistake: c.diagnosis for c in self.cases if not c.guess or c.alike > 1}
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
    _discount(exercise, verdict.cases)
    if not verdict.passed and not verdict.unanswered and not exercise.open:
        wrong = wrong_prints(exercise, records, oracle)
        _diagnose(verdict, exercise, wrong, oracle.mistakes(exercise, seeds))
    return verdict


def _discount(exercise: Exercise, cases: list[CaseVerdict]) -> None:
    """To leave the arguments alone, or to let no gradient flow, is worth nothing in an answer that does little else."""
    own = {case.name for case in exercise.own_cases}
    least = 1 if exercise.open else len(own) / 2
    if sum(case.passed for case in cases if case.name in own) >= least:
        return
    for case in cases:
        if case.passed and case.name not in own:
            enough = "one of the other cases passes" if exercise.open else "half of the other cases pass"
            case.passed, case.problem = False, f"{DISCOUNTED} {enough}."


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
    if isinstance(raw.get("spoiled"), dict):
        return _read_spoiled(raw["spoiled"])
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


def _read_spoiled(raw: dict) -> Record:
    """What was seen of an answer that changed its arguments, or gave some of their memory back."""
    listed = raw.get("arguments") if isinstance(raw.get("arguments"), list) else []
    found = [(a[0], a[1]) for a in listed[:20] if isinstance(a, list) and len(a) == 2 and type(a[0]) is int]
    places = ", ".join(str(place) for place, _ in found)
    names = " and ".join(f"`{str(name)[:40]}`" for _, name in found) or "an argument"
    if raw.get("how") == "shared":
        told = f"What you return lies in the memory of {names}: whoever changes the one changes the other."
    else:
        case = str(raw.get("case"))[:80]
        told = f"Your function changes {names}, which the caller still needs (seen in the case `{case}`)."
    failure = f"{told} Work on a copy, as from .clone() or list(…)."
    return Record(None, failure=failure, error=f"{str(raw.get('how'))[:20]} {places}")


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
    names = differing(got, _without_sizes(want), rtol)
    shown = [name for name in names if not name.startswith("_")]
    if names and not shown:  # what the rules compare for themselves alone
        return [Difference("inputs", "those of this case", "others", "The draws were made for other inputs than the case's.")]
    return [
        Difference(
            name,
            describe(want[name].value),
            describe(got.get(name, MISSING).value),
            what_they_say(got.get(name, MISSING), want[name], rtol, sizes, name),
        )
        for name in shown
    ]


def wrong_prints(exercise: Exercise, records: dict[Key, Record], oracle: Oracle) -> dict[Key, dict]:
    """The fingerprints of what is not as expected, by case and seed."""
    prints = {}
    for case in exercise.cases:
        for key in (key for key in records if key[0] == case.name):
            record = records[key]
            if record.failure or not same(record.summary, _without_sizes(oracle.expected(exercise, case, key[1])), case.rtol):
                prints[key] = fingerprints.fingerprint(record.summary, record.error)
    return prints


def _without_sizes(want: Summary) -> Summary:
    return {name: entry for name, entry in want.items() if name != SIZES}


def _diagnose(verdict: Verdict, exercise: Exercise, wrong: dict[Key, dict], mistakes: list[KnownMistake]) -> None:
    """Name the mistake that does all that the answer does; else, case by case, those that do some of it."""
    rtol = {case.name: case.rtol for case in exercise.cases}
    seeds = {seed for _, seed in wrong}
    mistakes = [KnownMistake(m.name, m.hint, {k: p for k, p in m.prints.items() if k[1] in seeds}) for m in mistakes]

    def alike(mistake: KnownMistake, key: Key) -> bool:
        return key in mistake.prints and fingerprints.agree(wrong[key], mistake.prints[key], rtol[key[0]])

    matching = {mistake.name: {key for key in wrong if alike(mistake, key)} for mistake in mistakes}
    for mistake in mistakes:
        if len(matching[mistake.name]) == len(wrong) == len(mistake.prints):
            verdict.mistake, verdict.hint = mistake.name, mistake.hint
            for case in verdict.cases:
                if not case.passed:
                    case.mistake, case.diagnosis = mistake.name, mistake.hint
            return
    # An exception of the same type is too weak a likeness to name a mistake by in single cases.
    shown = {key for key, print_ in wrong.items() if not fingerprints.is_error(print_)}
    for case in verdict.cases:
        keys = {key for key in wrong if key[0] == case.name}
        if not case.passed and keys and keys <= shown:
            _guess(case, keys, wrong, matching, mistakes)


def _guess(case: CaseVerdict, keys: set[Key], wrong: dict[Key, dict], matching, mistakes: list[KnownMistake]) -> None:
    """Name the mistake that does what the answer does in this case, unless other failing cases speak against it.

    In one case alone two things can look alike by chance: there, nothing is named if another mistake would do as well, or
    if much else fails.
    """
    failing, candidates = _cases(wrong), []
    for mistake in mistakes:
        if keys <= matching[mistake.name] and keys == {key for key in mistake.prints if key[0] == case.name}:
            alike = failing - _cases(wrong.keys() - matching[mistake.name])
            against = (failing - alike) & _cases(mistake.prints)  # there it would do something else than the answer does
            candidates.append((len(alike), -len(against), mistake))
    if not candidates:
        return
    alike, against, best = max(candidates, key=lambda found: found[:2])
    several = sum(found[:2] == (alike, against) for found in candidates) > 1
    if alike + against < 1 or (alike == 1 and (against or several or len(failing) > 2)):
        return
    case.mistake, case.diagnosis, case.guess, case.alike = best.name, best.hint, True, alike


def _cases(keys) -> set[str]:
    return {name for name, _ in keys}
