"""Wrong answers to the first half of chapter 06: rewards, the loss, weights of pairs, and the expected loss. Each text is the
hint the student reads: what was done, why it is wrong, where to look."""

import torch
import torch.nn.functional as F

from autograder.judging.catalogue import changes

# --- Exercise 1: the reward inside a policy


def _recovered_rewards(logps, ref_logps, beta):
    excluded = torch.isinf(ref_logps)
    rewards = beta * (logps - ref_logps).masked_fill(excluded, 0.0)
    expected = (ref_logps.exp() * rewards).sum(-1, keepdim=True)
    return (rewards - expected).masked_fill(excluded, 0.0)


changes("recovered_rewards", _recovered_rewards, [
    ("constant_left_in", "You return β times the log-ratio as it is. Its constant is that of log Z: shift each prompt so that its "
     "expectation under the reference is 0.", "rewards - expected", "rewards"),
    ("expectation_of_the_policy", "You shift by the expectation under the *policy*. It is to be 0 under the reference.",
     "ref_logps.exp()", "logps.exp()"),
    ("plain_mean_subtracted", "You subtract the plain mean over the answers. An expectation weighs each answer with its probability "
     "under the reference.", "(ref_logps.exp() * rewards).sum(-1, keepdim=True)", "rewards.mean(-1, keepdim=True)"),
    ("expectation_divided_again", "You divide the expectation by the number of answers. The probabilities already sum to 1.",
     ".sum(-1, keepdim=True)", ".mean(-1, keepdim=True)"),
    ("one_constant_for_all", "You subtract one constant for all prompts together. Each prompt has its own.",
     ".sum(-1, keepdim=True)", ".sum() / len(logps)"),
    ("ratio_turned_round", "Your log-ratio is upside down: what the policy likes more than the reference has a *large* reward.",
     "logps - ref_logps", "ref_logps - logps"),
    ("divided_by_beta", "You divide by β. Solve p* = p₀ exp(r/β) / Z for r: β multiplies the logarithm.", "beta *", "1 / beta *"),
    ("beta_forgotten", "β is missing: the log-ratio is r/β.", "beta * ", ""),
    ("reference_left_out", "You take the policy's log-probabilities alone. An answer may be likely because it was likely before: "
     "what counts is the ratio to the reference.", "(logps - ref_logps)", "logps"),
    ("difference_of_probabilities", "You take the difference of the probabilities. It is the difference of their *logarithms*.",
     "(logps - ref_logps)", "(logps.exp() - ref_logps.exp())"),
    ("largest_reward_zero", "You shift so that the best answer has a reward of 0. It is the expectation under the reference that is "
     "to be 0.", "(ref_logps.exp() * rewards).sum(-1, keepdim=True)", "rewards.amax(-1, keepdim=True)"),
    ("excluded_answers_shifted", "Excluded answers get minus the constant. Nothing is known of them: their reward is 0.",
     "(rewards - expected).masked_fill(excluded, 0.0)", "rewards - expected"),
    ("infinity_minus_infinity", "Where both log-probabilities are minus infinity, their difference is NaN, and spreads over the row. "
     "Replace it before you compute with it.", "(logps - ref_logps).masked_fill(excluded, 0.0)", "(logps - ref_logps)"),
    ("mean_over_the_prompts", "You take the expectation over the prompts (dim 0). It goes over the answers of each prompt.",
     ".sum(-1, keepdim=True)", ".sum(0, keepdim=True)"),
    ("rare_answers_cut_off", "You bound the log-ratio, or the log-probabilities. A very unlikely answer has a reward as finite as any: "
     "no bound is needed.", "(logps - ref_logps)", "(logps.clamp(min=-30) - ref_logps.clamp(min=-30))"),
])  # fmt: skip


# --- Exercise 2: the loss


def _dpo_loss(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps, beta, label_smoothing=0.0):
    ref_chosen, ref_rejected = ref_chosen_logps.detach(), ref_rejected_logps.detach()
    policy = chosen_logps - rejected_logps
    reference = ref_chosen - ref_rejected
    m = beta * (policy - reference)
    losses = -(1 - label_smoothing) * F.logsigmoid(m) - label_smoothing * F.logsigmoid(-m)
    return losses.mean()


