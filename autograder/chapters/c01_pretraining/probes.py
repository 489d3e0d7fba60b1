"""Probes of chapter 01: pre-training.

Sizes in a case are distinct and mostly odd, and no input is symmetric, so that a swapped axis or a wrong divisor shows.
"""

import itertools
import math
from collections import Counter
from collections.abc import Mapping

import torch

from autograder.chapters.probing import as_number, as_pair, as_tensor, gradient_at, noting_sgd, plain_losses, seeded
from autograder.exercise import Exercise, Unexpected

TOPIC = "01_pretraining"
IGNORE = -100  # the label that cross-entropy leaves out


# ---------------------------------------------------------------------------------------------------------------------
make_labels = Exercise("make_labels", TOPIC, "Exercise 1: labels, and what padding is not")


def _padded_ids(seed: int, rows: int, length: int, side: str, padding: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids in [3, 50), padded in rows of different lengths. Shapes (rows, length)."""
    g = seeded(seed)
    ids = torch.randint(3, 50, (rows, length), generator=g)
    mask = torch.ones(rows, length, dtype=torch.long)
    for row in range(1, rows):
        n = int(torch.randint(1, length - 2, (1,), generator=g))
        where = slice(length - n, None) if side == "right" else slice(None, n)
        ids[row, where], mask[row, where] = padding, 0
    return ids, mask


@make_labels.case
def padded_on_the_right(answer, seed):
    """Rows padded on the right: labels repeat the ids, and are -100 on padding."""
    ids, mask = _padded_ids(seed, 5, 11, "right")
    return {"labels": answer(ids, mask)}


@make_labels.case
def padded_on_the_left(answer, seed):
    """Rows padded on the left with another id, as for generation: the mask says where padding is, not the side."""
    ids, mask = _padded_ids(seed, 3, 7, "left", padding=2)
    return {"labels": answer(ids, mask)}


@make_labels.case
def a_real_token_with_the_padding_id(answer, seed):
    """A real token may have the same id as padding (many models pad with the end token): only the mask decides."""
    ids, mask = _padded_ids(seed, 3, 9, "right")
    ids[:, 1] = 0  # a real token: the mask says 1
    mask[:, 1] = 1
    return {"labels": answer(ids, mask)}


@make_labels.case
def inputs_are_left_alone(answer, seed):
    """The input ids are the same after the call: the model still needs them."""
    ids, mask = _padded_ids(seed, 5, 9, "right")
    labels = answer(ids, mask)
    return {"labels": labels, "input_ids": ids, "attention_mask": mask}


# ---------------------------------------------------------------------------------------------------------------------
causal_lm_loss = Exercise("causal_lm_loss", TOPIC, "Exercise 2: the causal language-modelling loss")


def _logits_and_labels(
    seed: int, rows: int, length: int, vocab: int, padded: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (rows, length, vocab) and labels (rows, length), -100 on right padding."""
    g = seeded(seed)
    logits = 2 * torch.randn(rows, length, vocab, generator=g)
    labels = torch.randint(0, vocab, (rows, length), generator=g)
    if padded:
        for row in range(1, rows):
            labels[row, length - 2 * row :] = IGNORE
    return logits, labels


def _lm_sizes(rows: int, length: int, vocab: int, labels: torch.Tensor) -> dict[str, int]:
    return {
        "the batch size": rows,
        "the length of a row": length,
        "the size of the vocabulary": vocab,
        "the number of targets": int((labels[:, 1:] != IGNORE).sum()),
    }


@causal_lm_loss.case
def an_ordinary_batch(answer, seed):
    """A batch without padding: the mean of -log p(next token) over every position that has a next token."""
    logits, labels = _logits_and_labels(seed, 3, 11, 17, padded=False)
    return {"loss": answer(logits, labels), "_sizes": _lm_sizes(3, 11, 17, labels)}


@causal_lm_loss.case
def padded_rows(answer, seed):
    """Rows of different lengths: each real target counts once, padding (-100) not at all."""
    logits, labels = _logits_and_labels(seed, 5, 13, 19, padded=True)
    return {"loss": answer(logits, labels), "_sizes": _lm_sizes(5, 13, 19, labels)}


@causal_lm_loss.case
def left_padded_rows(answer, seed):
    """Padding on the left: the labels say what counts, whichever side is padded."""
    logits, labels = _logits_and_labels(seed, 3, 9, 7, padded=False)
    labels[1, :4], labels[2, :1] = IGNORE, IGNORE
    return {"loss": answer(logits, labels), "_sizes": _lm_sizes(3, 9, 7, labels)}


@causal_lm_loss.case
def a_batch_of_one(answer, seed):
    """A batch of a single short row."""
    logits, labels = _logits_and_labels(seed, 1, 3, 5, padded=False)
    return {"loss": answer(logits, labels)}


@causal_lm_loss.case
def huge_logits(answer, seed):
    """Logits of size 10 000: the loss is large but finite (a plain exp overflows)."""
    logits, labels = _logits_and_labels(seed, 3, 5, 7, padded=False)
    return {"loss": answer(1e4 * logits, labels)}


@causal_lm_loss.case
def gradient(answer, seed):
    """The gradient reaches exactly the positions that predict a real token."""
    logits, labels = _logits_and_labels(seed, 3, 7, 5, padded=True)
    return {"gradient": gradient_at(answer, logits, labels)}


# ---------------------------------------------------------------------------------------------------------------------
count_ngrams = Exercise("count_ngrams", TOPIC, "Exercise 3: counting n-grams")


def _documents(seed: int, count: int, vocab: int) -> list[list[int]]:
    """Documents of different lengths; each begins with 0 (<bos>) and ends with 1 (<eos>)."""
    g = seeded(seed)
    lengths = [3 + (5 * i + seed) % 7 for i in range(count)]
    return [[0, *torch.randint(2, vocab, (n,), generator=g).tolist(), 1] for n in lengths]


def _table(counts) -> dict:
    """Counts of any mapping type in one canonical form."""
    if not isinstance(counts, Mapping):
        raise Unexpected(f"A dict of context -> Counter should come back; it was {type(counts).__name__}.")
    lines, total = [], 0
    for context, followers in counts.items():
        if not isinstance(context, tuple):
            raise Unexpected(f"A context should be a tuple of token ids; one of your keys is {context!r}.")
        if not isinstance(followers, Mapping):
            raise Unexpected(f"The value of a context should be a Counter; yours is {type(followers).__name__}.")
        for token, count in followers.items():
            if count:
                lines.append(f"{tuple(int(t) for t in context)} -> {int(token)}: {int(count)}")
                total += int(count)
    return {"total_count": total, "counts": "\n".join(sorted(lines))}


@count_ngrams.case
def bigrams(answer, seed):
    """n = 2: the context is the one token before."""
    return _table(answer(_documents(seed, 5, 6), 2))


@count_ngrams.case
def trigrams(answer, seed):
    """n = 3: the context is the two tokens before, or the one there is at the beginning of a document."""
    return _table(answer(_documents(seed, 7, 5), 3))


@count_ngrams.case
def unigrams(answer, seed):
    """n = 1: every token is counted under the empty context ()."""
    return _table(answer(_documents(seed, 3, 5), 1))


@count_ngrams.case
def fourgrams_of_repetition(answer, seed):
    """Repeated text: the same 4-gram counts every time it occurs."""
    word = 2 + seed % 3
    return _table(answer([[0] + [word, 5] * 4 + [1], [0] + [word, 5] * 2 + [1]], 4))


# ---------------------------------------------------------------------------------------------------------------------
ngram_loss = Exercise("ngram_loss", TOPIC, "Exercise 4: the loss of an n-gram model")


def _random_counts(seed: int, n: int, vocab: int, hole: bool) -> dict[tuple, Counter]:
    """Counts for every context of up to n - 1 tokens; with a hole, some tokens and contexts were never seen."""
    g = seeded(seed)
    counts = {}
    for size in range(n):
        for context in itertools.product(range(vocab), repeat=size):
            numbers = torch.randint(1, 9, (vocab,), generator=g).tolist()
            if hole:
                numbers[2 + seed % 2] = 0
            counts[context] = Counter({token: c for token, c in enumerate(numbers) if c})
    return counts


def _ngram_data(answer, seed: int, n: int, vocab: int, alpha: float, hole: bool, count: int = 5) -> dict:
    documents = _documents(seed, count, vocab)
    predicted = sum(len(d) - 1 for d in documents)
    loss = answer(_random_counts(seed, n, vocab, hole), documents, n, vocab, alpha)
    return {"loss": loss, "_sizes": {"the number of predicted tokens": predicted, "the number of documents": count}}


@ngram_loss.case
def add_one(answer, seed):
    """A bigram model with alpha = 1: the mean of -log p over every token after <bos>, in nats."""
    return _ngram_data(answer, seed, 2, 6, 1.0, hole=True)


@ngram_loss.case
def a_small_alpha(answer, seed):
    """A trigram model with alpha = 0.01: unseen tokens are costly, not impossible."""
    return _ngram_data(answer, seed, 3, 5, 0.01, hole=True)


@ngram_loss.case
def maximum_likelihood(answer, seed):
    """alpha = 0 and nothing unseen: plain relative frequencies."""
    return _ngram_data(answer, seed, 2, 7, 0.0, hole=False)


@ngram_loss.case
def an_unseen_context(answer, seed):
    """A context that was never counted: with alpha > 0 every token has probability 1 / vocab_size."""
    documents = _documents(seed, 3, 7)
    counts = {context: c for context, c in _random_counts(seed, 2, 7, False).items() if context != (documents[0][1],)}
    return {"loss": answer(counts, documents, 2, 7, 0.5)}


@ngram_loss.case
def impossible_text(answer, seed):
    """alpha = 0 and an unseen token or an unseen context: the loss is infinite, and nothing is raised."""
    documents = [*_documents(seed, 3, 6), [0, 2, 3, 2, 3, 1]]
    unseen_token = _random_counts(seed, 2, 6, True)
    unseen_context = {context: c for context, c in _random_counts(seed, 2, 6, False).items() if context != (2,)}
    return {
        "with_an_unseen_token": answer(unseen_token, documents, 2, 6, 0.0),
        "with_an_unseen_context": answer(unseen_context, documents, 2, 6, 0.0),
    }


@ngram_loss.case
def a_long_text(answer, seed):
    """A thousand tokens: the product of their probabilities is too small for a float, the sum of logarithms is not."""
    return _ngram_data(answer, seed, 2, 9, 0.5, hole=False, count=131)


# ---------------------------------------------------------------------------------------------------------------------
perplexity = Exercise("perplexity", TOPIC, "Exercise 5: perplexity and bits per byte")


def _token_losses(seed: int, n: int) -> torch.Tensor:
    return 0.2 + 3 * torch.rand(n, generator=seeded(seed))


@perplexity.case
def some_tokens(answer, seed):
    """The perplexity of a text is exp of its mean loss per token."""
    n = 13 + seed % 4
    return {"perplexity": answer(_token_losses(seed, n)), "_sizes": {"the number of tokens": n}}


@perplexity.case
def a_uniform_guess(answer, seed):
    """Guessing uniformly among V tokens has perplexity V."""
    return {"perplexity": answer(torch.full((7,), math.log(11 + seed % 90)))}


@perplexity.case
def one_expensive_token(answer, seed):
    """A single very unlikely token does not blow it up: the mean comes first, exp second."""
    losses = torch.cat([_token_losses(seed, 29), torch.tensor([80.0])])
    return {"perplexity": answer(losses)}


bits_per_byte = Exercise("bits_per_byte", TOPIC, "Exercise 5: perplexity and bits per byte")


@bits_per_byte.case
def plain_text(answer, seed):
    """All the loss of a text, in bits, divided by its length in bytes."""
    text = "the red ball is here ." + " mia has it ." * (seed % 5 + 1)
    n = len(text.split())
    sizes = {"the number of tokens": n, "the number of bytes": len(text)}
    return {"bits_per_byte": answer(_token_losses(seed, n), text), "_sizes": sizes}


@bits_per_byte.case
def text_beyond_ascii(answer, seed):
    """A letter outside ASCII takes two bytes or more in UTF-8: bytes count, not characters."""
    text = "Привет, мир ! " * (seed % 3 + 1) + "καλημέρα"
    return {"bits_per_byte": answer(_token_losses(seed, 9), text), "_sizes": {"the number of characters": len(text)}}


# ---------------------------------------------------------------------------------------------------------------------
next_token_probs = Exercise("next_token_probs", TOPIC, "Exercise 6: choosing the next token")


def _next_logits(
    seed: int, rows: int, vocab: int, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> torch.Tensor:
    """Logits (rows, vocab) on which rounding decides nothing: no near ties, no sum of probabilities close to top_p."""
    candidates = 2 * torch.randn(3 * rows, vocab, generator=seeded(seed))
    ordered = candidates.sort(descending=True).values
    clear = (ordered[:, :-1] - ordered[:, 1:]).amin(-1) > 1e-3
    if top_p is not None:
        sums = (ordered[:, :top_k] / temperature).softmax(-1).cumsum(-1)
        clear &= (sums - top_p).abs().amin(-1) > 1e-3
    return candidates[clear][:rows]


@next_token_probs.case
def plain_softmax(answer, seed):
    """Nothing asked for: the softmax of the logits."""
    return {"probs": answer(_next_logits(seed, 3, 7))}


@next_token_probs.case
def temperatures(answer, seed):
    """Temperature 0.5 sharpens the distribution, 2 flattens it."""
    logits = _next_logits(seed, 3, 7)
    return {"probs_at_half": answer(logits, temperature=0.5), "probs_at_two": answer(logits, temperature=2.0)}


@next_token_probs.case
def temperature_zero(answer, seed):
    """Temperature 0 means greedy: all probability on the largest logit."""
    return {"probs": answer(_next_logits(seed, 5, 7), temperature=0.0)}


@next_token_probs.case
def top_k_alone(answer, seed):
    """top_k = 3 keeps the three most likely tokens of each row and renormalises."""
    return {"probs": answer(_next_logits(seed, 5, 11), top_k=3)}


@next_token_probs.case
def top_k_beyond_the_vocabulary(answer, seed):
    """A top_k larger than the vocabulary keeps everything."""
    return {"probs": answer(_next_logits(seed, 3, 5), top_k=50)}


@next_token_probs.case
def top_p_alone(answer, seed):
    """top_p = 0.8 keeps the fewest most likely tokens whose probabilities sum to 0.8 or more, in each row."""
    return {"probs": answer(_next_logits(seed, 7, 13, top_p=0.8), top_p=0.8)}


@next_token_probs.case
def a_tiny_top_p(answer, seed):
    """However small top_p is, the most likely token stays."""
    return {"probs": answer(_next_logits(seed, 3, 7), top_p=1e-4)}


@next_token_probs.case
def all_three(answer, seed):
    """Temperature first, then top-k, then top-p on what top-k left, renormalised."""
    asked = {"temperature": 1.7, "top_k": 7, "top_p": 0.75}
    return {"probs": answer(_next_logits(seed, 21, 15, **asked), **asked)}


@next_token_probs.case
def large_logits(answer, seed):
    """Logits of size 10 000 still give probabilities."""
    # Doubling the temperature is exact in binary: at this size another factor's rounding would show in the result.
    return {"probs": answer(1e4 * _next_logits(seed, 3, 7), temperature=2.0)}


# ---------------------------------------------------------------------------------------------------------------------
learning_rate = Exercise("learning_rate", TOPIC, "Exercise 7: warm-up and cosine decay", plain=True)


def _rates(answer, steps, max_lr: float, warmup: int, total: int, min_lr: float) -> dict:
    rates = [as_number(answer(step, max_lr, warmup, total, min_lr), "The learning rate") for step in steps]
    return {"rates": torch.tensor(rates, dtype=torch.float64)}


@learning_rate.case
def warm_up(answer, seed):
    """The warm-up is a straight line from 0 at step 0 to max_lr at step warmup_steps."""
    warmup = 7 + seed % 5
    return _rates(answer, range(warmup + 1), 3e-3, warmup, 53, 1e-4)


@learning_rate.case
def decay(answer, seed):
    """From there, half a cosine down to min_lr at step total_steps."""
    warmup = 5 + seed % 4
    return _rates(answer, range(warmup, 42), 2e-3, warmup, 41, 3e-4)


@learning_rate.case
def after_the_end(answer, seed):
    """Beyond total_steps the rate stays at min_lr; it does not rise again."""
    return _rates(answer, range(29, 60, 5), 1e-2, 3, 30 + seed % 3, 1e-3)


@learning_rate.case
def no_warm_up(answer, seed):
    """With warmup_steps = 0 the rate is max_lr at step 0."""
    return _rates(answer, range(0, 19, 3), 1e-3 * (1 + seed % 3), 0, 19, 0.0)


# ---------------------------------------------------------------------------------------------------------------------
train = Exercise("train", TOPIC, "Exercise 8: the training loop", trains=True)


def _run_training(
    answer,
    seed: int,
    steps: int,
    lr_at,
    momentum: float = 0.0,
    scale: float = 1.0,
    calls: list | None = None,
    louder_in_training: bool = False,
    **options,
) -> dict:
    """Train a linear model on `steps` small batches and return everything that happened.

    calls: receives (step, loss, updates so far) at each call of after_step. louder_in_training: the loss is three times
    as large in training mode, so that the mode shows in it.
    """
    g = seeded(seed)
    model = torch.nn.Linear(5, 3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=g))
    model.eval()
    batches = [(torch.randn(7, 5, generator=g), scale * torch.randn(7, 3, generator=g)) for _ in range(steps)]

    def compute_loss(model, batch):
        x, y = batch
        loss = (model(x) - y).square().mean()
        return 3 * loss if louder_in_training and model.training else loss

    optimizer = noting_sgd([{"params": [model.weight]}, {"params": [model.bias]}], lr=123.0, momentum=momentum)
    if calls is not None:
        options["after_step"] = lambda step, loss: calls.append((int(step), float(loss), len(optimizer.rates)))
    losses = answer(model, batches, optimizer, lr_at, compute_loss, **options)
    return {"losses": losses, "model": model, "optimizer": optimizer}


def _loss_list(losses) -> torch.Tensor:
    return plain_losses(losses, "train", "one a step")


@train.case
def losses_and_weights(answer, seed):
    """After a few steps of plain SGD: the loss of every step, measured before its update, and the final weights."""
    ran = _run_training(answer, seed, 4, lambda step: 0.05, max_norm=1e9)
    return {"losses": _loss_list(ran["losses"]), "weight": ran["model"].weight, "bias": ran["model"].bias}


@train.case
def learning_rates(answer, seed):
    """At step s the optimizer works with lr_at(s), s = 0, 1, 2, …, in every parameter group."""
    ran = _run_training(answer, seed, 4, lambda step: 0.01 * (1 + seed % 7) * (step + 1) ** 2, max_norm=1e9)
    return {"rates": torch.tensor(ran["optimizer"].rates)}


@train.case
def gradients_start_from_zero(answer, seed):
    """Each step uses the gradient of its own batch alone."""
    ran = _run_training(answer, seed, 3, lambda step: 0.0, max_norm=1e9)
    return {"gradient_norms": torch.tensor(ran["optimizer"].norms)}


@train.case
def clipping(answer, seed):
    """The norm of all gradients together is clipped to max_norm before the step; small gradients stay as they are."""
    large = _run_training(answer, seed, 3, lambda step: 0.01, momentum=0.5, scale=30.0, max_norm=0.7)
    small = _run_training(answer, seed, 2, lambda step: 0.01, scale=0.1, max_norm=50.0)
    return {
        "clipped_norms": torch.tensor(large["optimizer"].norms),
        "free_norms": torch.tensor(small["optimizer"].norms),
        "weight": large["model"].weight,
    }


@train.case
def training_mode(answer, seed):
    """The model is in training mode when the loss is computed (dropout is on), whatever it was before."""
    ran = _run_training(answer, seed, 2, lambda step: 0.01, louder_in_training=True)
    return {"losses": _loss_list(ran["losses"])}


@train.case
def after_every_step(answer, seed):
    """after_step(step, loss) is called after every update, with the step's number and its loss."""
    calls = []
    _run_training(answer, seed, 3, lambda step: 0.05, calls=calls)
    return {
        "steps": torch.tensor([step for step, _, _ in calls]),
        "losses": torch.tensor([loss for _, loss, _ in calls]),
        "updates_made_before_each_call": torch.tensor([updates for _, _, updates in calls]),
    }


# ---------------------------------------------------------------------------------------------------------------------
mask_tokens = Exercise("mask_tokens", TOPIC, "Exercise 9: BERT's masking")

_MASK = 4


def _maskable(seed: int, rows: int, length: int, vocab: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids (rows, length) in [5, vocab) and which of them are special (first, last, and some padding at the end)."""
    g = seeded(seed)
    ids = torch.randint(5, vocab, (rows, length), generator=g)
    special = torch.zeros(rows, length, dtype=torch.bool)
    special[:, 0], special[:, -3:] = True, True
    ids[:, 0], ids[:, -3:] = 1, 0
    return ids, special


def _masked(answer, seed: int, rows: int, length: int, vocab: int, **options) -> tuple[dict, torch.Tensor]:
    """What went in and what came back, raw (the rules say what must hold of it), and the ids after the call."""
    ids, special = _maskable(seed, rows, length, vocab)
    before = ids.clone()
    corrupted, labels = _two_tensors(answer(ids, special, _MASK, vocab, seeded(seed), **options), before)
    return {
        "input_ids": _small(before),
        "is_special": special,
        "corrupted": _small(corrupted),
        "labels": _small(labels),
    }, ids


def _small(ids: torch.Tensor) -> torch.Tensor:
    """As 16-bit integers: no id here is larger, and much of it travels to the judge."""
    return ids.clamp(-(2**15), 2**15 - 1).to(torch.int16)


def _two_tensors(returned, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    corrupted, labels = as_pair(returned, "corrupted ids and labels")
    corrupted, labels = as_tensor(corrupted, "The corrupted ids"), as_tensor(labels, "The labels")
    if corrupted.shape != ids.shape or labels.shape != ids.shape:
        raise Unexpected(
            f"Both tensors should have the shape of input_ids, {tuple(ids.shape)}; yours have "
            f"{tuple(corrupted.shape)} and {tuple(labels.shape)}."
        )
    return corrupted, labels


@mask_tokens.case(rule="masking_choice")
def how_many_are_chosen(answer, seed):
    """Each ordinary token is chosen with probability 0.15; a chosen token's label is its id, all others have -100."""
    return _masked(answer, seed, 97, 101, 61)[0]


@mask_tokens.case(rule="masking_rate")
def another_rate(answer, seed):
    """The rate is an argument: with rate = 0.4, four tokens in ten are chosen."""
    return _masked(answer, seed, 53, 59, 61, rate=0.4)[0]


@mask_tokens.case(rule="masking_fates")
def eighty_ten_ten(answer, seed):
    """Of the chosen tokens 80 % become [MASK], 10 % a random token, 10 % stay as they are."""
    # So many draws that shares of 2 % and 10 %, or of 72 % and 80 %, lie more than 11 standard errors apart.
    return _masked(answer, seed, 103, 113, 61, rate=0.6)[0]


@mask_tokens.case(rule="masking_specials")
def special_tokens(answer, seed):
    """Special tokens (<cls>, <sep>, padding) are never chosen and never changed."""
    return _masked(answer, seed, 31, 97, 61)[0]


@mask_tokens.case(rule="masking_replacements")
def random_tokens_cover_the_vocabulary(answer, seed):
    """Random replacements come from the whole vocabulary, all ids equally likely."""
    return _masked(answer, seed, 97, 101, 61, rate=0.5)[0] | {"vocab": 61}


@mask_tokens.case(rule="input_survives")
def input_ids_survive(answer, seed):
    """The input ids are the same after the call: the next epoch masks other tokens of the same text."""
    drawn, after = _masked(answer, seed, 7, 97, 61)
    return drawn | {"input_ids_after": _small(after)}


@mask_tokens.case(rule="repeatable_masks")
def same_generator_same_mask(answer, seed):
    """All randomness comes from the generator: the same generator seed gives the same masks."""
    ids, special = _maskable(seed, 7, 97, 61)

    def run(generator_seed: int) -> torch.Tensor:
        drawn = _two_tensors(answer(ids.clone(), special, _MASK, 61, seeded(generator_seed)), ids)
        return torch.stack([_small(tensor) for tensor in drawn])  # (2, rows, length)

    runs = {"first": run(seed), "again": run(seed), "with_another_seed": run(seed + 1)}
    return runs | {"input_ids": _small(ids)}


# ---------------------------------------------------------------------------------------------------------------------
mlm_loss = Exercise("mlm_loss", TOPIC, "Exercise 10: the loss of masked language modelling")


def _mlm_inputs(seed: int, rows: int, length: int, vocab: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (rows, length, vocab); labels (rows, length) with a few targets, -100 elsewhere."""
    g = seeded(seed)
    logits = 2 * torch.randn(rows, length, vocab, generator=g)
    labels = torch.randint(0, vocab, (rows, length), generator=g)
    chosen = torch.rand(rows, length, generator=g) < 0.3
    chosen[0, 0], chosen[0, 1], chosen[-1, -1] = True, False, True  # the ends count too: nothing is shifted
    return logits, labels.masked_fill(~chosen, IGNORE)


@mlm_loss.case
def chosen_positions_only(answer, seed):
    """The mean of -log p(original token) over the chosen positions, each predicted in its own place."""
    logits, labels = _mlm_inputs(seed, 3, 11, 17)
    chosen = int((labels != IGNORE).sum())
    sizes = {"the batch size": 3, "the length of a row": 11, "the number of chosen tokens": chosen}
    return {"loss": answer(logits, labels), "_sizes": sizes}


@mlm_loss.case
def nothing_chosen(answer, seed):
    """A batch in which no token was chosen has loss 0, not NaN."""
    logits, labels = _mlm_inputs(seed, 1, 5, 7)
    return {"loss": answer(logits, torch.full_like(labels, IGNORE))}


@mlm_loss.case
def mlm_huge_logits(answer, seed):
    """Logits of size 10 000 give a finite loss."""
    logits, labels = _mlm_inputs(seed, 3, 7, 5)
    return {"loss": answer(1e4 * logits, labels)}


@mlm_loss.case
def mlm_gradient(answer, seed):
    """The gradient reaches the chosen positions and no others."""
    logits, labels = _mlm_inputs(seed, 3, 7, 5)
    return {"gradient": gradient_at(answer, logits, labels)}


# ---------------------------------------------------------------------------------------------------------------------
nsp_pairs = Exercise("nsp_pairs", TOPIC, "Exercise 11: pairs for next-sentence prediction")


def _story(document: int, sentences: int) -> list[str]:
    return [f"document {document} sentence {i} ." for i in range(sentences)]


def _pairs(answer, documents: list[list[str]], seed: int) -> str:
    """The pairs as text, a line each: first, second and 1 or 0, between tabs."""
    pairs = answer(documents, seeded(seed))
    if not isinstance(pairs, (list, tuple)):
        raise Unexpected(f"A list of (first, second, is_next) should come back; it was {type(pairs).__name__}.")
    known, lines = {sentence for document in documents for sentence in document}, []
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 3:
            raise Unexpected(f"Each item should be (first, second, is_next); one of yours is {str(pair)[:80]!r}.")
        first, second, is_next = pair
        if not isinstance(first, str) or not isinstance(second, str):
            raise Unexpected(
                f"first and second should be sentences (str); yours are {type(first).__name__} and "
                f"{type(second).__name__}."
            )
        for sentence in (first, second):
            if sentence not in known:
                raise Unexpected(f"One of your sentences, {sentence[:80]!r}, stands in no document.")
        lines.append(f"{first}\t{second}\t{int(bool(is_next))}")
    return "\n".join(lines)


@nsp_pairs.case(rule="pairs_firsts")
def one_pair_a_sentence(answer, seed):
    """Every sentence that has a successor is the first of exactly one pair; documents of one sentence give none."""
    lengths = [47, 1, 53 + seed % 5]
    return {"pairs": _pairs(answer, [_story(i, n) for i, n in enumerate(lengths)], seed), "lengths": lengths}


@nsp_pairs.case(rule="pairs_share")
def half_of_them_real(answer, seed):
    """Half of the pairs are real."""
    return {"pairs": _pairs(answer, [_story(i, 9) for i in range(51)], seed)}


@nsp_pairs.case(rule="pairs_real")
def real_pairs(answer, seed):
    """In a real pair the second sentence is the one that follows the first in its document."""
    return {"pairs": _pairs(answer, [_story(i, 3 + i % 2) for i in range(41)], seed)}


@nsp_pairs.case(rule="pairs_other")
def other_pairs(answer, seed):
    """In the other pairs the second sentence comes from another document."""
    return {"pairs": _pairs(answer, [_story(i, 29 + i % 3) for i in range(17)], seed)}


@nsp_pairs.case(rule="pairs_shared_sentence")
def never_the_true_successor(answer, seed):
    """Different documents may share a sentence: a pair labelled "not next" never holds the true successor's words."""
    documents = [[f"document {i} sentence 0 .", "the end ."] for i in range(61)]
    documents += [["document 61 sentence 0 .", "nobody came ."]]
    return {"pairs": _pairs(answer, documents, seed), "other_first": documents[61][0]}


@nsp_pairs.case(rule="pairs_varied")
def varied_others(answer, seed):
    """The other sentences vary: they come from many documents, near and far, and from every place in them."""
    return {"pairs": _pairs(answer, [_story(i, 5) for i in range(61)], seed), "documents": 61, "sentences": 5}


@nsp_pairs.case(rule="repeatable_pairs")
def same_generator_same_pairs(answer, seed):
    """All randomness comes from the generator: the same seed gives the same pairs, another seed gives others."""
    documents = [_story(i, 5) for i in range(11)]
    seeds = {"first": seed, "again": seed, "with_another_seed": seed + 1}
    return {name: _pairs(answer, documents, s) for name, s in seeds.items()}
