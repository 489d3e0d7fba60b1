"""Wrong answers to chapter 01's schedule and training loop: tables of changes in right answers. Each hint says what was done,
why it is wrong, and where to look."""

import math

import torch

from autograder.judging.catalogue import changes

# --- Exercise 8: warm-up and cosine decay


def learning_rate(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    if step < warmup_steps:
        return max_lr * step / warmup_steps
    done = min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))
    share = 0.5 * (1 + math.cos(math.pi * done))
    return min_lr + (max_lr - min_lr) * share


changes("learning_rate", learning_rate, [
    ("warm_up_from_the_first_step", "Your warm-up is one step ahead: it begins at max_lr / warmup_steps. Here step 0 "
     "has the rate 0, and max_lr is reached *at* step warmup_steps.",
     "return max_lr * step / warmup_steps", "return max_lr * (step + 1) / warmup_steps"),
    ("warm_up_one_step_too_long", "Your warm-up takes one step too many: at step warmup_steps it should be at "
     "max_lr. Divide by warmup_steps.",
     "step < warmup_steps", "step <= warmup_steps and warmup_steps > 0",
     "* step / warmup_steps", "* step / (warmup_steps + 1)"),
    ("no_warm_up_at_all", "There is no warm-up: the rate is max_lr from the start. Before warmup_steps it rises on a "
     "straight line from 0.",
     "return max_lr * step / warmup_steps", "return max_lr"),
    ("warm_up_from_min_lr", "Your warm-up begins at min_lr. It begins at 0; min_lr is where the decay ends.",
     "return max_lr * step / warmup_steps", "return min_lr + (max_lr - min_lr) * step / warmup_steps"),
    ("zero_warm_up_divides", "With warmup_steps = 0 you divide by zero. Without warm-up no step lies before its end: "
     "compare with `<` before you divide.",
     "step < warmup_steps", "step / warmup_steps < 1"),
    ("cosine_from_step_zero", "Your cosine runs from step 0, so the rate jumps down where the warm-up ends. It "
     "begins at warmup_steps: subtract that from the step *and* from the length.",
     "(step - warmup_steps) / (total_steps - warmup_steps)", "step / total_steps"),
    ("cosine_over_the_whole_length", "Your cosine begins at the right place but is stretched over total_steps, so it "
     "ends too late. It has total_steps - warmup_steps steps.",
     "(total_steps - warmup_steps)", "total_steps"),
    ("rises_after_the_end", "Beyond total_steps your rate rises again, because the cosine does. Stop it there: the "
     "share of the decay that is done is at most 1.",
     "min(1.0, (step - warmup_steps) / (total_steps - warmup_steps))",
     "(step - warmup_steps) / (total_steps - warmup_steps)"),
    ("zero_after_the_end", "Beyond total_steps your rate is 0. It stays at min_lr.",
     "    if step < warmup_steps:", "    if step > total_steps:\n        return 0.0\n    if step < warmup_steps:"),
    ("linear_decay", "Your decay is a straight line. Half a cosine begins and ends flat: (1 + cos(pi * done)) / 2 in "
     "place of 1 - done.",
     "0.5 * (1 + math.cos(math.pi * done))", "1 - done"),
    ("quarter_cosine", "You use a quarter of a cosine, cos(pi/2 * done), which ends with a steep fall. Half a cosine "
     "is asked for: from +1 to -1, moved to between 1 and 0.",
     "0.5 * (1 + math.cos(math.pi * done))", "math.cos(math.pi / 2 * done)"),
    ("cosine_not_halved", "1 + cos runs from 2 to 0, so your rate begins at twice max_lr. Halve it.",
     "0.5 * (1", "(1"),
    ("min_lr_ignored", "Your rate decays to 0 and never looks at min_lr. The cosine runs between max_lr and min_lr.",
     "min_lr + (max_lr - min_lr) * share", "max_lr * share"),
    ("min_lr_added", "You added min_lr on top of a cosine that starts at max_lr, so the rate exceeds max_lr. The "
     "cosine covers the distance max_lr - min_lr.",
     "min_lr + (max_lr - min_lr) * share", "min_lr + max_lr * share"),
    ("min_lr_as_a_floor", "You let the cosine run to 0 and cut it off at min_lr, so the rate is flat long before the "
     "end. It should reach min_lr exactly at total_steps.",
     "min_lr + (max_lr - min_lr) * share", "max(min_lr, max_lr * share)"),
    ("pi_missing", "The angle of your cosine runs from 0 to 1, not to pi, so the rate falls by a quarter and no "
     "more. Half a cosine ends at pi.",
     "math.pi * done", "done"),
    ("ends_one_step_early", "Your cosine reaches min_lr one step too early, at total_steps - 1. It ends at step "
     "total_steps.",
     "(total_steps - warmup_steps)", "(total_steps - 1 - warmup_steps)"),
    ("whole_cosine", "You use a whole cosine: the rate falls and rises again to max_lr. Half of one is asked for: "
     "the angle ends at pi.",
     "math.pi * done", "2 * math.pi * done"),
    ("one_step_ahead", "Your whole schedule is one step ahead: at step 0 it gives the rate of step 1. Count the "
     "updates from 0.",
     "    if step <", "    step += 1\n    if step <"),
    ("cosine_the_wrong_way", "Your cosine runs from min_lr *up* to max_lr: 1 - cos rises. 1 + cos falls.",
     "1 + math.cos", "1 - math.cos"),
    ("one_step_of_warm_up_at_least", "Without warm-up you still warm up for one step, so the rate at step 0 is 0. It "
     "begins at max_lr then.",
     "    if step <", "    warmup_steps = max(1, warmup_steps)\n    if step <"),
    ("highest_after_the_end", "Beyond total_steps your rate is max_lr again. It stays at min_lr.",
     "    if step < warmup_steps:", "    if step > total_steps:\n        return max_lr\n    if step < warmup_steps:"),
])


