"""Wrong answers to chapter 05's training loop and its open task. Each text is the hint the student reads (in an open task none
is shown): what was done, why it is wrong, where to look."""

import torch

from autograder.judging.catalogue import changes, mistake

# --- Exercise 8: the training loop


def _rewards(scores, logps, ref_logps, mask, beta):
    rewards = -beta * (logps - ref_logps) * mask
    return rewards.scatter_add(1, mask.sum(1, keepdim=True) - 1, scores[:, None])


def _gae(rewards, values, mask, gamma, lam):
    advantages, carried, v_next = torch.zeros_like(rewards), 0.0, 0.0
    for t in reversed(range(rewards.shape[1])):
        real = mask[:, t]
        carried = (rewards[:, t] + gamma * v_next - values[:, t] + gamma * lam * carried) * real
        advantages[:, t], v_next = carried, values[:, t] * real
    return advantages


def _whiten(values, mask):
    values, n = values.masked_fill(mask == 0, 0.0), mask.sum()
    mean = values.sum() / n
    variance = ((values - mean).square() * mask).sum() / n
    return ((values - mean) / (variance + 1e-8).sqrt()).masked_fill(mask == 0, 0.0)


def _policy_loss(logps, old_logps, advantages, mask, clip_range):
    ratio = ((logps - old_logps) * mask).exp()
    objective = torch.minimum(ratio * advantages, ratio.clamp(1 - clip_range, 1 + clip_range) * advantages)
    return -(objective * mask).sum() / mask.sum()


def _value_loss(values, old_values, returns, mask, clip_range):
    clipped = old_values + (values - old_values).clamp(-clip_range, clip_range)
    return 0.5 * (torch.maximum((values - returns).square(), (clipped - returns).square()) * mask).sum() / mask.sum()


def _stopped(logps, old_logps, advantages, mask, clip_range):
    moved = (logps - old_logps).detach().exp() - 1
    return ((moved * advantages.sign() > clip_range) * mask).sum().item() / mask.sum().item()


def _ppo_update(
    evaluate, batch, minibatches, optimizer, *, beta, gamma, lam, clip_range, value_clip, value_coef, epochs, max_norm=1.0
):
    losses, shares, order = [], [], [rows for _ in range(epochs) for rows in minibatches]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    rewards = _rewards(batch["scores"], batch["logps"], batch["ref_logps"], batch["mask"], beta)
    raw = _gae(rewards, batch["values"], batch["mask"], gamma, lam)
    advantages = _whiten(raw, batch["mask"])
    known = batch | {"advantages": advantages, "returns": raw + batch["values"]}
    for rows in order:
        logps, values = evaluate(rows)
        old = {name: tensor[rows] for name, tensor in known.items()}
        shares.append(_stopped(logps, old["logps"], old["advantages"], old["mask"], clip_range))
        policy = _policy_loss(logps, old["logps"], old["advantages"], old["mask"], clip_range)
        value = _value_loss(values, old["values"], old["returns"], old["mask"], value_clip)
        loss = policy + value_coef * value
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, max_norm)
        optimizer.step()
        losses.append(loss.item())
    return losses, shares


_CLIP = "torch.nn.utils.clip_grad_norm_(parameters, max_norm)"
_POLICY = 'policy = _policy_loss(logps, old["logps"], old["advantages"], old["mask"], clip_range)'
_SHARE = '_stopped(logps, old["logps"], old["advantages"], old["mask"], clip_range)'
_RAW = 'raw = _gae(rewards, batch["values"], batch["mask"], gamma, lam)'

