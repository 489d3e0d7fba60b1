# %% [markdown]
# # 1 · Pre-training
#
# A language model learns nearly everything it knows before anyone tells it what to do. In this chapter you write that
# first stage yourself, from the loss to the training loop. A small model first writes noise; after a few minutes on a
# laptop it recites facts and copies lists.
#
# **You will be able to**
# - write the loss that GPT-like models are trained on, with padding and the shift handled correctly;
# - tell a good loss from a bad one, by two comparisons: n-gram models, and the entropy of the text;
# - sample from a model with temperature, top-k and top-p;
# - train a causal model, and a masked one with next-sentence prediction, and compare what each objective teaches;
# - explain why a pre-trained model answers a question with another question.
#
# | exercise | difficulty | minutes | | exercise | difficulty | minutes |
# |---|---|---|---|---|---|---|
# | 1 labels | ● ○ ○ | 5 | | 7 choosing the next token | ● ● ● | 20 |
# | 2 causal loss | ● ● ○ | 10 | | 8 warm-up and cosine | ● ○ ○ | 5 |
# | 3 counting n-grams | ● ● ○ | 10 | | 9 the training loop | ● ● ○ | 15 |
# | 4 loss of an n-gram model | ● ● ○ | 10 | | 10 BERT's masking | ● ● ○ | 15 |
# | 5 the best counts (open) | ● ● ● | 20 or more | | 11 next-sentence pairs | ● ● ● | 15 |
# | 6 perplexity, bits per byte | ● ○ ○ | 5 | | | | |
#
# You need Python and the basics of PyTorch. At **Predict**, choose an answer before you run the next cells. It is not
# graded. Hints are folded, and stand behind most checks.

# %% tags=["imports"]
import math
from collections import Counter, defaultdict

import torch
import torch.nn.functional as F

from autograder import check, predict, progress, reveal

# %% tags=["demo"]
import re

import matplotlib.pyplot as plt
from tqdm.auto import tqdm

from course import batching, clozes, data, device, models, ngrams, plots, sentences
from course import widgets, world
from course.drawings import c01 as drawings

plots.use_style()
torch.set_num_threads(1)  # a model this small gains little from more threads
print(device.describe_machine())
DEVICE = device.device()

# %% [markdown]
# ## Why pre-train
#
# In other fields of deep learning you take a network that was trained on a large general set (a classifier of
# photographs, say), replace its last layer and train it on your task. Language models are first trained on even more
# general data: text as it is found on the web, in books, papers and code. Nobody labels it.
#
# This is often called *unsupervised*. **Self-supervised** is the better word: there are labels, and the loss is the
# plain supervised cross-entropy. But the labels come from the text itself: hide a part of it, and predict that part
# from the rest. The three classic objectives differ in what they hide.
#
# | objective | hidden | seen | used by |
# |---|---|---|---|
# | causal LM (CLM) | the next token | everything before it | GPT, Llama, nearly every model you chat with |
# | masked LM (MLM) | 15 % of the tokens | everything around them | BERT and its family |
# | next-sentence prediction (NSP) | whether B follows A | both sentences | BERT; dropped soon after (RoBERTa) |
#
# You will train all three and measure what each one learns.
#
# ## A small world whose truth is known
#
# Nobody can say how low the loss on real text could go. So this course trains on a small generated world. A program
# writes its stories, facts, sums, lists and question sheets, and notes for every token the probability with which it
# chose that token. The mean of $-\log p$ under this true program is the **entropy** of the text. No model can have a
# lower expected loss. So it is the **floor** of the loss, and here you know it. The unit is the *nat*, because the
# logarithm is the natural one.

# %% tags=["demo"]
heldout = data.load_heldout()
for kind in sorted({document.kind for document in heldout}):
    text = next(document.text for document in heldout if document.kind == kind)
    print(f"{kind:>10}:  {text}\n")
floor = data.entropy_floor()
print(f"the floor: {floor:.3f} nats per token, that is {floor / math.log(2):.3f} bits")

# %% [markdown]
# ## Exercise 1: tokens, labels, and what padding is not
#
# A model sees numbers. A **tokenizer** cuts text into pieces and looks up the number of each. Real tokenizers learn
# pieces of words from data; this world has so few words that each word is one token. `<bos>` marks where a document
# begins and `<eos>` where it ends: the model must learn to stop, so the end is a token like any other.
#
# Documents differ in length, but a tensor is rectangular. Shorter rows are filled with `<pad>`, and the **attention
# mask** remembers which positions are real (1) and which are filling (0). The next cell draws a batch of three.
#
# In causal language modelling the labels *are* the input ids: the text is its own answer. Only padding must not
# count: the model should not learn to predict `<pad>`. PyTorch's cross-entropy skips targets equal to −100, and all
# libraries use that number. Write `make_labels`. Many models use the end token as padding, so the *mask* decides what
# is padding, not the id.

# %% tags=["demo"]
tokenizer = data.load_tokenizer()
VOCAB = len(tokenizer)
few = ["mia had a hat .", "leo was sad .", "ivy went ."]
batch = data.pad_rows(few, tokenizer)  # input_ids and attention_mask, each (3, 7)
rows_of_tokens = [tokenizer.convert_ids_to_tokens(row) for row in batch.input_ids]
print(f"{VOCAB} tokens; the first row as ids: {batch.input_ids[0].tolist()}")
drawings.padding_and_mask(rows_of_tokens, batch.attention_mask)


