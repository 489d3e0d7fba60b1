"""Wrong answers to the first half of chapter 04: from comparisons to rewards. A hint says what was done, why it is wrong,
where to look."""

import math  # noqa: F401 (used in a table's texts)

import torch
import torch.nn.functional as F

from autograder.judging.catalogue import changes

# --- Exercise 1: who is preferred


def _probability(reward_first, reward_second, temperature=1.0):
    first, second = reward_first, reward_second
    difference = (first - second) / temperature
    return torch.sigmoid(difference)


_SIGMOID = "torch.sigmoid(difference)"

changes("preference_probability", _probability, [
    ("second_minus_first", "This is the probability that the *second* is preferred. The larger the first reward, the "
     "more probable the first: look at the order of the difference.", "first - second", "second - first"),
    ("share_of_the_rewards", "You divide the first reward by the sum of both. That is Bradley and Terry's formula for "
     "*strengths*, which are positive; rewards are their logarithms, and may be negative.", _SIGMOID,
     "first / (first + second)"),
    ("first_reward_alone", "Your probability does not depend on the second reward. A reward means something only "
     "beside another: take the difference first.", "first - second", "first + 0 * second"),
    ("sum_of_the_rewards", "You take the sigmoid of the *sum*. The sign before the second reward is the point: its "
     "being good speaks against the first.", "first - second", "first + second"),
    ("exponentials_that_overflow", "Right on paper: exp(a) / (exp(a) + exp(b)). But exp(900) is infinite in a float, "
     "and inf / inf is NaN. Divide through by the first exponential, on paper: a sigmoid of the difference remains.",
     _SIGMOID, "(first / temperature).exp() / ((first / temperature).exp() + (second / temperature).exp())"),
    ("temperature_multiplies", "You multiply by the temperature, so hot annotators become sure. A high temperature "
     "makes rewards matter less: divide by it.", "/ temperature", "* temperature"),
    ("temperature_ignored", "The temperature changes nothing in your function. The difference is divided by it before "
     "the sigmoid.", " / temperature", ""),
    ("temperature_of_one_alone", "Only one of the two rewards is divided by the temperature. It scales the "
     "difference: mind the parentheses.", "(first - second) / temperature", "first - second / temperature"),
    ("temperature_outside_the_sigmoid", "You divide the probability by the temperature, so that it may exceed 1. It "
     "belongs inside the sigmoid, under the difference.", " / temperature", "", _SIGMOID,
     "torch.sigmoid(difference) / temperature"),
    ("logarithm_of_the_probability", "You return log P. The loss will need it; here P itself is asked for, a number "
     "between 0 and 1.", _SIGMOID, "F.logsigmoid(difference)"),
    ("difference_alone", "You return the difference itself. That is the log-odds; the sigmoid makes a probability of "
     "it.", _SIGMOID, "difference"),
    ("sure_of_the_better", "You return 1 wherever the first reward is larger, and 0 elsewhere. People do not always "
     "prefer the better answer: how often they do grows smoothly with the difference.", _SIGMOID,
     "(difference > 0) + 0.0 * first"),
    ("tanh_for_sigmoid", "You use tanh, which runs from −1 to 1. A probability runs from 0 to 1: the sigmoid.",
     _SIGMOID, "torch.tanh(difference)"),
    ("normal_curve", "You use the normal distribution: that is Thurstone's model of 1927, a close relative. Bradley "
     "and Terry's is the logistic function, the sigmoid.", _SIGMOID, "torch.special.ndtr(difference)"),
    ("each_by_itself", "You take the sigmoid of each reward and subtract: that can be negative, and a constant added "
     "to both rewards changes it. Subtract first, then one sigmoid.", _SIGMOID,
     "torch.sigmoid(first / temperature) - torch.sigmoid(second / temperature)"),
    ("first_good_and_second_bad", 'You multiply "the first is good" by "the second is bad", as if each were judged by '
     "itself. A preference is one decision about the difference: one sigmoid.", _SIGMOID,
     "torch.sigmoid(first / temperature) * torch.sigmoid(-second / temperature)"),
    ("points_of_chess", "You use base 10, as the Elo rating of chess does. Rewards are in nats: the base is e.",
     _SIGMOID, "1 / (1 + 10**-difference)"),
    ("cut_off_from_the_rewards", "The values are right, but no gradient reaches the rewards. Look for .detach(), "
     ".data, .item() or torch.no_grad().", _SIGMOID, "torch.sigmoid(difference).detach()"),
    ("temperature_on_each_reward", "A huge reward becomes infinite before the difference is taken, as when each "
     "reward is divided by a small temperature, and inf − inf is NaN. Take the difference first, then divide it.",
     "(first - second) / temperature", "first / temperature - second / temperature"),
    ("temperature_on_the_first_alone", "Only the first reward is divided by the temperature. It scales the "
     "difference: mind the parentheses.", "(first - second) / temperature", "first / temperature - second"),
    ("logistic_upside_down", "Right on paper: exp(d) / (1 + exp(d)). But exp of a large difference is infinite in a "
     "float, and inf / inf is NaN. torch.sigmoid computes the same without that.", _SIGMOID,
     "difference.exp() / (1 + difference.exp())"),
    ("shared_out_among_the_pairs", "Your probabilities sum to 1 over the pairs: a softmax of the differences. Each "
     "pair is a decision of its own: one sigmoid for each.", _SIGMOID,
     "difference.flatten().softmax(0).view_as(difference)"),
    ("axes_of_one_dropped", "Your result has lost its axes of length 1: squeeze takes away more than you want. The "
     "result has the common shape of the rewards.", _SIGMOID, "torch.sigmoid(difference).squeeze()"),
])  # fmt: skip


