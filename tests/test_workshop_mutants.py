"""Mutants: that the operators make the changes they promise, and that a survivor is one the probes let through."""

import json
from functools import cache

import pytest
from conftest import WHOLE

from autograder.evidence import PUBLIC_SEEDS
from autograder.exercise import Exercise, exercises_of, find_exercise
from autograder.judging.reference import SOLUTIONS, Reference
from autograder.limits import CAN_FORK, Limits
from autograder.workshop import mutants
from autograder.workshop.mutations import Mutant, mutants_of
from autograder.workshop.operators import OPERATORS
from autograder.workshop.release import chapters

EXERCISES = [exercise.name for topic in chapters() for exercise in exercises_of(topic)]
CLOSED = [exercise.name for topic in chapters() for exercise in exercises_of(topic) if not exercise.open]
needs_limits = pytest.mark.skipif(not CAN_FORK, reason="without a fork nothing stops an endless loop")
SAMPLE = 6 if WHOLE else 3  # mutants of each exercise, in the suite; `make mutants` takes all

# Operator, a source, and one change that it makes of it.
CHANGES = [
    ("comparison", "a < b", "a < b -> a <= b"),
    ("comparison", "a == b", "a == b -> a != b"),
    ("number", "a = 3", "a = 3 -> a = 4"),
    ("number", "a = -100", "a = -100 -> a = -101"),
    ("number", "a = 0.5", "a = 0.5 -> a = 1.0"),
    ("number", "a = x[1:]", "a = x[1:] -> a = x[2:]"),
    ("number", "x.sum(dim=-1)", "x.sum(dim=-1) -> x.sum(dim=0)"),
    ("number", "x.sum(1)", "x.sum(1) -> x.sum(2)"),
    ("number", "x.shape[0]", "x.shape[0] -> x.shape[1]"),
    ("arithmetic", "a + b", "a + b -> a - b"),
    ("arithmetic", "a * b", "a * b -> a"),
    ("arithmetic", "a // b", "a // b -> a / b"),
    ("arithmetic", "a & b", "a & b -> a | b"),
    ("arithmetic", "a += b", "a += b -> a = b"),
    ("sign", "a = -b", "a = -b -> a = b"),
    ("sign", "a = ~b", "a = ~b -> a = b"),
    ("sign", "a = b * c", "a = b * c -> a = -(b * c)"),
    ("boolean", "a and b", "a and b -> a or b"),
    ("boolean", "a or b", "a or b -> b"),
    ("boolean", "f(x, keepdim=True)", "f(x, keepdim=True) -> f(x, keepdim=False)"),
    ("condition", "if a:\n    f()", "if a: -> if False:"),
    ("condition", "[x for x in y if x]", "[x for x in y if x] -> [x for x in y if True]"),
    ("arguments", "f(a, b)", "f(a, b) -> f(b, a)"),
    ("arguments", "f(a, dim=0)", "f(a, dim=0) -> f(a)"),
    ("keyword", "a.clamp(min=b)", "a.clamp(min=b) -> a.clamp(max=b)"),
    ("kin", "a.sum()", "a.sum() -> a.mean()"),
    ("kin", "torch.any(a)", "torch.any(a) -> torch.all(a)"),
    ("kin", "a.masked_fill(b, 0)", "a.masked_fill(b, 0) -> a.masked_fill_(b, 0)"),
    ("dropped call", "c = a.detach()", "c = a.detach() -> c = a"),
    ("dropped call", "c = math.exp(a)", "c = math.exp(a) -> c = a"),
    ("dropped call", "c = max(a, b)", "c = max(a, b) -> c = b"),
    ("counting", "range(n)", "range(n) -> range(n - 1)"),
    ("counting", "torch.randint(n, (2,))", "torch.randint(n, (2,)) -> torch.randint(n - 1, (2,))"),
    ("counting", "enumerate(a)", "enumerate(a) -> enumerate(a, 1)"),
    ("counting", "zip(a, b)", "zip(a, b) -> zip(a, b[1:])"),
    ("slice", "a = x[b:]", "a = x[b:] -> a = x[b + 1:]"),
    ("slice", "a = x[:b]", "a = x[:b] -> a = x[:b - 1]"),
    ("slice", "a = x[b]", "a = x[b] -> a = x"),
    ("text", "a = 'b'", "a = 'b' -> a = ''"),
    ("entry", "a = {b: c, d: e}", "a = {b: c, d: e} -> a = {d: e}"),
    ("entry", "a = (b, c)", "a = (b, c) -> a = (c, b)"),
    ("text", "f(x, reduction='sum')", "f(x, reduction='sum') -> f(x, reduction='mean')"),
    ("other name", "def f():\n    for i, a in x:\n        b[i] = a", "b[i] = a -> b[a] = a"),
    ("order", "a.zero()\nb.backward()", "a.zero(); b.backward() -> b.backward(); a.zero()"),
    ("order", "a += b\nb += 1", "a += b; b += 1 -> b += 1; a += b"),
    ("order", "a.step()", "a.step() -> a.step(); a.step()"),
    ("other name", "def f(a, b):\n    return a + 1", "return a + 1 -> return b + 1"),
    ("default", "def f(a=None):\n    return a", "def f(a=None): -> def f(a=1):"),
    ("dropped statement", "a.step()\nb()", "a.step() -> (nothing)"),
    ("dropped statement", "def f(a):\n    a = a + 1\n    return a", "a = a + 1 -> (nothing)"),
    ("dropped statement", "with a:\n    b()", "with a:; b() -> b()"),
    ("dropped statement", "if a:\n    raise b", "raise b -> pass"),
    ("early return", "def f(a):\n    b = a\n    return b + 1", "b = a -> b = a; return b"),
    ("loop", "for a in b:\n    c()", "c() -> c(); break"),
    ("loop", "for a in b:\n    if a:\n        break", "break -> continue"),
    ("loop", "def f(a):\n    for b in a:\n        c()\n    return 1", "c() -> c(); return 1"),
]


