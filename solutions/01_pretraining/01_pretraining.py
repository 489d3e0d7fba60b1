# %% [markdown]
# # 1 · Pre-training
#
# A language model learns nearly everything it knows before anyone tells it what to do. In this chapter you write
# that first stage yourself, from the loss to the loop, and watch a small model go from noise to a model that knows
# facts, adds numbers and copies lists, in about three minutes on a laptop.
#
# **You will be able to**
# - write the loss that GPT-like models are trained on, and say what padding and the shift do to it;
# - tell a good loss from a bad one, by baselines below and above: n-grams and the entropy of the text;
# - sample from a model with temperature, top-k and top-p;
# - train a causal model, and a masked one with next-sentence prediction, and compare what each objective teaches;
# - explain why a pre-trained model answers a question with another question.
#
# | exercise | difficulty | minutes | | exercise | difficulty | minutes |
# |---|---|---|---|---|---|---|
# | 1 labels | ● ○ ○ | 5 | | 7 warm-up and cosine | ● ○ ○ | 10 |
# | 2 causal loss | ● ● ○ | 15 | | 8 the training loop | ● ● ○ | 20 |
# | 3 counting n-grams | ● ● ○ | 15 | | 9 BERT's masking | ● ● ● | 25 |
# | 4 loss of an n-gram model | ● ● ○ | 15 | | 10 masked loss | ● ○ ○ | 5 |
# | 5 perplexity, bits per byte | ● ○ ○ | 10 | | 11 next-sentence pairs | ● ● ○ | 20 |
# | 6 choosing the next token | ● ● ● | 25 | | | | |
#
# You need Python and the basics of PyTorch. If a check puzzles you, its report says what came and what was expected.

# %% tags=["imports"]
import math
from collections import Counter, defaultdict

import torch
import torch.nn.functional as F

from autograder import check, progress

# %% tags=["demo"]
import re

import matplotlib.pyplot as plt
from tqdm.auto import tqdm

from course import data, device, models, plots, widgets

plots.use_style()
torch.set_num_threads(1)  # a model this small gains little from more, and loses much where cores are shared
print(device.describe_machine())
DEVICE = device.device()

# %% [markdown]
# ## Why pre-train
#
# In other fields of deep learning you take a network that was trained on a large general set (a classifier of
# ImageNet photographs, say), replace its last layer and train on your task. Language models take this further. They
# are trained on text as it is found: the web, books, papers, code. Nobody labels it.
#
# The lecture, like many texts, calls this *unsupervised*. **Self-supervised** is the better word. There are labels,
# and the loss is the plain supervised cross-entropy; only the labels come from the text itself: hide a part of it,
# predict that part from the rest. The three classic objectives differ in what they hide.
#
# | objective | hidden | seen | used by |
# |---|---|---|---|
# | causal LM (CLM) | the next token | everything before it | GPT, Llama, nearly every model you chat with |
# | masked LM (MLM) | 15 % of the tokens | everything around them | BERT and its family |
# | next-sentence prediction (NSP) | whether B follows A | both sentences | BERT; dropped soon after (RoBERTa, Liu et al. 2019) |
#
# You will train all three and measure what each one learns.

# %% [markdown]
# ## A small world whose truth is known
#
# Real text has no known truth: nobody can say how low its loss could go. So this course trains on a small generated
# world. A program writes its stories, facts, sums, lists and question sheets, and for every token it writes it also
# notes the probability with which it chose that token. The mean of $-\log p$ under the true program is the
# **entropy** of the text. No model can have a lower expected loss. It is the floor, and here you know it.

# %% tags=["demo"]
heldout = data.load_heldout()
for kind in sorted({document.kind for document in heldout}):
    text = next(document.text for document in heldout if document.kind == kind)
    print(f"{kind:>10}:  {text}\n")

# %% tags=["demo"]
floor = data.entropy_floor()
print(f"the floor: {floor:.3f} nats per token, that is {floor / math.log(2):.3f} bits")

# %% [markdown]
# ## Tokens
#
# A model sees numbers. A **tokenizer** cuts text into pieces and looks up the number of each. Real tokenizers learn
# pieces of words from data (byte-pair encoding); this world has so few words that each word is one token.

# %% tags=["demo"]
tokenizer = data.load_tokenizer()
VOCAB = len(tokenizer)
ids = data.encode_documents([heldout[0].text], tokenizer)[0]
plots.show_tokens(tokenizer.convert_ids_to_tokens(ids), [plots.BLUE] * len(ids), [str(i) for i in ids])

# %% [markdown]
# Look at the ends. `<bos>` marks where a document begins and `<eos>` where it ends: the model must learn to stop, so
# the end is a token like any other.
#
# Documents differ in length, but a tensor is rectangular. Shorter rows are filled with `<pad>`, and the **attention
# mask** remembers which positions are real (1) and which are filling (0).

# %% tags=["demo"]
few = [" ".join(document.text.split()[:n]) for document, n in zip(heldout, (14, 9, 17))]  # pieces, to fit the page
batch = data.pad_rows(few, tokenizer)  # input_ids and attention_mask, each (3, 19)
for row, mask in zip(*batch):
    colors = [plots.BLUE if real else None for real in mask]
    plots.show_tokens(tokenizer.convert_ids_to_tokens(row), colors)

# %% [markdown]
# ## Exercise 1: labels, and what padding is not
#
# In causal language modelling the labels *are* the input ids: the text is its own answer. Only padding must not
# count, since nobody wants a model that is good at predicting `<pad>`. PyTorch's cross-entropy skips targets equal
# to −100, and the whole ecosystem has settled on that number.
#
# Write `make_labels`. Many models use the end token as padding, so the *mask* decides what is padding, not the id.