_LOSSES = "-(1 - label_smoothing) * F.logsigmoid(m) - label_smoothing * F.logsigmoid(-m)"

changes("dpo_loss", _dpo_loss, [
    ("reference_forgotten", "The reference is missing: you compare the policy's log-probabilities alone. The margin is that of the "
     "log-*ratios*.", "policy - reference", "policy"),
    ("reference_added", "You add the reference's difference, or exchange its two numbers. It is subtracted.", "policy - reference", "policy + reference"),
    ("chosen_and_rejected_swapped", "Your margin has the wrong sign, rejected minus chosen, or the weights of the two labels are exchanged. The policy "
     "would learn what was not chosen.", "beta * (policy", "-beta * (policy"),
    ("beta_on_the_policy_only", "β multiplies the policy's part alone. It multiplies the whole margin.",
     "beta * (policy - reference)", "beta * policy - reference"),
    ("beta_on_the_chosen_only", "β multiplies the chosen answer's log-ratio alone. It multiplies both.",
     "beta * (policy - reference)", "beta * (chosen_logps - ref_chosen) - (rejected_logps - ref_rejected)"),
    ("beta_left_out", "β is missing.", "beta * (policy - reference)", "policy - reference"),
    ("divided_by_beta_in_the_loss", "You divide the margin by β. The implicit reward is β times the log-ratio.",
     "beta * (policy - reference)", "(policy - reference) / beta"),
    ("objective_for_loss", "The sign is wrong: you return the log-likelihood, which is to be maximised. A loss is minimised.",
     "return losses", "return -losses"),
    ("summed_over_pairs", "You sum over the pairs. Take the mean.", "losses.mean()", "losses.sum()"),
    ("logarithm_of_sigmoid", "Your loss is not finite for large margins: sigmoid is 0 there, and its logarithm minus infinity. There is "
     "a function that does both steps at once.", _LOSSES,
     "-(1 - label_smoothing) * torch.sigmoid(m).log() - label_smoothing * torch.sigmoid(-m).log()"),
    ("sigmoid_without_logarithm", "You use the probability itself. The loss is minus its *logarithm*.", _LOSSES,
     "-(1 - label_smoothing) * torch.sigmoid(m) - label_smoothing * torch.sigmoid(-m)"),
    ("smoothing_ignored", "label_smoothing changes nothing in your loss. If the label is the other way round, the margin changes its sign.", _LOSSES, "-F.logsigmoid(m)"),
    ("smoothing_with_the_wrong_sign", "Your second term has the wrong sign: you *subtract* the loss of the turned label. An expectation "
     "adds both.", "- label_smoothing * F.logsigmoid(-m)", "+ label_smoothing * F.logsigmoid(-m)"),
    ("first_weight_left_at_one", "The first term still has the weight 1. It is 1 - label_smoothing: the two weights add up to 1.",
     "-(1 - label_smoothing) * F", "-F"),
    ("smoothing_halved", "You spread label_smoothing over two classes, as cross-entropy does. Here it is the probability of the turned "
     "label itself.", _LOSSES, "-(1 - label_smoothing / 2) * F.logsigmoid(m) - label_smoothing / 2 * F.logsigmoid(-m)"),
    ("robust_instead", "You divide by 1 - 2 label_smoothing and subtract: that is another loss (robust DPO). Here it is the expectation "
     "over both labels.", _LOSSES,
     "(-(1 - label_smoothing) * F.logsigmoid(m) + label_smoothing * F.logsigmoid(-m)) / (1 - 2 * label_smoothing)"),
    ("reference_not_frozen", "A gradient flows to the reference's log-probabilities. They are constants: detach them.",
     "ref_chosen_logps.detach(), ref_rejected_logps.detach()", "ref_chosen_logps, ref_rejected_logps"),
    ("hinge_for_sigmoid", "Your loss is a hinge, max(0, 1 - m). DPO's is minus the logarithm of a sigmoid.", _LOSSES, "F.relu(1 - m)"),
    ("squared_like_ipo", "Your loss is a square of the margin's distance from a target, which is IPO's. DPO's is minus the logarithm of a "
     "sigmoid.", _LOSSES, "(policy - reference - 1 / (2 * beta)) ** 2"),
    ("margin_clamped", "You bound the margin so that nothing overflows, and lose the gradient beyond it. logsigmoid needs no bound.",
     "beta * (policy - reference)", "(beta * (policy - reference)).clamp(-20, 20)"),
])  # fmt: skip