@cache
def reference(topic: str) -> Reference:
    return Reference(topic)


@pytest.mark.parametrize("operator, source, change", CHANGES, ids=[change for *_, change in CHANGES])
def test_an_operator_makes_its_change(operator, source, change):
    found = {mutant.change: mutant for mutant in mutants_of(source)}
    assert change in found, "\n".join(found)
    assert found[change].operator == operator


def test_every_operator_is_tried_above():
    assert {operator for operator, *_ in CHANGES} == set(OPERATORS)


def test_what_is_not_the_answer_is_left_alone():
    source = '''
import math

def f(a: int = b, c: "list[int]" = d) -> float:
    """Adds 1 to a."""
    if a:
        raise ValueError("a is " + str(1))
'''
    for mutant in mutants_of(source):
        assert "Adds 1 to a." in mutant.source and "import math" in mutant.source
        assert "ValueError('a is ' + str(1))" in mutant.source or "raise" not in mutant.source, mutant


@pytest.mark.parametrize(
    "source, change",
    [
        ("a += b\nc += d", "a += b; c += d -> c += d; a += b"),
        ("optimizer.zero_grad()", "optimizer.zero_grad() -> optimizer.zero_grad(); optimizer.zero_grad()"),
        ("c = max(a, b)", "c = max(a, b) -> c = max(b, a)"),
        ("c = x.sum(-1)", "c = x.sum(-1) -> c = x.sum(1)"),
        ("def f(a):\n    b = a + 1\n    return b.clamp(0)", "return b.clamp(0) -> return b.clamp_(0)"),
        ("c = torch.zeros(2, device=d)", "c = torch.zeros(2, device=d) -> c = torch.zeros(2)"),
    ],
)
def test_what_only_looks_different_is_not_made(source, change):
    assert change not in [mutant.change for mutant in mutants_of(source)]


def test_a_change_is_made_once_and_has_a_name_of_its_own():
    source = "def f(a, b):\n    a = a + 1\n    a = a + 1\n    return a * b[0] if a > 0 else a"
    found = mutants_of(source)
    assert len({mutant.source for mutant in found}) == len({mutant.change for mutant in found}) == len(found)
    assert any(mutant.change.endswith("(#2)") for mutant in found), "the same line stands there twice"
    assert found == mutants_of(source), "the order is not that of the source"