# %% nbgrader={"grade": false, "grade_id": "make_labels", "locked": false, "schema_version": 3, "solution": true, "task": false}
def make_labels(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Labels (batch, seq): the input ids, and -100 where attention_mask (batch, seq) is 0. input_ids is not changed."""
    ### BEGIN SOLUTION
    return input_ids.masked_fill(attention_mask == 0, -100)  # (batch, seq)
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "make_labels_check", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("make_labels", make_labels)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# `tensor.masked_fill(condition, value)` returns a new tensor; its sister with an underscore at the end changes the
# tensor in place, and then the model's input is spoilt as well.
# </details>

# %% [markdown]
# ## Exercise 2: the causal language-modelling loss
#
# A causal model reads tokens $x_1 \dots x_T$ and, at each position $t$, gives a distribution over the next token.
# The chain rule makes one probability of the whole text from them, $p_\theta(x) = \prod_t p_\theta(x_t \mid
# x_{<t})$, and training maximises it. So the loss is
#
# $$ \mathcal{L}(\theta) = -\frac{1}{|\mathcal{T}|} \sum_{t \in \mathcal{T}} \log p_\theta(x_t \mid x_{<t}), $$
#
# where $\mathcal{T}$ are the positions that are real and have something before them. Mind the **shift**: the logits
# at position $t$ speak about the token at position $t + 1$. Without it the model is paid for repeating what it just
# read.
#
# `logits` has shape (batch, seq, vocab), `labels` (batch, seq) and is *not* shifted: you do that here.

# %% nbgrader={"grade": false, "grade_id": "causal_lm_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def causal_lm_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean of -log p(labels[t+1] | tokens up to t) in nats, over all targets that are not -100.

    logits: (batch, seq, vocab), of any size; labels: (batch, seq), not shifted. Returns a scalar through which gradients
    flow.
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
# The last position predicts nothing, so its logits go; the first token is predicted by nobody, so its label goes.
# </details>
# <details><summary><b>Hint 2</b>: the mean</summary>
#
# `F.cross_entropy` wants (N, vocab) and (N,), and its `ignore_index` is what −100 is for. It works with log-softmax
# inside, so large logits do not overflow.
# </details>
#
# Is it the loss that the libraries use? `transformers` computes one of its own when it is given labels. And what
# should it be before any training? A model that knows nothing spreads its bets over the vocabulary: about $\log V$,
# or a little more, since its random bets are not quite even.

# %% tags=["demo"]
torch.manual_seed(0)
fresh = models.new_nano(seed=0)
labels = make_labels(batch.input_ids, batch.attention_mask)
with torch.no_grad():
    output = fresh(batch.input_ids, attention_mask=batch.attention_mask, labels=labels)  # logits: (batch, seq, vocab)
ours = causal_lm_loss(output.logits, labels).item()
print(f"yours {ours:.6f}   transformers {output.loss.item():.6f}   difference {abs(ours - output.loss.item()):.1e}")
print(f"log V = {math.log(VOCAB):.3f}")

# %% [markdown]
# ## Baselines: how good is good?
#
# A loss of 1.2 nats: is that good? A number means nothing without something to hold it against. Before neural
# networks, language models counted: an **n-gram model** predicts the next token from the $n - 1$ tokens before it,
# by how often each token followed them in the training text. Relative frequencies are the maximum-likelihood
# estimate,
#
# $$ \hat p(w \mid c) = \frac{\mathrm{count}(c, w)}{\mathrm{count}(c)}. $$

# %% [markdown]
# ## Exercise 3: counting n-grams
#
# Each document begins with `<bos>`, which is given, not predicted. Every other token is counted once, under the
# tuple of the $n - 1$ tokens before it. Near the beginning of a document there are fewer: then the tuple is shorter.
# Contexts never reach into the document before.

# %% nbgrader={"grade": false, "grade_id": "count_ngrams", "locked": false, "schema_version": 3, "solution": true, "task": false}
def count_ngrams(documents: list[list[int]], n: int) -> dict[tuple, Counter]:
    """How often each token follows each context.

    documents: lists of token ids, each beginning with <bos>. Every token but <bos> is counted once, under the tuple of
    the n - 1 tokens before it (of all tokens before it, where there are fewer). Returns context -> Counter of tokens.
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
# For position `i` the context is `document[max(0, i - n + 1) : i]`. A `defaultdict(Counter)` saves you the
# bookkeeping.
# </details>

# %% [markdown]
# ## Exercise 4: the loss of an n-gram model
#
# Pure counting has a flaw: a token never seen after a context has probability zero, and one such token makes the
# loss of a whole held-out text infinite. The oldest remedy adds a little to every count,
#
# $$ \hat p_\alpha(w \mid c) = \frac{\mathrm{count}(c, w) + \alpha}{\mathrm{count}(c) + \alpha V}. $$
#
# Return the mean of $-\log \hat p_\alpha$ over every token but `<bos>`, in nats. With $\alpha = 0$ it should
# honestly say `inf` where it must, not crash.

# %% nbgrader={"grade": false, "grade_id": "ngram_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ngram_loss(counts, documents: list[list[int]], n: int, vocab_size: int, alpha: float) -> float:
    """The mean of -log p(token | context) in nats over every token but <bos> of all documents.

    p = (count(context, token) + alpha) / (count(context) + alpha * vocab_size); contexts as in count_ngrams. counts: a
    dict of context -> Counter, which may lack a context. A token of probability 0, or a context never seen with
    alpha = 0, makes the loss infinite.
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
# A context that was never seen has count 0 for everything: `counts.get(context, Counter())`. And `math.log(0)`
# raises, so look at the probability first.
# </details>
#
# Now count the training text, and see how far counting gets.

# %% tags=["demo"]
train_texts = data.load_corpus("train")
heldout_texts = [document.text for document in heldout]
train_documents = data.encode_documents(train_texts, tokenizer)
heldout_documents = data.encode_documents(heldout_texts, tokenizer)
print(f"{len(train_documents):,} documents, {sum(map(len, train_documents)):,} tokens to learn from")

# %% tags=["demo"]
ngram_losses = {}
for n in (1, 2, 3, 4):
    counts = count_ngrams(train_documents, n)
    pure = ngram_loss(counts, heldout_documents, n, VOCAB, alpha=0.0)
    ngram_losses[n] = ngram_loss(counts, heldout_documents, n, VOCAB, alpha=0.01)
    print(f"n = {n}: {len(counts):>7,} contexts   alpha = 0: {pure:.3f}   alpha = 0.01: {ngram_losses[n]:.3f} nats per token")

# %% [markdown]
# More context helps, at first. But the table of contexts grows with every further token, each context is seen less
# often, and at some length the counts say too little: compare n = 3 with n = 4. An n-gram model treats "mia has the
# red" and "leo has the red" as unrelated. What is missing is a model that *shares* what it learns between contexts
# that mean the same. The gap between the best of these lines and the floor is what the network has to win.

# %% [markdown]
# ## Exercise 5: perplexity and bits per byte
#
# The same loss goes by other names. **Perplexity** is $\exp$ of the mean loss per token: among how many equally
# likely tokens is the model choosing? A model over another vocabulary cuts the same text into more or fewer tokens,
# so perplexities of different tokenizers cannot be compared. **Bits per byte** can: all the loss of a text, in bits,
# divided by the number of bytes of the text in UTF-8. It is what an arithmetic coder driven by the model would need.

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
    """The loss of a whole text in bits, per byte of its UTF-8 encoding. token_losses: (tokens,) in nats."""
    ### BEGIN SOLUTION
    bits = token_losses.sum().item() / math.log(2)
    return bits / len(text.encode("utf-8"))
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "bits_per_byte_check", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}
check("bits_per_byte", bits_per_byte)

# %% tags=["demo"]
for n, loss in ngram_losses.items():
    print(f"{n}-gram: {loss:.3f} nats per token, perplexity {perplexity(torch.tensor([loss])):.2f}")

# %% [markdown]
# ## Exercise 6: choosing the next token
#
# A model gives a distribution; you want a text. Taking the most likely token every time (*greedy*) is dull and may
# loop. Sampling from the distribution as it stands lets a very unlikely token slip in now and then, and there are
# many of them. Three knobs stand between:
#
# - **temperature** $\tau$: softmax of $\text{logits} / \tau$. Below 1 sharper, above 1 flatter, 0 means greedy;
# - **top-k**: only the $k$ most likely tokens (Fan et al. 2018);
# - **top-p**, or nucleus: the fewest most likely tokens that together hold probability $p$ or more (Holtzman et al.
#   2020).
#
# Apply them in that order, each to what the one before left over, and return probabilities that sum to 1.

# %% nbgrader={"grade": false, "grade_id": "next_token_probs", "locked": false, "schema_version": 3, "solution": true, "task": false}
def next_token_probs(
    logits: torch.Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> torch.Tensor:
    """The distribution to sample from. logits: (batch, vocab), of any size. Returns floating-point probabilities
    (batch, vocab), rows summing to 1.

    Temperature first (0 means all probability on the largest logit), then the top_k most likely tokens, then, of what is
    left and renormalised, the fewest most likely tokens whose probabilities sum to top_p or more.
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
# `logits.topk(k).values[:, -1:]` is the smallest logit that stays. Whatever is below becomes −inf, not 0: a logit of
# 0 is a perfectly good logit.
# </details>
# <details><summary><b>Hint 2</b>: top-p</summary>
#
# Sort the probabilities, largest first. A token goes if the tokens *before* it already hold p. The one that crosses
# the line stays. `scatter` puts things back where they came from.
# </details>
#
# With it, generating is a short loop: predict, draw, append. (A real generator keeps the keys and values of earlier
# tokens instead of computing them again; you will meet that cache later.)

# %% tags=["demo"]
@torch.no_grad()
def generate(model, ids: list[int], max_new_tokens: int, generator: torch.Generator, stop: int, **knobs) -> list[int]:
    """Continue `ids` until the token `stop` or for max_new_tokens."""
    model.eval()
    for _ in range(max_new_tokens):
        logits = model(torch.tensor([ids], device=model.device)).logits[:, -1].cpu()  # (1, vocab)
        probs = next_token_probs(logits, **knobs)
        ids = [*ids, int(torch.multinomial(probs, 1, generator=generator))]
        if ids[-1] == stop:
            break
    return ids

# %% [markdown]
# ## Exercise 7: warm-up and cosine decay
#
# Adam's first steps rest on gradient statistics from a handful of batches, so large steps at the start can throw the
# weights far off; and at the end, steps that stay large keep the loss jumping around the minimum. The usual schedule
# deals with both: a short linear warm-up from 0, then half a cosine down.
#
# $$ \eta(s) = \eta_{\min} + \tfrac12 (\eta_{\max} - \eta_{\min}) \left(1 + \cos \pi \frac{s - s_w}{S - s_w}\right), \quad s_w \le s \le S $$

# %% nbgrader={"grade": false, "grade_id": "learning_rate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def learning_rate(step: int, max_lr: float, warmup_steps: int, total_steps: int, min_lr: float = 0.0) -> float:
    """The learning rate of update `step` = 0, 1, 2, …

    A straight line from 0 at step 0 to max_lr at warmup_steps; from there half a cosine down to min_lr at total_steps;
    min_lr afterwards. Without warm-up (0 steps) it begins at max_lr. total_steps is larger than warmup_steps.
    """
    ### BEGIN SOLUTION
    if step < warmup_steps:
        return max_lr * step / warmup_steps
    done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return min_lr + (max_lr - min_lr) * 0.5 * (1 + math.cos(math.pi * done))
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "learning_rate_check", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("learning_rate", learning_rate)

# %% tags=["demo"]
steps = range(0, 1100)
fig, ax = plt.subplots(figsize=(8, 2.6))
for warmup, floor_rate in ((100, 0.0), (300, 3e-4)):
    rates = [learning_rate(s, 3e-3, warmup, 1000, floor_rate) for s in steps]
    ax.plot(steps, rates, label=f"warm-up {warmup}, down to {floor_rate:g}")
ax.set(xlabel="step", ylabel="learning rate", title="Two schedules of 1000 steps")
ax.legend()
plt.show()

# %% [markdown]
# ## Exercise 8: the training loop
#
# Everything is there. One update, in order:
#
# 1. set the learning rate of this step in **every** parameter group of the optimizer;
# 2. compute the loss of the batch, with the model in training mode;
# 3. clear the old gradients, go backward, and clip: if the norm of all gradients together exceeds `max_norm`, scale
#    them down;
# 4. let the optimizer step, keep the loss as a plain number, and call `after_step(step, loss)` if there is one.
#
# The loss comes in as a function, so the same loop will train everything in this course.

# %% nbgrader={"grade": false, "grade_id": "train", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train(model, batches, optimizer, lr_at, compute_loss, max_norm: float = 1.0, after_step=None) -> list[float]:
    """Train `model`, one update a batch, and return the loss of every step as a plain number.

    batches: an iterable, of unknown length if it is a generator. lr_at(step), for step = 0, 1, 2, …, is the learning rate
    for every parameter group; compute_loss(model, batch) a scalar tensor, to be computed in training mode. The norm of
    all gradients together is clipped to max_norm. after_step(step, loss), if given, is called after every update.
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
# <details><summary><b>Hint</b></summary>
#
# `optimizer.param_groups` is a list of dicts with a key `"lr"`. `torch.nn.utils.clip_grad_norm_` clips all gradients
# together. `loss.item()` is a number; `loss` would keep the whole graph of the step in memory.
# </details>

# %% [markdown]
# ## Pre-training, for real
#
# The model is a small Llama: the architecture of the large ones, with three layers and two thirds of a million
# parameters. Each document is a row. Documents of similar length go into a batch together, so that little of it is
# padding.

# %% tags=["demo"]
torch.manual_seed(0)
model = models.new_nano(seed=0).to(DEVICE)
print(f"{sum(p.numel() for p in model.parameters()):,} parameters")
rows = data.pad_rows(train_texts, tokenizer)  # input_ids and attention_mask, each (documents, longest)
heldout_rows = data.pad_rows(heldout_texts, tokenizer)  # one document a row
print("training rows:", tuple(rows.input_ids.shape), "  held-out rows:", tuple(heldout_rows.input_ids.shape))

# %% [markdown]
# The batches, the loss of one batch, and the held-out loss are a few lines each.

# %% tags=["demo"]
def choose_batches(lengths: torch.Tensor, size: int, steps: int, seed: int):
    """Yield `steps` times (rows chosen, longest of them): rows of similar length together, in random order."""
    generator, batches = torch.Generator().manual_seed(seed), []
    for _ in range(steps):
        if not batches:  # a new epoch
            pools = torch.randperm(len(lengths), generator=generator).split(32 * size)
            batches = [b for pool in pools for b in pool[lengths[pool].argsort()].split(size)]
            batches = [batches[i] for i in torch.randperm(len(batches), generator=generator)]
        chosen = batches.pop()
        yield chosen, int(lengths[chosen].max())


def clm_batches(rows, size: int, steps: int, seed: int):
    """Yield input_ids and attention_mask (size, longest) of randomly chosen documents."""
    for chosen, longest in choose_batches(rows.attention_mask.sum(-1), size, steps, seed):
        yield [tensor[chosen, :longest].to(DEVICE) for tensor in rows]


# %% tags=["demo"]
def clm_loss(model, batch) -> torch.Tensor:
    """The causal loss of one batch of rows, with your functions."""
    input_ids, attention_mask = batch  # each (batch, seq)
    logits = model(input_ids, attention_mask=attention_mask).logits  # (batch, seq, vocab)
    return causal_lm_loss(logits, make_labels(input_ids, attention_mask))


# %% tags=["demo"]
@torch.no_grad()
def heldout_loss(model, rows, size: int = 64) -> float:
    """Mean loss per predicted token over all rows."""
    model.eval()
    total = tokens = 0
    for part in zip(*(tensor.to(DEVICE).split(size) for tensor in rows)):
        targets = int(part[1][:, 1:].sum())
        total, tokens = total + clm_loss(model, part).item() * targets, tokens + targets
    return total / tokens

# %% [markdown]
# What should the model learn, and when? Three groups of questions with one right next token each: facts of the
# world, sums, and lists to be copied. We ask them every hundred steps, and also let the model write a little.

# %% tags=["demo"]
def prompt_ids(text: str) -> list[int]:
    """The ids of a text that goes on: <bos>, but no <eos>."""
    return data.encode_documents([text], tokenizer)[0][:-1]


@torch.no_grad()
def cloze_accuracy(model, probes: list[dict]) -> float:
    """How often the most likely token after probe["prompt"] is probe["answer"]. All prompts run as one padded batch."""
    model.eval()
    prompts = data.pad_rows([probe["prompt"] for probe in probes], tokenizer)
    last = prompts.attention_mask.sum(-1) - 2  # (probes,): the last word; after it stands <eos>
    logits = model(prompts.input_ids.to(DEVICE), attention_mask=prompts.attention_mask.to(DEVICE)).logits.cpu()
    guesses = logits[torch.arange(len(last)), last].argmax(-1)  # (probes,)
    answers = tokenizer.convert_tokens_to_ids([probe["answer"] for probe in probes])
    return (guesses == torch.tensor(answers)).float().mean().item()

# %% tags=["demo"]
probes = data.load_probes()
for group in ("facts", "sums", "copying"):
    example = probes[group][0]
    print(f"{group:>8} ({len(probes[group])}):  {example['prompt'][-90:]} → {example['answer']}")

# %% [markdown]
# Now train. The bar counts updates; the curves follow when it is through.

# %% tags=["demo"]
STEPS, BATCH, MAX_LR = device.updates(2400), 16, 3e-3  # on a GPU three times as many
LOOK_EVERY = device.updates(100, least=20)
history, samples = [], {}
bar = tqdm(total=STEPS, desc="pre-training", mininterval=1.0)


def look(step: int, loss: float) -> None:
    """After an update: move the bar; every 100 updates, measure and let the model write."""
    bar.update()
    if step % LOOK_EVERY and step not in (25, 50, 75, STEPS - 1):  # things move fast at first
        return
    scores = {group: cloze_accuracy(model, probes[group]) for group in ("facts", "sums", "copying")}
    history.append({"step": step, "heldout": heldout_loss(model, heldout_rows), **scores})
    bar.set_postfix(loss=f"{history[-1]['heldout']:.3f}")
    start = prompt_ids("one")  # as every story begins
    written = generate(model, start, 30, torch.Generator().manual_seed(1), tokenizer.eos_token_id)
    samples[step] = tokenizer.decode(written[1:])
    model.train()

# %% tags=["demo"]
torch.manual_seed(0)
optimizer = torch.optim.AdamW(model.parameters(), lr=MAX_LR, betas=(0.9, 0.98), weight_decay=0.1)
losses = train(
    model,
    clm_batches(rows, BATCH, STEPS, seed=0),
    optimizer,
    lr_at=lambda step: learning_rate(step, MAX_LR, 100, STEPS, 0.05 * MAX_LR),
    compute_loss=clm_loss,
    after_step=look,
)
bar.close()

# %% tags=["demo"]
steps = [point["step"] for point in history]
fig, ax = plt.subplots(figsize=(9, 4.2))
ax.plot(losses, color=plots.SKY, alpha=0.35, linewidth=0.8, label="training batches")
ax.plot(steps, [point["heldout"] for point in history], color=plots.BLUE, label="held-out text")
ax.set(xlabel="update", ylabel="loss, nats per token", ylim=(floor - 0.15, 4.9), title="From the unigram to the floor")
plots.mark_levels(ax, {f"{n}-gram": loss for n, loss in ngram_losses.items()} | {"floor": floor})
ax.legend(loc="center right")
plt.show()

# %% tags=["demo"]
final_loss = history[-1]["heldout"]
print(f"held-out loss   {final_loss:.3f} nats per token")
print(f"4-gram          {ngram_losses[4]:.3f}")
print(f"floor           {floor:.3f}   the model is {final_loss - floor:.3f} above it")

# %% [markdown]
# The curve falls in stretches. Within a few dozen updates the model knows which words are common (the unigram line);
# then which follow which; then it passes every n-gram, none of which could see far enough. What it learns when, the
# three groups of questions show.

# %% tags=["demo"]
fig, ax = plt.subplots(figsize=(9, 3.2))
for group in ("facts", "sums", "copying"):
    ax.plot(steps, [point[group] for point in history], label=group)
ax.set(xlabel="update", ylabel="share of right answers", ylim=(0, 1.05), title="Abilities come at different times")
plots.name_lines(ax)
plt.show()

# %% tags=["demo"]
def learned_at(group: str, level: float = 0.5):
    """The first measured update at which a group reaches `level`, None if it never does."""
    return next((point["step"] for point in history if point[group] >= level), None)


for group in ("facts", "sums", "copying"):
    print(f"{group:>8}: half right at update {learned_at(group)}, at the end {history[-1][group]:.0%}")

# %% [markdown]
# And this is how the same model writes as it learns, always from the same start and the same random seed.

# %% tags=["demo"]
shown = [step for step in (0, 25, 100, 300, 1000, STEPS - 1) if step in samples]
plots.show_table([{"update": step, "text": samples[step]} for step in shown])

# %% [markdown]
# **Where is the loss?** Colour each token of a held-out text by how surprised the model was. The surprise sits where
# the world itself made a free choice: a name, a colour, the first list. What follows from what came before (the list
# said again, the verb after the name) costs much less. In the repeated list you can still see where copying is not
# perfect.

# %% tags=["demo"]
@torch.no_grad()
def token_losses(model, ids: torch.Tensor) -> torch.Tensor:
    """-log p of each token but the first, in nats. ids: (1, seq). Returns (seq - 1,)."""
    log_probs = model(ids.to(DEVICE)).logits[:, :-1].log_softmax(-1).cpu()  # (1, seq - 1, vocab)
    return -log_probs.gather(-1, ids[:, 1:, None])[0, :, 0]

# %% tags=["demo"]
for kind in ("story", "copying"):
    document = next(document for document in heldout if document.kind == kind)
    ids = torch.tensor(data.encode_documents([document.text], tokenizer))  # (1, seq)
    surprise = [0.0, *token_losses(model, ids).tolist()]  # <bos> is given, not predicted
    colors = [plots.VERMILION if s > 1 else plots.ORANGE if s > 0.25 else plots.GREEN for s in surprise]
    plots.show_tokens(tokenizer.convert_ids_to_tokens(ids[0]), colors, [f"{s:.1f}" for s in surprise])

# %% tags=["demo"]
document = heldout[0]
ids = torch.tensor(data.encode_documents([document.text], tokenizer))  # (1, seq)
each = token_losses(model, ids)  # (seq - 1,)
print(f"this text: perplexity {perplexity(each):.2f}, {bits_per_byte(each, document.text):.3f} bits per byte")

# %% [markdown]
# Move the sliders: your `next_token_probs` on this model, after the first words of a story.

# %% tags=["demo"]
prompt = prompt_ids(next(document.text for document in heldout if document.kind == "story"))[:5]
with torch.no_grad():
    next_logits = model(torch.tensor([prompt], device=model.device)).logits[0, -1].cpu()  # (vocab,)
print(tokenizer.decode(prompt, skip_special_tokens=True), "…")
widgets.sampling_explorer(next_logits, tokenizer.convert_ids_to_tokens(range(VOCAB)), next_token_probs)

# %% [markdown]
# ## A base model does not answer
#
# You have a model that knows the capital of every country in its world. So ask it.

# %% tags=["demo"]
generator = torch.Generator().manual_seed(0)
continuations = []
for question in probes["questions"]:
    ids = prompt_ids(question["prompt"])
    written = generate(model, ids, 14, generator, tokenizer.eos_token_id)[len(ids):]
    continuations.append(tokenizer.decode(written))
plots.show_table(
    [{"you ask": q["prompt"], "it goes on": c} for q, c in list(zip(probes["questions"], continuations))[:6]]
)

# %% tags=["demo"]
asks_back = sum(c.split(" ?")[0].split()[0] in ("what", "who", "where") for c in continuations if c.split())
ends = sum(not c.replace(tokenizer.eos_token, "").strip() for c in continuations)
asks_share = asks_back / len(continuations)
print(f"of {len(continuations)} questions: {asks_back} answered by another question, {ends} by the end of the document")

# %% [markdown]
# It goes on with another question, and it is right to. In the text it was trained on, a question stands on a sheet
# of questions, and what follows a question is the next one. The model gives you the most likely *continuation*; you
# wanted an *answer*. The knowledge is there, as the facts curve shows; the behaviour is not. To get it is what the
# next chapters are about, and supervised fine-tuning comes first.

# %% [markdown]
# ## The other two objectives
#
# BERT (Devlin et al. 2019) hides tokens in the middle and lets the model look both ways. That gives no text
# generator, since nothing says how to write from left to right, but good representations of text.
#
# If every hidden token became `<mask>`, the model would meet a token in training that it never sees afterwards, and
# could ignore all others. So BERT chooses 15 % of the tokens, and of those 80 % become `<mask>`, 10 % some random
# token, and 10 % stay as they are. All chosen tokens must be predicted.

# %% [markdown]
# ## Exercise 9: BERT's masking
#
# Draw every random number from the generator you are given, so that a run can be repeated. Special tokens are never
# chosen.

# %% nbgrader={"grade": false, "grade_id": "mask_tokens", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mask_tokens(
    input_ids: torch.Tensor, is_special: torch.Tensor, mask_id: int, vocab_size: int, generator: torch.Generator, rate: float = 0.15
) -> tuple[torch.Tensor, torch.Tensor]:
    """BERT's corruption (Devlin et al. 2019, section 3.1). input_ids, is_special (bool): (batch, seq).

    Each token that is not special is chosen with probability `rate`. Of the chosen, 80 % become mask_id, 10 % a random id
    from [0, vocab_size), 10 % stay. Returns the corrupted ids and the labels: the original id where a token was chosen,
    -100 elsewhere; both hold integers. input_ids is not changed; all randomness comes from the generator.
    """
    ### BEGIN SOLUTION
    chosen = (torch.rand(input_ids.shape, generator=generator) < rate) & ~is_special  # (batch, seq)
    labels = input_ids.masked_fill(~chosen, -100)
    fate = torch.rand(input_ids.shape, generator=generator)  # one draw decides among the three
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
# First *which* tokens are chosen: one uniform number a token, compared with the rate. Then *what becomes of* a
# chosen token: a second uniform number, and three stretches of [0, 1).
# </details>
# <details><summary><b>Hint 2</b>: the shares</summary>
#
# If you first turn 80 % into masks and then replace 10 % *of the rest*, only 2 % of the chosen tokens become random.
# </details>

# %% tags=["demo"]
ids = torch.tensor(data.encode_documents([heldout[0].text], tokenizer))  # (1, seq)
is_special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
corrupted, mlm_labels = mask_tokens(ids, is_special, tokenizer.mask_token_id, VOCAB, torch.Generator().manual_seed(3))
names = tokenizer.convert_ids_to_tokens(corrupted[0])
truth = ["" if label == -100 else tokenizer.decode([label]) for label in mlm_labels[0]]
plots.show_tokens(names, [plots.ORANGE if t else None for t in truth], [t or "·" for t in truth])

# %% [markdown]
# In colour: the chosen tokens, with the answer under each.

# %% [markdown]
# ## Exercise 10: the loss of masked language modelling
#
# Cross-entropy again, over the chosen positions. Nothing is shifted: each hidden token is predicted in its own
# place. A batch in which nothing was chosen has loss 0.

# %% nbgrader={"grade": false, "grade_id": "mlm_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mlm_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean of -log p(original token) in nats over the positions whose label is not -100; 0 where there is none.

    logits: (batch, seq, vocab), of any size; labels: (batch, seq). Returns a scalar through which gradients flow, where
    it is 0 too.
    """
    ### BEGIN SOLUTION
    total = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum")
    return total / (labels != -100).sum().clamp(min=1)
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "mlm_loss_check", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}
check("mlm_loss", mlm_loss)

