"""Wrong answers to chapter 02's exercises on losses. Each row of a table is one change in the right answer above
it; its second entry is the hint the student reads: what was done, why it is wrong, where to look."""

import math  # noqa: F401 (rows of the tables use what seems unused)

import torch  # noqa: F401
import torch.nn.functional as F  # noqa: F401

from autograder.judging.catalogue import changes

# --- Exercise 5: the loss of the answer


def masked_loss(logits, labels, num_tokens=None):
    predictions, targets = logits[:, :-1], labels[:, 1:]
    counted = targets != -100
    logps = predictions.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    total = -logps.masked_fill(~counted, 0.0).sum()
    if num_tokens is None:
        num_tokens = counted.sum().clamp(min=1)
    return total / num_tokens


changes("sft_loss", masked_loss, [
    ("labels_not_shifted",
     "You compared each position with its own token. The labels are not shifted yet: the logits at t are the guess "
     "about the token at t + 1.",
     "logits[:, :-1], labels[:, 1:]", "logits, labels"),
    ("shifted_backwards",
     "You shifted in the wrong direction: the logits at t are compared with the token *before* them. Drop the last "
     "position of the logits and the first of the labels.",
     "logits[:, :-1], labels[:, 1:]", "logits[:, 1:], labels[:, :-1]"),
    ("shifted_twice",
     "You compared the logits at t with the token at t + 2: the labels were shifted twice. Once is enough.",
     "logits[:, :-1], labels[:, 1:]", "logits[:, :-2], labels[:, 2:]"),
    ("shifted_across_rows",
     "You flattened the batch before you shifted, so the last position of a row predicts the first token of the "
     "next. Shift along the sequence first, then flatten.",
     "logits[:, :-1], labels[:, 1:]", "logits.flatten(0, 1)[:-1], labels.flatten()[1:]"),
    ("divided_by_the_batch_size",
     "You divided by the number of rows, so long answers weigh more than short ones and the loss grows with their "
     "length. Divide by the number of supervised tokens.",
     "counted.sum().clamp(min=1)", "len(labels)"),
    ("divided_by_all_positions",
     "You divided by all positions, prompts and padding included, so a long prompt makes a batch look easy. Divide "
     "by the number of labels that are not -100.",
     "counted.sum().clamp(min=1)", "targets.numel()"),
    ("divided_by_the_size_of_labels",
     "You divided by batch times length. Neither -100 nor the first token of a row is predicted: divide by the "
     "number of shifted labels that are not -100.",
     "counted.sum().clamp(min=1)", "labels.numel()"),
    ("tokens_counted_before_the_shift",
     "You counted the supervised tokens before the shift. A label on the first token of a row is predicted by "
     "nothing: it is not in your sum, so it must not be in your number either.",
     "counted.sum().clamp(min=1)", "(labels != -100).sum().clamp(min=1)"),
    ("mean_of_the_rows_means",
     "You averaged each row first and then the rows, so a token of a short answer weighs more than one of a long "
     "answer. Every supervised token counts the same: one sum, one division.",
     "num_tokens = counted.sum().clamp(min=1)",
     "return (-logps.masked_fill(~counted, 0.0).sum(1) / counted.sum(1).clamp(min=1)).mean()"),
    ("ignored_labels_counted",
     "Prompt and padding count in your loss: -100 became the ordinary id 0. Where the label is -100, nothing may be "
     "added to the sum.",
     "counted = targets != -100", "targets = targets.clamp(min=0)\n    counted = targets != -100"),
    ("ignored_labels_summed",
     "You divide by the right number, but prompt and padding are still in your sum: -100 became the ordinary id 0. "
     "Set those losses to zero before you add.",
     ".masked_fill(~counted, 0.0)", ""),
    ("id_zero_taken_for_padding",
     "You leave out the tokens with id 0. Token 0 is a token like any other; what does not count has the label -100.",
     "targets != -100", "targets > 0"),
    ("num_tokens_ignored",
     "You ignore num_tokens. When it is given, divide by it instead of by this batch's own number: only then do the "
     "losses of several batches add up to the mean over all of them.",
     "if num_tokens is None:", "if True:"),
    ("mean_divided_once_more",
     "You divided the *mean* by num_tokens, so you divide twice. It is the sum over the batch that is divided by it: "
     'see reduction="sum".',
     "if num_tokens is None:\n        num_tokens = counted.sum().clamp(min=1)",
     "mean = total / counted.sum().clamp(min=1)",
     "return total / num_tokens", "return mean if num_tokens is None else mean / num_tokens"),
    ("mean_times_num_tokens",
     "You multiplied the mean by num_tokens. That undoes the mean only if num_tokens is this batch's own number; the "
     "sum over the batch, divided by num_tokens, is asked for.",
     "if num_tokens is None:\n        num_tokens = counted.sum().clamp(min=1)",
     "mean = total / counted.sum().clamp(min=1)",
     "return total / num_tokens", "return mean if num_tokens is None else mean * num_tokens"),
    ("sum_without_division",
     "You returned the sum over the supervised tokens, which grows with the batch. Divide it by num_tokens, or by "
     "their number in this batch where num_tokens is None.",
     "return total / num_tokens", "return total"),
    ("sum_unless_num_tokens",
     "Without num_tokens you return the sum. None stands for the number of supervised tokens in this very batch: "
     "count them.",
     "counted.sum().clamp(min=1)", "1"),
    ("log_likelihood_for_loss",
     "Your loss is negative: it is the mean of +log p. Training makes a loss *smaller*, so this one would drive the "
     "right answers out. Mind the sign.",
     "-logps", "logps"),
    ("answer_loss_in_bits",
     "You took the logarithm to base 2. The loss is in nats here, as everywhere in PyTorch: use the natural "
     "logarithm.",
     "return total / num_tokens", "return total / num_tokens / math.log(2)"),
    ("probabilities_averaged",
     "You averaged probabilities, not their logarithms. The likelihood of an answer is a product of probabilities, "
     "and its logarithm a sum of log p.",
     "-logps", "-logps.exp()"),
    ("softmax_before_cross_entropy",
     "You passed probabilities to a function that expects logits: `F.cross_entropy` takes the softmax itself, so it "
     "is applied twice. Hand over the logits as they are.",
     "predictions.log_softmax(-1)", "predictions.softmax(-1).log_softmax(-1)"),
    ("logarithm_of_a_rounded_softmax",
     "With large logits your loss is infinite: softmax rounded a small probability to 0, and you took the logarithm "
     "of that. log_softmax takes both steps in one.",
     "predictions.log_softmax(-1)", "predictions.softmax(-1).log()"),
    ("overflowing_exp",
     "You computed exp(logits) / sum(exp(logits)) and then its logarithm. exp overflows near 89 in float32, and inf "
     "/ inf is NaN. Use log_softmax, which subtracts the largest logit first.",
     "predictions.log_softmax(-1)", "(predictions.exp() / predictions.exp().sum(-1, keepdim=True)).log()"),
    ("nan_without_supervision",
     "Where nothing is supervised your loss is NaN (0 / 0), and one such batch would destroy the model. The number "
     "of tokens is at least 1: clamp it.",
     ".sum().clamp(min=1)", ".sum()"),
    ("loss_cut_from_the_graph",
     "The value is right, but it is cut off from the logits, so nothing can be learned from it. Return the tensor "
     "itself: no .item(), .detach(), .data or torch.tensor(…).",
     "return total / num_tokens", "return (total / num_tokens).detach()"),
    ("labels_rolled_in_the_loss",
     "You rolled the labels by one, so the first of a row came round to its end, where the last logits are asked for "
     "it. Cut instead of rolling: all logits but the last, all labels but the first.",
     "logits[:, :-1], labels[:, 1:]", "logits, labels.roll(-1, 1)"),
    ("mask_taken_before_the_shift",
     "You looked for -100 in the labels before you shifted them, so your mask is one place off: the first token of "
     "each answer does not count, and what stands behind its end does. Shift first, then ask which targets are -100.",
     "counted = targets", "counted = labels[:, :-1]"),
    ("probability_kept_from_zero",
     "You put a floor (1e-12 or so) under the probabilities before the logarithm. With large logits the loss stays "
     "below a bound then (28 nats), and no gradient comes from there: log_softmax needs no floor.",
     "predictions.log_softmax(-1)", "predictions.softmax(-1).clamp(min=1e-12).log()"),
    ("no_path_without_supervision",
     "Where nothing is supervised you return a new tensor, which is cut off from the logits: backward raises an "
     "error there. Let the 0 be a sum over nothing.",
     "if num_tokens is None:", "if not counted.any():\n        return torch.tensor(0.0)\n    if num_tokens is None:"),
    ("softmax_over_positions",
     "Your softmax runs over the positions of a row. The alternatives to a token are the other words of the "
     "vocabulary: the last axis.",
     "predictions.log_softmax(-1)", "predictions.log_softmax(1)"),
    ("labels_changed_in_place",
     "You changed the labels that you were given: a function with an underscore at its end (clamp_), or an "
     "assignment to a part of them, does. Then the caller's -100s are lost: work on a copy.",
     "targets.clamp(", "targets.clamp_("),
])


