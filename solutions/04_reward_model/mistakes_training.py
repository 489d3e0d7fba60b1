"""Wrong answers to chapter 04's training loop, and weak ones to its open task. Each row of a table is one change in the right
answer above it; its second entry is the hint the student reads."""

import math

import torch
import torch.nn.functional as F

from autograder.judging.catalogue import changes, mistake

# --- Exercise 6: the training loop


def _trained(model, batches, optimizer, lr_at, max_norm=1.0, after_step=None):
    losses = []
    model.train()
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.zero_grad()
        chosen, rejected = model(**batch).chunk(2)
        loss = -F.logsigmoid(chosen - rejected).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        losses.append(loss.item())
        if after_step is not None:
            after_step(step, losses[-1])
    return losses


changes("train_reward_model", _trained, [
    ("chosen_and_rejected_swapped", "You take the first half for the rejected answers. The chosen ones come first; so the model "
     "learns to prefer what people did not choose.", "chosen, rejected = model", "rejected, chosen = model"),
    ("every_other_row", "You pair row 0 with row 1, row 2 with row 3. The batch has all chosen answers first and then all "
     "rejected ones: the partner of row i is row i + pairs.", "chosen, rejected = model(**batch).chunk(2)",
     "rewards = model(**batch)\n        chosen, rejected = rewards[0::2], rewards[1::2]"),
    ("all_against_all", "You compare every chosen answer with every rejected one. Only the two of one pair were compared by "
     "anybody.", "chosen - rejected", "chosen[:, None] - rejected"),
    ("summed_over_the_pairs", "You sum the loss over the pairs, so a step grows with the batch. Take the mean.", ".mean()",
     ".sum()"),
    ("half_of_it", "Your loss is half of what it should be: the number of rows is twice the number of pairs. Take the mean over "
     "the pairs.", "loss = -F.logsigmoid(chosen - rejected).mean()", "loss = -F.logsigmoid(chosen - rejected).sum() / (2 * len(chosen))"),
    ("gradients_kept_from_before", "You never clear the gradients. backward adds to what is there, so each update also uses the "
     "gradients of all before it. Call zero_grad once an update.", "        optimizer.zero_grad()\n", ""),
    ("cleared_after_the_step", "You clear the gradients after the step only: what was left in them before your first update "
     "counts in it. Clear them before the backward pass.", "        optimizer.zero_grad()\n", "", "optimizer.step()",
     "optimizer.step()\n        optimizer.zero_grad()"),
    ("empty_gradients_used", "The optimizer steps with empty gradients, so nothing is learned: zero_grad stands between backward "
     "and step. The order is zero_grad, backward, clip, step.",
     "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)", "optimizer.zero_grad()"),
    ("not_clipped", "The gradient reaches the optimizer unclipped. Clip after backward and before the step: "
     "anywhere else it changes nothing.",
     "        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)\n", ""),
    ("clipped_number_by_number", "You clip each number of the gradient by itself, which changes its direction. Clip the *norm* "
     "of the whole gradient.", "clip_grad_norm_", "clip_grad_value_"),
    ("clipped_to_one", "You clip to 1, whatever max_norm says. Use the argument.", "parameters(), max_norm", "parameters(), 1.0"),
    ("each_parameter_clipped", "You clip each parameter's gradient by itself. The norm is that of all of them together: give "
     "clip_grad_norm_ all parameters at once.", "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)",
     "[torch.nn.utils.clip_grad_norm_([p], max_norm) for p in model.parameters()]"),
    ("rate_never_set", "The learning rate of lr_at never reaches the optimizer. Setting `optimizer.lr` does nothing; write it "
     'into `group["lr"]` of every group in `optimizer.param_groups`.', 'group["lr"] = lr_at(step)',
     "optimizer.lr = lr_at(step)"),
    ("rate_of_the_first_group", "You set the learning rate of the first parameter group only. Loop over all of "
     "`optimizer.param_groups`.", "optimizer.param_groups:", "optimizer.param_groups[:1]:"),
    ("rate_of_the_next_update", "Your learning rate is one update ahead: the first one works with lr_at(0).", "lr_at(step)",
     "lr_at(step + 1)"),
    ("updates_counted_from_one", "You count the updates from 1. The first is number 0, for lr_at and for after_step.",
     "enumerate(batches)", "enumerate(batches, 1)"),
    ("model_in_evaluation_mode", "The model is in evaluation mode while it trains, so dropout is off (from_pretrained hands it over "
     "like that). Call `model.train()` before the loop, whatever mode it comes in.", "model.train()", "model.eval()"),
    ("losses_after_the_update", "You measure the loss again after the update, on pairs that the model has just learned from. Keep "
     "the loss from which you computed the gradient.", "losses.append(loss.item())",
     "chosen, rejected = model(**batch).chunk(2)\n        losses.append(-F.logsigmoid(chosen - rejected).mean().item())"),
    ("losses_that_hold_their_graph", "You kept the loss *tensors*. Each holds the graph of its whole computation. Keep plain "
     "numbers: `loss.item()`.", "loss.item()", "loss"),
    ("losses_kept_as_tensors", "Your list holds tensors. Keep plain numbers, loss.item(): they can be printed, averaged and saved, "
     "and hold no memory of a GPU.", "loss.item()", "loss.detach()"),
    ("one_loss_for_all", "You returned one loss. The loss of every update is asked for, in a list.", "return losses",
     "return losses[-1]"),
    ("after_step_never_called", "You never call after_step. When it is given, call `after_step(step, loss)` at the end of every "
     "update.", "if after_step is not None:", "if False:"),
    ("after_step_before_the_step", "You call after_step before the optimizer has stepped. It comes after the update, so that what "
     "it measures belongs to the new weights.", "after_step(step, losses[-1])", "pass", "optimizer.step()",
     "if after_step is not None:\n            after_step(step, loss.item())\n        optimizer.step()"),
    ("only_ids_and_mask", "You give the model input_ids and attention_mask and leave out what else is in the batch. model(**batch) "
     "hands on all of it.", "model(**batch)", 'model(batch["input_ids"], batch["attention_mask"])'),
    ("mask_forgotten", "You leave out the attention mask, so the model reads the padding. model(**batch) hands on all that is in "
     "the batch.", "model(**batch)", 'model(**batch | {"attention_mask": torch.ones_like(batch["attention_mask"])})'),
    ("ahead_is_enough", "Your loss is a hinge, max(0, 1 − d). It stops pulling once a pair is one point apart; Bradley and Terry's "
     "loss is -logsigmoid of the difference.", "-F.logsigmoid(chosen - rejected)", "F.relu(1 - (chosen - rejected))"),
])  # fmt: skip


