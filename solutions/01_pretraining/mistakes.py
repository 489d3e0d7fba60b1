"""Wrong answers to chapter 01. Each docstring is the hint the student reads: what was done, why it is wrong, where to
look. Helpers hold what several mistakes share."""

import math
import random
from collections import Counter, defaultdict
from itertools import pairwise

import torch
import torch.nn.functional as F

from autograder.judging.catalogue import mistake

# --- Exercise 1: labels, and what padding is not


@mistake("make_labels")
def padding_kept(input_ids, attention_mask):
    """Your labels hold the padding id where the mask is 0, so the model would be trained to predict padding. Use the
    mask."""
    return input_ids.clone()


@mistake("make_labels")
def zero_on_padding(input_ids, attention_mask):
    """You put 0 on padding. 0 is an ordinary token id, so it still counts as a target; -100 is the label that is left
    out."""
    return input_ids * attention_mask


@mistake("make_labels")
def minus_one_on_padding(input_ids, attention_mask):
    """You put -1 on padding. PyTorch and transformers leave out the label -100; -1 is an error or a wrong target."""
    return input_ids.masked_fill(attention_mask == 0, -1)


@mistake("make_labels")
def padding_by_its_id(input_ids, attention_mask):
    """You looked for the padding *id*. A real token may have that id (many models pad with their end token): ask the
    mask."""
    return input_ids.masked_fill(input_ids == 0, -100)


@mistake("make_labels")
def mask_inverted(input_ids, attention_mask):
    """You put -100 where the mask is 1: the real tokens are left out and padding is learned. It is the other way
    round."""
    return input_ids.masked_fill(attention_mask == 1, -100)


@mistake("make_labels")
def labels_already_shifted(input_ids, attention_mask):
    """You shifted the labels by one. The loss does that (here and in transformers); shifted twice, the model learns
    to predict the token after the next."""
    labels = torch.full_like(input_ids, -100)
    labels[:, :-1] = input_ids[:, 1:].masked_fill(attention_mask[:, 1:] == 0, -100)
    return labels


@mistake("make_labels")
def input_ids_overwritten(input_ids, attention_mask):
    """You wrote -100 into input_ids itself: labels and input are one tensor now, and -100 is no id the model can
    embed. Change a copy."""
    input_ids[attention_mask == 0] = -100
    return input_ids


@mistake("make_labels")
def padding_only_on_the_right(input_ids, attention_mask):
    """You counted the real tokens and ignored what comes after that many places. With padding on the left this
    ignores the wrong end: take each position's own value of the mask."""
    lengths = attention_mask.sum(1, keepdim=True)
    return input_ids.masked_fill(torch.arange(input_ids.shape[1]) >= lengths, -100)


@mistake("make_labels")
def labels_as_floats(input_ids, attention_mask):
    """Your labels are floating-point numbers. Ids are integers, and cross-entropy takes them only as such: look for
    what turned them into floats (a division, a float mask, a float constant)."""
    return torch.where(attention_mask == 1, input_ids.float(), torch.tensor(-100.0))


# --- Exercise 2: the causal language-modelling loss


def _pairs_of(logits, labels):
    """Logits (targets, vocab) and labels (targets,) of the positions that count, shifted as they should be."""
    logits, labels = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    return logits[labels != -100], labels[labels != -100]


