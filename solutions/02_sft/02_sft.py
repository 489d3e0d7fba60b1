# %% [markdown]
# # 2 · Supervised fine-tuning
#
# A pre-trained model has read many facts. In this chapter you teach it to answer questions, by showing it a few
# thousand answers. You write every piece yourself, from the conversation to the loss to the training loop. Then you
# run the same functions on a real chat model.
#
# **You will be able to**
# - turn a conversation into tokens and say which of them are trained on;
# - write the masked loss, and see that it is the one in the library `trl`;
# - say how the log-probability of an answer differs from its mean over tokens, and why every later chapter needs the
#   sum;
# - fine-tune, generate and measure, and pack several conversations into a row without mixing them;
# - name three things that supervised fine-tuning cannot give you, each from a number you measured.
#
# | exercise | difficulty | minutes | | exercise | difficulty | minutes |
# |---|---|---|---|---|---|---|
# | 1 a conversation as tokens | ● ● ○ | 15 | | 6 how likely is an answer | ● ● ○ | 10 |
# | 2 what is supervised | ● ○ ○ | 5 | | 7 the training loop | ● ● ○ | 15 |
# | 3 too long | ● ● ○ | 10 | | 8 answers that end | ● ● ● | 20 |
# | 4 a batch | ● ○ ○ | 5 | | 9 packing | ● ● ● | 20 |
# | 5 the loss of the answer | ● ● ○ | 5 | | 10 the fewest rows (open) | ● ● ● | 15 |
#
# You need chapter 1, or to know what a causal language-modelling loss is. Hints are folded, and stand behind most
# checks.

# %% tags=["imports"]
import math
import random
from collections import Counter

import torch
import torch.nn.functional as F

from autograder import check, predict, progress, reveal

# %% [markdown]
# ## The model before fine-tuning
#
# The next cell loads the pre-trained model, and a set of instructions that it has never seen: questions about facts
# of its world, sums, and short stories with a question at the end. Each has one right answer, either as a sentence or
# in one word.
#
# **Predict.** At the end of chapter 1 a pre-trained model was asked for a capital, and mostly wrote another question.
# It drew its words at random. The model here was trained on the same texts, for up to three times as long, and it
# takes the most likely word at every place (*greedy*). We give it held-out questions as plain text, such as
# `what is the flag of pelland ?`. How will it go on?
#
# - **a** With the answer: it knows more now, and its words are no longer drawn at random.
# - **b** With another question, as before.
# - **c** With neither: with the end of the text, or with words without sense.

# %% tags=["demo"]
import matplotlib.pyplot as plt
from IPython.display import display
from tqdm.auto import tqdm

from course import batches, data, device, exposure, libraries, manners, models, plots
from course.drawings import c02 as drawings

plots.use_style()
torch.set_num_threads(1)  # the nano model gains little from more threads
print(device.describe_machine())
DEVICE = device.device()
tokenizer = data.load_tokenizer()
base = models.load_nano("base").to(DEVICE)
train_records, kept_back = (data.load_jsonl(f"instructions_{s}") for s in ("train", "heldout"))
heldout = [record for record in kept_back if record["kind"] in ("facts", "reading")]
beyond = [record for record in kept_back if record not in heldout]  # they go further: see below
print(f"{len(train_records):,} instructions to learn from, {len(heldout)} held out")
for kind in ("facts", "sums", "reading"):
    record = next(record for record in kept_back if record["kind"] == kind)
    print(f"\n{kind:>8}: {record['prompt']}\n          → {record['answer']}")

# %% tags=["demo"]
predict("asked_a_question", "")


# %% tags=["demo"]
@torch.no_grad()
def continuations(model, texts: list[str], new: int = 12) -> list[str]:
    """What the model writes after each text, greedily."""
    texts = [f"<bos> {text}" for text in texts]
    rows = tokenizer(texts, padding=True, padding_side="left", return_tensors="pt").to(DEVICE)
    ids, mask = rows.input_ids, rows.attention_mask
    pad = tokenizer.pad_token_id
    written = model.generate(
        ids, attention_mask=mask, max_new_tokens=new, do_sample=False, pad_token_id=pad
    )  # (batch, seq + new)
    return tokenizer.batch_decode(written[:, ids.shape[1] :].cpu(), skip_special_tokens=True)