# --- Exercise 10: few comparisons, careless annotators. Weak answers, each of which misses a bar or more.


def _fitted(d, strength: float, weights=None):
    prices, weights = torch.zeros(d.shape[1], dtype=d.dtype), torch.ones(len(d), dtype=d.dtype) if weights is None else weights
    for _ in range(30):
        p = torch.sigmoid(d @ prices)
        curvature = (d * (weights * p * (1 - p))[:, None]).T @ d + (strength + 1e-6) * torch.eye(len(prices), dtype=d.dtype)
        step = torch.linalg.solve(curvature, d.T @ (weights * (1 - p)) - strength * prices)
        prices = prices + step * min(1.0, 5 / float(step.norm()))
    return prices


@mistake("scores_from_few")
def greatest_likelihood_alone(features, pairs, annotators, heldout):
    """You maximise the likelihood of the choices. With few choices the prices come out too large; you know where they come from."""
    return heldout @ _fitted(features[pairs[:, 0]] - features[pairs[:, 1]], 0.0)


@mistake("scores_from_few")
def prior_but_all_are_careful(features, pairs, annotators, heldout):
    """You use where the prices come from, and take every annotator for a careful one. Half of them toss coins."""
    return heldout @ _fitted(features[pairs[:, 0]] - features[pairs[:, 1]], 4.0)


@mistake("scores_from_few")
def shrunk_a_little_more(features, pairs, annotators, heldout):
    """You shrink the prices more, as the coins ask for. To find out who tosses them says more."""
    return heldout @ _fitted(features[pairs[:, 0]] - features[pairs[:, 1]], 10.0)


@mistake("scores_from_few")
def no_opinion(features, pairs, annotators, heldout):
    """All scores are equal: that says nothing about anybody."""
    return torch.zeros(len(heldout))


@mistake("scores_from_few")
def turned_round(features, pairs, annotators, heldout):
    """Your scores have the wrong sign: the first column of pairs is the chosen answer."""
    return -heldout @ _fitted(features[pairs[:, 0]] - features[pairs[:, 1]], 4.0)


@mistake("scores_from_few")
def order_without_scale(features, pairs, annotators, heldout):
    """Your scores have an order and no scale: ranks, or places. How far apart two answers are says how sure one may be."""
    return (heldout @ _fitted(features[pairs[:, 0]] - features[pairs[:, 1]], 4.0)).argsort().argsort().double()


@mistake("scores_from_few")
def wins_of_the_features(features, pairs, annotators, heldout):
    """You add up the differences of the chosen and the rejected answers, and never ask what was already explained."""
    d = features[pairs[:, 0]] - features[pairs[:, 1]]
    return heldout @ d.mean(0) * math.sqrt(2)
