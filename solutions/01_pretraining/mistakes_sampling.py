"""Wrong answers to chapter 01's choices at random: the next token, masked tokens, sentence pairs. Most are changes in right
answers; each hint says what was done, why it is wrong, and where to look."""

# ruff: noqa: F401 - the rows use what is imported here, the second references not all of it

import math
import random
from itertools import pairwise, product

import torch

from autograder.judging.catalogue import changes, mistake

# --- Exercise 7: choosing the next token


def next_token_probs(logits, temperature=1.0, top_k=None, top_p=None):
    if temperature == 0:
        return (logits == logits.amax(-1, keepdim=True)).float()
    logits = logits / temperature
    if top_k is not None:
        least = logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]
        logits = logits.masked_fill(logits < least, -math.inf)
    probs = logits.softmax(-1)
    if top_p is not None:
        ordered, order = probs.sort(descending=True)
        sums = ordered.cumsum(-1)
        kept = ordered * (sums - ordered < top_p)
        probs = torch.zeros_like(probs).scatter(-1, order, kept)
    return probs / probs.sum(-1, keepdim=True)


changes("next_token_probs", next_token_probs, [
    ("multiplied_by_the_temperature", "You multiplied by the temperature, so a high one sharpens the distribution. "
     "Divide: a high temperature flattens.",
     "logits / temperature", "logits * temperature"),
    ("temperature_on_probabilities", "You applied the temperature to the probabilities: renormalising undoes that. "
     "It divides the *logits*, before the softmax.",
     "    logits = logits / temperature\n", ""),
    ("temperature_zero_divides", "Temperature 0 divides by zero and gives NaN. In the limit all probability sits on "
     "the largest logit: treat it as a case of its own.",
     "    if temperature == 0:\n        return (logits == logits.amax(-1, keepdim=True)).float()\n", ""),
    ("temperature_after_the_filters", "You chose the top-p tokens at temperature 1 and applied the temperature "
     "afterwards. It comes first: it changes which tokens hold the mass top_p.",
     "    logits = logits / temperature\n", "",
     "return probs / probs.sum(-1, keepdim=True)", "return (probs.log() / temperature).softmax(-1)"),
    ("top_p_not_renormalised", "After top-p your rows do not sum to 1. What is cut off is shared among the tokens "
     "that stay: divide by the sum.",
     "return probs / probs.sum(-1, keepdim=True)", "return probs"),
    ("zero_for_minus_infinity", "You set the logits of dropped tokens to 0. exp(0) is 1, so they keep some "
     "probability, often more than before. Set them to -inf.",
     "-math.inf", "0.0"),
    ("one_threshold_for_the_batch", "You used one threshold for the whole batch. Each row has its own k-th largest "
     "logit: keep the axis, `[:, -1:]`.",
     "values[:, -1:]", "values[:, -1].min()"),
    ("one_too_few_of_top_k", "You kept k - 1 tokens: the k-th largest is dropped. It belongs to the k most likely, "
     "so compare with `<`, not `<=`.",
     "logits < least", "(logits <= least) & (top_k < logits.shape[-1])"),
    ("top_k_beyond_the_vocabulary_raises", "`topk` raises when k is larger than the vocabulary. Then everything is "
     "kept: use the smaller of the two.",
     "min(top_k, logits.shape[-1])", "top_k"),
    ("crossing_token_dropped", "You dropped the token with which the sum reaches top_p, so what is left sums to less "
     "than top_p. Ask what the *more likely* tokens hold already: if that is below top_p, the token stays.",
     "sums - ordered < top_p", "(sums <= top_p) | (sums == ordered)"),
    ("nothing_left_of_top_p", "You kept the tokens up to a running sum of top_p. The one that reaches it is missing, "
     "and where the first alone exceeds it, nothing is left (0 / 0). Ask what the *more likely* tokens hold already.",
     "sums - ordered < top_p", "sums <= top_p"),
    ("one_too_many_of_top_p", "You keep one token more than needed: the tokens before it hold top_p already. Shift "
     "the comparison by one place less.",
     "sums - ordered < top_p", "sums - ordered - ordered.roll(1, -1).index_fill(-1, torch.tensor([0]), 0) < top_p"),
    ("top_p_in_vocabulary_order", "You added up probabilities in the order of the vocabulary. The most likely tokens "
     "come first: sort them, and put the result back into its place.",
     "probs.sort(descending=True)", "probs, torch.arange(probs.shape[-1]).expand_as(probs)"),
    ("result_left_in_sorted_order", "Your probabilities stand in sorted order: the first column is always the "
     "largest. Put each one back to its own token (`scatter` with the indices that `sort` gave).",
     "torch.zeros_like(probs).scatter(-1, order, kept)", "kept"),
    ("probability_threshold", "You compared each probability with top_p. It is their *sum*, from the most likely "
     "downwards, that should reach top_p.",
     "sums - ordered < top_p", "(ordered >= top_p) | (sums == ordered)"),
    ("softmax_over_the_batch", "Your softmax runs over the batch: the columns sum to 1, not the rows. The "
     "alternatives are the tokens, on the last axis.",
     "logits = logits / temperature", "logits = (logits / temperature).log_softmax(0)",
     "return probs / probs.sum(-1, keepdim=True)",
     "return probs / probs.sum(-1, keepdim=True) if top_k or top_p else logits.exp()"),
    ("log_probabilities", "You returned log-probabilities. Probabilities are asked for: positive, and summing to 1 "
     "in each row.",
     "(logits == logits.amax(-1, keepdim=True)).float()", "(logits == logits.amax(-1, keepdim=True)).float().log()",
     "return probs / probs.sum(-1, keepdim=True)", "return (probs / probs.sum(-1, keepdim=True)).log()"),
    ("logits_changed_in_place", "You divide the logits you were given in place (`/=`), so the next call with the "
     "same tensor starts from your result. Make a new tensor: `logits = logits / temperature`.",
     "logits = logits / temperature", "logits /= temperature"),
    ("exp_overflows", "You computed exp(logits) / sum(exp(logits)). exp overflows near 89 in float32, and inf / inf "
     "is NaN. `softmax` subtracts the largest logit first.",
     "logits.softmax(-1)", "logits.exp() / logits.exp().sum(-1, keepdim=True)"),
    ("integers_when_greedy", "At temperature 0 you return integers. Probabilities are floating-point numbers, and "
     "`torch.multinomial` draws from no others: turn the one-hot rows into floats.",
     "(logits == logits.amax(-1, keepdim=True)).float()", "(logits == logits.amax(-1, keepdim=True)).long()"),
    ("small_temperature_for_zero", "You put a small temperature (0.01, say) in the place of 0: where two logits are "
     "close, the second keeps some probability. In the limit the largest logit has all of it: treat 0 as a case of "
     "its own.",
     "    if temperature == 0:\n        return (logits == logits.amax(-1, keepdim=True)).float()\n", "",
     "logits / temperature", "logits / max(temperature, 0.01)"),
    ("zero_temperature_ignored", "At temperature 0 you sample as at temperature 1 (`if temperature:`, or "
     "`temperature or 1`). In the limit all probability sits on the largest logit: treat 0 as a case of its own.",
     "    if temperature == 0:\n        return (logits == logits.amax(-1, keepdim=True)).float()\n", "",
     "logits / temperature", "logits / (temperature or 1.0)"),
    ("token_beyond_the_boundary", "You keep one token more where the sum reaches top_p exactly. `top_p or more` is "
     "reached then: the next token goes.",
     "sums - ordered < top_p", "sums - ordered <= top_p"),
    ("top_p_only_without_top_k", "Where top_k is given you never look at top_p (an `elif`?). They work one after the "
     "other: top-p on what top-k left.",
     "if top_p is not None:", "if top_p is not None and top_k is None:"),
    ("first_sum_beyond_top_p", "You look for the first sum *above* top_p. A sum that equals top_p is enough; and for "
     "top_p = 1 none is above it, so that `argmax` finds the first token.",
     "sums - ordered < top_p", "torch.arange(sums.shape[-1]) <= (sums > top_p).int().argmax(-1, keepdim=True)"),
])