known = [
    r for r in kept_back if r["kind"] in ("facts", "sums_in_full") and r["style"] == "full"
]
goes_on = continuations(base, [record["prompt"] for record in known])
asks_back = sum(t.split()[:1] in (["what"], ["who"], ["where"]) for t in goes_on) / len(known)
answers_it = sum(r["answer"] in text for r, text in zip(known, goes_on)) / len(known)
rows = [{"you ask": r["prompt"], "it goes on": text} for r, text in zip(known, goes_on)]
plots.show_table(rows[:: len(rows) // 6])
came = "b" if asks_back > 0.5 else "a" if answers_it > 0.5 else "c"
reveal("asked_a_question", came, asks_back=asks_back, answers_it=answers_it, asked=len(known))

# %% tags=["demo"]
# What does it know? Write the beginning of the answer, and let it say the word that matters.
begun = [record["answer"].rsplit(" ", 2)[0] for record in known]
finishes = continuations(base, begun, new=1)
knows = sum(r["answer"].split()[-2] == word for r, word in zip(known, finishes)) / len(known)
rows = [{"you begin": text, "it says": word} for text, word in zip(begun, finishes)]
plots.show_table(rows[:: len(rows) // 6])
print(f"with the answer begun, it finishes {knows:.0%} of {len(known)} rightly")

# %% [markdown]
# So the model knows the facts, but it does not answer. To change that, collect prompts $x$ and answers $y$ that
# people wrote, and go on training with the same loss as before, on the answers only,
#
# $$ \mathcal{L}(\theta) = -\sum_{(x, y)} \sum_t \log p_\theta(y_t \mid x, y_{<t}). $$
#
# That is **supervised fine-tuning**, SFT (Wei et al. 2021; Ouyang et al. 2022). The rest of the chapter is about the
# details: mistakes in them often do not show in the loss curve.
#
# ## A conversation is a text with marks
#
# A language model reads one row of tokens. To tell it who speaks, a **chat template** writes the conversation with
# marks that occur nowhere else: a header before each message, an end mark behind it. The next cell draws a
# conversation in which the model asks a program, a **tool**, to calculate.
#
# ## Exercise 1: a conversation as tokens
#
# Write a conversation as token ids, and note for each token whether the *assistant* says it. The assistant has to
# learn its message **and the end mark**: a model that never learned the end mark does not know when to stop. The
# header is not part of what it says: the program that runs the model writes it. The assistant calls a tool in its own
# words, so the call is learned. The tool's result is not: a program writes it, and a model that is trained on results
# may learn to invent them.
#
# Encode each piece by itself. If you encoded the whole text at once, a tokenizer that merges characters could make
# one token of the end of a header and the beginning of an answer, and then no mask can separate them.

# %% tags=["demo"]
with_a_tool = [
    {"role": "user", "content": "what is 17 times 23 ?"},
    {"role": "assistant", "content": "calculate 17 * 23"},
    {"role": "tool", "content": "391"},
    {"role": "assistant", "content": "17 times 23 is 391 ."},
]
drawings.chat_with_mask(with_a_tool)

# %% nbgrader={"grade": false, "grade_id": "render_chat", "locked": false, "schema_version": 3, "solution": true, "task": false}
def render_chat(
    messages: list[dict], template: dict[str, str], encode, add_generation_prompt: bool = False
) -> tuple[list[int], list[int]]:
    """A conversation's token ids, and for each whether the assistant says it (1) or not (0).

    messages: [{"role": ..., "content": text}, ...]; roles are "system", "user", "assistant" and
    "tool". template: the texts "start" (once, at the very beginning), "header" (before each
    message; it holds {role}), "end" (after its content) and "after" (after that). encode(text)
    returns a list of ids; encode each piece by itself. The assistant says the content of its
    messages and the "end" that follows, nothing else. add_generation_prompt: at the very end
    one more header, the assistant's.
    """
    ### BEGIN SOLUTION
    pieces = [(template["start"], 0)]
    for message in messages:
        spoken = int(message["role"] == "assistant")
        header = template["header"].format(role=message["role"])
        pieces += [(header, 0), (message["content"], spoken)]
        pieces += [(template["end"], spoken), (template["after"], 0)]
    if add_generation_prompt:
        pieces.append((template["header"].format(role="assistant"), 0))
    ids, assistant_mask = [], []
    for text, spoken in pieces:
        piece = encode(text)
        ids += piece
        assistant_mask += [spoken] * len(piece)
    return ids, assistant_mask
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "render_chat_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("render_chat", render_chat)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Which pieces does one message consist of, and who says each of them? Try a list of pairs (text, spoken) for the
# whole conversation first. How long is the mask of one piece, once you have encoded it? What does an empty text give?
# </details>
#
# ## Exercise 2: what is supervised
#
# The labels are the ids where the assistant speaks, and −100 elsewhere: the number that cross-entropy skips. They
# are *not* shifted here; the loss does that.
#
# In a conversation of several turns you may train on all of the assistant's messages or only on the last, when the
# earlier ones were not written with the same care. Write both. (If the assistant called a tool before its last
# answer, the tool's result stands between the two. Then the call is an earlier part, not the last.)


# %% nbgrader={"grade": false, "grade_id": "answer_labels", "locked": false, "schema_version": 3, "solution": true, "task": false}
def answer_labels(
    input_ids: list[int], assistant_mask: list[int], last_only: bool = False
) -> list[int]:
    """Labels for fine-tuning: the id where the assistant speaks (mask 1), -100 elsewhere.

    They are not shifted. last_only: only the last unbroken stretch of the assistant's tokens
    keeps its labels. The arguments are not changed.
    """
    ### BEGIN SOLUTION
    labels = [token if spoken else -100 for token, spoken in zip(input_ids, assistant_mask)]
    if last_only and 1 in assistant_mask:
        begin = len(labels) - assistant_mask[::-1].index(1)  # just behind the last spoken token
        while begin > 0 and assistant_mask[begin - 1]:
            begin -= 1
        labels[:begin] = [-100] * begin
    return labels
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "answer_labels_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("answer_labels", answer_labels)

# %% tags=["demo"]
# Every model has its own template. This is ours, and that of the real model at the end.
NANO = {"start": "<bos>", "header": "<{role}>", "end": "<end>", "after": ""}
SMOL = {"start": "", "header": "<|im_start|>{role}\n", "end": "<|im_end|>", "after": "\n"}
word_id = tokenizer.get_vocab()


def encode(text: str) -> list[int]:
    """The ids of a text of the world: a word each."""
    return [word_id[word] for word in text.split()]


talk = [
    {"role": "user", "content": "what is the capital of arlen ?"},
    {"role": "assistant", "content": "the capital of arlen is kirel ."},
    {"role": "user", "content": "in one word : what is 3 plus 4 ?"},
    {"role": "assistant", "content": "7 ."},
]
ids, spoken = render_chat(talk, NANO, encode)
options = {"return_dict": True, "return_assistant_tokens_mask": True}
theirs = tokenizer.apply_chat_template(talk, **options)
same = {"ids": ids == theirs["input_ids"], "mask": spoken == theirs["assistant_masks"]}
print("the same with transformers and the tokenizer's own template:", same)


def show_supervised(ids: list[int], labels: list[int], names: list[str]) -> None:
    """Tokens, those that are trained on in colour; under each its label."""
    colors = [plots.GREEN if label != -100 else None for label in labels]
    notes = ["−100" if label == -100 else str(label) for label in labels]
    plots.show_tokens(names, colors, notes)


for last_only in (False, True):
    print("only the last answer" if last_only else "every answer")
    labels = answer_labels(ids, spoken, last_only)
    show_supervised(ids, labels, tokenizer.convert_ids_to_tokens(ids))

# %% [markdown]
# ## Exercise 3: too long
#
# A row has room for a limited number of tokens, and some conversations are longer. If they are cut at the end, as is
# usual, the *answer* is lost without any error: the loss is then computed from fewer labels, or from none. So cut
# from the front, keep the whole answer, and raise an error where that is impossible.
#
# One token before the first supervised one has to stay too. The model predicts a token from the ones before it, so
# the first token of a row is predicted from nothing, and its label is lost in the shift.


# %% nbgrader={"grade": false, "grade_id": "truncate_example", "locked": false, "schema_version": 3, "solution": true, "task": false}
def truncate_example(
    input_ids: list[int], labels: list[int], max_length: int
) -> tuple[list[int], list[int]]:
    """Input ids and labels of at most max_length tokens, cut from the front where longer.

    Where tokens are cut, every supervised one (label not -100) stays, and with it at least one
    token before the first of them. Raises ValueError with a sentence that names the example's
    length and max_length where that is impossible. The input is not changed.
    """
    ### BEGIN SOLUTION
    extra = max(0, len(input_ids) - max_length)  # how many tokens have to go
    supervised = (i for i, label in enumerate(labels) if label != -100)
    first = next(supervised, len(labels) + 1)
    if extra > 0 and extra > first - 1:
        problem = "the answer would lose some of its own."
        raise ValueError(f"{len(input_ids)} tokens cannot be cut to {max_length}: {problem}")
    return input_ids[extra:], labels[extra:]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "truncate_example_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("truncate_example", truncate_example)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# How many tokens are too many? Where is the first label that is not −100? How many of the tokens before it may go?
# What do you find where no label is supervised?
# </details>
#
# ## Exercise 4: a batch
#
# Rows of a batch are padded to the longest. For training one pads on the right. A model that *generates* wants its
# padding on the left, as the drawing shows.
#
# The ids on padding are arbitrary, and many models pad with their *end token*. So the attention mask must come from
# the lengths, never from a comparison with the padding id.

# %% tags=["demo"]
drawings.padding_sides(["what", "is", "3", "plus", "4", "?"], ["who", "sleeps", "?"])


# %% nbgrader={"grade": false, "grade_id": "collate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def collate(
    examples: list[tuple[list[int], list[int]]], pad_id: int, side: str = "right"
) -> dict[str, torch.Tensor]:
    """A batch of pairs (input_ids, labels), padded on `side`, "right" or "left", to the
    longest.

    Returns input_ids (pad_id on padding), attention_mask (1 on real tokens, 0 on padding) and
    labels (-100 on padding), each (batch, longest), int64. The examples are not changed.
    """
    ### BEGIN SOLUTION
    longest = max(len(ids) for ids, _ in examples)
    batch = {"input_ids": [], "attention_mask": [], "labels": []}
    for ids, labels in examples:
        real = [1] * len(ids)
        for name, row, fill in zip(batch, (ids, real, labels), (pad_id, 0, -100)):
            padding = [fill] * (longest - len(ids))
            batch[name].append([*padding, *row] if side == "left" else [*row, *padding])
    return {name: torch.tensor(rows) for name, rows in batch.items()}
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "collate_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("collate", collate)

# %% [markdown]
# ## Exercise 5: the loss of the answer
#
# The causal loss of chapter 1 again, over the supervised tokens. But by which number do you divide? By the number of
# supervised tokens in *all* that belongs to one update. A batch that is too large for the memory is split into
# pieces. The mean of the pieces' means is a different number, as the drawing shows: a token counts more if its piece
# has few answer tokens. Well-known libraries computed this mean of means for years. It was reported in 2021, and
# corrected in October 2024 after Unsloth ([*Bugs in LLM Training*](https://unsloth.ai/blog/gradient)) and Hugging
# Face ([*Fixing Gradient Accumulation*](https://huggingface.co/blog/gradient_accumulation)) had written about it. So
# your loss takes the number of tokens as an argument.

# %% tags=["demo"]
drawings.two_means([2, 6])


# %% nbgrader={"grade": false, "grade_id": "sft_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sft_loss(
    logits: torch.Tensor, labels: torch.Tensor, num_tokens: int | None = None
) -> torch.Tensor:
    """-log p of the supervised tokens in nats, summed over the batch and divided by num_tokens.

    logits: (batch, seq, vocab), of any size; labels: (batch, seq), not shifted, -100 where
    nothing is supervised. num_tokens: None for the number of supervised tokens in this very
    batch, at least 1; a row's first token is predicted by nothing and never counts. Returns a
    scalar through which gradients flow; without supervised tokens, both are 0.
    """
    ### BEGIN SOLUTION
    predictions, targets = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    total = F.cross_entropy(predictions, targets, ignore_index=-100, reduction="sum")
    if num_tokens is None:
        num_tokens = (targets != -100).sum().clamp(min=1)
    return total / num_tokens
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "sft_loss_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("sft_loss", sft_loss)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Which position of the logits has no partner among the labels, and which label none among the logits? What can
# `F.cross_entropy` do by itself: sum up, leave labels out?
# </details>
#
# ### Two checks of your loss
#
# First: is it the loss that people train with? The library `trl` gets the raw conversations and does everything by
# itself. The next cell compares.
#
# Second: where is the gradient zero? The cell after it takes one conversation and measures how the loss depends on
# the logits at each position. Where the gradient is zero, nothing is learned from that position. Look where it is not
# zero: at the places of the answer, moved one to the left. The logits at `<assistant>` predict the answer's first
# word, so there the gradient is not zero; everywhere *before* `<assistant>` it is exactly zero. At the last token,
# `<end>`, it is zero too: nothing is predicted after it.
#
# That does not mean that nothing is learned *about* the prompt: through attention, the gradient reaches the embedding
# of every word in it.

# %% tags=["demo"]
END, PAD = word_id["<end>"], tokenizer.pad_token_id


def example(record: dict, masked: bool = True) -> tuple[list[int], list[int]]:
    """Input ids and labels of one instruction; masked=False supervises the prompt too."""
    parts = {"user": record["prompt"], "assistant": record["answer"]}
    messages = [{"role": role, "content": content} for role, content in parts.items()]
    ids, spoken = render_chat(messages, NANO, encode)
    return ids, answer_labels(ids, spoken if masked else [1] * len(ids))


examples = [example(record) for record in train_records]
ours = collate(examples[:8], PAD)
with torch.no_grad():
    inputs = {name: ours[name].to(DEVICE) for name in ("input_ids", "attention_mask")}
    loss_ours = sft_loss(base(**inputs).logits.cpu(), ours["labels"]).item()
loss_trl = libraries.trl_loss(models.load_nano("base").to(DEVICE), tokenizer, train_records[:8])
trl_difference = abs(loss_ours - loss_trl)
print(f"yours {loss_ours:.6f}   trl {loss_trl:.6f}   difference {trl_difference:.1e}")

# %% tags=["demo"]
fact = next(r for r in train_records if r["kind"] == "facts" and r["style"] == "full")
ids, example_labels = example(fact)
logits = base(torch.tensor([ids], device=DEVICE)).logits.detach().cpu()  # (1, seq, vocab)
sft_loss(logits.requires_grad_(), torch.tensor([example_labels])).backward()
gradient_norms = logits.grad[0].norm(dim=-1).tolist()  # (seq,)
colors = [plots.VERMILION if norm > 0 else None for norm in gradient_norms]
notes = [f"{norm:.2f}" if norm else "0" for norm in gradient_norms]
plots.show_tokens(tokenizer.convert_ids_to_tokens(ids), colors, notes)

# %% [markdown]
# ## Exercise 6: how likely is an answer
#
# You will need one more function of logits and labels in all later chapters: the log-probability of a whole answer,
#
# $$ \log p_\theta(y \mid x) = \sum_t \log p_\theta(y_t \mid x, y_{<t}). $$
#
# It is the **sum**, one number for each row. The mean over tokens is *not* a log-probability, and the derivations of
# REINFORCE, PPO and DPO do not hold for it. Once the model is fine-tuned, you will see the difference in numbers.


# %% nbgrader={"grade": false, "grade_id": "sequence_logprob", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sequence_logprob(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """log p(answer | prompt) of each row in nats: the sum of log p over its supervised tokens.

    logits: (batch, seq, vocab), of any size; labels: (batch, seq), not shifted, -100 where
    nothing is supervised. Returns a tensor, (batch,), through which gradients flow.
    """
    ### BEGIN SOLUTION
    targets = labels[:, 1:]  # (batch, seq - 1)
    log_probs = logits[:, :-1].log_softmax(-1)  # (batch, seq - 1, vocab)
    token_logps = log_probs.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return token_logps.masked_fill(targets == -100, 0.0).sum(-1)  # (batch,)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "sequence_logprob_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("sequence_logprob", sequence_logprob)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Of which numbers, (batch, seq − 1, vocab), do you want one for each label? −100 is no index: what can you gather
# there instead, and what must happen to it afterwards?
# </details>
#
# ## New tokens
#
# Before we train, look at the marks themselves. `<user>`, `<assistant>` and `<end>` are in the vocabulary, but no
# pre-training text contained them. What happened to their embeddings? The cell below measures how similar they are: a
# cosine of 1 means the same direction. The embeddings are also the output weights, and every update of pre-training
# made all unseen words less likely, in the same way. If nothing made them different, the model can hardly tell
# `<user>`, `<assistant>` and `<end>` apart.
#
# Real models have the same problem when tokens are added. The usual advice is to give new tokens new vectors before
# fine-tuning (in the plots: a *fresh start*): small random vectors of the usual size, or the mean of all others
# (Hewitt 2021). We follow it, and below we also run without, to see whether it matters here.

# %% tags=["demo"]
counts = torch.zeros(len(tokenizer), dtype=torch.long)
for text in data.load_corpus()[:10_000]:
    counts += torch.bincount(torch.tensor(encode(text)), minlength=len(tokenizer))
given = [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id]
unseen = torch.tensor([i for i in range(len(tokenizer)) if counts[i] == 0 and i not in given])
table = base.get_input_embeddings().weight.detach().cpu()  # (vocab, width)
cosines = F.cosine_similarity(table[unseen][:, None], table[unseen][None], dim=-1)
alike = ((cosines.sum() - len(unseen)) / (len(unseen) * (len(unseen) - 1))).item()
norms = {
    name: table[ids].norm(dim=-1).mean()
    for name, ids in (("unseen", unseen), ("seen", counts > 0))
}
print(f"{len(unseen)} tokens were never seen; mean cosine of any two embeddings: {alike:.2f}")
print("mean length of an embedding:", {name: f"{norm:.2f}" for name, norm in norms.items()})

# %% [markdown]
# ## Exercise 7: the training loop
#
# It is the loop of chapter 1 with one addition. An update may consist of several batches: they are run one after the
# other, and their gradients are added up. If this is done correctly, it does not matter how the examples are split
# into batches. We use it to put rows of similar length together; on a GPU it is how large batches fit into a small
# memory.


# %% nbgrader={"grade": false, "grade_id": "train_sft", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_sft(
    model, updates, optimizer, lr_at, max_norm: float = 1.0, after_step=None
) -> list[float]:
    """Fine-tune a model; returns each update's loss, a plain number, before the weights change.

    updates: an iterable; each item is the list of batches (dicts of input_ids, attention_mask,
    labels) that make up one update together. An update minimises the mean of -log p over *all*
    supervised tokens of its batches, so it is the same however they are split; it runs the
    model on one batch at a time, model(input_ids=..., attention_mask=...), whose output has
    `.logits`. Update s, counted from 0, works with the learning rate lr_at(s) in every
    parameter group, and with the gradient's norm clipped to max_norm. after_step(s, loss) is
    called after each. The model is put in training mode first.
    """
    ### BEGIN SOLUTION
    losses = []
    model.train()
    for step, parts in enumerate(updates):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.zero_grad()
        num_tokens = max(1, sum(int((part["labels"][:, 1:] != -100).sum()) for part in parts))
        total = 0.0
        for part in parts:
            out = model(input_ids=part["input_ids"], attention_mask=part["attention_mask"])
            loss = sft_loss(out.logits, part["labels"], num_tokens)
            loss.backward()  # gradients add up over the batches of an update
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        losses.append(total)
        if after_step is not None:
            after_step(step, total)
    return losses
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "train_sft_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("train_sft", train_sft)

# %% [markdown]
# <details><summary><b>Hint 1</b>: what to divide by</summary>
#
# Which number makes the sum of the batches' losses the mean over the whole update? Can you know it before the first
# forward pass? Does the label of a row's first token count?
# </details>
# <details><summary><b>Hint 2</b>: the order</summary>
#
# What has to happen once an update, and what once a batch? When must the old gradients be cleared, and when is the
# norm that of the whole update?
# </details>
#
# ## Exercise 8: answers that end
#
# Write a function that lets the model answer several prompts at a time. They are padded on the left, so in every row
# the logits at the last place are the ones you need. A row that has said `<end>` is finished, and is filled with
# padding while the others go on. When all rows are finished, stop.
#
# The simplest loop runs the model on all tokens again for each new one. That is correct, and passes the check. A
# model of the library `transformers` can also keep what it computed for the earlier tokens (the **key/value cache**):
# it returns `past_key_values`, takes it back, and then wants only the new token.


# %% nbgrader={"grade": false, "grade_id": "generate_answers", "locked": false, "schema_version": 3, "solution": true, "task": false}
@torch.no_grad()
def generate_answers(
    model,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    max_new_tokens: int,
    end_id: int,
    pad_id: int,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """The new tokens that continue each row, (batch, new) with new <= max_new_tokens.

    input_ids, attention_mask: (batch, seq), padded on the left. temperature 0 takes the most
    likely token; above 0 tokens are drawn, with the generator, from softmax(logits /
    temperature). A row ends with its end_id, which belongs to it; from then on it holds pad_id.
    Generation stops as soon as every row has ended. model is a transformers model.
    """
    ### BEGIN SOLUTION
    ended = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
    ids, mask, cache, new = input_ids, attention_mask, None, []
    for _ in range(max_new_tokens):
        out = model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True)
        cache = out.past_key_values  # of the tokens so far: only new ones are read
        logits = out.logits[:, -1].float()  # (batch, vocab)
        if temperature == 0:
            chosen = logits.argmax(-1)  # (batch,)
        else:
            probs = (logits / temperature).softmax(-1)
            chosen = torch.multinomial(probs, 1, generator=generator)[:, 0]
        chosen = chosen.masked_fill(ended, pad_id)
        new.append(chosen)
        ended |= chosen == end_id
        if ended.all():
            break
        ids = chosen.unsqueeze(1)  # (batch, 1)
        mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
    return torch.stack(new, dim=1)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "generate_answers_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("generate_answers", generate_answers)


# %% [markdown]
# <details><summary><b>Hint 1</b>: one step</summary>
#
# Which place of the logits, (batch, seq, vocab), is about the next token? What should stand in a row that has ended,
# and when do you put it there: before or after you append? What does the attention mask need for each new token?
# </details>
# <details><summary><b>Hint 2</b>: the cache</summary>
#
# First call: all tokens, `use_cache=True`. Later calls: `input_ids` is the last token alone, (batch, 1), and
# `past_key_values` what the last call returned. Which tokens must the attention mask cover then?
# </details>
#
# ## Fine-tuning
#
# The next cell measures the model before. Then come `STEPS` updates. Each takes 32 examples, sorts them by length and
# splits them into two batches, so that a batch has little padding. During training, a third of the held-out records
# is measured: exact match (the share of answers that are right word for word), the loss of the true answers, and how
# sure the model is of its first choice where that choice is *wrong*. We need the last two later.

# %% tags=["demo"]
def prompt_of(record: dict) -> list[int]:
    """The ids up to the place where the assistant begins to speak."""
    messages = [{"role": "user", "content": record["prompt"]}]
    return render_chat(messages, NANO, encode, add_generation_prompt=True)[0]


def say(model, prompts: list[list[int]], new: int = 16) -> list[list[int]]:
    """What the model says to each prompt, greedily: ids, its end mark among them."""
    batch = collate([(prompt, prompt) for prompt in prompts], PAD, side="left")
    ids, mask = batch["input_ids"].to(DEVICE), batch["attention_mask"].to(DEVICE)
    said = generate_answers(model.eval(), ids, mask, new, END, PAD).tolist()
    return [[token for token in row if token != PAD] for row in said]


def answers_of(model, records: list[dict], **options) -> list[str]:
    """The model's answers in words, without the end mark."""
    said = say(model, [prompt_of(record) for record in records], **options)
    return [tokenizer.decode([token for token in row if token != END]) for row in said]


def exact_match(model, records: list[dict]) -> float:
    """A strict judge: the share of answers that are right word for word."""
    answers = answers_of(model, records)
    return sum(answer == r["answer"] for answer, r in zip(answers, records)) / len(records)


before = exact_match(base, heldout)
print(f"exact match before fine-tuning: {before:.1%} of {len(heldout)} held-out instructions")

# %% tags=["demo"]
STEPS, SIZE, MAX_LR = device.at_most(240, least=16), 32, 2e-3
curve_records = heldout[::3]
curve = collate([example(record) for record in curve_records], PAD)


@torch.no_grad()
def look_at(model) -> dict[str, float]:
    """What is measured along a run, on the held-out records of the curve."""
    inputs = {name: curve[name].to(DEVICE) for name in ("input_ids", "attention_mask")}
    logits = model.eval()(**inputs).logits.cpu()  # (records, seq, vocab)
    sure, choice = logits[:, :-1].softmax(-1).max(-1)  # (records, seq - 1)
    targets = curve["labels"][:, 1:]
    wrong = sure[(targets != -100) & (choice != targets)]
    nll = sft_loss(logits, curve["labels"]).item()
    found = {"nll": nll, "sure where wrong": wrong.mean().item() if len(wrong) else 0.0}
    return {"match": exact_match(model, curve_records)} | found


# %% tags=["demo"]
def fresh_start():
    """The base model, with new random embeddings for the tokens it has never seen."""
    model = models.load_nano("base")
    table = model.get_input_embeddings().weight.data  # (vocab, width)
    generator = torch.Generator().manual_seed(device.seed(0))
    noise = torch.randn(len(unseen), table.shape[1], generator=generator)
    table[unseen] = noise * table[counts > 0].std()
    return model


def fine_tune(name: str, examples, steps: int = STEPS, looks: int = 6, model=None) -> tuple:
    """Fine-tune a model (else a fresh start): the model, and what was measured on the way."""
    model, history = (model or fresh_start()).to(DEVICE), []
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0, betas=(0.9, 0.95))
    bar, every = tqdm(total=steps, desc=name, mininterval=1.0), max(1, steps // max(1, looks))

    def after_step(step: int, loss: float) -> None:
        bar.update()
        if looks and (step + 1) % every == 0:
            history.append({"step": step + 1} | look_at(model))
            model.train()

    def lr_at(step: int) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
        return MAX_LR * min(1, (step + 1) / 20) * (0.05 + 0.95 * cosine)

    def pad(pairs):
        return collate(pairs, PAD)

    updates = batches.updates_by_length(examples, steps, SIZE, 2, pad, device.seed(0), DEVICE)
    train_sft(model, updates, optimizer, lr_at, after_step=after_step)
    bar.close()
    return model, history


# %% tags=["demo"]
sft_model, masked_history = fine_tune("masked prompt", examples)
answers = answers_of(sft_model, heldout)
after = sum(a == record["answer"] for a, record in zip(answers, heldout)) / len(heldout)
print(f"exact match on {len(heldout)} held-out instructions: {before:.1%} before,", end=" ")
print(f"{after:.1%} after {STEPS} updates")
what_is_new = {
    "facts": "the fact was asked for in another form",
    "reading": "a new story",
    "reading_two": "a story about two things; practice had one",
    "sums": "pre-training showed this sum, practice did not",
    "sums_in_full": "the same sums, as a sentence",
    "sums_unseen": "no text ever showed this sum",
    "facts_never_asked": "a fact of pre-training that practice never asked for",
}
of_kind: dict[str, list[bool]] = {}
for answer, record in zip(answers + answers_of(sft_model, beyond), heldout + beyond):
    of_kind.setdefault(record["kind"], []).append(answer == record["answer"])
by_kind = {kind: sum(hits) / len(hits) for kind, hits in of_kind.items()}
rows = [
    {"kind": k, "held out": len(of_kind[k]), "right": f"{by_kind[k]:.0%}"} for k in what_is_new
]
plots.show_table([row | {"what is new": what_is_new[row["kind"]]} for row in rows])
asked = [
    {"asked": plots.last_words(r["prompt"]), "it says": a} for r, a in zip(heldout, answers)
]
plots.show_table(asked[:: len(asked) // 6])

# %% [markdown]
# The first two kinds are like the training examples (the table calls the training *practice*). The others go a step
# further, each in its own way. Compare them. Zhou et al. 2023 propose the **superficial alignment hypothesis**: a
# model learns nearly all its knowledge in pre-training, and fine-tuning mainly teaches it the form of an answer.
# Fine-tuning of this size, too, mainly gives a manner of answering. Where the training examples were too similar to
# each other, the manner may not carry over to other questions.
#
# ### The sum and the mean
#
# Now that the model answers, look at log-probabilities again. Take, of the questions that go further than the
# training examples, the one where the model is least sure of its answer, and draw many answers at temperature 1. The
# share of an answer among them is its probability, up to chance. Which of the two numbers says how often it comes:
# exp of the **sum**, or exp of the **mean** over tokens?


# %% tags=["demo"]
@torch.no_grad()
def logprob_of(model, record: dict, answers: list[str]) -> torch.Tensor:
    """log p of each answer to the record's prompt, (answers,)."""
    pairs = [example(record | {"answer": answer}) for answer in answers]
    batch = {name: tensor.to(DEVICE) for name, tensor in collate(pairs, PAD).items()}
    logits = model.eval()(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return sequence_logprob(logits, batch["labels"]).cpu()


sureness = [
    logprob_of(sft_model, r, [a]).item() for r, a in zip(beyond, answers_of(sft_model, beyond))
]
unsure, DRAWS = beyond[sureness.index(min(sureness))], device.at_most(1000, least=40)
prompts = torch.tensor([prompt_of(unsure)] * DRAWS, device=DEVICE)
generator = torch.Generator(DEVICE).manual_seed(device.seed(1))
drawn = generate_answers(
    sft_model, prompts, torch.ones_like(prompts), 16, END, PAD, 1.0, generator
)
ended = [tokenizer.decode(row[: row.index(END)]) for row in drawn.tolist() if END in row]
drawn_counts = Counter(ended).most_common()
logps = logprob_of(sft_model, unsure, [answer for answer, _ in drawn_counts])  # (answers,)
tokens = torch.tensor(
    [len(answer.split()) + 1 for answer, _ in drawn_counts]
)  # with the end mark
by_sum, by_mean = logps.exp().tolist(), (logps / tokens).exp().tolist()
shares = [count / DRAWS for _, count in drawn_counts]
columns = zip(drawn_counts, tokens.tolist(), shares, by_sum, by_mean)
rows = [
    {"answer": a, "tokens": n, "drawn": s, "exp(sum)": p, "exp(mean)": m}
    for (a, _), n, s, p, m in columns
]
plots.show_table(rows[:8], caption=f"asked: {plots.last_words(unsure['prompt'], 14)}")
print(f"all {len(rows)} answers together: drawn {sum(shares):.2f}", end=", ")
print(f"exp(sum) {sum(by_sum):.2f}, exp(mean) {sum(by_mean):.2f}")

# %% [markdown]
# exp(sum) is the share that was drawn, up to chance, and the total stays below 1: these are probabilities. exp(mean)
# is the larger number in every row, and its total may be more than 1. If you rank answers by the mean, a long answer
# may come before a short one that the model gives more often.
#
# ## Is the mask worth it?
#
# Two more runs, each with one change. In one the prompt is supervised as well. In the other the unseen tokens keep
# their old vectors.
#
# **Predict.** Supervise the prompt as well, with the same number of updates. How do the answers compare?
#
# - **a** With the mask they are better halfway, and at the end there is little between them.
# - **b** With the mask they are clearly better to the end: all of the gradient is for the answers.
# - **c** Without it they are as good or better halfway: the model learns from many more tokens.

# %% tags=["demo"]
predict("mask_or_not", "")

# %% tags=["demo"]
everything = [example(record, masked=False) for record in train_records]
_, unmasked_history = fine_tune("unmasked prompt", everything)
_, stale_history = fine_tune("no fresh start", examples, model=models.load_nano("base"))
runs = {"masked": masked_history, "unmasked": unmasked_history, "no fresh start": stale_history}
fig, axes = plt.subplots(1, 2, figsize=(10, 3.4))
for (name, history), color in zip(runs.items(), (plots.BLUE, plots.ORANGE, plots.GREEN)):
    for ax, key in zip(axes, ("match", "nll")):
        points = {p["step"]: p[key] for p in history}
        ax.plot(list(points), list(points.values()), label=name, color=color, marker="o")
axes[0].set(xlabel="update", ylabel="exact match, held out", ylim=(0, 1.02), title="Answers")
axes[1].set(
    xlabel="update", ylabel="nats per answer token", title="Loss of the answers, held out"
)
axes[0].legend(loc="lower right")
plt.show()
moments = {"early": 0, "halfway": len(masked_history) // 2 - 1, "at the end": -1}
early, at_half, at_end = (
    {name: run[i]["match"] for name, run in runs.items()} for i in moments.values()
)
columns = {f"{m}, update {masked_history[i]['step']}": i for m, i in moments.items()}
table = [
    {"exact match": n} | {c: f"{r[i]['match']:.0%}" for c, i in columns.items()}
    for n, r in runs.items()
]
plots.show_table(table)
half_gap, end_gap = (at["masked"] - at["unmasked"] for at in (at_half, at_end))
came = "c" if half_gap <= 0 else "b" if end_gap > 0.05 else "a"
reveal("mask_or_not", came, half_gap=100 * half_gap, end_gap=100 * end_gap)
fresh_gaps = [100 * (at["masked"] - at["no fresh start"]) for at in (at_half, at_end)]
print("Fresh start: {:+.0f} points halfway, {:+.0f} at the end.".format(*fresh_gaps))

# %% [markdown]
# In this world the mask is mostly a matter of *speed*. Prompts have many tokens and answers few, so without the mask
# most of the gradient is for writing questions. Whether that helps or hurts depends on the data. Shi et al. 2024,
# *Instruction Tuning With Loss Over Instructions*, find that supervising the prompt as well *helps* where examples
# are few, and where prompts are long and answers short: it keeps the model from overfitting.
#
# The fresh start: compare the third line with the first. Training can also make the vectors of the marks different,
# so a fresh start can only save the time that this takes. The line below the table says how much it saved here.
#
# ## Without an end mark
#
# **Predict.** We fine-tune once more, with one line changed: the label of `<end>` is −100. Then we ask the held-out
# questions. What will the model do?
#
# - **a** Answer and stop: it reads `<end>` behind every message, so it knows it.
# - **b** Answer, and then go on and on.
# - **c** Answer nothing of use: without its end an answer cannot be learned.

# %% tags=["demo"]
predict("no_end_mark", "")


# %% tags=["demo"]
def without_end(pair: tuple) -> tuple:
    """The same example, with no label on its end mark."""
    ids, labels = pair
    return ids, [-100 if label == END else label for label in labels]


endless_examples = [without_end(pair) for pair in examples]
endless, _ = fine_tune("no end mark", endless_examples, device.at_most(60, least=4), looks=0)
prompts = [prompt_of(record) for record in heldout]
said = {
    name: say(model, prompts, new=24)
    for name, model in (("with", sft_model), ("without", endless))
}
stops = {name: sum(END in row for row in rows) / len(rows) for name, rows in said.items()}
starts = [
    tokenizer.decode(row).startswith(r["answer"]) for row, r in zip(said["without"], heldout)
]
starts_right = sum(starts) / len(starts)
asked, written = (
    [plots.last_words(r["prompt"]) for r in heldout],
    map(tokenizer.decode, said["without"]),
)
rows = [{"asked": question, "it says": text} for question, text in zip(asked, written)]
plots.show_table(rows[:: len(rows) // 3])
came = "a" if stops["without"] > 0.5 else "b" if starts_right > 0.2 else "c"
reveal("no_end_mark", came, stops=stops, starts_right=starts_right)

# %% tags=["demo"]
# Another way to break it: a right model, and its prompt written otherwise than in training.
# Nothing is raised, and no loss shows it. So where a model behaves strangely, look at its ids.
templates = {
    "as in training": prompt_of,
    "without <assistant>": lambda record: prompt_of(record)[:-1],
    "without any marks": lambda record: encode(f"<bos> {record['prompt']}"),
}
wrong_template = {}
for name, write in templates.items():
    said = [
        tokenizer.decode([t for t in row if t != END])
        for row in say(sft_model, list(map(write, heldout)))
    ]
    wrong_template[name] = sum(a == r["answer"] for a, r in zip(said, heldout)) / len(heldout)
plots.show_table(
    [{"the prompt is written": n, "exact match": f"{m:.0%}"} for n, m in wrong_template.items()]
)

# %% [markdown]
# ## Exercise 9: packing
#
# Padding is wasted work, so long runs **pack** several conversations into one row. Without care, a question about the
# red ball is then answered from the story of another example. Two things keep the examples apart: an attention mask
# in blocks, so that no token sees another example, and position ids that begin at 0 again with each.
#
# This exercise says what must come out, and not how to get there.

# %% tags=["demo"]
drawings.packed_row([4, 3, 3], 12)


# %% nbgrader={"grade": false, "grade_id": "pack_examples", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pack_examples(
    examples: list[tuple[list[int], list[int]]], length: int, pad_id: int
) -> dict[str, torch.Tensor]:
    """Whole examples (input_ids, labels) side by side in rows of `length` tokens, each as if
    alone.

    An example goes into the current row if it fits there, else it begins a new row. Raises
    ValueError with a sentence where an example is longer than a row. Returns input_ids and
    labels (rows, length), filled up with pad_id and -100; position_ids (rows, length), which
    begin at 0 with each example (0 on padding); and attention_mask, bool, (rows, 1, length,
    length): [r, 0, q, k] is True where position q may look at k, that is where k is not after q
    and in the same example. A position of padding looks at itself alone. The label of an
    example's first token is -100: nothing that belongs to it stands before it. The examples are
    not changed.
    """
    ### BEGIN SOLUTION
    rows, room = [], 0
    for ids, labels in examples:
        if len(ids) > length:
            raise ValueError(f"{len(ids)} tokens do not fit into a row of {length}.")
        if len(ids) > room:
            rows.append([])
            room = length
        rows[-1].append((ids, labels))
        room -= len(ids)
    shape = (len(rows), length)
    batch = {"input_ids": torch.full(shape, pad_id), "labels": torch.full(shape, -100)}
    batch["position_ids"] = torch.zeros(shape, dtype=torch.long)
    which = -1 - torch.arange(length).repeat(
        len(rows), 1
    )  # every place of padding is a stranger
    for r, row in enumerate(rows):
        begin = 0
        for e, (ids, labels) in enumerate(row):
            place = slice(begin, begin + len(ids))
            batch["input_ids"][r, place] = torch.tensor(ids)
            batch["labels"][r, place] = torch.tensor([-100, *labels[1:]])
            batch["position_ids"][r, place] = torch.arange(len(ids))
            which[r, place] = e
            begin += len(ids)
    same = which[:, :, None] == which[:, None, :]  # (rows, length, length)
    batch["attention_mask"] = (same & torch.ones_like(same).tril())[:, None]
    return batch
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "pack_examples_check", "locked": true, "points": 9, "schema_version": 3, "solution": false, "task": false}
check("pack_examples", pack_examples)

# %% [markdown]
# <details><summary><b>Hint 1</b>: the mask</summary>
#
# If you knew for each place which example it belongs to, (rows, length), how would you compare all pairs of places at
# once? What is missing then? Which number could a place of padding have, so that it is different from all others?
# </details>
# <details><summary><b>Hint 2</b>: the first label</summary>
#
# In a packed row, which token stands before an example's first one? Should it be asked to predict it?
# </details>

# %% tags=["demo"]
# If the examples are really apart, every logit is what it would be for the example alone.
packed = pack_examples(examples[:7], 160, PAD)
first_row, place, packing_difference = {}, 0, 0.0
for name in ("input_ids", "position_ids", "attention_mask"):
    first_row[name] = packed[name][:1].to(DEVICE)
with torch.no_grad():
    together = sft_model.eval()(**first_row).logits[0].cpu()  # (160, vocab)
    careless = sft_model(first_row["input_ids"]).logits[0].cpu()
    for ids, _ in examples[:7]:
        if place + len(ids) > 160:
            break
        alone = sft_model(torch.tensor([ids], device=DEVICE)).logits[0].cpu()  # (seq, vocab)
        difference = (together[place : place + len(ids)] - alone).abs().max().item()
        packing_difference, place = max(packing_difference, difference), place + len(ids)
changed = (careless - together)[:place].abs().max().item()
print(f"largest difference to the examples alone: {packing_difference:.1e}")
print(f"without block mask and positions: {changed:.1f}")

# %% [markdown]
# ## Exercise 10, open: the fewest rows
#
# Your packing takes the examples in the order in which they come. If you choose which of them share a row, you need
# fewer rows; and each row costs the same, full or not. To find the fewest is a hard problem (bin packing), but there
# are simple methods that come close.
#
# The check draws about 300 lengths. The best plan fills **120 rows** of 128 tokens with them, without any free place.
# There are four bars, and each that you reach earns its share of the points: at most **135**, **129**, **124** and
# **121** rows. One after the other, as in exercise 9, takes about 150. Your function has some seconds a call, and is
# called for each bar.


# %% nbgrader={"grade": false, "grade_id": "plan_rows", "locked": false, "schema_version": 3, "solution": true, "task": false}
def plan_rows(lengths: list[int], length: int) -> list[list[int]]:
    """For each row the numbers of the examples that share it: as few rows as you can find.

    lengths: how many tokens each example has, from 1 to length. Every number from 0 to
    len(lengths) - 1 stands in exactly one row, and the examples of a row have at most `length`
    tokens together.
    """

    ### BEGIN SOLUTION
    def tokens_in(row) -> int:
        return sum(lengths[i] for i in row)

    def fullest(room: int, candidates: list[int]) -> tuple[int, ...]:
        """Those candidates that fill the most of a room together."""
        reached = {0: ()}  # number of tokens -> examples that have so many
        for i in candidates:
            for tokens, chosen in list(reached.items()):
                more = tokens + lengths[i]
                if more <= room and more not in reached:
                    reached[more] = (*chosen, i)
            if room in reached:
                break
        return reached[max(reached)]

    def fill(examples, rng=None) -> list[list[int]]:
        """Row by row: the longest that is left, and what fills the rest of the row best."""
        left, rows = sorted(examples, key=lambda i: -lengths[i]), []
        while left:
            first = left.pop(0)
            candidates = rng.sample(left, len(left)) if rng else left
            others = fullest(length - lengths[first], candidates)
            rows.append([first, *others])
            left = [i for i in left if i not in others]
        return rows

    rng, rows = random.Random(len(lengths)), fill(range(len(lengths)))
    for _ in range(200):  # take the emptiest rows and some others apart, and fill them again
        if len(rows) * length - sum(lengths) < length:
            break  # one row fewer would not hold all tokens
        rows.sort(key=tokens_in)
        keep, taken = rows[3:], rows[:3]
        taken += [keep.pop(rng.randrange(len(keep))) for _ in range(min(12, len(keep)))]
        again = fill([i for row in taken for i in row], rng)
        fuller = sum(tokens_in(r) ** 2 for r in again) >= sum(tokens_in(r) ** 2 for r in taken)
        better = len(again) < len(taken) or (len(again) == len(taken) and fuller)
        rows = keep + (again if better else taken)
    return rows
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "plan_rows_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("plan_rows", plan_rows)

# %% [markdown]
# <details><summary><b>Hint 1</b>: for the first two bars</summary>
#
# Why should a row be closed when one example does not fit? Which examples are hard to place late, and which are easy?
# </details>
# <details><summary><b>Hint 2</b>: for the last two</summary>
#
# Think of one row at a time instead of one example at a time. Which of the remaining examples would fill it best? A
# set of lengths can reach only few different sums: at most 128. And if a plan is nearly good: what if you take some
# rows apart and fill them again?
# </details>

# %% tags=["demo"]
ROW, sample = 128, examples[: device.at_most(960, least=96)]
lengths = [len(ids) for ids, _ in sample]
plan = [sample[i] for row in plan_rows(lengths, ROW) for i in row]
packed_share = {}
for name, order in (("packed as they come", sample), ("packed by your plan", plan)):
    rows = len(pack_examples(order, ROW, PAD)["input_ids"])
    packed_share[name] = 1 - sum(lengths) / (rows * ROW)
padding = {
    "one example a row, batches of 32 as they come": batches.padding_share(lengths, 32),
    "one example a row, batches of 32 of similar length": batches.padding_share(
        sorted(lengths), 32
    ),
} | packed_share
plots.show_table([{"way": way, "padding": f"{share:.1%}"} for way, share in padding.items()])

# %% [markdown]
# To sort by length avoids most of the padding, and is simpler than packing. But then an update sees only examples of
# one length, or must be put together from several batches, as ours was. Packed rows all have the same length.
#
# ## Three things that fine-tuning cannot give you
#
# ### 1. Answers cost money
#
# People have to write them. How good does the model become with fewer? All three runs get the same number of updates.

# %% tags=["demo"]
COST_STEPS, FEW = device.at_most(150, least=8), 50
tuned, histories, cost = {}, {}, {}
for n in (FEW, 8 * FEW, 64 * FEW):
    looks = 10 if n == FEW else 1
    tuned[n], histories[n] = fine_tune(f"{n} examples", examples[:n], COST_STEPS, looks)
    cost[n] = exact_match(tuned[n], heldout)
fig, ax = plt.subplots(figsize=(6.5, 3.0))
ax.plot(list(cost), list(cost.values()), marker="o", color=plots.BLUE)
ax.set(xscale="log", xlabel="examples that somebody wrote", ylabel="exact match, held out")
ax.set(ylim=(0, 1.02), title=f"The price of quality: {COST_STEPS} updates each")
plt.show()
print({n: f"{match:.0%}" for n, match in cost.items()})

# %% [markdown]
# Each step to the right costs eight times as many answers as the one before.
#
# ### 2. It is trained on true beginnings, and used on its own
#
# In training every word is predicted after the *true* words before it (**teacher forcing**). In use the model reads
# its own words, with their mistakes. The concern is called **exposure bias** (Bengio et al. 2015; Ranzato et al.
# 2016): after one mistake, the model has to go on from a beginning of a kind that it never saw in training.
#
# How can it be measured? It is not fair to compare the model's own answer with the true one word by word: if one word
# is missing, all words behind it stand at another place and count as wrong. So take the answers in which the model of
# 50 examples makes a mistake, and look at the words *behind its first mistake* in three ways.

# %% tags=["demo"]
truth, own = "ivy has the green kite .".split(), "ivy gave the kite .".split()
display(drawings.three_beginnings(truth, 1, "gave", own))
said = say(tuned[FEW], [prompt_of(record) for record in heldout])
behind = exposure.after_the_first_mistake(tuned[FEW], [example(r) for r in heldout], said)
wrong_answers = behind.pop("answers")
bars = {"true words": plots.GREEN, "one wrong word": plots.ORANGE, "own words": plots.VERMILION}
fig, ax = plt.subplots(figsize=(6.5, 2.4))
for name, color in (bars | {"at any place": plots.PURPLE}).items():
    label = "own words, found at any place" if name == "at any place" else name
    ax.barh(label, behind[name], color=color, alpha=0.8)
ax.set(xlim=(0, 1), xlabel="share of the words behind the first mistake that are right")
ax.set(title=f"{wrong_answers} answers with a mistake, of {len(heldout)}")
ax.invert_yaxis()
plt.show()
lost = {name: behind["true words"] - share for name, share in behind.items()}
for name in ("own words", "at any place", "one wrong word"):
    print(f"lost against the true words: {100 * lost[name]:3.0f} points, {name}")

# %% [markdown]
# Read the three losses together. Counted by place, the model's own words cost the most. If the true words may stand
# at any place of its answer, less is lost: that difference comes only from the way of counting. The last number is
# what one wrong word costs by itself, with all others correct. Where it is small, the model recovers from a single
# mistake; the rest of the loss is there because several mistakes come in one answer.
#
# The literature does not agree. He et al. 2021 (arXiv:1905.10617) find the effect limited: models recover by
# themselves. Arora et al. 2022 (arXiv:2204.01171) find that errors do add up, and that this explains bad text. Our
# sentences of six words are too short to decide between them.
#
# ### 3. It minimises something else than you want
#
# You want right answers. The loss asks for likely ones. Usually the two go together, and so fine-tuning works.
#
# **Predict.** Look again at the run on 50 examples, which it sees many times. What happens on the *held-out* records
# after the update where the loss was lowest?
#
# - **a** Loss and answers both get better, or stay.
# - **b** Both get worse: it overfits.
# - **c** The loss gets worse, at least for a while, and the answers do not.

# %% tags=["demo"]
predict("loss_turns", "")

# %% tags=["demo"]
history = histories[FEW]
steps, last = [p["step"] for p in history], history[-1]
best = min(history, key=lambda p: p["nll"])
later = max(history[history.index(best) :], key=lambda p: p["nll"])
fig, axes = plt.subplots(1, 3, figsize=(10, 2.8))
titles = {"nll": "loss, nats per answer token", "match": "exact match"}
titles["sure where wrong"] = "how sure, where it is wrong"
colors = plots.VERMILION, plots.BLUE, plots.PURPLE
for ax, (key, title), color in zip(axes, titles.items(), colors):
    ax.plot(steps, [p[key] for p in history], color=color, marker="o", markersize=3)
    ax.set(xlabel="update", title=title, ylim=(0, None if key == "nll" else 1))
plt.show()
moments_of_few = {"lowest loss": best, "highest loss after it": later, "at the end": last}
plots.show_table([{"": moment} | found for moment, found in moments_of_few.items()])
worse_loss = later["nll"] > 1.02 * best["nll"]
worse_answers = min(later["match"], last["match"]) < best["match"] - 0.05
came = "a" if not worse_loss else "b" if worse_answers else "c"
reveal("loss_turns", came, first=history[0], best=best, later=later, last=last)

# %% [markdown]
# (The loss may fall again afterwards: that depends on the seed.) The third picture measures the usual explanation of
# such a rise: as training goes on, the model gives more probability to its first choice *where that choice is wrong*,
# and this makes the loss larger. The share of right
# answers does not measure this. The opposite also happens: a loss can fall because of words that do not matter. What
# we need is a way to train on what we *want*: a reward. That is the next chapter.
#
# ## The same functions on a real model
#
# Nothing that you wrote depends on the size of the model. SmolLM2-135M-Instruct (Allal et al. 2025) is a chat model
# with 135 million parameters, trained on two trillion tokens. The first time, the next cell fetches it.
#
# We teach it a manner: to answer like a pirate. Full fine-tuning would take long on a laptop, so only small matrices
# beside the weights are trained (LoRA, from the library `peft`; chapter 7 explains it).

# %% tags=["demo"]
torch.set_num_threads(device.threads())  # this one is large enough to use them
# Where the real model cannot be had, the nano model takes its place.
nano = (sft_model, tokenizer, train_records, heldout)
real = manners.load_manner(device.updates(24, least=2), *nano)
template = SMOL if real.real else NANO
real_end, real_pad = real.encode(template["end"])[0], real.tokenizer.pad_token_id
print(real.note)


def style_example(record: dict, answer: str) -> tuple[list[int], list[int]]:
    """Input ids and labels of a question; answer: "answer" (in the manner) or "plain"."""
    messages = [*real.system, {"role": "user", "content": record["prompt"]}]
    messages += [{"role": "assistant", "content": record[answer]}]
    ids, spoken = render_chat(messages, template, real.encode)
    return truncate_example(ids, answer_labels(ids, spoken), max_length=96)


ids, labels = style_example(real.train[0], "answer")
show_supervised(ids, labels, [real.tokenizer.decode([token]) for token in ids])


# %% tags=["demo"]
def real_answers(model, new: int = 32) -> list[str]:
    """What the model answers to the held-out questions, greedily."""
    asked = [[*real.system, {"role": "user", "content": r["prompt"]}] for r in real.heldout]
    rows = [
        render_chat(talk, template, real.encode, add_generation_prompt=True)[0]
        for talk in asked
    ]
    batch = collate([(row, row) for row in rows], real_pad, side="left")
    batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
    ids, mask = batch["input_ids"], batch["attention_mask"]
    said = generate_answers(model.eval(), ids, mask, new, real_end, real_pad).tolist()
    return [
        real.tokenizer.decode([t for t in row if t not in (real_end, real_pad)]) for row in said
    ]


@torch.no_grad()
def measure_real(model) -> dict:
    """The answers; shares in the manner and with the fact; the loss of plain answers."""
    answers, pairs, total = (
        real_answers(model),
        [style_example(r, "plain") for r in real.heldout],
        0.0,
    )
    for i in range(0, len(pairs), 8):
        batch = {k: v.to(model.device) for k, v in collate(pairs[i : i + 8], real_pad).items()}
        logits = model(
            batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits.float()
        total -= sequence_logprob(logits, batch["labels"]).sum().item()
    tokens = sum(label != -100 for _, labels in pairs for label in labels)
    named = [real.names_fact(a, r["fact"]) for a, r in zip(answers, real.heldout)]
    scores = {"in the manner": sum(map(real.in_manner, answers)) / len(answers)}
    scores |= {
        "names the fact": sum(named) / len(named),
        "loss of a plain answer": total / tokens,
    }
    return {"answers": answers, "scores": scores}


# %% tags=["demo"]
from peft import LoraConfig, get_peft_model

real_before = measure_real(real.model)
torch.manual_seed(device.seed(0))
STYLE_STEPS, STYLE_SIZE, STYLE_LR = device.updates(12), 8, 2e-3
if not real.real:
    STYLE_STEPS, STYLE_SIZE, STYLE_LR = device.at_most(100, least=40), 16, 5e-3
config = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear")
lora_model = get_peft_model(real.model, config)
trainable = [p for p in lora_model.parameters() if p.requires_grad]
share = sum(p.numel() for p in trainable) / sum(p.numel() for p in lora_model.parameters())
pairs, where = [style_example(record, "answer") for record in real.train], real.model.device
updates = batches.updates_by_length(
    pairs,
    STYLE_STEPS,
    STYLE_SIZE,
    1,
    lambda some: collate(some, real_pad),
    device.seed(0),
    where,
)
optimizer = torch.optim.AdamW(trainable, weight_decay=0.0)
updates = tqdm(updates, total=STYLE_STEPS, desc=f"LoRA, {share:.1%} of the parameters")
train_sft(lora_model, updates, optimizer, lambda step: STYLE_LR * min(1, (step + 1) / 5))
real_after = measure_real(lora_model)
columns = zip(real.heldout, real_before["answers"], real_after["answers"])
rows = [{"asked": r["prompt"], "before": was, "after": now} for r, was, now in columns]
plots.show_table(rows[:: max(1, len(rows) // 8)])
real_scores = {"before": real_before["scores"], "after": real_after["scores"]}
plots.show_table(
    [{f"{STYLE_STEPS} updates": name} | scores for name, scores in real_scores.items()]
)

# %% [markdown]
# The manner carries over to questions it was not trained on. Now read the other two columns: nothing in the loss asked
# the model to keep what it knew, or how it spoke before. Chapter 7 measures this forgetting, and asks whether LoRA
# prevents it.
#
# ## What you measured

# %% tags=["demo"]
percent = "{:.0%}".format
print(
    f"Asked as plain text, the base model asked back {percent(asks_back)} of the time;", end=" "
)
print(f"with the answer begun, it knew {percent(knows)}.")
print(
    f"Exact match: {percent(before)} before, {percent(after)} after {STEPS} updates;", end=" "
)
print(f"with another template, {percent(wrong_template['without <assistant>'])}.")
for moment, matches in (("early", early), ("halfway", at_half), ("at the end", at_end)):
    print(f"Exact match {moment}:", {name: percent(match) for name, match in matches.items()})
print(f"Trained without the end mark, {percent(stops['without'])} of the answers stopped.")
print(f"All drawn answers together: exp(sum) {sum(by_sum):.2f}, exp(mean) {sum(by_mean):.2f}.")
print("Padding:", {way: percent(share) for way, share in padding.items()})
print("The price of quality:", {f"{n} answers": percent(match) for n, match in cost.items()})
print(
    f"With {FEW} answers: loss {best['nll']:.2f} at its best, up to {later['nll']:.2f} later;",
    end=" ",
)
print(f"exact match {percent(best['match'])}, {percent(later['match'])}.")
print(
    "Behind a first mistake, right:", {name: percent(share) for name, share in behind.items()}
)
print(
    f"{real.name}:",
    {when: {k: round(v, 2) for k, v in s.items()} for when, s in real_scores.items()},
)
progress("02_sft")

# %% [markdown]
# ## Questions
#
# Answer each question yourself before you unfold it.
#
# <details><summary>1. A library pads with the end token, and makes the attention mask and the labels by comparing with the padding id. What
# will the model do after training?</summary>
#
# Its real end tokens look like padding too, so none of them is ever supervised. The model never learns to stop, as in
# the run without an end mark. The loss looks fine.
# </details>
# <details><summary>2. You fine-tune on conversations with tool calls and forget to mask the tools' results. What does the model learn
# that you did not want?</summary>
#
# To write results itself. When it is used, it may go on after its call and invent what the tool would say, instead of
# ending its message so that the program can run.
# </details>
# <details><summary>3. Two batches of an update have 10 and 1,000 answer tokens. You average the two mean losses. Which tokens weigh
# more, and by how much?</summary>
#
# Each of the 10 weighs 1/20, each of the 1,000 weighs 1/2000: a hundred times less. In the mean over all tokens each
# weighs 1/1010.
# </details>
# <details><summary>4. Why may greedy answers never show exposure bias in the share of answers that are right as a whole?</summary>
#
# Up to the first mistake, the model's own words and the true ones are the same. An answer without a mistake is right
# in both ways of asking, one with a mistake is wrong in both. The beginnings differ only behind a mistake.
# </details>
#
# ## What was not shown
#
# - One seed a run, and a world of some two hundred words. `make robust 02` (for those who have the repository) runs the chapter with
#   other seeds.
# - Whether the mask helps depends on data; we saw one set. Nor did we tune the learning rate for each run.
# - Conversations of several turns were rendered and masked, not trained on.
# - The fine-tuned pirate was measured on single answers, with lists of words as the judge.
#
# **To read**: Ouyang et al. 2022, *InstructGPT* (arXiv:2203.02155); Wei et al. 2021, *FLAN* (arXiv:2109.01652); Zhou
# et al. 2023, *LIMA* (arXiv:2305.11206); Bengio et al. 2015, *Scheduled sampling* (arXiv:1506.03099); Ranzato et al.
# 2016 (arXiv:1511.06732); He et al. 2021, *Exposure Bias versus Self-Recovery* (arXiv:1905.10617); Arora et al. 2022,
# *Why Exposure Bias Matters* (arXiv:2204.01171); Shi et al. 2024, *Instruction Tuning With Loss Over Instructions*
# (arXiv:2405.14394); Hewitt 2021, *Initializing new word embeddings for pretrained language models*; Allal et al. 2025,
# *SmolLM2* (arXiv:2502.02737).
