# %% [markdown]
# # 7 · Ways to fine-tune
#
# A model of billions of weights is to learn something new, and you have one small machine. Must all of its weights
# change? In this chapter you train the same small model in eight ways, from all of its weights to two in a hundred. You
# write each of them yourself, and compare them with those of the library `peft`. At the end a real model learns by what you
# wrote.
#
# **You will be able to**
# - say what an update of the weights looks like, and what a low rank keeps of it;
# - write LoRA's layer, put it into a model, merge it, and take it out again;
# - count what a training step costs, and say what LoRA saves and what it does not;
# - write DoRA, prefix tuning, OFT, BOFT and GSOFT;
# - compare all of them on one task: quality, memory, time, and what the model forgets.
#
# | exercise | difficulty | minutes | | exercise | difficulty | minutes |
# |---|---|---|---|---|---|---|
# | 1 what learns | ● ● ○ | 10 | | 7 what it costs | ● ● ● | 15 |
# | 2 the training loop | ● ● ○ | 10 | | 8 length and direction | ● ● ○ | 10 |
# | 3 an update of low rank | ● ● ○ | 10 | | 9 keys and values before the text | ● ● ● | 15 |
# | 4 factors beside a weight | ● ● ○ | 10 | | 10 an orthogonal matrix | ● ● ○ | 10 |
# | 5 into a model | ● ● ● | 15 | | 11 blocks, butterflies, shuffles | ● ● ● | 20 |
# | 6 merged | ● ○ ○ | 5 | | 12 several updates under a budget | open | 20 |
#
# It is the longest chapter. There is a place for a break behind exercise 7. You need chapter 2.

# %% tags=["imports"]
import math

import torch
import torch.nn.functional as F
from torch import nn
from transformers import DynamicCache

from autograder import check, earlier, predict, progress, reveal
from course import methods

# What you wrote in chapter 2 is called again, or the course's own where you skipped it.
collate = earlier("collate", methods.collate)

# %% tags=["demo"]
import copy
import time
from operator import itemgetter
from statistics import median

import matplotlib.pyplot as plt
from IPython.display import display
from tqdm.auto import tqdm

from course import adapters, batches, costs, data, device, manners
from course import models, pairs, peft_layers, plots, quiet, widgets
from course.drawings import c07 as drawings

plots.use_style()
quiet.hush_libraries()
torch.set_num_threads(1)  # the nano model gains little from more
print(device.describe_machine())
DEVICE = device.device()
drawings.where_it_is_learned()

# %% [markdown]
# What is coloured is learned, and what is grey stays. You will meet all six pictures.
#
# ## One model, one new task
#
# The model is that of chapter 1, after pre-training. It knows the facts of its world, sums, and stories. The new task is
# a dialect. In “northern” each colour and each thing has another name. The model gets a sentence and writes it in northern.
# An answer counts if every word of it is right.
#
# What the model knew is measured too: texts of the corpus, and sentences whose last word it should find. So we see what it
# forgets.

# %% tags=["demo"]
tokenizer = data.load_tokenizer()
word_ids = tokenizer.get_vocab()
train_records, heldout = (data.load_jsonl(f"dialect_{split}") for split in ("train", "heldout"))


def example(prompt: str, answer: str) -> tuple[list[int], list[int]]:
    """Token ids, and labels that supervise the answer."""
    asked, said = (
        [word_ids[word] for word in text.split()] for text in (f"<bos> {prompt}", answer)
    )
    return asked + said, [-100] * len(asked) + said


def batch_of(examples: list) -> dict:
    """A batch on the device on which the models are."""
    batch = collate(examples, tokenizer.pad_token_id)
    return {name: tensor.to(DEVICE) for name, tensor in batch.items()}


lessons, kept_back = (
    [example(r["prompt"], f"{r['answer']} <eos>") for r in records]
    for records in (train_records, heldout)
)
plots.show_table(train_records[:3])

# %% tags=["demo"]
TO_CHOOSE = batch_of(kept_back[:100])  # for choosing a learning rate
NEW = batch_of(kept_back[100:])
OLD = {
    kind: batch_of([example(p["prompt"], p["answer"]) for p in some])
    for kind, some in data.load_probes().items() if kind in ("facts", "sums", "stories")
}  # fmt: skip
documents = [(ids, ids) for ids in data.encode_documents(
    [d.text for d in data.load_heldout()[:64]], tokenizer)]  # fmt: skip
CORPUS = batch_of(documents)


@torch.no_grad()
def read(model, batch: dict) -> tuple[float, float]:
    """The loss a token, and the share of rows with each supervised token the likeliest."""
    out = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    logits, labels = out.logits[:, :-1].float(), batch["labels"][:, 1:]
    counted = labels != -100
    right = (logits.argmax(-1) == labels) | ~counted  # (rows, seq)
    loss = F.cross_entropy(logits[counted], labels[counted])
    return loss.item(), right.all(1).float().mean().item()


def look(model) -> dict[str, float]:
    """The new task, and what was known before."""
    loss, right = read(model, NEW)
    known = {kind: read(model, batch)[1] for kind, batch in OLD.items()}
    return {"new loss": loss, "new": right, **known, "corpus loss": read(model, CORPUS)[0]}


base = models.load_nano("base").to(DEVICE).requires_grad_(False)
before = look(base)
plots.show_table([{"": "before"} | before])

# %% [markdown]
# The shares are of 1. The two losses are in nats a token.
#
# ## Exercise 1: what learns
#
# torch computes gradients only for parameters that ask for one (`requires_grad`). So to train a part of a model means to
# freeze the rest. Many models use one matrix twice, as embedding and as last layer; this one does too.


# %% nbgrader={"grade": false, "grade_id": "train_only", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_only(model: nn.Module, names: list[str]) -> tuple[int, int]:
    """Let only the named parts learn. How many numbers learn, and how many there are.

    A name stands for a parameter, as model.named_parameters() writes it, or for a module: then
    for all parameters inside it. Afterwards exactly these ask for a gradient, whatever was set
    before. A weight that the model uses in two places, under two names, counts once, and
    learns where either name is given. A name that stands for nothing raises a ValueError, and
    then nothing is changed.
    """
    ### BEGIN SOLUTION
    learning = set()
    for name in names:
        found = [
            weight for key, weight in model.named_parameters(remove_duplicate=False)
            if key == name or key.startswith(f"{name}.")
        ]  # fmt: skip
        if not found:
            raise ValueError(f"nothing in this model is called {name}")
        learning.update(map(id, found))
    for weight in model.parameters():
        weight.requires_grad_(id(weight) in learning)
    sizes = [(weight.requires_grad, weight.numel()) for weight in model.parameters()]
    return sum(size for learns, size in sizes if learns), sum(size for _, size in sizes)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "train_only_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("train_only", train_only)

# %% [markdown]
# <details><summary><b>Hint 1</b>: two names for one weight</summary>
#
# Does `model.named_parameters()` show the weight of the last layer? Look at its argument `remove_duplicate`.
# </details>
# <details><summary><b>Hint 2</b>: names that begin alike</summary>
#
# Is `layers.10` inside of `layers.1`? What stands behind the name of a module in the name of its parameters?
# </details>
#
# ## Exercise 2: the training loop
#
# The loop is that of chapter 2, with two new questions. Which parameters does the optimizer get? And what must not happen
# to the others? Weight decay changes a weight without any gradient.


