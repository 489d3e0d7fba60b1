"""Probes of chapter 10's first part: what is paid, how it is compared, and how success is counted."""

import random

import torch

from autograder.chapters.probing import as_number, as_pair, as_tensor, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "10_grpo"

# ---------------------------------------------------------------------------------------------------------------------
verify_answer = Exercise("verify_answer", TOPIC, "Exercise 1: a verifier", plain=True)


def _verified(answer, judged: list[tuple[str, int]]) -> dict:
    """Both rewards of each text."""
    pairs = [as_pair(answer(text, truth), "the reward for the form and that for being right") for text, truth in judged]
    form, right = ([as_number(x, "Each reward") for x in both] for both in zip(*pairs, strict=True))
    return {"form": torch.tensor(form), "right": torch.tensor(right)}


def _numbers(seed: int) -> tuple[int, int, str]:
    """A truth, another number, and some steps of thinking."""
    rng = random.Random(seed)
    truth = rng.randrange(2, 8)
    return truth, (truth + rng.randrange(1, 9)) % 10, " ".join(str(rng.randrange(10)) for _ in range(rng.randrange(2, 5)))


@verify_answer.case
def well_formed(answer, seed):
    """Answers of the right form, with the right number and with another one."""
    truth, other, steps = _numbers(seed)
    texts = [f"<think> {steps} </think> <answer> {n} </answer>" for n in (truth, other, truth, -truth)]
    return _verified(answer, [(text, truth) for text in texts])


@verify_answer.case
def right_in_another_form(answer, seed):
    """The right number between the marks, and something wrong with the form: the answer is right all the same."""
    truth, _, steps = _numbers(seed)
    box = f"<answer> {truth} </answer>"
    texts = [
        box,
        f"<think> {steps} </think> {box} thanks",
        f"so <think> {steps} </think> {box}",
        f"<think> {steps} </think> = {box}",
        f"{box} <think> {steps} </think>",
        f"<think> {steps} {box} </think>",
        f"<think> {steps} {box}",
        f"<think> {steps} </think> <think> {steps} </think> {box}",
        f"<think> <think> {steps} </think> {box}",
        f"{steps} </think> {box}",
    ]
    return _verified(answer, [(text, truth) for text in [*texts, f"<think> {steps} </think> {box}"]])


@verify_answer.case
def wrong_in_the_right_form(answer, seed):
    """The right form, and no right number alone between the marks: the truth elsewhere, two numbers, none."""
    truth, other, steps = _numbers(seed)
    inside = [other, f"{truth} {other}", f"{other} {truth}", f"{truth} {truth}", "", f"about {truth}"]
    texts = [f"<think> {steps} {truth} </think> <answer> {x} </answer>" for x in [*inside, truth]]
    return _verified(answer, [(text, truth) for text in texts])


@verify_answer.case
def several_answers(answer, seed):
    """Two answers, or two marks of one kind: neither of the right form nor right, though one of them holds the truth."""
    truth, other, steps = _numbers(seed)
    texts = [
        f"<think> {steps} </think> <answer> {truth} </answer> <answer> {other} </answer>",
        f"<think> {steps} </think> <answer> {other} </answer> <answer> {truth} </answer>",
        f"<think> {steps} </think> <answer> {truth} </answer> </answer>",
        f"<think> {steps} </think> <answer> <answer> {truth} </answer>",
        f"<think> {steps} </think> <answer> {truth} </answer>",
    ]
    return _verified(answer, [(text, truth) for text in texts])


@verify_answer.case
def broken_marks(answer, seed):
    """Marks that are missing or in the wrong order, and an empty text."""
    truth, _, steps = _numbers(seed)
    texts = [
        f"<think> {steps} </think> <answer> {truth}",
        f"<think> {steps} </think> {truth} </answer>",
        f"<think> {steps} </think> </answer> {truth} <answer>",
        f"</think> {steps} <think> <answer> {truth} </answer>",
        f"<think> {steps} </think> {truth}",
        f"<think> {steps} <answer> {truth} </answer> </think>",
        str(truth),
        "",
        "<think> </think> <answer> </answer>",
        f"<think> </think> <answer> {truth} </answer>",
    ]
    return _verified(answer, [(text, truth) for text in texts])