changes("ppo_update", _ppo_update, [
    ("old_logps_taken_now", "You take the *present* log-probabilities as the old ones at every step. The ratio is then always 1 and "
     'nothing is ever clipped: the old ones are those of the rollout, batch["logps"].',
     _POLICY, 'policy = _policy_loss(logps, logps.detach(), old["advantages"], old["mask"], clip_range)',
     _SHARE, '_stopped(logps, logps, old["advantages"], old["mask"], clip_range)'),
    ("old_values_taken_now", "No value is ever clipped: the second error is missing, or the *present* values are taken for the old ones. "
     'The old ones are those of the rollout, batch["values"].', 'old["values"]', "values.detach()"),
    ("first_rows_of_the_batch", "You compare the minibatch with the *first* rows of the batch. Old log-probabilities, advantages and "
     "returns must be those of the same answers: index them with the row numbers.", "tensor[rows]", "tensor[: len(rows)]"),
    ("rows_sorted", "The rows of the batch come sorted, those of evaluate in the order of the minibatch: use the same row numbers, in "
     "the same order, for both.", "tensor[rows]", "tensor[rows.sort().values]"),
    ("no_value_loss", "The value model's loss is missing, so it never learns.", "value_coef * value\n", "0 * value\n"),
    ("no_policy_loss", "The policy's loss is missing: only the value model learns.", "loss = policy", "loss = 0 * policy"),
    ("value_coef_ignored", "The value model's loss is added as it is. value_coef says how much it weighs.",
     "value_coef * value\n", "value\n"),
    ("value_coef_halved", "The value model's loss weighs half as much as it should: the factor 1/2 is already in value_loss.",
     "value_coef * value\n", "value_coef * value / 2\n"),
    ("value_coef_on_the_policy", "You weigh the *policy's* loss with value_coef. It is the value model's that is weighed.",
     "policy + value_coef * value\n", "value_coef * policy + value\n"),
    ("value_loss_subtracted", "You subtract the value model's loss, and so make it worse with every step. Both losses are minimised: "
     "add it.", "policy + value_coef", "policy - value_coef"),
    ("one_clip_for_both", "You clip the values with the policy's clip_range. Their range is value_clip.",
     'old["mask"], value_clip)', 'old["mask"], clip_range)'),
    ("one_epoch", "You go through the minibatches once, whatever `epochs` says.", "for _ in range(epochs) for rows", "for rows"),
    ("epochs_of_each_minibatch", "You take all steps on the first minibatch before you come to the second. An epoch goes through the "
     "whole list; then the next one begins.", "for _ in range(epochs) for rows in minibatches", "for rows in minibatches for _ in range(epochs)"),
    ("no_kl_in_the_rewards", "The KL term is missing from your rewards: they are made of the scores alone. See token_rewards.",
     'batch["logps"], batch["ref_logps"]', 'batch["ref_logps"], batch["ref_logps"]'),
    ("kl_the_wrong_way", "You hand logps and ref_logps to token_rewards in the wrong order, so the policy is paid for leaving the "
     "reference.", 'batch["logps"], batch["ref_logps"]', 'batch["ref_logps"], batch["logps"]'),
    ("advantages_not_whitened", "The advantages that the policy learns from are not whitened.",
     '_whiten(raw, batch["mask"])', "raw"),
    ("returns_of_whitened_advantages", "Your returns are made of the *whitened* advantages. The value model learns in the rewards' own "
     "scale: see advantages_and_returns.", "raw + batch", "advantages + batch"),
    ("returns_not_used", "The value model learns from something else than the returns.", '"returns": raw + batch["values"]', '"returns": raw'),
    ("gamma_and_lam_swapped_in_the_loop", "You hand gamma and lam on in the wrong order.", "gamma, lam)\n", "lam, gamma)\n"),
    ("gradients_pile_up", "The gradients are not set back to zero for each step, so each step repeats all earlier ones: "
     "optimizer.zero_grad() in the loop, before backward.", "        optimizer.zero_grad()\n", ""),
    ("tensors_kept", "Your list holds tensors. Plain numbers are asked for: loss.item() takes the number out.", "loss.item()", "loss.detach()"),
    ("zeroed_after_backward", "You set the gradients to zero after backward and before the step: nothing is learned. It belongs before "
     "backward.", "        optimizer.zero_grad()\n", "", _CLIP, "optimizer.zero_grad()"),
    ("never_clipped", "The gradient's norm is not clipped: torch.nn.utils.clip_grad_norm_ between backward and step.", _CLIP, "pass"),
    ("group_by_group", "You clip the gradient in parts, one parameter or one group at a time. The norm of *all* parameters together is clipped to max_norm.",
     _CLIP, '[torch.nn.utils.clip_grad_norm_(group["params"], max_norm) for group in optimizer.param_groups]'),
    ("first_group_alone", "You clip the gradient of the first parameter group only. The optimizer holds the value model's parameters "
     "too: go through all of optimizer.param_groups.", _CLIP,
     'torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], max_norm)'),
    ("clipped_element_by_element", "You clip every element of the gradient (clip_grad_value_). That bends its direction: its norm is "
     "to be clipped.", "clip_grad_norm_", "clip_grad_value_"),
    ("always_norm_one", "You clip the gradient to 1 whatever max_norm says.", "(parameters, max_norm)", "(parameters, 1.0)"),
    ("advantages_whitened_again", "You whiten the advantages of every minibatch by themselves. They belong to the whole batch: done "
     "over a few rows, good answers among good ones would be blamed.",
     _POLICY, 'policy = _policy_loss(logps, old["logps"], _whiten(old["advantages"], old["mask"]), old["mask"], clip_range)'),
    ("fractions_of_all_that_left", "The clip fractions are not those of clip_fraction. They are the share of tokens whose gradient the "
     "clip removes, before the step.", _SHARE,
     '((((logps - old["logps"]).exp() - 1).abs() > clip_range) * old["mask"]).sum().item() / old["mask"].sum().item()'),
    ("only_the_losses", "Two lists are asked for, the losses and the clip fractions; one of them is something else.",
     "return losses, shares", "return losses, losses"),
    ("lists_swapped", "The two lists come in the wrong order: first the losses, then the clip fractions.",
     "return losses, shares", "return shares, losses"),
])  # fmt: skip


