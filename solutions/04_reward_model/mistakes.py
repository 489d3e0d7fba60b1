"""Wrong answers to chapter 04. Each docstring is the hint the student reads: what was done, why it is wrong, where to
look. Helpers hold what several mistakes share."""

import math

import torch
import torch.nn.functional as F

from autograder.judging.catalogue import mistake

# --- Exercise 1: who is preferred


@mistake("preference_probability")
def second_minus_first(reward_first, reward_second, temperature=1.0):
    """This is the probability that the *second* is preferred. The larger the first reward, the more probable the first:
    look at the order of the difference."""
    return torch.sigmoid((reward_second - reward_first) / temperature)


@mistake("preference_probability")
def share_of_the_rewards(reward_first, reward_second, temperature=1.0):
    """You divide the first reward by the sum of both. That is Bradley and Terry's formula for *strengths*, which are
    positive; rewards are their logarithms, and may be negative."""
    return reward_first / (reward_first + reward_second)


@mistake("preference_probability")
def first_reward_alone(reward_first, reward_second, temperature=1.0):
    """Your probability does not depend on the second reward. A reward means something only beside another: take the
    difference first."""
    return torch.sigmoid(reward_first / temperature) + 0 * reward_second


@mistake("preference_probability")
def sum_of_the_rewards(reward_first, reward_second, temperature=1.0):
    """You take the sigmoid of the *sum*. The sign before the second reward is the point: its being good speaks against
    the first."""
    return torch.sigmoid((reward_first + reward_second) / temperature)


@mistake("preference_probability")
def exponentials_that_overflow(reward_first, reward_second, temperature=1.0):
    """Right on paper: exp(a) / (exp(a) + exp(b)). But exp(900) is infinite in a float, and inf / inf is NaN. Divide
    through by the first exponential, on paper: a sigmoid of the difference remains."""
    first, second = torch.exp(reward_first / temperature), torch.exp(reward_second / temperature)
    return first / (first + second)


@mistake("preference_probability")
def temperature_multiplies(reward_first, reward_second, temperature=1.0):
    """You multiply by the temperature, so hot annotators become sure. A high temperature makes rewards matter less:
    divide by it."""
    return torch.sigmoid((reward_first - reward_second) * temperature)


@mistake("preference_probability")
def temperature_ignored(reward_first, reward_second, temperature=1.0):
    """The temperature changes nothing in your function. The difference is divided by it before the sigmoid."""
    return torch.sigmoid(reward_first - reward_second)


@mistake("preference_probability")
def temperature_of_one_alone(reward_first, reward_second, temperature=1.0):
    """Only one of the two rewards is divided by the temperature. It scales the difference: mind the parentheses."""
    return torch.sigmoid(reward_first - reward_second / temperature)


@mistake("preference_probability")
def temperature_outside_the_sigmoid(reward_first, reward_second, temperature=1.0):
    """You divide the probability by the temperature, so that it may exceed 1. It belongs inside the sigmoid, under the
    difference."""
    return torch.sigmoid(reward_first - reward_second) / temperature


@mistake("preference_probability")
def logarithm_of_the_probability(reward_first, reward_second, temperature=1.0):
    """You return log P. The loss will need it; here P itself is asked for, a number between 0 and 1."""
    return F.logsigmoid((reward_first - reward_second) / temperature)


@mistake("preference_probability")
def difference_alone(reward_first, reward_second, temperature=1.0):
    """You return the difference itself. That is the log-odds; the sigmoid makes a probability of it."""
    return (reward_first - reward_second) / temperature


@mistake("preference_probability")
def sure_of_the_better(reward_first, reward_second, temperature=1.0):
    """You return 1 wherever the first reward is larger, and 0 elsewhere. People do not always prefer the better answer:
    how often they do grows smoothly with the difference."""
    return (reward_first > reward_second).float() + 0 * reward_first


@mistake("preference_probability")
def tanh_for_sigmoid(reward_first, reward_second, temperature=1.0):
    """You use tanh, which runs from −1 to 1. A probability runs from 0 to 1: the sigmoid."""
    return torch.tanh((reward_first - reward_second) / temperature)


@mistake("preference_probability")
def normal_curve(reward_first, reward_second, temperature=1.0):
    """You use the normal distribution: that is Thurstone's model of 1927, a close relative. Bradley and Terry's is the
    logistic function, the sigmoid."""
    return 0.5 * (1 + torch.erf((reward_first - reward_second) / temperature / math.sqrt(2)))


@mistake("preference_probability")
def each_by_itself(reward_first, reward_second, temperature=1.0):
    """You take the sigmoid of each reward and subtract: that can be negative, and a constant added to both rewards
    changes it. Subtract first, then one sigmoid."""
    return torch.sigmoid(reward_first / temperature) - torch.sigmoid(reward_second / temperature)


@mistake("preference_probability")
def first_good_and_second_bad(reward_first, reward_second, temperature=1.0):
    """You multiply "the first is good" by "the second is bad", as if each were judged by itself. A preference is one
    decision about the difference: one sigmoid."""
    return torch.sigmoid(reward_first / temperature) * torch.sigmoid(-reward_second / temperature)


@mistake("preference_probability")
def points_of_chess(reward_first, reward_second, temperature=1.0):
    """You use base 10, as the Elo rating of chess does. Rewards are in nats: the base is e."""
    return 1 / (1 + 10 ** ((reward_second - reward_first) / temperature))


@mistake("preference_probability")
def cut_off_from_the_rewards(reward_first, reward_second, temperature=1.0):
    """The values are right, but no gradient reaches the rewards. Look for .detach(), .data, .item() or torch.no_grad()."""
    return torch.sigmoid((reward_first - reward_second) / temperature).detach()


# --- Exercise 2: the loss of the pairs


@mistake("bradley_terry_loss")
def total_of_the_pairs(rewards_chosen, rewards_rejected):
    """You sum over the pairs. Take the mean, so that the learning rate means the same in a batch of any size."""
    return -F.logsigmoid(rewards_chosen - rewards_rejected).sum()


@mistake("bradley_terry_loss")
def rejected_ahead(rewards_chosen, rewards_rejected):
    """The difference is the wrong way round: this loss falls when the *rejected* answer gets the larger reward."""
    return -F.logsigmoid(rewards_rejected - rewards_chosen).mean()


@mistake("bradley_terry_loss")
def without_the_minus(rewards_chosen, rewards_rejected):
    """This is the log-likelihood. It is to grow, but optimisers minimise: the loss is its negative."""
    return F.logsigmoid(rewards_chosen - rewards_rejected).mean()


@mistake("bradley_terry_loss")
def logarithm_of_a_sigmoid(rewards_chosen, rewards_rejected):
    """Right on paper: log(sigmoid(d)). But where d is far below zero the sigmoid is 0 in a float, its logarithm −inf, and
    the gradient is lost. F.logsigmoid computes both at once, without that."""
    return -torch.log(torch.sigmoid(rewards_chosen - rewards_rejected)).mean()