# %% [markdown]
# ## Exercise 11: pairs for next-sentence prediction
#
# The original BERT had a second task: given two sentences, does the second follow the first? Half of the training
# pairs are real, half have a second sentence from another document. Beware: another document may happen to contain
# the very sentence that follows, and calling that pair wrong would teach the model nonsense.

# %% nbgrader={"grade": false, "grade_id": "nsp_pairs", "locked": false, "schema_version": 3, "solution": true, "task": false}
def nsp_pairs(documents: list[list[str]], generator: torch.Generator) -> list[tuple[str, str, bool]]:
    """Pairs (first, second, is_next) for next-sentence prediction. documents: each a list of sentences.

    Every sentence that has a successor is `first` once. With probability 1/2, second is the successor and is_next True.
    Otherwise second is a sentence of another document, drawn at random, whose words differ from the true successor's, and
    is_next is False. All randomness comes from the generator.
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
                other = (i + 1 + draw(len(documents) - 1)) % len(documents)  # any document but this one
                second = documents[other][draw(len(documents[other]))]
            pairs.append((first, second, False))
    return pairs
    ### END SOLUTION

# %% nbgrader={"grade": true, "grade_id": "nsp_pairs_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("nsp_pairs", nsp_pairs)

# %% [markdown]
# ## Training a small BERT on both
#
# One encoder with two heads, and one loss: the sum of both. The input is `<cls> first <sep> second <sep>`; the
# prediction for the pair is read at `<cls>`. A second embedding tells the model which of the two sentences a token
# belongs to.

# %% tags=["demo"]
def sentences(text: str) -> list[str]:
    """The sentences of a document, each with its full stop."""
    return [f"{sentence} ." for sentence in text.removesuffix(" .").split(" . ")]


stories = [sentences(text) for text in train_texts if text.startswith("one ")]  # only stories begin so
heldout_stories = [sentences(document.text) for document in heldout if document.kind == "story"]
for first, second, is_next in nsp_pairs(stories[:5], torch.Generator().manual_seed(0))[:5]:
    print(f"{'follows' if is_next else 'other':>8}:  {first}  |  {second}")

# %% tags=["demo"]
def encode_pairs(pairs):
    """Tensors input_ids, attention_mask, token_type_ids (pairs, seq) and is_next (pairs,)."""
    texts = [f"{tokenizer.cls_token} {a} {tokenizer.sep_token} {b} {tokenizer.sep_token}" for a, b, _ in pairs]
    encoded = tokenizer(texts, padding=True, return_tensors="pt", add_special_tokens=False)
    seps = (encoded["input_ids"] == tokenizer.sep_token_id).long().cumsum(-1)  # (pairs, seq)
    second = (seps.roll(1, dims=-1) > 0).long()  # what stands after the first <sep>
    second[:, 0] = 0
    return encoded["input_ids"], encoded["attention_mask"], second, torch.tensor([int(n) for _, _, n in pairs])

# %% tags=["demo"]
SPECIAL = torch.tensor(tokenizer.all_special_ids)
mask_generator = torch.Generator().manual_seed(0)


def bert_forward(model, batch, generator):
    """The model's output on a freshly masked batch, and the labels of the hidden tokens."""
    input_ids, attention_mask, second, _ = batch
    ids = input_ids.cpu()
    corrupted, labels = mask_tokens(ids, torch.isin(ids, SPECIAL), tokenizer.mask_token_id, VOCAB, generator)
    output = model(corrupted.to(DEVICE), attention_mask=attention_mask, token_type_ids=second)
    return output, labels.to(DEVICE)