# --- Exercise 2: the loss of the pairs


def _loss(rewards_chosen, rewards_rejected):
    chosen, rejected = rewards_chosen, rewards_rejected
    difference = chosen - rejected
    losses = -F.logsigmoid(difference)
    return losses.mean()


_LOG = "F.logsigmoid(difference)"

changes("bradley_terry_loss", _loss, [
    ("total_of_the_pairs", "You sum over the pairs. Take the mean, so that the learning rate means the same in a "
     "batch of any size.", ".mean()", ".sum()"),
    ("rejected_ahead", "The difference is the wrong way round: this loss falls when the *rejected* answer gets the "
     "larger reward.", "chosen - rejected", "rejected - chosen"),
    ("without_the_minus", "This is the log-likelihood. It is to grow, but optimisers minimise: the loss is its "
     "negative.", "-F", "F"),
    ("logarithm_of_a_sigmoid", "Right on paper: log(sigmoid(d)), or −log(1 + exp(−d)). But where d is far below zero "
     "the sigmoid is 0 in a float, and exp(−d) infinite: so is the logarithm, and the gradient is lost. F.logsigmoid "
     "computes both steps at once, without that.", _LOG, "torch.sigmoid(difference).log()"),
    ("logarithm_with_a_crutch", "A small number inside the logarithm keeps it finite, but then a pair that is far "
     "behind has no gradient: the worst mistakes are the ones that are never mended. Use F.logsigmoid.", _LOG,
     "(torch.sigmoid(difference) + 1e-8).log()"),
    ("clamped_logarithm", "You clamp the probability before the logarithm. The loss stays finite, but a clamped pair "
     "has no gradient: the worst mistakes are never mended. Use F.logsigmoid.", _LOG,
     "torch.sigmoid(difference).clamp(1e-6, 1 - 1e-6).log()"),
    ("clamped_difference", "You clamp the difference. A pair beyond the limit then has no gradient and is never "
     "mended; F.logsigmoid needs no such help.", "chosen - rejected", "(chosen - rejected).clamp(-20, 20)"),
    ("share_not_preferred", "You average 1 − P. The likelihood of the labels asks for −log P: it is what makes the "
     "fitted rewards those of the annotators, and a pair that is far behind weigh more.", "-F.logsigmoid(difference)",
     "torch.sigmoid(-difference)"),
    ("hinge", "This is a hinge with margin 1. It ranks, but its rewards say nothing of probabilities; Bradley and "
     "Terry's loss is −log sigmoid of the difference.", "-F.logsigmoid(difference)", "(1 - difference).clamp(min=0)"),
    ("squared_distance_from_one", "You pull each difference towards 1 by a squared error. How large it should be is "
     "for the data to say: maximise the likelihood, −log sigmoid of the difference.", "-F.logsigmoid(difference)",
     "(difference - 1).square()"),
    ("chosen_detached", "No gradient reaches the chosen rewards: the loss can only push the rejected ones down. Both "
     "sides learn.", "chosen - rejected", "chosen.detach() - rejected"),
    ("rejected_detached", "No gradient reaches the rejected rewards: the loss can only push the chosen ones up. Both "
     "sides learn.", "chosen - rejected", "chosen - rejected.detach()"),
    ("good_and_bad_apart", "You classify each answer by itself, chosen as good and rejected as bad. A rejected answer "
     "may still be a good one: only the difference within a pair is labelled.", _LOG,
     "(F.logsigmoid(chosen) + F.logsigmoid(-rejected))"),
    ("each_against_every_other", "You compare every chosen answer with every rejected one of the batch. Answers to "
     "different prompts were never compared by anybody: subtract pair by pair.", "chosen - rejected",
     "chosen[:, None] - rejected"),
    ("loss_of_the_mean_difference", "You average the differences first and take the logarithm then. Each pair has a "
     "likelihood of its own: the mean comes last.", _LOG, "F.logsigmoid(difference.mean())"),
    ("in_bits", "Your loss is in bits. Here, as everywhere in the course, logarithms are natural: nats.", ".mean()",
     ".mean() / math.log(2)"),
    ("divided_by_the_answers", "You divide by the number of answers, two a pair. There is one label a pair: divide by "
     "the pairs.", ".mean()", ".mean() / 2"),
    ("a_loss_for_each_pair", "You return a loss for each pair. One number is asked for, their mean.", ".mean()", ""),
    ("loss_without_a_graph", "The value is right, but no gradient flows. Look for .item(), .detach(), .data or "
     "torch.no_grad().", ".mean()", ".mean().detach()"),
    ("cross_entropy_of_a_probability", "Right on paper: the cross-entropy of sigmoid(d) and the label 1. But "
     "F.binary_cross_entropy gets a probability that is already 0 in a float: it cuts the logarithm off at −100, and "
     "the gradient is lost. Give it the difference: F.logsigmoid, or binary_cross_entropy_with_logits.",
     "-F.logsigmoid(difference)",
     'F.binary_cross_entropy(torch.sigmoid(difference), torch.ones_like(difference), reduction="none")'),
    ("logarithm_of_the_mean", "You average the probabilities first and take the logarithm then. The likelihood is a "
     "product over the pairs, its logarithm a sum of logarithms: the mean comes last.", "-F.logsigmoid(difference)",
     "-torch.sigmoid(difference).mean().log()"),
    ("focal_loss", "You weigh each pair's loss by 1 − P once more (a focal loss). The likelihood asks for the plain "
     "mean of −log P.", "losses.mean()", "(losses * torch.sigmoid(-difference)).mean()"),
    ("with_a_margin", "You ask the chosen answer to be ahead by 1: a margin inside the sigmoid. The likelihood of "
     "Bradley and Terry's model has none.", "chosen - rejected", "chosen - rejected - 1"),
    ("sigmoid_of_each", "You take the sigmoid of each reward and then the difference. The model has one sigmoid, of "
     "the difference of the rewards.", "chosen - rejected", "torch.sigmoid(chosen) - torch.sigmoid(rejected)"),
])  # fmt: skip