@mistake("bradley_terry_loss")
def logarithm_with_a_crutch(rewards_chosen, rewards_rejected):
    """A small number inside the logarithm keeps it finite, but then a pair that is far behind has no gradient: the worst
    mistakes are the ones that are never mended. Use F.logsigmoid."""
    return -torch.log(torch.sigmoid(rewards_chosen - rewards_rejected) + 1e-8).mean()


@mistake("bradley_terry_loss")
def clamped_logarithm(rewards_chosen, rewards_rejected):
    """You clamp the probability before the logarithm. The loss stays finite, but a clamped pair has no gradient: the worst
    mistakes are never mended. Use F.logsigmoid."""
    return -torch.log(torch.sigmoid(rewards_chosen - rewards_rejected).clamp(1e-6, 1 - 1e-6)).mean()


@mistake("bradley_terry_loss")
def clamped_difference(rewards_chosen, rewards_rejected):
    """You clamp the difference. A pair beyond the limit then has no gradient and is never mended; F.logsigmoid needs no
    such help."""
    return -F.logsigmoid((rewards_chosen - rewards_rejected).clamp(-20, 20)).mean()


@mistake("bradley_terry_loss")
def share_not_preferred(rewards_chosen, rewards_rejected):
    """You average 1 − P. The likelihood of the labels asks for −log P: it is what makes the fitted rewards those of the
    annotators, and a pair that is far behind weigh more."""
    return torch.sigmoid(rewards_rejected - rewards_chosen).mean()


@mistake("bradley_terry_loss")
def hinge(rewards_chosen, rewards_rejected):
    """This is a hinge with margin 1. It ranks, but its rewards say nothing of probabilities; Bradley and Terry's loss is
    −log sigmoid of the difference."""
    return (1 - (rewards_chosen - rewards_rejected)).clamp(min=0).mean()


@mistake("bradley_terry_loss")
def squared_distance_from_one(rewards_chosen, rewards_rejected):
    """You pull each difference towards 1 by a squared error. How large it should be is for the data to say: maximise the
    likelihood, −log sigmoid of the difference."""
    return (rewards_chosen - rewards_rejected - 1).square().mean()


@mistake("bradley_terry_loss")
def chosen_detached(rewards_chosen, rewards_rejected):
    """No gradient reaches the chosen rewards: the loss can only push the rejected ones down. Both sides learn."""
    return -F.logsigmoid(rewards_chosen.detach() - rewards_rejected).mean()


@mistake("bradley_terry_loss")
def rejected_detached(rewards_chosen, rewards_rejected):
    """No gradient reaches the rejected rewards: the loss can only push the chosen ones up. Both sides learn."""
    return -F.logsigmoid(rewards_chosen - rewards_rejected.detach()).mean()


@mistake("bradley_terry_loss")
def good_and_bad_apart(rewards_chosen, rewards_rejected):
    """You classify each answer by itself, chosen as good and rejected as bad. A rejected answer may still be a good one:
    only the difference within a pair is labelled."""
    return -(F.logsigmoid(rewards_chosen) + F.logsigmoid(-rewards_rejected)).mean()


@mistake("bradley_terry_loss")
def each_against_every_other(rewards_chosen, rewards_rejected):
    """You compare every chosen answer with every rejected one of the batch. Answers to different prompts were never
    compared by anybody: subtract pair by pair."""
    return -F.logsigmoid(rewards_chosen[:, None] - rewards_rejected[None, :]).mean()


@mistake("bradley_terry_loss")
def loss_of_the_mean_difference(rewards_chosen, rewards_rejected):
    """You average the differences first and take the logarithm then. Each pair has a likelihood of its own: the mean comes
    last."""
    return -F.logsigmoid((rewards_chosen - rewards_rejected).mean())


@mistake("bradley_terry_loss")
def in_bits(rewards_chosen, rewards_rejected):
    """Your loss is in bits. Here, as everywhere in the course, logarithms are natural: nats."""
    return -F.logsigmoid(rewards_chosen - rewards_rejected).mean() / math.log(2)


@mistake("bradley_terry_loss")
def divided_by_the_answers(rewards_chosen, rewards_rejected):
    """You divide by the number of answers, two a pair. There is one label a pair: divide by the pairs."""
    return -F.logsigmoid(rewards_chosen - rewards_rejected).sum() / (2 * len(rewards_chosen))


@mistake("bradley_terry_loss")
def a_loss_for_each_pair(rewards_chosen, rewards_rejected):
    """You return a loss for each pair. One number is asked for, their mean."""
    return -F.logsigmoid(rewards_chosen - rewards_rejected)


@mistake("bradley_terry_loss")
def loss_without_a_graph(rewards_chosen, rewards_rejected):
    """The value is right, but no gradient flows. Look for .item(), .detach(), .data or torch.no_grad()."""
    return -F.logsigmoid(rewards_chosen - rewards_rejected).mean().detach()


# --- Exercise 3: pairs from a ranking


@mistake("ranking_pairs")
def worse_first(ranks):
    """Your pairs hold the worse answer first. In (i, j) answer i is preferred: rank 1 is the best, so the *smaller* rank
    wins."""
    return [(i, j) for i, a in enumerate(ranks) for j, b in enumerate(ranks) if a > b]


@mistake("ranking_pairs")
def neighbours_alone(ranks):
    """You pair each answer only with the next one in the ranking. A ranking says more: the first is better than the third,
    too. k answers give k(k − 1)/2 pairs."""
    order = sorted(range(len(ranks)), key=lambda i: ranks[i])
    return [(i, j) for i, j in zip(order, order[1:]) if ranks[i] < ranks[j]]


@mistake("ranking_pairs")
def neighbours_with_ties(ranks):
    """You pair each answer with the next one in sorted order, also where both have the same rank. Take *all* pairs, k(k −
    1)/2 of them, less those that tie."""
    order = sorted(range(len(ranks)), key=lambda i: ranks[i])
    return list(zip(order, order[1:]))


@mistake("ranking_pairs")
def best_against_the_rest(ranks):
    """You pair only the best with the others. A ranking orders the others among themselves as well: k(k − 1)/2 pairs."""
    return [(i, j) for i, a in enumerate(ranks) for j, b in enumerate(ranks) if a < b and a == min(ranks)]


@mistake("ranking_pairs")
def rest_against_the_worst(ranks):
    """You pair the others only with the worst. A ranking orders the others among themselves as well: k(k − 1)/2 pairs."""
    return [(i, j) for i, a in enumerate(ranks) for j, b in enumerate(ranks) if a < b and b == max(ranks)]