# --- Exercise 9: the training loop


def train(model, batches, optimizer, lr_at, compute_loss, max_norm=1.0, after_step=None):
    model.train()
    losses = []
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.zero_grad()
        loss = compute_loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        losses.append(loss.item())
        if after_step is not None:
            after_step(step, losses[-1])
    return losses


changes("train", train, [
    ("gradients_never_cleared", "You never clear the gradients. `backward` adds to what is there, so each step also "
     "uses the gradients of all batches before it. Call zero_grad once a step.",
     "        optimizer.zero_grad()\n", ""),
    ("steps_with_empty_gradients", "The optimizer steps with empty gradients, so nothing is learned: either "
     "zero_grad comes between backward and step, or step comes before backward. The order is zero_grad, backward, "
     "clip, step.",
     "        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)\n", "        optimizer.zero_grad()\n"),
    ("steps_with_the_last_batch", "You step before you compute the gradients of this batch, so each update uses "
     "those of the batch before. backward comes before step.",
     "        optimizer.zero_grad()\n", "",
     "        loss.backward()\n        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)\n        optimizer.step()\n",
     "        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)\n        optimizer.step()\n        optimizer.zero_grad()\n        loss.backward()\n"),
    ("learning_rate_never_set", "The learning rate of lr_at never reaches the optimizer. Setting `optimizer.lr` does "
     "nothing; write it into `group[\"lr\"]` of every group in `optimizer.param_groups`.",
     "group[\"lr\"] =", "optimizer.lr ="),
    ("first_group_only", "You set the learning rate of the first parameter group only. An optimizer may have several "
     "(say, with and without weight decay): loop over `optimizer.param_groups`.",
     "optimizer.param_groups", "optimizer.param_groups[:1]"),
    ("learning_rate_set_after_the_step", "You set the learning rate after the optimizer's step: the first update "
     "uses whatever it was before, every other one the rate of the step before it. Set it before `optimizer.step()`.",
     "        for group in optimizer.param_groups:\n            group[\"lr\"] = lr_at(step)\n", "",
     "        optimizer.step()\n",
     "        optimizer.step()\n        for group in optimizer.param_groups:\n            group[\"lr\"] = lr_at(step)\n"),
    ("steps_counted_from_one", "You count the steps from 1. The first update is step 0, for lr_at and for "
     "after_step.",
     "enumerate(batches)", "enumerate(batches, 1)"),
    ("rate_of_the_next_step", "Your learning rate is one step ahead: the first update should use lr_at(0).",
     "lr_at(step)", "lr_at(step + 1)"),
    ("gradients_not_clipped", "The gradients reach the optimizer unclipped. Clipping works on the gradients of this "
     "batch and before they are used: after backward, before step. Anywhere else it changes nothing.",
     "        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)\n", ""),
    ("clipped_by_value", "You clipped each number of the gradient by itself, which changes its direction. Clip the "
     "*norm* of all gradients together: `clip_grad_norm_`.",
     "clip_grad_norm_", "clip_grad_value_"),
    ("clipped_parameter_by_parameter", "You clipped the gradient of each parameter by its own norm. One norm over "
     "all parameters together keeps the direction of the step: pass them all at once.",
     "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)",
     "for parameter in model.parameters():\n            torch.nn.utils.clip_grad_norm_(parameter, max_norm)"),
    ("always_scaled_to_max_norm", "You scale every gradient to the norm max_norm, small ones up as well. Clipping "
     "only shortens: a gradient below max_norm stays as it is.",
     "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)",
     "norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()\n        for parameter in model.parameters():\n            parameter.grad *= max_norm / norm"),
    ("max_norm_fixed_at_one", "You clip to 1, whatever max_norm says. Use the argument.",
     "(model.parameters(), max_norm)", "(model.parameters(), 1.0)"),
    ("losses_with_their_graph", "You kept the loss *tensors*. Each holds the graph of its whole computation, so "
     "memory grows with every step. Keep plain numbers: `loss.item()`.",
     "loss.item()", "loss"),
    ("evaluation_mode", "The model is in evaluation mode while it trains, so dropout is off. Call `model.train()` "
     "before the loop, whatever mode the model comes in.",
     "model.train()", "model.eval()"),
    ("loss_after_the_update", "You measured the loss a second time, after the update: on a batch the model has just "
     "been trained on. Keep the loss that you computed the gradient from; it also saves the second forward pass.",
     "loss.item()", "compute_loss(model, batch).item()"),
    ("after_step_never_called", "You never call after_step. When it is given, call `after_step(step, loss)` at the "
     "end of every step.",
     "after_step(step, losses[-1])", "pass"),
    ("after_step_called_before_the_update", "You call after_step before the optimizer has stepped. It comes after "
     "the update, so that what it measures (a sample of text, a held-out loss) belongs to the model of this step.",
     "        optimizer.step()\n        losses.append(loss.item())\n        if after_step is not None:\n            after_step(step, losses[-1])\n",
     "        losses.append(loss.item())\n        if after_step is not None:\n            after_step(step, losses[-1])\n        optimizer.step()\n"),
    ("only_the_last_loss", "You returned one loss. The curve needs the loss of every step: collect them in a list.",
     "return losses", "return losses[-1]"),
    ("length_or_index_of_the_batches", "You ask for the length of `batches`, or index it. Batches may come from a "
     "generator, which has neither, since it makes each as it is asked: loop over them with enumerate.",
     "enumerate(batches)", "zip(range(len(batches)), batches)"),
    ("losses_as_tensors", "You kept the loss *tensors*, cut from their graphs. Plain numbers are asked for, as in "
     "`loss.item()`: a tensor stays on its device and in its memory.",
     "loss.item()", "loss.detach()"),
    ("batches_taken_out", "You take the batches out of the caller's list (`pop`), so a second epoch finds it empty; "
     "and a generator has no `pop`. Loop over them.",
     "enumerate(batches)", "((i, batches.pop(0)) for i in range(len(batches)))"),
    ("after_step_once", "You call after_step once, when all is done. It is called at the end of *every* step: move "
     "it into the loop.",
     "        if after_step is not None:\n            after_step(step, losses[-1])\n",
     "    if after_step is not None:\n        after_step(step, losses[-1])\n"),
    ("mean_loss_so_far", "You keep the mean of the losses so far. Keep the loss of each step by itself.",
     "losses.append(loss.item())", "losses.append((sum(losses) + loss.item()) / (len(losses) + 1))"),
])
