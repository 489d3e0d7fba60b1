# %% [markdown]
# # 2 · Supervised fine-tuning
#
# A pre-trained model knows things and does not tell them. In this chapter you teach it to answer, by showing it a
# few thousand answers. You write every piece yourself, from the conversation to the loss to the loop, and then run
# the very same functions on a real chat model.
#
# **You will be able to**
# - turn a conversation into tokens and say which of them are trained on;
# - write the masked loss, and see that it is the one in `trl`;
# - tell a log-probability of an answer from its mean, and know why every later chapter needs the sum;
# - fine-tune, generate and measure, and pack several conversations into a row without mixing them;
# - name three things that supervised fine-tuning cannot give you, each from a number you measured.
#
# | exercise | difficulty | minutes | | exercise | difficulty | minutes |
# |---|---|---|---|---|---|---|
# | 1 a conversation as tokens | ● ● ○ | 15 | | 6 how likely is an answer | ● ● ○ | 10 |
# | 2 what is supervised | ● ○ ○ | 10 | | 7 the training loop | ● ● ○ | 20 |
# | 3 too long | ● ● ○ | 10 | | 8 answers that end | ● ● ● | 25 |
# | 4 a batch | ● ○ ○ | 10 | | 9 packing | ● ● ● | 30 |
# | 5 the loss of the answer | ● ● ○ | 10 | | | | |
#
# You need chapter 1, or to know what a causal language-modelling loss is.

# %% tags=["imports"]
import math

import torch
import torch.nn.functional as F

from autograder import check, progress

# %% tags=["demo"]
import random
import tempfile
import time

import matplotlib.pyplot as plt
from tqdm.auto import tqdm

from course import data, device, hub, models, plots
from data import style

plots.use_style()
torch.set_num_threads(1)  # the nano model gains little from more, and loses much where cores are shared
print(device.describe_machine())
DEVICE = device.device()

# %% [markdown]
# ## A model that knows and does not answer
#
# Here is the model that pre-training left us, and a set of instructions it has never seen: questions about its
# world's facts, sums, and short stories with a question at the end. Each has one right answer, asked for either as a
# sentence or in one word.

# %% tags=["demo"]
tokenizer = data.load_tokenizer()
base = models.load_nano("base").to(DEVICE)
train_records, kept_back = data.load_jsonl("instructions_train"), data.load_jsonl("instructions_heldout")
heldout = [record for record in kept_back if record["kind"] in ("facts", "reading")]
beyond = [record for record in kept_back if record not in heldout]  # what no instruction asks about at all
print(f"{len(train_records):,} instructions to learn from, {len(heldout)} held out")
for kind in ("facts", "sums", "reading"):
    record = next(record for record in kept_back if record["kind"] == kind)
    print(f"\n{kind:>8}: {record['prompt']}\n          → {record['answer']}")

# %% [markdown]
# Ask it the held-out questions, as plain text, and let it go on.


# %% tags=["demo"]
@torch.no_grad()
def continuations(model, texts: list[str], new: int = 12) -> list[str]:
    """What the model writes after each text, greedily."""
    rows = tokenizer([f"<bos> {text}" for text in texts], padding=True, padding_side="left", return_tensors="pt")
    written = model.generate(
        rows.input_ids.to(DEVICE),
        attention_mask=rows.attention_mask.to(DEVICE),
        max_new_tokens=new,
        do_sample=False,
        pad_token_id=tokenizer.pad_token_id,
    )  # (batch, seq + new)
    return tokenizer.batch_decode(written[:, rows.input_ids.shape[1] :].cpu(), skip_special_tokens=True)


questions = [r for r in kept_back if r["kind"] in ("facts", "sums_in_full") and r["style"] == "full"]
goes_on = continuations(base, [record["prompt"] for record in questions])
plots.show_table([{"you ask": r["prompt"], "it goes on": text} for r, text in list(zip(questions, goes_on))[:5]])

# %% tags=["demo"]
asks_back = sum(text.split()[:1] in (["what"], ["who"], ["where"]) for text in goes_on) / len(goes_on)
print(f"of {len(goes_on)} questions it answers {asks_back:.0%} with another question")

# %% [markdown]
# And yet it knows. Write the beginning of the answer for it, and it finishes what it has read a thousand times.

# %% tags=["demo"]
begun = [record["answer"].rsplit(" ", 2)[0] for record in questions]  # all but the word that matters
finishes = continuations(base, begun, new=1)
knows = sum(r["answer"].split()[-2] == word for r, word in zip(questions, finishes)) / len(finishes)
print(f"“{begun[0]} …” → {finishes[0]}")
print(f"with the answer begun, it finishes {knows:.0%} of them rightly")

# %% [markdown]
# So the knowledge is there, and the behaviour is not. The lecture's recipe for the behaviour is short: collect
# instructions $p$ and answers $a$ that people wrote, and go on training with the same loss as before, on the answers
# only,
#
# $$ \mathcal{L}(\theta) = -\sum_{(p, a)} \sum_t \log p_\theta(a_t \mid p, a_{<t}). $$
#
# That is **supervised fine-tuning**, SFT (Wei et al. 2021; Ouyang et al. 2022). Everything below is about doing it
# without the small mistakes that a loss curve does not show.

# %% [markdown]
# ## A conversation is a text with marks
#
# A language model reads one row of tokens. To tell it who speaks, a **chat template** writes the conversation down
# with marks that occur nowhere else. Each model has its own; these are the ones of our nano model and of SmolLM2,
# which you will meet at the end.

# %% tags=["demo"]
NANO = {"start": "<bos>", "header": "<{role}>", "end": "<end>", "after": ""}
SMOL = {"start": "", "header": "<|im_start|>{role}\n", "end": "<|im_end|>", "after": "\n"}
plots.show_table(
    [{"template": name} | {k: repr(v) for k, v in t.items()} for name, t in (("nano", NANO), ("SmolLM2", SMOL))]
)

# %% [markdown]
# ## Exercise 1: a conversation as tokens
#
# Write a conversation as token ids, and note for each token whether the *assistant* says it. What the assistant has
# to learn to say is its message **and the end mark**: a model that never learned the end mark does not know when to
# stop. The header is not the assistant's: whoever runs the model writes it.
#
# Encode each piece by itself. If you encoded the whole text at once, a tokenizer that merges characters could make
# one token of the end of a header and the beginning of an answer, and then no mask can separate them.


