"""Wrong answers to chapter 01's n-gram models and measures: tables of changes in right answers. Each hint says what was
done, why it is wrong, and where to look."""

import math
from collections import Counter, defaultdict

from autograder.judging.catalogue import changes

# --- Exercise 3: counting n-grams


def count_ngrams(documents, n):
    counts = defaultdict(Counter)
    for document in documents:
        for i in range(1, len(document)):
            first = max(0, i - n + 1)
            context = tuple(document[first:i])
            counts[context][document[i]] += 1
    return counts


changes("count_ngrams", count_ngrams, [
    ("contexts_of_n_tokens", "Your contexts are one token too long. An n-gram is n tokens *with* the one that is "
     "predicted, so its context has n - 1.",
     "i - n + 1", "i - n"),
    ("only_full_contexts", "You skip the tokens near the beginning, which have fewer than n - 1 tokens before them. "
     "They count too, under the shorter context that there is.",
     "range(1, len", "range(max(1, n - 1), len"),
    ("beginning_padded", "You filled the contexts at the beginning up with more <bos>. Here such a context is just "
     "shorter: all tokens there are before it, and no more.",
     "for i in range(1, len(document)):",
     "document = document[:1] * (n - 2) + document\n        for i in range(max(1, n - 1), len(document)):"),
    ("windows_across_documents", "Your windows run from one document into the next, so the end of a story predicts "
     "the beginning of another. Begin afresh in every document.",
     "for document in documents", "for d, document in enumerate(documents)",
     "tuple(document[first:i])", "tuple((sum(documents[:d], []) + document[:i])[1 - n :] if n > 1 else ())"),
    ("bos_counted", "You count <bos> as if something predicted it. It is given, not predicted: begin with the token "
     "after it.",
     "range(1, len", "range(len"),
    ("last_token_missed", "The last token of each document (<eos>) is never counted, so the model cannot learn where "
     "a text ends. Check the end of your range.",
     "len(document))", "len(document) - 1)"),
    ("context_reversed", "Your contexts stand in reverse, the nearest token first. Keep them in the order of the "
     "text.",
     "tuple(document[first:i])", "tuple(document[first:i][::-1])"),
    ("context_after_the_token", "Your counts say which token stands *before* a context. A language model predicts "
     "what follows it: exchange the two.",
     "range(1, len(document))", "range(len(document) - 1)", "document[first:i]", "document[i + 1 : i + n]"),
    ("occurrence_for_count", "Every count of yours is 1: you noted *whether* a token follows a context, not how "
     "often. Add 1 each time.",
     "+= 1", "= 1"),
    ("only_the_last_document", "Only the last document is in your counts. Is the dictionary made anew inside the "
     "loop?",
     "    counts = defaultdict(Counter)\n    for document in documents:\n",
     "    for document in documents:\n        counts = defaultdict(Counter)\n"),
    ("windows_that_do_not_overlap", "You move on by n tokens at a time, so most n-grams are skipped. Each token has "
     "its own window: move on by one.",
     "len(document))", "len(document), n)"),
    ("contexts_as_text", "Your contexts are not tuples of token ids. A tuple can be a key of a dict (a list cannot), "
     "keeps the ids apart, and works for every n, with () as the empty context.",
     "tuple(document[first:i])", "\" \".join(str(token) for token in document[first:i])"),
    ("flat_counts", "You counted whole n-grams in one Counter. To get at the probability of a token you need the "
     "counts by context: a dict from each context to a Counter of what follows.",
     "defaultdict(Counter)", "Counter()", "[context][document[i]]", "[(*context, document[i])]"),
    ("one_joined_stream", "You joined the documents into one stream: windows run from one into the next, and every "
     "<bos> but the first is counted as if the end of a story predicted it. Begin afresh in every document.",
     "for document in documents", "for document in [[token for each in documents for token in each]]"),
    ("negative_start", "Near the beginning of a document `i - n + 1` is negative, and a slice that begins with a "
     "negative number counts from the *end*: the context comes out empty. Begin at max(0, …).",
     "max(0, i - n + 1)", "i - n + 1"),
    ("everything_at_n_one", "For n = 1 your context is all that came before: `[-(n - 1):]` is `[-0:]`, the whole "
     "list. The context of a unigram is ().",
     "document[first:i]", "document[:i][-(n - 1) :]"),
    ("context_with_the_token", "Your contexts hold the token itself that they should predict. The context ends "
     "before it.",
     "document[first:i]", "document[first : i + 1]"),
    ("shorter_contexts_too", "You count each token under every shorter context as well. It is counted once, under "
     "its n - 1 tokens before.",
     "counts[context][document[i]] += 1",
     "for k in range(len(context) + 1):\n                counts[context[k:]][document[i]] += 1"),
    ("bos_dropped", "You dropped <bos> from the text, so the first token after it is never counted, and no context "
     "holds <bos>. It is not predicted, but it is a token *before* others.",
     "        for i in", "        document = document[1:]\n        for i in"),
    ("padded_with_nothing", "You filled the contexts at the beginning up with a token of your own (None, -1, …). "
     "Here such a context is just shorter: all tokens there are before it, and no more.",
     "tuple(document[first:i])", "(None,) * (n - 1 - i) + tuple(document[first:i])"),
])


