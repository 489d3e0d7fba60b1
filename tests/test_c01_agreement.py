"""The reference solutions agree with the libraries, with closed forms and with second derivations, to 1e-5.

The matrix shows that the grader knows right from wrong *by the reference*; this shows that the reference is right.
"""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from autograder.judging.reference import Reference

CLOSE = {"rtol": 1e-5, "atol": 1e-6}
FAST = settings(max_examples=60, deadline=None, derandomize=True)

functions = Reference("01_pretraining").functions
causal_lm_loss = functions["causal_lm_loss"]
make_labels = functions["make_labels"]
count_ngrams = functions["count_ngrams"]
ngram_loss = functions["ngram_loss"]
perplexity = functions["perplexity"]
bits_per_byte = functions["bits_per_byte"]
counting_model = functions["counting_model"]
next_token_probs = functions["next_token_probs"]
learning_rate = functions["learning_rate"]
train = functions["train"]
mask_tokens = functions["mask_tokens"]
nsp_pairs = functions["nsp_pairs"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def within_five_standard_errors(hits: int, n: int, p: float) -> bool:
    return abs(hits / n - p) <= 5 * math.sqrt(p * (1 - p) / n)


# --- The losses, against the loss that transformers computes inside its models


@pytest.mark.parametrize("side", ["right", "left"])
def test_causal_loss_is_that_of_transformers(side):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=37, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, pad_token_id=0
    )
    model = LlamaForCausalLM(config).eval()
    input_ids = torch.randint(1, 37, (3, 11), generator=generator())
    attention_mask = torch.ones_like(input_ids)
    for row, padding in ((1, 4), (2, 7)):
        where = slice(11 - padding, None) if side == "right" else slice(None, padding)
        input_ids[row, where], attention_mask[row, where] = 0, 0
    labels = make_labels(input_ids, attention_mask)
    with torch.no_grad():
        output = model(input_ids=input_ids, attention_mask=attention_mask, labels=labels)
    torch.testing.assert_close(causal_lm_loss(output.logits, labels), output.loss, **CLOSE)


def test_causal_loss_of_a_uniform_guess_is_log_of_the_vocabulary():
    labels = torch.randint(0, 23, (3, 7), generator=generator())
    assert causal_lm_loss(torch.zeros(3, 7, 23), labels).item() == pytest.approx(math.log(23), rel=1e-5)


def test_causal_loss_gradient_is_probability_minus_target():
    logits = torch.randn(1, 5, 7, generator=generator(), dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[1, 4, 2, 0, 6]])
    causal_lm_loss(logits, labels).backward()
    expected = torch.zeros(1, 5, 7, dtype=torch.float64)
    expected[:, :-1] = logits.detach()[:, :-1].softmax(-1)
    for t in range(4):
        expected[0, t, labels[0, t + 1]] -= 1
    torch.testing.assert_close(logits.grad, expected / 4, **CLOSE)


# --- Sampling


def random_logits(seed: int, vocab: int) -> torch.Tensor:
    return 3 * torch.randn(3, vocab, generator=generator(seed))


asked = {
    "seed": st.integers(0, 10**6),
    "vocab": st.integers(2, 40),
    "temperature": st.floats(0.2, 3.0),
    "top_k": st.none() | st.integers(1, 50),
    "top_p": st.none() | st.floats(0.01, 0.99),
}


@FAST
@given(**asked)
def test_next_token_probs_are_those_of_transformers(seed, vocab, temperature, top_k, top_p):
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    logits = random_logits(seed, vocab)
    warped = TemperatureLogitsWarper(temperature)(None, logits)
    if top_k is not None:
        warped = TopKLogitsWarper(top_k)(None, warped)
    if top_p is not None:
        sums = warped.softmax(-1).sort(descending=True).values.cumsum(-1)
        assume(((sums - top_p).abs() > 1e-5).all())  # on the edge, the order of a sum decides
        warped = TopPLogitsWarper(top_p)(None, warped)
    torch.testing.assert_close(next_token_probs(logits, temperature, top_k, top_p), warped.softmax(-1), **CLOSE)