@mistake("causal_lm_loss")
def not_shifted(logits, labels):
    """You compared each position with its own token. The logits at t are the guess about the token at t + 1: shift
    one against the other."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)


@mistake("causal_lm_loss")
def shifted_the_wrong_way(logits, labels):
    """You shifted in the wrong direction: the logits at t are compared with the token *before* them. Which end of the
    logits has nothing to predict, and which end of the labels is predicted by nobody?"""
    return F.cross_entropy(logits[:, 1:].flatten(0, 1), labels[:, :-1].flatten(), ignore_index=-100)


@mistake("causal_lm_loss")
def shifted_by_two(logits, labels):
    """You compared the logits at t with the token at t + 2. Shift by one place, once."""
    return F.cross_entropy(logits[:, :-2].flatten(0, 1), labels[:, 2:].flatten(), ignore_index=-100)


@mistake("causal_lm_loss")
def shifted_after_flattening(logits, labels):
    """You flattened the batch before you shifted, so the last position of a row predicts the first token of the next
    row. Shift along the sequence axis first, then flatten."""
    return F.cross_entropy(logits.flatten(0, 1)[:-1], labels.flatten()[1:], ignore_index=-100)


@mistake("causal_lm_loss")
def shifted_along_the_batch(logits, labels):
    """You shifted along the first axis, so each row is compared with the text of the row below it. The sequence is
    the second axis: `[:, …]`."""
    return F.cross_entropy(logits[:-1].flatten(0, 1), labels[1:].flatten(), ignore_index=-100)


@mistake("causal_lm_loss")
def sum_over_targets(logits, labels):
    """You returned the sum over the targets, which grows with the batch. Divide by how many targets count."""
    return F.cross_entropy(*_pairs_of(logits, labels), reduction="sum")


@mistake("causal_lm_loss")
def divided_by_every_position(logits, labels):
    """You divided by all positions, padding included, so a batch with more padding looks easier. Divide by the number
    of targets that are not -100."""
    return F.cross_entropy(*_pairs_of(logits, labels), reduction="sum") / labels[:, 1:].numel()


@mistake("causal_lm_loss")
def padding_counted_as_a_token(logits, labels):
    """Padding counts in your loss: -100 became an ordinary token id somewhere. Those targets must have no weight at
    all."""
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].clamp(min=0).flatten())


@mistake("causal_lm_loss")
def token_zero_ignored(logits, labels):
    """You leave out the targets with id 0. Token 0 is a token like any other; what does not count has the label
    -100."""
    logits, labels = _pairs_of(logits, labels)
    return F.cross_entropy(logits, labels, ignore_index=0)


@mistake("causal_lm_loss")
def mean_of_row_means(logits, labels):
    """You averaged each row first and then the rows, so a token in a short row weighs more than one in a long row.
    Every target counts the same: one sum, one division."""
    losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], ignore_index=-100, reduction="none")
    return (losses.sum(1) / (labels[:, 1:] != -100).sum(1)).mean()


@mistake("causal_lm_loss")
def loss_in_bits(logits, labels):
    """You took the logarithm to base 2. The loss is in nats here, as everywhere in PyTorch: use the natural
    logarithm."""
    return F.cross_entropy(*_pairs_of(logits, labels)) / math.log(2)


@mistake("causal_lm_loss")
def minus_missing(logits, labels):
    """You returned the mean of +log p, which is negative. A loss gets *smaller* as the model gets better: mind the
    sign."""
    return -F.cross_entropy(*_pairs_of(logits, labels))


@mistake("causal_lm_loss")
def probability_without_logarithm(logits, labels):
    """You averaged probabilities, not their logarithms. The likelihood of a text is a product of probabilities, so
    its logarithm is a sum of log p."""
    logits, labels = _pairs_of(logits, labels)
    return -logits.softmax(-1).gather(-1, labels[:, None]).mean()


@mistake("causal_lm_loss")
def softmax_taken_twice(logits, labels):
    """You passed probabilities to a function that expects logits: `F.cross_entropy` takes the softmax itself, so it
    is applied twice here. Hand over the logits as they are."""
    logits, labels = _pairs_of(logits, labels)
    return F.cross_entropy(logits.softmax(-1), labels)


@mistake("causal_lm_loss")
def softmax_over_positions(logits, labels):
    """Your softmax runs over the positions of a row. The alternatives to a token are the other words of the
    vocabulary: the last axis."""
    log_probs = logits[:, :-1].log_softmax(1)
    targets = labels[:, 1:]
    losses = -log_probs.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return losses[targets != -100].mean()


@mistake("causal_lm_loss")
def naive_softmax(logits, labels):
    """You computed exp(logits) / sum(exp(logits)) and then its logarithm. exp overflows near 89 in float32, and inf /
    inf is NaN. Use log_softmax, which subtracts the largest logit first."""
    logits, labels = _pairs_of(logits, labels)
    probs = logits.exp() / logits.exp().sum(-1, keepdim=True)
    return -probs.gather(-1, labels[:, None]).log().mean()


@mistake("causal_lm_loss")
def softmax_then_log(logits, labels):
    """With large logits your loss is infinite: a small probability was rounded to 0 before its logarithm was taken,
    or sum(exp(logits)) overflowed. log_softmax takes both steps in one and forms neither number."""
    logits, labels = _pairs_of(logits, labels)
    return -logits.softmax(-1).log().gather(-1, labels[:, None]).mean()


@mistake("causal_lm_loss")
def cut_from_the_graph(logits, labels):
    """The value is right, but it is cut off from the logits, so nothing can be learned from it. Return the tensor
    itself: no .item(), .detach(), .data or torch.tensor(…)."""
    return F.cross_entropy(*_pairs_of(logits, labels)).detach()


# --- Exercise 3: counting n-grams


def _count(documents, positions, context_of):
    counts = defaultdict(Counter)
    for document in documents:
        for i in positions(document):
            counts[tuple(context_of(document, i))][document[i]] += 1
    return counts


def _after_bos(document):
    return range(1, len(document))


@mistake("count_ngrams")
def contexts_of_n_tokens(documents, n):
    """Your contexts are one token too long. An n-gram is n tokens *with* the one that is predicted, so its context
    has n - 1."""
    return _count(documents, _after_bos, lambda document, i: document[max(0, i - n) : i])


@mistake("count_ngrams")
def only_full_contexts(documents, n):
    """You skip the tokens near the beginning, which have fewer than n - 1 tokens before them. They count too, under
    the shorter context that there is."""
    return _count(documents, lambda d: range(max(1, n - 1), len(d)), lambda document, i: document[i - n + 1 : i])


@mistake("count_ngrams")
def beginning_padded(documents, n):
    """You filled the contexts at the beginning up with more <bos>. Here such a context is just shorter: all tokens
    there are before it, and no more."""
    return _count(
        [[d[0]] * (n - 2) + d for d in documents],
        lambda d: range(max(1, n - 1), len(d)),
        lambda document, i: document[i - n + 1 : i],
    )


@mistake("count_ngrams")
def windows_across_documents(documents, n):
    """Your windows run from one document into the next, so the end of a story predicts the beginning of another.
    Begin afresh in every document."""
    stream = [token for document in documents for token in document]
    starts, place = set(), 0
    for document in documents:
        starts.add(place)
        place += len(document)
    return _count(
        [stream],
        lambda s: [i for i in range(len(s)) if i not in starts],
        lambda s, i: s[max(0, i - n + 1) : i],
    )


@mistake("count_ngrams")
def bos_counted(documents, n):
    """You count <bos> as if something predicted it. It is given, not predicted: begin with the token after it."""
    return _count(documents, lambda d: range(len(d)), lambda document, i: document[max(0, i - n + 1) : i])


@mistake("count_ngrams")
def last_token_missed(documents, n):
    """The last token of each document (<eos>) is never counted, so the model cannot learn where a text ends. Check
    the end of your range."""
    return _count(documents, lambda d: range(1, len(d) - 1), lambda document, i: document[max(0, i - n + 1) : i])


@mistake("count_ngrams")
def context_reversed(documents, n):
    """Your contexts stand in reverse, the nearest token first. Keep them in the order of the text."""
    return _count(documents, _after_bos, lambda document, i: document[max(0, i - n + 1) : i][::-1])


@mistake("count_ngrams")
def context_after_the_token(documents, n):
    """Your counts say which token stands *before* a context. A language model predicts what follows it: exchange the
    two."""
    return _count(documents, lambda d: range(len(d) - 1), lambda document, i: document[i + 1 : i + n] if n > 1 else ())


@mistake("count_ngrams")
def occurrence_for_count(documents, n):
    """Every count of yours is 1: you noted *whether* a token follows a context, not how often. Add 1 each time."""
    counts = _count(documents, _after_bos, lambda document, i: document[max(0, i - n + 1) : i])
    return {context: Counter(set(followers)) for context, followers in counts.items()}


@mistake("count_ngrams")
def only_the_last_document(documents, n):
    """Only the last document is in your counts. Is the dictionary made anew inside the loop?"""
    return _count(documents[-1:], _after_bos, lambda document, i: document[max(0, i - n + 1) : i])


@mistake("count_ngrams")
def windows_that_do_not_overlap(documents, n):
    """You move on by n tokens at a time, so most n-grams are skipped. Each token has its own window: move on by
    one."""
    return _count(documents, lambda d: range(1, len(d), n), lambda document, i: document[max(0, i - n + 1) : i])


@mistake("count_ngrams")
def contexts_as_text(documents, n):
    """Your contexts are not tuples of token ids. A tuple can be a key of a dict (a list cannot), keeps the ids apart,
    and works for every n, with () as the empty context."""
    counts = _count(documents, _after_bos, lambda document, i: document[max(0, i - n + 1) : i])
    return {" ".join(str(token) for token in context): followers for context, followers in counts.items()}


@mistake("count_ngrams")
def flat_counts(documents, n):
    """You counted whole n-grams in one Counter. To get at the probability of a token you need the counts by context:
    a dict from each context to a Counter of what follows."""
    counts = Counter()
    for document in documents:
        for i in range(1, len(document)):
            counts[tuple(document[max(0, i - n + 1) : i + 1])] += 1
    return counts


# --- Exercise 4: the loss of an n-gram model


def _token_losses(counts, documents, n, vocab_size, alpha, first=1, context_tokens=None, skip_short=False):
    """-log p of each predicted token, one list a document; infinity where p is 0."""
    size = n - 1 if context_tokens is None else context_tokens
    losses = []
    for document in documents:
        losses.append([])
        for i in range(max(first, size) if skip_short else first, len(document)):
            seen = counts.get(tuple(document[max(0, i - size) : i]), Counter())
            losses[-1].append(_cost(seen[document[i]] + alpha, sum(seen.values()) + alpha * vocab_size))
    return losses


def _cost(above, below):
    return -math.log(above / below) if above > 0 else math.inf


def _all_of(lists):
    return [x for each in lists for x in each]


def _mean(numbers):
    return sum(numbers) / len(numbers)


@mistake("ngram_loss")
def mean_of_document_means(counts, documents, n, vocab_size, alpha):
    """You averaged each document and then the documents, so a token of a short document weighs more. Every token
    counts the same: one sum over all, one division."""
    return _mean([_mean(losses) for losses in _token_losses(counts, documents, n, vocab_size, alpha)])


@mistake("ngram_loss")
def sum_over_tokens(counts, documents, n, vocab_size, alpha):
    """You returned the sum over all tokens. The loss is their mean, so that texts of different lengths can be
    compared."""
    return sum(_all_of(_token_losses(counts, documents, n, vocab_size, alpha)))


@mistake("ngram_loss")
def divided_by_every_token(counts, documents, n, vocab_size, alpha):
    """You divided by the number of all tokens, <bos> included. <bos> is not predicted, so it is not counted
    either."""
    return sum(_all_of(_token_losses(counts, documents, n, vocab_size, alpha))) / sum(len(d) for d in documents)


@mistake("ngram_loss")
def plus_log_probability(counts, documents, n, vocab_size, alpha):
    """Your loss has the wrong sign: log p is negative, and the loss is minus its mean."""
    return -_mean(_all_of(_token_losses(counts, documents, n, vocab_size, alpha)))


@mistake("ngram_loss")
def ngram_loss_in_bits(counts, documents, n, vocab_size, alpha):
    """Your loss is in bits (log to base 2). It is asked for in nats: use the natural logarithm."""
    return _mean(_all_of(_token_losses(counts, documents, n, vocab_size, alpha))) / math.log(2)


@mistake("ngram_loss")
def perplexity_for_loss(counts, documents, n, vocab_size, alpha):
    """You returned the perplexity. The loss is its logarithm: leave out the last exp."""
    return math.exp(_mean(_all_of(_token_losses(counts, documents, n, vocab_size, alpha))))


@mistake("ngram_loss")
def alpha_missing_below(counts, documents, n, vocab_size, alpha):
    """You added alpha above the line only, so the probabilities of a context sum to more than 1. Below the line,
    alpha comes in once for every token of the vocabulary."""
    total = []
    for document in documents:
        for i in range(1, len(document)):
            seen = counts.get(tuple(document[max(0, i - n + 1) : i]), Counter())
            total.append(_cost(seen[document[i]] + alpha, sum(seen.values()) or 1))
    return _mean(total)


@mistake("ngram_loss")
def alpha_once_below(counts, documents, n, vocab_size, alpha):
    """You added alpha once below the line. Above it, alpha is added to *each* token of the vocabulary, so below it
    comes in vocab_size times; else the probabilities do not sum to 1."""
    return _mean(_all_of(_token_losses(counts, documents, n, 1, alpha)))


@mistake("ngram_loss")
def vocabulary_of_the_context(counts, documents, n, vocab_size, alpha):
    """You multiplied alpha by the number of *different tokens seen* after the context. A token that was never seen
    gets alpha too: multiply by vocab_size."""
    total = []
    for document in documents:
        for i in range(1, len(document)):
            seen = counts.get(tuple(document[max(0, i - n + 1) : i]), Counter())
            total.append(_cost(seen[document[i]] + alpha, sum(seen.values()) + alpha * (len(seen) or 1)))
    return _mean(total)


@mistake("ngram_loss")
def bos_predicted(counts, documents, n, vocab_size, alpha):
    """You ask for the probability of <bos> as well. It is given, not predicted: begin with the token after it."""
    return _mean(_all_of(_token_losses(counts, documents, n, vocab_size, alpha, first=0)))


@mistake("ngram_loss")
def contexts_one_token_too_long(counts, documents, n, vocab_size, alpha):
    """You look up contexts of n tokens, which were never counted, so every token looks unseen. A context has n -
    1."""
    return _mean(_all_of(_token_losses(counts, documents, n, vocab_size, alpha, context_tokens=n)))


@mistake("ngram_loss")
def short_contexts_skipped(counts, documents, n, vocab_size, alpha):
    """You leave out the tokens near the beginning, whose contexts are shorter than n - 1. They are predicted too,
    from what there is before them."""
    return _mean(_all_of(_token_losses(counts, documents, n, vocab_size, alpha, skip_short=True)))


@mistake("ngram_loss")
def unseen_contexts_raise(counts, documents, n, vocab_size, alpha):
    """A context that was never counted raises KeyError. It has the count 0 for every token: look it up with
    `counts.get(context, …)`."""
    for document in documents:
        for i in range(1, len(document)):
            counts[tuple(document[max(0, i - n + 1) : i])]
    return _mean(_all_of(_token_losses(counts, documents, n, vocab_size, alpha)))


@mistake("ngram_loss")
def unseen_contexts_skipped(counts, documents, n, vocab_size, alpha):
    """You leave out tokens whose context was never counted, which makes hard text look easy. With alpha > 0 they have
    the probability 1 / vocab_size."""
    losses = []
    for document in documents:
        for i in range(1, len(document)):
            seen = counts.get(tuple(document[max(0, i - n + 1) : i]))
            if seen is not None:
                losses.append(_cost(seen[document[i]] + alpha, sum(seen.values()) + alpha * vocab_size))
    return _mean(losses)


@mistake("ngram_loss")
def impossible_tokens_skipped(counts, documents, n, vocab_size, alpha):
    """You leave out tokens of probability 0, so the model is not blamed for what it held to be impossible. Their -log
    p is infinite, and so is the mean."""
    losses = _all_of(_token_losses(counts, documents, n, vocab_size, alpha))
    return _mean([x for x in losses if math.isfinite(x)])


@mistake("ngram_loss")
def logarithm_of_zero_raises(counts, documents, n, vocab_size, alpha):
    """`math.log(0)` raises. A token of probability 0 has an infinite loss: treat that case before you take the
    logarithm."""
    losses = _all_of(_token_losses(counts, documents, n, vocab_size, alpha))
    if math.inf in losses:
        math.log(0)
    return _mean(losses)


@mistake("ngram_loss")
def logarithm_of_the_mean(counts, documents, n, vocab_size, alpha):
    """You averaged the probabilities and took the logarithm of that. The loss is the mean of -log p: logarithm first,
    then the mean."""
    losses = _all_of(_token_losses(counts, documents, n, vocab_size, alpha))
    return -math.log(_mean([math.exp(-x) for x in losses]))


@mistake("ngram_loss")
def product_of_probabilities(counts, documents, n, vocab_size, alpha):
    """You multiplied the probabilities and took the logarithm at the end. Over a long text the product is too small
    for a float and becomes 0. Add up logarithms instead."""
    losses = _all_of(_token_losses(counts, documents, n, vocab_size, alpha))
    product = math.prod(math.exp(-x) for x in losses)
    return _cost(product, 1) / len(losses)


# --- Exercise 5: perplexity and bits per byte


@mistake("perplexity")
def exp_of_the_sum(token_losses):
    """You took exp of the *sum*: that is one over the probability of the whole text, which explodes with its length.
    Take the mean first."""
    return token_losses.sum().exp().item()


@mistake("perplexity")
def mean_of_exps(token_losses):
    """You took exp of each loss and averaged afterwards, so a single hard token decides everything. Mean first, exp
    second."""
    return token_losses.exp().mean().item()


@mistake("perplexity")
def power_of_two(token_losses):
    """You raised 2 to the mean loss. That belongs to losses in bits; these are in nats, so the base is e."""
    return 2 ** token_losses.mean().item()


@mistake("perplexity")
def no_exp(token_losses):
    """You returned the mean loss itself. Perplexity is its exponential: the number of equally likely tokens that
    would be as hard to guess."""
    return token_losses.mean().item()


@mistake("perplexity")
def exp_of_minus_the_mean(token_losses):
    """You took exp of *minus* the mean loss: that is the (geometric) mean probability of a token. Perplexity is one
    over it."""
    return (-token_losses.mean()).exp().item()


@mistake("perplexity")
def first_loss_dropped(token_losses):
    """You left out the first loss. The losses you are given are already those of the predicted tokens: all of them
    count."""
    return token_losses[1:].mean().exp().item()


@mistake("perplexity")
def exp_of_each(token_losses):
    """You returned one number for each token. The perplexity of a text is a single number: exp of the *mean* loss."""
    return token_losses.exp()


@mistake("perplexity")
def root_of_a_huge_number(token_losses):
    """You took exp of the sum and then its n-th root. On paper that is the perplexity; in float32 the exp overflows
    before the root is taken. Take the mean first, then exp."""
    return (token_losses.sum().exp() ** (1 / len(token_losses))).item()


def _bits(token_losses):
    return token_losses.sum().item() / math.log(2)


@mistake("bits_per_byte")
def characters_for_bytes(token_losses, text):
    """You divided by the number of characters. A letter outside ASCII takes two bytes or more: count the bytes of the
    text's UTF-8 encoding."""
    return _bits(token_losses) / len(text)