@mistake("next_token_probs")
def top_k_not_renormalised(logits, temperature=1.0, top_k=None, top_p=None):
    """After top-k your rows do not sum to 1. What is cut off is shared among the tokens that stay: divide by the sum,
    or set logits to -inf before the softmax."""
    if top_k is None or top_p is not None or temperature == 0:
        return next_token_probs(logits, temperature, top_k, top_p)
    probs = (logits / temperature).softmax(-1)
    return probs * (probs >= probs.topk(min(top_k, logits.shape[-1])).values[:, -1:])


@mistake("next_token_probs")
def top_p_of_the_whole_distribution(logits, temperature=1.0, top_k=None, top_p=None):
    """You measured top-p on the whole distribution. Top-k comes first, and top-p looks at what it left,
    *renormalised*: the sum then reaches top_p with fewer tokens."""
    if top_k is None or top_p is None or temperature == 0:
        return next_token_probs(logits, temperature, top_k, top_p)
    return next_token_probs(next_token_probs(logits, temperature, top_p=top_p).log(), top_k=top_k)


# --- Exercise 10: BERT's masking


def mask_tokens(input_ids, is_special, mask_id, vocab_size, generator, rate=0.15):
    draws = torch.rand(input_ids.shape, generator=generator)
    fates = torch.empty(input_ids.shape).uniform_(generator=generator)
    random_ids = torch.randint(0, vocab_size, input_ids.shape, generator=generator)
    chosen = (draws < rate) & ~is_special
    masked = chosen & (fates < 0.8)
    replaced = chosen & (fates >= 0.8) & (fates < 0.9)
    labels = input_ids.masked_fill(~chosen, -100)
    corrupted = torch.where(replaced, random_ids, input_ids.masked_fill(masked, mask_id))
    return corrupted, labels