@verify_answer.case
def numbers_of_all_kinds(answer, seed):
    """Numbers of several digits and below zero: they are equal or they are not, one is no part of another."""
    rng = random.Random(seed)
    truth = rng.randrange(12, 90)
    tried = [(truth, truth), (-truth, -truth), (truth, -truth), (-truth, truth), (10 * truth, truth), (truth % 10, truth)]
    tried += [(f"{truth}.0", truth), (truth // 10, truth), (truth + 1, truth), ("seven", 7), (0, 0), (1, 0)]
    return _verified(answer, [(f"<think> 3 4 </think> <answer> {said} </answer>", t) for said, t in tried])


# ---------------------------------------------------------------------------------------------------------------------
group_advantages = Exercise("group_advantages", TOPIC, "Exercise 2: compared with the group", fresh=True)


def _advantages(answer, rewards: torch.Tensor, *eps) -> dict:
    return {"advantages": as_tensor(answer(rewards, *eps), "The advantages")}


@group_advantages.case
def rewards_of_many_values(answer, seed):
    """Groups with different means and spreads: each is compared with itself alone."""
    g = seeded(seed)
    rewards = torch.randn(3, 5, generator=g) * torch.tensor([[0.5], [1.0], [4.0]]) + torch.tensor([[3.0], [-2.0], [0.0]])
    return _advantages(answer, rewards)


@group_advantages.case
def right_and_wrong(answer, seed):
    """Rewards of 0 and 1: one right answer of seven, or six of them, or some."""
    order = torch.randperm(7, generator=seeded(seed))
    rewards = torch.tensor([[1.0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0], [1, 1, 0, 0, 1, 0, 0]])[:, order]
    return _advantages(answer, rewards)


@group_advantages.case
def equal_rewards(answer, seed):
    """Groups in which all rewards are equal get zeros, and the others are not touched by that."""
    rewards = torch.tensor([[0.0] * 4, [1.0] * 4, [-2.5] * 4, [0.0, 1.0, 1.0, 0.0], [1.0 + seed % 3, 0.0, 3.0, 0.0]])
    return _advantages(answer, rewards)


@group_advantages.case
def small_differences(answer, seed):
    """Rewards that differ by little: here eps shows, by its default and where it is given."""
    rewards = 1e-4 * torch.randn(3, 5, generator=seeded(seed))
    default, given = answer(rewards), answer(rewards, 1e-3)
    return {"by_default": as_tensor(default, "The advantages"), "with_eps_0.001": as_tensor(given, "The advantages")}


@group_advantages.case
def groups_of_two(answer, seed):
    """Two answers to each prompt: the standard deviation has k - 1 = 1 in its denominator."""
    return _advantages(answer, torch.randn(5, 2, generator=seeded(seed)))


# ---------------------------------------------------------------------------------------------------------------------
pass_at_k = Exercise("pass_at_k", TOPIC, "Exercise 7: right at least once", plain=True)


def _passes(answer, asked: list[tuple[int, int, int]]) -> dict:
    return {"chances": torch.tensor([as_number(answer(*numbers), "The chance") for numbers in asked])}


@pass_at_k.case
def some_are_right(answer, seed):
    """Some of the drawn answers are right, and k lies between one and all of them."""
    rng = random.Random(seed)
    drawn = rng.randrange(12, 20)
    right = rng.randrange(2, 5)
    return _passes(answer, [(right, drawn, k) for k in (2, 3, 5, 7)])


@pass_at_k.case
def one_try(answer, seed):
    """k = 1: the share of right answers."""
    rng = random.Random(seed)
    return _passes(answer, [(rng.randrange(1, n), n, 1) for n in (5, 9, 40)])


@pass_at_k.case
def none_or_all(answer, seed):
    """No right answer gives 0; so few wrong ones that k cannot all be wrong give 1."""
    n = 6 + seed % 5
    none, all_right = [(0, n, 1), (0, n, 3), (0, n, n)], [(n, n, 1), (n, n, n)]
    return _passes(answer, [*none, *all_right, (3, n, n - 2), (3, n, n), (1, n, n), (2, n, 2)])


@pass_at_k.case
def many_answers(answer, seed):
    """Thousands of drawn answers: the chances are still numbers, and exact."""
    rng = random.Random(seed)
    few = rng.randrange(2, 9)
    return _passes(answer, [(few, 10_000, 100), (few, 5_000, 2_500), (300, 10_000, 8), (5_000, 10_000, 3)])


# ---------------------------------------------------------------------------------------------------------------------
rejection_sample = Exercise("rejection_sample", TOPIC, "Exercise 8: rejection sampling")


def _chosen(answer, answers: list[list[str]], rewards: torch.Tensor, most: int) -> dict:
    chosen = answer(answers, rewards, most)
    if not isinstance(chosen, (list, tuple)) or any(not isinstance(p, (tuple, list)) or len(p) != 2 for p in chosen):
        raise Unexpected(f"A list of pairs (prompt, place) should come back; it was {str(chosen)[:80]}.")
    try:
        return {"chosen": [f"{int(i)} {int(j)}" for i, j in chosen]}
    except (TypeError, ValueError):
        raise Unexpected("The pairs should hold whole numbers: the prompt's and the answer's place.") from None


def _drawn(seed: int, prompts: int, k: int, kinds: int) -> tuple[list[list[str]], torch.Tensor]:
    """Answers of a few kinds, so that texts come twice; whether one is right depends on its text and its prompt."""
    rng = random.Random(seed)
    right = [[rng.random() < 0.55 for _ in range(kinds)] for _ in range(prompts)]
    drawn = [[rng.randrange(kinds) for _ in range(k)] for _ in range(prompts)]
    rewards = torch.tensor([[float(right[i][kind]) for kind in row] for i, row in enumerate(drawn)])
    return [[f"<answer> {kind} </answer>" for kind in row] for row in drawn], rewards


@rejection_sample.case
def right_answers(answer, seed):
    """Right answers, all different, fewer than are allowed: they are chosen, and no wrong one is."""
    rng = random.Random(seed)
    answers = [[f"{i} {j}" for j in range(5)] for i in range(3)]
    rewards = torch.tensor([[float(rng.random() < 0.5) for _ in range(5)] for _ in range(3)])
    rewards[:, 0], rewards[:, 4] = 1.0, 0.0
    return _chosen(answer, answers, rewards, 9)


@rejection_sample.case
def the_same_text_again(answer, seed):
    """The same right text several times to one prompt: the first place counts."""
    answers = [["a", "b", "a", "b", "c", "a"], ["c", "c", "a", "d", "a", "c"]]
    rewards = torch.tensor([[1.0, seed % 2, 1, seed % 2, 0, 1], [1, 1, 0, 1, 0, 1]])
    return _chosen(answer, answers, rewards, 6)


@rejection_sample.case
def the_same_text_to_another_prompt(answer, seed):
    """The same text may be right for several prompts: it counts for each, and is wrong where it is wrong."""
    answers = [["x", "y", "z"], ["x", "y", "z"], ["z", "x", "y"], ["y", "x", "x"]]
    rewards = torch.tensor([[1.0, 0, 1], [1, 1, 0], [1, 1, seed % 2], [0, 1, 1]])
    return _chosen(answer, answers, rewards, 3)


@rejection_sample.case
def more_than_are_wanted(answer, seed):
    """More right answers than `most`: the first ones of each prompt, after equal texts are left out."""
    answers, rewards = _drawn(seed, 5, 11, 6)
    answers[1][:3] = ["<answer> 8 </answer>", "<answer> 8 </answer>", "<answer> 9 </answer>"]
    rewards[1] = 1.0
    return _chosen(answer, answers, rewards, 2) | {"one_each": _chosen(answer, answers, rewards, 1)["chosen"]}


@rejection_sample.case
def nothing_to_learn_from(answer, seed):
    """Prompts without a right answer give nothing; where there is none at all, the list is empty."""
    answers, rewards = _drawn(seed + 1, 4, 5, 9)
    rewards[0], rewards[2] = 0.0, 0.0
    rewards[3, 1] = 1.0
    nothing = _chosen(answer, answers, torch.zeros(4, 5), 3)["chosen"]
    return _chosen(answer, answers, rewards, 3) | {"nothing_right": len(nothing)}