@mistake("bits_per_byte")
def nats_per_byte(token_losses, text):
    """Your result is in nats. A bit is log(2) nats: divide by it."""
    return token_losses.sum().item() / len(text.encode())


@mistake("bits_per_byte")
def multiplied_by_log_two(token_losses, text):
    """You multiplied by log(2) where it should divide. A nat is *more* than a bit (1.44 of them), so the number in
    bits is the larger one."""
    return token_losses.sum().item() * math.log(2) / len(text.encode())


@mistake("bits_per_byte")
def mean_loss_per_byte(token_losses, text):
    """You divided the *mean* loss by the bytes. All the bits of the text are to be shared among its bytes: take the
    sum."""
    return _bits(token_losses) / len(token_losses) / len(text.encode())


@mistake("bits_per_byte")
def bits_per_token(token_losses, text):
    """You computed bits per *token*. That depends on how the tokenizer cuts the text, which is why bytes are counted
    here."""
    return _bits(token_losses) / len(token_losses)


@mistake("bits_per_byte")
def bits_per_word(token_losses, text):
    """You divided by the number of words. Divide by the number of bytes of the text in UTF-8."""
    return _bits(token_losses) / len(text.split())


@mistake("bits_per_byte")
def divided_by_the_bits_of_the_text(token_losses, text):
    """You divided by 8 times the number of bytes. The unit is bits of loss per *byte* of text: no factor 8."""
    return _bits(token_losses) / (8 * len(text.encode()))


@mistake("bits_per_byte")
def logarithm_of_the_loss(token_losses, text):
    """You took log2 of the loss. The losses are logarithms already: to turn nats into bits, divide them by log(2)."""
    return math.log2(token_losses.sum().item()) / len(text.encode())


@mistake("bits_per_byte")
def two_bytes_a_character(token_losses, text):
    """You counted bytes in UTF-16, two for each letter. The convention is UTF-8: `text.encode("utf-8")`."""
    return _bits(token_losses) / len(text.encode("utf-16-le"))