# --- Exercise 4: the loss of an n-gram model


def ngram_loss(counts, documents, n, vocab_size, alpha):
    losses = []
    for document in documents:
        for i in range(1, len(document)):
            context = tuple(document[max(0, i - n + 1) : i])
            seen = counts.get(context, {})
            above = seen.get(document[i], 0) + alpha
            below = sum(seen.values()) + alpha * vocab_size
            losses.append(-math.log(above / below) if above > 0 else math.inf)
    return sum(losses) / len(losses)


changes("ngram_loss", ngram_loss, [
    ("mean_of_document_means", "You averaged each document and then the documents, so a token of a short document "
     "weighs more. Every token counts the same: one sum over all, one division.",
     "losses.append(-math.log(above / below) if above > 0 else math.inf)",
     "losses.append((-math.log(above / below) if above > 0 else math.inf) / (len(document) - 1))",
     "/ len(losses)", "/ len(documents)"),
    ("sum_over_tokens", "You returned the sum over all tokens. The loss is their mean, so that texts of different "
     "lengths can be compared.",
     " / len(losses)", ""),
    ("divided_by_every_token", "You divided by the number of all tokens, <bos> included. <bos> is not predicted, so "
     "it is not counted either.",
     "len(losses)", "sum(map(len, documents))"),
    ("plus_log_probability", "Your loss has the wrong sign: log p is negative, and the loss is minus its mean.",
     "return sum", "return -sum"),
    ("ngram_loss_in_bits", "Your loss is in bits (log to base 2). It is asked for in nats: use the natural "
     "logarithm.",
     "math.log(", "math.log2("),
    ("perplexity_for_loss", "You returned the perplexity. The loss is its logarithm: leave out the last exp.",
     "return sum(losses) / len(losses)", "return math.exp(sum(losses) / len(losses))"),
    ("alpha_missing_below", "You added alpha above the line only, so the probabilities of a context sum to more than "
     "1. Below the line, alpha comes in once for every token of the vocabulary.",
     "sum(seen.values()) + alpha * vocab_size", "sum(seen.values()) or 1"),
    ("alpha_once_below", "You added alpha once below the line. Above it, alpha is added to *each* token of the "
     "vocabulary, so below it comes in vocab_size times; else the probabilities do not sum to 1.",
     "alpha * vocab_size", "alpha"),
    ("vocabulary_of_the_context", "You multiplied alpha by the number of *different tokens seen* after the context. "
     "A token that was never seen gets alpha too: multiply by vocab_size.",
     "alpha * vocab_size", "alpha * (len(seen) or 1)"),
    ("bos_predicted", "You ask for the probability of <bos> as well. It is given, not predicted: begin with the "
     "token after it.",
     "range(1, len", "range(len"),
    ("contexts_one_token_too_long", "You look up contexts of n tokens, which were never counted, so every token "
     "looks unseen. A context has n - 1.",
     "i - n + 1", "i - n"),
    ("short_contexts_skipped", "You leave out the tokens near the beginning, whose contexts are shorter than n - 1. "
     "They are predicted too, from what there is before them.",
     "range(1, len", "range(max(1, n - 1), len"),
    ("unseen_contexts_raise", "A context that was never counted raises KeyError. It has the count 0 for every token: "
     "look it up with `counts.get(context, …)`.",
     "counts.get(context, {})", "counts[context]"),
    ("unseen_contexts_skipped", "You leave out tokens whose context was never counted, which makes hard text look "
     "easy. With alpha > 0 they have the probability 1 / vocab_size.",
     "seen = counts.get(context, {})",
     "if context not in counts:\n                continue\n            seen = counts[context]"),
    ("impossible_tokens_skipped", "You leave out tokens of probability 0, so the model is not blamed for what it "
     "held to be impossible. Their -log p is infinite, and so is the mean.",
     "losses.append(-math.log(above / below) if above > 0 else math.inf)",
     "losses += [-math.log(above / below)] if above > 0 else []"),
    ("logarithm_of_zero_raises", "`math.log(0)` raises. A token of probability 0 has an infinite loss: treat that "
     "case before you take the logarithm.",
     " if above > 0 else math.inf", ""),
    ("logarithm_of_the_mean", "You averaged the probabilities and took the logarithm of that. The loss is the mean "
     "of -log p: logarithm first, then the mean.",
     "return sum(losses) / len(losses)", "return -math.log(sum(math.exp(-x) for x in losses) / len(losses))"),
    ("product_of_probabilities", "You multiplied the probabilities and took the logarithm at the end. Over a long "
     "text the product is too small for a float and becomes 0. Add up logarithms instead.",
     "return sum(losses) / len(losses)",
     "product = math.prod(math.exp(-x) for x in losses)\n    return (-math.log(product) if product > 0 else math.inf) / len(losses)"),
    ("probabilities_floored", "You put a smallest probability (1e-12, say) under every token, so what the model held "
     "to be impossible gets a finite loss. With alpha = 0 it is infinite: say so.",
     "losses.append(-math.log(above / below) if above > 0 else math.inf)",
     "losses.append(-math.log(max(above / below if below > 0 else 0.0, 1e-12)))"),
    ("unseen_contexts_impossible", "You call every token impossible whose context was never counted. With alpha > 0 "
     "it has the probability 1 / vocab_size, as the formula says for counts of 0.",
     "if above > 0", "if context in counts and above > 0"),
    ("slices_from_the_end", "Near the beginning of a document `i - n + 1` is negative, and a slice that begins with "
     "a negative number counts from the *end*. Begin at max(0, …).",
     "max(0, i - n + 1)", "i - n + 1"),
    ("all_that_came_before", "For n = 1 you look up all that came before: `[-(n - 1):]` is `[-0:]`, the whole list. "
     "The context of a unigram is ().",
     "document[max(0, i - n + 1) : i]", "document[:i][-(n - 1) :]"),
    ("documents_joined", "You joined the documents into one stream: contexts run from one into the next, and <bos> "
     "is predicted. Begin afresh in every document.",
     "for document in documents", "for document in [[token for each in documents for token in each]]"),
    ("last_token_not_predicted", "You leave out the last token of each document (<eos>). It is predicted like any "
     "other: check the end of your range.",
     "len(document))", "len(document) - 1)"),
    ("only_the_last_documents_loss", "Only the last document is in your mean. Is the list (or the sum) made anew "
     "inside the loop?",
     "    losses = []\n    for document in documents:\n", "    for document in documents:\n        losses = []\n"),
])


