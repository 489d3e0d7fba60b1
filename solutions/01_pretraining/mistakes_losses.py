"""Wrong answers to chapter 01's labels and losses: tables of changes in right answers. Each hint says what was done, why it
is wrong, and where to look."""

# ruff: noqa: F401 - the rows use what is imported here, the second references not all of it

import math

import torch
import torch.nn.functional as F

from autograder.judging.catalogue import changes

# --- Exercise 1: labels, and what padding is not


def make_labels(input_ids, attention_mask):
    is_padding = attention_mask == 0
    return input_ids.masked_fill(is_padding, -100)


changes("make_labels", make_labels, [
    ("padding_kept", "Your labels hold the padding id where the mask is 0, so the model would be trained to predict "
     "padding. Use the mask.",
     "input_ids.masked_fill(is_padding, -100)", "input_ids.clone()"),
    ("zero_on_padding", "You put 0 on padding. 0 is an ordinary token id, so it still counts as a target; -100 is "
     "the label that is left out.",
     "-100", "0"),
    ("minus_one_on_padding", "You put -1 on padding. PyTorch and transformers leave out the label -100; -1 is an "
     "error or a wrong target.",
     "-100", "-1"),
    ("padding_by_its_id", "You looked for the padding *id*. A real token may have that id (many models pad with "
     "their end token): ask the mask.",
     "attention_mask == 0", "input_ids == 0"),
    ("mask_inverted", "You put -100 where the mask is 1: the real tokens are left out and padding is learned. It is "
     "the other way round.",
     "== 0", "== 1"),
    ("labels_already_shifted", "You shifted the labels by one. The loss does that (here and in transformers); "
     "shifted twice, the model learns to predict the token after the next.",
     "input_ids.masked_fill(is_padding, -100)",
     "F.pad(input_ids.masked_fill(is_padding, -100)[:, 1:], (0, 1), value=-100)"),
    ("input_ids_overwritten", "You wrote -100 into input_ids itself: labels and input are one tensor now, and -100 "
     "is no id the model can embed. Change a copy.",
     "masked_fill(", "masked_fill_("),
    ("padding_only_on_the_right", "You counted the real tokens and ignored what comes after that many places. With "
     "padding on the left this ignores the wrong end: take each position's own value of the mask.",
     "attention_mask == 0", "torch.arange(input_ids.shape[1]) >= attention_mask.sum(1, keepdim=True)"),
    ("labels_as_floats", "Your labels are floating-point numbers. Ids are integers, and cross-entropy takes them "
     "only as such: look for what turned them into floats (a division, a float mask, a float constant).",
     "input_ids.masked_fill", "input_ids.float().masked_fill"),
    ("labels_rolled", "You shifted the labels by one, and `roll` puts the first token behind the last. The loss "
     "shifts (here and in transformers); the labels repeat the ids, each in its own place.",
     "input_ids.masked_fill(is_padding, -100)", "input_ids.masked_fill(is_padding, -100).roll(-1, 1)"),
    ("padding_id_from_the_mask", "You looked up the padding id where the mask is 0, and then for that *id*. A real "
     "token may have it: the mask itself says, place by place, what is padding.",
     "attention_mask == 0", "input_ids == (input_ids[attention_mask == 0][0] if (attention_mask == 0).any() else -1)"),
    ("one_row_of_the_mask_for_all", "You took one row of the mask for all. Rows differ in length: each has its own.",
     "attention_mask == 0", "attention_mask[-1:] == 0"),
])


# --- Exercise 2: the causal language-modelling loss


def causal_lm_loss(logits, labels):
    predictions, targets = logits[:, :-1], labels[:, 1:]
    counted = targets != -100
    log_probs = predictions.log_softmax(-1)
    chosen = log_probs.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return -chosen[counted].sum() / counted.sum()