# --- Exercise 3: scores from a table of wins


def _likeliest(wins):
    wins = wins.double()
    games, scores = wins + wins.T, torch.zeros(len(wins), dtype=torch.float64)
    for _ in range(25):
        p = torch.sigmoid(scores[:, None] - scores)
        gradient, weight = (wins - games * p).sum(1), games * p * (1 - p)
        scores = scores + torch.linalg.solve(weight.sum(1).diag() - weight + 1, gradient)
    return scores


_DOUBLE = "wins = wins.double()"
_FOUND = "return scores"
_STEP = "torch.linalg.solve(weight.sum(1).diag() - weight + 1, gradient)"

changes("fit_scores", _likeliest, [
    ("share_of_games_won", "You return each player's share of games won. Who beat the strong earns more than who beat "
     "the weak: it takes the likelihood to say how much.", _FOUND, "return wins.sum(1) / games.sum(1)"),
    ("log_odds_of_all_games", "You take the log-odds of each player's wins over all its games. That forgets *whom* a "
     "player met; the likelihood weighs every game by the opponent's score.", _FOUND,
     "scores = (wins.sum(1) / wins.sum(0)).log()\n    return scores - scores.mean()"),
    ("columns_for_rows", "Your scores have the opposite sign: the best player has the lowest. wins[i, j] says how "
     "often i beat j, so a player's wins are its *row*.", "wins.double()", "wins.T.double()"),
    ("last_player_at_zero", "You fixed the last score at 0. The differences are right, but of all equally likely "
     "scores those that sum to 0 are asked for: subtract the mean.", _FOUND, "return scores - scores[-1]"),
    ("first_player_at_zero", "You fixed the first score at 0. The differences are right, but of all equally likely "
     "scores those that sum to 0 are asked for: subtract the mean.", _FOUND, "return scores - scores[0]"),
    ("worst_player_at_zero", "Your lowest score is 0. The differences are right, but of all equally likely scores "
     "those that sum to 0 are asked for: subtract the mean.", _FOUND, "return scores - scores.min()"),
    ("points_as_in_chess", "Your scores are in the points of chess, 400 for a factor of ten. Here the probability is "
     "sigmoid of the plain difference.", _FOUND, "return scores * 400 / math.log(10)"),
    ("base_ten", "Your scores are logarithms to base 10. With the sigmoid of exercise 1, the base is e.", _FOUND,
     "return scores / math.log(10)"),
    ("strengths_not_scores", "You return the strengths, which sum to 1. Scores are their logarithms, shifted to sum "
     "to 0.", _FOUND, "return scores.softmax(0)"),
    ("strengths_around_one", "You return the exponentials of the scores. Take the logarithm, then subtract the mean.",
     _FOUND, "return scores.exp()"),
    ("one_imaginary_win_each", "Your table has an additional win for everybody against everybody. That keeps scores "
     "finite where somebody never lost, but it is not the greatest likelihood of the table you were given.",
     "wins.double()", "wins.double() + 1 - torch.eye(len(wins))"),
    ("stopped_on_the_way", "Your ascent stops long before the top: all scores are too close to 0. Take more steps, or "
     "larger ones, and look whether the gradient has become zero.", "range(25)", "range(20)", _STEP,
     "0.02 * gradient / games.sum(1)"),
    ("mean_of_log_odds", "You average the log-odds of the pairs. A pair that met twice then weighs as much as one "
     "that met two hundred times, and a pair that never met gives 0/0: maximise the likelihood.", _FOUND,
     "return (wins / wins.T).fill_diagonal_(1.0).log().mean(1)"),
    ("every_pair_weighs_the_same", "You replaced the wins of a pair by its *share* of wins. Then a pair that met "
     "often weighs as much as one that met rarely. Each game counts once: keep the numbers.", _DOUBLE,
     "wins = wins / (wins + wins.T).double().clamp(min=1e-9)"),
    ("half_the_difference", "Your scores are half as large as they should be: the gap of two players should be the "
     "whole log-odds. Is each game counted from both sides in the gradient, and once in its scale?", _FOUND,
     "return scores / 2"),
    ("wins_less_losses", "You count wins less losses. That grows with the number of games, and forgets against whom "
     "they were won.", _DOUBLE, "return (wins - wins.T).sum(1)"),
    ("spread_of_one", "You divided the scores by their standard deviation. How far they spread is what the wins say: "
     "only the mean is arbitrary.", _FOUND, "return scores / scores.std(correction=0)"),
    ("table_made_into_shares", "The scores are right, but you divided the caller's table in place: it holds something "
     "else now. Work on a copy.", _DOUBLE, "table, wins = wins, wins.double()", _FOUND,
     "if table.is_floating_point():\n        table.div_((table + table.T).clamp(min=1))\n    return scores"),
    ("stopped_after_ten_steps", "Your ascent stops after a few steps, before the top: the scores are too close to 0. "
     "Take more steps, and look whether the gradient has become zero.", "range(25)", "range(10)", _STEP,
     "gradient / games.sum(1)"),
    ("stopped_after_a_hundred_steps", "A hundred steps are enough where everybody met everybody, and too few for a "
     "table like a chain. Take a thousand, or go on until the scores no longer move.", "range(25)", "range(100)", _STEP,
     "gradient / games.sum(1)"),
    ("a_single_step_of_newton", "You take one step of Newton's method. The likelihood is no parabola: repeat the "
     "step, a handful of times is enough.", "range(25)", "range(1)"),
    ("half_an_imaginary_win_each", "Your table has half a win more for everybody against everybody. That keeps scores "
     "finite where somebody never lost, but it is not the greatest likelihood of the table you were given.",
     "wins.double()", "wins.double() + 0.5 * (1 - torch.eye(len(wins)))"),
    ("pulled_towards_zero", "You maximise the likelihood less a penalty on the size of the scores. That pulls them "
     "towards 0; the plain likelihood is asked for.", "(wins - games * p).sum(1), games",
     "(wins - games * p).sum(1) - scores, games", "weight + 1,", "weight + torch.eye(len(wins)),"),
    ("everybody_has_won_once", "You count at least one win for everybody against everybody, also where two never met. "
     "A pair without games says nothing: leave its zeros.", "wins.double()", "wins.double().clamp(min=1)"),
    ("whole_wins_alone", "You turn the wins into integers, and halves are lost. The table may hold fractions: turn it "
     "into floats.", "wins.double()", "wins.long().double()"),
    ("exponentials_shifted", "You shifted the strengths, not their logarithms: the scores do not sum to 0. Take the "
     "logarithm, then subtract its mean.", _FOUND, "return (scores.exp() / scores.exp().mean()).log()"),
    ("scores_sorted", "Your scores come back sorted. The caller expects them in the order of its players.", _FOUND,
     "return scores.sort().values"),
    ("ranks_for_scores", "You return the ranks of the players. How far apart they are is what the wins say, too: "
     "return the scores.", _FOUND, "return scores.argsort().argsort().double()"),
    ("twice_the_difference", "Your scores are twice as large as they should be: the gap of two players should be the "
     "log-odds of a game between them. Is there a factor of 2 in your probability or in your gradient?", _FOUND,
     "return scores * 2"),
    ("base_two", "Your scores are logarithms to base 2. With the sigmoid of exercise 1, the base is e.", _FOUND,
     "return scores / math.log(2)"),
    ("wins_counted_twice_over", "You add the two directions before you fit, and then nobody is better than anybody: "
     "w[i, j] and w[j, i] must stay apart.", _DOUBLE, "wins = (wins + wins.T).double()"),
])  # fmt: skip