changes("mask_tokens", mask_tokens, [
    ("special_tokens_masked", "You mask special tokens too. There is nothing to learn from guessing <cls>, <sep> or "
     "padding: leave out what is_special marks.",
     " & ~is_special", ""),
    ("every_chosen_token_masked", "Every chosen token became [MASK]. 10 % should become a random token and 10 % "
     "stay, because [MASK] never occurs when the model is used: it must expect that any token may be wrong.",
     "(fates < 0.8)", "(fates < 1.0)", "(fates >= 0.8)", "(fates >= 1.0)"),
    ("none_stays", "80 % became [MASK] and all the others a random token. Only 10 % should: the last 10 % stay as "
     "they are, and are predicted all the same.",
     " & (fates < 0.9)", ""),
    ("none_replaced", "80 % became [MASK] and all the others stayed. Half of those others should be replaced by "
     "random tokens.",
     "fates < 0.9", "fates < 0.8"),
    ("ten_percent_of_the_rest", "You replaced 10 % of *what [MASK] left over*: 2 % of the chosen. 10 % of all chosen "
     "tokens is *half* of that rest.",
     "fates < 0.9", "fates < 0.82"),
    ("two_independent_draws", "You drew for [MASK] (80 %) and for random tokens (10 %) separately, so the second "
     "overwrites some of the first: 72 % are left as [MASK] and 18 % stay. Let one draw decide among the three.",
     "(fates >= 0.8) & (fates < 0.9)", "(torch.rand(fates.shape, generator=generator) < 0.1)"),
    ("shares_of_all_tokens", "You masked 80 % of *all* tokens and replaced 10 % of all. The three shares are of the "
     "chosen tokens only; everything else stays untouched.",
     "masked = chosen", "masked = ~is_special", "replaced = chosen", "replaced = ~is_special"),
    ("labels_everywhere", "Your labels hold the ids of all tokens. Where a token was not chosen there is nothing to "
     "guess, the model sees it: put -100 there.",
     "input_ids.masked_fill(~chosen, -100)", "input_ids.clone()"),
    ("zero_for_no_label", "Your labels are 0 where no token was chosen. 0 is an ordinary id, which the loss would "
     "count as a target: put -100.",
     "-100", "0"),
    ("labels_of_the_corrupted_text", "Your labels hold the corrupted ids, so the model would be asked to predict "
     "[MASK]. Take the labels from the original ids, before you change anything.",
     "return corrupted, labels", "return corrupted, corrupted.masked_fill(~chosen, -100)"),
    ("labels_only_where_something_changed", "Chosen tokens that stayed as they are have no label. They are predicted "
     "too: that is what makes the model doubt the tokens it sees. Take the labels from what was chosen, not from "
     "what changed.",
     "return corrupted, labels", "return corrupted, labels.masked_fill(corrupted == input_ids, -100)"),
    ("labels_at_the_masks_only", "Only the tokens that became [MASK] have a label. Those that were replaced or left "
     "as they are were chosen too, and are predicted.",
     "return corrupted, labels", "return corrupted, labels.masked_fill(corrupted != mask_id, -100)"),
    ("rate_fixed", "You choose 15 % of the tokens, whatever `rate` says. Use the argument.",
     "draws < rate", "draws < 0.15"),
    ("choice_inverted", "You chose with the wrong comparison: 85 % of the tokens instead of 15 %. A uniform draw is "
     "*below* rate with probability rate.",
     "draws < rate", "draws > rate"),
    ("same_places_in_every_row", "You drew once for each column, so every row is masked in the same places. Each "
     "token is chosen by itself: draw a number for every element of the batch.",
     "draws < rate", "draws[:1] < rate"),
    ("one_random_token_for_all", "All replaced tokens became the same random token. Draw one for every place.",
     "replaced, random_ids,", "replaced, random_ids[0, 0].clamp(min=mask_id + 1),"),
    ("generator_ignored", "You drew from PyTorch's global generator, so nobody can repeat your masks. Pass "
     "`generator=generator` to every random function.",
     "rand(input_ids.shape, generator=generator)", "rand(input_ids.shape)",
     "uniform_(generator=generator)", "uniform_()",
     "vocab_size, input_ids.shape, generator=generator", "vocab_size, input_ids.shape"),
    ("generator_seeded_anew", "You seed inside the function, so every call masks the same places: the model never "
     "sees another version of a text. Use the generator you are given, and leave its seed alone.",
     "    draws = ", "    generator = torch.Generator().manual_seed(0)\n    draws = "),
    ("input_ids_masked_in_place", "You changed input_ids itself: in the next epoch the original text is gone. Work "
     "on a copy (`input_ids.clone()`, or torch.where, which makes a new tensor).",
     "return corrupted, labels", "return input_ids.copy_(corrupted), labels"),
    ("last_id_never_drawn", "Your random ids never reach the last one: `torch.randint(n)` leaves out n itself. Hand "
     "it vocab_size.",
     "randint(0, vocab_size,", "randint(0, vocab_size - 1,"),
    ("first_id_never_drawn", "Your random ids begin at 1. Id 0 is one of [0, vocab_size) as well.",
     "randint(0, vocab_size,", "randint(1, vocab_size,"),
    ("not_the_whole_vocabulary", "You draw the random tokens from a part of the vocabulary: the ids that stand in "
     "this batch, or those above the special ones. They come from the whole of it, [0, vocab_size), all ids equally "
     "likely.",
     "torch.randint(0, vocab_size, input_ids.shape, generator=generator)",
     "input_ids.flatten()[torch.randint(input_ids.numel(), input_ids.shape, generator=generator)]"),
    ("fixed_number_in_each_row", "You choose a fixed number in each row, the rate times its length, rounded: in "
     "short rows that is another rate, or none at all. Each token is chosen by itself, with probability `rate`.",
     "draws < rate",
     "draws.masked_fill(is_special, 2.0).argsort(-1).argsort(-1) < (rate * (~is_special).sum(-1, keepdim=True)).int()"),
    ("special_by_its_id", "You take small ids for special tokens. is_special says which are: a tokenizer's special "
     "tokens may have any id.",
     "~is_special", "(input_ids > mask_id)"),
    ("ids_as_floats", "You return floating-point numbers. Ids are integers, and neither an embedding nor "
     "cross-entropy takes others.",
     "return corrupted, labels", "return corrupted.float(), labels.float()"),
])