@mistake("ranking_pairs")
def best_against_the_worst(ranks):
    """You keep only the best against the worst. Every comparison that the ranking makes is a pair: k(k − 1)/2 of them."""
    return [
        (i, j)
        for i, a in enumerate(ranks)
        for j, b in enumerate(ranks)
        if a < b and a == min(ranks) and b == max(ranks)
    ]


@mistake("ranking_pairs")
def both_ways_round(ranks):
    """Each pair comes twice, once in each order, so the loss is told both that i is better and that j is. Keep the order in
    which the smaller rank comes first."""
    return [(i, j) for i, a in enumerate(ranks) for j, b in enumerate(ranks) if a != b]


@mistake("ranking_pairs")
def ties_one_way(ranks):
    """Two answers of the same rank give a pair here. Nobody said which is better: leave such pairs out (< where you have
    <=)."""
    return [(i, j) for i, a in enumerate(ranks) for j, b in enumerate(ranks) if a < b or (a == b and i < j)]


@mistake("ranking_pairs")
def ties_both_ways(ranks):
    """Two answers of the same rank give two contradictory pairs here. Nobody said which is better: leave them out."""
    return [(i, j) for i, a in enumerate(ranks) for j, b in enumerate(ranks) if i != j and a <= b]


@mistake("ranking_pairs")
def with_oneself(ranks):
    """Some of your pairs hold the same answer twice. An answer is not compared with itself."""
    return [(i, j) for i, a in enumerate(ranks) for j, b in enumerate(ranks) if a < b or i == j]


@mistake("ranking_pairs")
def places_in_the_sorted_order(ranks):
    """Your numbers are places in the *sorted* list. The caller needs the places in the list it gave you: sort the indices
    by their ranks, not the ranks."""
    ranked = sorted(ranks)
    return [(i, j) for i, a in enumerate(ranked) for j, b in enumerate(ranked) if a < b]


@mistake("ranking_pairs")
def ranks_for_places(ranks):
    """Your pairs hold the ranks. The caller asks *which answers* to compare: their places in the list."""
    return [(a, b) for a in ranks for b in ranks if a < b]


@mistake("ranking_pairs")
def counted_from_one(ranks):
    """You count the answers from 1. Places in a Python list begin with 0."""
    return [(i + 1, j + 1) for i, a in enumerate(ranks) for j, b in enumerate(ranks) if a < b]


@mistake("ranking_pairs")
def earlier_wins(ranks):
    """You pair every answer with all later ones in the list, whatever their ranks, as if the list were sorted. Look at the
    ranks to see who wins."""
    return [(i, j) for i in range(len(ranks)) for j in range(i + 1, len(ranks)) if ranks[i] != ranks[j]]


@mistake("ranking_pairs")
def only_where_the_earlier_is_better(ranks):
    """Pairs whose better answer stands later in the list are missing. With i < j as indices, either of the two may be the
    winner: keep the pair, and put the winner first."""
    return [(i, j) for i in range(len(ranks)) for j in range(i + 1, len(ranks)) if ranks[i] < ranks[j]]


@mistake("ranking_pairs")
def each_pair_twice(ranks):
    """Every pair comes twice. A pair that is there twice weighs double in the loss: each once."""
    return 2 * [(i, j) for i, a in enumerate(ranks) for j, b in enumerate(ranks) if a < b]


@mistake("ranking_pairs")
def last_answer_forgotten(ranks):
    """The last answer of the list occurs in no pair. Look at the end of your range."""
    kept = ranks[:-1]
    return [(i, j) for i, a in enumerate(kept) for j, b in enumerate(kept) if a < b]


@mistake("ranking_pairs")
def next_rank_alone(ranks):
    """You pair answers only where the ranks are 1 apart. Any smaller rank wins against any larger one."""
    return [(i, j) for i, a in enumerate(ranks) for j, b in enumerate(ranks) if b - a == 1]


# --- Exercise 4: scores from a table of wins


def _likeliest(wins, prior=0.0):
    """The scores of greatest likelihood by Newton's method; prior: imaginary wins that every player gets over every other."""
    wins = wins.double()
    wins = wins + prior * (1 - torch.eye(len(wins), dtype=wins.dtype))
    games, scores = wins + wins.T, torch.zeros(len(wins), dtype=wins.dtype)
    for _ in range(25):
        p = torch.sigmoid(scores[:, None] - scores[None])
        gradient, weight = (wins - games * p).sum(1), games * p * (1 - p)
        scores = scores + torch.linalg.solve(weight.sum(1).diag() - weight + 1, gradient)
    return scores


@mistake("fit_scores")
def share_of_games_won(wins):
    """You return each player's share of games won. Who beat the strong earns more than who beat the weak: it takes the
    likelihood to say how much."""
    return wins.sum(1) / (wins + wins.T).sum(1)


@mistake("fit_scores")
def log_odds_of_all_games(wins):
    """You take the log-odds of each player's wins over all its games. That forgets *whom* a player met; the likelihood
    weighs every game by the opponent's score."""
    scores = (wins.sum(1) / wins.sum(0)).log()
    return scores - scores.mean()


@mistake("fit_scores")
def columns_for_rows(wins):
    """Your scores have the opposite sign: the best player has the lowest. wins[i, j] says how often i beat j, so a player's
    wins are its *row*."""
    return -_likeliest(wins)


@mistake("fit_scores")
def last_player_at_zero(wins):
    """You fixed the last score at 0. The differences are right, but of all equally likely scores those that sum to 0 are
    asked for: subtract the mean."""
    scores = _likeliest(wins)
    return scores - scores[-1]


@mistake("fit_scores")
def first_player_at_zero(wins):
    """You fixed the first score at 0. The differences are right, but of all equally likely scores those that sum to 0 are
    asked for: subtract the mean."""
    scores = _likeliest(wins)
    return scores - scores[0]


@mistake("fit_scores")
def worst_player_at_zero(wins):
    """Your lowest score is 0. The differences are right, but of all equally likely scores those that sum to 0 are asked
    for: subtract the mean."""
    scores = _likeliest(wins)
    return scores - scores.min()


@mistake("fit_scores")
def points_as_in_chess(wins):
    """Your scores are in the points of chess, 400 for a factor of ten. Here the probability is sigmoid of the plain
    difference."""
    return _likeliest(wins) * 400 / math.log(10)


@mistake("fit_scores")
def base_ten(wins):
    """Your scores are logarithms to base 10. With the sigmoid of exercise 1, the base is e."""
    return _likeliest(wins) / math.log(10)


@mistake("fit_scores")
def strengths_not_scores(wins):
    """You return the strengths, which sum to 1. Scores are their logarithms, shifted to sum to 0."""
    return _likeliest(wins).softmax(0)


@mistake("fit_scores")
def strengths_around_one(wins):
    """You return the exponentials of the scores. Take the logarithm, then subtract the mean."""
    return _likeliest(wins).exp()