def bert_loss(model, batch) -> torch.Tensor:
    """Masked loss plus next-sentence loss."""
    output, labels = bert_forward(model, batch, mask_generator)
    nsp = F.cross_entropy(output.seq_relationship_logits, 1 - batch[3])  # class 0 means "follows", as in BERT
    return mlm_loss(output.prediction_logits, labels) + nsp

# %% tags=["demo"]
@torch.no_grad()
def bert_scores(model, pairs) -> tuple[float, float]:
    """Accuracy on the hidden tokens, and on the pairs."""
    model.eval()
    batch = [tensor.to(DEVICE) for tensor in encode_pairs(pairs)]
    output, labels = bert_forward(model, batch, torch.Generator().manual_seed(5))
    hidden = labels != -100
    tokens_right = (output.prediction_logits.argmax(-1) == labels)[hidden].float().mean().item()
    pairs_right = (output.seq_relationship_logits.argmax(-1) == 1 - batch[3]).float().mean().item()
    return tokens_right, pairs_right

# %% tags=["demo"]
torch.manual_seed(0)
pairs = nsp_pairs(stories[:12_000], torch.Generator().manual_seed(0))
heldout_pairs = nsp_pairs(heldout_stories, torch.Generator().manual_seed(1))
bert = models.new_nano_bert(seed=0).to(DEVICE)
tensors = encode_pairs(pairs)
print(f"{len(pairs):,} pairs, {sum(p.numel() for p in bert.parameters()):,} parameters")