# %% nbgrader={"grade": false, "grade_id": "make_labels", "locked": false, "schema_version": 3, "solution": true, "task": false}
def make_labels(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Labels (batch, seq): the input ids, and -100 where attention_mask (batch, seq) is 0.

    input_ids is not changed.
    """
    ### BEGIN SOLUTION
    return input_ids.masked_fill(attention_mask == 0, -100)  # (batch, seq)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "make_labels_check", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("make_labels", make_labels)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Which function of a tensor writes one value wherever a condition holds? And which of its two versions leaves the
# tensor itself alone? (Look for `masked_fill` and `masked_fill_`.)
# </details>
#
# ## Exercise 2: the causal language-modelling loss
#
# A causal model reads tokens $x_1 \dots x_T$ and gives, at each position $t$, a distribution over the next token.
# There is a **shift**: the logits at position $t$ are about the token at position $t + 1$. The next cell draws it.
# `logits` has shape (batch, seq, vocab), `labels` (batch, seq) and is *not* shifted: you do that here.
#
# By the chain rule, the probability of the whole text is $p_\theta(x) = \prod_t p_\theta(x_t \mid x_{<t})$, and
# training maximises it. So the loss is
#
# $$ \mathcal{L}(\theta) = -\frac{1}{|\mathcal{T}|} \sum_{t \in \mathcal{T}} \log p_\theta(x_t \mid x_{<t}), $$
#
# where $\mathcal{T}$ are the positions of real tokens that have a token before them.

# %% tags=["demo"]
drawings.shift_by_one(rows_of_tokens[0])


# %% nbgrader={"grade": false, "grade_id": "causal_lm_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def causal_lm_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean of -log p(labels[t+1] | tokens up to t) in nats, over all targets but -100.

    logits: (batch, seq, vocab), of any size; labels: (batch, seq), not shifted. Returns a
    scalar through which gradients flow.
    """
    ### BEGIN SOLUTION
    predictions = logits[:, :-1].flatten(0, 1)  # (batch * (seq - 1), vocab)
    targets = labels[:, 1:].flatten()  # (batch * (seq - 1),)
    return F.cross_entropy(predictions, targets, ignore_index=-100)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "causal_lm_loss_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("causal_lm_loss", causal_lm_loss)

# %% [markdown]
# <details><summary><b>Hint 1</b>: the shift</summary>
#
# Which position of the logits predicts nothing? Which label is not predicted by any position? Leave these two out.
# </details>
# <details><summary><b>Hint 2</b>: the mean</summary>
#
# What shapes does `F.cross_entropy` want, and which of its arguments is −100 for? It works with log-softmax inside,
# so large logits do not overflow.
# </details>
#
# ## Exercise 3: counting n-grams
#
# A loss of 1.2 nats: is that good? You can only say so by comparison. The next cell compares your loss with that of
# the library `transformers`, and prints the loss of a model that knows nothing. A better comparison comes from
# counting, as language models did before neural networks. An **n-gram model** predicts the next token from the
# $n - 1$ tokens before it, by how often each token followed them in the training text. Relative frequencies are the
# maximum-likelihood estimate, $\hat p(w \mid c) = \mathrm{count}(c, w) \,/\, \mathrm{count}(c)$.
#
# Each document begins with `<bos>`, which is given, not predicted. Every other token is counted once, under the tuple
# of the $n - 1$ tokens before it, its **context**. Near the beginning of a document there are fewer tokens: then the
# tuple is shorter. A context never reaches into the previous document.

# %% tags=["demo"]
# `transformers` computes this loss itself when it is given labels. Is it the same as yours?
fresh = models.new_nano(seed=device.seed(0))
labels = make_labels(batch.input_ids, batch.attention_mask)
with torch.no_grad():
    output = fresh(batch.input_ids, attention_mask=batch.attention_mask, labels=labels)
ours, theirs = causal_lm_loss(output.logits, labels).item(), output.loss.item()
print(f"yours {ours:.6f}   transformers {theirs:.6f}   difference {abs(ours - theirs):.1e}")
print(f"A model that knows nothing guesses about evenly: log |V| = {math.log(VOCAB):.3f}")

# %% nbgrader={"grade": false, "grade_id": "count_ngrams", "locked": false, "schema_version": 3, "solution": true, "task": false}
def count_ngrams(documents: list[list[int]], n: int) -> dict[tuple, Counter]:
    """How often each token follows each context: a dict of context -> Counter of tokens.

    documents: lists of token ids, each beginning with <bos>. Every token but <bos> is counted
    once, under the tuple of the n - 1 tokens before it (of all that there are, where there are
    fewer).
    """
    ### BEGIN SOLUTION
    counts = defaultdict(Counter)
    for document in documents:
        for i in range(1, len(document)):
            context = tuple(document[max(0, i - n + 1) : i])
            counts[context][document[i]] += 1
    return counts
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "count_ngrams_check", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("count_ngrams", count_ngrams)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Where does the context of position `i` begin, and what must not happen to that number near the beginning? Any kind
# of dict will do; which one makes a missing context an empty `Counter` by itself?
# </details>
#
# ## Exercise 4: the loss of an n-gram model
#
# Pure counting has a flaw: a token that was never seen after a context gets probability zero, and one such token
# makes the loss of a whole held-out text infinite. A simple correction adds a little to every count,
#
# $$ \hat p_\alpha(w \mid c) = \frac{\mathrm{count}(c, w) + \alpha}{\mathrm{count}(c) + \alpha\, |V|}. $$
#
# Return the mean of $-\log \hat p_\alpha$ over every token but `<bos>`, in nats. With $\alpha = 0$ the loss may be
# infinite: return `inf` then, without an error. The counts may come as a plain dict, in which contexts are missing.


# %% nbgrader={"grade": false, "grade_id": "ngram_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ngram_loss(
    counts: dict[tuple, Counter],
    documents: list[list[int]],
    n: int,
    vocab_size: int,
    alpha: float,
) -> float:
    """The mean of -log p(token | context) in nats over every token but <bos> of all documents.

    p = (count(context, token) + alpha) / (count(context) + alpha * vocab_size); contexts as in
    count_ngrams. counts: a plain dict of context -> Counter, which may lack a context. A token
    of probability 0, or a context never seen with alpha = 0, makes the loss infinite.
    """
    ### BEGIN SOLUTION
    total, predicted = 0.0, 0
    for document in documents:
        for i in range(1, len(document)):
            seen = counts.get(tuple(document[max(0, i - n + 1) : i]), Counter())
            above = seen[document[i]] + alpha
            below = sum(seen.values()) + alpha * vocab_size
            total += -math.log(above / below) if above > 0 else math.inf
            predicted += 1
    return total / predicted
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "ngram_loss_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("ngram_loss", ngram_loss)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# What are the counts of a context that was never seen, and how do you ask a dict for a key that may not be there?
# `math.log(0)` raises: what do you look at before?
# </details>
#
# Now count the training text for n = 1 to 6, add α = 0.01 to each count, and measure the loss on held-out text.
#
# **Predict.** Each step from n = 1 to n = 6 gives the counts one more token to look at. What does the held-out loss
# do?
# - **a** It falls at every step: more context can only help.
# - **b** It falls down to one best n, and rises at every step after it.
# - **c** It falls, rises, falls again, and then only rises.

# %% tags=["demo"]
predict("more_context", "")

# %% tags=["demo"]
train_texts, heldout_texts = (
    data.load_corpus("train"),
    [document.text for document in heldout],
)
train_documents = data.encode_documents(train_texts, tokenizer)
heldout_documents = data.encode_documents(heldout_texts, tokenizer)
print(f"{len(train_documents):,} documents, {sum(map(len, train_documents)):,} tokens")
tables = {n: count_ngrams(train_documents, n) for n in range(1, 7)}
ngram_losses, more_alpha = {}, {}  # with alpha = 0.01, and with 0.1
for n, counts in tables.items():
    by_alpha = [ngram_loss(counts, heldout_documents, n, VOCAB, a) for a in (0.0, 0.01, 0.1)]
    ngram_losses[n], more_alpha[n] = by_alpha[1:]
    losses = "   ".join(f"{loss:.3f}" for loss in by_alpha)
    print(f"n = {n}: {len(counts):>7,} contexts   loss with alpha = 0, 0.01, 0.1:   {losses}")

# %% tags=["demo"]
parts = [ngrams.where_the_loss_is(tables[n], heldout_documents, n, VOCAB, 0.01) for n in tables]
fig, ax = plt.subplots(figsize=(8, 3))
below = [0.0] * len(parts)
for case, color in zip(ngrams.CASES, (plots.BLUE, plots.ORANGE, plots.VERMILION)):
    cost = [part[case]["cost"] for part in parts]
    ax.bar(list(tables), cost, bottom=below, color=color, width=0.6, label=case)
    below = [b + c for b, c in zip(below, cost)]
ax.set(xlabel="n", ylabel="nats per token", title="What the loss consists of")
ax.legend()
plt.show()
falls = [ngram_losses[n + 1] < ngram_losses[n] for n in range(1, 6)]
best_n = min(ngram_losses, key=ngram_losses.get)
came = "a" if all(falls) else "b" if falls == sorted(falls, reverse=True) else "c"
share = [1 - part["seen"]["share"] for part in parts]  # of the tokens, new after their context
known = [part["seen"]["cost"] for part in parts]
new = [ngram_losses[n] - cost for n, cost in zip(tables, known)]
best = ngram_losses[best_n]
reveal("more_context", came, best_n=best_n, best=best, share=share, known=known, new=new)