@mistake("fit_scores")
def one_imaginary_win_each(wins):
    """Your table has an additional win for everybody against everybody. That keeps scores finite where somebody never
    lost, but it is not the greatest likelihood of the table you were given."""
    return _likeliest(wins, prior=1.0)


@mistake("fit_scores")
def stopped_on_the_way(wins):
    """Your ascent stops long before the top: all scores are too close to 0. Take more steps, or larger ones, and look
    whether the gradient has become zero."""
    games, scores = (wins + wins.T).double(), torch.zeros(len(wins), dtype=torch.float64)
    for _ in range(20):
        p = torch.sigmoid(scores[:, None] - scores[None])
        scores = scores + 0.02 * (wins - games * p).sum(1) / games.sum(1)
    return scores


@mistake("fit_scores")
def mean_of_log_odds(wins):
    """You average the log-odds of the pairs. A pair that met twice then weighs as much as one that met two hundred times,
    and a pair that never met gives 0/0: maximise the likelihood."""
    odds = wins.double() / wins.T.double()
    return odds.fill_diagonal_(1.0).log().mean(1)


@mistake("fit_scores")
def every_pair_weighs_the_same(wins):
    """You replaced the wins of a pair by its *share* of wins. Then a pair that met often weighs as much as one that met
    rarely. Each game counts once: keep the numbers."""
    games = (wins + wins.T).double()
    return _likeliest(wins.double() / games.clamp(min=1e-9))


@mistake("fit_scores")
def half_the_difference(wins):
    """Your scores are half as large as they should be: the gap of two players should be the whole log-odds. Is each game
    counted from both sides in the gradient, and once in its scale?"""
    return _likeliest(wins) / 2


@mistake("fit_scores")
def wins_less_losses(wins):
    """You count wins less losses. That grows with the number of games, and forgets against whom they were won."""
    return (wins - wins.T).sum(1)


@mistake("fit_scores")
def spread_of_one(wins):
    """You divided the scores by their standard deviation. How far they spread is what the wins say: only the mean is
    arbitrary."""
    scores = _likeliest(wins)
    return scores / scores.std(correction=0)


@mistake("fit_scores")
def table_made_into_shares(wins):
    """The scores are right, but you divided the caller's table in place: it holds something else now. Work on a copy."""
    scores = _likeliest(wins)
    if wins.is_floating_point():
        wins.div_((wins + wins.T).clamp(min=1))
    return scores


# --- Exercise 5: what pairs cannot tell


def _means(rewards, prompt_ids):
    return torch.stack([rewards[prompt_ids == p].mean() for p in prompt_ids])


@mistake("center_rewards")
def mean_of_everything(rewards, prompt_ids):
    """You subtract one mean for all. Each prompt has a constant of its own: take the mean over the answers to the same
    prompt."""
    return rewards - rewards.mean()


@mistake("center_rewards")
def standardised_within_a_prompt(rewards, prompt_ids):
    """You also divide by the standard deviation. Pairs do tell how far apart rewards are: only the constant is free.
    (Chapter 6 will divide, for another reason.)"""
    spread = torch.stack([rewards[prompt_ids == p].std(correction=0) for p in prompt_ids])
    return (rewards - _means(rewards, prompt_ids)) / (spread + 1e-6)


@mistake("center_rewards")
def median_of_the_prompt(rewards, prompt_ids):
    """You subtract the median. The mean is asked for: afterwards the rewards of a prompt sum to 0."""
    return rewards - torch.stack([rewards[prompt_ids == p].quantile(0.5) for p in prompt_ids])


@mistake("center_rewards")
def best_of_the_prompt(rewards, prompt_ids):
    """You subtract the largest reward of the prompt, so the best answer has 0. The mean is asked for."""
    return rewards - torch.stack([rewards[prompt_ids == p].max() for p in prompt_ids])


@mistake("center_rewards")
def worst_of_the_prompt(rewards, prompt_ids):
    """You subtract the smallest reward of the prompt, so the worst answer has 0. The mean is asked for."""
    return rewards - torch.stack([rewards[prompt_ids == p].min() for p in prompt_ids])


@mistake("center_rewards")
def first_of_the_prompt(rewards, prompt_ids):
    """You subtract the reward of the prompt's first answer. That fixes the constant, too, but the mean is asked for."""
    return rewards - torch.stack([rewards[prompt_ids == p][0] for p in prompt_ids])


@mistake("center_rewards")
def total_of_the_prompt(rewards, prompt_ids):
    """You subtract the sum of the prompt's rewards instead of their mean. Divide by the number of its answers."""
    return rewards - torch.stack([rewards[prompt_ids == p].sum() for p in prompt_ids])


@mistake("center_rewards")
def means_themselves(rewards, prompt_ids):
    """You return the means. Subtract them from the rewards."""
    return _means(rewards, prompt_ids)


@mistake("center_rewards")
def mean_less_reward(rewards, prompt_ids):
    """The sign is turned: the best answer has become the worst. Reward less mean, not mean less reward."""
    return _means(rewards, prompt_ids) - rewards


@mistake("center_rewards")
def mean_of_the_others(rewards, prompt_ids):
    """You subtract the mean of the *other* answers to the prompt. That is the baseline of chapter 3; here the mean of all
    is asked for, the answer's own among them."""
    others = []
    for i, p in enumerate(prompt_ids):
        same = (prompt_ids == p) & (torch.arange(len(rewards)) != i)
        others.append(rewards[same].mean() if same.any() else torch.zeros(()))
    return rewards - torch.stack(others)


@mistake("center_rewards")
def neighbours_with_the_same_prompt(rewards, prompt_ids):
    """You take for a prompt's answers those that stand side by side. They may come in any order: look at all that have the
    same number."""
    runs = torch.cat([torch.zeros(1, dtype=torch.long), (prompt_ids.diff() != 0).long().cumsum(0)])
    return rewards - _means(rewards, runs)


@mistake("center_rewards")
def in_the_order_of_prompts(rewards, prompt_ids):
    """Your rewards come back sorted by prompt. The caller expects them in the order in which it gave them."""
    order = prompt_ids.argsort(stable=True)
    return (rewards - _means(rewards, prompt_ids))[order]


@mistake("center_rewards")
def divided_by_all_answers(rewards, prompt_ids):
    """You divide the sum of a prompt's rewards by the number of *all* answers. Divide by the number of its own."""
    return rewards - torch.stack([rewards[prompt_ids == p].sum() for p in prompt_ids]) / len(rewards)


@mistake("center_rewards")
def mean_of_means(rewards, prompt_ids):
    """You subtract the mean of the prompts' means, one number for all. Each prompt has a constant of its own."""
    return rewards - torch.stack([rewards[prompt_ids == p].mean() for p in prompt_ids.unique()]).mean()