# --- Exercise 6: choosing the next token


def _next_token_probs(
    logits,
    temperature=1.0,
    top_k=None,
    top_p=None,
    *,
    scale=lambda logits, temperature: logits / temperature,
    keep_k=lambda logits, k: logits.masked_fill(
        logits < logits.topk(min(k, logits.shape[-1])).values[:, -1:], -math.inf
    ),
    keep_p=lambda probs, p: _nucleus(probs, lambda sums, ordered: sums - ordered < p),
):
    """The right distribution, with steps that can be exchanged for wrong ones."""
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).float()
    logits = scale(logits, temperature)
    if top_k is not None:
        logits = keep_k(logits, top_k)
    probs = logits.softmax(-1)
    if top_p is not None:
        probs = keep_p(probs, top_p)
    return probs / probs.sum(-1, keepdim=True)


def _nucleus(probs, kept):
    """Probabilities where kept(running sums, ordered probabilities) holds, 0 elsewhere."""
    ordered, order = probs.sort(descending=True)
    return torch.zeros_like(probs).scatter(-1, order, ordered * kept(ordered.cumsum(-1), ordered))


@mistake("next_token_probs")
def multiplied_by_the_temperature(logits, temperature=1.0, top_k=None, top_p=None):
    """You multiplied by the temperature, so a high one sharpens the distribution. Divide: a high temperature
    flattens."""
    return _next_token_probs(logits, temperature, top_k, top_p, scale=lambda logits, t: logits * t)


@mistake("next_token_probs")
def temperature_on_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    """You applied the temperature to the probabilities: renormalising undoes that. It divides the *logits*, before
    the softmax."""
    return _next_token_probs(logits, temperature, top_k, top_p, scale=lambda logits, t: logits)


@mistake("next_token_probs")
def temperature_zero_divides(logits, temperature=1.0, top_k=None, top_p=None):
    """Temperature 0 divides by zero and gives NaN. In the limit all probability sits on the largest logit: treat it
    as a case of its own."""
    if temperature == 0:
        return (logits / 0.0).softmax(-1)
    return _next_token_probs(logits, temperature, top_k, top_p)


@mistake("next_token_probs")
def temperature_after_the_filters(logits, temperature=1.0, top_k=None, top_p=None):
    """You chose the top-p tokens at temperature 1 and applied the temperature afterwards. It comes first: it changes
    which tokens hold the mass top_p."""
    if temperature == 0:
        return _next_token_probs(logits, 0)
    kept = _next_token_probs(logits, 1.0, top_k, top_p)
    return (kept.log() / temperature).softmax(-1)


@mistake("next_token_probs")
def top_k_not_renormalised(logits, temperature=1.0, top_k=None, top_p=None):
    """After top-k your rows do not sum to 1. What is cut off is shared among the tokens that stay: divide by the sum,
    or set logits to -inf before the softmax."""
    if top_k is None or top_p is not None or temperature == 0:
        return _next_token_probs(logits, temperature, top_k, top_p)
    probs = (logits / temperature).softmax(-1)
    return probs * (probs >= probs.topk(min(top_k, logits.shape[-1])).values[:, -1:])


@mistake("next_token_probs")
def top_p_not_renormalised(logits, temperature=1.0, top_k=None, top_p=None):
    """After top-p your rows do not sum to 1. What is cut off is shared among the tokens that stay: divide by the
    sum."""
    probs = _next_token_probs(logits, temperature, top_k)
    return probs if top_p is None else _nucleus(probs, lambda sums, ordered: sums - ordered < top_p)


@mistake("next_token_probs")
def zero_for_minus_infinity(logits, temperature=1.0, top_k=None, top_p=None):
    """You set the logits of dropped tokens to 0. exp(0) is 1, so they keep some probability, often more than before.
    Set them to -inf."""

    def keep_k(logits, k):
        return logits.masked_fill(logits < logits.topk(min(k, logits.shape[-1])).values[:, -1:], 0.0)

    return _next_token_probs(logits, temperature, top_k, top_p, keep_k=keep_k)


@mistake("next_token_probs")
def one_threshold_for_the_batch(logits, temperature=1.0, top_k=None, top_p=None):
    """You used one threshold for the whole batch. Each row has its own k-th largest logit: keep the axis, `[:,
    -1:]`."""

    def keep_k(logits, k):
        return logits.masked_fill(logits < logits.topk(min(k, logits.shape[-1])).values[:, -1].min(), -math.inf)

    return _next_token_probs(logits, temperature, top_k, top_p, keep_k=keep_k)


@mistake("next_token_probs")
def one_too_few_of_top_k(logits, temperature=1.0, top_k=None, top_p=None):
    """You kept k - 1 tokens: the k-th largest is dropped. It belongs to the k most likely, so compare with `<`, not
    `<=`."""

    def keep_k(logits, k):
        if k >= logits.shape[-1]:
            return logits
        return logits.masked_fill(logits <= logits.topk(k).values[:, -1:], -math.inf)

    return _next_token_probs(logits, temperature, top_k, top_p, keep_k=keep_k)


@mistake("next_token_probs")
def top_k_beyond_the_vocabulary_raises(logits, temperature=1.0, top_k=None, top_p=None):
    """`topk` raises when k is larger than the vocabulary. Then everything is kept: use the smaller of the two."""
    if top_k is not None:
        logits.topk(top_k)
    return _next_token_probs(logits, temperature, top_k, top_p)


@mistake("next_token_probs")
def crossing_token_dropped(logits, temperature=1.0, top_k=None, top_p=None):
    """You dropped the token with which the sum reaches top_p, so what is left sums to less than top_p. Ask what the
    *more likely* tokens hold already: if that is below top_p, the token stays."""

    def keep_p(probs, p):
        return _nucleus(probs, lambda sums, ordered: (sums <= p) | (sums == ordered))  # the first always stays

    return _next_token_probs(logits, temperature, top_k, top_p, keep_p=keep_p)


@mistake("next_token_probs")
def nothing_left_of_top_p(logits, temperature=1.0, top_k=None, top_p=None):
    """You kept the tokens up to a running sum of top_p. The one that reaches it is missing, and where the first alone
    exceeds it, nothing is left (0 / 0). Ask what the *more likely* tokens hold already."""
    return _next_token_probs(
        logits, temperature, top_k, top_p, keep_p=lambda probs, p: _nucleus(probs, lambda sums, ordered: sums <= p)
    )


@mistake("next_token_probs")
def one_too_many_of_top_p(logits, temperature=1.0, top_k=None, top_p=None):
    """You keep one token more than needed: the tokens before it hold top_p already. Shift the comparison by one place
    less."""

    def keep_p(probs, p):
        return _nucleus(
            probs, lambda sums, ordered: sums - ordered - ordered.roll(1, -1).index_fill(-1, torch.tensor([0]), 0) < p
        )

    return _next_token_probs(logits, temperature, top_k, top_p, keep_p=keep_p)


@mistake("next_token_probs")
def top_p_in_vocabulary_order(logits, temperature=1.0, top_k=None, top_p=None):
    """You added up probabilities in the order of the vocabulary. The most likely tokens come first: sort them, and
    put the result back into its place."""
    return _next_token_probs(
        logits, temperature, top_k, top_p, keep_p=lambda probs, p: probs * (probs.cumsum(-1) - probs < p)
    )


@mistake("next_token_probs")
def result_left_in_sorted_order(logits, temperature=1.0, top_k=None, top_p=None):
    """Your probabilities stand in sorted order: the first column is always the largest. Put each one back to its own
    token (`scatter` with the indices that `sort` gave)."""

    def keep_p(probs, p):
        ordered = probs.sort(descending=True).values
        return ordered * (ordered.cumsum(-1) - ordered < p)

    return _next_token_probs(logits, temperature, top_k, top_p, keep_p=keep_p)


@mistake("next_token_probs")
def probability_threshold(logits, temperature=1.0, top_k=None, top_p=None):
    """You compared each probability with top_p. It is their *sum*, from the most likely downwards, that should reach
    top_p."""

    def keep_p(probs, p):
        return probs * ((probs >= p) | (probs == probs.amax(-1, keepdim=True)))

    return _next_token_probs(logits, temperature, top_k, top_p, keep_p=keep_p)


