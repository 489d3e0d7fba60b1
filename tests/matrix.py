"""The mutation matrix: the grader graded. The tests of every test_cNN_matrix.py, which names its chapter, TOPIC.

Every known mistake must fail on each seed and be named as what it is; every correct answer of another shape must pass
on all of them. A mistake's evidence is drawn with other random numbers than its fingerprints, as a student's would be.
(Where a case hands it no generator, it does the same thing again, and the record of the first time is taken.)
The scores are printed at the end of the run. The chapter's answer key is compared with the same reference.

There are 20 seeds; the first FEW of them are tried, of an open task, where each answer trains a model, the first and
one more, and all with

    make test-whole PYTEST_ARGS="-k matrix"
"""

import ast
import functools
import inspect
import json
import random
from collections import Counter
from collections.abc import Callable
from functools import cache

import pytest
import torch
from conftest import MUTATION_SCORES, WHOLE

from autograder.evidence import PUBLIC_SEEDS, collect, run_case, watched_cases
from autograder.exercise import Case, Exercise, exercises_of, find_exercise
from autograder.grading import kept
from autograder.judging.judge import judge_evidence
from autograder.judging.key import KEYS, AnswerKey, build_key, key_path, load_key, read_key, same_key
from autograder.judging.reference import SOLUTIONS, Reference
from autograder.judging.report import to_text
from autograder.watching import copied
from autograder.workshop.madeup import ScoresAlone

FEW = 4
SEEDS = (*PUBLIC_SEEDS, *random.Random("other seeds, as grading draws them").sample(range(10, 2**31), 17))
if not WHOLE:
    SEEDS = SEEDS[:FEW]
LEAST_MISTAKES, LEAST_ALTERNATIVES = 5, 2
MOST_FOR_NOTHING = 0.4  # the share of the cases that an answer without thought may pass


def pytest_generate_tests(metafunc) -> None:
    """Every test that asks for a `name` runs for each exercise of the chapter, with its mistakes or its alternatives."""
    topic = metafunc.module.TOPIC
    names = [exercise.name for exercise in exercises_of(topic)]
    for other, functions_of in {
        "mistake": Reference.mistake_functions,
        "alternative": Reference.alternative_functions,
    }.items():
        if other in metafunc.fixturenames:
            pairs = [(name, one) for name in names for one in functions_of(reference(topic), name)]
            metafunc.parametrize(("name", other), pairs)
            return
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", names)


@pytest.fixture
def topic(request) -> str:
    return request.module.TOPIC


class Remembering(Reference):
    """A reference that keeps what its mistakes did. Most of the matrix's time is spent on running them."""

    def __init__(self, topic: str):
        super().__init__(topic)
        self._first_time: dict[tuple, list[tuple[dict, bool]]] = {}  # each case's record, and whether it gave a generator

    def records_of(self, exercise: Exercise, answer: Callable, seed: int) -> list[dict]:
        """As the reference's own, each mistake once."""
        found = [record for record, _ in self._first(exercise, answer, seed)]
        return found + watched_cases(exercise, found, [seed])

    def drawn_again(self, exercise: Exercise, mistake: Callable, seeds) -> dict:
        """A mistake's evidence, with other random numbers in each case that hands it a generator."""
        again, records = with_other_draws(mistake), []
        for seed in seeds:
            first = self._first(exercise, mistake, seed)
            anyhow = exercise.open and any(draws for _, draws in first)  # its bars ask for one thing
            for case, (record, draws) in zip(_tried(exercise), first, strict=True):
                records.append(run_case(exercise, case, again, seed) if draws or anyhow else record)
        records += watched_cases(exercise, records, seeds)
        return json.loads(json.dumps(collect(exercise, again, ()) | {"records": records}))

    def _first(self, exercise: Exercise, answer: Callable, seed: int) -> list[tuple[dict, bool]]:
        key = (exercise.name, answer, seed)
        if key not in self._first_time:
            draws = False

            @functools.wraps(answer)
            def noting(*given, **options):
                nonlocal draws
                draws = draws or any(isinstance(x, torch.Generator) for x in given)
                return answer(*given, **options)

            self._first_time[key] = []
            for case in _tried(exercise):
                draws = False
                record = run_case(exercise, case, noting, seed)
                self._first_time[key].append((record, draws))
        return self._first_time[key]


def _tried(exercise: Exercise) -> list[Case]:
    return [case for case in exercise.cases if case.probe]