# %% nbgrader={"grade": false, "grade_id": "fine_tune", "locked": false, "schema_version": 3, "solution": true, "task": false}
def fine_tune(
    model: nn.Module, batches: list[dict], lr: float, weight_decay: float = 0.0
) -> list[float]:
    """Train what asks for a gradient, one update a batch, with AdamW. The loss of each batch.

    A batch has input_ids, attention_mask and labels, all (batch, seq), labels as ever: not
    shifted, -100 where nothing is supervised. Its loss is the mean of -log p over its
    supervised tokens, before its update. Update s of n, counted from 0, has the learning rate
    lr * min(1, (s + 1) / 5) * (1 - s / n); the norm of all gradients together is at most 1.
    Other settings of AdamW are torch's own. What does not ask for a gradient stays bit for bit
    as it was, also with weight decay. The model is in training mode during the updates, and in
    evaluation mode afterwards.
    """
    ### BEGIN SOLUTION
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=lr, weight_decay=weight_decay)
    losses = []
    model.train()
    for s, batch in enumerate(batches):
        optimizer.param_groups[0]["lr"] = lr * min(1, (s + 1) / 5) * (1 - s / len(batches))
        ids, mask, labels = (batch[k] for k in ("input_ids", "attention_mask", "labels"))
        logits = model(input_ids=ids, attention_mask=mask).logits  # (batch, seq, vocab)
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        losses.append(loss.item())
    model.eval()
    return losses
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "fine_tune_check", "locked": true, "points": 9, "schema_version": 3, "solution": false, "task": false}
check("fine_tune", fine_tune)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Build the list of what learns once, and use it twice: for the optimizer, and for `clip_grad_norm_`. Which place's logits
# say something about the label at place $t$?
# </details>
#
# How many numbers learn in some choices? Then the first of the eight ways: all of them. Nothing in the lessons is about sums,
# or like the rest of the corpus. Watch what becomes of those.

# %% tags=["demo"]
STEPS, SIZE = device.at_most(100, least=4), 8
LAST = ["model.layers.2", "model.norm"]
rows = []
for names in (["model"], LAST, ["model.layers.1", *LAST], ["lm_head"]):
    learns, whole = train_only(copy.deepcopy(base), names)
    rows.append({"learns": " ".join(names), "numbers": f"{learns:,}", "share": learns / whole})
plots.show_table(rows)


def drawn(seed: int) -> list[dict]:
    """The batches of a training run."""
    updates = batches.updates_by_length(
        lessons, STEPS, SIZE, 1, batch_of, device.seed(seed), DEVICE)  # fmt: skip
    return [update[0] for update in updates]


tuned = copy.deepcopy(base)
train_only(tuned, ["model"])
losses = fine_tune(tuned, drawn(0), 2e-3)
after = look(tuned)
plots.show_table([{"": "before"} | before, {"": f"after {STEPS} batches"} | after])

# %% [markdown]
# Full fine-tuning is often called the most stable way, and the one with the best quality. Quality on what? We come back to
# it with all eight.
#
# ## Exercise 3: an update of low rank
#
# Let $\Delta W = W - W_0$ be what fine-tuning changed in a weight. LoRA (Hu et al. 2021) rests on a hypothesis: this *update*
# can be replaced by a matrix of a low rank $r$. Such a matrix is a product $BA$ of a thin and a flat one. (It is also
# written $A B^\top$; that is the same with other letters.) The nearest one is known, by the theorem of Eckart, Young and
# Mirsky.


