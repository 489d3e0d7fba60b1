"""The worlds and probes of chapter 09's open task: several outputs to each question, of which one answer has to be chosen."""

from typing import NamedTuple

import torch

from autograder.chapters.probing import as_tensor, asked_once, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "09_cot"
LABELLED, NEW, OUTPUTS, FEATURES = 300, 3000, 13, 5
PRICES = (0.8, -0.64, 0.0, 0.48, 0.0)  # by how much a right output's features are higher
TEMPTED = 0.55  # of the wrong outputs fall for the same wrong answer


class Outputs(NamedTuple):
    """answers: (questions, OUTPUTS), 0 to 9; features: (questions, OUTPUTS, FEATURES), float64; truths: (questions,)."""

    answers: torch.Tensor
    features: torch.Tensor
    truths: torch.Tensor


def world(seed: int) -> tuple[Outputs, Outputs]:
    """Questions whose truth is told, and new ones. A question is easy or hard; its features have a level of their own."""
    g, questions = seeded(seed), LABELLED + NEW
    double = {"generator": g, "dtype": torch.float64}
    shape = (questions, OUTPUTS)
    truths = torch.randint(10, (questions,), generator=g)
    tempting = (truths + torch.randint(1, 10, (questions,), generator=g)) % 10
    easy = torch.rand(questions, 3, **double).median(1).values ** 1.15  # how often an output is right
    right = torch.rand(shape, **double) < easy[:, None]
    anything = (truths[:, None] + torch.randint(1, 10, shape, generator=g)) % 10
    wrong = torch.where(torch.rand(shape, **double) < TEMPTED, tempting[:, None], anything)
    answers = torch.where(right, truths[:, None], wrong)
    features = torch.randn(*shape, FEATURES, **double) + 1.5 * torch.randn(questions, 1, FEATURES, **double)
    features = features + right[..., None] * torch.tensor(PRICES, dtype=torch.float64)
    return tuple(Outputs(answers[part], features[part], truths[part]) for part in (slice(LABELLED), slice(LABELLED, None)))


choose_answers = Exercise("choose_answers", TOPIC, "Exercise 8: choose well", open=True, needs=("torch._dynamo",))


@asked_once
def _chosen(answer, seed: int) -> dict:
    labelled, new = world(seed)
    chosen = as_tensor(answer(*labelled, new.answers, new.features), "What is chosen")
    if chosen.shape != (NEW,):
        raise Unexpected(f"One answer to each of {NEW} new questions is asked for; yours have the shape {tuple(chosen.shape)}.")
    return {"chosen": chosen.detach().to(torch.float64), "seed": seed}


@choose_answers.case(rule="chosen_as_a_vote")
def as_a_vote(answer, seed):
    """Of the new questions at least 0.55 are answered rightly."""
    return _chosen(answer, seed, first=True)


@choose_answers.case(rule="chosen_better_than_a_vote")
def better_than_a_vote(answer, seed):
    """The same with a bar of 0.65."""
    return _chosen(answer, seed)


@choose_answers.case(rule="chosen_with_care")
def with_care(answer, seed):
    """The same with a bar of 0.73."""
    return _chosen(answer, seed)


@choose_answers.case(rule="chosen_by_all_that_is_known")
def by_all_that_is_known(answer, seed):
    """The same with a bar of 0.81."""
    return _chosen(answer, seed)