# --- Exercise 3: how hard a pair pulls


def _pair_weights(margins, label_smoothing=0.0):
    other = torch.sigmoid(-margins)
    return other - label_smoothing


changes("pair_weights", _pair_weights, [
    ("sigmoid_of_the_margin", "You use σ(m): pairs in the right order would pull hardest. The derivative of log σ(m) is σ(-m).",
     "torch.sigmoid(-margins)", "torch.sigmoid(margins)"),
    ("one_minus_sigmoid", "Your weights become exactly 0 for large margins: 1 - σ(m) is rounded. σ(-m) is the same number, without "
     "the subtraction.", "torch.sigmoid(-margins)", "1 - torch.sigmoid(margins)"),
    ("derivative_of_sigmoid", "You use σ(m)σ(-m), the derivative of σ. It is divided by σ(m) for that of log σ.",
     "torch.sigmoid(-margins)", "torch.sigmoid(-margins) * torch.sigmoid(margins)"),
    ("sign_of_the_weights", "The sign is wrong: the gradient of the loss is *minus* w times the margin's gradient.",
     "return other - label_smoothing", "return label_smoothing - other"),
    ("smoothing_left_out", "label_smoothing changes nothing in your weights. The turned label pulls the other way.",
     "other - label_smoothing", "other"),
    ("scaled_down_by_smoothing", "You scale the weight by 1 - ε, and forget that the turned label pulls the other way.",
     "other - label_smoothing", "(1 - label_smoothing) * other"),
    ("turned_label_pulls_along", "Both labels pull in the same direction in your weights. The turned one pulls the pair together: "
     "subtract.", "other - label_smoothing", "(1 - label_smoothing) * other + label_smoothing * (1 - other)"),
    ("smoothing_twice", "You subtract too much: (1 - ε)σ(-m) - εσ(m), written with σ(-m) alone, is simpler than you think.",
     "other - label_smoothing", "(1 - 2 * label_smoothing) * other - label_smoothing"),
    ("smoothing_added", "You add ε. With smoothing a pair pulls *less*.", "other - label_smoothing", "other + label_smoothing"),
    ("never_negative", "You cut the weights off at 0. Beyond the margin where σ(-m) = ε the pair is pulled together: the weight is "
     "negative.", "other - label_smoothing", "(other - label_smoothing).clamp(min=0)"),
    ("mean_of_the_weights", "You divide by the number of pairs. The mean is already in the formula: one weight a pair, as it is.",
     "other - label_smoothing", "(other - label_smoothing) / len(margins)"),
    ("loss_for_weight", "You return the losses of the pairs. The weights are the derivatives.",
     "torch.sigmoid(-margins)", "-F.logsigmoid(margins)"),
    ("exponential_overflows", "Your weights are NaN for margins far from 0: the exponential overflows. torch.sigmoid does not.",
     "torch.sigmoid(-margins)", "torch.exp(-margins) / (1 + torch.exp(-margins))"),
])  # fmt: skip


# --- Exercise 4: implicit rewards


def _implicit_rewards(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps, beta):
    yes, no = (chosen_logps - ref_chosen_logps).detach(), (rejected_logps - ref_rejected_logps).detach()
    chosen, rejected = beta * yes, beta * no
    margins = chosen - rejected
    accuracy = (margins > 0).float().mean() + 0.5 * (margins == 0).float().mean()
    return {"chosen": chosen, "rejected": rejected, "margins": margins, "accuracy": accuracy}


_DETACHED = "(chosen_logps - ref_chosen_logps).detach(), (rejected_logps - ref_rejected_logps).detach()"