# --- Exercise 6: perplexity and bits per byte


def perplexity(token_losses):
    mean = token_losses.sum() / len(token_losses)
    return mean.exp().item()


changes("perplexity", perplexity, [
    ("exp_of_the_sum", "You took exp of the *sum*: that is one over the probability of the whole text, which "
     "explodes with its length. Take the mean first.",
     " / len(token_losses)", ""),
    ("mean_of_exps", "You took exp of each loss and averaged afterwards, so a single hard token decides everything. "
     "Mean first, exp second.",
     "mean.exp().item()", "token_losses.exp().mean().item()"),
    ("power_of_two", "You raised 2 to the mean loss. That belongs to losses in bits; these are in nats, so the base "
     "is e.",
     "mean.exp().item()", "2 ** mean.item()"),
    ("no_exp", "You returned the mean loss itself. Perplexity is its exponential: the number of equally likely "
     "tokens that would be as hard to guess.",
     ".exp()", ""),
    ("exp_of_minus_the_mean", "You took exp of *minus* the mean loss: that is the (geometric) mean probability of a "
     "token. Perplexity is one over it.",
     "mean.exp()", "(-mean).exp()"),
    ("first_loss_dropped", "You left out the first loss. The losses you are given are already those of the predicted "
     "tokens: all of them count.",
     "token_losses.sum() / len(token_losses)", "token_losses[1:].mean()"),
    ("exp_of_each", "You returned one number for each token. The perplexity of a text is a single number: exp of the "
     "*mean* loss.",
     "mean.exp().item()", "token_losses.exp()"),
    ("root_of_a_huge_number", "You took exp of the sum and then its n-th root. On paper that is the perplexity; in "
     "float32 the exp overflows before the root is taken. Take the mean first, then exp.",
     "mean.exp().item()", "(token_losses.sum().exp() ** (1 / len(token_losses))).item()"),
    ("last_loss_dropped", "You left out the last loss. The losses you are given are already those of the predicted "
     "tokens: all of them count.",
     "token_losses.sum() / len(token_losses)", "token_losses[:-1].mean()"),
    ("divided_by_one_less", "You divided by one less than the number of losses. The losses you are given are already "
     "those of the predicted tokens: divide by how many there are.",
     "/ len(token_losses)", "/ (len(token_losses) - 1)"),
    ("losses_taken_as_probabilities", "You took the logarithm of the losses. They are logarithms already, -log p of "
     "each token: mean, then exp.",
     "mean = token_losses.sum()", "mean = -token_losses.log().sum()"),
    ("losses_of_zero_dropped", "You left out the tokens whose loss is 0. A token that the model was sure of is a "
     "token of the text: it counts in the mean.",
     "token_losses.sum() / len(token_losses)", "token_losses[token_losses > 0].mean()"),
])