changes("causal_lm_loss", causal_lm_loss, [
    ("not_shifted", "You compared each position with its own token. The logits at t are the guess about the token at "
     "t + 1: shift one against the other.",
     "logits[:, :-1], labels[:, 1:]", "logits, labels"),
    ("shifted_the_wrong_way", "You shifted in the wrong direction: the logits at t are compared with the token "
     "*before* them. Which end of the logits has nothing to predict, and which end of the labels is predicted by "
     "nobody?",
     "logits[:, :-1], labels[:, 1:]", "logits[:, 1:], labels[:, :-1]"),
    ("shifted_by_two", "You compared the logits at t with the token at t + 2. Shift by one place, once.",
     "logits[:, :-1], labels[:, 1:]", "logits[:, :-2], labels[:, 2:]"),
    ("shifted_after_flattening", "You flattened the batch before you shifted, so the last position of a row predicts "
     "the first token of the next row. Shift along the sequence axis first, then flatten.",
     "logits[:, :-1], labels[:, 1:]", "logits.flatten(0, 1)[:-1], labels.flatten()[1:]"),
    ("shifted_along_the_batch", "You shifted along the first axis, so each row is compared with the text of the row "
     "below it. The sequence is the second axis: `[:, …]`.",
     "logits[:, :-1], labels[:, 1:]", "logits[:-1], labels[1:]"),
    ("sum_over_targets", "You returned the sum over the targets, which grows with the batch. Divide by how many "
     "targets count.",
     " / counted.sum()", ""),
    ("divided_by_every_position", "You divided by all positions, padding included, so a batch with more padding "
     "looks easier. Divide by the number of targets that are not -100.",
     "/ counted.sum()", "/ counted.numel()"),
    ("padding_counted_as_a_token", "Padding counts in your loss: -100 became an ordinary token id somewhere. Those "
     "targets must have no weight at all.",
     "targets != -100", "targets == targets"),
    ("token_zero_ignored", "You leave out the targets with id 0. Token 0 is a token like any other; what does not "
     "count has the label -100.",
     "targets != -100", "targets > 0"),
    ("mean_of_row_means", "You averaged each row first and then the rows, so a token in a short row weighs more than "
     "one in a long row. Every target counts the same: one sum, one division.",
     "return -chosen[counted].sum() / counted.sum()", "return -((chosen * counted).sum(1) / counted.sum(1)).mean()"),
    ("loss_in_bits", "You took the logarithm to base 2. The loss is in nats here, as everywhere in PyTorch: use the "
     "natural logarithm.",
     "log_softmax(-1)", "log_softmax(-1) / math.log(2)"),
    ("minus_missing", "You returned the mean of +log p, which is negative. A loss gets *smaller* as the model gets "
     "better: mind the sign.",
     "return -", "return "),
    ("probability_without_logarithm", "You averaged probabilities, not their logarithms. The likelihood of a text is "
     "a product of probabilities, so its logarithm is a sum of log p.",
     "log_softmax", "softmax"),
    ("softmax_taken_twice", "You passed probabilities to a function that expects logits: `F.cross_entropy` takes the "
     "softmax itself, so it is applied twice here. Hand over the logits as they are.",
     "predictions.log_softmax(-1)", "predictions.softmax(-1).log_softmax(-1)"),
    ("softmax_over_positions", "Your softmax runs over the positions of a row. The alternatives to a token are the "
     "other words of the vocabulary: the last axis.",
     "log_softmax(-1)", "log_softmax(1)"),
    ("naive_softmax", "You computed exp(logits) / sum(exp(logits)) and then its logarithm. exp overflows near 89 in "
     "float32, and inf / inf is NaN. Use log_softmax, which subtracts the largest logit first.",
     "predictions.log_softmax(-1)", "(predictions.exp() / predictions.exp().sum(-1, keepdim=True)).log()"),
    ("softmax_then_log", "With large logits your loss is infinite: a small probability was rounded to 0 before its "
     "logarithm was taken, or sum(exp(logits)) overflowed. log_softmax takes both steps in one and forms neither "
     "number.",
     "predictions.log_softmax(-1)", "predictions.softmax(-1).log()"),
    ("cut_from_the_graph", "The value is right, but it is cut off from the logits, so nothing can be learned from "
     "it. Return the tensor itself: no .item(), .detach(), .data or torch.tensor(…).",
     "logits[:, :-1]", "logits.detach()[:, :-1]"),
    ("rolled_around", "You rolled the labels (`roll`) to shift them: the first token of a row comes round to its "
     "end, and the last position is asked to predict it. Cut the last logits and the first label off instead.",
     "logits[:, :-1], labels[:, 1:]", "logits, labels.roll(-1, 1)"),
    ("counted_before_the_shift", "You asked which labels count before you shifted them, so the mask is one place "
     "off: it leaves out a real target and counts padding. Shift first, then look for -100 among the targets.",
     "targets != -100", "labels[:, :-1] != -100"),
    ("cut_at_the_same_end", "You cut the last place off both the logits and the labels, so nothing is shifted: each "
     "position is compared with its own token. Of the labels the *first* place goes.",
     "logits[:, :-1], labels[:, 1:]", "logits[:, :-1], labels[:, :-1]"),
    ("cut_at_the_same_beginning", "You cut the first place off both the logits and the labels, so nothing is "
     "shifted: each position is compared with its own token. Of the logits the *last* place goes.",
     "logits[:, :-1], labels[:, 1:]", "logits[:, 1:], labels[:, 1:]"),
    ("exponential_of_the_loss", "You returned exp of the mean loss: that is the perplexity. The loss is the mean of "
     "-log p itself.",
     "return -chosen[counted].sum() / counted.sum()", "return (-chosen[counted].sum() / counted.sum()).exp()"),
    ("divided_by_the_batch", "You divided by the number of rows: a loss per text, which grows with its length. "
     "Divide by how many targets count.",
     "/ counted.sum()", "/ len(logits)"),
])
