"""The mutation matrix: the grader graded.

Every known mistake must fail on each of 20 seeds and be named as what it is; every correct answer of another shape must
pass on all of them. A mistake's evidence is drawn with other random numbers than its fingerprints, as a student's would
be. The scores are printed at the end of the run.

The few exercises that train or run a transformers model on every probe are tried on FEW seeds, and on all 20 with

    COURSE_MATRIX=whole make test PYTEST_ARGS="-k matrix"
"""

import ast
import inspect
import json
import os
import random
from collections import Counter
from functools import cache

import pytest
import torch
from conftest import MUTATION_SCORES

from autograder.evidence import PUBLIC_SEEDS, collect
from autograder.exercise import exercises_of, find_exercise
from autograder.judging.judge import judge_evidence
from autograder.judging.key import AnswerKey, load_key
from autograder.judging.reference import SOLUTIONS, Reference
from autograder.judging.report import to_text
from autograder.workshop.release import chapters

SEEDS = (*PUBLIC_SEEDS, *random.Random("other seeds, as grading draws them").sample(range(10, 2**31), 17))
COSTLY, FEW = ("train", "train_sft", "generate_answers"), 7
LEAST_MISTAKES, LEAST_ALTERNATIVES = 5, 2
MOST_FOR_NOTHING = 0.4  # the share of the cases that an answer without thought may pass

EXERCISES = [exercise.name for topic in chapters() for exercise in exercises_of(topic)]


@cache
def reference(topic: str) -> Reference:
    return Reference(topic)


@cache
def answer_key(topic: str) -> AnswerKey:
    """The key of a student's notebook, as it is shipped. (tests/test_workshop_release.py: it is what the reference gives.)"""
    return load_key(topic)


def seeds_of(name: str) -> tuple[int, ...]:
    """The seeds on which an exercise is tried."""
    return SEEDS[:FEW] if name in COSTLY and os.environ.get("COURSE_MATRIX") != "whole" else SEEDS


def reference_for(name: str) -> Reference:
    return reference(find_exercise(name).topic)


def with_other_draws(function):
    """The same function, given other random numbers than the ones the reference and the fingerprints were given."""
    twins = {}  # a generator that is passed twice has gone on; it is kept, so that no other one gets its id

    def reseeded(x):
        if not isinstance(x, torch.Generator):
            return x
        return twins.setdefault(id(x), (x, torch.Generator().manual_seed(x.initial_seed() + 10**9)))[1]

    return lambda *given, **options: function(*map(reseeded, given), **options)


def evidence_of(name: str, answer, seeds=None) -> dict:
    return json.loads(json.dumps(collect(find_exercise(name), answer, seeds or seeds_of(name))))


def pairs_of(functions_of) -> list:
    return [
        pytest.param(name, other, id=f"{name}-{other}")
        for name in EXERCISES
        for other in functions_of(reference_for(name), name)
    ]


@pytest.fixture(scope="module")
def scores(request) -> dict[str, Counter]:
    """By exercise, what the matrix counts; conftest.py prints it at the end of the run."""
    return request.config.stash[MUTATION_SCORES]


@pytest.mark.parametrize("name, mistake", pairs_of(Reference.mistake_functions))
def test_mistake_fails_and_is_named_on_every_seed(name, mistake, scores):
    oracle = reference_for(name)
    evidence = evidence_of(name, with_other_draws(oracle.mistake_functions(name)[mistake]))
    verdicts = {seed: judge_evidence(name, evidence, oracle, (seed,)) for seed in seeds_of(name)}
    with_key = judge_evidence(name, evidence, answer_key(oracle.topic), PUBLIC_SEEDS)

    survived = [seed for seed, verdict in verdicts.items() if verdict.passed]
    unnamed = {seed: verdict.mistake for seed, verdict in verdicts.items() if verdict.mistake != mistake}
    killed = not survived and not with_key.passed
    recognised = not unnamed and with_key.mistake == mistake
    scores[name].update(mistakes=1, killed=killed, recognised=recognised)

    assert not survived, f"{mistake} passes on seeds {survived}"
    assert not unnamed, f"{mistake} is diagnosed as {unnamed}"
    assert not with_key.passed and with_key.mistake == mistake, f"with the key: {to_text(with_key)}"