# %% [markdown]
# Two things change with n. Blue: tokens that were seen after their context become cheaper with every n. Orange and
# red: there are more and more tokens that were never seen there, and each of them costs a lot. An orange one costs
# more than a red one: where a context is known well, little probability is left for a token that never followed it.
# Where a context was never seen, all tokens get the same probability, and each costs $\log |V|$. How much probability
# is left for unseen tokens is decided by $\alpha$. In the last column it is ten times as large: the bump at n = 4 is
# gone, and n = 3 is the best.
#
# An n-gram model treats “mia has the red” and “leo has the red” as unrelated. A network can *share* what it learns
# between similar contexts. Its loss should lie between the best of these numbers and the floor.
#
# ## Exercise 5 (open): the best counts
#
# First: how low a loss can counting reach? The check gives you a **small** training text of the world (300 documents,
# with other ids) and 240 beginnings of other documents. You return a distribution over the next token for each. The
# check knows what came next and measures the loss. There are four bars, each lower than the one before, and each that
# you reach counts.
#
# Everything that comes from counts is allowed. There is no one right answer. Some questions to begin with:
# - How much do you trust the counts of a context that was seen once? And if it was never seen: is nothing known then?
# - "of" follows only a few different words, but often. How likely is it after a word that you never saw?
# - The beginning of the document itself is text too. What can be counted there?
#
# (To read: Chen and Goodman 1999, *An empirical study of smoothing techniques for language modeling*.)


# %% nbgrader={"grade": false, "grade_id": "counting_model", "locked": false, "schema_version": 3, "solution": true, "task": false}
def counting_model(
    documents: list[list[int]], contexts: list[list[int]], vocab_size: int
) -> torch.Tensor:
    """For each context a distribution over the next token, (contexts, vocab_size), by counting.

    documents: lists of token ids, from <bos> to <eos>. contexts: beginnings of other documents,
    from <bos> on. No probability is negative, and each row sums to 1.
    """
    ### BEGIN SOLUTION
    longest, discount = 5, 0.8

    def last(tokens, n):  # the n - 1 last tokens, or all that there are
        return tuple(tokens[max(0, len(tokens) - n + 1) :])

    def mix(row, seen, discount):  # some of each count goes to what the row says already
        if not seen:
            return row
        total = sum(seen.values())
        row = row * (discount * len(seen) / total)
        row[list(seen)] += (
            torch.tensor(list(seen.values()), dtype=row.dtype) - discount
        ) / total
        return row

    tables = [count_ngrams(documents, n) for n in range(1, longest + 1)]
    for n in range(
        1, longest
    ):  # Kneser and Ney: after how many different words was a token seen?
        different = defaultdict(Counter)
        for context, seen in tables[n].items():
            different[last(context, n)].update(dict.fromkeys(seen, 1))
        tables[n - 1] = different
    rows = []
    for context in contexts:
        row = torch.full((vocab_size,), 1 / vocab_size, dtype=torch.float64)
        for n, table in enumerate(tables, start=1):
            row = mix(row, table.get(last(context, n)), discount)
        for n, strict in ((2, 0.9), (3, 0.6)):  # and what followed in this very document
            row = mix(row, count_ngrams([context], n).get(last(context, n)), strict)
        rows.append(row)
    return torch.stack(rows)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "counting_model_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("counting_model", counting_model)

# %% [markdown]
# ## Exercise 6: perplexity and bits per byte
#
# The same loss is also reported in other units. **Perplexity** is $\exp$ of the mean loss per token: the number of
# equally likely tokens among which a choice would be as uncertain. A model over another vocabulary cuts the same text
# into more or fewer tokens, so perplexities over different vocabularies cannot be compared. **Bits per byte** can:
# all the loss of a text, in bits, divided by the number of bytes of the text in UTF-8. An ideal compressor that uses
# the model would need that many bits for each byte.


# %% nbgrader={"grade": false, "grade_id": "perplexity", "locked": false, "schema_version": 3, "solution": true, "task": false}
def perplexity(token_losses: torch.Tensor) -> float:
    """exp of the mean loss per token. token_losses: (tokens,) in nats."""
    ### BEGIN SOLUTION
    return token_losses.mean().exp().item()
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "perplexity_check", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}
check("perplexity", perplexity)

# %% nbgrader={"grade": false, "grade_id": "bits_per_byte", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bits_per_byte(token_losses: torch.Tensor, text: str) -> float:
    """The loss of a whole text in bits, per byte of its UTF-8 encoding.

    token_losses: (tokens,) in nats.
    """
    ### BEGIN SOLUTION
    bits = token_losses.sum().item() / math.log(2)
    return bits / len(text.encode("utf-8"))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "bits_per_byte_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check("bits_per_byte", bits_per_byte)

# %% tags=["demo"]
# The same text cut into words, and into characters; the same 4000 documents counted for both.
some, text_of_heldout = train_texts[:4000], "".join(heldout_texts)
characters, letters = ngrams.as_characters(some + heldout_texts)
cuts = {}
for name, documents, size, n in (
    ("words", train_documents[:4000] + heldout_documents, VOCAB, 3),
    ("characters", characters, letters, 8),
):
    training, testing = documents[:4000], documents[4000:]
    loss = ngram_loss(count_ngrams(training, n), testing, n, size, alpha=0.01)
    each = torch.full((sum(len(document) - 1 for document in testing),), loss)
    cuts[name] = {
        "cut into": name,
        "tokens": len(each),
        "n": n,
        "loss per token": loss,
        "perplexity": perplexity(each),
        "bits per byte": bits_per_byte(each, text_of_heldout),
    }
plots.show_table(list(cuts.values()))

# %% [markdown]
# The perplexities differ by a factor of more than three, but both models describe the text about equally well: a
# character costs less than a word, and there are many more of them. By bits per byte they can be compared.
#
# ## Exercise 7: choosing the next token
#
# A model gives a distribution; you want a text. The most likely token every time (*greedy*) always gives the same
# text, and it may repeat itself without end. Sampling from the full distribution sometimes draws a very unlikely
# token: each one is rare, but there are many. Three settings lie in between:
#
# - **temperature** $\tau$: softmax of $\text{logits} / \tau$. Below 1 sharper, above 1 flatter, 0 means greedy;
# - **top-k**: only the $k$ most likely tokens (Fan et al. 2018); a $k$ above $|V|$ keeps all of them;
# - **top-p**, or nucleus: the fewest most likely tokens that together hold probability $p$ or more (Holtzman et al.
#   2020).
#
# Apply them in that order, each to what the one before has kept, and return probabilities that sum to 1. The next
# cell draws what the two filters keep of a real distribution: what follows a full stop, by your own counts.

# %% tags=["demo"]
after_stop = tables[2][tuple(tokenizer.convert_tokens_to_ids(["."]))].most_common()
words = tokenizer.convert_ids_to_tokens([token for token, _ in after_stop])
total = sum(count for _, count in after_stop)
shares = [count / total for _, count in after_stop]
drawings.what_is_kept(words, shares, top_k=4, top_p=0.5)