# %% nbgrader={"grade": false, "grade_id": "render_chat", "locked": false, "schema_version": 3, "solution": true, "task": false}
def render_chat(
    messages: list[dict], template: dict[str, str], encode, add_generation_prompt: bool = False
) -> tuple[list[int], list[int]]:
    """The token ids of a conversation, and for each of them whether the assistant says it (1) or not (0).

    messages: [{"role": "system", "user" or "assistant", "content": text}, ...]. template: the texts "start" (once, at the
    very beginning), "header" (before each message; it holds {role}), "end" (after its content) and "after" (after that).
    encode(text) returns a list of ids; encode each piece by itself. The assistant says the content of its messages and
    the "end" that follows, nothing else. add_generation_prompt: at the very end one more header, the assistant's.
    """
    ### BEGIN SOLUTION
    pieces = [(template["start"], 0)]
    for message in messages:
        spoken = int(message["role"] == "assistant")
        header = template["header"].format(role=message["role"])
        pieces += [(header, 0), (message["content"], spoken), (template["end"], spoken), (template["after"], 0)]
    if add_generation_prompt:
        pieces.append((template["header"].format(role="assistant"), 0))
    ids, assistant_mask = [], []
    for text, spoken in pieces:
        piece = encode(text)
        ids += piece
        assistant_mask += [spoken] * len(piece)
    return ids, assistant_mask
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "render_chat_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("render_chat", render_chat)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# Make a list of (text, who says it) first: start, then header, content, end and after of each message. Then encode
# piece by piece; `[spoken] * len(piece)` is the mask of a piece. An empty text gives no ids.
# </details>
#
# Does it agree with the libraries? `transformers` renders the tokenizer's own template, and reports the assistant's
# tokens if the template marks them.

# %% tags=["demo"]
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
theirs = tokenizer.apply_chat_template(talk, return_dict=True, return_assistant_tokens_mask=True)
print("same ids: ", ids == theirs["input_ids"], "  same mask:", spoken == theirs["assistant_masks"])

# %% [markdown]
# ## Exercise 2: what is supervised
#
# The labels are the ids where the assistant speaks, and −100 elsewhere: the number that cross-entropy skips. They
# are *not* shifted here; the loss does that.
#
# In a conversation of several turns you may train on all of the assistant's messages or only on the last, when the
# earlier ones were not written with the same care. Write both.


# %% nbgrader={"grade": false, "grade_id": "answer_labels", "locked": false, "schema_version": 3, "solution": true, "task": false}
def answer_labels(input_ids: list[int], assistant_mask: list[int], last_only: bool = False) -> list[int]:
    """Labels for supervised fine-tuning: the id where the assistant speaks (mask 1), -100 elsewhere; not shifted.

    last_only: only the last unbroken stretch of the assistant's tokens keeps its labels. The arguments are not changed.
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

# %% [markdown]
# Look at it. What is coloured is trained on; everything else the model only reads.


# %% tags=["demo"]
def show_supervised(ids: list[int], labels: list[int], names: list[str]) -> None:
    """Chips of the tokens; those that are trained on in colour, each with its label under it."""
    colors = [plots.GREEN if label != -100 else None for label in labels]
    plots.show_tokens(names, colors, ["−100" if label == -100 else str(label) for label in labels])


for last_only in (False, True):
    print("only the last answer" if last_only else "every answer")
    labels = answer_labels(ids, spoken, last_only)
    show_supervised(ids, labels, tokenizer.convert_ids_to_tokens(ids))

# %% [markdown]
# ## Exercise 3: too long
#
# A row has room for so many tokens, and some conversations are longer. The usual cut, at the end, throws away the
# *answer*, and nobody notices: the loss is then computed from fewer labels, or from none. The remedy in one
# sentence: cut from the front, keep the whole answer, and complain where that is impossible.
#
# One token in front of the first supervised one has to stay too. The model predicts a token from the ones before it,
# so the first token of a row is predicted from nothing, and its label is lost in the shift.


# %% nbgrader={"grade": false, "grade_id": "truncate_example", "locked": false, "schema_version": 3, "solution": true, "task": false}
def truncate_example(input_ids: list[int], labels: list[int], max_length: int) -> tuple[list[int], list[int]]:
    """Input ids and labels of at most max_length tokens, cut from the front where they are longer.

    Where tokens are cut, every supervised one (label not -100) stays, and with it at least one token before the first of
    them. Raises ValueError with a sentence that names the example's length and max_length where that is impossible. The
    input is not changed.
    """
    ### BEGIN SOLUTION
    extra = max(0, len(input_ids) - max_length)  # how many tokens have to go
    first = next(
        (i for i, label in enumerate(labels) if label != -100), len(labels) + 1
    )  # the first supervised one
    if extra > 0 and extra > first - 1:
        raise ValueError(
            f"{len(input_ids)} tokens cannot be cut to {max_length}: the answer would lose some of its own."
        )
    return input_ids[extra:], labels[extra:]
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "truncate_example_check", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}
check("truncate_example", truncate_example)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# How many tokens are too many? Where is the first label that is not −100? The cut may take all tokens before that
# place but one.
# </details>
#
# ## Exercise 4: a batch
#
# Rows of a batch are padded to the longest. For training one pads on the right; for generation on the left, so that
# what is written comes right after the last token of every row.
#
# The ids on padding are arbitrary, and many models pad with their *end token*. So the attention mask must come from
# the lengths, never from a comparison with the padding id.


# %% nbgrader={"grade": false, "grade_id": "collate", "locked": false, "schema_version": 3, "solution": true, "task": false}
def collate(
    examples: list[tuple[list[int], list[int]]], pad_id: int, side: str = "right"
) -> dict[str, torch.Tensor]:
    """A batch from pairs (input_ids, labels), padded on `side` ("right" or "left") to the longest.

    Returns input_ids (pad_id on padding), attention_mask (1 on real tokens, 0 on padding) and labels (-100 on padding),
    each (batch, longest), int64. The examples are not changed.
    """
    ### BEGIN SOLUTION
    longest = max(len(ids) for ids, _ in examples)
    batch = {"input_ids": [], "attention_mask": [], "labels": []}
    for ids, labels in examples:
        rows = {"input_ids": (ids, pad_id), "attention_mask": ([1] * len(ids), 0), "labels": (labels, -100)}
        for name, (row, fill) in rows.items():
            padding = [fill] * (longest - len(ids))
            batch[name].append([*padding, *row] if side == "left" else [*row, *padding])
    return {name: torch.tensor(rows) for name, rows in batch.items()}
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "collate_check", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}
check("collate", collate)


# %% tags=["demo"]
def example(record: dict, masked: bool = True) -> tuple[list[int], list[int]]:
    """Input ids and labels of one instruction; masked=False supervises the prompt too."""
    messages = [{"role": "user", "content": record["prompt"]}, {"role": "assistant", "content": record["answer"]}]
    ids, spoken = render_chat(messages, NANO, encode)
    return ids, answer_labels(ids, spoken if masked else [1] * len(ids))


examples = [example(record) for record in train_records]
few = collate(sorted(examples[:40], key=lambda pair: len(pair[0]))[:3], tokenizer.pad_token_id)
for row, labels in zip(few["input_ids"], few["labels"]):
    show_supervised(row.tolist(), labels.tolist(), tokenizer.convert_ids_to_tokens(row))

# %% [markdown]
# ## Exercise 5: the loss of the answer
#
# The causal loss of chapter 1 again, over the supervised tokens. But by which number do you divide? By the number of
# supervised tokens in *all* that belongs to one update. If a batch is too large for the memory and is worked through
# in pieces, the mean of the pieces' means is something else: a token in a piece with few answer tokens then weighs
# more. Several libraries had this very mistake for years; it was found and mended in 2024. So the loss takes that
# number as an argument.


# %% nbgrader={"grade": false, "grade_id": "sft_loss", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sft_loss(logits: torch.Tensor, labels: torch.Tensor, num_tokens: int | None = None) -> torch.Tensor:
    """-log p of the supervised tokens in nats, summed over the batch and divided by num_tokens.

    logits: (batch, seq, vocab), of any size; labels: (batch, seq), not shifted, -100 where nothing is supervised.
    num_tokens: None for the number of supervised tokens in this very batch, at least 1; a row's first token is predicted
    by nothing and never counts. Returns a scalar through which gradients flow; without supervised tokens, both are 0.
    """
    ### BEGIN SOLUTION
    predictions, targets = logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    total = F.cross_entropy(predictions, targets, ignore_index=-100, reduction="sum")
    if num_tokens is None:
        num_tokens = (targets != -100).sum().clamp(min=1)
    return total / num_tokens
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "sft_loss_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("sft_loss", sft_loss)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# `F.cross_entropy(..., reduction="sum", ignore_index=-100)` gives the sum over the supervised tokens. Remember which
# end of the logits, and which of the labels, has no partner.
# </details>
#
# Is it the loss that people train with? Here is `trl`, the library most fine-tuning is done with. It gets the raw
# conversations and does everything itself: template, labels, batch, loss.

# %% tags=["demo"]
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from course.quiet import hush_libraries

hush_libraries()


def conversation(record: dict) -> dict:
    """A record as trl wants it."""
    return {
        "messages": [
            {"role": "user", "content": record["prompt"]},
            {"role": "assistant", "content": record["answer"]},
        ]
    }


def make_trainer(model, records: list[dict], steps: int, size: int):
    """trl's trainer on these records, in their order."""
    config = SFTConfig(
        tempfile.mkdtemp(), assistant_only_loss=True, max_length=None, max_steps=steps, per_device_train_batch_size=size,
        learning_rate=1e-3, shuffle_dataset=False, use_cpu=DEVICE.type == "cpu", bf16=False, gradient_checkpointing=False,
        report_to=[], disable_tqdm=True, save_strategy="no", logging_strategy="no", dataloader_pin_memory=False,
    )  # fmt: skip
    return SFTTrainer(
        model,
        config,
        train_dataset=Dataset.from_list(list(map(conversation, records))),
        processing_class=tokenizer,
    )