@cache
def reference(topic: str) -> Remembering:
    """One for all tests of a chapter: what it has computed it remembers."""
    return Remembering(topic)


@cache
def answer_key(topic: str) -> AnswerKey:
    """The key of a student's notebook, as it is shipped. (That it is what the reference gives is a test below.)"""
    return load_key(topic)


def reference_for(name: str) -> Remembering:
    return reference(find_exercise(name).topic)


def with_other_draws(function):
    """The same function, given other random numbers than the ones the reference and the fingerprints were given."""
    twins = {}  # a generator that is passed twice has gone on; it is kept, so that no other one gets its id

    def reseeded(x):
        if not isinstance(x, torch.Generator):
            return x
        return twins.setdefault(id(x), (x, torch.Generator().manual_seed(x.initial_seed() + 10**9)))[1]

    return lambda *given, **options: function(*map(reseeded, given), **options)


def seeds_of(name: str) -> tuple[int, ...]:
    """The seeds that an exercise is tried on."""
    return SEEDS if WHOLE or not find_exercise(name).open else (SEEDS[0], SEEDS[-1])


def public_seeds_of(name: str) -> tuple[int, ...]:
    """Those of them that the answer key knows."""
    return tuple(seed for seed in PUBLIC_SEEDS if seed in seeds_of(name))


def evidence_of(name: str, answer, seeds=None) -> dict:
    return json.loads(json.dumps(collect(find_exercise(name), answer, seeds or seeds_of(name))))


@pytest.fixture(scope="module")
def scores(request) -> dict[str, Counter]:
    """By exercise, what the matrix counts; conftest.py prints it at the end of the run."""
    return request.config.stash[MUTATION_SCORES]


def test_mistake_fails_and_is_named_on_every_seed(name, mistake, scores):
    oracle = reference_for(name)
    evidence = oracle.drawn_again(find_exercise(name), oracle.mistake_functions(name)[mistake], seeds_of(name))
    verdicts = {seed: judge_evidence(name, evidence, oracle, (seed,)) for seed in seeds_of(name)}
    with_key = judge_evidence(name, evidence, answer_key(oracle.topic), public_seeds_of(name))

    expected = "" if find_exercise(name).open else mistake  # of an open task, nothing is named
    survived = [seed for seed, verdict in verdicts.items() if verdict.passed]
    unnamed = {seed: verdict.mistake for seed, verdict in verdicts.items() if verdict.mistake != expected}
    killed = not survived and not with_key.passed
    recognised = not unnamed and with_key.mistake == expected
    scores[name].update(mistakes=1, killed=killed, recognised=recognised)

    assert not survived, f"{mistake} passes on seeds {survived}"
    assert not unnamed, f"{mistake} is diagnosed as {unnamed}"
    assert not with_key.passed and with_key.mistake == expected, f"with the key: {to_text(with_key)}"
    if find_exercise(name).open:
        assert [case.mistake for verdict in (with_key, *verdicts.values()) for case in verdict.cases if case.mistake] == []
    else:
        assert_it_is_named_where_it_is_made(name, evidence)


@cache
def right_records(name: str) -> list[dict]:
    return evidence_of(name, reference_for(name).functions[name], public_seeds_of(name))["records"]


def assert_it_is_named_where_it_is_made(name: str, evidence: dict) -> None:
    """An answer that makes a mistake in one case alone is given, if any, a name that is made there, and as a guess."""
    oracle, exercise = reference_for(name), find_exercise(name)
    made = {m.name: {case for case, _ in m.prints} for m in oracle.mistakes(exercise, PUBLIC_SEEDS)}
    for case in exercise.cases:
        records = [r for r in right_records(name) if r["case"] != case.name]
        records += [r for r in evidence["records"] if r["case"] == case.name and r["seed"] in public_seeds_of(name)]
        verdict = judge_evidence(name, evidence | {"records": records}, oracle, public_seeds_of(name))
        for said in (c for c in verdict.cases if c.mistake):
            assert said.name == case.name and case.name in made.get(said.mistake, ()), f"{said.mistake} is right in {said.name}"
            assert said.guess or made[said.mistake] == {case.name}


def test_correct_answer_of_another_shape_passes_on_every_seed(name, alternative, scores):
    oracle = reference_for(name)
    evidence = evidence_of(name, with_other_draws(oracle.alternative_functions(name)[alternative]))
    verdict = judge_evidence(name, evidence, oracle, seeds_of(name))
    with_key = judge_evidence(name, evidence, answer_key(oracle.topic), public_seeds_of(name))
    scores[name].update(alternatives=1, accepted=verdict.passed and with_key.passed)

    assert verdict.passed, to_text(verdict)
    assert with_key.passed, to_text(with_key)


