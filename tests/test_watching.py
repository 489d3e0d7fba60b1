"""What the machinery asks of every answer: arguments left alone, results that are new, gradients where they belong."""

from collections import Counter

import numpy as np
import pytest
import torch

from autograder.evidence import run_case
from autograder.exercise import Exercise
from autograder.watching import Seen, copied, gradient_reaches, put_back, same, snapshot, watched


def spoil_tensor(x):
    x[0] = 7.0


THINGS = {
    "a tensor": (lambda: torch.arange(6.0), spoil_tensor),
    "a tensor with NaN": (lambda: torch.tensor([float("nan"), 1.0]), lambda x: x.__setitem__(1, 2.0)),
    "an array": (lambda: np.arange(6.0), spoil_tensor),
    "a list": (lambda: [1, [2, 3]], lambda x: x[1].append(4)),
    "the order of a list": (lambda: [3, 1, 2], list.sort),
    "a list of tensors": (lambda: [torch.zeros(3), torch.ones(2)], lambda x: spoil_tensor(x[1])),
    "a dictionary": (lambda: {"a": torch.zeros(2), "b": 1}, lambda x: x.pop("b")),
    "a new key": (lambda: {"a": 1}, lambda x: x.update(b=2)),
    "a Counter": (lambda: Counter("aab"), lambda x: x.subtract("a")),
    "a set": (lambda: {1, 2}, lambda x: x.add(3)),
    "a tuple of lists": (lambda: ([1], [2]), lambda x: x[0].clear()),
    "a module": (lambda: torch.nn.Linear(2, 2), lambda x: spoil_tensor(x.bias.data)),
    "a resized list": (lambda: [torch.zeros(2), 5], lambda x: x.__delitem__(0)),
}


@pytest.mark.parametrize("make, spoil", THINGS.values(), ids=THINGS)
def test_what_is_changed_is_seen_and_put_back(make, spoil):
    thing, seen = make(), Seen()
    before = snapshot(thing)
    assert same(snapshot(thing), before)

    def answer(untouched, argument):
        spoil(argument)

    watched(answer, seen, trains=False)(torch.ones(2), thing)
    assert seen.changed == {1: "argument"} and seen.finished == 1
    assert same(snapshot(thing), before)


def test_a_model_that_is_trained_may_change():
    seen, model = Seen(), torch.nn.Linear(2, 2)
    watched(lambda m: spoil_tensor(m.bias.data), seen, trains=True)(model)
    assert not seen.changed and model.bias[0] == 7.0


def test_what_comes_back_is_not_put_back_with_the_argument():
    seen, x = Seen(), torch.zeros(3)
    result = watched(lambda x: x.add_(1), seen, trains=False)(x)
    assert seen.changed and x.tolist() == [0, 0, 0] and result.tolist() == [1, 1, 1]


@pytest.mark.parametrize("answer, shared", [(lambda x: x, True), (lambda x: [x[1:]], True), (lambda x: x + 0, False)])
def test_a_result_in_the_memory_of_an_argument_is_seen(answer, shared):
    seen = Seen()
    watched(answer, seen, trains=False)(torch.ones(3))
    assert bool(seen.shared) == shared and not seen.changed


def test_what_is_used_up_is_no_fault():
    seen = Seen()
    watched(lambda steps, generator: torch.rand(len(list(steps)), generator=generator), seen, trains=False)(
        iter([1, 2]), torch.Generator().manual_seed(0)
    )
    assert not seen.changed and seen.finished == 1


def test_gradients_pass_through_a_watched_answer():
    x = torch.ones(3, requires_grad=True)
    watched(lambda x: (x * x).sum(), Seen(), trains=False)(x).backward()
    assert x.grad.tolist() == [2, 2, 2]
    assert copied(x * 2).requires_grad


@pytest.mark.parametrize(
    "answer, reaches",
    [
        (lambda a, b: (a * b).sum(), (True, True)),
        (lambda a, b: (a * b.detach()).sum(), (True, False)),
        (lambda a, b: [a * 0 + 1, {"b": b}], (False, True)),
        (lambda a, b: a - a.mean() + b.detach(), (True, False)),
        (lambda a, b: 3.0, (False, False)),
        (lambda a, b: torch.where(a > 0, a, float("-inf")), (True, False)),
    ],
)
def test_each_argument_in_turn_asks_for_a_gradient(answer, reaches):
    def probe(answer, seed):
        return {"loss": answer(torch.tensor([1.0, -2.0, 3.0]), torch.tensor([0.5, 0.25, 2.0])).item()}

    assert tuple(gradient_reaches(answer, probe, 1, place) for place in (0, 1)) == reaches


@pytest.mark.parametrize("setting", [lambda: torch.set_default_dtype(torch.float64), lambda: torch.set_grad_enabled(False)])
def test_a_probe_finds_torch_as_it_expects_it_and_leaves_it_as_it_was(setting):
    exercise = Exercise("tried_here", "99_nothing", "nowhere")

    @exercise.case
    def sees(answer, seed):
        """What torch is like."""
        return {"dtype": str(torch.ones(1).dtype), "grad": torch.is_grad_enabled(), "device": str(torch.ones(1).device)}

    try:
        setting()
        left = torch.get_default_dtype(), torch.is_grad_enabled()
        record = run_case(exercise, exercise.own_cases[0], torch.mean, 1)
        assert (torch.get_default_dtype(), torch.is_grad_enabled()) == left
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
    assert record["data"] == {"dtype": {"text": "torch.float32"}, "grad": {"bool": True}, "device": {"text": "cpu"}}


def test_an_argument_of_another_length_is_put_back():
    value = [1, 2, 3]
    before = snapshot(value)
    value[:] = [9]
    put_back(value, before)
    assert value == [1, 2, 3]