# %% tags=["demo"]
def bert_batches(steps: int, seed: int, size: int = 32):
    """Yield batches of pairs, each cut to its longest."""
    ids, mask, second, is_next = tensors
    for chosen, longest in choose_batches(mask.sum(-1), size, steps, seed):
        batch = [ids[chosen, :longest], mask[chosen, :longest], second[chosen, :longest], is_next[chosen]]
        yield [tensor.to(DEVICE) for tensor in batch]

# %% tags=["demo"]
BERT_STEPS, BERT_LR = device.updates(1000), 1e-3
bert_history = []
bar = tqdm(total=BERT_STEPS, desc="MLM + NSP", mininterval=1.0)


def look_at_bert(step: int, loss: float) -> None:
    """After an update: move the bar; every 100 updates, measure on held-out pairs."""
    bar.update()
    if step % LOOK_EVERY == 0 or step == BERT_STEPS - 1:
        bert_history.append((step, *bert_scores(bert, heldout_pairs[:512])))
        bert.train()

# %% tags=["demo"]
optimizer = torch.optim.AdamW(bert.parameters(), lr=BERT_LR, weight_decay=0.01)
bert_losses = train(
    bert,
    bert_batches(BERT_STEPS, seed=0),
    optimizer,
    lr_at=lambda step: learning_rate(step, BERT_LR, 100, BERT_STEPS),
    compute_loss=bert_loss,
    after_step=look_at_bert,
)
bar.close()