# %% nbgrader={"grade": false, "grade_id": "low_rank", "locked": false, "schema_version": 3, "solution": true, "task": false}
def low_rank(update: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two factors B and A whose product is the matrix of this rank nearest to the update.

    update: (d_out, d_in). rank: from 1 to the smaller of the two. Nearest: the sum of the
    squared differences is least. B: (d_out, rank), A: (rank, d_in), and their sizes are
    balanced: BᵀB and AAᵀ are equal. Both come back as new tensors.
    """
    ### BEGIN SOLUTION
    u, s, vt = torch.linalg.svd(update, full_matrices=False)
    root = s[:rank].sqrt()  # (rank,)
    return u[:, :rank] * root, root[:, None] * vt[:rank]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "low_rank_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("low_rank", low_rank)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# `torch.linalg.svd(update, full_matrices=False)`. Which singular values do you keep? Each stands in the product once: how
# do you share it between two factors, so that neither is larger?
# </details>
#
# **Predict.** Each weight here has 128 directions, that is, singular values. How many of them does it take to keep 90 % of the
# sum of squares of an update that you have just made?
#
# - **a** Fewer than 8.
# - **b** Between 8 and 40.
# - **c** More than 40.

# %% tags=["demo"]
predict("update_rank", "")

# %% tags=["demo"]
old_weights, new_weights = (
    {n: m.weight.detach() for n, m in model.named_modules()
     if n.split(".")[-1] in adapters.LINEAR} for model in (base, tuned)
)  # fmt: skip
deltas = {name: new_weights[name] - old_weights[name] for name in old_weights}


def kept_by_rank(matrix: torch.Tensor) -> torch.Tensor:
    """The share of the squared numbers that the nearest matrix of rank 1, 2, … keeps."""
    squares = torch.linalg.svdvals(matrix.float().cpu()).square()
    return squares.cumsum(0) / squares.sum()


def directions(matrices: list) -> float:
    """How many directions keep 90 %: the median of these matrices."""
    return median(int((kept_by_rank(m) < 0.9).sum()) + 1 for m in matrices)


with torch.no_grad():
    states = base(input_ids=NEW["input_ids"], output_hidden_states=True).hidden_states
real = NEW["attention_mask"].bool()
hidden = [layer[real] - layer[real].mean(0) for layer in states[1:]]  # (tokens, 128) each
noise = [torch.randn(m.shape, generator=torch.Generator().manual_seed(device.seed(0)))
         for m in deltas.values()]  # fmt: skip
curves = {
    "the updates": list(deltas.values()), "the weights before": list(old_weights.values()),
    "hidden states": hidden, "random numbers": noise,
}  # fmt: skip
needed = {name: directions(matrices) for name, matrices in curves.items()}
plots.show_table([{"directions for 90 %": name, "median": n} for name, n in needed.items()])
came = "a" if needed["the updates"] < 8 else "b" if needed["the updates"] <= 40 else "c"
reveal("update_rank", came, needed=needed)

# %% [markdown]
# Two things are often mixed up here. One says that *hidden states* lie near few directions; the other says it of the
# *update*. They are different matrices, and LoRA needs the second one. Squared numbers are not what we want in the end,
# though. What counts is how well the model does if each update is replaced by its nearest matrix of rank $r$. (Embeddings and
# norms stay as they were trained; rank 0 is those alone.) Read the table from below. How small may the rank become before the
# model notices? And how much of the square is gone by then? Under it, one of the updates has a slider, which calls your
# `low_rank`.

# %% tags=["demo"]
RANKS = (0, 1, 2, 4, 8, 16, 32, 128)


@torch.no_grad()
def with_rank(rank: int):
    """The tuned model, with each update replaced by one of this rank."""
    model = copy.deepcopy(tuned)
    for name, delta in deltas.items():
        kept = torch.zeros_like(delta)
        if rank:
            B, A = low_rank(delta.cpu(), min(rank, *delta.shape))
            kept = (B @ A).to(delta)
        model.get_submodule(name).weight.copy_(old_weights[name] + kept)
    return model


truncated = {}
for rank in tqdm(RANKS, desc="ranks"):
    loss, right = read(with_rank(rank), NEW)
    square = sum(kept_by_rank(m)[rank - 1].item() if rank else 0 for m in deltas.values())
    truncated[rank] = {"square kept": square / len(deltas), "new loss": loss, "new": right}
plots.show_table([{"rank": rank} | row for rank, row in truncated.items()])
widgets.rank_explorer(deltas["model.layers.1.mlp.down_proj"].cpu(), low_rank)

# %% [markdown]
# ## Exercise 4: factors beside a weight
#
# If an update of low rank is enough, one can learn its factors from the start and leave the weight alone:
#
# $$ y = W_0 x + b + \frac{\alpha}{r}\, B A x. $$
#
# (In the letters of $A B^\top$: that $A$ is this $B$, and that $B$ is this $A^\top$.) The fraction $\alpha/r$ is there so
# that the same learning rate suits several ranks. Which is multiplied first, $BA$ or $Ax$?

# %% tags=["demo"]
drawings.beside_the_weight(128, 352, 8)


# %% nbgrader={"grade": false, "grade_id": "lora_linear", "locked": false, "schema_version": 3, "solution": true, "task": false}
def lora_linear(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None,
    A: torch.Tensor, B: torch.Tensor, alpha: float,
    dropout: float = 0.0, training: bool = False,
) -> torch.Tensor:  # fmt: skip
    """What a linear layer with factors beside its weight gives for x, (..., d_out).

    x: (..., d_in); weight: (d_out, d_in); bias: (d_out,), or None; A: (rank, d_in); B: (d_out,
    rank). In training each number of x that the factors are given is zeroed with probability
    dropout, and the others are divided by 1 - dropout; what the frozen weight is given stays
    whole. Outside training nothing is dropped. No matrix of the size of the weight is made on
    the way. Gradients flow to x, A and B, and not to weight and bias, even where these would
    let them.
    """
    ### BEGIN SOLUTION
    frozen = F.linear(x, weight.detach(), None if bias is None else bias.detach())
    beside = F.dropout(x, dropout, training) @ A.T @ B.T  # (..., d_out)
    return frozen + alpha / len(A) * beside
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "lora_linear_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("lora_linear", lora_linear)

# %% [markdown]
# <details><summary><b>Hint 1</b>: the order</summary>
#
# x has its numbers in the last dimension, so it stands on the *left* of a transposed matrix. How large is what comes out
# of A? And of B A?
# </details>
# <details><summary><b>Hint 2</b>: dropout</summary>
#
# `F.dropout(x, p, training)`. Which of the two terms is given the dropped x?
# </details>
#
# ## Exercise 5: into a model
#
# Now the factors go into chosen layers of a model. How do they have to begin? The model should compute what it did. And yet
# something has to be learned: if both factors are 0, is there a gradient?


# %% nbgrader={"grade": false, "grade_id": "add_lora", "locked": false, "schema_version": 3, "solution": true, "task": false}
def add_lora(
    model: nn.Module, targets: list[str], rank: int, make, generator: torch.Generator
) -> list[str]:
    """Put factors beside the chosen linear layers of a model. The names of these layers.

    targets: the last parts of names, such as "q_proj" of "layers.0.q_proj". Each nn.Linear so
    called is replaced by make(linear, A, B); other kinds of modules stay, and so does what is
    inside a new layer. A (rank, d_in) and B (d_out, rank) are new parameters; A is drawn with
    the generator, uniformly between -1/sqrt(d_in) and 1/sqrt(d_in), and B is such that the
    model computes what it did before. Afterwards the factors learn, and nothing else does.
    Names: in the order of model.named_modules(). Raises a ValueError where no layer is called
    so.
    """
    ### BEGIN SOLUTION
    chosen = [
        (name, layer) for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and name.split(".")[-1] in targets
    ]  # fmt: skip
    if not chosen:
        raise ValueError(f"no linear layer is called {' or '.join(targets)}")
    model.requires_grad_(False)
    for name, linear in chosen:
        d_out, d_in = linear.weight.shape
        drawn = torch.rand(rank, d_in, generator=generator)  # (rank, d_in), from 0 to 1
        A = nn.Parameter((2 * drawn - 1) / d_in**0.5)
        B = nn.Parameter(torch.zeros(d_out, rank))
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, make(linear, A, B))
    return [name for name, _ in chosen]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "add_lora_check", "locked": true, "points": 9, "schema_version": 3, "solution": false, "task": false}
check("add_lora", add_lora)

# %% [markdown]
# <details><summary><b>Hint 1</b>: replacing a module</summary>
#
# A module sits in its parent under its own name: `setattr(parent, own, new)`, and `model.get_submodule(path)` finds the
# parent. If you replace while you walk through the model, you will meet what is inside your new layers. Make the list first.
# </details>
# <details><summary><b>Hint 2</b>: in which order</summary>
#
# When do you freeze: before the factors are in the model, or afterwards?
# </details>
#
# Here is the layer that is put in (`merged` comes in the next exercise). It is trained like all weights before. The cell behind it
# **breaks** it: what if both factors start at 0? And if both are random?

# %% tags=["demo"]
class LoRALinear(nn.Module):
    """A linear layer with factors beside its weight."""

    def __init__(self, linear, A, B, alpha: float, dropout: float = 0.0):
        super().__init__()
        self.weight, self.bias, self.A, self.B = linear.weight, linear.bias, A, B
        self.alpha, self.dropout, self.merged = alpha, dropout, False

    def forward(self, x):
        if self.merged:
            return F.linear(x, self.weight, self.bias)
        return lora_linear(x, self.weight, self.bias, self.A, self.B, self.alpha,
                           self.dropout, self.training)  # fmt: skip


def with_lora(rank: int = 4, seed: int = 0):
    """The pre-trained model with factors in all linear layers of its blocks."""
    model = models.load_nano("base")
    generator = torch.Generator().manual_seed(device.seed(seed))
    make = lambda *parts: LoRALinear(*parts, 2.0 * rank)  # noqa: E731
    add_lora(model, adapters.LINEAR, rank, make, generator)
    return model.to(DEVICE)


adapted = with_lora()
logits_before, logits_now = (m(NEW["input_ids"]).logits.detach() for m in (base, adapted))
start_gap = (logits_now - logits_before).abs().max().item()
LORA_LR = 1e-2
fine_tune(adapted, drawn(0), LORA_LR)
adapted_look = look(adapted)
plots.show_table([{"": "all weights"} | after, {"": "LoRA"} | adapted_look])
print(f"largest difference to the model before, at the start: {start_gap:.0e}")

# %% tags=["demo"]
def broken_or_not(name: str) -> dict:
    """Twenty updates of LoRA from factors that begin otherwise."""
    model, generator = with_lora(), torch.Generator().manual_seed(device.seed(1))
    for key, weight in model.named_parameters():
        if name == "both 0" and key.endswith(".A"):
            weight.data.zero_()
        if name == "both random" and key.endswith(".B"):
            weight.data = 0.3 * torch.randn(weight.shape, generator=generator).to(DEVICE)
    at_first = read(model, CORPUS)[0]
    fine_tune(model, drawn(0)[: device.at_most(20, least=2)], LORA_LR)
    return {"corpus loss at the start": at_first, "new loss after 20": read(model, NEW)[0]}


broken = {name: broken_or_not(name) for name in ("both 0", "both random", "as it should be")}
plots.show_table([{"factors": name} | row for name, row in broken.items()])

# %% [markdown]
# If both factors are 0, nothing ever learns. If both are random, the model is hurt before it has read a single lesson, though it
# may learn quickly then.
#
# Compare LoRA's row with the line of rank 4 in exercise 3. An update that was *cut* to rank 4 afterwards is not one that was
# *learned* with rank 4 from the start: there all four directions went where the loss wanted them.
#
# ## Exercise 6: merged
#
# When the training is over, $W_0 + \frac{\alpha}{r}BA$ is a matrix like any other. Put in the place of $W_0$, it costs nothing
# more. It can also be taken out again, for the next task.


# %% nbgrader={"grade": false, "grade_id": "set_merged", "locked": false, "schema_version": 3, "solution": true, "task": false}
def set_merged(layer: nn.Module, merged: bool) -> bool:
    """Merge a layer's factors into its weight, or take them out. Whether that was still to do.

    layer has weight (d_out, d_in), A (rank, d_in), B (d_out, rank), alpha, and merged, which
    says whether the weight holds the update already. Afterwards layer.merged is as asked for,
    and the weight holds the update exactly if it is. The weight is changed in place: the layer
    keeps the same parameter, which asks for a gradient exactly if it did before. A and B stay.
    """
    ### BEGIN SOLUTION
    if layer.merged == merged:
        return False
    update = layer.alpha / len(layer.A) * layer.B @ layer.A  # (d_out, d_in)
    with torch.no_grad():
        layer.weight += update if merged else -update
    layer.merged = merged
    return True
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "set_merged_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("set_merged", set_merged)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# What does `layer.merged` tell you about a second call? How is a parameter changed in place, and without a graph?
# </details>

# %% tags=["demo"]
@torch.no_grad()
def timed(model, times: int = 5) -> float:
    """Milliseconds of a forward pass: the median."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        model(NEW["input_ids"])
        seconds.append(time.perf_counter() - began)
    return 1000 * median(seconds)


layers = [m for m in adapted.modules() if isinstance(m, LoRALinear)]
apart, ms_apart = adapted(NEW["input_ids"]).logits.detach(), timed(adapted)
for layer in layers:
    set_merged(layer, True)
merged_gap = (adapted(NEW["input_ids"]).logits - apart).abs().max().item()
ms_merged = timed(adapted)
for layer in layers:
    set_merged(layer, False)
weights_gap = max((adapted.get_submodule(n).weight - w).abs().max().item()
                  for n, w in old_weights.items())  # fmt: skip
print(f"merged: largest difference of a logit {merged_gap:.0e}, "
      f"{ms_apart:.0f} ms before and {ms_merged:.0f} ms after")  # fmt: skip
print(f"taken out: largest difference to a weight of the model before {weights_gap:.0e}")

# %% [markdown]
# ## Exercise 7: what it costs
#
# It is often written that LoRA makes the backward pass cheaper and saves much memory. Count. For one vector $x$ of $d$
# numbers, $W_0 x$ takes $d^2$ multiplications, $Ax$ takes $dr$, $B(Ax)$ takes $dr$ again, and the sum $d$ additions. So
# forward it costs a little *more*. And backward?

# %% tags=["demo"]
drawings.what_backward_needs()


# %% nbgrader={"grade": false, "grade_id": "linear_costs", "locked": false, "schema_version": 3, "solution": true, "task": false}
def linear_costs(tokens: int, d_in: int, d_out: int, rank: int | None = None) -> dict[str, int]:
    """What one training step costs in a linear layer without bias, inside of a model.

    The input is (tokens, d_in), and the layers before it need its gradient. Without a rank the
    weight itself learns. With a rank the weight is frozen, and factors A (rank, d_in) and B
    (d_out, rank) beside it learn, which are not merged; there is no dropout. Counted are

    "forward", "backward": the multiplications in products of matrices;
    "weights": the numbers of all weights, frozen ones too;
    "gradients": the numbers of their gradients;
    "optimizer": the numbers that AdamW keeps, two for each that learns;
    "activations": the numbers kept from the forward pass because the backward pass needs them,
    besides weights. What two products need is kept once.
    """
    ### BEGIN SOLUTION
    whole = tokens * d_in * d_out
    if rank is None:
        learns, forward, backward, kept = d_in * d_out, whole, 2 * whole, tokens * d_in
    else:
        learns = rank * (d_in + d_out)
        forward = whole + tokens * learns
        backward = whole + 2 * tokens * learns  # the gradient of x goes through the weight
        kept = tokens * (d_in + rank)  # x and A x
    weights = d_in * d_out + (0 if rank is None else learns)
    return {
        "forward": forward, "backward": backward, "weights": weights,
        "gradients": learns, "optimizer": 2 * learns, "activations": kept,
    }  # fmt: skip
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "linear_costs_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("linear_costs", linear_costs)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Each product $y = Mx$ with a learned $M$ has two products in the backward pass; with a frozen $M$ it has one. A frozen
# weight with factors is three such products. Which of their inputs does a *learned* one need?
# </details>
#
# **Predict.** A layer of 128 numbers in and out, rank 4, 2,000 tokens. Forward and backward together: how many
# multiplications does LoRA take, as a share of those of full training?
#
# - **a** About 6 %: that is the share of the numbers that learn.
# - **b** About a third: the backward pass is left out.
# - **c** About two thirds.
# - **d** About 100 %: all products are still there.

# %% tags=["demo"]
predict("backward_cost", "")

# %% tags=["demo"]
TOKENS, WIDTH = 2000, 128
x = torch.randn(TOKENS, WIDTH, generator=torch.Generator().manual_seed(device.seed(0)))
x.requires_grad_()
predicted = {rank: linear_costs(TOKENS, WIDTH, WIDTH, rank) for rank in (None, 4, 64)}
measured = {}
for rank in predicted:
    layer = nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False))
    if rank:
        add_lora(layer, ["0"], rank, lambda *parts: LoRALinear(*parts, 8.0),
                 torch.Generator().manual_seed(device.seed(0)))  # fmt: skip
    measured[rank] = costs.measured(layer, lambda layer=layer: layer(x))