def test_reference_passes_with_other_draws(name):
    evidence = evidence_of(name, with_other_draws(reference_for(name).functions[name]))
    verdict = judge_evidence(name, evidence, reference_for(name), seeds_of(name))
    assert verdict.passed and verdict.score == 1, to_text(verdict)


def test_the_reference_reaches_every_bar_of_an_open_task(name):
    """A bar that it missed on some seed would be missed rightly, and reached wrongly."""
    oracle, exercise = reference_for(name), find_exercise(name)
    for case, seed in ((c, s) for c in exercise.cases if exercise.open and c.probe for s in seeds_of(name)):
        told = [entry for entry in oracle.expected(exercise, case, seed).values() if entry.says]
        assert told and [entry.says for entry in told if not entry.value] == [], f"{case.name}, seed {seed}"


def test_there_are_enough_mistakes_and_alternatives(name):
    assert len(reference_for(name).mistake_functions(name)) >= LEAST_MISTAKES
    assert len(reference_for(name).alternative_functions(name)) >= LEAST_ALTERNATIVES


@pytest.mark.parametrize("kind, file", [("mistake", "mistakes"), ("alternative", "alternatives")])
def test_no_function_hides_another_of_its_name(topic, kind, file):
    """A second function of the same name would silently replace the first, and the matrix would not miss it."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (SOLUTIONS / topic).glob(f"{file}*.py")]
    nodes = [node for tree in trees for node in tree.body if isinstance(node, (ast.FunctionDef, ast.Expr))]
    names = [node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.decorator_list]
    names += [name for node in nodes if isinstance(node, ast.Expr) for name in _rows(node.value)]
    assert [name for name, times in Counter(names).items() if times > 1] == []
    found = [m for e in exercises_of(topic) for m in getattr(reference(topic), f"{kind}_functions")(e.name)]
    assert sorted(found) == sorted(names), "a function is marked for an exercise that does not exist"


def _rows(node: ast.expr) -> list[str]:
    """The names in the rows of a table of mistakes: changes("exercise", base, [("name", …), …])."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "changes"):
        return []
    return [row.elts[0].value for row in node.args[2].elts]


def test_the_second_references_are_right(name):
    """The tables of mistakes change something in them: what is not changed must be right."""
    for function in reference_for(name).second_references(name).values():
        verdict = judge_evidence(name, evidence_of(name, function, PUBLIC_SEEDS), reference_for(name), PUBLIC_SEEDS)
        assert verdict.passed, to_text(verdict)


def spoiled(argument) -> bool:
    """Change something in an argument, in place. Returns whether there was something to change."""
    if isinstance(argument, torch.Tensor) and argument.numel():
        argument.data.view(-1)[0] = 1 - argument.data.view(-1)[0] if argument.dtype != torch.bool else ~argument.view(-1)[0]
        return True
    if isinstance(argument, torch.nn.Module):
        return any(spoiled(parameter) for parameter in argument.parameters())
    if isinstance(argument, dict):
        return any(spoiled(item) for item in argument.values()) or bool(argument.popitem())
    if isinstance(argument, (list, tuple)) and argument:
        return any(map(spoiled, argument)) or (isinstance(argument, list) and argument.append(argument[-1]) is None)
    return False


def test_an_answer_that_spoils_its_arguments_fails_and_is_told_which(name):
    """It is right in everything else, and changes one argument after the other."""
    oracle, exercise, told = reference_for(name), find_exercise(name), set()
    if exercise.plain:
        return  # numbers and text: nothing can change them
    parameters = list(inspect.signature(oracle.functions[name]).parameters)
    changed: list[bool] = []
    for place, parameter in enumerate(parameters):

        @functools.wraps(oracle.functions[name])
        def answer(*given, _place=place, _parameter=parameter, **options):
            result = oracle.functions[name](*given, **options)
            argument = given[_place] if _place < len(given) else options.get(_parameter)
            if not (exercise.trains and isinstance(argument, torch.nn.Module)):
                changed.append(spoiled(argument))
            return copied(result)

        changed.clear()
        verdict = judge_evidence(name, evidence_of(name, answer, (1,)), oracle, (1,))
        if any(changed):
            (stay,) = (case for case in verdict.cases if case.name == "arguments_stay")
            assert not stay.passed and f"`{parameter}`" in stay.problem, to_text(verdict)
            others = [case for case in verdict.cases if case is not stay and case.name != "results_are_new"]
            assert all(case.passed for case in others), to_text(verdict)
            told.add(parameter)
    assert told, "nothing that could be spoiled: is it plain?"