@mistake("center_rewards")
def in_place(rewards, prompt_ids):
    """You changed the caller's rewards. `-=` on a tensor writes into it: make a new one."""
    rewards -= _means(rewards, prompt_ids)
    return rewards


@mistake("center_rewards")
def moved_to_the_common_mean(rewards, prompt_ids):
    """You subtract the prompt's mean and add the mean of all again. Then the constant is another one: the rewards of a
    prompt are to sum to 0."""
    return rewards - _means(rewards, prompt_ids) + rewards.mean()


# --- Exercise 6: one number for an answer


def _last(attention_mask):
    """The place of the last real token of each row."""
    places = torch.arange(attention_mask.shape[1])
    return (attention_mask.long() * (places + 1)).amax(1) - 1


def _read_at(token_rewards, places):
    return token_rewards.gather(1, places[:, None])[:, 0]


@mistake("last_token_rewards")
def last_column(token_rewards, attention_mask):
    """You read the last column of the padded row. Where a row is padded on the right that is padding: what stands there was
    computed from nothing that anybody wrote. The mask says where the last real token is."""
    return token_rewards[:, -1]


@mistake("last_token_rewards")
def first_column(token_rewards, attention_mask):
    """You read the first position. A causal model has seen nothing of the answer there; only the last real token has all of
    it behind it. (BERT reads its first token, but BERT looks both ways.)"""
    return token_rewards[:, 0]


@mistake("last_token_rewards")
def first_real_token(token_rewards, attention_mask):
    """You read each row at its *first* real token, where a causal model has seen nothing yet. Take the last one."""
    return _read_at(token_rewards, attention_mask.long().argmax(1))


@mistake("last_token_rewards")
def length_less_one(token_rewards, attention_mask):
    """The number of real tokens less one is the last one's place only where the row begins at column 0. Padded on the left
    it is some place in the middle: look for the last 1 of the mask itself."""
    return _read_at(token_rewards, attention_mask.long().sum(1) - 1)


@mistake("last_token_rewards")
def before_the_first_zero(token_rewards, attention_mask):
    """You look for the first 0 of the mask and go back by one. Padding may stand on the left as well, and then the first 0
    is at the very beginning: look for the last 1."""
    return _read_at(token_rewards, (attention_mask.long().argmin(1) - 1) % attention_mask.shape[1])


@mistake("last_token_rewards")
def one_too_early(token_rewards, attention_mask):
    """You read one token too early. The last real token, the end mark, belongs to what is judged: only there is it known
    that the answer is over."""
    return _read_at(token_rewards, (_last(attention_mask) - 1).clamp(min=0))


@mistake("last_token_rewards")
def one_too_late(token_rewards, attention_mask):
    """You read one place behind the last real token, on the padding. Places begin with 0."""
    return _read_at(token_rewards, (_last(attention_mask) + 1).clamp(max=attention_mask.shape[1] - 1))


@mistake("last_token_rewards")
def the_longest_rows_place(token_rewards, attention_mask):
    """You read all rows at one place, that of the last real token of the row that ends last. Each row has its own."""
    return token_rewards[:, _last(attention_mask).max()]


@mistake("last_token_rewards")
def the_first_rows_place(token_rewards, attention_mask):
    """You read all rows where the first one ends. Each row has its own last token."""
    return token_rewards[:, _last(attention_mask)[0]]


@mistake("last_token_rewards")
def mean_over_the_tokens(token_rewards, attention_mask):
    """You average over the real tokens. That is another way of building a reward model; here the last token speaks for the
    whole answer, since it alone has seen it whole."""
    mask = attention_mask.to(token_rewards.dtype)
    return (token_rewards * mask).sum(1) / mask.sum(1)


@mistake("last_token_rewards")
def sum_over_the_tokens(token_rewards, attention_mask):
    """You sum over the real tokens, so the reward grows with the length. One number is read, at the last real token."""
    return (token_rewards * attention_mask).sum(1)


@mistake("last_token_rewards")
def mean_over_everything(token_rewards, attention_mask):
    """You average over the whole row, padding included. Read the output at the last real token alone."""
    return token_rewards.mean(1)


@mistake("last_token_rewards")
def largest_of_the_row(token_rewards, attention_mask):
    """You take the largest output of the row. The model's opinion of the whole answer stands at its last token, large or
    not."""
    return token_rewards.masked_fill(~attention_mask.bool(), -torch.inf).amax(1)


@mistake("last_token_rewards")
def every_row_at_every_place(token_rewards, attention_mask):
    """You have a square table: `token_rewards[:, places]` reads *every* row at *every* row's place. Give an index for the
    rows too, `token_rewards[rows, places]`, or use gather."""
    return token_rewards[:, _last(attention_mask)]


@mistake("last_token_rewards")
def a_column(token_rewards, attention_mask):
    """Right numbers, but of shape (batch, 1): later, chosen of shape (batch, 1) less rejected of shape (batch,) would
    quietly become a table. Take the axis away."""
    return token_rewards.gather(1, _last(attention_mask)[:, None])


@mistake("last_token_rewards")
def cut_off_from_the_head(token_rewards, attention_mask):
    """The values are right, but no gradient flows back to the head. Look for .detach(), .item(), .tolist()."""
    return _read_at(token_rewards, _last(attention_mask)).detach()


# --- Exercise 7: how often is it right


@mistake("pair_accuracy")
def ties_are_right(rewards_chosen, rewards_rejected):
    """A tie counts as right here, so a model that says the same of everything is perfect. Count it half: < and <= are not
    the same."""
    return (rewards_chosen >= rewards_rejected).float().mean()


@mistake("pair_accuracy")
def ties_are_wrong(rewards_chosen, rewards_rejected):
    """A tie counts as wrong here. It is a coin toss: count it half."""
    return (rewards_chosen > rewards_rejected).float().mean()


@mistake("pair_accuracy")
def ties_left_out(rewards_chosen, rewards_rejected):
    """You leave ties out of the count. Then a model may raise its accuracy by having no opinion; and if all tie, this is
    0/0. A tie counts half."""
    decided = rewards_chosen != rewards_rejected
    return (rewards_chosen > rewards_rejected).sum() / decided.sum()


@mistake("pair_accuracy")
def ties_leave_the_divisor(rewards_chosen, rewards_rejected):
    """A tie adds half to the number of right ones, but you leave it out of the divisor. Divide by all pairs."""
    tied = (rewards_chosen == rewards_rejected).float()
    return ((rewards_chosen > rewards_rejected).float() + 0.5 * tied).sum() / (1 - tied).sum()


@mistake("pair_accuracy")
def how_often_wrong(rewards_chosen, rewards_rejected):
    """This is how often the *rejected* answer is ahead. Turn the comparison."""
    return 1 - (torch.sign(rewards_chosen - rewards_rejected).mean() + 1) / 2