# --- Exercise 6: how likely is an answer


def summed_logps(logits, labels):
    predictions, targets = logits[:, :-1], labels[:, 1:]
    counted = targets != -100
    logps = predictions.log_softmax(-1).gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return logps.masked_fill(~counted, 0.0).sum(-1)


changes("sequence_logprob", summed_logps, [
    ("mean_over_the_answer",
     "You took the mean over the tokens of each answer. log p(answer | prompt) is their *sum*: a mean makes long "
     'answers look as likely as short ones (it is a score of its own, "length-normalised", but not a probability).',
     ".sum(-1)", ".sum(-1) / counted.sum(-1).clamp(min=1)"),
    ("mean_over_the_row",
     "You took the mean over all positions of a row, so the result depends on the padding. Add the log-probabilities "
     "of the answer's tokens up, and do not divide.",
     ".sum(-1)", ".mean(-1)"),
    ("one_sum_for_the_batch",
     "You added up the whole batch. Each row is an answer of its own: sum over the sequence (the last axis) only, "
     "and return one number a row.",
     ".sum(-1)", ".sum()"),
    ("summed_over_the_batch_axis",
     "You summed over the batch, so one number a *position* came back. The sum runs over the tokens of each row: the "
     "last axis.",
     ".sum(-1)", ".sum(0)"),
    ("one_logprob_a_token",
     "You returned log p of every token. The chain rule makes an answer of them: sum over the sequence.",
     ".sum(-1)", ""),
    ("probability_of_the_answer",
     "You returned the probability, not its logarithm. For a long answer it is 0 in floating point: stay with "
     "logarithms.",
     ".sum(-1)", ".sum(-1).exp()"),
    ("sum_of_probabilities",
     "You added probabilities up. By the chain rule the probabilities of the tokens are multiplied, so their "
     "*logarithms* are added: log_softmax, not softmax.",
     "return logps", "return logps.exp()"),
    ("product_before_the_logarithm",
     "You multiplied the probabilities and took the logarithm at the end. The product of a long answer rounds to 0, "
     "whose logarithm is minus infinity. Add logarithms instead.",
     ".sum(-1)", ".exp().prod(-1).log()"),
    ("prompt_counted",
     "Prompt and padding are in your sum: -100 became the ordinary id 0 (gather needs some valid id there), and its "
     "log p was added. Set those places to 0 after gathering, by the labels that are -100.",
     ".masked_fill(~counted, 0.0)", ""),
    ("tokens_of_id_zero_left_out",
     "You leave out the tokens with id 0: after `clamp(min=0)` the places to ignore look like token 0. Ask the "
     "labels themselves which are -100.",
     "targets != -100", "targets > 0"),
    ("answer_not_shifted",
     "You compared each position with its own token. The labels are not shifted: the logits at t are the guess about "
     "the token at t + 1.",
     "logits[:, :-1], labels[:, 1:]", "logits, labels"),
    ("answer_shifted_backwards",
     "You shifted in the wrong direction: the logits at t are compared with the token *before* them. Drop the last "
     "position of the logits and the first of the labels.",
     "logits[:, :-1], labels[:, 1:]", "logits[:, 1:], labels[:, :-1]"),
    ("answer_shifted_across_rows",
     "You flattened the batch before you shifted, so the last position of a row predicts the first token of the "
     "next. Shift along the sequence, row by row.",
     "logits[:, :-1], labels[:, 1:]", "logits, F.pad(labels.flatten()[1:], (0, 1), value=-100).view_as(labels)"),
    ("raw_logits_added",
     "You added up the logits themselves. A logit becomes a log-probability when the logsumexp over the vocabulary "
     "is subtracted: take log_softmax before you gather.",
     "predictions.log_softmax(-1)", "predictions"),
    ("log_softmax_over_positions",
     "Your softmax runs over the positions of a row. The alternatives to a token are the other words of the "
     "vocabulary: the last axis.",
     "predictions.log_softmax(-1)", "predictions.log_softmax(1)"),
    ("softmax_and_then_log",
     "With large logits your result is minus infinity or NaN: softmax rounded a small probability to 0, and you took "
     "the logarithm of that. log_softmax takes both steps in one.",
     "predictions.log_softmax(-1)", "predictions.softmax(-1).log()"),
    ("masked_by_multiplication",
     "You multiplied the places to ignore by 0, but what stands there may be infinite, and 0 times infinity is NaN: "
     "a small probability was rounded to 0 before its logarithm was taken. Use log_softmax (and masked_fill or "
     "where).",
     "predictions.log_softmax(-1)", "predictions.softmax(-1).log()",
     "logps.masked_fill(~counted, 0.0)", "(logps * counted)"),
    ("negative_log_likelihood",
     "You returned -log p. That is a loss; a log-probability is at most 0. Mind the sign.",
     "return logps", "return -logps"),
    ("logprob_in_bits",
     "You took the logarithm to base 2. The result is in nats: use the natural logarithm.",
     ".sum(-1)", ".sum(-1) / math.log(2)"),
    ("only_the_last_token_scored",
     "You returned log p of the last token of each answer. The answer's probability is the product over *all* its "
     "tokens.",
     "return logps.masked_fill(~counted, 0.0).sum(-1)",
     "last = (counted * torch.arange(1, 1 + counted.shape[1])).argmax(-1, keepdim=True)\n    return logps.masked_fill(~counted, 0.0).gather(-1, last)[:, 0]"),
    ("logprob_cut_from_the_graph",
     "The numbers are right, but they are cut off from the logits, so nothing can be trained on them. Return the "
     "tensor itself: no .item(), .detach(), .data, .numpy() or torch.tensor(…).",
     ".sum(-1)", ".sum(-1).detach()"),
    ("answer_rolled",
     "You rolled the labels by one, so the first of a row came round to its end, where the last logits are asked for "
     "it. Cut instead of rolling: all logits but the last, all labels but the first.",
     "logits[:, :-1], labels[:, 1:]", "logits, labels.roll(-1, 1)"),
    ("answer_mask_not_shifted",
     "You looked for -100 in the labels before you shifted them, so your mask is one place off: the first token of "
     "each answer does not count, and what stands behind its end does. Shift first, then ask which targets are -100.",
     "counted = targets", "counted = labels[:, :-1]"),
    ("answer_probability_kept_from_zero",
     "You put a floor (1e-12 or so) under the probabilities before the logarithm, so that no token is less likely "
     "than that. Use log_softmax, which needs no floor.",
     "predictions.log_softmax(-1)", "predictions.softmax(-1).clamp(min=1e-12).log()"),
    ("axis_kept",
     "You kept the axis that you summed over. One number a row is asked for, of shape (batch,).",
     ".sum(-1)", ".sum(-1, keepdim=True)"),
    ("every_axis_squeezed",
     "You squeeze every axis of length 1, so a batch of one row, or rows of two tokens, lose an axis that was meant. "
     "squeeze(-1) takes the last one alone.",
     "[..., None])[..., 0]", "[..., None]).squeeze()"),
    ("answer_labels_changed_in_place",
     "You changed the labels that you were given: a function with an underscore at its end (clamp_), or an "
     "assignment to a part of them, does. Then the caller's -100s are lost: work on a copy.",
     "targets.clamp(", "targets.clamp_("),
])