# %% tags=["demo"]
ids = torch.cat([row[mask.bool()] for row, mask in zip(*encode_pairs(heldout_pairs)[:2])])
ids = ids[~torch.isin(ids, SPECIAL)]
mask_baseline = (ids.bincount().max() / len(ids)).item()  # always guessing the most frequent word
mask_accuracy, nsp_accuracy = bert_scores(bert, heldout_pairs)
print(f"hidden tokens: {mask_accuracy:.1%} right, always the most frequent word: {mask_baseline:.1%}")
print(f"pairs: {nsp_accuracy:.1%} right, a coin: 50 %")

# %% tags=["demo"]
at, tokens_right, pairs_right = zip(*bert_history)
fig, ax = plt.subplots(figsize=(8, 3))
ax.plot(at, tokens_right, label="hidden tokens", color=plots.ORANGE)
ax.plot(at, pairs_right, label="pairs", color=plots.GREEN)
ax.set(xlabel="update", ylabel="share right", ylim=(0, 1.05), title="Masked tokens and sentence pairs, held out")
plots.mark_levels(ax, {"coin": 0.5, "most frequent word": mask_baseline})
ax.legend()
plt.show()

# %% [markdown]
# Fill a mask. We hide the colour of a thing that the sentence before has named. The model looks both ways: what
# stands *behind* the gap (which thing it is) helps as much as what stands before it.

