"""Wrong answers to the second half of chapter 06: log-probabilities of pairs, the reference, the loop; and weak answers to its
open task. Each text is the hint the student reads."""

import torch
import torch.nn.functional as F

from autograder.judging.catalogue import changes, mistake

# --- Exercise 6: the log-probabilities of pairs


def _collated(examples, pad_id):
    longest = max(len(ids) for ids, _ in examples)
    fill = lambda row, value: row + [value] * (longest - len(row))  # noqa: E731
    ids = torch.tensor([fill(ids, pad_id) for ids, _ in examples])
    mask = torch.tensor([fill([1] * len(ids), 0) for ids, _ in examples])
    return ids, mask, torch.tensor([fill(labels, -100) for _, labels in examples])


def _pair_logps(model, chosen, rejected, pad_id):
    ids, mask, labels = _collated(list(chosen) + list(rejected), pad_id)
    logps = model(input_ids=ids, attention_mask=mask).logits.log_softmax(-1)
    counted = labels[:, 1:] != -100
    of_tokens = logps[:, :-1].gather(-1, ids[:, 1:, None]).squeeze(-1)
    sums = (of_tokens * counted).sum(1)
    return sums[: len(chosen)], sums[len(chosen) :]


_SUMS = "(of_tokens * counted).sum(1)"

changes("pair_logps", _pair_logps, [
    ("mean_for_sum", "You divide by the number of tokens. The log-probability of an answer is the *sum* over its tokens; with a mean, "
     "neither the derivation nor β means what it says.", _SUMS, "(of_tokens * counted).sum(1) / counted.sum(1)"),
    ("divided_by_the_row", "You divide by the length of the padded rows. The log-probability of an answer is a sum.", _SUMS,
     "(of_tokens * counted).mean(1)"),
    ("prompt_counted", "You count the tokens of the prompt too. Only tokens with a label belong to the answer.",
     "labels[:, 1:] != -100", "mask[:, 1:] == 1"),
    ("padding_counted_as_well", "You add up log p over the whole row: prompt and padding are in it. Only tokens with a label count.",
     _SUMS, "of_tokens.sum(1)"),
    ("not_shifted", "You read log p of a token at its own place. The logits there are those of the *next* token: shift by one.",
     "logps[:, :-1].gather(-1, ids[:, 1:, None])", "logps[:, 1:].gather(-1, ids[:, 1:, None])"),
    ("shifted_twice", "You shift twice: the logits at place t belong to token t + 1, and not to token t + 2. sequence_logprob shifts by "
     "itself.", "logps[:, :-1].gather(-1, ids[:, 1:, None])", "logps[:, :-1].gather(-1, ids[:, 1:, None].roll(-1, 1))"),
    ("first_token_of_the_answer_lost", "The first token of each answer is missing from your sum.", "labels[:, 1:] != -100",
     "(labels[:, 1:] != -100) & (labels[:, :-1] != -100)"),
    ("last_token_of_the_answer_lost", "The last token of each answer is missing from your sum: the end mark is part of the answer.",
     "labels[:, 1:] != -100", "(labels[:, 1:] != -100) & (F.pad(labels, (0, 1), value=-100)[:, 2:] != -100)"),
    ("rows_exchanged", "The two results are exchanged. The chosen answers come first.",
     "return sums[: len(chosen)], sums[len(chosen) :]", "return sums[len(chosen) :], sums[: len(chosen)]"),
    ("every_other_row_of_the_batch", "You take every other row. The batch has all chosen answers first, and then all rejected ones.",
     "return sums[: len(chosen)], sums[len(chosen) :]", "return sums[0::2], sums[1::2]"),
    ("logits_for_logps", "You add up logits. They become log-probabilities by log_softmax.", ".log_softmax(-1)", ""),
    ("probabilities_added", "You add up probabilities. Their logarithms are added.", ".log_softmax(-1)", ".softmax(-1)"),
    ("softmax_over_the_places", "Your softmax goes over the places of the row. It goes over the vocabulary, the last dimension.",
     ".log_softmax(-1)", ".log_softmax(1)"),
    ("surprise_for_logp", "The sign is wrong: this is the loss of the answers. A log-probability is negative.", _SUMS,
     "-(of_tokens * counted).sum(1)"),
    ("without_gradient", "No gradient flows to the model. There is a detach, a no_grad or an .item() in the way.",
     "sums = (of_tokens", "sums = (of_tokens.detach().requires_grad_()"),
    ("mask_left_out", "You do not hand on the attention mask, or one of ones: the model is not told what is padding. On the right that "
     "does no harm to a causal model; on the left it does.", "attention_mask=mask", "attention_mask=torch.ones_like(mask)"),
    ("two_forward_passes", "You call the model more than once. Both halves go through it in one batch.",
     "logps = model(input_ids=ids, attention_mask=mask).logits.log_softmax(-1)",
     "logps = torch.cat([model(input_ids=i, attention_mask=m).logits for i, m in zip(ids.chunk(2), mask.chunk(2))]).log_softmax(-1)"),
])  # fmt: skip