# %% nbgrader={"grade": false, "grade_id": "next_token_probs", "locked": false, "schema_version": 3, "solution": true, "task": false}
def next_token_probs(
    logits: torch.Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
) -> torch.Tensor:
    """The distribution to sample from, (batch, vocab): floating-point, rows summing to 1.

    logits: (batch, vocab), of any size. Temperature first (0 means all probability on the
    largest logit), then the top_k most likely tokens (all of them, where top_k is larger than
    vocab), then, of what is left and renormalised, the fewest most likely ones that sum to
    top_p or more.
    """
    ### BEGIN SOLUTION
    if temperature == 0:
        return F.one_hot(logits.argmax(-1), logits.shape[-1]).to(logits.dtype)
    logits = logits / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        smallest_kept = logits.topk(top_k).values[:, -1:]  # (batch, 1)
        logits = logits.masked_fill(logits < smallest_kept, -math.inf)
    probs = logits.softmax(-1)
    if top_p is not None:
        ordered, order = probs.sort(descending=True)
        before = ordered.cumsum(-1) - ordered  # what the more likely tokens already hold
        ordered = ordered.masked_fill(before >= top_p, 0.0)
        probs = torch.zeros_like(probs).scatter(-1, order, ordered)
    return probs / probs.sum(-1, keepdim=True)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "next_token_probs_check", "locked": true, "points": 9, "schema_version": 3, "solution": false, "task": false}
check("next_token_probs", next_token_probs)


# %% [markdown]
# <details><summary><b>Hint 1</b>: top-k</summary>
#
# How do you find the smallest logit that stays in each row? What must the others become, so that the softmax gives
# them nothing? (Not 0: a logit of 0 still gets some probability.)
# </details>
# <details><summary><b>Hint 2</b>: top-p</summary>
#
# Sort first. How much probability do the tokens *before* a token hold together, and from what amount on is the token
# not needed? What puts sorted things back where they came from? (`sort` also returns the order, and there is
# `scatter`.)
# </details>

# %% tags=["demo"]
# Generating is a short loop: predict, draw, append.
@torch.no_grad()
def generate(model, ids: list[int], max_new_tokens: int, generator, **knobs) -> list[int]:
    """Continue `ids` until <eos>, or for max_new_tokens."""
    model.eval()
    for _ in range(max_new_tokens):
        logits = model(torch.tensor([ids], device=model.device)).logits[:, -1]  # (1, vocab)
        probs = next_token_probs(logits.cpu(), **knobs)
        ids = [*ids, int(torch.multinomial(probs, 1, generator=generator))]
        if ids[-1] == tokenizer.eos_token_id:
            break
    return ids


def start_of(text: str) -> list[int]:
    """The ids of a text that goes on: <bos>, but no <eos>."""
    return data.encode_documents([text], tokenizer)[0][:-1]


# %% [markdown]
# ## Exercise 8: warm-up and cosine decay
#
# Adam divides by statistics of the gradients. At the start these come from a few batches only, so large first steps
# can move the weights far in a wrong direction. At the end, steps that are still large make the loss jump around the
# minimum. The usual schedule avoids both: a short linear warm-up from 0, then half a cosine down.
#
# $$ \eta(s) = \eta_{\min} + \tfrac12 (\eta_{\max} - \eta_{\min}) \left(1 + \cos \pi \frac{s - s_w}{S - s_w}\right), \quad s_w \le s \le S $$


# %% nbgrader={"grade": false, "grade_id": "learning_rate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def learning_rate(
    step: int, max_lr: float, warmup_steps: int, total_steps: int, min_lr: float = 0.0
) -> float:
    """The learning rate of update `step` = 0, 1, 2, …

    A straight line from 0 at step 0 to max_lr at warmup_steps; from there half a cosine down to
    min_lr at total_steps; min_lr afterwards. Without warm-up (0 steps) it begins at max_lr.
    total_steps is larger than warmup_steps.
    """
    ### BEGIN SOLUTION
    if step < warmup_steps:
        return max_lr * step / warmup_steps
    done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return min_lr + (max_lr - min_lr) * 0.5 * (1 + math.cos(math.pi * done))
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "learning_rate_check", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("learning_rate", learning_rate)

# %% [markdown]
# ## Exercise 9: the training loop
#
# Now put the pieces together. An update sets the learning rate, computes the loss of a batch and its gradients, and
# takes a step. The norm of all gradients together is **clipped**: if it is larger than `max_norm`, all gradients are
# scaled down, so that one unusual batch cannot change the model much. The loss is given as a function, because in
# this chapter your loop trains three models.


# %% nbgrader={"grade": false, "grade_id": "train", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train(
    model, batches, optimizer, lr_at, compute_loss, max_norm: float = 1.0, after_step=None
) -> list[float]:
    """Train `model`, one update a batch, and return the loss of every step as a plain number.

    batches: an iterable, of unknown length if it is a generator. lr_at(step), for step = 0, 1,
    2, …, is the learning rate for every parameter group; compute_loss(model, batch) a scalar
    tensor, to be computed in training mode. The norm of all gradients together is clipped to
    max_norm. after_step(step, loss), if given, is called after every update.
    """
    ### BEGIN SOLUTION
    model.train()
    losses = []
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        loss = compute_loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        losses.append(loss.item())
        if after_step is not None:
            after_step(step, losses[-1])
    return losses
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "train_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("train", train)

# %% [markdown]
# <details><summary><b>Hint 1</b>: the order</summary>
#
# What is left in `.grad` from the step before, and when must it be cleared? What must happen between `backward()` and
# the optimizer's step?
# </details>
# <details><summary><b>Hint 2</b>: the pieces</summary>
#
# `optimizer.param_groups` is a list of dicts with a key `"lr"`. `torch.nn.utils.clip_grad_norm_` clips all gradients
# together. What does a list of losses hold on to, if they are still tensors?
# </details>
#
# **A good place for a break.** To go on another day, open this notebook, click on this cell, and choose *Run All Above
# Selected Cell*: about a minute, and everything is in place.
#
# ## Break it: no shift
#
# The model is a small Llama: the architecture of the large ones, with three layers and about 630,000
# parameters. Each document is a row; documents of similar length go into a batch together. Before you train it, see
# what happens if the shift is forgotten. The loss below compares each position with *its own* token.

# %% tags=["demo"]
rows = data.pad_rows(
    train_texts, tokenizer
)  # input_ids and attention_mask, (documents, longest)
heldout_rows = data.pad_rows(heldout_texts, tokenizer)
LENGTHS = rows.attention_mask.sum(-1)  # (documents,)
print("training rows:", tuple(rows.input_ids.shape))


def clm_loss(model, batch, loss_of=causal_lm_loss) -> torch.Tensor:
    """The loss of one batch of rows, with your functions."""
    input_ids, attention_mask = batch  # each (batch, seq)
    logits = model(input_ids, attention_mask=attention_mask).logits  # (batch, seq, vocab)
    return loss_of(logits, make_labels(input_ids, attention_mask))


def clm_batches(steps: int):
    """Batches of 16 documents."""
    return batching.batches_of(rows, LENGTHS, 16, steps, seed=device.seed(0), device=DEVICE)


