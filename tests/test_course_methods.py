"""The toolkit's methods are what the course's own answers are: notebooks call either, whichever the reader has."""

import json

import pytest
import torch

from autograder.evidence import PUBLIC_SEEDS, collect
from autograder.exercise import find_exercise, load_exercises
from autograder.judging.judge import judge_evidence
from autograder.judging.key import load_key
from autograder.judging.report import to_text
from course import data, methods, rewarded

GIVEN = {"answer_texts", "prompt_batch"}  # no exercise asks for these


def functions() -> dict:
    """The public functions of both modules."""
    found = [(n, f) for module in (methods, rewarded) for n, f in vars(module).items() if not n.startswith("_")]
    return {n: f for n, f in found if callable(f) and f.__module__ in ("course.methods", "course.rewarded")}


@pytest.mark.parametrize("name", sorted(set(functions()) - GIVEN))
def test_a_method_passes_the_exercise_of_its_name(name):
    exercise = find_exercise(name)
    evidence = json.loads(json.dumps(collect(exercise, functions()[name], PUBLIC_SEEDS)))
    verdict = judge_evidence(name, evidence, load_key(exercise.topic), PUBLIC_SEEDS)
    assert verdict.passed, to_text(verdict)


def test_what_has_no_exercise_is_named():
    assert set(functions()) & GIVEN == set(functions()) - set(load_exercises())


def test_prompts_are_padded_on_the_left_and_end_where_the_assistant_begins():
    tokenizer = data.load_tokenizer()
    ids, mask = methods.prompt_batch(["what is 3 plus 4 ?", "who are you ?"], tokenizer)
    assert ids.shape == mask.shape and (ids[:, -1] == tokenizer.get_vocab()["<assistant>"]).all()
    assert torch.equal(mask, (ids != tokenizer.pad_token_id).long()) and mask[1, 0] == 0