@pytest.mark.parametrize("name, alternative", pairs_of(Reference.alternative_functions))
def test_correct_answer_of_another_shape_passes_on_every_seed(name, alternative, scores):
    oracle = reference_for(name)
    evidence = evidence_of(name, with_other_draws(oracle.alternative_functions(name)[alternative]))
    verdict = judge_evidence(name, evidence, oracle, seeds_of(name))
    with_key = judge_evidence(name, evidence, answer_key(oracle.topic), PUBLIC_SEEDS)
    scores[name].update(alternatives=1, accepted=verdict.passed and with_key.passed)

    assert verdict.passed, to_text(verdict)
    assert with_key.passed, to_text(with_key)


@pytest.mark.parametrize("name", EXERCISES)
def test_reference_passes_with_other_draws(name):
    evidence = evidence_of(name, with_other_draws(reference_for(name).functions[name]))
    verdict = judge_evidence(name, evidence, reference_for(name), seeds_of(name))
    assert verdict.passed and verdict.score == 1, to_text(verdict)


@pytest.mark.parametrize("name", EXERCISES)
def test_there_are_enough_mistakes_and_alternatives(name):
    assert len(reference_for(name).mistake_functions(name)) >= LEAST_MISTAKES
    assert len(reference_for(name).alternative_functions(name)) >= LEAST_ALTERNATIVES


@pytest.mark.parametrize("topic", chapters())
@pytest.mark.parametrize("kind, file", [("mistake", "mistakes"), ("alternative", "alternatives")])
def test_no_function_hides_another_of_its_name(topic, kind, file):
    """A second function of the same name would silently replace the first, and the matrix would not miss it."""
    tree = ast.parse((SOLUTIONS / topic / f"{file}.py").read_text(encoding="utf-8"))
    names = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.decorator_list]
    assert [name for name, times in Counter(names).items() if times > 1] == []
    found = [m for e in exercises_of(topic) for m in getattr(reference(topic), f"{kind}_functions")(e.name)]
    assert sorted(found) == sorted(names), "a function is marked for an exercise that does not exist"


@pytest.mark.parametrize("name", EXERCISES)
def test_every_case_catches_some_mistake(name):
    """A case that no known mistake fails is either superfluous or shows that a mistake is missing."""
    oracle = reference_for(name)
    caught = set()
    for function in oracle.mistake_functions(name).values():
        verdict = judge_evidence(name, evidence_of(name, function, PUBLIC_SEEDS), oracle, PUBLIC_SEEDS)
        caught |= {case.name for case in verdict.cases if not case.passed}
    assert [case.name for case in find_exercise(name).cases if case.name not in caught] == []


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


@pytest.mark.parametrize("name", EXERCISES)
def test_an_answer_without_thought_earns_little(name):
    oracle = reference_for(name)
    for kind, answer in thoughtless_answers(name).items():
        evidence = evidence_of(name, answer, SEEDS[:6])
        for seed in SEEDS[:6]:
            score = judge_evidence(name, evidence, oracle, (seed,)).score
            assert score <= MOST_FOR_NOTHING, f"{kind} earns {score:.0%} of {name} on seed {seed}"


@pytest.mark.parametrize("name", EXERCISES)
def test_an_unanswered_stub_scores_nothing_and_says_so(name):
    def stub(*given, **options):
        raise NotImplementedError("Replace this line with your answer.")

    verdict = judge_evidence(name, evidence_of(name, stub, PUBLIC_SEEDS), answer_key_of(name), PUBLIC_SEEDS)
    assert verdict.unanswered and verdict.score == 0 and not verdict.mistake
    assert "not answered yet" in to_text(verdict).lower()


@pytest.mark.parametrize("name", EXERCISES)
def test_none_scores_nothing_and_is_named(name):
    verdict = judge_evidence(name, evidence_of(name, constant(None), PUBLIC_SEEDS), answer_key_of(name), PUBLIC_SEEDS)
    assert verdict.score == 0 and not verdict.unanswered
    assert not verdict.mistake, "returning nothing is no misconception"
    assert "None" in to_text(verdict)


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exception_is_shown_with_the_students_own_line(name):
    def answer(*given, **options):
        return undefined_name + 1  # noqa: F821

    verdict = judge_evidence(name, evidence_of(name, answer, PUBLIC_SEEDS), answer_key_of(name), PUBLIC_SEEDS)
    assert verdict.score == 0 and not verdict.unanswered and not verdict.diagnoses
    for case in verdict.cases:
        assert "NameError" in case.problem and "return undefined_name + 1" in case.problem, case.problem


def answer_key_of(name: str) -> AnswerKey:
    return answer_key(find_exercise(name).topic)