plots.show_table([
    {"rank": rank or "all of W", "": kind} | row
    for rank in predicted
    for kind, row in (("predicted", predicted[rank]), ("measured", measured[rank]))
])  # fmt: skip
full, low = (measured[r]["forward"] + measured[r]["backward"] for r in (None, 4))
cost_share, learned_share = low / full, measured[4]["gradients"] / measured[None]["gradients"]
came = "abcd"[sum(cost_share > limit for limit in (0.2, 0.5, 0.85))]
reveal("backward_cost", came, share=cost_share, learned=learned_share)

# %% tags=["demo"]
def whole_step(model) -> dict:
    """What a training step on one batch of lessons costs, in the whole model."""
    batch = drawn(0)[0]
    read_batch = {k: batch[k] for k in ("input_ids", "attention_mask")}
    return costs.measured(model, lambda: model(**read_batch).logits)


trainable = copy.deepcopy(base)
train_only(trainable, ["model"])
step_costs = {"all weights": whole_step(trainable), "LoRA, rank 4": whole_step(with_lora())}
millions = {
    name: {k: f"{n / 1e6:.2f}" for k, n in row.items()} for name, row in step_costs.items()
}
plots.show_table([{"": name} | row for name, row in millions.items()],
                 caption="the whole nano model, one batch, in millions")  # fmt: skip
print("A model of 7 billion weights in 2 bytes, with gradients alike and AdamW in 4 bytes: "
      f"{7 * (2 + 2 + 8)} GB, and with 0.5 % of it as factors {7 * 2 + 0.035 * 12:.0f} GB.")

# %% [markdown]
# The gradient still has to pass *through* the frozen weight, to the layers before. What falls away is one product of three.
# So at most a third of the multiplications is saved. The memory of gradients and optimizer almost disappears. The weights are
# still there, and the activations too. What that means depends on which of them is large.
#
# ---
# **A good place for a break.** You have frozen, trained, factored, merged and counted. The second part has other ways to
# change a weight by few numbers, and then all eight on one task.
#
# ---