# %% tags=["demo"]
def without_shift(logits, labels):
    """WRONG on purpose: compares the logits at t with the token at t, which was just read."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)


broken = models.new_nano(seed=device.seed(0)).to(DEVICE)
broken_losses = train(
    broken,
    clm_batches(device.at_most(80)),
    torch.optim.AdamW(broken.parameters()),
    lr_at=lambda step: 3e-3,
    compute_loss=lambda model, batch: clm_loss(model, batch, without_shift),
)
draws = torch.Generator().manual_seed(device.seed(0))
broken_text = tokenizer.decode(generate(broken, start_of("one day"), 12, draws)[1:])
with torch.no_grad():
    honest = clm_loss(broken.eval(), [x[:64].to(DEVICE) for x in heldout_rows]).item()
print(f"{len(broken_losses)} updates: loss {broken_losses[0]:.2f} → {broken_losses[-1]:.4f}")
print(f"it writes: {broken_text}")
print(f"its loss with the shift: {honest:.2f}; evenly guessed: {math.log(VOCAB):.2f}")

# %% [markdown]
# The loss is near 0 within seconds, far below the floor. There is no error message. But the model has only learned to
# repeat the token that it just read. **A held-out loss below the entropy is a bug.** Where nobody knows the entropy,
# a loss that falls so fast should make you look at what the model writes.
#
# ## Pre-training, for real
#
# What does the model learn first, and what later? We measure four groups of questions with one right next token each:
# facts of the world, sums that are in the training text, sums that are *not* in it, and lists to be copied. They are
# asked while the model trains. It also writes a short text each time.
#
# **Predict.** Which group is the first of which half are right?
# - **a** Facts, such as *the capital of arlen is …*: the training text says each of them many times.
# - **b** Sums, such as *3 plus 4 is …*: there are few of them, and the rule is simple.
# - **c** Copying: *leo says : red dog cat . mia says : red dog …*: it needs no knowledge at all.

# %% tags=["demo"]
predict("first_ability", "")

# %% tags=["demo"]
STEPS, MAX_LR = device.updates(2400), 3e-3  # on a GPU three times as many
LOOK_EVERY = device.updates(100, least=20)
GROUPS = {"facts": "facts", "sums": "sums", "sums_unseen": "unseen sums", "copying": "copying"}
probes, history, samples = data.load_probes(), [], {}
bar = tqdm(total=STEPS, desc="pre-training", mininterval=1.0)


@torch.no_grad()
def heldout_loss(model, size: int = 100) -> float:
    """Mean loss per predicted token over all held-out rows."""
    model.eval()
    parts = list(zip(*(tensor.to(DEVICE).split(size) for tensor in heldout_rows)))
    tokens = [int(mask[:, 1:].sum()) for _, mask in parts]
    return sum(clm_loss(model, part).item() * n for part, n in zip(parts, tokens)) / sum(tokens)


def look(step: int, loss: float) -> None:
    """After an update: move the bar; now and then, measure and let the model write."""
    bar.update()
    if step % LOOK_EVERY and step not in (25, 50, 75, STEPS - 1):  # things move fast at first
        return
    scores = {g: clozes.cloze_accuracy(model, probes[g], tokenizer) for g in GROUPS}
    history.append({"step": step, "heldout": heldout_loss(model), **scores})
    draws = torch.Generator().manual_seed(device.seed(1))
    samples[step] = tokenizer.decode(generate(model, start_of("one"), 30, draws)[1:])
    model.train()


# %% tags=["demo"]
torch.manual_seed(device.seed(0))
model = models.new_nano(seed=device.seed(0)).to(DEVICE)
losses = train(
    model,
    clm_batches(STEPS),
    torch.optim.AdamW(model.parameters(), lr=MAX_LR, betas=(0.9, 0.98), weight_decay=0.1),
    lr_at=lambda step: learning_rate(step, MAX_LR, 100, STEPS, 0.05 * MAX_LR),
    compute_loss=clm_loss,
    after_step=look,
)
bar.close()
final_loss = history[-1]["heldout"]
card = {"made by": "solutions/01_pretraining", "updates": STEPS}
card |= {"held-out loss": final_loss, "floor": floor}
print("saved to", models.save_checkpoint(model, "my_checkpoints/nano-base", card))

# %% tags=["demo"]
steps = [point["step"] for point in history]
fig, ax = plt.subplots(figsize=(9, 4.2))
ax.plot(losses, color=plots.SKY, alpha=0.35, linewidth=0.8, label="training batches")
ax.plot(
    steps, [point["heldout"] for point in history], color=plots.BLUE, label="held-out text"
)
ax.set(xlabel="update", ylabel="loss, nats per token", ylim=(floor - 0.15, 4.9))
ax.set_title("From the unigram to the floor")
best_line = {f"{n}-gram": ngram_losses[n] for n in (1, 2, best_n)}
plots.mark_levels(ax, best_line | {"floor": floor})
ax.legend(loc="center right")
plt.show()
print(f"held-out loss {final_loss:.3f} nats per token, the floor {floor:.3f}")
print(f"the best counts, n = {best_n}: {ngram_losses[best_n]:.3f}")
shown = [step for step in (0, 25, 100, 300, 1000, STEPS - 1) if step in samples]
title = "The same start and the same random seed, as it learns"
plots.show_table([{"update": step, "text": samples[step]} for step in shown], title)


# %% tags=["demo"]
def learned_at(group: str, level: float = 0.5) -> float:
    """The first measured update at which a group reaches `level`; infinity if it never does."""
    return next((point["step"] for point in history if point[group] >= level), math.inf)


fig, ax = plt.subplots(figsize=(9, 3.2))
for group, name in GROUPS.items():
    ax.plot(steps, [point[group] for point in history], label=name)
ax.set(xlabel="update", ylabel="share of right answers", ylim=(0, 1.05))
ax.set_title("Abilities come at different times")
plots.name_lines(ax)
plt.show()
when = {group: learned_at(group) for group in ("facts", "sums", "copying")}
first = dict(zip(when, "abc"))[min(when, key=when.get)]
when = {group: f"update {at}" if at < math.inf else "no update" for group, at in when.items()}
end = {group: f"{history[-1][group]:.0%}" for group in GROUPS}
reveal("first_ability", first, when=when, end=end, every=LOOK_EVERY)
seen, unseen_sums = history[-1]["sums"], history[-1]["sums_unseen"]
print(f"sums of the training text: {seen:.0%} right; sums it never shows: {unseen_sums:.0%}")
how = "by a rule that serves others too" if unseen_sums > 0.7 * seen else "mostly by heart"
print(f"Sums it has learned {how}.")

# %% tags=["demo"]
@torch.no_grad()
def surprise_of(document) -> tuple[list[str], list[float]]:
    """Its words and <eos>, and how many nats each cost; <bos> is given, not predicted."""
    ids = torch.tensor(data.encode_documents([document.text], tokenizer))  # (1, seq)
    log_probs = (
        model(ids.to(DEVICE)).logits[:, :-1].log_softmax(-1).cpu()
    )  # (1, seq - 1, vocab)
    costs = -log_probs.gather(-1, ids[:, 1:, None])[0, :, 0]  # (seq - 1,)
    return tokenizer.convert_ids_to_tokens(ids[0, 1:]), costs.tolist()


print("The number under a token is -log p, in nats. The colours:")
COLORS = (plots.GREEN, plots.ORANGE, plots.VERMILION)
plots.show_tokens(["up to 0.25", "up to 1", "more"], COLORS)
for kind in ("story", "copying"):
    words, costs = surprise_of(data.load_heldout(kind)[0])
    colors = [COLORS[(cost > 0.25) + (cost > 1)] for cost in costs]
    plots.show_tokens(words, colors, [f"{cost:.1f}" for cost in costs])
first_time, again = [], []
for document in data.load_heldout("copying")[
    :40
]:  # "leo says : red dog . mia says : red dog . …"
    words, costs = surprise_of(document)
    end = words.index(".")
    first_time += costs[3:end]
    again += [cost for word, cost in zip(words[end:], costs[end:]) if word in words[3:end]]
list_costs = sum(first_time) / len(first_time), sum(again) / len(again)
print(
    "A word of a list: {:.2f} nats the first time, {:.2f} when it is said again".format(
        *list_costs
    )
)

# %% [markdown]
# The loss falls in stages. Within a few dozen updates the model knows which words are common (the unigram line); then
# which word follows which; then it is better than every n-gram model. It shares what it learns between contexts that
# are alike, so it can use a long one, which a table of counts sees too rarely.
#
# **The model is saved.** The next chapters start from such a checkpoint. The course ships its own, from this very
# notebook in the dose of a GPU (three times as long), so that everybody starts from the same. To try yours
# instead, put `models.load_checkpoint("../01_pretraining/my_checkpoints/nano-base")` where they load nano-base.
#
# **Where is the loss?** The number $-\log p$ of a token is called its **surprise**; in the cell above it colours each
# token of a held-out text. It is large where the program that writes this world made a free choice: a name, a colour,
# the first list. It is much smaller where the earlier text decides what comes (the list said again, the verb after
# the name).
#
# **Predict.** The model writes twelve texts from `<bos>` at temperature 0.2, at 1 and at 2. What comes out?
# - **a** At 0.2 it writes one kind of text only; at 2 the sentences fall apart after a few words.
# - **b** At 0.2 the texts have fewer errors, and are as varied as at 1; at 2 they are more varied, and mostly right.
# - **c** It makes little difference: a trained model is sure of most words.

# %% tags=["demo"]
predict("temperature", "")

# %% tags=["demo"]
written = []
for temperature in (0.2, 1.0, 2.0):
    draws = torch.Generator().manual_seed(device.seed(2))
    texts = []
    for _ in range(12):
        ids = generate(model, start_of(""), 24, draws, temperature=temperature)
        texts.append(tokenizer.decode(ids[1:]))
    right = sum(world.possible_words(text) for text in texts) / len(texts)
    first_words = len({text.split()[0] for text in texts})
    row = (temperature, first_words, right, texts[0])
    written.append(dict(zip(("temperature", "first words", "possible", "for example"), row)))
print("Twelve texts each: how many different first words, and how many words are possible in")
print("the world, in the mean, before the first that is not (of at most 24 tokens).")
plots.show_table(written)
first_words = [row["first words"] for row in written]
right = [row["possible"] for row in written]
varied, broken = first_words[0] > first_words[1] / 2, right[2] < right[1] / 2
came = "a" if broken and not varied else "b" if varied and not broken else "c"
reveal("temperature", came, first_words=first_words, right=right)
prompt = start_of(data.load_heldout("story")[0].text)[:5]
with torch.no_grad():
    next_logits = model(torch.tensor([prompt], device=DEVICE)).logits[0, -1].cpu()  # (vocab,)
print("Now move the sliders: your function, after", tokenizer.decode(prompt[1:]), "…")
every_word = tokenizer.convert_ids_to_tokens(range(VOCAB))
widgets.sampling_explorer(next_logits, every_word, next_token_probs)

# %% [markdown]
# ## A base model does not answer
#
# Your model knows capitals and flags. So ask it: *what is the capital of arlen ?*
#
# **Predict.** How does the text go on, most of the time?
# - **a** With the answer, if the model knows the fact.
# - **b** With another question.
# - **c** With the end of the document, or with something that is neither.

# %% tags=["demo"]
predict("base_model_asked", "")

# %% tags=["demo"]
draws = torch.Generator().manual_seed(device.seed(0))
goes_on = []
for question in probes["questions"]:
    ids = start_of(question["prompt"])
    goes_on.append(tokenizer.decode(generate(model, ids, 14, draws)[len(ids) :]))
shown = zip(probes["questions"][:6], goes_on)
plots.show_table([{"you ask": asked["prompt"], "it goes on": text} for asked, text in shown])
asks_back = sum(c.split()[:1] in (["what"], ["who"], ["where"]) for c in goes_on)
ends = sum(c.split()[:1] in ([], [tokenizer.eos_token]) for c in goes_on)
asks_share = asks_back / len(goes_on)
others = len(goes_on) - asks_back - ends
came = "b" if asks_share > 0.5 else "c" if ends > others else "a"
reveal(
    "base_model_asked", came, asks=asks_back, ends=ends, others=others, questions=len(goes_on)
)

# %% [markdown]
# In the text it was trained on, a question stands on a sheet of questions. The model gives you a likely
# *continuation*; you wanted an *answer*. The next chapters teach it to give one.
#
# ## Exercise 10: BERT's masking
#
# BERT (Devlin et al. 2019) hides tokens in the middle, and the model sees the text on both sides. Such a model does
# not learn to write from left to right. It was built for its **representations**: vectors of tokens and sentences, on
# which models for other tasks are trained.
#
# Suppose that every hidden token became `<mask>`. Then the model would be asked only about places with `<mask>`, and
# this token does not occur in later use. About all other places it would never be asked. So BERT chooses 15 % of the
# tokens, and of those 80 % become `<mask>`, 10 % some random token, and 10 % stay as they are. **All chosen tokens
# must be predicted.** Special tokens are never chosen.


# %% nbgrader={"grade": false, "grade_id": "mask_tokens", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mask_tokens(
    input_ids: torch.Tensor,
    is_special: torch.Tensor,
    mask_id: int,
    vocab_size: int,
    generator: torch.Generator,
    rate: float = 0.15,
) -> tuple[torch.Tensor, torch.Tensor]:
    """BERT's corruption (Devlin et al. 2019, section 3.1). input_ids, is_special: (batch, seq).

    Each token that is not special is chosen with probability `rate`. Of the chosen, 80 % become
    mask_id, 10 % a random id from [0, vocab_size), 10 % stay. Returns the corrupted ids and the
    labels: the original id where a token was chosen, -100 elsewhere; both hold integers.
    input_ids is not changed; all randomness comes from the generator.
    """
    ### BEGIN SOLUTION
    chosen = (
        torch.rand(input_ids.shape, generator=generator) < rate
    ) & ~is_special  # (batch, seq)
    labels = input_ids.masked_fill(~chosen, -100)
    fate = torch.rand(
        input_ids.shape, generator=generator
    )  # one draw decides among the three
    random_ids = torch.randint(vocab_size, input_ids.shape, generator=generator)
    corrupted = torch.where(chosen & (fate < 0.8), mask_id, input_ids)
    corrupted = torch.where(chosen & (fate >= 0.8) & (fate < 0.9), random_ids, corrupted)
    return corrupted, labels
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "mask_tokens_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("mask_tokens", mask_tokens)

# %% [markdown]
# <details><summary><b>Hint 1</b>: two separate questions</summary>
#
# *Which* tokens are chosen? *What becomes of* a chosen token? How many random numbers does each of the two take?
# </details>
# <details><summary><b>Hint 2</b>: the shares</summary>
#
# If you first turn 80 % into masks and then replace 10 % *of the rest*, how many of the chosen become random?
# </details>
#
# ## Exercise 11: pairs for next-sentence prediction
#
# The original BERT had a second task: given two sentences, does the second follow the first? Half of the training
# pairs are real, half have a second sentence from another document. Take care: another document may, by chance,
# contain the same sentence that really follows. Such a pair must not be called wrong.


# %% nbgrader={"grade": false, "grade_id": "nsp_pairs", "locked": false, "schema_version": 3, "solution": true, "task": false}
def nsp_pairs(
    documents: list[list[str]], generator: torch.Generator
) -> list[tuple[str, str, bool]]:
    """Pairs (first, second, is_next). documents: each a list of sentences.

    Every sentence that has a successor is `first` once. With probability 1/2, second is the
    successor and is_next True. Otherwise second is a sentence of another document, drawn at
    random, whose words differ from the true successor's, and is_next is False. All randomness
    comes from the generator.
    """

    ### BEGIN SOLUTION
    def draw(n: int) -> int:
        return int(torch.randint(n, (1,), generator=generator))

    pairs = []
    for i, document in enumerate(documents):
        for first, successor in zip(document, document[1:]):
            if draw(2):
                pairs.append((first, successor, True))
                continue
            second = successor
            while second == successor:
                other = (i + 1 + draw(len(documents) - 1)) % len(
                    documents
                )  # any but this one
                second = documents[other][draw(len(documents[other]))]
            pairs.append((first, second, False))
    return pairs
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "nsp_pairs_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("nsp_pairs", nsp_pairs)

# %% [markdown]
# ## Training a small BERT on both
#
# One encoder with two heads (output layers), and one loss: the sum of both. The input is
# `<cls> first <sep> second <sep>`. At each position three embeddings are added; the next cell draws them. The masked
# loss is the cross-entropy at the chosen tokens: **nothing is shifted**, each is predicted in its own place. The
# prediction for the pair is read at `<cls>`.

# %% tags=["demo"]
SPECIAL = torch.tensor(tokenizer.all_special_ids)
stories = [sentences.sentences(text) for text in train_texts if text.startswith("one ")]
heldout_stories = [
    sentences.sentences(document.text) for document in data.load_heldout("story")
]
draws = torch.Generator().manual_seed(device.seed(0))
pairs, heldout_pairs = (
    nsp_pairs(some, draws) for some in (stories[:12_000], heldout_stories)
)
tensors = sentences.encode_pairs(pairs, tokenizer)  # ids, mask, which sentence, is_next


def masked(ids: torch.Tensor, draws: torch.Generator):
    """Your masking, for a batch of pairs."""
    is_special = torch.isin(ids, SPECIAL)
    return mask_tokens(ids, is_special, tokenizer.mask_token_id, VOCAB, draws)


corrupted, chosen = masked(tensors.input_ids[:300], draws)
sizes = tensors.attention_mask[:300].sum(-1)
i = int(((sizes < 20) & ((chosen != -100).sum(-1) > 1)).nonzero()[0])  # a short pair, to draw
truth = ["" if label == -100 else tokenizer.decode([label]) for label in chosen[i, : sizes[i]]]
words = tokenizer.convert_ids_to_tokens(corrupted[i, : sizes[i]])
drawings.bert_input(words, truth, tensors.token_type_ids[i, : sizes[i]])

# %% tags=["demo"]
def bert_output(model, batch, draws: torch.Generator):
    """The model's output on a freshly masked batch, and the labels of the hidden tokens."""
    input_ids, attention_mask, second, _ = (tensor.to(DEVICE) for tensor in batch)
    corrupted, labels = (tensor.to(DEVICE) for tensor in masked(input_ids.cpu(), draws))
    return model(corrupted, attention_mask=attention_mask, token_type_ids=second), labels