# %% tags=["demo"]
trainer = make_trainer(models.load_nano("base"), train_records[:8], steps=1, size=8)
theirs = trainer.data_collator([trainer.train_dataset[i] for i in range(8)])
ours = collate(examples[:8], tokenizer.pad_token_id)
with torch.no_grad():
    loss_theirs = trainer.compute_loss(
        trainer.model, {k: v.to(trainer.model.device) for k, v in theirs.items()}
    ).item()
    logits = base(ours["input_ids"].to(DEVICE), attention_mask=ours["attention_mask"].to(DEVICE)).logits.cpu()
    loss_ours = sft_loss(logits, ours["labels"]).item()
trl_difference = abs(loss_ours - loss_theirs)
print(f"yours {loss_ours:.6f}   trl {loss_theirs:.6f}   difference {trl_difference:.1e}")

# %% [markdown]
# ### Where the gradient is zero
#
# Take one conversation and ask how the loss depends on the logits at each position. Where the gradient is zero, the
# model is told nothing. Look where it begins.

# %% tags=["demo"]
ids, example_labels = example(next(r for r in train_records if r["kind"] == "facts" and r["style"] == "full"))
logits = base(torch.tensor([ids], device=DEVICE)).logits.detach().cpu().requires_grad_()  # (1, seq, vocab)
sft_loss(logits, torch.tensor([example_labels])).backward()
norms = logits.grad[0].norm(dim=-1).tolist()  # (seq,)
colors = [plots.VERMILION if norm > 0 else None for norm in norms]
plots.show_tokens(tokenizer.convert_ids_to_tokens(ids), colors, [f"{norm:.2f}" if norm else "0" for norm in norms])

# %% [markdown]
# The stretch is the answer's, moved one to the left: it begins at `<assistant>`, whose logits predict the first
# word, and it leaves out the `<end>`, after which nothing is predicted. On the whole prompt it is exactly zero. That
# does not mean that nothing is learned *about* the prompt: through attention, the gradient reaches the embedding of
# every word in it.
#
# ## Exercise 6: how likely is an answer
#
# One more function of logits and labels, and you will need it in every chapter from here on: the log-probability of
# a whole answer,
#
# $$ \log p_\theta(a \mid p) = \sum_t \log p_\theta(a_t \mid p, a_{<t}). $$
#
# The **sum**, a number for each row. The mean over tokens is *not* a log-probability: it makes long answers look as
# likely as short ones, and then the derivations of REINFORCE, PPO and DPO do not hold.


# %% nbgrader={"grade": false, "grade_id": "sequence_logprob", "locked": false, "schema_version": 3, "solution": true, "task": false}
def sequence_logprob(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """log p(answer | prompt) of each row in nats: the sum of log p over its supervised tokens.

    logits: (batch, seq, vocab), of any size; labels: (batch, seq), not shifted, -100 where nothing is supervised. Returns
    a tensor, (batch,), through which gradients flow.
    """
    ### BEGIN SOLUTION
    targets = labels[:, 1:]  # (batch, seq - 1)
    log_probs = logits[:, :-1].log_softmax(-1)  # (batch, seq - 1, vocab)
    token_logps = log_probs.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)  # (batch, seq - 1)
    return token_logps.masked_fill(targets == -100, 0.0).sum(-1)  # (batch,)
    ### END SOLUTION


# %% nbgrader={"grade": true, "grade_id": "sequence_logprob_check", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}
check("sequence_logprob", sequence_logprob)