@mistake("next_token_probs")
def top_p_of_the_whole_distribution(logits, temperature=1.0, top_k=None, top_p=None):
    """You measured top-p on the whole distribution. Top-k comes first, and top-p looks at what it left,
    *renormalised*: the sum then reaches top_p with fewer tokens."""
    if top_k is None or top_p is None or temperature == 0:
        return _next_token_probs(logits, temperature, top_k, top_p)
    return _next_token_probs(_next_token_probs(logits, temperature, top_p=top_p).log(), top_k=top_k)


@mistake("next_token_probs")
def softmax_over_the_batch(logits, temperature=1.0, top_k=None, top_p=None):
    """Your softmax runs over the batch: the columns sum to 1, not the rows. The alternatives are the tokens, on the
    last axis."""
    if temperature == 0:
        return _next_token_probs(logits, 0)
    return (
        _next_token_probs((logits / temperature).softmax(0).log(), 1.0, top_k, top_p)
        if (top_k or top_p)
        else (logits / temperature).softmax(0)
    )


@mistake("next_token_probs")
def log_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    """You returned log-probabilities. Probabilities are asked for: positive, and summing to 1 in each row."""
    return _next_token_probs(logits, temperature, top_k, top_p).log()


@mistake("next_token_probs")
def logits_changed_in_place(logits, temperature=1.0, top_k=None, top_p=None):
    """You divide the logits you were given in place (`/=`), so the next call with the same tensor starts from your
    result. Make a new tensor: `logits = logits / temperature`."""
    if temperature != 0:
        logits /= temperature
    return _next_token_probs(logits, 1.0 if temperature else 0, top_k, top_p)


@mistake("next_token_probs")
def exp_overflows(logits, temperature=1.0, top_k=None, top_p=None):
    """You computed exp(logits) / sum(exp(logits)). exp overflows near 89 in float32, and inf / inf is NaN. `softmax`
    subtracts the largest logit first."""
    if temperature == 0:
        return _next_token_probs(logits, 0)
    powers = (logits / temperature).exp()
    return _next_token_probs((powers / powers.sum(-1, keepdim=True)).log(), 1.0, top_k, top_p)


# --- Exercise 7: warm-up and cosine decay


def _half_cosine(done):
    return 0.5 * (1 + math.cos(math.pi * done))


def _decayed(step, max_lr, warmup_steps, total_steps, min_lr, shape=_half_cosine):
    done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return min_lr + (max_lr - min_lr) * shape(done)


