"""From the class as data to what the report shows. Everything here takes data and returns data."""

import ast
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean, median, quantiles

from autograder.grading.classreport.alike import form, parsed
from autograder.grading.classreport.gather import Answer, Class, Submission, Task
from autograder.grading.states import GRADED, INFRASTRUCTURE_ERROR, STATES, STUDENT_ERROR, SUBMISSION_ERROR

BINS = 10
EXAMPLES = 2  # of a mistake
EXAMPLE_LINES, EXAMPLE_WIDTH = 40, 110
SHARED_BY, SHARED_SHARE = 3, 0.1  # a failure that nobody can name is shared by many: by so many, and by this share


@dataclass(frozen=True)
class Scores:
    """The scores as shares of all points. bins: how many are in each tenth; of those that were read."""

    bins: tuple[int, ...]
    middle: float
    lower: float
    upper: float
    count: int


@dataclass(frozen=True)
class TaskCounts:
    """How the class did in one task. The five counts are of disjoint groups; share: the mean of the points' shares."""

    task: Task
    passed: int
    partly: int
    nothing: int
    unanswered: int
    waiting: int
    share: float | None
    seconds: float | None
    slowest: float | None

    @property
    def count(self) -> int:
        return self.passed + self.partly + self.nothing + self.unanswered + self.waiting


@dataclass(frozen=True)
class Example:
    """How some of the class wrote it, without comments, docstrings and names of people."""

    code: str
    count: int


@dataclass(frozen=True)
class Count:
    """How many submissions of a class made a mistake."""

    exercise: str
    mistake: str
    hint: str
    count: int
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True)
class Resting:
    """Of the answers to an exercise that fail, so many call another one's that is not right."""

    exercise: str
    failing: int
    on: str
    count: int


@dataclass(frozen=True)
class SharedCase:
    """A case that several answers fail. came: what most of them gave; alike: how many gave just that."""

    sentence: str
    count: int
    came: str
    alike: int


@dataclass(frozen=True)
class Unnamed:
    """Answers to an exercise that fail in the same cases, in which no mistake was recognised. cases: the most shared first;
    answered: how many answers there are.
    """

    exercise: str
    students: tuple[str, ...]
    answered: int
    cases: tuple[SharedCase, ...]


@dataclass
class Looks:
    """Who needs a look by hand, and why: by student, a few sentences. waiting: by task, whose answer waits for a person."""

    lost: dict[str, list[str]] = field(default_factory=dict)
    unreadable: dict[str, list[str]] = field(default_factory=dict)
    stopped: dict[str, list[str]] = field(default_factory=dict)
    repaired: dict[str, list[str]] = field(default_factory=dict)
    waiting: dict[str, list[str]] = field(default_factory=dict)


def read(submissions: Iterable[Submission]) -> list[Submission]:
    """Those that there was something to judge in."""
    return [one for one in submissions if one.state in (GRADED, STUDENT_ERROR)]


def states(found: Class) -> dict[str, int]:
    """How many submissions are in each of the four states."""
    counts = Counter(one.state for one in found.submissions)
    return {state: counts[state] for state in STATES}


def scores(found: Class) -> Scores | None:
    """The distribution; None where nothing has a score."""
    shares = [one.score / found.points for one in read(found.submissions) if one.score is not None and found.points]
    if not shares:
        return None
    bins = Counter(min(BINS - 1, int(share * BINS + 1e-9)) for share in shares)
    lower, middle, upper = quantiles(shares, n=4, method="inclusive") if len(shares) > 1 else shares * 3
    return Scores(tuple(bins[i] for i in range(BINS)), middle, lower, upper, len(shares))


def tasks(found: Class) -> list[TaskCounts]:
    """Each task, in the notebook's order."""
    return [_count_task(task, [one.answers[task.name] for one in read(found.submissions)]) for task in found.tasks]


def _count_task(task: Task, answers: list[Answer]) -> TaskCounts:
    groups = Counter(_group(task, answer) for answer in answers)
    shares = [a.points / task.points for a in answers if a.points is not None and not a.waits and task.points]
    times = [answer.seconds for answer in answers if answer.seconds is not None and not answer.unanswered]
    return TaskCounts(
        task,
        *(groups[name] for name in ("passed", "partly", "nothing", "unanswered", "waiting")),
        share=fmean(shares) if shares else None,
        seconds=median(times) if times else None,
        slowest=max(times, default=None),
    )


