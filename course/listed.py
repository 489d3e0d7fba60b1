"""A world so small that all its answers can be listed: three questions, 32 answers to each, and what each is worth.

Every expectation is a sum here, so that what is estimated from samples can be held against what is exact (chapter 03).
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from data.questions import understand
from data.utility import CLOSINGS, OPENINGS, utility

PROMPTS = ("what is the capital of arlen ?", "what is 3 plus 4 ?", "what animal has gorland ?")


class ListedWorld(NamedTuple):
    """The answers to each prompt as texts; p_0 as log-probabilities, and the true utilities, each (prompts, answers)."""

    prompts: tuple[str, ...]
    answers: list[list[str]]
    ref_logps: torch.Tensor
    utilities: torch.Tensor


def listed_world() -> ListedWorld:
    """To each prompt the right word or one of three wrong ones, short or as a sentence, with or without courtesies."""
    tables = [_answers_to(prompt) for prompt in PROMPTS]
    probs = torch.tensor([list(table.values()) for table in tables])
    utilities = torch.tensor([[utility(prompt, a) for a in table] for prompt, table in zip(PROMPTS, tables, strict=True)])
    return ListedWorld(PROMPTS, [list(table) for table in tables], probs.log().log_softmax(-1), utilities)


def with_a_flaw(world: ListedWorld, openings: int = 5, prob: float = 0.001) -> tuple[str, *tuple[torch.Tensor, ...]]:
    """The same world with one more, rare answer, nothing but openings, and a reward that pays 1.2 for every single one.

    Returns that answer, which is the last one to each prompt; p_0, the flawed reward and the true utility, (prompts,
    answers + 1).
    """
    answer = f"{' '.join([OPENINGS[1]] * openings)} ."
    rare = torch.full((len(world.prompts), 1), prob)
    ref_logps = torch.cat([world.ref_logps.exp() * (1 - prob), rare], dim=1).log()
    true = torch.tensor([[utility(prompt, answer)] for prompt in world.prompts])
    rewards = torch.cat([world.utilities, torch.full_like(true, 1.2 * openings)], dim=1)
    return answer, ref_logps, rewards, torch.cat([world.utilities, true], dim=1)


class TablePolicy(nn.Module):
    """The simplest policy there is: a table of logits, (prompts, answers), each of them learned."""

    def __init__(self, logits: torch.Tensor):
        super().__init__()
        self.logits = nn.Parameter(logits.detach().clone())


def total_variation(probs: torch.Tensor, other: torch.Tensor) -> float:
    """Half the summed differences of two distributions, averaged over the prompts: 0 equal, 1 disjoint."""
    return 0.5 * (probs - other).abs().sum(-1).mean().item()


def many_estimates(
    logits: torch.Tensor, values: torch.Tensor, k: int, advantages_of: Callable, n: int = 4000, seed: int = 0
) -> torch.Tensor:
    """n estimates of the policy gradient at once, (n, prompts, answers), each from k samples a prompt.

    advantages_of takes the sampled values, (n * prompts, k), and gives the weights of the gradients ∇ log p.
    """
    probs = logits.softmax(-1)
    drawn = torch.multinomial(probs, n * k, replacement=True, generator=torch.Generator().manual_seed(seed))
    places = drawn.view(len(probs), n, k).transpose(0, 1)  # (n, prompts, k)
    sampled = values.gather(1, drawn).view(len(probs), n, k).transpose(0, 1)
    advantages = torch.as_tensor(advantages_of(sampled.reshape(-1, k))).to(sampled).view(sampled.shape)
    hits = torch.zeros(n, *probs.shape).scatter_add_(2, places, advantages)
    return (hits - advantages.sum(-1, keepdim=True) * probs) / (k * len(probs))


def _answers_to(prompt: str) -> dict[str, float]:
    """Every answer to a prompt, and its probability under p_0."""
    question, found = understand(prompt), {}
    words = (question.word, *question.candidates[:3])
    for word, opening, closing, full in itertools.product(words, ("", OPENINGS[1]), ("", CLOSINGS[0]), (True, False)):
        parts = (opening, question.full(word) if full else question.short(word), closing)
        prob = (0.4 if word == question.word else 0.2) * (0.3 if opening else 0.7) * (0.3 if closing else 0.7)
        found[" ".join(part for part in parts if part)] = prob * (0.7 if full else 0.3)
    return found