# %% [markdown]
# <details><summary><b>Hint</b></summary>
#
# `log_softmax` over the vocabulary, then `gather` the label's entry. −100 is no index: replace it by 0 before
# gathering, and remove what you gathered there afterwards.
# </details>


# %% tags=["demo"]
@torch.no_grad()
def answer_logprobs(model, pairs, size: int = 64) -> torch.Tensor:
    """log p(answer | prompt) of each (input_ids, labels), (pairs,)."""
    model.eval()
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]))  # similar lengths together: little padding
    result = torch.zeros(len(pairs))
    for i in range(0, len(order), size):
        batch = collate([pairs[j] for j in order[i : i + size]], tokenizer.pad_token_id)
        logits = model(batch["input_ids"].to(DEVICE), attention_mask=batch["attention_mask"].to(DEVICE)).logits
        result[order[i : i + size]] = sequence_logprob(logits, batch["labels"].to(DEVICE)).cpu()
    return result


question = "what is 3 plus 4 ?"
choices = ["7 .", "3 plus 4 is 7 .", "8 .", "3 plus 4 is 8 ."]
pairs = [example({"prompt": question, "answer": answer}) for answer in choices]
for answer, logp in zip(choices, answer_logprobs(base, pairs)):
    print(f"log p = {logp:7.2f}   per token {logp / (len(answer.split()) + 1):6.2f}   {answer}")

# %% [markdown]
# ## New tokens
#
# Before we train, look at the marks themselves. `<user>`, `<assistant>` and `<end>` are in the vocabulary, but no
# pre-training text contained them. What became of their embeddings?

# %% tags=["demo"]
counts = torch.zeros(len(tokenizer), dtype=torch.long)
for text in data.load_corpus()[:10_000]:
    counts += torch.bincount(torch.tensor(encode(text)), minlength=len(tokenizer))
given = [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id]
unseen = torch.tensor([i for i in range(len(tokenizer)) if counts[i] == 0 and i not in given])
table = base.get_input_embeddings().weight.detach().cpu()  # (vocab, width)
cosines = F.cosine_similarity(table[unseen][:, None], table[unseen][None], dim=-1)  # (unseen, unseen)
alike = ((cosines.sum() - len(unseen)) / (len(unseen) * (len(unseen) - 1))).item()
print(f"{len(unseen)} tokens were never seen; any two of their embeddings have a cosine of {alike:.2f} on average")
print(
    f"length of an embedding: {table[unseen].norm(dim=-1).mean():.2f} unseen, {table[counts > 0].norm(dim=-1).mean():.2f} seen"
)

# %% [markdown]
# They have become one and the same long vector. The embeddings are also the output weights, and every update of
# pre-training pushed all unseen words down together, in one direction. To this model, *user*, *assistant* and *end*
# are synonyms.
#
# Real models have the same trouble whenever somebody adds tokens, and the usual remedy is to give new tokens a fresh
# start before fine-tuning: small random vectors of the usual size, or the mean of all others (Hewitt 2021).


# %% tags=["demo"]
def fresh_start(seed: int = 0):
    """The base model, with new random embeddings for the tokens it has never seen."""
    model = models.load_nano("base")
    table = model.get_input_embeddings().weight.data  # (vocab, width)
    noise = torch.randn(len(unseen), table.shape[1], generator=torch.Generator().manual_seed(seed))
    table[unseen] = noise * table[counts > 0].std()
    return model.to(DEVICE)


# %% [markdown]
# ## Exercise 7: the training loop
#
# The loop of chapter 1, with one thing more: an update may be made of several batches, which are run one after the
# other and add up their gradients. Done rightly, it makes no difference how the examples are cut into batches. We
# will use this to put rows of similar length together; on a GPU it is how large batches fit into a small memory.