def bert_loss(model, batch) -> torch.Tensor:
    """Masked loss plus next-sentence loss."""
    output, labels = bert_output(model, batch, draws)
    guesses = output.prediction_logits.flatten(0, 1)  # (batch * seq, vocab)
    mlm = F.cross_entropy(guesses, labels.flatten(), ignore_index=-100)
    follows = 1 - batch[3]  # class 0 means "follows", as in BERT
    return mlm + F.cross_entropy(output.seq_relationship_logits, follows)


@torch.no_grad()
def bert_scores(model, pairs) -> tuple[float, float]:
    """Share of hidden tokens that are right, and of pairs."""
    batch = sentences.encode_pairs(pairs, tokenizer)
    draws = torch.Generator().manual_seed(device.seed(5))
    output, labels = bert_output(model.eval(), batch, draws)
    tokens_right = (output.prediction_logits.argmax(-1) == labels)[labels != -100]
    pairs_right = output.seq_relationship_logits.argmax(-1) == 1 - batch.is_next.to(DEVICE)
    return tokens_right.float().mean().item(), pairs_right.float().mean().item()


# %% tags=["demo"]
BERT_STEPS, BERT_LR, bert_history = device.updates(1000), 1e-3, []
torch.manual_seed(device.seed(0))
bert = models.new_nano_bert(seed=device.seed(0)).to(DEVICE)
bar = tqdm(total=BERT_STEPS, desc="MLM + NSP", mininterval=1.0)