changes("implicit_rewards", _implicit_rewards, [
    ("rewards_without_beta", "β is missing from your rewards.", "beta * yes, beta * no", "yes, no"),
    ("margins_without_beta", "Your margins are differences of log-ratios. They are differences of the rewards, with β.",
     "margins = chosen - rejected", "margins = yes - no"),
    ("rewards_of_the_policy_alone", "You take the policy's log-probabilities for rewards. The implicit reward is β times the log-*ratio* "
     "to the reference.", _DETACHED, "chosen_logps.detach(), rejected_logps.detach()"),
    ("ratio_to_the_policy", "Your log-ratios are upside down: policy minus reference.", _DETACHED,
     "(ref_chosen_logps - chosen_logps).detach(), (ref_rejected_logps - rejected_logps).detach()"),
    ("rewards_exchanged", "Chosen and rejected are exchanged.", '"chosen": chosen, "rejected": rejected',
     '"chosen": rejected, "rejected": chosen'),
    ("margin_turned_round", "Your margins are rejected minus chosen.", '"margins": margins', '"margins": -margins'),
    ("ties_are_wrong", "You count a tie as wrong. It counts one half.", " + 0.5 * (margins == 0).float().mean()", ""),
    ("ties_are_right", "You count a tie as right. It counts one half.", "(margins > 0).float().mean() + 0.5 * (margins == 0)",
     "(margins > 0).float().mean() + (margins == 0)"),
    ("accuracy_of_the_likelihoods", "Your accuracy asks which answer is *likelier*. It asks which has the larger implicit reward: what the "
     "reference says of the two counts too.", "(margins > 0).float()", "(chosen_logps > rejected_logps).float()"),
    ("accuracy_of_the_chosen_alone", "Your accuracy asks whether the chosen answer became likelier than it was. It compares the two "
     "answers of a pair.", "(margins > 0).float()", "(chosen > 0).float()"),
    ("number_of_right_pairs", "You return how many pairs are in the right order. Their share is asked for.",
     '"accuracy": accuracy', '"accuracy": accuracy * len(margins)'),
    ("probability_for_accuracy", "You return the mean probability of the labels. The accuracy counts pairs in the right order.",
     '"accuracy": accuracy', '"accuracy": torch.sigmoid(margins).mean()'),
    ("mean_margin_only", "You return the mean of the margins. One for each pair is asked for.", '"margins": margins',
     '"margins": margins.mean()'),
    ("a_gradient_flows_from_them", "A gradient flows from your numbers. They are to be looked at only: detach.", _DETACHED,
     "chosen_logps - ref_chosen_logps, rejected_logps - ref_rejected_logps"),
])  # fmt: skip


# --- Exercise 5: all pairs at once


def _expected_dpo_loss(logps, ref_logps, rewards, beta):
    ref_logps, rewards = ref_logps.detach(), rewards.detach()
    total = 0.0
    for p, ref, r in zip(logps, ref_logps, rewards, strict=True):
        implicit = beta * (p - ref)
        margins = implicit[:, None] - implicit[None, :]
        first_wins = torch.sigmoid(r[:, None] - r[None, :])
        losses = -first_wins * F.logsigmoid(margins) - (1 - first_wins) * F.logsigmoid(-margins)
        weights = ref.exp()[:, None] * ref.exp()[None, :]
        total = total + (weights * losses).sum()
    return total / len(logps)


_EXPECTED = "-first_wins * F.logsigmoid(margins) - (1 - first_wins) * F.logsigmoid(-margins)"