# %% tags=["demo"]
def twice(first: str, second: str) -> str | None:
    """The colour of a thing that both sentences speak of: "a red ball" in the first, "the red ball" in the second."""
    found = re.search(r" a (\w+) (\w+)", first)
    return found[1] if found and f"the {found[1]} {found[2]}" in second else None


first, second = next((a, b) for a, b, is_next in heldout_pairs if is_next and twice(a, b))
hidden = twice(first, second)
words = f"{tokenizer.cls_token} {first} {tokenizer.sep_token} {second} {tokenizer.sep_token}".split()
gap = len(words) - 1 - words[::-1].index(hidden)  # where it stands in the second sentence
words[gap] = tokenizer.mask_token

# %% tags=["demo"]
ids = torch.tensor([tokenizer.convert_tokens_to_ids(words)], device=DEVICE)
second = torch.tensor([[0] * (words.index(tokenizer.sep_token) + 1)], device=DEVICE)
second = F.pad(second, (0, ids.shape[1] - second.shape[1]), value=1)
with torch.no_grad():
    guesses = bert.eval()(ids, token_type_ids=second).prediction_logits[0, gap].softmax(-1).topk(5)
print(" ".join(words), f"   (hidden: {hidden})")
for p, i in zip(guesses.values, guesses.indices):
    print(f"  {p:6.1%}  {tokenizer.decode([int(i)])}")