@mistake("learning_rate")
def warm_up_from_the_first_step(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """Your warm-up is one step ahead: it begins at max_lr / warmup_steps. Here step 0 has the rate 0, and max_lr is
    reached *at* step warmup_steps."""
    if step < warmup_steps:
        return max_lr * (step + 1) / warmup_steps
    return _decayed(step, max_lr, warmup_steps, total_steps, min_lr)


@mistake("learning_rate")
def warm_up_one_step_too_long(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """Your warm-up takes one step too many: at step warmup_steps it should be at max_lr. Divide by warmup_steps."""
    if step <= warmup_steps:
        return max_lr * step / (warmup_steps + 1) if warmup_steps else max_lr
    return _decayed(step, max_lr, warmup_steps, total_steps, min_lr)


@mistake("learning_rate")
def no_warm_up_at_all(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """There is no warm-up: the rate is max_lr from the start. Before warmup_steps it rises on a straight line from
    0."""
    if step < warmup_steps:
        return max_lr
    return _decayed(step, max_lr, warmup_steps, total_steps, min_lr)


@mistake("learning_rate")
def warm_up_from_min_lr(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """Your warm-up begins at min_lr. It begins at 0; min_lr is where the decay ends."""
    if step < warmup_steps:
        return min_lr + (max_lr - min_lr) * step / warmup_steps
    return _decayed(step, max_lr, warmup_steps, total_steps, min_lr)


@mistake("learning_rate")
def zero_warm_up_divides(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """With warmup_steps = 0 you divide by zero. Without warm-up no step lies before its end: compare with `<` before
    you divide."""
    warm = step / warmup_steps
    return max_lr * warm if warm < 1 else _decayed(step, max_lr, warmup_steps, total_steps, min_lr)


@mistake("learning_rate")
def cosine_from_step_zero(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """Your cosine runs from step 0, so the rate jumps down where the warm-up ends. It begins at warmup_steps:
    subtract that from the step *and* from the length."""
    if step < warmup_steps:
        return max_lr * step / warmup_steps
    return min_lr + (max_lr - min_lr) * _half_cosine(min(1.0, step / total_steps))


@mistake("learning_rate")
def cosine_over_the_whole_length(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """Your cosine begins at the right place but is stretched over total_steps, so it ends too late. It has
    total_steps - warmup_steps steps."""
    if step < warmup_steps:
        return max_lr * step / warmup_steps
    return min_lr + (max_lr - min_lr) * _half_cosine(min(1.0, (step - warmup_steps) / total_steps))


@mistake("learning_rate")
def rises_after_the_end(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """Beyond total_steps your rate rises again, because the cosine does. Stop it there: the share of the decay that
    is done is at most 1."""
    if step < warmup_steps:
        return max_lr * step / warmup_steps
    return min_lr + (max_lr - min_lr) * _half_cosine((step - warmup_steps) / (total_steps - warmup_steps))


@mistake("learning_rate")
def zero_after_the_end(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """Beyond total_steps your rate is 0. It stays at min_lr."""
    if step > total_steps:
        return 0.0
    if step < warmup_steps:
        return max_lr * step / warmup_steps
    return _decayed(step, max_lr, warmup_steps, total_steps, min_lr)


@mistake("learning_rate")
def linear_decay(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """Your decay is a straight line. Half a cosine begins and ends flat: (1 + cos(pi * done)) / 2 in place of 1 -
    done."""
    if step < warmup_steps:
        return max_lr * step / warmup_steps
    return _decayed(step, max_lr, warmup_steps, total_steps, min_lr, shape=lambda done: 1 - done)


@mistake("learning_rate")
def quarter_cosine(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """You use a quarter of a cosine, cos(pi/2 * done), which ends with a steep fall. Half a cosine is asked for: from
    +1 to -1, moved to between 1 and 0."""
    if step < warmup_steps:
        return max_lr * step / warmup_steps
    return _decayed(step, max_lr, warmup_steps, total_steps, min_lr, shape=lambda done: math.cos(math.pi / 2 * done))


@mistake("learning_rate")
def cosine_not_halved(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """1 + cos runs from 2 to 0, so your rate begins at twice max_lr. Halve it."""
    if step < warmup_steps:
        return max_lr * step / warmup_steps
    return _decayed(step, max_lr, warmup_steps, total_steps, min_lr, shape=lambda done: 2 * _half_cosine(done))


@mistake("learning_rate")
def min_lr_ignored(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """Your rate decays to 0 and never looks at min_lr. The cosine runs between max_lr and min_lr."""
    if step < warmup_steps:
        return max_lr * step / warmup_steps
    return _decayed(step, max_lr, warmup_steps, total_steps, 0.0)


@mistake("learning_rate")
def min_lr_added(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """You added min_lr on top of a cosine that starts at max_lr, so the rate exceeds max_lr. The cosine covers the
    distance max_lr - min_lr."""
    if step < warmup_steps:
        return max_lr * step / warmup_steps
    return min_lr + _decayed(step, max_lr, warmup_steps, total_steps, 0.0)


@mistake("learning_rate")
def min_lr_as_a_floor(step, max_lr, warmup_steps, total_steps, min_lr=0.0):
    """You let the cosine run to 0 and cut it off at min_lr, so the rate is flat long before the end. It should reach
    min_lr exactly at total_steps."""
    if step < warmup_steps:
        return max_lr * step / warmup_steps
    return max(min_lr, _decayed(step, max_lr, warmup_steps, total_steps, 0.0))


# --- Exercise 8: the training loop


def _set_rate(optimizer, rate):
    for group in optimizer.param_groups:
        group["lr"] = rate


def _clip(model, max_norm):
    torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)


def _train(
    model,
    batches,
    optimizer,
    lr_at,
    compute_loss,
    max_norm=1.0,
    after_step=None,
    *,
    set_rate=_set_rate,
    zero=lambda optimizer: optimizer.zero_grad(),
    clip=_clip,
    first_step=0,
    first_number=0,
    mode=lambda model: model.train(),
):
    """The right loop, with steps that can be exchanged for wrong ones."""
    mode(model)
    losses = []
    for step, batch in enumerate(batches):
        set_rate(optimizer, lr_at(step + first_step))
        loss = compute_loss(model, batch)
        zero(optimizer)
        loss.backward()
        clip(model, max_norm)
        optimizer.step()
        losses.append(loss.item())
        if after_step is not None:
            after_step(step + first_number, losses[-1])
    return losses


@mistake("train")
def gradients_never_cleared(*given, **options):
    """You never clear the gradients. `backward` adds to what is there, so each step also uses the gradients of all
    batches before it. Call zero_grad once a step."""
    return _train(*given, **options, zero=lambda optimizer: None)


@mistake("train")
def steps_with_empty_gradients(*given, **options):
    """The optimizer steps with empty gradients, so nothing is learned: either zero_grad comes between backward and
    step, or step comes before backward. The order is zero_grad, backward, clip, step."""
    return _train(*given, **options, clip=lambda model, max_norm: model.zero_grad())


@mistake("train")
def steps_with_the_last_batch(model, batches, optimizer, lr_at, compute_loss, max_norm=1.0, after_step=None):
    """You step before you compute the gradients of this batch, so each update uses those of the batch before.
    backward comes before step."""
    model.train()
    losses = []
    for step, batch in enumerate(batches):
        _set_rate(optimizer, lr_at(step))
        loss = compute_loss(model, batch)
        _clip(model, max_norm)
        optimizer.step()
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
        if after_step is not None:
            after_step(step, losses[-1])
    return losses


@mistake("train")
def learning_rate_never_set(*given, **options):
    """The learning rate of lr_at never reaches the optimizer. Setting `optimizer.lr` does nothing; write it into
    `group["lr"]` of every group in `optimizer.param_groups`."""
    return _train(*given, **options, set_rate=lambda optimizer, rate: None)


@mistake("train")
def first_group_only(*given, **options):
    """You set the learning rate of the first parameter group only. An optimizer may have several (say, with and
    without weight decay): loop over `optimizer.param_groups`."""

    def set_rate(optimizer, rate):
        optimizer.param_groups[0]["lr"] = rate

    return _train(*given, **options, set_rate=set_rate)


@mistake("train")
def learning_rate_set_after_the_step(*given, **options):
    """You set the learning rate after the optimizer's step: the first update uses whatever it was before, every other
    one the rate of the step before it. Set it before `optimizer.step()`."""
    pending = []

    def set_rate(optimizer, rate):
        pending.append(rate)
        if len(pending) > 1:
            _set_rate(optimizer, pending[-2])

    return _train(*given, **options, set_rate=set_rate)


@mistake("train")
def steps_counted_from_one(*given, **options):
    """You count the steps from 1. The first update is step 0, for lr_at and for after_step."""
    return _train(*given, **options, first_step=1, first_number=1)


@mistake("train")
def rate_of_the_next_step(*given, **options):
    """Your learning rate is one step ahead: the first update should use lr_at(0)."""
    return _train(*given, **options, first_step=1)


@mistake("train")
def gradients_not_clipped(*given, **options):
    """The gradients reach the optimizer unclipped. Clipping works on the gradients of this batch and before they are
    used: after backward, before step. Anywhere else it changes nothing."""
    return _train(*given, **options, clip=lambda model, max_norm: None)


@mistake("train")
def clipped_by_value(*given, **options):
    """You clipped each number of the gradient by itself, which changes its direction. Clip the *norm* of all
    gradients together: `clip_grad_norm_`."""

    def clip(model, max_norm):
        torch.nn.utils.clip_grad_value_(model.parameters(), max_norm)

    return _train(*given, **options, clip=clip)


@mistake("train")
def clipped_parameter_by_parameter(*given, **options):
    """You clipped the gradient of each parameter by its own norm. One norm over all parameters together keeps the
    direction of the step: pass them all at once."""

    def clip(model, max_norm):
        for parameter in model.parameters():
            torch.nn.utils.clip_grad_norm_(parameter, max_norm)

    return _train(*given, **options, clip=clip)


@mistake("train")
def always_scaled_to_max_norm(*given, **options):
    """You scale every gradient to the norm max_norm, small ones up as well. Clipping only shortens: a gradient below
    max_norm stays as it is."""

    def clip(model, max_norm):
        norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
        for parameter in model.parameters():
            parameter.grad *= max_norm / norm

    return _train(*given, **options, clip=clip)


@mistake("train")
def max_norm_fixed_at_one(model, batches, optimizer, lr_at, compute_loss, max_norm=1.0, after_step=None):
    """You clip to 1, whatever max_norm says. Use the argument."""
    return _train(model, batches, optimizer, lr_at, compute_loss, 1.0, after_step)


@mistake("train")
def losses_with_their_graph(model, batches, optimizer, lr_at, compute_loss, max_norm=1.0, after_step=None):
    """You kept the loss *tensors*. Each holds the graph of its whole computation, so memory grows with every step.
    Keep plain numbers: `loss.item()`."""
    kept = []

    def keep(model, batch):
        kept.append(compute_loss(model, batch))
        return kept[-1]

    _train(model, batches, optimizer, lr_at, keep, max_norm, after_step)
    return kept


@mistake("train")
def evaluation_mode(*given, **options):
    """The model is in evaluation mode while it trains, so dropout is off. Call `model.train()` before the loop,
    whatever mode the model comes in."""
    return _train(*given, **options, mode=lambda model: model.eval())


@mistake("train")
def loss_after_the_update(model, batches, optimizer, lr_at, compute_loss, max_norm=1.0, after_step=None):
    """You measured the loss a second time, after the update: on a batch the model has just been trained on. Keep the
    loss that you computed the gradient from; it also saves the second forward pass."""
    losses = []

    def measure(step, loss):
        losses.append(compute_loss(model, batches[step]).item())
        if after_step is not None:
            after_step(step, losses[-1])

    _train(model, batches, optimizer, lr_at, compute_loss, max_norm, measure)
    return losses


@mistake("train")
def after_step_never_called(model, batches, optimizer, lr_at, compute_loss, max_norm=1.0, after_step=None):
    """You never call after_step. When it is given, call `after_step(step, loss)` at the end of every step."""
    return _train(model, batches, optimizer, lr_at, compute_loss, max_norm, None)


@mistake("train")
def after_step_called_before_the_update(model, batches, optimizer, lr_at, compute_loss, max_norm=1.0, after_step=None):
    """You call after_step before the optimizer has stepped. It comes after the update, so that what it measures (a
    sample of text, a held-out loss) belongs to the model of this step."""
    steps = iter(range(len(batches)))

    def clip(model, max_norm):
        _clip(model, max_norm)
        if after_step is not None:
            after_step(next(steps), losses[-1])

    losses = []

    def keep(model, batch):
        loss = compute_loss(model, batch)
        losses.append(loss.item())
        return loss

    return _train(model, batches, optimizer, lr_at, keep, max_norm, None, clip=clip)


@mistake("train")
def only_the_last_loss(*given, **options):
    """You returned one loss. The curve needs the loss of every step: collect them in a list."""
    return _train(*given, **options)[-1]


# --- Exercise 9: BERT's masking


def _mask_tokens(
    input_ids,
    is_special,
    mask_id,
    vocab_size,
    generator,
    rate=0.15,
    *,
    masked=0.8,
    replaced=0.1,
    chosen_from=lambda draws, rate: draws < rate,
):
    """The right corruption, with shares and steps that can be exchanged for wrong ones. Also returns what was
    chosen."""
    chosen = chosen_from(torch.rand(input_ids.shape, generator=generator), rate) & ~is_special
    fate = torch.rand(input_ids.shape, generator=generator)
    random_ids = torch.randint(vocab_size, input_ids.shape, generator=generator)
    corrupted = torch.where(chosen & (fate < masked), mask_id, input_ids)
    corrupted = torch.where(chosen & (fate >= masked) & (fate < masked + replaced), random_ids, corrupted)
    return corrupted, input_ids.masked_fill(~chosen, -100), chosen


@mistake("mask_tokens")
def special_tokens_masked(input_ids, is_special, mask_id, vocab_size, generator, rate=0.15):
    """You mask special tokens too. There is nothing to learn from guessing <cls>, <sep> or padding: leave out what
    is_special marks."""
    nothing = torch.zeros_like(is_special)
    return _mask_tokens(input_ids, nothing, mask_id, vocab_size, generator, rate)[:2]


@mistake("mask_tokens")
def every_chosen_token_masked(*given, **options):
    """Every chosen token became [MASK]. 10 % should become a random token and 10 % stay, because [MASK] never occurs
    when the model is used: it must expect that any token may be wrong."""
    return _mask_tokens(*given, **options, masked=1.0, replaced=0.0)[:2]


@mistake("mask_tokens")
def none_stays(*given, **options):
    """80 % became [MASK] and all the others a random token. Only 10 % should: the last 10 % stay as they are, and are
    predicted all the same."""
    return _mask_tokens(*given, **options, replaced=0.2)[:2]


@mistake("mask_tokens")
def none_replaced(*given, **options):
    """80 % became [MASK] and all the others stayed. Half of those others should be replaced by random tokens."""
    return _mask_tokens(*given, **options, replaced=0.0)[:2]


@mistake("mask_tokens")
def ten_percent_of_the_rest(*given, **options):
    """You replaced 10 % of *what [MASK] left over*: 2 % of the chosen. 10 % of all chosen tokens is *half* of that
    rest."""
    return _mask_tokens(*given, **options, replaced=0.02)[:2]


@mistake("mask_tokens")
def two_independent_draws(input_ids, is_special, mask_id, vocab_size, generator, rate=0.15):
    """You drew for [MASK] (80 %) and for random tokens (10 %) separately, so the second overwrites some of the first:
    72 % are left as [MASK] and 18 % stay. Let one draw decide among the three."""
    corrupted, labels, chosen = _mask_tokens(input_ids, is_special, mask_id, vocab_size, generator, rate, replaced=0.0)
    overwritten = chosen & (torch.rand(input_ids.shape, generator=generator) < 0.1)
    random_ids = torch.randint(vocab_size, input_ids.shape, generator=generator)
    return torch.where(overwritten, random_ids, corrupted), labels


@mistake("mask_tokens")
def shares_of_all_tokens(input_ids, is_special, mask_id, vocab_size, generator, rate=0.15):
    """You masked 80 % of *all* tokens and replaced 10 % of all. The three shares are of the chosen tokens only;
    everything else stays untouched."""
    _, labels, _ = _mask_tokens(input_ids, is_special, mask_id, vocab_size, generator, rate)
    corrupted, _, _ = _mask_tokens(input_ids, is_special, mask_id, vocab_size, generator, 1.0)
    return corrupted, labels


@mistake("mask_tokens")
def labels_everywhere(input_ids, is_special, mask_id, vocab_size, generator, rate=0.15):
    """Your labels hold the ids of all tokens. Where a token was not chosen there is nothing to guess, the model sees
    it: put -100 there."""
    return _mask_tokens(input_ids, is_special, mask_id, vocab_size, generator, rate)[0], input_ids.clone()


@mistake("mask_tokens")
def zero_for_no_label(*given, **options):
    """Your labels are 0 where no token was chosen. 0 is an ordinary id, which the loss would count as a target: put
    -100."""
    corrupted, labels, _ = _mask_tokens(*given, **options)
    return corrupted, labels.clamp(min=0)


@mistake("mask_tokens")
def labels_of_the_corrupted_text(*given, **options):
    """Your labels hold the corrupted ids, so the model would be asked to predict [MASK]. Take the labels from the
    original ids, before you change anything."""
    corrupted, _, chosen = _mask_tokens(*given, **options)
    return corrupted, corrupted.masked_fill(~chosen, -100)


@mistake("mask_tokens")
def labels_only_where_something_changed(input_ids, is_special, mask_id, vocab_size, generator, rate=0.15):
    """Chosen tokens that stayed as they are have no label. They are predicted too: that is what makes the model doubt
    the tokens it sees. Take the labels from what was chosen, not from what changed."""
    corrupted, labels, _ = _mask_tokens(input_ids, is_special, mask_id, vocab_size, generator, rate)
    return corrupted, labels.masked_fill(corrupted == input_ids, -100)


@mistake("mask_tokens")
def labels_at_the_masks_only(input_ids, is_special, mask_id, vocab_size, generator, rate=0.15):
    """Only the tokens that became [MASK] have a label. Those that were replaced or left as they are were chosen too,
    and are predicted."""
    corrupted, labels, _ = _mask_tokens(input_ids, is_special, mask_id, vocab_size, generator, rate)
    return corrupted, labels.masked_fill(corrupted != mask_id, -100)


@mistake("mask_tokens")
def rate_fixed(input_ids, is_special, mask_id, vocab_size, generator, rate=0.15):
    """You choose 15 % of the tokens, whatever `rate` says. Use the argument."""
    return _mask_tokens(input_ids, is_special, mask_id, vocab_size, generator, 0.15)[:2]


@mistake("mask_tokens")
def choice_inverted(*given, **options):
    """You chose with the wrong comparison: 85 % of the tokens instead of 15 %. A uniform draw is *below* rate with
    probability rate."""
    return _mask_tokens(*given, **options, chosen_from=lambda draws, rate: draws > rate)[:2]


@mistake("mask_tokens")
def same_places_in_every_row(input_ids, is_special, mask_id, vocab_size, generator, rate=0.15):
    """You drew once for each column, so every row is masked in the same places. Each token is chosen by itself: draw
    a number for every element of the batch."""
    return _mask_tokens(
        input_ids,
        is_special,
        mask_id,
        vocab_size,
        generator,
        rate,
        chosen_from=lambda draws, rate: (draws[:1] < rate).expand_as(draws),
    )[:2]


@mistake("mask_tokens")
def one_random_token_for_all(input_ids, is_special, mask_id, vocab_size, generator, rate=0.15):
    """All replaced tokens became the same random token. Draw one for every place."""
    corrupted, labels, chosen = _mask_tokens(input_ids, is_special, mask_id, vocab_size, generator, rate)
    replaced = chosen & (corrupted != mask_id) & (corrupted != input_ids)
    return torch.where(replaced, torch.randint(mask_id + 1, vocab_size, (1,), generator=generator), corrupted), labels


@mistake("mask_tokens")
def generator_ignored(input_ids, is_special, mask_id, vocab_size, generator, rate=0.15):
    """You drew from PyTorch's global generator, so nobody can repeat your masks. Pass `generator=generator` to every
    random function."""
    return _mask_tokens(input_ids, is_special, mask_id, vocab_size, None, rate)[:2]


@mistake("mask_tokens")
def generator_seeded_anew(input_ids, is_special, mask_id, vocab_size, generator, rate=0.15):
    """You seed inside the function, so every call masks the same places: the model never sees another version of a
    text. Use the generator you are given, and leave its seed alone."""
    return _mask_tokens(input_ids, is_special, mask_id, vocab_size, torch.Generator().manual_seed(0), rate)[:2]


@mistake("mask_tokens")
def input_ids_masked_in_place(input_ids, is_special, mask_id, vocab_size, generator, rate=0.15):
    """You changed input_ids itself: in the next epoch the original text is gone. Work on a copy (`input_ids.clone()`,
    or torch.where, which makes a new tensor)."""
    corrupted, labels, _ = _mask_tokens(input_ids, is_special, mask_id, vocab_size, generator, rate)
    input_ids.copy_(corrupted)
    return input_ids, labels


# --- Exercise 10: the loss of masked language modelling


@mistake("mlm_loss")
def shifted(logits, labels):
    """You shifted the labels as in the causal loss. Here each position predicts the token *in its own place*: no
    shift."""
    return _mlm(logits[:, :-1], labels[:, 1:])


@mistake("mlm_loss")
def nan_when_nothing_is_chosen(logits, labels):
    """Where nothing was chosen your loss is NaN (0 / 0), and one such batch would destroy the model. Return 0 there:
    divide the sum by at least 1."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)


@mistake("mlm_loss")
def sum_over_the_chosen(logits, labels):
    """You returned the sum. Divide by how many tokens were chosen, so that the loss does not depend on their
    number."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum")


@mistake("mlm_loss")
def mean_over_every_position(logits, labels):
    """You divided by all positions. Only the chosen ones are predicted: divide by their number."""
    return sum_over_the_chosen(logits, labels) / labels.numel()


@mistake("mlm_loss")
def every_position_predicted(logits, labels):
    """You count positions that were not chosen: their label -100 became an ordinary id somewhere. They must have no
    weight."""
    return F.cross_entropy(logits.flatten(0, 1), labels.clamp(min=0).flatten())


@mistake("mlm_loss")
def mean_of_means(logits, labels):
    """You averaged each row first and then the rows. Every chosen token counts the same: one sum, one division."""
    losses = F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100, reduction="none")
    return (losses.sum(1) / (labels != -100).sum(1).clamp(min=1)).mean()


@mistake("mlm_loss")
def sign_of_the_logarithm(logits, labels):
    """Your loss is negative: it is the mean of *minus* log p."""
    return -_mlm(logits, labels)


@mistake("mlm_loss")
def mlm_loss_in_bits(logits, labels):
    """You took the logarithm to base 2. The loss is in nats: use the natural logarithm."""
    return _mlm(logits, labels) / math.log(2)


@mistake("mlm_loss")
def two_softmaxes(logits, labels):
    """You passed probabilities to a function that expects logits: `F.cross_entropy` takes the softmax itself."""
    return _mlm(logits.softmax(-1), labels)


@mistake("mlm_loss")
def exp_too_large(logits, labels):
    """You computed exp(logits) / sum(exp(logits)) and then its logarithm. exp overflows near 89 in float32, and inf /
    inf is NaN. Use log_softmax."""
    chosen = labels != -100
    powers = logits[chosen].exp()
    probs = (powers / powers.sum(-1, keepdim=True)).gather(-1, labels[chosen][:, None])
    return -probs.log().sum() / chosen.sum().clamp(min=1)


@mistake("mlm_loss")
def detached(logits, labels):
    """The value is right, but it is cut off from the logits, so nothing can be learned from it. Return the tensor
    itself: no .item(), .detach(), .data or torch.tensor(…)."""
    return _mlm(logits, labels).detach()


def _mlm(logits, labels):
    total = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum")
    return total / (labels != -100).sum().clamp(min=1)


# --- Exercise 11: pairs for next-sentence prediction


def _draw(n, generator):
    return int(torch.randint(n, (1,), generator=generator))


def _other(documents, i, generator):
    """The number of a document that is not i."""
    return (i + 1 + _draw(len(documents) - 1, generator)) % len(documents)


def _sentence(documents, i, generator):
    return documents[i][_draw(len(documents[i]), generator)]


def _nsp_pairs(
    documents, generator, *, document_of=_other, sentence_of=_sentence, coin=lambda generator: _draw(2, generator)
):
    """The right pairs, with choices that can be exchanged for wrong ones."""
    pairs = []
    for i, document in enumerate(documents):
        for first, successor in pairwise(document):
            second, is_next = successor, bool(coin(generator))
            while not is_next and second == successor:
                second = sentence_of(documents, document_of(documents, i, generator), generator)
            pairs.append((first, second, is_next))
    return pairs


@mistake("nsp_pairs")
def any_document(documents, generator):
    """The other sentence sometimes comes from the *same* document. It should come from another one: draw again, or
    leave this document out of the draw."""
    return _nsp_pairs(
        documents, generator, document_of=lambda documents, i, generator: _draw(len(documents), generator)
    )


@mistake("nsp_pairs")
def true_successor_called_false(documents, generator):
    """Two documents may share a sentence, and then your random sentence can be the very words that follow, labelled
    as not following. Draw again when it equals the true successor."""
    pairs = []
    for i, document in enumerate(documents):
        for first, successor in pairwise(document):
            if _draw(2, generator):
                pairs.append((first, successor, True))
            else:
                pairs.append((first, _sentence(documents, _other(documents, i, generator), generator), False))
    return pairs


@mistake("nsp_pairs")
def always_the_successor(documents, generator):
    """All your pairs are real, so there is nothing to tell apart. In half of them the second sentence comes from
    elsewhere."""
    return _nsp_pairs(documents, generator, coin=lambda generator: 1)


@mistake("nsp_pairs")
def never_the_successor(documents, generator):
    """None of your pairs is real, so there is nothing to tell apart. In half of them the second sentence is the
    successor."""
    return _nsp_pairs(documents, generator, coin=lambda generator: 0)


@mistake("nsp_pairs")
def labels_inverted(documents, generator):
    """Your labels are the wrong way round: is_next is True where the second sentence *is* the successor."""
    return [(first, second, not is_next) for first, second, is_next in _nsp_pairs(documents, generator)]


@mistake("nsp_pairs")
def always_a_first_sentence(documents, generator):
    """Your other sentences are always the first of their document. A model would learn to know first sentences, not
    what follows what. Draw from the whole document."""
    return _nsp_pairs(documents, generator, sentence_of=lambda documents, i, generator: documents[i][0])


@mistake("nsp_pairs")
def always_the_next_document(documents, generator):
    """Your other sentences always come from the document next in the list. Draw the document at random, too."""
    return _nsp_pairs(documents, generator, document_of=lambda documents, i, generator: (i + 1) % len(documents))


@mistake("nsp_pairs")
def one_other_document_for_all(documents, generator):
    """All your other sentences come from one document: it was drawn once, outside the loop. Draw for every pair."""
    chosen = _draw(len(documents), generator)
    return _nsp_pairs(
        documents,
        generator,
        document_of=lambda documents, i, generator: chosen if chosen != i else (chosen + 1) % len(documents),
    )


@mistake("nsp_pairs")
def pairs_across_documents(documents, generator):
    """You joined the documents, so the last sentence of one is followed by the first of the next. Documents are
    independent: a last sentence has no successor."""
    pairs = _nsp_pairs(documents, generator)
    for i, (document, following) in enumerate(pairwise(documents)):
        is_next = bool(_draw(2, generator))
        other = _sentence(documents, _other(documents, i, generator), generator)
        pairs.append((document[-1], following[0] if is_next else other, is_next))
    return pairs


@mistake("nsp_pairs")
def last_sentences_paired_too(documents, generator):
    """The last sentence of a document is the first of a pair as well. It has no successor, so it begins no pair."""
    pairs = _nsp_pairs(documents, generator)
    for i, document in enumerate(documents):
        pairs.append((document[-1], _sentence(documents, _other(documents, i, generator), generator), False))
    return pairs


@mistake("nsp_pairs")
def two_pairs_a_sentence(documents, generator):
    """You made two pairs of every sentence, a real one and another. Each sentence is the first of *one* pair; a coin
    decides of which kind."""
    others = _nsp_pairs(documents, generator, coin=lambda generator: 0)
    return others + _nsp_pairs(documents, generator, coin=lambda generator: 1)


@mistake("nsp_pairs")
def pairs_that_do_not_overlap(documents, generator):
    """You take the sentences two by two, so every second one is never the first of a pair. Move on by one
    sentence."""
    pairs = _nsp_pairs(documents, generator)
    kept, place = [], 0
    for document in documents:
        kept += pairs[place : place + len(document) - 1 : 2]
        place += len(document) - 1
    return kept


@mistake("nsp_pairs")
def one_pair_a_document(documents, generator):
    """You made one pair from each document. Every sentence that has a successor is the first of a pair."""
    return _nsp_pairs([document[:2] for document in documents], generator)


@mistake("nsp_pairs")
def unlucky_draws_dropped(documents, generator):
    """When the draw hits the same document you make no pair at all, so sentences are lost (and real pairs outweigh
    the others). Draw again instead."""
    pairs = []
    for i, document in enumerate(documents):
        for first, successor in pairwise(document):
            if _draw(2, generator):
                pairs.append((first, successor, True))
                continue
            other = _draw(len(documents), generator)
            second = _sentence(documents, other, generator)
            if other != i and second != successor:
                pairs.append((first, second, False))
    return pairs


@mistake("nsp_pairs")
def kinds_in_turn(documents, generator):
    """Real and other pairs take turns, so the place of a pair gives its label away. Toss a coin for each: with
    probability 1/2 it is real."""
    turns = iter(range(10**9))
    return _nsp_pairs(documents, generator, coin=lambda generator: next(turns) % 2)


@mistake("nsp_pairs")
def python_random_used(documents, generator):
    """You drew from Python's (or PyTorch's) global random state, so nobody can repeat your pairs. All draws come from
    the generator you are given."""
    return _nsp_pairs(documents, torch.Generator().manual_seed(random.getrandbits(32)))