# %% nbgrader={"grade": false, "grade_id": "train_sft", "locked": false, "schema_version": 3, "solution": true, "task": false}
def train_sft(model, updates, optimizer, lr_at, max_norm: float = 1.0, after_step=None) -> list[float]:
    """Fine-tune a model; returns the loss of every update, a plain number, measured before its weights change.

    updates: an iterable; each item is the list of batches (dicts of input_ids, attention_mask, labels) that make up one
    update together. An update minimises the mean of -log p over *all* supervised tokens of its batches, so it is the
    same however they are split; model(input_ids=..., attention_mask=...) runs on one batch at a time, its output has
    `.logits`. Update s, counted from 0, works with the learning rate lr_at(s) in every parameter group, and with the
    gradient's norm clipped to max_norm. after_step(s, loss) is called after each. The model is put in training mode first.
    """
    ### BEGIN SOLUTION
    losses = []
    model.train()
    for step, batches in enumerate(updates):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.zero_grad()
        num_tokens = max(1, sum(int((batch["labels"][:, 1:] != -100).sum()) for batch in batches))
        total = 0.0
        for batch in batches:
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            loss = sft_loss(logits, batch["labels"], num_tokens)
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
# Count the supervised tokens of all batches of the update *before* the first forward pass, and give that number to
# `sft_loss` each time. Count as the loss does: the label of the first token is shifted out.
# </details>
# <details><summary><b>Hint 2</b>: the order</summary>
#
# Rate, zero gradients, for each batch: forward, loss, backward; then clip once, step once.
# </details>
#
# ## Exercise 8: answers that end
#
# To see what the model says, several prompts at a time. They are padded on the left, so the logits at the last place
# are the ones you want in every row. A row that has said `<end>` is done and is filled with padding while the others
# go on; when all are done, stop.
#
# The simplest loop runs the model on all tokens again for each new one. That is right, and passes the check. A
# transformers model can also keep what it computed for the earlier tokens (the **key/value cache**): it returns
# `past_key_values`, takes it back, and then wants only the new token.


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

    input_ids, attention_mask: (batch, seq), padded on the left. temperature 0 takes the most likely token; above 0 tokens
    are drawn, with the generator, from softmax(logits / temperature). A row ends with its end_id, which belongs to it; from
    then on it holds pad_id. Generation stops as soon as every row has ended. model is a transformers model.
    """
    ### BEGIN SOLUTION
    ended = torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
    ids, mask, cache, new = input_ids, attention_mask, None, []
    for _ in range(max_new_tokens):
        output = model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True)
        cache = (
            output.past_key_values
        )  # what the model computed of the tokens so far, so that only new ones are read
        logits = output.logits[:, -1].float()  # (batch, vocab)
        if temperature == 0:
            chosen = logits.argmax(-1)  # (batch,)
        else:
            chosen = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)[:, 0]
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
# `model(input_ids=..., attention_mask=...).logits[:, -1]` is (batch, vocab). Replace the chosen token by `pad_id` in
# the rows that have ended, *before* you append it, and lengthen the attention mask by a column of ones.
# </details>
# <details><summary><b>Hint 2</b>: the cache</summary>
#
# First call: all tokens, `use_cache=True`. Later calls: `input_ids` is the last token alone, (batch, 1),
# `past_key_values` what the last call returned, and the attention mask covers *all* tokens, old and new.
# </details>

# %% tags=["demo"]
END, PAD = word_id["<end>"], tokenizer.pad_token_id


def prompt_of(record: dict) -> list[int]:
    """The ids up to the place where the assistant begins to speak."""
    return render_chat([{"role": "user", "content": record["prompt"]}], NANO, encode, add_generation_prompt=True)[
        0
    ]


def answers_of(model, records: list[dict], size: int = 150, new: int = 16) -> list[str]:
    """What the model answers, greedily."""
    model.eval()
    prompts = [prompt_of(record) for record in records]
    order = sorted(range(len(records)), key=lambda i: len(prompts[i]))
    answers = [""] * len(records)
    for i in range(0, len(order), size):
        batch = collate([(prompts[j], prompts[j]) for j in order[i : i + size]], PAD, side="left")
        said = generate_answers(
            model, batch["input_ids"].to(DEVICE), batch["attention_mask"].to(DEVICE), new, END, PAD
        )
        for j, row in zip(order[i : i + size], said.tolist()):
            answers[j] = tokenizer.decode([token for token in row if token not in (END, PAD)])
    return answers


# %% [markdown]
# **Exact match** is a strict judge: the answer, word for word, and nothing after it.


# %% tags=["demo"]
def exact_match(model, records: list[dict]) -> float:
    """The share of records whose answer the model gives word for word."""
    return sum(answer == r["answer"] for answer, r in zip(answers_of(model, records), records)) / len(records)


before = exact_match(base, heldout)
print(f"exact match before fine-tuning: {before:.1%} of {len(heldout)} held-out instructions")
plots.show_table(
    [{"asked": r["prompt"][-48:], "it says": a} for r, a in zip(heldout[:3], answers_of(base, heldout[:3]))]
)

# %% [markdown]
# ## Fine-tuning
#
# `STEPS` updates. Each takes `SIZE` examples, sorts them by length and cuts them in two, so that little of a batch
# is padding.

# %% tags=["demo"]
STEPS, SIZE, PIECE, MAX_LR = device.at_most(240, least=16), 32, 16, 2e-3


def make_updates(examples, steps: int, seed: int = 0):
    """Yield `steps` updates: lists of batches of examples of similar length, together SIZE examples in random order."""
    rng, order = random.Random(seed), []
    for _ in range(steps):
        if len(order) < SIZE:  # a new epoch
            order += rng.sample(range(len(examples)), len(examples))
        chosen = sorted((order.pop() for _ in range(min(SIZE, len(order)))), key=lambda i: len(examples[i][0]))
        batches = [
            collate([examples[i] for i in chosen[k : k + PIECE]], PAD) for k in range(0, len(chosen), PIECE)
        ]
        yield [{name: tensor.to(DEVICE) for name, tensor in batch.items()} for batch in batches]


# %% tags=["demo"]
probe_records = heldout[::3]  # enough to draw a curve with
probe_pairs = [example(record) for record in probe_records]
probe_tokens = sum(label != -100 for _, labels in probe_pairs for label in labels)


def fine_tune(name: str, examples, steps: int = STEPS, every: int = STEPS // 6) -> tuple:
    """A fresh start, fine-tuned: the model, and what was measured on held-out records at every so many updates."""
    model, history = fresh_start(), []
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0, betas=(0.9, 0.95))
    bar = tqdm(total=steps, desc=name, mininterval=1.0)

    def measure(step: int, loss: float) -> None:
        bar.update()
        if (step + 1) % every == 0:
            nll = -answer_logprobs(model, probe_pairs).sum().item() / probe_tokens
            history.append({"step": step + 1, "match": exact_match(model, probe_records), "nll": nll})
            bar.set_postfix(match=f"{history[-1]['match']:.0%}")
            model.train()

    schedule = lambda s: MAX_LR * min(1, (s + 1) / 20) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * s / steps)))  # noqa: E731
    train_sft(model, make_updates(examples, steps), optimizer, schedule, after_step=measure)
    bar.close()
    return model, history


# %% tags=["demo"]
torch.manual_seed(0)
sft_model, masked_history = fine_tune("masked prompt", examples)
answers = answers_of(sft_model, heldout)
after = sum(answer == record["answer"] for answer, record in zip(answers, heldout)) / len(heldout)
print(
    f"exact match on {len(heldout)} held-out instructions: {before:.1%} before, {after:.1%} after {STEPS} updates"
)

# %% tags=["demo"]
by_kind: dict[str, list[bool]] = {}
for answer, record in zip(answers + answers_of(sft_model, beyond), heldout + beyond):
    by_kind.setdefault(record["kind"], []).append(answer == record["answer"])
plots.show_table(
    [
        {"kind": kind, "held out": len(right), "right": f"{sum(right) / len(right):.0%}"}
        for kind, right in by_kind.items()
    ]
)
plots.show_table(
    [{"asked": r["prompt"][-60:], "it says": a} for r, a in list(zip(heldout, answers))[:: len(heldout) // 6]]
)

# %% [markdown]
# The first two kinds are what it practised: facts that it was asked for in another way, and new stories. The others
# are things that no instruction asked about: stories about two things, which the base model itself mixes up; sums in
# one word, and the same sums as whole sentences (both numbers have to be copied from the question); sums that no text
# ever showed; and facts that were only ever read. Compare the kinds. What fine-tuning of this size gives is a manner of
# answering; what is said comes from before (Zhou et al. 2023 call it the superficial alignment hypothesis), and where
# the practice was narrow, the manner does not carry far.
#
# ## Is the mask worth it?
#
# The same run once more, with the prompt supervised as well.

# %% tags=["demo"]
torch.manual_seed(0)
unmasked_model, unmasked_history = fine_tune(
    "unmasked prompt", [example(record, masked=False) for record in train_records]
)

# %% tags=["demo"]
fig, axes = plt.subplots(1, 2, figsize=(10, 3.4))
histories = {"masked": masked_history, "unmasked": unmasked_history}
for (name, history), color in zip(histories.items(), (plots.BLUE, plots.ORANGE)):
    for ax, key in zip(axes, ("match", "nll")):
        ax.plot(
            [0] * (key == "match") + [p["step"] for p in history],
            [before] * (key == "match") + [p[key] for p in history],
            label=name,
            color=color,
            marker="o",
            markersize=3,
        )
axes[0].set(xlabel="update", ylabel="exact match, held out", ylim=(0, 1.02), title="Answers")
axes[1].set(
    xlabel="update", ylabel="nats per answer token, held out", ylim=(0, None), title="Loss on the answers alone"
)
axes[0].legend(loc="lower right")
plt.show()

# %% tags=["demo"]
moments = [0, len(masked_history) // 2 - 1, -1]  # early, halfway, at the end
plots.show_table(
    [
        {"exact match": name} | {f"after {h[i]['step']} updates": f"{h[i]['match']:.0%}" for i in moments}
        for name, h in histories.items()
    ]
)
early, at_half, at_end = ({name: h[i]["match"] for name, h in histories.items()} for i in moments)

# %% [markdown]
# An honest reading: in this world the mask is mostly a matter of *speed*. Prompts are many tokens and answers few,
# so without the mask most of the gradient goes into writing questions. Early on that costs much; given enough updates,
# the run without the mask answers as well. (With few examples and long prompts people have found either to be
# better: Shi et al. 2024, *Instruction modelling*.)
#
# ## As fast as the library?
#
# The same model, the same 16 conversations an update, your loop against `trl`'s trainer.

# %% tags=["demo"]
RACE, RACE_SIZE = device.at_most(30, least=2), 16
race_records = train_records[: RACE * RACE_SIZE]
trainer = make_trainer(models.load_nano("base"), race_records, RACE, RACE_SIZE)
started = time.perf_counter()
trainer.train()
trl_seconds = time.perf_counter() - started

model = models.load_nano("base").to(DEVICE)
started = time.perf_counter()
race_updates = ([collate(examples[i : i + RACE_SIZE], PAD)] for i in range(0, RACE * RACE_SIZE, RACE_SIZE))
race_updates = ([{k: v.to(DEVICE) for k, v in batch.items()} for batch in update] for update in race_updates)
train_sft(model, race_updates, torch.optim.AdamW(model.parameters()), lambda step: 1e-3)
our_seconds = time.perf_counter() - started
print(
    f"{RACE} updates: yours {our_seconds:.1f} s, trl {trl_seconds:.1f} s; yours is {trl_seconds / our_seconds:.2f} times as fast"
)

# %% [markdown]
# ## Exercise 9: packing
#
# Padding is wasted work, so long runs **pack** several conversations into one row. Done carelessly, a question about
# the red ball is answered from somebody else's story. Two things keep the examples apart: an attention mask in
# blocks, so that no token sees another example, and position ids that begin at 0 again with each.


# %% nbgrader={"grade": false, "grade_id": "pack_examples", "locked": false, "schema_version": 3, "solution": true, "task": false}
def pack_examples(
    examples: list[tuple[list[int], list[int]]], length: int, pad_id: int
) -> dict[str, torch.Tensor]:
    """Whole examples (input_ids, labels) side by side in rows of `length` tokens, each as if it were alone.

    An example goes into the current row if it fits there, else it begins a new row. Raises ValueError with a sentence where
    an example is longer than a row. Returns input_ids and labels (rows, length), filled up with pad_id and -100;
    position_ids (rows, length), which begin at 0 with each example (0 on padding); and attention_mask, bool,
    (rows, 1, length, length): [r, 0, q, k] is True where position q may look at k, that is where k is not after q and in the
    same example. A position of padding looks at itself alone. The label of an example's first token is -100: nothing that
    belongs to it stands before it. The examples are not changed.
    """
    ### BEGIN SOLUTION
    rows, room = [], 0
    for ids, labels in examples:
        if len(ids) > length:
            raise ValueError(f"An example of {len(ids)} tokens does not fit into a row of {length}.")
        if len(ids) > room:
            rows.append([])
            room = length
        rows[-1].append((ids, labels))
        room -= len(ids)
    shape = (len(rows), length)
    batch = {
        "input_ids": torch.full(shape, pad_id),
        "labels": torch.full(shape, -100),
        "position_ids": torch.zeros(shape, dtype=torch.long),
    }
    which = -1 - torch.arange(length).repeat(len(rows), 1)  # (rows, length): every padding position is a stranger
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


# %% nbgrader={"grade": true, "grade_id": "pack_examples_check", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}
check("pack_examples", pack_examples)

# %% [markdown]
# <details><summary><b>Hint 1</b>: the mask</summary>
#
# Make a tensor that says for each position which example it belongs to, (rows, length). Two positions may see each
# other where these numbers are equal: `which[:, :, None] == which[:, None, :]`. Causal is `tril`. Give every padding
# position a number of its own.
# </details>
# <details><summary><b>Hint 2</b>: the first label</summary>
#
# In a packed row the token before an example's first one belongs to another example. It must not be asked to predict
# it.
# </details>

# %% tags=["demo"]
packed = pack_examples(examples[:7], 160, PAD)
fig, ax = plt.subplots(figsize=(4.2, 4.2))
ax.imshow(packed["attention_mask"][0, 0], cmap="Blues", interpolation="nearest")
ax.set(xlabel="may look at", ylabel="position", title="Block by block, and causal")
ax.grid(False)
plt.show()

# %% [markdown]
# If they are really apart, every logit must be what it would be for the example alone.

# %% tags=["demo"]
with torch.no_grad():
    inputs = {name: packed[name].to(DEVICE) for name in ("input_ids", "position_ids", "attention_mask")}
    together = sft_model.eval()(**inputs).logits[0].cpu()  # (160, vocab)
    place, packing_difference = 0, 0.0
    for ids, _ in examples[:7]:
        if place + len(ids) > 160:
            break
        alone = sft_model(torch.tensor([ids], device=DEVICE)).logits[0].cpu()  # (seq, vocab)
        packing_difference = max(
            packing_difference, (together[place : place + len(ids)] - alone).abs().max().item()
        )
        place += len(ids)
    careless = sft_model(inputs["input_ids"]).logits[0].cpu()
changed = (careless - together)[:place].abs().max().item()
print(
    f"largest difference to the examples alone: {packing_difference:.1e}; without mask and positions: {changed:.1f}"
)

# %% tags=["demo"]
sample = examples[:960]
lengths = torch.tensor([len(ids) for ids, _ in sample]).view(-1, 32)  # 32 a batch, as they come
padded_share = 1 - (lengths.sum() / (lengths.amax(1) * 32).sum()).item()
packed_rows = len(pack_examples(sample, 160, PAD)["input_ids"])
packed_share = 1 - lengths.sum().item() / (packed_rows * 160)
print(f"share of a batch that is padding: {padded_share:.0%} a conversation a row, {packed_share:.0%} packed")

# %% [markdown]
# ## Three things that fine-tuning cannot give you
#
# The lecture names three problems of SFT. Each can be measured.
#
# ### 1. Answers cost money
#
# People have to write them. How good does the model become with fewer?

# %% tags=["demo"]
COST_STEPS = STEPS // 2
cost_histories = {}
FEW_EXAMPLES = 50
for n in (FEW_EXAMPLES, 8 * FEW_EXAMPLES, 64 * FEW_EXAMPLES):
    torch.manual_seed(0)
    few = n == FEW_EXAMPLES  # goes on for longer: we look closer at it below
    steps, every = (3 * COST_STEPS // 2, COST_STEPS // 8) if few else (COST_STEPS, COST_STEPS)
    cost_model, cost_histories[n] = fine_tune(f"{n} examples", examples[:n], steps, every)
    if few:
        small_model = cost_model

# %% tags=["demo"]
cost = {n: history[-1]["match"] for n, history in cost_histories.items()}
fig, ax = plt.subplots(figsize=(6.5, 3.2))
ax.plot(list(cost), list(cost.values()), marker="o", color=plots.BLUE)
ax.set(
    xscale="log",
    xlabel="examples that somebody wrote",
    ylabel="exact match, held out",
    ylim=(0, 1.02),
    title="The price of quality",
)
plt.show()
print({n: f"{match:.0%} after {cost_histories[n][-1]['step']} updates" for n, match in cost.items()})

# %% [markdown]
# Each equal step to the right costs eight times as many answers as the one before.
#
# ### 2. It practises on other people's sentences
#
# In training every word is predicted after a *perfect* beginning, written by somebody else (**teacher forcing**). In
# use the model reads its own words, mistakes included. Measure both: how often the most likely word is right after
# the true beginning, and how often the word at that place is right when the model writes by itself.


# %% tags=["demo"]
@torch.no_grad()
def by_position(model, records: list[dict], places: int) -> tuple[list[float], list[float]]:
    """Share of right words at each place of the answer: after the true beginning, and after the model's own."""
    forced, free = torch.zeros(places), torch.zeros(places)
    for record, said in zip(records, answers_of(model, records)):
        ids, labels = example(record)
        guesses = model(torch.tensor([ids], device=DEVICE)).logits[0, :-1].argmax(-1).cpu()  # (seq - 1,)
        targets = torch.tensor(labels)[1:]
        words = encode(said)
        for place, (guess, target) in enumerate(zip(guesses[targets != -100][:places], targets[targets != -100])):
            forced[place] += guess == target
            free[place] += place < len(words) and words[place] == target
    return (forced / len(records)).tolist(), (free / len(records)).tolist()