# --- Exercise 11: pairs for next-sentence prediction


def _draw(n, generator):
    return int(torch.randint(n, (1,), generator=generator))


def nsp_pairs(documents, generator):
    pairs = []
    for i, document in enumerate(documents):
        for first, successor in pairwise(document):
            is_next = _draw(2, generator) == 1
            second = successor
            while not is_next and second == successor:
                other = (i + 1 + _draw(len(documents) - 1, generator)) % len(documents)
                second = documents[other][_draw(len(documents[other]), generator)]
            pairs.append((first, second, is_next))
    return pairs


changes("nsp_pairs", nsp_pairs, [
    ("any_document", "The other sentence sometimes comes from the *same* document. It should come from another one: "
     "draw again, or leave this document out of the draw.",
     "(i + 1 + _draw(len(documents) - 1, generator)) % len(documents)", "_draw(len(documents), generator)"),
    ("true_successor_called_false", "Two documents may share a sentence, and then your random sentence can be the "
     "very words that follow, labelled as not following. Draw again when it equals the true successor.",
     "second = successor\n", "second = successor if is_next else None\n", "second == successor", "second is None"),
    ("always_the_successor", "All your pairs are real, so there is nothing to tell apart. In half of them the second "
     "sentence comes from elsewhere.",
     "_draw(2, generator) == 1", "True"),
    ("never_the_successor", "None of your pairs is real, so there is nothing to tell apart. In half of them the "
     "second sentence is the successor.",
     "_draw(2, generator) == 1", "False"),
    ("labels_inverted", "Your labels are the wrong way round: is_next is True where the second sentence *is* the "
     "successor.",
     "second, is_next))", "second, not is_next))"),
    ("always_a_first_sentence", "Your other sentences are always the first of their document. A model would learn to "
     "know first sentences, not what follows what. Draw from the whole document.",
     "[_draw(len(documents[other]), generator)]", "[0]"),
    ("always_the_next_document", "Your other sentences always come from the document next to this one in the list. "
     "Draw the document at random, too.",
     "(i + 1 + _draw(len(documents) - 1, generator)) % len(documents)", "(i + 1) % len(documents)"),
    ("one_other_document_for_all", "All your other sentences come from one document: it was drawn once, outside the "
     "loop. Draw for every pair.",
     "pairs = []", "pairs, chosen = [], _draw(len(documents), generator)",
     "(i + 1 + _draw(len(documents) - 1, generator)) % len(documents)",
     "chosen if chosen != i else (chosen + 1) % len(documents)"),
    ("pairs_across_documents", "You joined the documents, so the last sentence of one is followed by the first of "
     "the next. Documents are independent: a last sentence has no successor.",
     "pairwise(document)", "pairwise(document + [following[0] for following in documents[i + 1 : i + 2]])"),
    ("last_sentences_paired_too", "The last sentence of a document is the first of a pair as well. It has no "
     "successor, so it begins no pair.",
     "pairwise(document)", "zip(document, [*document[1:], None])",
     "_draw(2, generator) == 1", "successor is not None and _draw(2, generator) == 1"),
    ("two_pairs_a_sentence", "You made two pairs of every sentence, a real one and another. Each sentence is the "
     "first of *one* pair; a coin decides of which kind.",
     "for first, successor in pairwise(document)",
     "for (first, successor), is_next in product(pairwise(document), (True, False))",
     "            is_next = _draw(2, generator) == 1\n", ""),
    ("pairs_that_do_not_overlap", "You take the sentences two by two, so every second one is never the first of a "
     "pair. Move on by one sentence.",
     "pairwise(document)", "list(pairwise(document))[::2]"),
    ("one_pair_a_document", "You made one pair from each document. Every sentence that has a successor is the first "
     "of a pair.",
     "pairs = []", "pairs, documents = [], [document[:2] for document in documents]"),
    ("unlucky_draws_dropped", "When the draw hits the same document you make no pair at all, so sentences are lost "
     "(and real pairs outweigh the others). Draw again instead.",
     "while not is_next and second == successor", "if not is_next",
     "(i + 1 + _draw(len(documents) - 1, generator)) % len(documents)", "_draw(len(documents), generator)",
     "            pairs.append(",
     "            if is_next or (other != i and second != successor):\n                pairs.append("),
    ("kinds_in_turn", "Real and other pairs take turns, so the place of a pair gives its label away. Toss a coin for "
     "each: with probability 1/2 it is real.",
     "_draw(2, generator) == 1", "len(pairs) % 2 == 1"),
    ("python_random_used", "You drew from Python's (or PyTorch's) global random state, so nobody can repeat your "
     "pairs. All draws come from the generator you are given.",
     "pairs = []", "pairs, generator = [], torch.Generator().manual_seed(random.getrandbits(32))"),
    ("last_sentence_never_drawn", "Your other sentences are never the last of their document: `torch.randint(n)` "
     "leaves out n itself. Hand it the number of sentences.",
     "_draw(len(documents[other]), generator)", "_draw(len(documents[other]) - 1, generator)"),
    ("last_document_never_drawn", "Your other sentences never come from the last document: `torch.randint(n)` leaves "
     "out n itself. Draw among all documents, and again where it is this one.",
     "(i + 1 + _draw(len(documents) - 1, generator)) % len(documents)",
     "_draw(len(documents) - 1, generator)\n                if other == i:\n                    continue"),
    ("one_other_document_for_each", "Your other sentences for one document all come from one other: it is drawn "
     "outside the inner loop. Draw for every pair.",
     "        for first, successor in",
     "        chosen = (i + 1 + _draw(len(documents) - 1, generator)) % len(documents)\n        for first, successor in",
     "other = (i + 1 + _draw(len(documents) - 1, generator)) % len(documents)", "other = chosen"),
    ("sentences_taken_out", "You take sentences out of the caller's documents (`pop`): the next epoch finds them "
     "empty. Read them by index, or with zip.",
     "for first, successor in pairwise(document):",
     "while len(document) > 1:\n            first, successor = document.pop(0), document[0]"),
    ("drawn_from_all_sentences", "You draw the other sentence from all there are: it may come from the same "
     "document, and be the very successor. Draw again when it does.",
     "(i + 1 + _draw(len(documents) - 1, generator)) % len(documents)", "_draw(len(documents), generator)",
     "second = successor\n", "second = successor if is_next else None\n", "second == successor", "second is None"),
    ("order_swapped", "Your pairs are the wrong way round: the sentence that has a successor comes first, the other "
     "one second.",
     "(first, second, is_next)", "(second, first, is_next)"),
    ("one_kind_a_document", "You toss one coin for each document, so all its pairs are of one kind. Toss for each "
     "pair.",
     "        for first, successor in", "        kind = _draw(2, generator) == 1\n        for first, successor in",
     "is_next = _draw(2, generator) == 1", "is_next = kind"),
])