def test_every_case_catches_some_mistake(name):
    """A case that no known mistake fails is either superfluous or shows that a mistake is missing."""
    known = reference_for(name).mistakes(find_exercise(name), public_seeds_of(name))
    caught = {case for mistake in known for case, _ in mistake.prints}
    assert [case.name for case in find_exercise(name).cases if case.probe and case.name not in caught] == []


def test_answer_key_is_what_the_reference_gives(topic):
    committed, fresh = read_key(key_path(topic, KEYS)), json.loads(json.dumps(build_key(topic, reference(topic))))
    assert same_key(committed, fresh), f"the answer key of {topic} is out of date: run `make release`"


def test_what_is_kept_of_a_right_submission_is_small(topic):
    answers = reference(topic).functions
    evidence = [evidence_of(exercise.name, answers[exercise.name], PUBLIC_SEEDS) for exercise in exercises_of(topic)]
    assert sum(len(kept.pack(each)) for each in evidence) < 150_000  # characters in the notebook


# --- Answers without thought


def identity(position):
    def answer(*given, **options):
        return given[position]

    return answer


def constant(value):
    def answer(*given, **options):
        return value() if callable(value) else value

    return answer


CONSTANTS = {
    "0": 0,
    "1": 1,
    "minus one": -1.0,
    "infinity": float("inf"),
    "NaN": float("nan"),
    "True": True,
    "text": "an answer",
    "an empty list": list,
    "an empty dict": dict,
    "a pair of Nones": (None, None),
    "a tensor": lambda: torch.zeros((), requires_grad=True),
    "a list of zeros": lambda: [0.0] * 5,
    "an object": object,
}


def arity(name: str) -> int:
    parameters = inspect.signature(reference_for(name).functions[name]).parameters.values()
    return sum(p.default is p.empty for p in parameters)


def thoughtless_answers(name: str) -> dict:
    answers = {kind: constant(value) for kind, value in CONSTANTS.items()}
    answers |= {f"argument {i}": identity(i) for i in range(arity(name))}
    if arity(name) > 1:
        answers["the first two arguments"] = lambda *given, **options: given[:2]
    if name == "mask_tokens":
        answers["nothing chosen"] = lambda ids, *given, **options: (ids.clone(), torch.full_like(ids, -100))
    return answers


def test_an_answer_without_thought_earns_little(name):
    oracle, seeds = ScoresAlone(reference_for(name)), SEEDS[:FEW] if WHOLE else (SEEDS[0], SEEDS[-1])
    for kind, answer in thoughtless_answers(name).items():
        evidence = evidence_of(name, answer, seeds)
        for seed in seeds:
            score = judge_evidence(name, evidence, oracle, (seed,)).score
            assert score <= MOST_FOR_NOTHING, f"{kind} earns {score:.0%} of {name} on seed {seed}"


def test_an_unanswered_stub_scores_nothing_and_says_so(name):
    def stub(*given, **options):
        raise NotImplementedError("Replace this line with your answer.")

    verdict = judge_evidence(name, evidence_of(name, stub, PUBLIC_SEEDS), answer_key_of(name), PUBLIC_SEEDS)
    assert verdict.unanswered and verdict.score == 0 and not verdict.mistake
    assert "not answered yet" in to_text(verdict).lower()


def test_none_scores_nothing_and_is_named(name):
    verdict = judge_evidence(name, evidence_of(name, constant(None), PUBLIC_SEEDS), answer_key_of(name), PUBLIC_SEEDS)
    assert verdict.score == 0 and not verdict.unanswered
    assert not verdict.mistake, "returning nothing is no misconception"
    assert "None" in to_text(verdict)


def test_an_exception_is_shown_with_the_students_own_line(name):
    def answer(*given, **options):
        return undefined_name + 1  # noqa: F821

    verdict = judge_evidence(name, evidence_of(name, answer, PUBLIC_SEEDS), answer_key_of(name), PUBLIC_SEEDS)
    assert verdict.score == 0 and not verdict.unanswered and not verdict.diagnoses
    for case in verdict.cases:
        assert "NameError" in case.problem and "return undefined_name + 1" in case.problem, case.problem


def answer_key_of(name: str) -> AnswerKey:
    return answer_key(find_exercise(name).topic)