# %% tags=["demo"]
PLACES = 6
long_answers = [r for r in heldout if len(r["answer"].split()) >= PLACES]
forced, free = by_position(small_model, long_answers, PLACES)
fig, ax = plt.subplots(figsize=(6.5, 3.2))
ax.plot(range(1, PLACES + 1), forced, marker="o", label="after the true words", color=plots.GREEN)
ax.plot(range(1, PLACES + 1), free, marker="o", label="after its own", color=plots.VERMILION)
ax.set(
    xlabel="word of the answer",
    ylabel="share right",
    ylim=(0, 1.05),
    title=f"{len(long_answers)} answers, a model fine-tuned on {FEW_EXAMPLES} examples",
)
ax.legend(loc="lower left")
plt.show()

# %% [markdown]
# After the true words, nearly every later word is easy: the loss looks good. Left alone, the model does not come
# back from a wrong beginning. It was never shown what to do after a mistake of its own. The lecture calls it a shift
# of the distribution; others say *exposure bias* (Bengio et al. 2015; Ranzato et al. 2016).
#
# ### 3. It minimises something else than you want
#
# You want right answers. The loss wants likely ones. Usually the two go together, which is why this works at all.
# Here is where they part: few examples, seen many times.

# %% tags=["demo"]
history = cost_histories[FEW_EXAMPLES]
steps = [p["step"] for p in history]
fig, ax = plt.subplots(figsize=(7, 3.4))
ax.plot(steps, [p["nll"] for p in history], color=plots.VERMILION, marker="o", markersize=3)
ax.set(xlabel="update", title=f"{FEW_EXAMPLES} examples: the loss turns, the answers do not")
ax.set_ylabel("loss on held-out answers, nats", color=plots.VERMILION)
twin = ax.twinx()
twin.plot(steps, [p["match"] for p in history], color=plots.BLUE, marker="o", markersize=3)
twin.set(ylim=(0, 1))
twin.set_ylabel("exact match, held out", color=plots.BLUE)
twin.grid(False)
plt.show()