# %% [markdown]
# ### What did next-sentence prediction learn?
#
# It is well above chance. But what does it look at: that B comes *after* A, or only that both speak of the same
# people and things? Swap the two sentences of every real pair. A model that knows about order must now say "does not
# follow".

# %% tags=["demo"]
real = [(a, b, True) for a, b, is_next in heldout_pairs if is_next]
swapped = [(b, a, True) for a, b, _ in real]
says_follows = {name: bert_scores(bert, some)[1] for name, some in (("in order", real), ("swapped", swapped))}
others = [(a, b, True) for a, b, is_next in heldout_pairs if not is_next]
says_follows["from another story"] = bert_scores(bert, others)[1]
for name, share in says_follows.items():
    print(f"{name:>20}: called “follows” in {share:.0%} of the pairs")

# %% [markdown]
# Read the three numbers together. Here the model turns down most of the swapped pairs as well, so it did learn about
# order: these stories wear it openly (the first sentence says when, and a friend must come before he can give). In
# real text the topic alone decides most pairs, because the wrong sentence comes from a document about something
# else, and there is little reason to learn more.
#
# RoBERTa (Liu et al. 2019) trained without this task and lost nothing; ALBERT (Lan et al. 2020) replaced it by
# guessing the *order* of two sentences, because the topic alone gives the answer away too often.

# %% [markdown]
# ## The three side by side

# %% tags=["demo"]
plots.show_table(
    [
        {"objective": "CLM", "labels a row of 128": "127", "sees": "the left", "can write": "yes",
         "measured": f"held-out loss {final_loss:.3f}, floor {floor:.3f}"},
        {"objective": "MLM", "labels a row of 128": "about 19", "sees": "both sides", "can write": "no",
         "measured": f"{mask_accuracy:.0%} of hidden tokens"},
        {"objective": "NSP", "labels a row of 128": "1", "sees": "two sentences", "can write": "no",
         "measured": f"{nsp_accuracy:.0%} of pairs"},
    ]
)

# %% [markdown]
# Causal language modelling gets a label from every token and yields a model that writes. That is why nearly
# everything you chat with is pre-trained this way, and why the rest of the course builds on it.
#
# ## Keep the model
#
# The next chapters start from a checkpoint like the one you made. The course ships its own, trained by this very
# notebook in a GPU's dose (three times as long), so that they start at once; yours goes into the folder below.

# %% tags=["demo"]
card = {"made by": "solutions/01_pretraining", "updates": STEPS, "held-out loss": final_loss, "floor": floor}
folder = models.save_checkpoint(model, "my_checkpoints/nano-base", card)
print("saved to", folder)

# %% [markdown]
# ## What you have seen
#
# - Pre-training is **self-supervised**: an ordinary classification loss whose labels come from the text.
# - The causal loss is shifted by one and leaves padding out. A wrong divisor or a missing shift trains a wrong model
#   silently.
# - A loss means something between two lines: what counting reaches above, the entropy of the text below.
# - Words come first; facts, copying and sums later, each at its own time, in one and the same run.
# - A base model continues text. It answers questions only if answers are what usually follows.
#
# **To read**: Devlin et al. 2019, *BERT* (arXiv:1810.04805); Radford et al. 2019, *Language models are unsupervised
# multitask learners*; Liu et al. 2019, *RoBERTa* (arXiv:1907.11692); Lan et al. 2020, *ALBERT* (arXiv:1909.11942);
# Fan et al. 2018 (arXiv:1805.04833) for top-k; Holtzman et al. 2020 (arXiv:1904.09751) for top-p; Loshchilov and
# Hutter 2017 (arXiv:1608.03983) for the cosine schedule.

# %%
progress("01_pretraining")