@mistake("pair_accuracy")
def number_of_right_ones(rewards_chosen, rewards_rejected):
    """You count the right pairs. Accuracy is their share: divide by the number of pairs."""
    return (torch.sign(rewards_chosen - rewards_rejected) / 2 + 0.5).sum()


@mistake("pair_accuracy")
def right_less_wrong(rewards_chosen, rewards_rejected):
    """You average the signs: right less wrong, from −1 to 1. A share runs from 0 to 1."""
    return torch.sign(rewards_chosen - rewards_rejected).mean()


@mistake("pair_accuracy")
def mean_probability(rewards_chosen, rewards_rejected):
    """You average the probabilities. Accuracy asks only which of the two is ahead, not by how much."""
    return torch.sigmoid(rewards_chosen - rewards_rejected).mean()


@mistake("pair_accuracy")
def chosen_above_zero(rewards_chosen, rewards_rejected):
    """You count chosen answers with a positive reward. Zero means nothing to a reward model: compare the two answers of a
    pair."""
    return (rewards_chosen > 0).float().mean()


@mistake("pair_accuracy")
def chosen_good_and_rejected_bad(rewards_chosen, rewards_rejected):
    """You ask for the chosen reward to be above zero and the rejected one below. Zero means nothing to a reward model:
    compare the two."""
    return ((rewards_chosen > 0) & (rewards_rejected < 0)).float().mean()


@mistake("pair_accuracy")
def in_percent(rewards_chosen, rewards_rejected):
    """Your accuracy is in percent. A share between 0 and 1 is asked for."""
    return 100 * (torch.sign(rewards_chosen - rewards_rejected).mean() + 1) / 2


@mistake("pair_accuracy")
def all_against_all_pairs(rewards_chosen, rewards_rejected):
    """You compare every chosen answer with every rejected one. Rewards of different prompts are not comparable: compare
    pair by pair."""
    return (torch.sign(rewards_chosen[:, None] - rewards_rejected[None]).mean() + 1) / 2


@mistake("pair_accuracy")
def pair_by_pair(rewards_chosen, rewards_rejected):
    """You return what came of each pair. One number is asked for: their mean."""
    return (torch.sign(rewards_chosen - rewards_rejected) + 1) / 2


# --- Exercise 8: does it know how sure it may be


def _bins(probabilities, outcomes, num_bins, which=None, empty=torch.nan):
    probabilities, outcomes = probabilities.double(), outcomes.double()
    if which is None:
        which = (probabilities * num_bins).long().clamp(max=num_bins - 1)
    count = torch.zeros(num_bins, dtype=torch.float64).index_add(0, which, torch.ones_like(probabilities))
    predicted = torch.zeros(num_bins, dtype=torch.float64).index_add(0, which, probabilities) / count
    observed = torch.zeros(num_bins, dtype=torch.float64).index_add(0, which, outcomes) / count
    full = count > 0
    error = ((predicted - observed).abs() * count)[full].sum() / count.sum()
    predicted, observed = predicted.where(full, empty), observed.where(full, empty)
    return {"predicted": predicted, "observed": observed, "count": count, "error": error}


def _gap(found):
    """observed less predicted in the bins that hold something, and their counts."""
    full = found["count"] > 0
    return (found["observed"] - found["predicted"])[full], found["count"][full]


@mistake("calibration_bins")
def middles_of_the_bins(probabilities, outcomes, num_bins):
    """Your "predicted" is the middle of each bin. What was predicted there is the *mean of the predictions* in it, which
    may lie well off the middle."""
    found = _bins(probabilities, outcomes, num_bins)
    middles = (torch.arange(num_bins).double() + 0.5) / num_bins
    found["predicted"] = middles.where(found["count"] > 0, torch.nan)
    gap, count = _gap(found)
    return found | {"error": (gap.abs() * count).sum() / count.sum()}


@mistake("calibration_bins")
def zeros_for_empty_bins(probabilities, outcomes, num_bins):
    """Your empty bins hold 0. A point at (0, 0) would then be drawn that nobody measured: nothing is known, so NaN."""
    return _bins(probabilities, outcomes, num_bins, empty=0.0)


@mistake("calibration_bins")
def empty_bins_spoil_the_error(probabilities, outcomes, num_bins):
    """An empty bin makes your error NaN: NaN times 0 is NaN, not 0. Sum over the bins that hold something."""
    found = _bins(probabilities, outcomes, num_bins)
    error = ((found["observed"] - found["predicted"]).abs() * found["count"]).sum() / len(probabilities)
    return found | {"error": error}


@mistake("calibration_bins")
def empty_bins_left_out(probabilities, outcomes, num_bins):
    """You left the empty bins out, so the entries no longer say which bin they belong to. Return num_bins numbers, NaN
    where a bin is empty."""
    found = _bins(probabilities, outcomes, num_bins)
    full = found["count"] > 0
    return {name: value if name == "error" else value[full] for name, value in found.items()}


@mistake("calibration_bins")
def every_bin_weighs_the_same(probabilities, outcomes, num_bins):
    """Your error is the plain mean over the bins: a bin with two predictions weighs as much as one with two hundred.
    Weight each by its count."""
    found = _bins(probabilities, outcomes, num_bins)
    return found | {"error": _gap(found)[0].abs().mean()}


@mistake("calibration_bins")
def distances_cancel(probabilities, outcomes, num_bins):
    """Your error adds signed differences: too sure here and not sure enough there cancel. Take the absolute value within
    each bin, before you average."""
    found = _bins(probabilities, outcomes, num_bins)
    gap, count = _gap(found)
    return found | {"error": (gap * count).sum() / count.sum()}


@mistake("calibration_bins")
def absolute_value_last(probabilities, outcomes, num_bins):
    """You take the absolute value after averaging, when errors of different bins have already cancelled. Take it within
    each bin."""
    found = _bins(probabilities, outcomes, num_bins)
    gap, count = _gap(found)
    return found | {"error": ((gap * count).sum() / count.sum()).abs()}


@mistake("calibration_bins")
def squared_distances(probabilities, outcomes, num_bins):
    """Your error averages squares. The expected calibration error averages the distances themselves."""
    found = _bins(probabilities, outcomes, num_bins)
    gap, count = _gap(found)
    return found | {"error": (gap.square() * count).sum() / count.sum()}


@mistake("calibration_bins")
def worst_bin(probabilities, outcomes, num_bins):
    """Your error is that of the worst bin (people call it the maximum calibration error). The mean over the predictions is
    asked for."""
    found = _bins(probabilities, outcomes, num_bins)
    return found | {"error": _gap(found)[0].abs().max()}


@mistake("calibration_bins")
def error_without_a_divisor(probabilities, outcomes, num_bins):
    """Your error is a sum over the predictions. Divide by their number."""
    found = _bins(probabilities, outcomes, num_bins)
    return found | {"error": found["error"] * len(probabilities)}