@FAST
@given(**asked)
def test_next_token_probs_are_a_distribution_on_the_most_likely_tokens(seed, vocab, temperature, top_k, top_p):
    logits = random_logits(seed, vocab)
    probs = next_token_probs(logits, temperature, top_k, top_p)
    torch.testing.assert_close(probs.sum(-1), torch.ones(3), **CLOSE)
    kept = probs.gather(-1, logits.argsort(descending=True)) > 0  # most likely first
    assert kept[:, 0].all()
    assert (kept[:, :-1] >= kept[:, 1:]).all(), "a dropped token is more likely than one that was kept"
    if top_k is not None:
        assert (kept.sum(-1) <= top_k).all()


@FAST
@given(seed=st.integers(0, 10**6), vocab=st.integers(2, 40))
def test_temperature_zero_is_the_limit_of_low_temperatures(seed, vocab):
    logits = random_logits(seed, vocab)
    two_largest = logits.topk(2).values
    assume((two_largest[:, 0] - two_largest[:, 1] > 1e-3).all())
    torch.testing.assert_close(next_token_probs(logits, 0.0), next_token_probs(logits, 1e-5), **CLOSE)


@pytest.mark.parametrize("top_p, kept", [(1 / 16, 1), (1 / 8, 1), (3 / 16, 2), (1 / 2, 4), (1.0, 8)])
def test_top_p_that_is_reached_exactly_is_enough(top_p, kept):
    """Eight equal tokens, whose probabilities and sums are exact."""
    probs = next_token_probs(torch.full((1, 8), 2.5), top_p=top_p)
    assert sorted(probs[0].tolist()) == [0.0] * (8 - kept) + [1 / kept] * kept


# --- The schedule


schedules = {
    "warmup": st.integers(0, 20),
    "decay": st.integers(1, 60),
    "max_lr": st.floats(1e-5, 1.0),
    "least": st.floats(0.0, 0.9),
}


@FAST
@given(**schedules)
def test_learning_rate_is_that_of_transformers(warmup, decay, max_lr, least):
    from transformers import get_cosine_schedule_with_warmup, get_cosine_with_min_lr_schedule_with_warmup

    total, min_lr = warmup + decay, least * max_lr
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=max_lr)
    with_least = get_cosine_with_min_lr_schedule_with_warmup(optimizer, warmup, total, min_lr=min_lr).lr_lambdas[0]
    to_zero = get_cosine_schedule_with_warmup(optimizer, warmup, total).lr_lambdas[0]
    for step in range(total + 1):
        ours = learning_rate(step, max_lr, warmup, total, min_lr)
        assert ours == pytest.approx(max_lr * with_least(step), rel=1e-5, abs=1e-6 * max_lr)
        assert learning_rate(step, max_lr, warmup, total) == pytest.approx(
            max_lr * to_zero(step), rel=1e-5, abs=1e-6 * max_lr
        )


@FAST
@given(**schedules)
def test_learning_rate_rises_then_falls_then_stays(warmup, decay, max_lr, least):
    total, min_lr = warmup + decay, least * max_lr
    rates = [learning_rate(step, max_lr, warmup, total, min_lr) for step in range(total + 10)]
    slack = 1e-12 * max_lr
    assert max(rates) <= max_lr + slack
    assert rates[warmup] == pytest.approx(max_lr)
    assert all(a <= b + slack for a, b in pairwise(rates[: warmup + 1]))
    assert all(a >= b - slack for a, b in pairwise(rates[warmup:]))
    assert rates[total:] == pytest.approx([min_lr] * 10, abs=slack)


# --- n-grams


documents_of_text = st.lists(
    st.lists(st.integers(1, 4), min_size=1, max_size=12).map(lambda tokens: [0, *tokens]), min_size=1, max_size=6
)


def entropy(counts) -> float:
    """Of the empirical distribution, in nats."""
    p = np.array(list(counts.values())) / sum(counts.values())
    return float(-(p * np.log(p)).sum())


