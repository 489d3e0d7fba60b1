"""Wrong answers to chapter 02's training loop. Each row of a table is one change in the right answer above
it; its second entry is the hint the student reads: what was done, why it is wrong, where to look."""

import torch
import torch.nn.functional as F

from autograder.judging.catalogue import changes

# --- Exercise 7: the training loop


def _summed(logits, labels):
    """-log p summed over the supervised tokens."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")


def _tokens(batch):
    return int((batch["labels"][:, 1:] != -100).sum())


def fine_tuned(model, updates, optimizer, lr_at, max_norm=1.0, after_step=None):
    losses = []
    model.train()
    for step, batches in enumerate(updates):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.zero_grad()
        tokens = sum(_tokens(batch) for batch in batches)
        shares = []
        for batch in batches:
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            loss = _summed(logits, batch["labels"]) / tokens
            loss.backward()
            shares.append(loss.item())
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        losses.append(sum(shares))
        if after_step is not None:
            after_step(step, losses[-1])
    return losses


changes("train_sft", fine_tuned, [
    ("mean_of_the_batches_means",
     "You averaged each batch, then the batches, so a token of a batch with few answers weighs more than one of a "
     "batch with many. Count the supervised tokens of the whole update first, and divide each batch's sum by that "
     "number.",
     "/ tokens", "/ max(1, _tokens(batch)) / len(batches)"),
    ("means_added_up",
     "You added up the means of the batches, so the loss and the gradient grow with the number of batches. Count the "
     "supervised tokens of the whole update first, and divide each batch's sum by that number.",
     "/ tokens", "/ max(1, _tokens(batch))"),
    ("divided_twice",
     "You divided by the tokens of the whole update and then by the number of batches as well. The first division is "
     "all: the shares of the batches add up to the mean.",
     "/ tokens", "/ tokens / len(batches)"),
    ("sums_not_divided",
     "You never divided by the number of supervised tokens, so the step grows with the size of the update. Divide by "
     "their number in all batches of the update together.",
     " / tokens", ""),
    ("tokens_of_the_first_batch",
     "You divided by the number of tokens of the update's first batch. The number has to be that of all its batches "
     "together, and is known before the first forward pass.",
     "sum(_tokens(batch) for batch in batches)", "_tokens(batches[0])"),
    ("every_real_token_counted",
     "You divided by the number of real tokens (the sum of the attention mask). Only supervised tokens are in the "
     "loss: count the labels that are not -100.",
     "_tokens(batch) for", 'int(batch["attention_mask"].sum()) for'),
    ("first_labels_counted",
     "You counted the labels before the shift. A label on the first token of a row is predicted by nothing and is "
     "not in the sum: count `labels[:, 1:]`.",
     "_tokens(batch) for", 'int((batch["labels"] != -100).sum()) for'),
    ("nan_from_an_empty_batch",
     "A batch without supervised tokens made your loss NaN: its own mean is 0 / 0, and no weight, not even 0, "
     "repairs that. Take the sum of each batch (sft_loss with num_tokens), never its mean.",
     "/ tokens", "/ _tokens(batch) * _tokens(batch) / tokens"),
    ("losses_of_the_model_itself",
     "You gave the labels to the model and averaged the losses that it returned. Each is the mean of its own batch "
     "(NaN where nothing is supervised), so tokens weigh differently. Take logits and sft_loss with the tokens of "
     "the whole update (or pass the model num_items_in_batch).",
     '_summed(logits, batch["labels"]) / tokens', "model(**batch).loss / len(batches)"),
    ("cleared_in_the_inner_loop",
     "You clear the gradients before every batch, so only the last batch of an update is learned from. Clear them "
     "once an update, before its first batch.",
     "loss.backward()", "optimizer.zero_grad()\n            loss.backward()"),
    ("stepped_in_the_inner_loop",
     "You step after every batch, so the batches of an update are not one update but several. Let the gradients add "
     "up over the batches, then step once.",
     "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)\n        optimizer.step()\n        ", "",
     "loss.backward()",
     "optimizer.zero_grad()\n            loss.backward()\n            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)\n            optimizer.step()"),
    ("every_batch_an_update",
     "You made an update of every batch. The batches in one item of `updates` belong to *one* update: one loss, one "
     "step, one call of after_step.",
     "enumerate(updates)", "enumerate([batch] for update in updates for batch in update)"),
    ("only_the_first_batch",
     "You train on the first batch of each update only. Run the model on each of them and let the gradients add up.",
     "enumerate(updates)", "enumerate(batches[:1] for batches in updates)"),
    ("gradients_kept_from_before",
     "You never clear the gradients. backward adds to what is there, so each update also uses the gradients of all "
     "before it. Call zero_grad once an update.",
     "        optimizer.zero_grad()\n", ""),
    ("empty_gradients_used",
     "The optimizer steps with empty gradients, so nothing is learned: zero_grad comes between backward and step. "
     "The order is zero_grad, backward for each batch, clip, step.",
     "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)", "optimizer.zero_grad()"),
    ("update_not_clipped",
     "The gradient reaches the optimizer unclipped. Clip after the last backward of the update and before the step: "
     "anywhere else it changes nothing, or not what it should.",
     "        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)\n", ""),
    ("clipped_after_every_batch",
     "You clip after every batch, while the gradient is still adding up: how an update is split then changes its "
     "direction. Clip once, when the gradient of the whole update is there.",
     "        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)\n", "",
     "loss.backward()", "loss.backward()\n            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)"),
    ("clipped_number_by_number",
     "You clipped each number of the gradient by itself, which changes its direction. Clip the *norm* of the whole "
     "gradient: `clip_grad_norm_`.",
     "clip_grad_norm_", "clip_grad_value_"),
    ("clipped_to_one",
     "You clip to 1, whatever max_norm says. Use the argument.",
     "parameters(), max_norm", "parameters(), 1.0"),
    ("lengthened_to_max_norm",
     "You scale every gradient to the norm max_norm, small ones up as well. Clipping only shortens: a gradient below "
     "max_norm stays as it is.",
     "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)",
     "norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()\n        for parameter in model.parameters():\n            parameter.grad *= max_norm / norm"),
    ("rate_never_set",
     "The learning rate of lr_at never reaches the optimizer. Setting `optimizer.lr` does nothing; write it into "
     '`group["lr"]` of every group in `optimizer.param_groups`.',
     'group["lr"] = lr_at(step)', "optimizer.lr = lr_at(step)"),
    ("rate_of_the_first_group",
     "You set the learning rate of the first parameter group only. An optimizer may have several (say, with and "
     "without weight decay): loop over `optimizer.param_groups`.",
     "optimizer.param_groups:", "optimizer.param_groups[:1]:"),
    ("rate_set_after_the_step",
     "You set the learning rate after the optimizer's step: the first update uses whatever it was before, every "
     "other one the rate of the update before it. Set it before `optimizer.step()`.",
     '        for group in optimizer.param_groups:\n            group["lr"] = lr_at(step)\n', "",
     "        optimizer.step()\n",
     '        optimizer.step()\n        for group in optimizer.param_groups:\n            group["lr"] = lr_at(step)\n'),
    ("rate_of_the_next_update",
     "Your learning rate is one update ahead: the first one should use lr_at(0).",
     "lr_at(step)", "lr_at(step + 1)"),
    ("updates_counted_from_one",
     "You count the updates from 1. The first is number 0, for lr_at and for after_step.",
     "enumerate(updates)", "enumerate(updates, 1)"),
    ("rate_by_the_batch",
     "You asked lr_at for the number of the *batch*. It counts updates: one more for each optimizer step, however "
     "many batches made it up.",
     "losses = []", "losses, seen = [], 0",
     "shares.append(loss.item())",
     'shares.append(loss.item())\n            for group in optimizer.param_groups:\n                group["lr"] = lr_at(seen)\n            seen += 1'),
    ("attention_mask_not_passed",
     "You did not pass the attention mask to the model, so it reads the padding. On the right nobody notices, on the "
     "left every answer is conditioned on it: model(input_ids=…, attention_mask=…).",
     ', attention_mask=batch["attention_mask"]', ""),
    ("model_in_evaluation_mode",
     "The model is in evaluation mode while it trains, so dropout is off (from_pretrained hands it over like that). "
     "Call `model.train()` before the loop, whatever mode the model comes in.",
     "model.train()", "model.eval()"),
    ("losses_after_the_update",
     "You measured the loss again after the update, on batches the model has just learned from. Keep the loss that "
     "you computed the gradient from; it also saves the second forward pass.",
     "        losses.append(sum(shares))",
     '        again = [model(input_ids=b["input_ids"], attention_mask=b["attention_mask"]).logits.detach() for b in batches]\n        losses.append(sum(_summed(logits, b["labels"]).item() for logits, b in zip(again, batches)) / tokens)'),
    ("loss_of_the_last_batch",
     "The loss that you report is that of the update's last batch alone. Add up the shares of all its batches.",
     "sum(shares)", "shares[-1]"),
    ("shares_averaged",
     "You report the mean of the batches' shares. Each is divided by the tokens of the whole update already, so "
     "their *sum* is the loss.",
     "sum(shares)", "sum(shares) / len(shares)"),
    ("losses_that_hold_their_graph",
     "You kept the loss *tensors*. Each holds the graph of its whole computation, so memory grows with every update. "
     "Keep plain numbers: `loss.item()`.",
     "loss.item()", "loss"),
    ("one_loss_for_all",
     "You returned one loss. The curve needs the loss of every update: collect them in a list.",
     "return losses", "return losses[-1]"),
    ("after_step_never_called",
     "You never call after_step. When it is given, call `after_step(step, loss)` at the end of every update.",
     "if after_step is not None:", "if False:"),
    ("after_step_before_the_step",
     "You call after_step before the optimizer has stepped. It comes after the update, so that what it measures "
     "belongs to the model of this update.",
     "after_step(step, losses[-1])", "pass",
     "optimizer.step()",
     "if after_step is not None:\n            after_step(step, sum(shares))\n        optimizer.step()"),
    ("after_step_for_every_batch",
     "You call after_step for every batch. It belongs to the update: once, after the step, with the loss of all its "
     "batches.",
     "after_step(step, losses[-1])", "pass",
     "shares.append(loss.item())",
     "shares.append(loss.item())\n            if after_step is not None:\n                after_step(step, sum(shares))"),
    ("losses_kept_as_tensors",
     "Your list holds tensors. Keep plain numbers, loss.item(): they can be printed, averaged and saved, and hold no "
     "memory of a GPU.",
     "loss.item()", "loss.detach()"),
    ("labels_taken_out_of_the_batch",
     "You changed the batches that you were given (took the labels out with pop, or wrote into them), so they are "
     'others when they are used again. Read them: batch["labels"].',
     '_summed(logits, batch["labels"])', '_summed(logits, batch.pop("labels"))'),
    ("updates_asked_for_their_number",
     "You ask for the number of updates. They may come out of a generator, which has no length and can be gone "
     "through once: loop over them.",
     "losses = []", "losses = [None] * len(updates)",
     "losses.append(sum(shares))", "losses[step] = sum(shares)",
     "losses[-1]", "losses[step]"),
    ("clipped_one_by_one",
     "You clip the gradient of each parameter by itself, which changes the direction of the whole. One call for all: "
     "clip_grad_norm_(model.parameters(), max_norm).",
     "torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)",
     "for parameter in model.parameters():\n            torch.nn.utils.clip_grad_norm_([parameter], max_norm)"),
    ("updates_not_counted",
     "Every update of yours is number 0. Count one more after each: lr_at and after_step are told the number.",
     "enumerate(updates)", "((0, batches) for batches in updates)"),
    ("labels_not_shifted_in_the_loop",
     "You compared each position with its own token. The labels are not shifted yet, and the logits at t are the "
     "guess about the token at t + 1: sft_loss does that.",
     '_summed(logits, batch["labels"])',
     'F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), reduction="sum")'),
    ("every_position_counted",
     "You divided by the number of all positions, prompts and padding included. Only supervised tokens are in the "
     "loss: count the shifted labels that are not -100.",
     "_tokens(batch) for", 'batch["labels"].numel() for'),
])