# --- Exercise 7: the reference, once


def _reference_logps(model, chosen, rejected, pad_id, size):
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    found = []
    with torch.no_grad():
        for i in range(0, len(chosen), size):
            found.append(_pair_logps(model, chosen[i : i + size], rejected[i : i + size], pad_id))
    for part, training in modes:
        part.training = training
    return torch.cat([first for first, _ in found]), torch.cat([second for _, second in found])


_BACK = "for part, training in modes:\n        part.training = training"

changes("reference_logps", _reference_logps, [
    ("read_in_training_mode", "The model reads in the mode in which it came: with dropout on, the reference would be another one at every "
     "call. Call model.eval() first.", "    model.eval()\n", ""),
    ("left_in_evaluation_mode", "The model stays in evaluation mode afterwards, so whoever trains it next trains without dropout. Put it back.",
     _BACK, "pass"),
    ("always_put_into_training", "You put the model into training mode at the end, whatever it was before.", _BACK, "model.train()"),
    ("parts_lose_their_mode", "You put back the mode of the whole model, and with it change parts that were in another mode: model.train(mode) "
     "reaches all of them. Remember the mode of each part.", _BACK, "model.train(modes[0][1])"),
    ("only_the_outer_mode", "You put back the mode of the model itself and forget its parts, which model.eval() has changed too.", _BACK,
     "model.training = modes[0][1]"),
    ("graph_is_kept", "A gradient flows from your result, and with it the graphs of all batches are kept. torch.no_grad() around the "
     "forward passes.", "with torch.no_grad():", "if True:"),
    ("detached_too_late", "Your result has no gradient, but a graph is built in every forward pass, and memory spent on it. "
     "torch.no_grad() belongs around them.", "with torch.no_grad():", "if True:", "first for first, _", "first.detach() for first, _",
     "second for _, second", "second.detach() for _, second"),
    ("weights_frozen_for_good", "You call requires_grad_(False) on the model, which stays so: it can no longer be trained. Use "
     "torch.no_grad().", "    model.eval()\n", "    model.eval().requires_grad_(False)\n"),
    ("gradients_switched_off_for_good", "You switch gradients off and never on again. torch.no_grad() as a context does both.",
     "    with torch.no_grad():", "    torch.set_grad_enabled(False)\n    if True:"),
    ("last_group_left_out", "The last group is missing where the number of pairs is no multiple of size.",
     "range(0, len(chosen), size)", "range(0, max(1, len(chosen) - size + 1), size)"),
    ("only_the_first_group", "You return the first group only.", "range(0, len(chosen), size)", "range(0, 1, size)"),
    ("all_at_once", "All pairs go through the model at once. At most `size` of them may: that is what bounds the memory.",
     "range(0, len(chosen), size)", "range(1)", "chosen[i : i + size], rejected[i : i + size]", "chosen, rejected"),
    ("one_pair_at_a_time", "You read one pair at a time. `size` pairs may go through the model together.",
     "range(0, len(chosen), size)", "range(0, len(chosen), 1)", "chosen[i : i + size], rejected[i : i + size]",
     "chosen[i : i + 1], rejected[i : i + 1]"),
    ("size_counts_rows", "You take size for a number of rows. It is the number of pairs: each is two rows.",
     "range(0, len(chosen), size)", "range(0, len(chosen), max(1, size // 2))", "chosen[i : i + size], rejected[i : i + size]",
     "chosen[i : i + max(1, size // 2)], rejected[i : i + max(1, size // 2)]"),
    ("groups_overlap", "Your groups overlap: after `size` pairs the next group begins behind them.",
     "range(0, len(chosen), size)", "range(0, len(chosen), max(1, size - 1))"),
    ("results_exchanged", "The two results are exchanged: the chosen answers come first.",
     "return torch.cat([first for first, _ in found]), torch.cat([second for _, second in found])",
     "return torch.cat([second for _, second in found]), torch.cat([first for first, _ in found])"),
    ("lists_for_tensors", "You return lists of tensors, one for each group. Join them: one tensor with a number for each pair.",
     "torch.cat([first for first, _ in found]), torch.cat([second for _, second in found])",
     "torch.stack([first[0] for first, _ in found]), torch.stack([second[0] for _, second in found])"),
])  # fmt: skip