# --- Exercise 4: what pairs cannot tell


def _centred(rewards, prompt_ids):
    of_prompt = [rewards[prompt_ids == p] for p in prompt_ids]
    means = torch.stack([own.mean() for own in of_prompt])
    return rewards - means


_CENTRED = "return rewards - means"

changes("center_rewards", _centred, [
    ("mean_of_everything", "You subtract one mean for all. Each prompt has a constant of its own: take the mean over "
     "the answers to the same prompt.", _CENTRED, "return rewards - rewards.mean()"),
    ("standardised_within_a_prompt", "You also divide by the standard deviation. Pairs do tell how far apart rewards "
     "are: only the constant is free. (Chapter 6 will divide, for another reason.)", _CENTRED,
     "spread = torch.stack([own.std(correction=0) for own in of_prompt])\n    return (rewards - means) / (spread + 1e-6)"),
    ("median_of_the_prompt", "You subtract the median. The mean is asked for: afterwards the rewards of a prompt sum "
     "to 0.", "own.mean()", "own.quantile(0.5)"),
    ("best_of_the_prompt", "You subtract the largest reward of the prompt, so the best answer has 0. The mean is "
     "asked for.", "own.mean()", "own.max()"),
    ("worst_of_the_prompt", "You subtract the smallest reward of the prompt, so the worst answer has 0. The mean is "
     "asked for.", "own.mean()", "own.min()"),
    ("first_of_the_prompt", "You subtract the reward of the prompt's first answer. That fixes the constant, too, but "
     "the mean is asked for.", "own.mean()", "own[0]"),
    ("total_of_the_prompt", "You subtract the sum of the prompt's rewards instead of their mean. Divide by the number "
     "of its answers.", "own.mean()", "own.sum()"),
    ("means_themselves", "You return the means. Subtract them from the rewards.", _CENTRED, "return means"),
    ("mean_less_reward", "The sign is turned: the best answer has become the worst. Reward less mean, not mean less "
     "reward.", _CENTRED, "return means - rewards"),
    ("mean_of_the_others", "You subtract the mean of the *other* answers to the prompt. That is the baseline of "
     "chapter 3; here the mean of all is asked for, the answer's own among them.", "own.mean() for own in of_prompt",
     "(own.sum() - r) / max(len(own) - 1, 1) for own, r in zip(of_prompt, rewards)"),
    ("neighbours_with_the_same_prompt", "You take for a prompt's answers those that stand side by side. They may come "
     "in any order: look at all that have the same number.", "of_prompt = ",
     "prompt_ids = torch.cat([prompt_ids[:1] * 0, (prompt_ids.diff() != 0).long().cumsum(0)])\n    of_prompt = "),
    ("in_the_order_of_prompts", "Your rewards come back sorted by prompt. The caller expects them in the order in "
     "which it gave them.", _CENTRED, "return (rewards - means)[prompt_ids.argsort(stable=True)]"),
    ("divided_by_all_answers", "You divide the sum of a prompt's rewards by the number of *all* answers. Divide by "
     "the number of its own.", "own.mean()", "own.sum() / len(rewards)"),
    ("mean_of_means", "You subtract the mean of the prompts' means, one number for all. Each prompt has a constant of "
     "its own.", _CENTRED,
     "return rewards - torch.stack([rewards[prompt_ids == p].mean() for p in prompt_ids.unique()]).mean()"),
    ("in_place", "You changed the caller's rewards. `-=` on a tensor writes into it: make a new one.", _CENTRED,
     "rewards -= means\n    return rewards"),
    ("moved_to_the_common_mean", "You subtract the prompt's mean and add the mean of all again. Then the constant is "
     "another one: the rewards of a prompt are to sum to 0.", _CENTRED, "return rewards - means + rewards.mean()"),
    ("ids_as_indices", "You use the prompts' numbers as indices, from 0 up to the largest. They may be any numbers, "
     "negative ones too: compare them, or let unique(return_inverse=True) number them for you.",
     "means = torch.stack([own.mean() for own in of_prompt])",
     "means = torch.stack([rewards[prompt_ids == p].mean() for p in range(int(prompt_ids.max()) + 1)])[prompt_ids]"),
    ("divided_by_one_less", "You divide the sum of a prompt's rewards by the number of its answers less 1. The plain "
     "mean is asked for: divide by their number.", "own.mean()", "own.sum() / max(len(own) - 1, 1)"),
    ("a_mean_for_each_prompt", "You return one mean for each prompt. One number for each *answer* is asked for: its "
     "reward less the mean of its prompt.", _CENTRED,
     "return torch.stack([rewards[prompt_ids == p].mean() for p in prompt_ids.unique()])"),
    ("divided_by_the_mean", "You divide by the mean of the prompt. A constant that was *added* is removed by "
     "subtracting.", _CENTRED, "return rewards / means"),
    ("only_the_first_prompt", "You centre the answers to one prompt and leave the others as they were. Go on through "
     "all prompts: is there a `return` inside the loop?", _CENTRED,
     "return torch.where(prompt_ids == prompt_ids.min(), rewards - means, rewards)"),
    ("sorted_means_repeated", "You repeat the prompts' means in the order of their numbers, as if the answers were "
     "sorted. Give each answer the mean of its *own* prompt.", _CENTRED,
     "return rewards - means[prompt_ids.argsort(stable=True)]"),
    ("standardised_over_everything", "You subtract one mean and divide by one standard deviation, those of all "
     "answers. Each prompt has a constant of its own, and nothing is divided.", _CENTRED,
     "return (rewards - rewards.mean()) / rewards.std()"),
])  # fmt: skip