changes("expected_dpo_loss", _expected_dpo_loss, [
    ("every_pair_alike", "All pairs of answers count alike in your loss. Answers come from the reference: a pair is as frequent as the "
     "product of their probabilities says.", "ref.exp()[:, None] * ref.exp()[None, :]", "torch.full_like(margins, 1 / margins.numel())"),
    ("pairs_of_the_policy", "You draw the pairs from the *policy*, and let a gradient flow through that. They come from the reference.",
     "ref.exp()[:, None] * ref.exp()[None, :]", "p.exp()[:, None] * p.exp()[None, :]"),
    ("pairs_of_the_policy_held_constant", "You draw the pairs from the *policy*. They come from the reference.",
     "ref.exp()[:, None] * ref.exp()[None, :]", "p.detach().exp()[:, None] * p.detach().exp()[None, :]"),
    ("labels_never_err", "Your annotators always prefer the larger reward. They do so with the probability σ(difference).",
     "torch.sigmoid(r[:, None] - r[None, :])", "((r[:, None] - r[None, :]).sign() + 1) / 2"),
    ("only_the_first_label", "You count the label “the first is preferred” alone. The other one comes too, with the rest of the "
     "probability.", _EXPECTED, "-first_wins * F.logsigmoid(margins)"),
    ("preferred_without_probability", "You take the first answer for the chosen one in every pair. Who is preferred depends on the rewards.",
     _EXPECTED, "-F.logsigmoid(margins)"),
    ("annotators_with_beta", "You divide the rewards by β before the annotators judge. They judge the rewards as they are.",
     "torch.sigmoid(r[:, None] - r[None, :])", "torch.sigmoid((r[:, None] - r[None, :]) / beta)"),
    ("annotators_times_beta", "β scales the annotators' rewards in your loss. It scales the policy's log-ratios only.",
     "torch.sigmoid(r[:, None] - r[None, :])", "torch.sigmoid(beta * (r[:, None] - r[None, :]))"),
    ("annotators_turned_round", "Your annotators prefer the smaller reward.", "torch.sigmoid(r[:, None] - r[None, :])",
     "torch.sigmoid(r[None, :] - r[:, None])"),
    ("margins_without_the_reference", "The reference is missing from your margins. They are differences of log-ratios.",
     "beta * (p - ref)", "beta * p"),
    ("margins_without_price", "β is missing from your margins.", "beta * (p - ref)", "p - ref"),
    ("no_pair_of_equals", "You leave out the pairs in which both answers are the same. They can be drawn, and count with log 2 each.",
     "weights = ref.exp()[:, None] * ref.exp()[None, :]",
     "weights = ref.exp()[:, None] * ref.exp()[None, :] * (1 - torch.eye(len(ref)))"),
    ("different_answers_only", "You draw two *different* answers. They come independently: the same one may come twice.",
     "weights = ref.exp()[:, None] * ref.exp()[None, :]",
     "weights = ref.exp()[:, None] * ref.exp()[None, :] * (1 - torch.eye(len(ref)))\n        weights = weights / weights.sum()"),
    ("each_pair_once", "You count each pair of answers once, the first before the second. Both orders are drawn: the weights add up to 1.",
     "total + (weights * losses).sum()", "total + (weights * losses).triu(1).sum()"),
    ("summed_over_prompts", "You sum over the prompts. Take the mean.", "total / len(logps)", "total"),
    ("divided_by_the_pairs", "You divide by the number of pairs as well. The probabilities of the pairs already sum to 1.",
     "(weights * losses).sum()", "(weights * losses).mean()"),
    ("probability_for_loss", "You average the probability of the labels. The loss is minus its logarithm.", _EXPECTED,
     "-first_wins * torch.sigmoid(margins) - (1 - first_wins) * torch.sigmoid(-margins)"),
    ("logarithm_taken_afterwards", "Your loss is not finite where log-ratios are large: the sigmoid is 0 there. F.logsigmoid does both steps "
     "at once.", _EXPECTED, "-first_wins * torch.sigmoid(margins).log() - (1 - first_wins) * torch.sigmoid(-margins).log()"),
    ("gradient_to_the_reference", "A gradient flows to the reference or to the rewards. Both are constants.",
     "ref_logps.detach(), rewards.detach()", "ref_logps, rewards"),
    ("entropy_subtracted", "You subtract the entropy of the labels, so that your loss is a KL. Its gradient is right; the expectation of "
     "the loss is asked for.", _EXPECTED,
     "torch.special.entr(first_wins) * -1 - torch.special.entr(1 - first_wins) - first_wins * F.logsigmoid(margins) - (1 - first_wins) * F.logsigmoid(-margins)"),
    ("answers_of_the_expected_rewards", "You put the *expected* margin into one sigmoid. The expectation is that of the losses.",
     "(weights * losses).sum()", "-F.logsigmoid((weights * margins * (2 * first_wins - 1)).sum())"),
])  # fmt: skip