def look_at_bert(step: int, loss: float) -> None:
    """After an update: move the bar; now and then, measure on held-out pairs."""
    bar.update()
    if step % LOOK_EVERY == 0 or step == BERT_STEPS - 1:
        bert_history.append((step, *bert_scores(bert, heldout_pairs[:512])))
        bert.train()


lengths = tensors.attention_mask.sum(-1)
train(
    bert,
    batching.batches_of(tensors, lengths, 32, BERT_STEPS, seed=device.seed(0), device=DEVICE),
    torch.optim.AdamW(bert.parameters(), lr=BERT_LR, weight_decay=0.01),
    lr_at=lambda step: learning_rate(step, BERT_LR, 100, BERT_STEPS),
    compute_loss=bert_loss,
    after_step=look_at_bert,
)
bar.close()

# %% tags=["demo"]
ids = sentences.encode_pairs(heldout_pairs, tokenizer).input_ids.flatten()
ids = ids[~torch.isin(ids, SPECIAL)]
mask_baseline = (ids.bincount().max() / len(ids)).item()  # the most frequent word
mask_accuracy, nsp_accuracy = bert_scores(bert, heldout_pairs)
at, tokens_right, pairs_right = zip(*bert_history)
fig, ax = plt.subplots(figsize=(8, 3))
ax.plot(at, tokens_right, label="hidden tokens", color=plots.ORANGE)
ax.plot(at, pairs_right, label="pairs", color=plots.GREEN)
ax.set(xlabel="update", ylabel="share right", ylim=(0, 1.05))
ax.set_title("Masked tokens and sentence pairs, held out")
plots.mark_levels(ax, {"coin": 0.5, "most frequent word": mask_baseline})
ax.legend()
plt.show()
print(
    f"hidden tokens: {mask_accuracy:.1%} right; the most frequent word: {mask_baseline:.1%}"
)
print(f"pairs: {nsp_accuracy:.1%} right; a coin: 50 %")


# %% tags=["demo"]
# Hide a colour that the sentence before has named: "… a red ball" and then "… the <mask> ball".
def twice(first: str, second: str) -> str | None:
    """The colour of a thing that both sentences speak of."""
    found = re.search(r" a (\w+) (\w+)", first)
    return found[1] if found and f"the {found[1]} {found[2]}" in second else None