@mistake("calibration_bins")
def distance_of_each_prediction(probabilities, outcomes, num_bins):
    """Your error compares each prediction with its own outcome, which is 0 or 1. A probability can only be judged against
    the *share* of wins among similar ones: within a bin."""
    found = _bins(probabilities, outcomes, num_bins)
    return found | {"error": (probabilities.double() - outcomes.double()).abs().mean()}


@mistake("calibration_bins")
def bins_of_equal_number(probabilities, outcomes, num_bins):
    """You made bins that hold equally many predictions. Bins of equal *width* are asked for: bin b goes from b / num_bins
    to (b + 1) / num_bins."""
    which = torch.empty_like(probabilities, dtype=torch.long)
    which[probabilities.argsort(stable=True)] = torch.arange(len(probabilities)) * num_bins // len(probabilities)
    return _bins(probabilities, outcomes, num_bins, which)


@mistake("calibration_bins")
def bins_over_the_range(probabilities, outcomes, num_bins):
    """Your bins go from the smallest prediction to the largest. They should divide [0, 1], so that two models can be
    compared."""
    low, high = probabilities.min(), probabilities.max()
    which = ((probabilities - low) / (high - low) * num_bins).long().clamp(max=num_bins - 1)
    return _bins(probabilities, outcomes, num_bins, which)


@mistake("calibration_bins")
def edges_belong_below(probabilities, outcomes, num_bins):
    """An edge goes to the bin below it here. It belongs to the bin above: 1/4 is the beginning of the second quarter. (Many
    libraries do it your way; here, one of the two had to be chosen.)"""
    which = ((probabilities * num_bins).ceil().long() - 1).clamp(min=0)
    return _bins(probabilities, outcomes, num_bins, which)


@mistake("calibration_bins")
def ones_fall_out(probabilities, outcomes, num_bins):
    """A prediction of exactly 1 falls into no bin here. It belongs to the last one, which holds both its edges."""
    kept = probabilities < 1
    return _bins(probabilities[kept], outcomes[kept], num_bins)


@mistake("calibration_bins")
def folded_at_a_half(probabilities, outcomes, num_bins):
    """You count the probability of the favourite, max(p, 1 − p), and whether the favourite won. That is the usual picture
    for a classifier; here p is the probability that the first answer wins, from 0 to 1."""
    favourite = (probabilities >= 0.5).long()
    return _bins(torch.maximum(probabilities, 1 - probabilities), (favourite == outcomes).long(), num_bins)


@mistake("calibration_bins")
def predicted_and_observed_swapped(probabilities, outcomes, num_bins):
    """"predicted" and "observed" are swapped: predicted is the mean of the probabilities, observed the share of wins."""
    found = _bins(probabilities, outcomes, num_bins)
    return found | {"predicted": found["observed"], "observed": found["predicted"]}


@mistake("calibration_bins")
def shares_for_counts(probabilities, outcomes, num_bins):
    """Your "count" is the share of the predictions. The number is asked for: how far to trust a point depends on it."""
    found = _bins(probabilities, outcomes, num_bins)
    return found | {"count": found["count"] / len(probabilities)}


@mistake("calibration_bins")
def wins_not_their_share(probabilities, outcomes, num_bins):
    """Your "observed" is the number of wins in each bin. Divide by how many predictions the bin holds."""
    found = _bins(probabilities, outcomes, num_bins)
    return found | {"observed": found["observed"] * found["count"]}


@mistake("calibration_bins")
def accuracy_of_the_bin(probabilities, outcomes, num_bins):
    """Your "observed" is how often the more probable side won. Below one half that is the other answer: take the share of
    outcomes that are 1."""
    right = ((probabilities >= 0.5).long() == outcomes).long()
    return _bins(probabilities, right, num_bins)


# --- Exercise 9: best of n


@mistake("best_of_n")
def worst_of_n(rewards, n):
    """You take the smallest reward. Best of n keeps the largest."""
    return rewards[:, :n].argmin(1)


@mistake("best_of_n")
def the_reward_itself(rewards, n):
    """You return the largest reward. The caller needs to know *which* sample it was: its place."""
    return rewards[:, :n].amax(1)


@mistake("best_of_n")
def all_samples_looked_at(rewards, n):
    """You look at all samples, whatever n is. Only the first n were drawn as far as best of n is concerned."""
    return rewards.argmax(1)


@mistake("best_of_n")
def last_n_looked_at(rewards, n):
    """You look at the last n samples. The first n are asked for, and places count from the first."""
    return rewards[:, -n:].argmax(1) + rewards.shape[1] - n


@mistake("best_of_n")
def one_sample_too_many(rewards, n):
    """You look at n + 1 samples. A slice up to n ends before place n: `[:n]` already holds n."""
    return rewards[:, : n + 1].argmax(1)


@mistake("best_of_n")
def best_prompt(rewards, n):
    """You compare the prompts with one another. Rewards of different prompts are not comparable: compare the samples within
    each row."""
    return rewards[:, :n].argmax(0)


@mistake("best_of_n")
def best_of_the_table(rewards, n):
    """You take the best of the whole table, one number. Each prompt has a best sample of its own."""
    return rewards[:, :n].argmax()


@mistake("best_of_n")
def largest_in_size(rewards, n):
    """You take the reward of greatest size, whatever its sign. −50 is worse than −1."""
    return rewards[:, :n].abs().argmax(1)


@mistake("best_of_n")
def last_of_equals(rewards, n):
    """Of equally good samples you take the last. The earlier one is asked for."""
    return n - 1 - rewards[:, :n].flip(1).argmax(1)


@mistake("best_of_n")
def counted_from_the_first(rewards, n):
    """You count places from 1. They begin with 0, so that they can be used as an index."""
    return rewards[:, :n].argmax(1) + 1


@mistake("best_of_n")
def first_not_looked_at(rewards, n):
    """You leave out the first sample and count from the second. Best of 1 would then be nothing at all."""
    return rewards[:, 1 : n + 1].argmax(1)


@mistake("best_of_n")
def a_column_of_places(rewards, n):
    """Right places, but of shape (prompts, 1). Take the axis away: no keepdim."""
    return rewards[:, :n].argmax(1, keepdim=True)


@mistake("best_of_n")
def where_the_best_is(rewards, n):
    """You return a mask of where the best sample is. One place a prompt is asked for: its index."""
    return F.one_hot(rewards[:, :n].argmax(1), rewards.shape[1])


@mistake("best_of_n")
def the_n_best(rewards, n):
    """You return the places of the n largest rewards. Best of n draws n and keeps *one*."""
    return rewards.topk(n, dim=1).indices


# --- Exercise 10: what best of n samples from


def _below_and_upto(probs, rewards):
    """For each answer: the probability that a draw is worse, and that it is no better."""
    below = (probs * (rewards[None] < rewards[:, None])).sum(1)
    upto = (probs * (rewards[None] <= rewards[:, None])).sum(1)
    return below, upto