# %% tags=["demo"]
best = min(history, key=lambda p: p["nll"])
last = history[-1]
print(f"lowest loss {best['nll']:.3f} at update {best['step']}, exact match {best['match']:.0%}")
print(f"at the end  {last['nll']:.3f} at update {last['step']}, exact match {last['match']:.0%}")

# %% [markdown]
# By the loss, the model has become worse since its best point. By the answers it has not. The loss rises
# because the model becomes very sure, also where it is wrong; a judge who only counts right answers does not mind.
# It also works the other way round: a loss can fall on words that nobody cares about. What we need is a way to train
# on what we *want*: a reward. That is the next chapter.
#
# ## The same functions on a real model
#
# Nothing you wrote knows that the model was small. SmolLM2-135M-Instruct (Allal et al. 2025) is a chat model with
# 135 million parameters, trained on two trillion tokens. The first time, the next cell fetches it (about 140 MB).
#
# We teach it a manner: to answer like a pirate. Full fine-tuning on a laptop would take its time, so only small
# matrices beside the weights are trained (LoRA, from the library `peft`; chapter 7 opens that box).

# %% tags=["demo"]
torch.set_num_threads(device.threads())  # this one is large enough to use them
try:
    real_model, real_tokenizer = hub.load_chat_model()
    real_name = real_model.config.name_or_path.rstrip("/").split("/")[-1]
    template, real_encode = SMOL, lambda text: real_tokenizer(text, add_special_tokens=False).input_ids
    style_train, style_heldout = data.load_jsonl("style_train"), data.load_jsonl("style_heldout")[: device.updates(24, least=2)]
    in_manner, knows_fact = style.sounds_like_a_pirate, style.knows
    print(
        f"{sum(p.numel() for p in real_model.parameters()):,} parameters, {len(style_train)} examples of the manner"
    )