def _known(batch, beta, gamma, lam):
    rewards = _rewards(batch["scores"], batch["logps"], batch["ref_logps"], batch["mask"], beta)
    raw = _gae(rewards, batch["values"], batch["mask"], gamma, lam)
    return batch | {"advantages": _whiten(raw, batch["mask"]), "returns": raw + batch["values"]}


def _parts(evaluate, batch, rows, clip_range, value_clip):
    """The policy's loss, the value model's, and the clip fraction."""
    (logps, values), old = evaluate(rows), {name: tensor[rows] for name, tensor in batch.items()}
    given = logps, old["logps"], old["advantages"], old["mask"], clip_range
    return _policy_loss(*given), _value_loss(values, old["values"], old["returns"], old["mask"], value_clip), _stopped(*given)


@mistake("ppo_update")
def one_step_for_all(
    evaluate, batch, minibatches, optimizer, *, beta, gamma, lam, clip_range, value_clip, value_coef, epochs, max_norm=1.0
):
    """You add up the gradients of several minibatches and make one step. Each minibatch is a step of its own."""
    batch, losses, shares = _known(batch, beta, gamma, lam), [], []
    for _ in range(epochs):
        optimizer.zero_grad()
        for rows in minibatches:
            policy, value, share = _parts(evaluate, batch, rows, clip_range, value_clip)
            loss = policy + value_coef * value
            loss.backward()
            losses.append(loss.item())
            shares.append(share)
        torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], max_norm)
        optimizer.step()
    return losses, shares


