# %% tags=["imports"]
import math
import random
from collections import Counter, defaultdict

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from autograder import check, progress

# %% nbgrader={"grade": false, "grade_id": "make_labels", "locked": false, "schema_version": 3, "solution": true, "task": false}
def make_labels(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Labels (batch, seq): the input ids, and -100 where attention_mask (batch, seq) is 0."""
    ### BEGIN SOLUTION
    return input_ids.masked_fill(attention_mask == 0, -100)  # (batch, seq)
    ### END SOLUTION

# %% nbgrader={"grade": false, "grade_id": "causal_lm_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def causal_lm_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean of -log p(labels[t+1] | tokens up to t) in nats, over all targets that are not -100.

    logits: (batch, seq, vocab); labels: (batch, seq), not shifted. Returns a scalar through which gradients flow.
    """
    ### BEGIN SOLUTION
    predictions = logits[:, :-1].flatten(0, 1)  # (batch * (seq - 1), vocab)
    targets = labels[:, 1:].flatten()  # (batch * (seq - 1),)
    return F.cross_entropy(predictions, targets, ignore_index=-100)
    ### END SOLUTION

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

# %% nbgrader={"grade": false, "grade_id": "ngram_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def ngram_loss(counts, documents: list[list[int]], n: int, vocab_size: int, alpha: float) -> float:
    """The mean of -log p(token | context) in nats over every token but <bos> of all documents.

    p = (count(context, token) + alpha) / (count(context) + alpha * vocab_size); contexts as in count_ngrams. A token of
    probability 0, or a context never seen with alpha = 0, makes the loss infinite.
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

# %% nbgrader={"grade": false, "grade_id": "perplexity", "locked": false, "schema_version": 3, "solution": true, "task": false}
def perplexity(token_losses: torch.Tensor) -> float:
    """exp of the mean loss per token. token_losses: (tokens,) in nats."""
    ### BEGIN SOLUTION
    return token_losses.mean().exp().item()
    ### END SOLUTION

# %% nbgrader={"grade": false, "grade_id": "bits_per_byte", "locked": false, "schema_version": 3, "solution": true, "task": false}
def bits_per_byte(token_losses: torch.Tensor, text: str) -> float:
    """The loss of a whole text in bits, per byte of its UTF-8 encoding. token_losses: (tokens,) in nats."""
    ### BEGIN SOLUTION
    bits = token_losses.sum().item() / math.log(2)
    return bits / len(text.encode("utf-8"))
    ### END SOLUTION

# %% nbgrader={"grade": false, "grade_id": "next_token_probs", "locked": false, "schema_version": 3, "solution": true, "task": false}
def next_token_probs(
    logits: torch.Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> torch.Tensor:
    """The distribution to sample from. logits: (batch, vocab). Returns probabilities (batch, vocab), rows summing to 1.

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

# %% nbgrader={"grade": false, "grade_id": "learning_rate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def learning_rate(step: int, max_lr: float, warmup_steps: int, total_steps: int, min_lr: float = 0.0) -> float:
    """The learning rate of update `step` = 0, 1, 2, …

    A straight line from 0 at step 0 to max_lr at warmup_steps; from there half a cosine down to min_lr at total_steps;
    min_lr afterwards. Without warm-up (0 steps) it begins at max_lr.
    """
    ### BEGIN SOLUTION
    if step < warmup_steps:
        return max_lr * step / warmup_steps
    done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return min_lr + (max_lr - min_lr) * 0.5 * (1 + math.cos(math.pi * done))
    ### END SOLUTION

# %% nbgrader={"grade": false, "grade_id": "train", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train(model, batches, optimizer, lr_at, compute_loss, max_norm: float = 1.0, after_step=None) -> list[float]:
    """Train `model`, one update a batch, and return the loss of every step as a plain number.

    lr_at(step) is the learning rate for every parameter group; compute_loss(model, batch) a scalar tensor. The norm of all
    gradients together is clipped to max_norm. after_step(step, loss), if given, is called after every update.
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

# %% nbgrader={"grade": false, "grade_id": "mask_tokens", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mask_tokens(
    input_ids: torch.Tensor, is_special: torch.Tensor, mask_id: int, vocab_size: int, generator: torch.Generator, rate: float = 0.15
) -> tuple[torch.Tensor, torch.Tensor]:
    """BERT's corruption (Devlin et al. 2019, section 3.1). input_ids, is_special (bool): (batch, seq).

    Each token that is not special is chosen with probability `rate`. Of the chosen, 80 % become mask_id, 10 % a random id
    from [0, vocab_size), 10 % stay. Returns the corrupted ids and the labels: the original id where a token was chosen,
    -100 elsewhere. input_ids is not changed; all randomness comes from the generator.
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

# %% nbgrader={"grade": false, "grade_id": "mlm_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def mlm_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean of -log p(original token) in nats over the positions whose label is not -100; 0 where there is none.

    logits: (batch, seq, vocab); labels: (batch, seq).
    """
    ### BEGIN SOLUTION
    total = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum")
    return total / (labels != -100).sum().clamp(min=1)
    ### END SOLUTION

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