def test_the_line_is_that_of_the_chapters_file(root):
    exercise = find_exercise("learning_rate")
    lines = (root / "solutions" / exercise.topic / f"{exercise.topic}.py").read_text(encoding="utf-8").splitlines()
    found = mutants.mutants_of_exercise(reference(exercise.topic), exercise)
    inside = next(mutant for mutant in found if mutant.change.startswith("if step < warmup_steps:"))
    assert lines[inside.line - 1].strip() == "if step < warmup_steps:"


# --- A chapter of one exercise, whose probe is weak or strong

CHAPTER = '''
# %% tags=["imports"]
import math

# %% nbgrader={"grade": false, "grade_id": "roots", "locked": false, "schema_version": 3, "solution": true, "task": false}
def not_negative(x):
    return x >= 0

def roots(numbers, most=3):
    """The roots of the first `most` numbers that have one."""
    ### BEGIN SOLUTION
    found = []
    for x in numbers:
        if len(found) >= most:
            break
        if not_negative(x):
            found.append(math.sqrt(x))
    return found
    ### END SOLUTION
'''

WEAK = "def not_negative(x):\n    return x > 0"
AT_ZERO = "return x >= 0 -> return x > 0"


@pytest.fixture
def small_chapter(tmp_path, monkeypatch):
    """make(equivalents, *inputs): a chapter of one exercise, which is asked about these inputs."""
    from autograder import exercise as module

    monkeypatch.setattr(module, "_registry", dict(module._registry))
    topic = "91_small"
    (tmp_path / topic).mkdir()
    (tmp_path / topic / f"{topic}.py").write_text(CHAPTER.lstrip(), encoding="utf-8")

    def make(*inputs, equivalents=()):
        (tmp_path / topic / "equivalents.py").write_text(f"EQUIVALENTS = {list(equivalents)!r}\n", encoding="utf-8")
        exercise = Exercise("roots", topic=topic, section="Roots")

        @exercise.case
        def numbers(answer, seed):
            """The roots of some numbers."""
            return {str(i): answer(*given) for i, given in enumerate(inputs)}

        return Reference(topic, tmp_path), exercise

    return make


THOROUGH = ([4, 0, -1, 9],), ([1, 4, 9, 16, 25],), ([1, 4, 9], 2), ([-0.5, 2, 0.5, 0.25],), ([], 1), ([1], 0)


def changes(outcome) -> list[str]:
    return [mutant.change for mutant in outcome.survivors]


def test_a_weak_probe_lets_a_mutant_through_and_a_strong_one_does_not(small_chapter):
    weak = mutants.try_mutants(*small_chapter(([4, -1, 9],)))
    strong = mutants.try_mutants(*small_chapter(*THOROUGH))
    assert AT_ZERO in changes(weak) and AT_ZERO not in changes(strong)
    assert weak.mutants == strong.mutants and strong.killed > weak.killed
    assert mutants.share([strong]) > mutants.share([weak])


@pytest.mark.parametrize("name", EXERCISES)
def test_a_reference_loads_as_its_mutants_do(name):
    """A decorator, a helper or a constant that is not found would kill every mutant, and the table would say 100 %."""
    exercise, oracle = find_exercise(name), reference(find_exercise(name).topic)
    source = mutants.unchanged(mutants.source_of(oracle, exercise))
    assert callable(mutants.load(source, oracle, exercise))


def test_a_mutant_of_a_helper_counts(small_chapter):
    found = mutants.mutants_of_exercise(*small_chapter(([4],)))
    assert AT_ZERO in [mutant.change for mutant in found]


def test_a_listed_survivor_is_no_survivor_and_a_listed_mutant_that_is_killed_is_reported(small_chapter):
    rows = [
        ("roots", AT_ZERO, "nobody asks at 0"),
        ("roots", "return x >= 0 -> return x < 0", "this is killed"),
        ("roots", "return x >= 0 -> return x", "nobody makes this"),
        ("another", "a -> b", "of another exercise"),
    ]
    without = mutants.try_mutants(*small_chapter(([4, -1, 9],)))
    outcome = mutants.try_mutants(*small_chapter(([4, -1, 9],), equivalents=rows))
    assert AT_ZERO not in changes(outcome)
    assert sorted([*changes(outcome), AT_ZERO]) == sorted(changes(without))
    assert outcome.equivalent == 1 and outcome.killed == without.killed
    assert sorted(outcome.stale) == ["return x >= 0 -> return x", "return x >= 0 -> return x < 0"]