except hub.NoChatModel as problem:
    real_name = "nano"
    print(f"{problem}\n\nThe chapter goes on with the nano model and a manner of its own.")
    real_model, real_tokenizer, template, real_encode = sft_model.eval(), tokenizer, NANO, encode

    def politely(r: dict) -> dict:
        """The record, answered with many compliments."""
        answer, word = r["answer"], r["answer"].split()[-2]
        return {
            "prompt": r["prompt"],
            "plain": answer,
            "fact": word,
            "answer": f"certainly , dear friend . {answer}",
        }

    style_train, style_heldout = [politely(r) for r in train_records[:240]], [politely(r) for r in heldout[::4]]
    in_manner, knows_fact = lambda text: text.startswith("certainly"), lambda text, fact: fact in text.split()

# %% tags=["demo"]
real_end, real_pad = real_encode(template["end"])[0], real_tokenizer.pad_token_id
system = [{"role": "system", "content": "You are a helpful assistant."}] if template is SMOL else []


def style_example(record: dict, answer: str) -> tuple[list[int], list[int]]:
    """Input ids and labels of a question with this answer."""
    messages = [
        *system,
        {"role": "user", "content": record["prompt"]},
        {"role": "assistant", "content": record[answer]},
    ]
    ids, spoken = render_chat(messages, template, real_encode)
    return truncate_example(ids, answer_labels(ids, spoken), max_length=96)


def real_answers(model, records: list[dict], size: int = 24, new: int = 32) -> list[str]:
    """What the model answers, greedily."""
    model.eval()
    answers = []
    for i in range(0, len(records), size):
        prompts = [[*system, {"role": "user", "content": r["prompt"]}] for r in records[i : i + size]]
        rows = [
            render_chat(messages, template, real_encode, add_generation_prompt=True)[0] for messages in prompts
        ]
        batch = collate([(row, row) for row in rows], real_pad, side="left")
        said = generate_answers(
            model,
            batch["input_ids"].to(model.device),
            batch["attention_mask"].to(model.device),
            new,
            real_end,
            real_pad,
        )
        answers += [
            real_tokenizer.decode([t for t in row if t not in (real_end, real_pad)]) for row in said.tolist()
        ]
    return answers


# %% [markdown]
# What is supervised, in a real tokenizer's tokens:

# %% tags=["demo"]
ids, labels = style_example(style_train[0], "answer")
show_supervised(ids, labels, [real_tokenizer.decode([token]) for token in ids])

# %% tags=["demo"]
answers_before = real_answers(real_model, style_heldout)


@torch.no_grad()
def plain_loss(model) -> float:
    """-log p of the ordinary answers to the held-out questions, nats per token."""
    model.eval()
    pairs = [style_example(record, "plain") for record in style_heldout]
    total = 0.0
    for i in range(0, len(pairs), 8):
        batch = {k: v.to(model.device) for k, v in collate(pairs[i : i + 8], real_pad).items()}
        logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits.float()
        total -= sequence_logprob(logits, batch["labels"]).sum().item()
    return total / sum(label != -100 for _, labels in pairs for label in labels)


plain_before = plain_loss(real_model)

# %% tags=["demo"]
from peft import LoraConfig, get_peft_model

torch.manual_seed(0)
STYLE_STEPS, STYLE_SIZE, STYLE_LR = (device.updates(12), 8, 2e-3) if template is SMOL else (device.at_most(100, least=40), 16, 5e-3)
lora_model = get_peft_model(real_model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear"))
trainable = [p for p in lora_model.parameters() if p.requires_grad]
print(
    f"{sum(p.numel() for p in trainable):,} of {sum(p.numel() for p in lora_model.parameters()):,} parameters are trained"
)

# %% tags=["demo"]
style_pairs = [style_example(record, "answer") for record in style_train]
rng = random.Random(0)
style_updates = ([collate(rng.sample(style_pairs, STYLE_SIZE), real_pad)] for _ in range(STYLE_STEPS))
style_updates = (
    [{k: v.to(real_model.device) for k, v in batch.items()} for batch in update] for update in style_updates
)
bar = tqdm(total=STYLE_STEPS, desc="LoRA")
started = time.perf_counter()
style_losses = train_sft(
    lora_model, style_updates, torch.optim.AdamW(trainable, weight_decay=0.0), lambda step: STYLE_LR * min(1, (step + 1) / 5),
    after_step=lambda step, loss: (bar.update(), bar.set_postfix(loss=f"{loss:.2f}")),
)  # fmt: skip
bar.close()
print(
    f"loss {style_losses[0]:.2f} → {style_losses[-1]:.2f} nats per token in {time.perf_counter() - started:.0f} s"
)

# %% tags=["demo"]
answers_after = real_answers(lora_model, style_heldout)
plots.show_table(
    [
        {"asked": record["prompt"], "before": was, "after": now}
        for record, was, now in list(zip(style_heldout, answers_before, answers_after))[
            :: max(1, len(style_heldout) // 8)
        ]
    ]
)


# %% tags=["demo"]
def share(answers: list[str], test) -> float:
    """The share of held-out answers that pass a test(answer, record)."""
    return sum(test(answer, record) for answer, record in zip(answers, style_heldout)) / len(style_heldout)


real_scores = {
    name: {
        "in the manner": share(answers, lambda a, r: in_manner(a)),
        "names the fact": share(answers, lambda a, r: knows_fact(a, r["fact"])),
    }
    for name, answers in (("before", answers_before), ("after", answers_after))
}
real_scores["before"]["loss of a plain answer"], real_scores["after"]["loss of a plain answer"] = (
    plain_before,
    plain_loss(lora_model),
)
plots.show_table([{"": name} | scores for name, scores in real_scores.items()])

# %% [markdown]
# The manner is learned in a few dozen updates and carries over to questions it was not trained on. Now read the
# other two columns: what it knew, and how it spoke before, has paid for it. Nothing in the loss asked the model to
# keep anything. Chapter 7 measures this forgetting, and shows that LoRA does not prevent it.
#
# ## What you have seen
#
# - Fine-tuning is pre-training's loss on other data with a **mask**. It changes the manner far more than the
#   knowledge.
# - The details decide: the end mark is supervised, the cut spares the answer, the divisor counts the answer tokens
#   of the whole update, the log-probability of an answer is a **sum**.
# - New tokens need a fresh start.
# - Three limits: answers cost; the model practises on other people's beginnings; and the likelihood is not what you
#   want.
#
# **To read**: Ouyang et al. 2022, *InstructGPT* (arXiv:2203.02155); Wei et al. 2021, *FLAN* (arXiv:2109.01652); Zhou
# et al. 2023, *LIMA* (arXiv:2305.11206); Bengio et al. 2015, *Scheduled sampling* (arXiv:1506.03099); Shi et al.
# 2024 (arXiv:2405.14394); Hewitt 2021, *Initializing new word embeddings for pretrained language models*; Allal et
# al. 2025, *SmolLM2* (arXiv:2502.02737).

# %%
progress("02_sft")