def _tied(probs, rewards):
    """The probability of all answers with the same reward, for each answer."""
    below, upto = _below_and_upto(probs, rewards)
    return upto - below


def _best(probs, rewards, n):
    below, upto = _below_and_upto(probs, rewards)
    return (upto**n - below**n) * (probs / _tied(probs, rewards).clamp(min=1e-300))


@mistake("best_of_n_probs")
def none_is_better(probs, rewards, n):
    """You return the probability that no draw is better than the answer. The best has also to *be* the answer: subtract the
    probability that all draws are worse."""
    return _below_and_upto(probs, rewards)[1] ** n


@mistake("best_of_n_probs")
def worst_instead_of_best(probs, rewards, n):
    """This is the distribution of the *worst* of n draws. Turn the comparison of the rewards."""
    return _best(probs, -rewards, n)


@mistake("best_of_n_probs")
def powers_of_the_probabilities(probs, rewards, n):
    """You raise the probabilities to the power n, which makes frequent answers more frequent, good or not. The rewards have
    to come in."""
    return probs**n / (probs**n).sum()


@mistake("best_of_n_probs")
def tilted_by_the_reward(probs, rewards, n):
    """You weight the policy by exp(n · reward). That is the optimum of a KL-regularised reward; best of n depends only on
    the *order* of the rewards."""
    tilted = probs.log() + n * rewards
    return tilted.softmax(0)


@mistake("best_of_n_probs")
def drawn_at_least_once(probs, rewards, n):
    """You compute how probable it is that an answer is among the draws at all. It has also to be the best of them; and
    these do not sum to 1."""
    return 1 - (1 - probs) ** n


@mistake("best_of_n_probs")
def in_the_order_given(probs, rewards, n):
    """You cumulate the probabilities in the order of the list. Sort the answers by their rewards first, and bring the
    result back."""
    upto = probs.cumsum(0)
    return upto**n - (upto - probs) ** n


@mistake("best_of_n_probs")
def left_in_sorted_order(probs, rewards, n):
    """Your probabilities come back sorted by reward. The caller expects them in the order of its answers."""
    return _best(probs, rewards, n)[rewards.argsort(stable=True)]


@mistake("best_of_n_probs")
def density_for_probability(probs, rewards, n):
    """You use n · p · F^(n − 1), the formula for continuous distributions. Here answers have probabilities of their own:
    take the difference of two powers."""
    return n * probs * _below_and_upto(probs, rewards)[1] ** (n - 1)


@mistake("best_of_n_probs")
def density_normalised(probs, rewards, n):
    """You use p · F^(n − 1) and normalise. That is close, but the probability that the best is this answer is a difference of
    two powers, and sums to 1 by itself."""
    density = probs * _below_and_upto(probs, rewards)[1] ** (n - 1)
    return density / density.sum()


@mistake("best_of_n_probs")
def exactly_one_draw(probs, rewards, n):
    """You count the ways in which *one* draw is this answer and all others are worse. It may be drawn several times: take
    "none is better" less "all are worse"."""
    return n * probs * _below_and_upto(probs, rewards)[0] ** (n - 1)


@mistake("best_of_n_probs")
def one_draw_too_few(probs, rewards, n):
    """You have the distribution for n − 1 draws. With n = 1 it should be the policy itself."""
    return _best(probs, rewards, n - 1)


@mistake("best_of_n_probs")
def one_draw_too_many(probs, rewards, n):
    """You have the distribution for n + 1 draws. With n = 1 it should be the policy itself."""
    return _best(probs, rewards, n + 1)


@mistake("best_of_n_probs")
def each_tie_takes_all(probs, rewards, n):
    """Each of several answers with the same reward gets what falls to all of them together: the sum exceeds 1. They share
    it in proportion to their probabilities."""
    below, upto = _below_and_upto(probs, rewards)
    return (upto**n - below**n) * (probs > 0)


@mistake("best_of_n_probs")
def ties_share_equally(probs, rewards, n):
    """Answers with the same reward share equally here. A frequent one is drawn more often, and so kept more often: in
    proportion to the probabilities."""
    below, upto = _below_and_upto(probs, rewards)
    tied = (rewards[None] == rewards[:, None]).sum(1)
    return (upto**n - below**n) / tied


@mistake("best_of_n_probs")
def ties_by_their_place(probs, rewards, n):
    """Of answers with the same reward you treat the later one in the list as better. None of them is: they share what falls
    to them in proportion to their probabilities."""
    order = rewards.argsort(stable=True)
    upto = probs[order].cumsum(0)
    result = torch.empty_like(probs)
    result[order] = upto**n - (upto - probs[order]) ** n
    return result


@mistake("best_of_n_probs")
def all_on_the_best(probs, rewards, n):
    """You put everything on the best answer. With a few draws it may not have come up: how probable that is, is the
    question."""
    return (rewards == rewards.max()).to(probs.dtype)


# --- Exercise 11: how far it goes


@mistake("best_of_n_kl")
def logarithm_alone(n):
    """You return log n. That is the most it could be; (n − 1)/n comes off, because the best sample need not be from the very
    top."""
    return math.log(n)


@mistake("best_of_n_kl")
def added_instead_of_subtracted(n):
    """You add (n − 1)/n. It is subtracted."""
    return math.log(n) + (n - 1) / n


@mistake("best_of_n_kl")
def without_dividing(n):
    """You subtract n − 1. It is (n − 1)/n: a KL divergence is never negative."""
    return math.log(n) - (n - 1)


@mistake("best_of_n_kl")
def one_over_n(n):
    """You subtract 1/n. It is (n − 1)/n, that is 1 − 1/n: for n = 1 nothing has changed, and the KL is 0."""
    return math.log(n) - 1 / n


@mistake("best_of_n_kl")
def one_instead(n):
    """You subtract 1. That is nearly right for large n, but for n = 1 nothing has changed, and the KL has to be 0: subtract
    (n − 1)/n."""
    return math.log(n) - 1


@mistake("best_of_n_kl")
def kl_in_bits(n):
    """Your logarithm is to base 2. The KL is in nats here: the natural logarithm."""
    return math.log2(n) - (n - 1) / n


@mistake("best_of_n_kl")
def logarithm_to_base_ten(n):
    """Your logarithm is to base 10. `math.log` is the natural one."""
    return math.log10(n) - (n - 1) / n


@mistake("best_of_n_kl")
def upside_down(n):
    """The sign is turned: a KL divergence is never negative."""
    return (n - 1) / n - math.log(n)


@mistake("best_of_n_kl")
def n_over_n_less_one(n):
    """You subtract n/(n − 1). It is (n − 1)/n."""
    return math.log(n) - n / max(n - 1, 1e-9)