def bits_per_byte(token_losses, text):
    bits = token_losses.sum().item() / math.log(2)
    return bits / len(text.encode("utf-8"))


changes("bits_per_byte", bits_per_byte, [
    ("characters_for_bytes", "You divided by the number of characters. A letter outside ASCII takes two bytes or "
     "more: count the bytes of the text's UTF-8 encoding.",
     "len(text.encode(\"utf-8\"))", "len(text)"),
    ("nats_per_byte", "Your result is in nats. A bit is log(2) nats: divide by it.",
     " / math.log(2)", ""),
    ("multiplied_by_log_two", "You multiplied by log(2) where it should divide. A nat is *more* than a bit (1.44 of "
     "them), so the number in bits is the larger one.",
     "/ math.log(2)", "* math.log(2)"),
    ("mean_loss_per_byte", "You divided the *mean* loss by the bytes. All the bits of the text are to be shared "
     "among its bytes: take the sum.",
     "sum()", "mean()"),
    ("bits_per_token", "You computed bits per *token*. That depends on how the tokenizer cuts the text, which is why "
     "bytes are counted here.",
     "len(text.encode(\"utf-8\"))", "len(token_losses)"),
    ("bits_per_word", "You divided by the number of words. Divide by the number of bytes of the text in UTF-8.",
     "len(text.encode(\"utf-8\"))", "len(text.split())"),
    ("divided_by_the_bits_of_the_text", "You divided by 8 times the number of bytes. The unit is bits of loss per "
     "*byte* of text: no factor 8.",
     "len(text.encode(\"utf-8\"))", "(8 * len(text.encode(\"utf-8\")))"),
    ("logarithm_of_the_loss", "You took log2 of the loss. The losses are logarithms already: to turn nats into bits, "
     "divide them by log(2).",
     "token_losses.sum().item() / math.log(2)", "math.log2(token_losses.sum().item())"),
    ("two_bytes_a_character", "You counted bytes in UTF-16, two for each letter. The convention is UTF-8: "
     "`text.encode(\"utf-8\")`.",
     "utf-8", "utf-16-le"),
    ("logarithm_of_each_loss", "You took log2 of each loss. The losses are logarithms already: to turn nats into "
     "bits, divide them by log(2).",
     "token_losses.sum().item() / math.log(2)", "token_losses.log2().sum().item()"),
    ("ends_stripped", "You count the text without the spaces and line breaks at its ends. They are bytes of the text "
     "like any other: do not strip it.",
     "text.encode", "text.strip().encode"),
    ("line_break_at_the_end_stripped", "You count the text without the line break at its end. It is a byte of the "
     "text like any other: do not strip it.",
     "text.encode", "text.rstrip(\"\\n\").encode"),
    ("spaces_not_counted", "You count the bytes of the words alone. Spaces and line breaks are bytes of the text "
     "like any other.",
     "text.encode", "\"\".join(text.split()).encode"),
    ("one_loss_left_out", "You left out the first loss. The losses you are given are already those of the predicted "
     "tokens: all of them count.",
     "token_losses.sum()", "token_losses[1:].sum()"),
])