# %% [markdown]
# # Part 2: other ways with few numbers
#
# Two pictures first: one for exercise 8, one for exercise 9.
#
# ## Exercise 8: length and direction
#
# Each row of a weight has a length and a direction. Liu et al. (2024) watched how both change, and found that full
# fine-tuning and LoRA do it in different patterns. **DoRA** learns the two apart: factors turn a row, and one number gives it
# its length,
#
# $$ W_i = m_i\, \frac{W_{0,i} + \frac{\alpha}{r}(BA)_i}{\lVert W_{0,i} + \frac{\alpha}{r}(BA)_i \rVert}. $$
#
# In the backward pass the paper counts the length below the line as a constant. That saves memory and hardly changes the
# result.

# %% tags=["demo"]
frozen_row, lora_row = [1.0, 0.35], [0.45, 1.1]
display(drawings.length_and_direction(frozen_row, lora_row, length=1.45))
drawings.before_the_text(3, ["in", "northern", ":", "the", "fox"])


# %% nbgrader={"grade": false, "grade_id": "dora_weight", "locked": false, "schema_version": 3, "solution": true, "task": false}
def dora_weight(
    weight: torch.Tensor, A: torch.Tensor, B: torch.Tensor,
    alpha: float, magnitude: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """DoRA's weight, (d_out, d_in).

    weight: (d_out, d_in), the frozen one; A: (rank, d_in); B: (d_out, rank); magnitude:
    (d_out,). Each row has the direction of the same row of the weight that LoRA would give,
    and the length that magnitude says. Gradients flow to A, B and magnitude. As in the paper,
    the length by which a row is divided counts as a constant there.
    """
    ### BEGIN SOLUTION
    rows = weight.detach() + alpha / len(A) * B @ A  # (d_out, d_in)
    lengths = rows.detach().norm(dim=1)  # (d_out,)
    return (magnitude / lengths)[:, None] * rows
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "dora_weight_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("dora_weight", dora_weight)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# torch's weight is (d_out, d_in): over which dimension is the length of a row? Which single tensor do you detach, so that the
# direction still gets a gradient?
# </details>
#
# ## Exercise 9: keys and values before the text
#
# **Prefix tuning** (Li and Liang 2021) leaves all weights alone. In each layer, learned keys and values stand before those
# of the text, and every token attends to them. It is as if there were a text before, but one that
# no words could write. The second picture above shows who attends to what.
#
# transformers keeps the keys and values of a text in a cache, so that the next token need not read it again. You can
# fill such a cache yourself: `cache = DynamicCache()`, and `cache.update(keys, values, layer)` puts (batch, heads, p,
# head_dim) into a layer. A model that is given `past_key_values=cache` finds them there.


# %% nbgrader={"grade": false, "grade_id": "prefix_logits", "locked": false, "schema_version": 3, "solution": true, "task": false}
def prefix_logits(
    model, prefix: torch.Tensor, input_ids: torch.Tensor, attention_mask: torch.Tensor
) -> torch.Tensor:
    """The logits of a model with keys and values before each row, (batch, seq, vocab).

    prefix: (layers, 2, heads, p, head_dim): for each layer the keys, then the values, of p
    places that every token of every row attends to. input_ids, attention_mask: (batch, seq);
    padding may stand on either side. The first real token of each row has the position p, the
    next one p + 1, and so on. Only the logits of real tokens matter. Gradients flow to the
    prefix.
    """
    ### BEGIN SOLUTION
    cache = DynamicCache()
    for layer, (keys, values) in enumerate(prefix):  # (heads, p, head_dim) each
        both = (x.expand(len(input_ids), -1, -1, -1) for x in (keys, values))
        cache.update(*both, layer)
    places = prefix.shape[3]
    mask = F.pad(attention_mask, (places, 0), value=1)  # (batch, p + seq)
    positions = (mask.cumsum(1) - 1)[:, places:]  # (batch, seq)
    read = model(
        input_ids=input_ids, attention_mask=mask, position_ids=positions, past_key_values=cache
    )
    return read.logits
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "prefix_logits_check", "locked": true, "points": 9, "schema_version": 3, "solution": false, "task": false}
check("prefix_logits", prefix_logits)

# %% [markdown]
# <details><summary><b>Hint 1</b>: the mask</summary>
#
# The attention mask says for each *key* whether it may be seen. How many keys are there now, in a row of seq tokens?
# </details>
# <details><summary><b>Hint 2</b>: the positions</summary>
#
# The model takes `position_ids` (batch, seq). With padding on the left, the first real token is not in column 0. What does
# `mask.cumsum(1)` count?
# </details>
#
# ## Exercise 10: an orthogonal matrix
#
# Everything so far *adds* to a weight, or to the text. One can also multiply: $W = Q W_0$ with an orthogonal $Q$ (OFT, Qiu
# et al. 2023). It turns the outputs of the layer. Lengths and angles between what it gives stay, and so do the singular values
# of the weight. But how is a matrix learned that must stay orthogonal? By numbers that may be anything. A skew-symmetric $S$
# ($S^\top = -S$) has $b(b-1)/2$ free entries, and **Cayley's** map makes an orthogonal matrix of it:
#
# $$ Q = (I + S)(I - S)^{-1}. $$


# %% nbgrader={"grade": false, "grade_id": "cayley", "locked": false, "schema_version": 3, "solution": true, "task": false}
def cayley(entries: torch.Tensor) -> torch.Tensor:
    """Orthogonal matrices (n, b, b) from numbers that may be anything.

    entries: (n, b (b - 1) / 2): for each matrix the entries of a skew-symmetric S that stand
    above its diagonal, row by row. The matrix is Q = (I + S) (I - S)⁻¹. Gradients flow to
    the entries.
    """
    ### BEGIN SOLUTION
    n, count = entries.shape
    b = 1 + math.isqrt(2 * count)  # 2 * count is b * b - b
    rows, columns = torch.triu_indices(b, b, 1)
    upper = entries.new_zeros(n, b, b)
    upper[:, rows, columns] = entries
    skew = upper - upper.mT
    one = torch.eye(b).to(skew)
    return torch.linalg.solve(one - skew, one + skew)  # the two factors may change places
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "cayley_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("cayley", cayley)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# How many rows belong to how many entries? `torch.triu_indices(b, b, 1)` names the places above the diagonal, row by row. What
# stands below? For the inverse, `torch.linalg.solve` is exact and has a gradient.
# </details>
#
# ## Exercise 11: blocks, butterflies, shuffles
#
# A whole $Q$ for a weight with 352 rows has 61,776 free numbers, more than the weight itself has if it is 352 × 128. So $Q$
# is made of small blocks.
# - **OFT** takes one block-diagonal matrix. Each block mixes neighbours, and nothing else is mixed.
# - **BOFT** (Liu et al. 2023) multiplies several, each with other groups: a *butterfly*. In the first factor a group is
#   two pieces side by side. In the next one they are twice as far apart, and so on.
# - **GSOFT** (Gorbunov et al. 2024) takes two factors with a *shuffle* between: neighbours first, and then numbers that are
#   as far apart as there are blocks.
#
# All three are one function: which numbers form a group?