unused = [pair for story in stories[12_000:] for pair in zip(story, story[1:])]
named = [(first, second, True) for first, second in unused if twice(first, second)][:200]
batch = sentences.encode_pairs(named, tokenizer)
hidden = tokenizer.convert_tokens_to_ids([twice(first, second) for first, second, _ in named])
hidden = torch.tensor(hidden)  # (pairs,)
gap = ((batch.input_ids == hidden[:, None]) & (batch.token_type_ids == 1)).int().argmax(-1)
pair = torch.arange(len(named))
batch.input_ids[pair, gap] = tokenizer.mask_token_id
with torch.no_grad():
    output = bert.eval()(*(tensor.to(DEVICE) for tensor in batch[:3])).prediction_logits.cpu()
probs = output[pair, gap].softmax(-1)  # (pairs, vocab)
colours = torch.tensor(tokenizer.convert_tokens_to_ids(world.COLOURS))
a_colour = probs[:, colours].sum(-1).mean().item()
colour_right = (probs.argmax(-1) == hidden).float().mean().item()
print(tokenizer.decode(batch.input_ids[0][batch.attention_mask[0] == 1]))
print(
    ", ".join(
        f"{tokenizer.decode([int(i)])} {probs[0, i]:.0%}" for i in probs[0].topk(4).indices
    )
)
print(
    f"In {len(named)} pairs, {a_colour:.0%} of the probability is on colours. The right one "
    f"comes first in {colour_right:.0%}; chance would be {1 / len(colours):.0%}."
)
print(
    "It looks back to the sentence before."
    if colour_right > 0.5
    else "It knows what kind of word is hidden, and seldom looks back for which."
)

# %% [markdown]
# ## What did next-sentence prediction learn?
#
# It is well above chance. But what does it look at: that B comes *after* A, or only that both speak of the same
# people and things? We swap the two sentences of every real pair, and ask again.
#
# **Predict.** What does the model say of the swapped pairs?
# - **a** “Follows”, of most: both sentences are still about the same people and things.
# - **b** “Does not follow”, of most: it has learned about order.
# - **c** About half and half: it cannot tell.

# %% tags=["demo"]
predict("swapped_sentences", "")

# %% tags=["demo"]
asked = {
    "in order": [(a, b, True) for a, b, is_next in heldout_pairs if is_next],
    "swapped": [(b, a, True) for a, b, is_next in heldout_pairs if is_next],
    "from another story": [(a, b, True) for a, b, is_next in heldout_pairs if not is_next],
}
says_follows = {name: bert_scores(bert, some)[1] for name, some in asked.items()}
for name, said in says_follows.items():
    print(f"{name:>20}: called “follows” in {said:.0%} of the pairs")
swapped = says_follows["swapped"]
reveal(
    "swapped_sentences",
    "a" if swapped > 0.6 else "b" if swapped < 0.4 else "c",
    swapped=swapped,
    in_order=says_follows["in order"],
    other=says_follows["from another story"],
)

# %% [markdown]
# ## What you measured
#
# The three objectives side by side, and what else this run says.

# %% tags=["demo"]
per_row = (LENGTHS - 1).float().mean()
per_pair = 0.15 * (~torch.isin(tensors.input_ids, SPECIAL)).sum(-1).float().mean()
targets = sum(len(document) - 1 for document in heldout_documents)
bpb = final_loss * targets / math.log(2) / len(text_of_heldout.encode())
rows_of_table = [
    ("CLM", f"{per_row:.0f}", "the left", "yes", f"loss {final_loss:.3f}, floor {floor:.3f}"),
    (
        "MLM",
        f"{per_pair:.1f}",
        "both sides",
        "no",
        f"{mask_accuracy:.0%} of hidden tokens right",
    ),
    ("NSP", "1", "two sentences", "no", f"{nsp_accuracy:.0%} of pairs right"),
]
names = ("objective", "labels a row or pair", "sees", "can write", "measured, held out")
plots.show_table([dict(zip(names, row)) for row in rows_of_table])
in_order = says_follows["in order"]
print(f"""In nats per token of held-out text you measured:
- the best counts, n = {best_n}: {ngram_losses[best_n]:.3f}
- the network: {final_loss:.3f}, which is {bpb:.3f} bits per byte
- the entropy of the text, below which no honest loss stays: {floor:.3f}
- without the shift: {broken_losses[-1]:.4f}, and a model that repeats what it reads
Half of them right, at {", ".join(f"{at} ({group})" for group, at in when.items())}
Of sums that the training text never shows, {unseen_sums:.0%} were right at the end.
{asks_back} of {len(goes_on)} questions were followed by another question.
BERT said “follows” of {in_order:.0%} of the pairs in order, {swapped:.0%} of the swapped.""")
progress("01_pretraining")

# %% [markdown]
# ## Questions
#
# <details><summary>A model of characters has perplexity 1.6 and a model of words has 5. Which one is better?</summary>
#
# The numbers do not say: one is for each character, the other for each word. Turn both into bits per byte of the same
# text.
# </details>
# <details><summary>The held-out loss is close to the floor. Can the model add, then?</summary>
#
# The loss cannot say: the held-out text shows the same sums as the training text, so memory alone would be enough.
# Only sums that were never shown can tell, so they were measured apart. Ask of every test set which part of it could
# be known by heart.
# </details>
# <details><summary>You average the loss of each row, and then the rows. What changes, and would you notice?</summary>
#
# A token in a short row gets more weight than one in a long row. The loss still falls and there is no error message;
# you would notice only by comparing with a loss that you trust, as you did with that of `transformers`.
# </details>
# <details><summary>How could you get an answer from the base model without training it any further?</summary>
#
# Make the answer a likely continuation: not *what is the capital of arlen ?* but *the capital of arlen is*. For larger
# models, a prompt with some questions and their answers does it. Chapter 08 will be about that.
# </details>
# <details><summary>Next-sentence prediction worked here. Why was it dropped?</summary>
#
# RoBERTa (Liu et al. 2019) trained without it and lost nothing. In real text a wrong second sentence comes from a
# document about something else, so the topic alone shows the answer. ALBERT (Lan et al. 2020) asks for the *order* of
# two sentences of one document instead. In these stories the order shows in the words: the first sentence says when.
# </details>
#
# ## What was not shown
#
# - Real tokenizers, which learn pieces of words; how web text is cleaned, and how much of it there is.
# - How the loss falls with size, data and compute. One small model and one dose were trained, with one seed.
# - What BERT is for: its representations, fine-tuned for another task. We only asked it to fill gaps.
# - Whether abilities come in the same order elsewhere: this depends on how often a text shows each.
# - Much about unseen sums: there are only ten of them, with small numbers, and where *3 plus 2* is missing, the text
#   does show *2 plus 3*.
#
# **To read**: Devlin et al. 2019, *BERT* (arXiv:1810.04805); Radford et al. 2019, *Language models are unsupervised
# multitask learners*; Liu et al. 2019, *RoBERTa* (arXiv:1907.11692); Lan et al. 2020, *ALBERT* (arXiv:1909.11942);
# Fan et al. 2018 (arXiv:1805.04833) for top-k; Holtzman et al. 2020 (arXiv:1904.09751) for top-p; Loshchilov and
# Hutter 2017 (arXiv:1608.03983) for the cosine schedule.