@mistake("ppo_update")
def numbers_of_after_the_step(evaluate, batch, minibatches, optimizer, *, epochs, **settings):
    """You report losses and clip fractions from after the step. They are those of before it: of what the step minimised."""
    known = _known(batch, settings["beta"], settings["gamma"], settings["lam"])
    losses, shares = [], []
    for rows in list(minibatches) * epochs:
        _ppo_update(evaluate, batch, [rows], optimizer, epochs=1, **settings)
        with torch.no_grad():
            policy, value, share = _parts(evaluate, known, rows, settings["clip_range"], settings["value_clip"])
        losses.append((policy + settings["value_coef"] * value).item())
        shares.append(share)
    return losses, shares


@mistake("ppo_update")
def policy_loss_reported(evaluate, batch, minibatches, optimizer, *, epochs, **settings):
    """You return the policy's part of the loss only. The loss of a step is all that was minimised."""
    known = _known(batch, settings["beta"], settings["gamma"], settings["lam"])
    losses, shares = [], []
    for rows in list(minibatches) * epochs:
        with torch.no_grad():
            policy, _, share = _parts(evaluate, known, rows, settings["clip_range"], settings["value_clip"])
        losses.append(policy.item())
        shares.append(share)
        _ppo_update(evaluate, batch, [rows], optimizer, epochs=1, **settings)
    return losses, shares


@mistake("ppo_update")
def advantages_of_the_present_values(evaluate, batch, minibatches, optimizer, *, epochs, **settings):
    """You compute the advantages anew at each step, from the present values. They belong to the rollout, and stay what they are."""
    losses, shares = [], []
    for rows in list(minibatches) * epochs:
        with torch.no_grad():
            _, values = evaluate(torch.arange(len(batch["scores"])))
        now = _known(batch | {"values": values}, settings["beta"], settings["gamma"], settings["lam"])
        policy, value, share = _parts(evaluate, now | {"values": batch["values"]}, rows, settings["clip_range"], settings["value_clip"])
        loss = policy + settings["value_coef"] * value
        optimizer.zero_grad()
        loss.backward()
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, settings.get("max_norm", 1.0))
        optimizer.step()
        losses.append(loss.item())
        shares.append(share)
    return losses, shares


# --- Exercise 9: a reward one cannot trust (weak answers: each must miss a bar)


def _within(ref_logps, rewards, max_kl):
    low, high = 1e-4, 1e4
    for _ in range(60):
        beta = (low * high) ** 0.5
        logps = (ref_logps + rewards / beta).log_softmax(-1)
        low, high = (beta, high) if (logps.exp() * (logps - ref_logps)).sum(-1).mean() > max_kl else (low, beta)
    return ref_logps + rewards / high


@mistake("careful_policy")
def the_mean_score_is_believed(ref_logps, scores, max_kl):
    """The mean score, with the best beta."""
    return _within(ref_logps, scores.mean(0), max_kl)


@mistake("careful_policy")
def the_first_model_alone(ref_logps, scores, max_kl):
    """One of the models, with the best beta."""
    return _within(ref_logps, scores[0], max_kl)


@mistake("careful_policy")
def the_worst_of_the_scores(ref_logps, scores, max_kl):
    """The lowest score of each answer."""
    return _within(ref_logps, scores.min(0).values, max_kl)


@mistake("careful_policy")
def shrunk_by_its_own_four_numbers(ref_logps, scores, max_kl):
    """Shrunk towards the question's mean by the noise of the answer's own four scores."""
    mean, noise = scores.mean(0), scores.var(0) / len(scores)
    level = mean.mean(1, keepdim=True)
    return _within(ref_logps, level + (mean - level) / (1 + noise), max_kl)


@mistake("careful_policy")
def the_budget_is_overrun(ref_logps, scores, max_kl):
    """A good guess of the utilities, and twice the KL that is allowed."""
    return shrunk_by_its_own_four_numbers(ref_logps, scores, 2 * max_kl)


@mistake("careful_policy")
def the_reference_stays(ref_logps, scores, max_kl):
    """Nothing is learned."""
    return ref_logps.clone()


@mistake("careful_policy")
def any_logits(ref_logps, scores, max_kl):
    """Logits that are no numbers."""
    return ref_logps * float("nan")