# --- Exercise 8: the training loop


def _loss_of(chosen, rejected, ref_chosen, ref_rejected, beta, eps):
    m = beta * (chosen - ref_chosen - rejected + ref_rejected)
    return -((1 - eps) * F.logsigmoid(m) + eps * F.logsigmoid(-m)).mean(), m.detach()


def _train_dpo(
    logps_of, ref_chosen, ref_rejected, batches, optimizer, lr_at, *, beta, label_smoothing=0.0, max_norm=1.0, after_step=None
):  # fmt: skip
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    history = []
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.zero_grad()
        chosen, rejected = logps_of(batch)
        yes, no = ref_chosen[batch], ref_rejected[batch]
        loss, m = _loss_of(chosen, rejected, yes, no, beta, label_smoothing)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        optimizer.step()
        accuracy = ((m > 0).float() + 0.5 * (m == 0).float()).mean()
        history.append({"loss": loss.item(), "margin": m.mean().item(), "accuracy": accuracy.item()})
        if after_step is not None:
            after_step(step)
    return history


_OWN = "ref_chosen[batch], ref_rejected[batch]"
_CLIP = "torch.nn.utils.clip_grad_norm_(parameters, max_norm)"
_CALL = "        if after_step is not None:\n            after_step(step)\n"

changes("train_dpo", _train_dpo, [
    ("reference_of_other_pairs", "You compare each pair with the reference's numbers of *other* pairs, the first ones. Take those of the "
     "batch: ref_chosen[batch].", _OWN, "ref_chosen[: len(batch)], ref_rejected[: len(batch)]"),
    ("reference_in_sorted_order", "The reference's numbers come sorted, and the policy's in the order of the batch. Use the numbers of the "
     "batch as they come.", _OWN, "ref_chosen[batch.sort().values], ref_rejected[batch.sort().values]"),
    ("reference_not_used", "The reference is missing from your loss and margins.", _OWN, "0 * ref_chosen[batch], 0 * ref_rejected[batch]"),
    ("reference_is_the_policy_now", "You take the *present* policy as the reference. Then every margin is 0: the reference is what was "
     "computed before the training.", _OWN, "chosen.detach(), rejected.detach()"),
    ("reference_pair_exchanged", "The reference's chosen and rejected numbers are exchanged.", _OWN, "ref_rejected[batch], ref_chosen[batch]"),
    ("pairs_exchanged", "You exchange what logps_of gives: the chosen answers come first.", "chosen, rejected = logps_of(batch)",
     "rejected, chosen = logps_of(batch)"),
    ("smoothing_not_handed_on", "label_smoothing is not handed on to the loss.", "beta, label_smoothing)", "beta, 0.0)"),
    ("beta_of_the_paper", "You use β = 0.1 whatever beta says.", "beta, label_smoothing)", "0.1, label_smoothing)"),
    ("gradients_never_cleared", "You never clear the gradients: each update also uses those of all before it, and what was there before your "
     "loop.", "        optimizer.zero_grad()\n", ""),
    ("cleared_behind_the_step", "You clear the gradients after the step only: what was in them before the first update counts in it.",
     "        optimizer.zero_grad()\n", "", "optimizer.step()", "optimizer.step()\n        optimizer.zero_grad()"),
    ("cleared_before_the_step", "You clear the gradients between backward and step, so nothing is learned.",
     _CLIP, "optimizer.zero_grad()"),
    ("norm_not_clipped", "The gradient's norm is not clipped.", _CLIP, "pass"),
    ("norm_of_each_group", "You clip each parameter, or each group, by itself. The norm is that of all of them together.",
     _CLIP, "[torch.nn.utils.clip_grad_norm_([p], max_norm) for p in parameters]"),
    ("numbers_clipped", "You clip each number of the gradient. Clip the *norm*.", "clip_grad_norm_", "clip_grad_value_"),
    ("norm_clipped_to_one", "You clip to 1, whatever max_norm says.", "(parameters, max_norm)", "(parameters, 1.0)"),
    ("rate_not_set", 'The learning rate never reaches the optimizer: write it into group["lr"] of every group.', 'group["lr"] = lr_at(step)',
     "optimizer.lr = lr_at(step)"),
    ("rate_of_one_group", "You set the rate of the first parameter group only.", "optimizer.param_groups:", "optimizer.param_groups[:1]:"),
    ("updates_from_one", "You count the updates from 1. The first is number 0, for lr_at and for after_step.", "enumerate(batches)",
     "enumerate(batches, 1)"),
    ("numbers_after_the_step", "Your numbers are measured after the update, on pairs that were just learned from. They are those from before "
     "it.", "        accuracy =", "        loss, m = _loss_of(*logps_of(batch), yes, no, beta, label_smoothing)\n        accuracy ="),
    ("margin_without_beta", "Your mean margin is that of the log-ratios. A margin has β in it.", "m.mean().item()", "m.mean().item() / beta"),
    ("tie_counts_as_wrong", "A tie counts as wrong in your accuracy. It counts one half: see implicit_rewards.",
     " + 0.5 * (m == 0).float()", ""),
    ("accuracy_by_likelihood", "Your accuracy asks which answer is likelier. It asks which has the larger implicit reward.",
     "(m > 0).float()", "(chosen > rejected).float()"),
    ("tensors_in_the_history", "Your history holds tensors. Plain numbers are asked for: x.item().", '"loss": loss.item()', '"loss": loss.detach()'),
    ("last_update_only", "You return the numbers of one update. A list with those of every update is asked for.", "return history",
     "return history[-1:]"),
    ("after_step_left_out", "You never call after_step.", "if after_step is not None:", "if False:"),
    ("after_step_too_early", "You call after_step before the update. It comes after it.", _CALL, "", "        optimizer.zero_grad()\n",
     "        optimizer.zero_grad()\n        if after_step is not None:\n            after_step(step)\n"),
])  # fmt: skip


