"""Answers to chapter 01's open task that are right and not good enough: each stays above at least one of its bars."""

from collections import Counter, defaultdict

import torch

from autograder.judging.catalogue import mistake


def counted(documents, n):
    counts = defaultdict(Counter)
    for document in documents:
        for i in range(1, len(document)):
            counts[tuple(document[max(0, i - n + 1) : i])][document[i]] += 1
    return counts


def last(context, n):
    return tuple(context[max(0, len(context) - n + 1) :])


def added(documents, contexts, vocab_size, n, alpha):
    counts, rows = counted(documents, n), torch.full((len(contexts), vocab_size), float(alpha))
    for row, context in zip(rows, contexts):
        for token, count in counts.get(last(context, n), {}).items():
            row[token] += count
    return rows / rows.sum(-1, keepdim=True)


def mixed(documents, contexts, vocab_size, longest, weight):
    rows = torch.full((len(contexts), vocab_size), 1 / vocab_size)
    for n in range(1, longest + 1):
        counts = counted(documents, n)
        for row, context in zip(rows, contexts):
            seen = counts.get(last(context, n), {})
            row *= 1 - weight * bool(seen)
            for token, count in seen.items():
                row[token] += weight * count / sum(seen.values())
    return rows


@mistake("counting_model")
def every_token_alike(documents, contexts, vocab_size):
    """The same for every token: nothing is counted."""
    return torch.full((len(contexts), vocab_size), 1 / vocab_size)


@mistake("counting_model")
def single_tokens(documents, contexts, vocab_size):
    """How often each token stands in the text, whatever came before."""
    return added(documents, contexts, vocab_size, 1, 0.1)


@mistake("counting_model")
def pairs_of_tokens(documents, contexts, vocab_size):
    """The token before alone is looked at."""
    return added(documents, contexts, vocab_size, 2, 0.02)


@mistake("counting_model")
def three_tokens_add_one(documents, contexts, vocab_size):
    """1 is added to each count, which for so many tokens is much."""
    return added(documents, contexts, vocab_size, 3, 1.0)


@mistake("counting_model")
def three_tokens_add_little(documents, contexts, vocab_size):
    """What exercises 3 and 4 give, at their best: it reaches the first bar alone."""
    return added(documents, contexts, vocab_size, 3, 0.02)


@mistake("counting_model")
def relative_frequencies(documents, contexts, vocab_size):
    """Nothing is added: what was never seen is impossible, and the loss infinite."""
    rows = added(documents, contexts, vocab_size, 3, 1e-30)
    return torch.where(rows < 1e-20, 0.0, rows) if rows.isfinite().all() else rows.nan_to_num(1 / vocab_size)


@mistake("counting_model")
def four_tokens_of_one_text(documents, contexts, vocab_size):
    """Contexts too long for so small a text."""
    return added(documents, contexts, vocab_size, 5, 0.01)


@mistake("counting_model")
def all_lengths_mixed(documents, contexts, vocab_size):
    """Linear interpolation with one weight: it reaches two bars."""
    return mixed(documents, contexts, vocab_size, 5, 0.5)


@mistake("counting_model")
def kneser_ney_alone(documents, contexts, vocab_size):
    """All that the training text gives, and nothing from the document itself: it reaches three bars."""
    tables = [counted(documents, n) for n in range(1, 6)]
    for n in range(1, 5):
        different = defaultdict(Counter)
        for context, seen in tables[n].items():
            for token in seen:
                different[last(context, n)][token] += 1
        tables[n - 1] = different
    rows = torch.full((len(contexts), vocab_size), 1 / vocab_size)
    for row, context in zip(rows, contexts):
        for n, table in enumerate(tables, start=1):
            seen = table.get(last(context, n), {})
            total = sum(seen.values())
            row *= 0.8 * len(seen) / total if seen else 1
            for token, count in seen.items():
                row[token] += (count - 0.8) / total
    return rows


@mistake("counting_model")
def logarithms_returned(documents, contexts, vocab_size):
    """Log-probabilities, which do not sum to 1."""
    return added(documents, contexts, vocab_size, 3, 0.02).log()


@mistake("counting_model")
def context_longer_where_known(documents, contexts, vocab_size):
    """The longest context that was seen decides alone, with a little added."""
    tables, rows = {n: counted(documents, n) for n in range(1, 6)}, []
    for context in contexts:
        for n in range(5, 0, -1):
            seen = tables[n].get(last(context, n))
            if seen:
                break
        row = torch.full((vocab_size,), 0.02)
        for token, count in seen.items():
            row[token] += count
        rows.append(row / row.sum())
    return torch.stack(rows)


@mistake("counting_model")
def looks_into_the_document_alone(documents, contexts, vocab_size):
    """Words of the same document are likelier, but the counts below them are those of one token."""
    rows = added(documents, contexts, vocab_size, 1, 0.1)
    for row, context in zip(rows, contexts):
        row *= 0.5
        for token in context:
            row[token] += 0.5 / len(context)
    return rows
