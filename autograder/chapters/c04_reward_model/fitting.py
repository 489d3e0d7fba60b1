"""Probes of chapter 04's first half: Bradley and Terry's probability and loss, scores, what is identified."""

import itertools

import torch

from autograder.chapters.probing import as_tensor, gradients_of, seeded
from autograder.exercise import Exercise

TOPIC = "04_reward_model"

# ---------------------------------------------------------------------------------------------------------------------
preference_probability = Exercise(
    "preference_probability",
    TOPIC,
    "Exercise 1: who is preferred",
    gradients={"reward_first": 0, "reward_second": 1},
)


def _two_rewards(seed: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rewards of the first and of the second answers: no zeros, other means, both signs of the difference."""
    g = seeded(seed)
    first, second = 0.7 + 1.5 * torch.randn(shape, generator=g), 0.2 + 1.3 * torch.randn(shape, generator=g)
    first[..., 0], second[..., 0] = 1.7 + seed % 3 / 10, -0.4
    first[..., -1], second[..., -1] = -1.1, 0.6 + seed % 3 / 10
    return first, second


@preference_probability.case
def several_pairs(answer, seed):
    """Seven pairs of answers: the probability that the first of each is preferred."""
    return {"probability": answer(*_two_rewards(seed, 7)), "_sizes": {"the number of pairs": 7}}


@preference_probability.case
def all_against_all(answer, seed):
    """Shapes that broadcast: (5, 1) and (1, 3) give a table (5, 3), (5, 1) and (1,) a column, (5,) and one number (5,)."""
    first, second = _two_rewards(seed, 5)
    return {
        "table": answer(first[:, None], second[None, :3]),
        "column": answer(first[:, None], second[:1]),
        "against_one": answer(first, second[0]),
        "two_numbers": answer(first[0], second[1]),
    }


@preference_probability.case
def another_temperature(answer, seed):
    """Annotators at temperature 3 decide nearly by chance, at temperature 0.4 nearly always for the larger reward."""
    first, second = _two_rewards(seed, 5)
    return {"hot": answer(first, second, 3.0), "cold": answer(first, second, 0.4)}


@preference_probability.case
def only_the_difference_counts(answer, seed):
    """Rewards around 900, close together: the probability is that of rewards around 0, not NaN."""
    first, second = _two_rewards(seed, 5)
    return {"probability": answer(900 + first, 900 + second)}


@preference_probability.case
def far_apart(answer, seed):
    """Rewards a thousand apart: the probabilities are 1 and 0."""
    first, second = _two_rewards(seed, 3)
    return {"probability": answer(first + 1000 * torch.tensor([1.0, -1.0, 0.0]), second)}


@preference_probability.case
def no_reward_is_too_large(answer, seed):
    """Rewards nearly as large as a float32 holds, at temperature 0.2: the larger one is sure to be preferred; no NaN."""
    # Divided by the temperature, the rewards are infinite, and their differences are not.
    first, second = torch.tensor([1e38, 9e37, -1e38, 5e37]), torch.tensor([9e37, 1e38, -9e37, -(seed % 7)])
    return {"probability": answer(first, second, 0.2)}


@preference_probability.case
def gradient_of_the_probability(answer, seed):
    """Gradients flow to both rewards."""
    first, second = (rewards.requires_grad_() for rewards in _two_rewards(seed, 5))
    probability = as_tensor(answer(first, second, 1.5), "The probability")
    gradients = gradients_of(probability, first, second, what="The probability", to="rewards")
    return dict(zip(("to_the_first", "to_the_second"), gradients, strict=True))


# ---------------------------------------------------------------------------------------------------------------------
bradley_terry_loss = Exercise(
    "bradley_terry_loss",
    TOPIC,
    "Exercise 2: the loss of the pairs",
    gradients={"rewards_chosen": 0, "rewards_rejected": 1},
)


@bradley_terry_loss.case
def several_pairs_of_answers(answer, seed):
    """Nine pairs: the mean of -log P(chosen preferred), in nats."""
    return {"loss": answer(*_two_rewards(seed, 9)), "_sizes": {"the number of pairs": 9}}


@bradley_terry_loss.case
def a_single_pair(answer, seed):
    """One pair whose chosen answer has the smaller reward: a loss above log 2."""
    chosen, rejected = _two_rewards(seed, 3)
    return {"loss": answer(chosen[-1:], rejected[-1:])}


@bradley_terry_loss.case
def a_shift_of_both(answer, seed):
    """The same number added to both rewards changes nothing."""
    chosen, rejected = _two_rewards(seed, 5)
    return {"loss": answer(chosen - 7, rejected - 7), "_sizes": {"the number of pairs": 5}}


@bradley_terry_loss.case
def huge_differences(answer, seed):
    """Differences of 10 000: a loss near 0 where the chosen answer is ahead, 10 000 where it is behind; never infinite."""
    chosen, rejected = _two_rewards(seed, 3)
    sizes = {"the number of pairs": 3}
    return {"ahead": answer(1e4 + chosen, rejected), "behind": answer(chosen - 1e4, rejected), "_sizes": sizes}


@bradley_terry_loss.case
def gradient_to_both(answer, seed):
    """The gradient reaches the chosen and the rejected rewards."""
    return _loss_gradients(answer, *_two_rewards(seed, 7))


@bradley_terry_loss.case
def gradient_of_huge_differences(answer, seed):
    """A pair ten thousand behind still pulls with full strength: the gradient does not vanish and is not NaN."""
    chosen, rejected = _two_rewards(seed, 5)
    return _loss_gradients(answer, chosen - 1e4 * torch.tensor([1.0, 0.0, 1.0, 0.0, -1.0]), rejected)


def _loss_gradients(answer, chosen: torch.Tensor, rejected: torch.Tensor) -> dict:
    chosen.requires_grad_(), rejected.requires_grad_()
    loss = as_tensor(answer(chosen, rejected), "The loss")
    to_chosen, to_rejected = gradients_of(loss, chosen, rejected, to="rewards")
    return {"to_chosen": to_chosen, "to_rejected": to_rejected, "_sizes": {"the number of pairs": len(chosen)}}


# ---------------------------------------------------------------------------------------------------------------------
fit_scores = Exercise("fit_scores", TOPIC, "Exercise 3: scores from a table of wins")
_FITTED = 2e-3  # relative: whoever climbs the likelihood step by step stops somewhere near the top


def _wins(seed: int, players: int, games: int) -> torch.Tensor:
    """Wins of players of different strengths, about so many games a pair, an uneven number; each beats each at least once."""
    g = seeded(seed)
    strength = torch.linspace(-0.9, 1.1, players)[torch.randperm(players, generator=g)]
    strength = strength + 0.2 * torch.randn(players, generator=g)
    played = games + torch.randint(0, 2 * games, (players, players), generator=g)
    probability = torch.sigmoid(strength[:, None] - strength[None])
    wins = torch.zeros(players, players, dtype=torch.long)
    for i in range(players):
        for j in range(i):
            won = int((torch.rand(int(played[i, j]), generator=g) < probability[i, j]).sum())
            wins[i, j] = min(max(won, 1), int(played[i, j]) - 1)
            wins[j, i] = played[i, j] - wins[i, j]
    return wins


def _scores(value) -> torch.Tensor:
    """The scores, if they are a tensor (an array or a list will do)."""
    if type(value).__name__ == "ndarray" or (isinstance(value, (list, tuple)) and value):
        try:
            return torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            pass
    return as_tensor(value, "The scores")


def _fitted(answer, wins: torch.Tensor) -> dict:
    """The scores, and whether the likelihood of the table rises further when all of them are taken further from 0.

    Where it does, an ascent was on its way and stopped too early. A part in a thousand of a game is no rise.
    """
    scores, rises = _scores(answer(wins)), False
    if scores.shape == (len(wins),):
        s, w = scores.detach().double(), wins.double()
        s = s - s.mean()
        pull = (w - (w + w.T) * torch.sigmoid(s[:, None] - s)).sum(1)
        rises = bool(pull @ s > 1e-3 * w.sum())
    sizes = {"the number of players": len(wins)}
    return {"scores": scores, "all_scores_too_close_to_0": rises, "_sizes": sizes}


@fit_scores.case(rtol=_FITTED)
def five_players(answer, seed):
    """Five that met a dozen times each: the scores of greatest likelihood, which sum to 0."""
    return _fitted(answer, _wins(seed, 5, 13))


@fit_scores.case(rtol=_FITTED)
def two_players(answer, seed):
    """Two players: the difference of their scores is the logarithm of their odds."""
    lost = 3 + seed % 4
    return _fitted(answer, torch.tensor([[0, lost], [11, 0]]))


@fit_scores.case(rtol=_FITTED)
def some_never_met(answer, seed):
    """Pairs without a game, and one with very many: each game counts once, and a pair without games says nothing."""
    wins = _wins(seed, 7, 9)
    wins[0, 3] = wins[3, 0] = wins[1, 5] = wins[5, 1] = wins[2, 6] = wins[6, 2] = 0
    wins[4, 0], wins[0, 4] = 170 + seed % 20, 90
    return _fitted(answer, wins)


@fit_scores.case(rtol=_FITTED)
def a_chain_of_players(answer, seed):
    """Six players of whom each met its neighbours alone: the way to the greatest likelihood is long."""
    g, wins = seeded(seed), torch.zeros(6, 6)
    order = torch.randperm(6, generator=g).tolist()
    for better, worse in itertools.pairwise(order):
        wins[better, worse] = 11 + torch.randint(0, 5, (), generator=g)
        wins[worse, better] = 5 + torch.randint(0, 3, (), generator=g)
    return _fitted(answer, wins)


@fit_scores.case(rtol=_FITTED)
def shares_of_wins(answer, seed):
    """The table may hold fractions, as when a tie is half a win for each."""
    wins = _wins(seed, 3, 7).double()
    half = torch.tensor([[0.0, 1.5, 0.5], [1.5, 0.0, 2.5], [0.5, 2.5, 0.0]], dtype=torch.float64)
    return _fitted(answer, wins + half)


# ---------------------------------------------------------------------------------------------------------------------
center_rewards = Exercise("center_rewards", TOPIC, "Exercise 4: what pairs cannot tell")


def _answers_of_prompts(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rewards of eleven answers to prompts 0 to 3, which come mixed, two side by side, and have 5, 3, 2 and 1 answers."""
    g = seeded(seed)
    prompt_ids = torch.tensor([2, 0, 0, 1, 3, 0, 1, 2, 0, 1, 0])
    rewards = 1.3 + 2 * torch.randn(11, generator=g) + prompt_ids
    rewards[1] = (rewards[2] + 2 * rewards[5]) / 3  # prompt 0's first answer is neither its best nor its worst
    return rewards, prompt_ids


@center_rewards.case
def mixed_prompts(answer, seed):
    """Eleven answers to four prompts, in no order: from each, the mean of the answers to the same prompt is taken."""
    return {"centered": answer(*_answers_of_prompts(seed)), "_sizes": {"the number of answers": 11}}


@center_rewards.case
def constants_of_prompts(answer, seed):
    """A constant added to all answers of a prompt, another for each prompt, changes nothing."""
    rewards, prompt_ids = _answers_of_prompts(seed)
    return {"centered": answer(rewards + torch.tensor([30.0, -20.0, 7.0, 50.0])[prompt_ids], prompt_ids)}


@center_rewards.case
def any_numbers_for_prompts(answer, seed):
    """Prompts may be numbered in any way, below zero too: only whether two numbers are equal counts."""
    rewards, prompt_ids = _answers_of_prompts(seed)
    return {"centered": answer(rewards, torch.tensor([-3, 7, 1009, -1])[prompt_ids])}


@center_rewards.case
def a_single_prompt(answer, seed):
    """All answers belong to one prompt."""
    g = seeded(seed)
    rewards = 3 + torch.randn(7, generator=g)
    rewards[0] = (rewards[1] + 2 * rewards[2]) / 3  # neither the best nor the worst
    return {"centered": answer(rewards, torch.full((7,), 5))}


@center_rewards.case
def one_answer_for_each_prompt(answer, seed):
    """Every answer is the only one to its prompt: it is its own mean, and nothing is left of it."""
    rewards = 2 + torch.randn(5, generator=seeded(seed))
    return {"centered": answer(rewards, torch.tensor([4, 0, 3, 8, 1])), "_sizes": {"the number of answers": 5}}