def test_a_row_without_a_reason_is_refused(small_chapter):
    with pytest.raises(ValueError, match="reason"):
        mutants.try_mutants(*small_chapter(([4],), equivalents=[("roots", AT_ZERO, " ")]))


@needs_limits
@pytest.mark.parametrize("body", ["while True: pass", "import os; os._exit(0)", "raise SystemExit", "numbers.clear()"])
def test_a_mutant_that_hangs_dies_or_spoils_something_is_killed_and_harms_nobody(small_chapter, body):
    reference, exercise = small_chapter(([4, 9],))
    limits = Limits(seconds=1)
    bad, good = (Mutant("by hand", 1, "", f"def roots(numbers, most=3):\n    {b}") for b in (body, "return [2.0, 3.0]"))
    assert not mutants.survives(bad, reference, exercise, PUBLIC_SEEDS, limits)
    assert mutants.survives(good, reference, exercise, PUBLIC_SEEDS, limits)


def test_a_mutant_that_cannot_be_loaded_is_killed(small_chapter):
    reference, exercise = small_chapter(([4, 9],))
    bad = Mutant("by hand", 1, "", "raise ValueError('at the top')")
    assert not mutants.survives(bad, reference, exercise, PUBLIC_SEEDS, Limits(seconds=1))


def test_a_reference_that_fails_its_own_cases_is_an_error(small_chapter, monkeypatch):
    reference, exercise = small_chapter(([4, 9],))
    monkeypatch.setattr(mutants, "unchanged", lambda source: "def roots(numbers):\n    return numbers")
    with pytest.raises(RuntimeError, match="roots does not pass"):
        mutants.try_mutants(reference, exercise)


def test_a_mutant_is_killed_by_any_seed(small_chapter):
    reference, exercise = small_chapter(([4, 9],))
    exercise.own_cases.clear()

    @exercise.case
    def one_number(answer, seed):
        """The root of one number."""
        return {"roots": answer([seed])}

    right_on_the_first = Mutant("by hand", 1, "", "def roots(numbers):\n    return [1.0]")
    assert mutants.survives(right_on_the_first, reference, exercise, PUBLIC_SEEDS[:1], Limits())
    assert not mutants.survives(right_on_the_first, reference, exercise, PUBLIC_SEEDS, Limits())


@needs_limits
def test_the_command_prints_the_table_and_fails_below_the_least_share(monkeypatch, tmp_path, capsys):
    arguments = ["00_start_here", "--only", "mean_loss", "--sample", "2", "--json", str(tmp_path / "outcome.json")]
    assert mutants.main(arguments) == 0
    assert "mean_loss" in capsys.readouterr().out
    (outcome,) = json.loads((tmp_path / "outcome.json").read_text())
    assert outcome["exercise"] == "mean_loss" and outcome["mutants"] == outcome["killed"] == 2

    monkeypatch.setattr(mutants, "survives", lambda *given: True)
    assert mutants.main(arguments) == 1
    said = capsys.readouterr().out
    assert "line " in said and " -> " in said and "Fewer than 99%" in said

    with pytest.raises(SystemExit):
        mutants.main(["00_start_here", "--only", "no_such_exercise"])


# --- The course


@pytest.mark.parametrize("topic", chapters())
def test_the_listed_equivalents_are_changes_that_are_still_made(topic):
    rows = mutants.equivalents_of(topic, SOLUTIONS)
    asked = [exercise for exercise in exercises_of(topic) if exercise.name in {name for name, _ in rows}]
    made = {e.name: {m.change for m in mutants.mutants_of_exercise(reference(topic), e)} for e in asked}
    assert [(name, change) for name, change in rows if change not in made.get(name, ())] == []


@needs_limits
@pytest.mark.parametrize("name", CLOSED)
def test_no_mutant_of_a_small_sample_survives_unlisted(name):
    exercise = find_exercise(name)
    outcome = mutants.try_mutants(reference(exercise.topic), exercise, SAMPLE)
    assert "\n".join(mutants.details(outcome)) == ""