@FAST
@given(documents=documents_of_text, n=st.integers(1, 4))
def test_ngram_loss_on_its_own_text_is_the_conditional_entropy(documents, n):
    """H(token | context) = H(context, token) - H(context), counted without count_ngrams."""
    windows = [tuple(d[max(0, i - n + 1) : i + 1]) for d in documents for i in range(1, len(d))]
    expected = entropy(Counter(windows)) - entropy(Counter(window[:-1] for window in windows))
    loss = ngram_loss(count_ngrams(documents, n), documents, n, vocab_size=5, alpha=0.0)
    assert loss == pytest.approx(expected, rel=1e-5, abs=1e-9)


@FAST
@given(
    documents=documents_of_text,
    n=st.integers(1, 3),
    alpha=st.floats(0.001, 10),
    context=st.lists(st.integers(0, 4), max_size=3),
)
def test_ngram_probabilities_sum_to_one(documents, n, alpha, context):
    """p(token | context) is what appending the token adds to the total loss of the context."""
    counts = count_ngrams(documents, n)

    def total_loss(document):
        predicted = len(document) - 1
        return predicted * ngram_loss(counts, [document], n, 5, alpha) if predicted else 0.0

    given = [0, *context]
    probabilities = [math.exp(total_loss(given) - total_loss([*given, token])) for token in range(5)]
    assert sum(probabilities) == pytest.approx(1.0, rel=1e-5)


@FAST
@given(documents=documents_of_text, n=st.integers(1, 4))
def test_every_token_but_the_first_is_counted_once(documents, n):
    counts = count_ngrams(documents, n)
    total = Counter()
    for followers in counts.values():
        total.update(followers)
    assert total == Counter(token for document in documents for token in document[1:])


def test_without_counts_the_ngram_loss_is_that_of_a_uniform_guess():
    assert ngram_loss({}, [[0, 1, 2, 1], [0, 2]], 3, 17, 0.3) == pytest.approx(math.log(17), rel=1e-5)


# --- The open task


@settings(FAST, max_examples=30)
@given(documents=documents_of_text, contexts=documents_of_text)
def test_the_reference_gives_distributions(documents, contexts):
    rows = counting_model(documents, contexts, 5)
    assert rows.shape == (len(contexts), 5) and (rows >= 0).all()
    torch.testing.assert_close(rows.sum(-1), torch.ones(len(contexts), dtype=rows.dtype), **CLOSE)


def test_its_loss_is_that_of_its_own_rows():
    """What the probe sends, with other ids and in another order, gives the judge the loss that one computes oneself."""
    from autograder.chapters.c01_pretraining.counting import BARS, _distributions, small_text
    from autograder.chapters.c01_pretraining.rules import _heldout_loss

    text = small_text()
    rows = torch.as_tensor(counting_model(text.documents, text.contexts, text.vocab))
    expected = -rows.log()[torch.arange(len(rows)), torch.tensor(text.following)].mean().item()
    for seed in (1, 5):
        assert _heldout_loss(_distributions(counting_model, seed)["costs"]) == pytest.approx(expected, abs=2e-3)
    bars = [bar for bar, _ in BARS.values()]
    assert bars == sorted(bars, reverse=True) and expected < bars[-1] - 0.1, "with room"


def test_no_context_of_the_open_task_gives_away_what_follows_another():
    """Each stands for a document of its own."""
    from autograder.chapters.c01_pretraining.counting import small_text

    contexts = [tuple(context) for context in small_text().contexts if len(context) > 8]
    following = {tuple(c): f for c, f in zip(small_text().contexts, small_text().following)}
    assert not any(a != b and b[: len(a) + 1] == (*a, following[a]) for a in contexts for b in contexts)


# --- Perplexity and bits per byte


@pytest.mark.parametrize("vocab", [2, 10, 50257])
def test_perplexity_of_a_uniform_guess_is_the_size_of_the_vocabulary(vocab):
    assert float(perplexity(torch.full((13,), math.log(vocab)))) == pytest.approx(vocab, rel=1e-5)


def test_guessing_bytes_uniformly_costs_eight_bits_a_byte():
    text = "один, two, τρία"
    losses = torch.full((len(text.encode("utf-8")),), math.log(256))
    assert float(bits_per_byte(losses, text)) == pytest.approx(8.0, rel=1e-5)