# --- Exercise 9: few pairs. Weak answers, each of which misses a bar or more.


def _descended(ref_logps, pairs, loss_of, steps):
    x, yes, no = pairs.T
    moved = torch.zeros_like(ref_logps, requires_grad=True)  # the log-ratios, but for a constant a prompt
    optimizer = torch.optim.Adam([moved], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        (loss_of(moved[x, yes] - moved[x, no]).mean() * len(ref_logps)).backward()
        optimizer.step()
    return ref_logps + moved.detach()


@mistake("policy_from_pairs")
def dpo_to_the_end(ref_logps, pairs, beta):
    """DPO's loss, minimised nearly to the end: what was labelled once is taken for certain."""
    return _descended(ref_logps, pairs, lambda h: -F.logsigmoid(beta * h), 600)


@mistake("policy_from_pairs")
def ipo_alone(ref_logps, pairs, beta):
    """IPO's loss with a good τ: it stops, but treats all pairs alike, however much is known of their answers."""
    return _descended(ref_logps, pairs, lambda h: (h - 2).square(), 300)


@mistake("policy_from_pairs")
def ipo_with_the_price_for_tau(ref_logps, pairs, beta):
    """IPO's loss with τ = 2 β: it stays too near the reference."""
    return _descended(ref_logps, pairs, lambda h: (h - 1 / (4 * beta)).square(), 300)


@mistake("policy_from_pairs")
def labels_smoothed_only(ref_logps, pairs, beta):
    """DPO's loss with smoothed labels: every pair rests at the same margin."""
    return _descended(ref_logps, pairs, lambda h: -0.7 * F.logsigmoid(beta * h) - 0.3 * F.logsigmoid(-beta * h), 300)


@mistake("policy_from_pairs")
def each_prompt_by_itself(ref_logps, pairs, beta):
    """The most probable rewards of each prompt by itself: nothing is learned from other prompts."""
    x, yes, no = pairs.T
    rewards = torch.zeros_like(ref_logps, requires_grad=True)
    optimizer = torch.optim.LBFGS([rewards], max_iter=60, line_search_fn="strong_wolfe")

    def surprise():
        optimizer.zero_grad()
        loss = -F.logsigmoid(rewards[x, yes] - rewards[x, no]).sum() + rewards.square().sum() / 4
        loss.backward()
        return loss

    optimizer.step(surprise)
    return ref_logps + rewards.detach() / beta


@mistake("policy_from_pairs")
def the_reference_itself(ref_logps, pairs, beta):
    """The reference: nothing is risked and nothing gained."""
    return ref_logps.clone()


@mistake("policy_from_pairs")
def chosen_likelier(ref_logps, pairs, beta):
    """Counts of wins, added to the logits: how often an answer was compared, and with whom, is not asked."""
    x, yes, _ = pairs.T
    return ref_logps.index_put((x, yes), torch.ones(len(x)), accumulate=True)


@mistake("policy_from_pairs")
def the_wrong_way_round(ref_logps, pairs, beta):
    """The rejected answers are taken for the chosen ones."""
    return _descended(ref_logps, pairs.flip(1).roll(1, 1), lambda h: (h - 2).square(), 200)