# %% nbgrader={"grade": false, "grade_id": "rotate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def rotate(
    x: torch.Tensor, blocks: torch.Tensor, distance: int = 1, chunk: int = 1
) -> torch.Tensor:
    """Apply small matrices to groups of numbers in the last dimension of x. The shape stays.

    x: (..., d); blocks: (n, b, b) with n b = d. The d numbers are cut into pieces of `chunk`
    neighbours; chunk divides b, and b * distance divides d. A group is b / chunk pieces, each
    `distance` pieces behind the last one; each piece is in one group. The groups are in the
    order of their first pieces. Block i is multiplied with the numbers of group i, and the
    products go to the places that these numbers had.
    """
    ### BEGIN SOLUTION
    n, b = blocks.shape[:2]
    pieces = x.unflatten(-1, (n // distance, b // chunk, distance, chunk))
    groups = pieces.transpose(-3, -2).flatten(-4, -3).flatten(-2)  # (..., n, b)
    turned = torch.einsum("nij,...nj->...ni", blocks, groups)
    turned = turned.unflatten(-1, (b // chunk, chunk)).unflatten(-3, (n // distance, distance))
    return turned.transpose(-3, -2).flatten(-4)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "rotate_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("rotate", rotate)

# %% [markdown]
# <details><summary><b>Hint 1</b>: a small case</summary>
#
# Write down the groups of 12 numbers in blocks of three with distance 4. Now with blocks of three and distance 2. Which reshape
# of (0, …, 11) puts the numbers of a group into one column?
# </details>
# <details><summary><b>Hint 2</b>: four dimensions</summary>
#
# Number = ((stretch · pieces + piece) · distance + offset) · chunk + place. Which two say which group it is: stretch, piece,
# offset or place?
# </details>
#
# Which numbers are mixed with which? Here are blocks of 8 in matrices of 64 rows. Then it is measured whether they are orthogonal,
# and whether the singular values of a weight stay. For comparison, “symmetric”: somebody forgot the minus in $S$.

# %% tags=["demo"]
def turning(kind: str, factors: int = 2, width: int = 64, block: int = 8) -> torch.Tensor:
    """A random orthogonal matrix of this kind."""
    rows = torch.eye(width)
    for i, (distance, chunk) in enumerate(
        adapters.rotation_plan(kind, width, block, factors)
    ):
        generator = torch.Generator().manual_seed(device.seed(i))
        numbers = torch.randn(width // block, block * (block - 1) // 2, generator=generator)
        rows = rotate(rows, cayley(numbers), distance, chunk)
    return rows.T


turns = {"OFT": turning("OFT"), "BOFT, 2 factors": turning("BOFT"),
         "BOFT, 4 factors": turning("BOFT", 4), "GSOFT": turning("GSOFT")}  # fmt: skip
display(drawings.what_is_mixed(turns))
weight = old_weights["model.layers.1.self_attn.q_proj"].cpu()[:64]
values = torch.linalg.svdvals(weight)
draw = torch.Generator().manual_seed(device.seed(0))
upper = torch.randn(64, 64, generator=draw).triu(1)
symmetric = 0.1 * (upper + upper.T)
wrong = torch.linalg.solve(torch.eye(64) - symmetric, torch.eye(64) + symmetric)
orthogonal = {}
for name, Q in (turns | {"symmetric": wrong}).items():
    orthogonal[name] = {
        "QᵀQ - I": (Q.T @ Q - torch.eye(64)).abs().max().item(),
        "singular values of QW": (torch.linalg.svdvals(Q @ weight) - values).abs().max().item(),
    }
rows = [
    {"largest change": name} | {k: f"{v:.0e}" for k, v in row.items()}
    for name, row in orthogonal.items()
]
plots.show_table(rows)

# %% [markdown]
# With two factors, a shuffle reaches everything here. A butterfly needs $1 + \log_2(64/8) = 4$.
#
# ## Yours and peft's
#
# The library `peft` has all of these but GSOFT. We put the same numbers into its modules. (It turns a layer's *inputs*, $W_0
# Q$, and not its outputs. So it is held against your functions on x.)

# %% tags=["demo"]
draw = torch.Generator().manual_seed(device.seed(0))
random_numbers = lambda *shape: torch.randn(shape, generator=draw)  # noqa: E731
linear, x = nn.Linear(24, 10), random_numbers(5, 24)
A, B, lengths = random_numbers(3, 24), random_numbers(10, 3), 0.5 + random_numbers(10).abs()
entries = [0.5 * random_numbers(6, 6) for _ in range(2)]
turned = rotate(rotate(x, cayley(entries[1]), 2, 2), cayley(entries[0]), 1, 2)
small = models.load_nano("base")
ids = torch.tensor([lesson[0][:12] for lesson in lessons[:3]])
prefix, mask = adapters.new_prefix(small, 5, device.seed(0)), torch.ones_like(ids)
with torch.no_grad():
    both = {
        "LoRA": (lora_linear(x, linear.weight, linear.bias, A, B, 6.0),
                 peft_layers.lora(x, linear, A, B, 6.0)),
        "DoRA": (F.linear(x, dora_weight(linear.weight, A, B, 6.0, lengths), linear.bias),
                 peft_layers.dora(x, linear, A, B, 6.0, lengths)),
        "OFT": (linear(rotate(x, cayley(entries[0]))), peft_layers.oft(x, linear, entries[0])),
        "BOFT": (linear(turned), peft_layers.boft(x, linear, entries)),
        "prefix": (prefix_logits(small, prefix, ids, mask),
                   peft_layers.prefix(small, prefix, ids, mask)),
    }  # fmt: skip
agreement = {name: (ours - theirs).abs().max().item() for name, (ours, theirs) in both.items()}
plots.show_table([{"largest difference": n, "": f"{gap:.0e}"} for n, gap in agreement.items()])

# %% [markdown]
# ## All eight on one task
#
# Now the comparison. Each method gets the same number of updates and the same batches. A learning rate that suits one does
# not suit another. So each begins with a low rate and doubles it until its loss on sentences that are kept for that gets
# worse, six rates at most. The best one runs with two more seeds: other batches, and other numbers to begin with.
#
# First, what does each of them change before anything is learned? One cannot begin as the model did: a prefix takes attention
# from the text, whatever is in it. Here it begins with the keys and values of a lesson.
#
# **Predict.** Which forgets more of the corpus: full fine-tuning with its best rate, or LoRA with its own?
#
# - **a** Full fine-tuning: it can change everything, and LoRA only little.
# - **b** LoRA.
# - **c** About the same, within a tenth of a nat.

# %% tags=["demo"]
def prepared(method: str, seed: int):
    """The pre-trained model, with what this method learns; the rest is frozen."""
    if method == "LoRA":
        return with_lora(4, seed)
    model = models.load_nano("base")
    generator = torch.Generator().manual_seed(device.seed(seed))
    if method in ("all weights", "last layer"):
        train_only(model, ["model"] if method == "all weights" else LAST)
    elif method == "DoRA":
        make = lambda *parts: adapters.DoRALinear(*parts, 8.0, dora_weight)  # noqa: E731
        add_lora(model, adapters.LINEAR, 4, make, generator)
    elif method == "prefix":
        start = adapters.read_prefix(model, lessons[seed][0][:16])
        model = adapters.WithPrefix(model, start, prefix_logits)
    else:
        adapters.turn_layers(model, adapters.LINEAR, 8, method, cayley, rotate)
    return model.to(DEVICE)


probe = {k: NEW[k] for k in ("input_ids", "attention_mask")}
METHODS = ("all weights", "last layer", "LoRA", "DoRA", "prefix", "OFT", "BOFT", "GSOFT")
real_places = probe["attention_mask"].bool()
at_start = {}
with torch.no_grad():
    for method in METHODS:
        change = prepared(method, 0)(**probe).logits - base(**probe).logits
        at_start[method] = change[real_places].abs().max().item()
plots.show_table([{"change of a logit at the start": m, "": f"{c:.0e}"}
                  for m, c in at_start.items()])  # fmt: skip

# %% tags=["demo"]
predict("which_forgets_more", "")

# %% tags=["demo"]
LOWEST = {"all weights": 1e-3, "last layer": 4e-3, "LoRA": 8e-3, "DoRA": 8e-3, "prefix": 5e-2,
          "OFT": 1e-2, "BOFT": 5e-3, "GSOFT": 5e-3}  # fmt: skip


def run(method: str, lr: float, seed: int) -> dict:
    """A training run: what it cost and what it reached."""
    model = prepared(method, seed)
    began = time.perf_counter()
    fine_tune(model, drawn(seed), lr)
    seconds = time.perf_counter() - began
    learns = sum(p.numel() for p in model.parameters() if p.requires_grad)
    choice = read(model, TO_CHOOSE)[0]
    return {"lr": lr, "learns": learns, "seconds": seconds, "choice": choice, **look(model)}


def sweep(method: str, most: int = 6) -> list[dict]:
    """Runs with rising rates, each twice the last, until one is worse."""
    found = [run(method, LOWEST[method], 0)]
    while len(found) < most and found[-1] is min(found, key=itemgetter("choice")):
        found.append(run(method, 2 * found[-1]["lr"], 0))
    return found


sweeps, runs = {}, {}
for method in tqdm(METHODS, desc="eight methods"):
    sweeps[method] = sweep(method)
    best = min(sweeps[method], key=itemgetter("choice"))
    runs[method] = [best, *(run(method, best["lr"], seed) for seed in (1, 2))]

# %% tags=["demo"]
total = sum(p.numel() for p in base.parameters())
keep = {method: whole_step(prepared(method, 0)) for method in METHODS}
table, spent = {}, []
for method, found in runs.items():
    middle = {k: median(one[k] for one in found) for k in found[0]}
    tried = [one["lr"] for one in sweeps[method]]
    spent.append({
        "": method, "rate": f"{middle['lr']:g}", "tried": f"{tried[0]:g} to {tried[-1]:g}",
        "learns": f"{middle['learns'] / total:.1%}",
        "gradients, optimizer": f"{keep[method]['gradients'] + keep[method]['optimizer']:,}",
        "activations": f"{keep[method]['activations']:,}", "seconds": middle["seconds"],
    })  # fmt: skip
    table[method] = {k: middle[k] for k in (*before, "seconds")}
plots.show_table(spent, caption="what it took; memory in numbers, one batch")
reached = {"before": before} | table
plots.show_table([{"": m} | {k: row[k] for k in before} for m, row in reached.items()],
                 caption="what it reached: medians of three seeds")  # fmt: skip
corpus = {m: table[m]["corpus loss"] for m in table}
gap = corpus["all weights"] - corpus["LoRA"]
came = "a" if gap > 0.1 else "b" if gap < -0.1 else "c"
reveal("which_forgets_more", came, corpus=corpus, before=before)
figure, axes = plt.subplots(figsize=(8, 4.2))
for method, color in zip(runs, (*plots.CYCLE, "#444444", plots.GREY)):
    for found, size in ((sweeps[method], 4), (runs[method], 8)):
        points = [(one["new loss"], one["corpus loss"]) for one in found]
        axes.plot(*zip(*points), "o", color=color, ms=size, label=method if size > 4 else None)
axes.axhline(before["corpus loss"], color=plots.GREY, linestyle="--", linewidth=1)
axes.set(xscale="log", xlabel="loss of the new task (left is better)",
         ylabel="loss of the corpus", title="small dots: other rates")  # fmt: skip
axes.legend(ncols=2)
plt.show()
plots.show_table([
    {"": method} | {f"{what}, {speed} rate": one[what]
                    for what in ("new", "corpus loss")
                    for speed, one in zip(("lowest", "best", "highest"),
                                          (tried[0], runs[method][0], tried[-1]))}
    for method, tried in sweeps.items()
], caption="seed 0: the lowest rate that was tried, the best, and the highest")  # fmt: skip

# %% [markdown]
# Read the first two tables in two directions. *Down* the column of the new task: which methods come near to each other, with
# how many numbers? *Across* a row: what did it cost? The time of a step falls far less than the number of weights that learn, and
# some of these methods make it longer.
#
# Now the forgetting. How much a method forgets depends on how far it goes, and its learning rate decides that. The
# third table says what other rates would have given. So compare methods *at one level of the new task*, as in the
# picture: which dots lie low, among those that are equally far left?
#
# “Full fine-tuning is the most stable way and has the best quality” is not one statement but four: about the new task, about
# the old one, about seeds, about rates. For each you now have a number. And few numbers that learn are no guarantee that
# little is forgotten. With LoRA one can take the update out again, which is another matter: the old model is still there.
#
# ## Exercise 12: several updates under a budget (open)
#
# Somebody has fine-tuned all weights of a model. You want to send the updates of six layers to others, and may send 3,000
# numbers. The updates are of different sizes. Some are nearly of low rank, and others are not. You also have some of the
# inputs that each layer is given: they are large in some directions, and small in most.
#
# What is measured: on *other* inputs of the same kind, the squared outputs of the six updates together, minus the squared error
# of what your factors give in their place; as a share. The bars are 0.54, 0.63 and 0.76, each for four such models. The nearest
# matrices of one rank for all reach the first.


# %% nbgrader={"grade": false, "grade_id": "compress_updates", "locked": false, "schema_version": 3, "solution": true, "task": false}
def compress_updates(
    updates: list[torch.Tensor], inputs: list[torch.Tensor], budget: int
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each update two factors B and A, so that together they keep much of what it does.

    updates: one (d_out, d_in) a layer. inputs: what the layer is given, one (tokens, d_in) a
    layer; an update adds inputs @ update.T to what the layer gives. B (d_out, rank) and A
    (rank, d_in) stand in its place; the rank may be another one in each layer, and 0. All
    factors together hold at most `budget` numbers.
    """
    ### BEGIN SOLUTION
    # The error of the outputs is |(update - B A) S|², with S Sᵀ = E[x xᵀ]. So take what is
    # nearest to update S, and undo S. Then buy ranks: the one that keeps most a number first.
    parts, offers = [], []
    for layer, (update, x) in enumerate(zip(updates, inputs)):
        moments = x.double().T @ x.double() / len(x)  # (d_in, d_in)
        values, axes = torch.linalg.eigh(moments)
        root = values.clamp(min=1e-9).sqrt()
        u, s, vt = torch.linalg.svd(update.double() @ (axes * root), full_matrices=False)
        parts.append((u * s, vt / root @ axes.T))
        price = sum(update.shape)
        offers += [(gain / price, layer, price) for gain in s.square().tolist()]
    ranks = [0] * len(updates)
    for _, layer, price in sorted(offers, reverse=True):
        if price <= budget:
            ranks[layer] += 1
            budget -= price
    return [(B[:, :r].float(), A[:r].float()) for r, (B, A) in zip(ranks, parts)]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "compress_updates_check", "locked": true, "points": 9, "schema_version": 3, "solution": false, "task": false}
check("compress_updates", compress_updates)

# %% [markdown]
# <details><summary><b>Where to think further</b></summary>
#
# - A rank costs $d_{out} + d_{in}$ numbers. In which layer does the next one bring most a number?
# - “Nearest” counts all directions of the input alike. Which error do you want to be small? Write it with $\mathbb{E}[x
#   x^\top]$.
# - $\lVert (\Delta W - BA)\,S \rVert$ for a matrix $S$ that can be inverted: what is the best $BA\,S$ of a rank? And then $A$?
# </details>
#
# ## The same functions on a real model
#
# SmolLM2-135M-Instruct again, and the manner of a pirate from chapter 2. There `peft` put factors beside the weights. Here it is
# your `add_lora` and your layer, trained by your loop.

# %% tags=["demo"]
torch.set_num_threads(device.threads())  # this one is large enough to use them
render_chat = earlier("render_chat", methods.render_chat)
generate_answers = earlier("generate_answers", methods.generate_answers)
nano_records = [data.load_jsonl(f"instructions_{split}") for split in ("train", "heldout")]
real = manners.load_manner(
    device.updates(16, least=2), models.load_nano("sft"), tokenizer, *nano_records)  # fmt: skip
print(real.note)
real_pad, real_device = real.tokenizer.pad_token_id, real.model.device


def real_batches(records: list[dict], answer: str, size: int = 8) -> list[dict]:
    """Batches of conversations; answer: "answer" (in the manner) or "plain"."""
    examples = pairs.chat_examples(real, records, answer, render_chat)
    return [
        {k: v.to(real_device) for k, v in collate(examples[i : i + size], real_pad).items()}
        for i in range(0, len(examples), size)
    ]


PLAIN = real_batches(real.heldout, "plain")


def real_look(model) -> dict:
    """Shares in the manner and with the fact, the loss of plain answers, and the answers."""
    said = pairs.chat_answers(real, model, render_chat, collate, generate_answers)
    named = [real.names_fact(text, r["fact"]) for text, r in zip(said, real.heldout)]
    return {
        "in the manner": sum(map(real.in_manner, said)) / len(said),
        "names the fact": sum(named) / len(named),
        "loss of a plain answer": sum(read(model, batch)[0] for batch in PLAIN) / len(PLAIN),
        "said": said,
    }


# %% tags=["demo"]
real_table = {"before": real_look(real.model)}
real_lora = lambda linear, A, B: LoRALinear(linear, A, B, 16.0).to(linear.weight)  # noqa: E731
names = add_lora(real.model, adapters.LINEAR, 8, real_lora,
                 torch.Generator().manual_seed(device.seed(0)))  # fmt: skip
sizes = [(p.requires_grad, p.numel()) for p in real.model.parameters()]
real_share = sum(n for learns, n in sizes if learns) / sum(n for _, n in sizes)
print(f"{len(names)} layers, {real_share:.1%} of the numbers learn")
UPDATES = device.updates(12, least=2) if real.real else device.at_most(60, least=2)
steps = real_batches(real.train[: 8 * UPDATES], "answer")
began = time.perf_counter()
fine_tune(real.model, steps, 2e-3 if real.real else 5e-3)
real_seconds = time.perf_counter() - began
real_table["LoRA"] = real_look(real.model)
for layer in real.model.modules():
    if isinstance(layer, LoRALinear):
        set_merged(layer, True)
real_table["merged"] = real_look(real.model)
plots.show_table([
    {real.name: when} | {k: v for k, v in row.items() if k != "said"}
    for when, row in real_table.items()
])  # fmt: skip
columns = zip(real.heldout, *(real_table[when]["said"] for when in ("before", "LoRA")))
plots.show_table([{"asked": r["prompt"], "before": a, "after": b} for r, a, b in columns][:6])

# %% [markdown]
# The manner is learned from a hundred conversations or so, with less than 3 in 100 of the numbers. Read the other columns: what
# became of the facts, and of plain answers? Merged, the model says the same and is as fast as it was.
#
# ## What you measured

# %% tags=["demo"]
def listed(numbers: dict[str, float], digits: int) -> str:
    return ", ".join(f"{name} {n:.{digits}f}" for name, n in numbers.items())


by_method = {
    k: {m: row[k] for m, row in table.items()} for k in ("new", "corpus loss", "seconds")
}
print(f"""In this run:
- Directions for 90 % of the square: {listed(needed, 0)}.
- New task with updates of rank 4: {truncated[4]["new"]:.2f}, with whole ones \
{truncated[128]["new"]:.2f}; the square that rank 4 keeps: {truncated[4]["square kept"]:.2f}.
- LoRA's multiplications, of those of full training: {cost_share:.0%}; numbers that learn: \
{learned_share:.1%}.
- Merged: {merged_gap:.0e} of difference, {ms_apart:.0f} ms before, {ms_merged:.0f} ms after.
- Your layers and peft's differ by at most {max(agreement.values()):.0e}.
- New task, all right: {listed(by_method["new"], 2)}.
- Corpus loss, {before["corpus loss"]:.2f} before: {listed(by_method["corpus loss"], 2)}.
- Seconds: {listed(by_method["seconds"], 1)}.
- {real.name}, {len(steps)} updates with {real_share:.1%} of the numbers: in the manner \
{real_table["before"]["in the manner"]:.2f} before,
  {real_table["LoRA"]["in the manner"]:.2f} after; names the fact \
{real_table["before"]["names the fact"]:.2f} and \
{real_table["LoRA"]["names the fact"]:.2f}.""")

# %% [markdown]
# ## Questions
#
# <details><summary>1. “LoRA works since hidden states lie near a surface of few dimensions.” What is right about it?</summary>
#
# The hypothesis is about the *update* of the weights: that a matrix of low rank is enough to change what a model does. Hidden states
# are another matter; you measured both. And even the update of full fine-tuning need not *be* of low rank. Your table says how
# much of its square a rank keeps, and how well the model does with it. These are two questions, with two answers.
# </details>
# <details><summary>2. Why is the memory saved mostly that of the optimizer, and when is it nothing?</summary>
#
# AdamW keeps two numbers for each that learns, often in 4 bytes, and a gradient comes on top. With LoRA almost all of that goes. The
# weights stay. So do activations: for long rows and large batches they are most of the memory, and then little is saved. (Weights can
# be stored in 4 bits while they are frozen: QLoRA, Dettmers et al. 2023. Activations can be computed twice instead of kept.)
# </details>
# <details><summary>3. Is an orthogonal $Q$ safer, because singular values stay?</summary>
#
# It cannot make a weight large, nor lose a direction. But turned outputs are other outputs: the next layers get what they did not
# expect. Look at the corpus column. How far a method goes decides more than its form.
# </details>
# <details><summary>4. Somebody merges an adapter, saves the model, loads it, and merges again. What does the model compute, and how would you
# notice?</summary>
#
# $W_0 + 2\frac{\alpha}{r}BA$: the update twice. Nothing fails. The manner is exaggerated, and other answers get worse. A layer that
# notes whether it is merged, and a test that compares logits before and after, would have shown it.
# </details>
#
# ## What was not shown
#
# Large models, where few numbers are a necessity. Ranks, targets and scales were not tuned, only the rate, in steps of two; with more
# updates the order of the methods may be another one. BOFT and GSOFT had two factors and blocks of 8, because the weights here are small.
# Their other sizes, and prefix tuning with a network that makes the prefix, were not tried.
#
# **To read**: Hu et al. 2021, *LoRA: Low-Rank Adaptation of Large Language Models* (arXiv:2106.09685); Liu et al. 2024, *DoRA:
# Weight-Decomposed Low-Rank Adaptation* (arXiv:2402.09353); Li and Liang 2021, *Prefix-Tuning: Optimizing Continuous Prompts for Generation*
# (arXiv:2101.00190); Qiu et al. 2023, *Controlling Text-to-Image Diffusion by Orthogonal Finetuning* (OFT, arXiv:2306.07280); Liu et al. 2023,
# *Parameter-Efficient Orthogonal Finetuning via Butterfly Factorization* (BOFT, arXiv:2311.06243); Gorbunov et al. 2024, *Group and Shuffle:
# Efficient Structured Orthogonal Parametrization* (GSOFT, arXiv:2406.10019); Aghajanyan et al. 2020, *Intrinsic Dimensionality Explains the
# Effectiveness of Language Model Fine-Tuning* (arXiv:2012.13255); Biderman et al. 2024, *LoRA Learns Less and Forgets Less*
# (arXiv:2405.09673); Dettmers et al. 2023, *QLoRA: Efficient Finetuning of Quantized LLMs* (arXiv:2305.14314).

# %%
progress("07_finetuning")