@FAST
@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=30), st.text(min_size=1, max_size=40))
def test_perplexity_and_bits_per_byte_tell_the_same_story(losses, text):
    """2^(bits of the text) = perplexity^(tokens of the text); compared as logarithms."""
    token_losses = torch.tensor(losses)
    bits = float(bits_per_byte(token_losses, text)) * len(text.encode("utf-8"))
    assert bits == pytest.approx(math.log2(float(perplexity(token_losses))) * len(losses), rel=1e-4, abs=1e-4)


# --- The training loop, against the update written out


@pytest.mark.parametrize("max_norm", [1e9, 0.3], ids=["free", "clipped"])
def test_training_is_gradient_descent(max_norm):
    """Linear regression: the gradient of mean((x w + b - y)²) in closed form, in double precision."""
    g = generator(3)
    model = torch.nn.Linear(5, 1).double()
    w, b = model.weight.detach().numpy()[0].copy(), model.bias.item()
    batches = [(torch.randn(7, 5, generator=g).double(), torch.randn(7, 1, generator=g).double()) for _ in range(3)]
    rates = [0.1, 0.02, 0.3]

    expected = []
    for (x, y), rate in zip(batches, rates):
        x, residual = x.numpy(), (x.numpy() @ w + b) - y.numpy()[:, 0]
        expected.append(np.mean(residual**2))
        gradient = np.append(2 * x.T @ residual, 2 * residual.sum()) / len(x)
        gradient *= min(1.0, max_norm / np.linalg.norm(gradient))
        w, b = w - rate * gradient[:-1], b - rate * gradient[-1]

    losses = train(
        model,
        batches,
        torch.optim.SGD(model.parameters(), lr=1.0),
        lambda step: rates[step],
        lambda model, batch: (model(batch[0]) - batch[1]).square().mean(),
        max_norm=max_norm,
    )
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    np.testing.assert_allclose(model.weight.detach().numpy()[0], w, rtol=1e-5)
    assert model.bias.item() == pytest.approx(b, rel=1e-5)


# --- What is drawn at random, against the probabilities that the papers give


def test_masking_follows_the_shares_of_bert():
    """Devlin et al. 2019, section 3.1. A random token is [MASK], or the token itself, once in vocab_size draws."""
    vocab, mask_id, n = 23, 4, 400 * 500
    input_ids = torch.randint(5, vocab, (400, 500), generator=generator(1))
    corrupted, labels = mask_tokens(input_ids, torch.zeros_like(input_ids).bool(), mask_id, vocab, generator(2))
    chosen = labels != -100
    m = int(chosen.sum())
    assert within_five_standard_errors(m, n, 0.15)
    now, was = corrupted[chosen], input_ids[chosen]
    assert within_five_standard_errors(int((now == mask_id).sum()), m, 0.8 + 0.1 / vocab)
    assert within_five_standard_errors(int((now == was).sum()), m, 0.1 + 0.1 / vocab)
    for token in range(vocab):  # what replaces: each id with probability 0.1 / vocab, from where it was not already
        if token != mask_id:
            elsewhere = was != token
            hits = int((now[elsewhere] == token).sum())
            assert within_five_standard_errors(hits, int(elsewhere.sum()), 0.1 / vocab), token


def test_next_sentences_are_real_half_of_the_time_and_others_are_spread_evenly():
    documents = [[f"{d} {s}" for s in range(3 + d)] for d in range(5)]
    pairs = [pair for seed in range(150) for pair in nsp_pairs(documents, generator(seed))]
    assert len(pairs) == 150 * sum(len(d) - 1 for d in documents)
    assert within_five_standard_errors(sum(is_next for *_, is_next in pairs), len(pairs), 0.5)
    seconds_of_first_document = [second for first, second, is_next in pairs if first[0] == "0" and not is_next]
    for other in range(1, 5):
        hits = sum(second.startswith(f"{other} ") for second in seconds_of_first_document)
        assert within_five_standard_errors(hits, len(seconds_of_first_document), 1 / 4)