def _group(task: Task, answer: Answer) -> str:
    if answer.waits or answer.points is None:
        return "waiting"
    if answer.unanswered:
        return "unanswered"
    if answer.points >= task.points - 1e-6:
        return "passed"
    return "partly" if answer.points > 0 else "nothing"


def mistakes(found: Class) -> list[Count]:
    """The known mistakes of the class, most frequent first, each with the ways in which it was written most."""
    made: dict[tuple[str, str], list[Answer]] = defaultdict(list)
    for one in read(found.submissions):
        for task in found.tasks:
            for mistake in one.answers[task.name].mistakes:
                made[task.name, mistake].append(one.answers[task.name])
    ordered = sorted(made.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        Count(exercise, mistake, answers[-1].mistakes[mistake], len(answers), examples(a.source for a in answers))
        for (exercise, mistake), answers in ordered
    ]


def examples(sources: Iterable[str]) -> tuple[Example, ...]:
    """The ways of writing that most of the sources have; sources that differ in their own names alone are one way."""
    ways: dict[tuple, list[str]] = defaultdict(list)
    for source in sources:
        if code := shown(source):
            ways[form(source)].append(code)
    most = sorted(ways.values(), key=len, reverse=True)[:EXAMPLES]
    return tuple(Example(codes[0], len(codes)) for codes in most)


def shown(source: str) -> str:
    """A source as an example that names nobody: comments and docstrings may, and are left out. '': it is no Python."""
    tree = parsed(source)
    if tree is None:
        return ""
    try:
        lines = ast.unparse(tree).splitlines()
    except (ValueError, RecursionError):  # a number too long to be written, or too deep a nesting
        return ""
    kept = [line if len(line) <= EXAMPLE_WIDTH else line[:EXAMPLE_WIDTH] + " …" for line in lines[:EXAMPLE_LINES]]
    return "\n".join([*kept, *([f"… ({len(lines) - EXAMPLE_LINES} more lines)"] if len(lines) > EXAMPLE_LINES else [])])


def resting(found: Class) -> list[Resting]:
    """Answers that rest on wrong ones, most frequent first."""
    failing: Counter = Counter()
    calls: Counter = Counter()
    for one in read(found.submissions):
        for task in found.tasks:
            answer = one.answers[task.name]
            failing[task.name] += _group(task, answer) in ("partly", "nothing")
            calls.update((task.name, other) for other in answer.shaky)
    return [Resting(name, max(failing[name], n), on, n) for (name, on), n in calls.most_common()]


def unnamed(found: Class) -> list[Unnamed]:
    """Failures that many share and no mistake explains, most frequent first: perhaps a fault of the check.

    Answers that rest on a wrong one are not counted, as that explains them.
    """
    shared = []
    for task in found.tasks:
        answers = {one.student: one.answers[task.name] for one in read(found.submissions)}
        answered = [student for student, answer in answers.items() if not answer.unanswered]
        told: dict[str, dict[str, dict]] = defaultdict(dict)  # by case and student
        for student, answer in answers.items():
            for case, what in answer.unnamed.items() if not answer.shaky else ():
                told[case][student] = what
        many = max(SHARED_BY, SHARED_SHARE * len(answered))
        cases = sorted((what for what in told.values() if len(what) >= many), key=lambda what: -len(what))
        if cases:
            students = tuple(sorted(set().union(*cases)))
            shared.append(Unnamed(task.name, students, len(answered), tuple(map(_shared_case, cases))))
    return sorted(shared, key=lambda one: -len(one.students))


def _shared_case(told: dict[str, dict]) -> SharedCase:
    came, alike = Counter(what["came"] for what in told.values()).most_common(1)[0]
    return SharedCase(next(iter(told.values()))["sentence"], len(told), came, alike)


def looks(found: Class) -> Looks:
    """Who needs a look by hand."""
    told = Looks()
    for one in found.submissions:
        problems = [f"{name}: {answer.problem}" for name, answer in one.answers.items() if answer.problem]
        if one.state == INFRASTRUCTURE_ERROR:
            told.lost[one.student] = [one.why]
        elif one.state == SUBMISSION_ERROR:
            told.unreadable[one.student] = [one.why]
        elif one.state == STUDENT_ERROR:
            told.stopped[one.student] = list(dict.fromkeys(one.stopped + problems))
        if one.repairs:
            told.repaired[one.student] = one.repairs
        if one.state in (GRADED, STUDENT_ERROR):
            for task in found.tasks:
                if one.answers[task.name].waits:
                    told.waiting.setdefault(task.name, []).append(one.student)
    return told
