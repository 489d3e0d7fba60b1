"""Puzzles on a ring of ten numbers, people who write about them, and a model that has read them. Given to chapter 10.

A puzzle is a number and some moves: "7 +2 -3 +1 -2 +3 =". After 9 comes 0, so what counts is the last digit. People answer
in their own ways: with a scratchpad of running totals or at once, between marks or bare. Most of what there is to read are
work sheets, which hold totals and no answer. People make slips: a total is off by one now and then, and they go on from it.
"""

import random
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from course import symbols
from course.symbols import BOS, END, PAD  # noqa: F401 - BOS is for those who import this module

MARKS = ("<think>", "</think>", "<answer>", "</answer>")
MOVES = ("+1", "+2", "+3", "-1", "-2", "-3")
WORDS = ("<pad>", "<bos>", "<end>", *MARKS, *"0123456789", "=", ";", *MOVES)
IDS = {word: i for i, word in enumerate(WORDS)}
LENGTH = 5  # moves of a puzzle
SLIP = 0.08  # of the totals that people write down

# How people write: each kind's share of all documents.
SHARES = {
    "work sheet": 0.55, "bare answer": 0.20, "answer at once": 0.17, "thought, bare answer": 0.03, "thought and answer": 0.05
}  # fmt: skip


class Puzzle(NamedTuple):
    """A question, as text, and its true answer."""

    text: str
    truth: int


def puzzle(rng: random.Random, length: int = LENGTH) -> Puzzle:
    """A random puzzle."""
    start, moves = rng.randrange(10), [rng.choice(MOVES) for _ in range(length)]
    return Puzzle(" ".join([str(start), *moves, "="]), (start + sum(map(int, moves))) % 10)


def totals(text: str, rng: random.Random | None = None, slip: float = 0.0) -> list[str]:
    """The running totals of a puzzle's text; with a random generator, each is off by one with the chance `slip`."""
    total, *moves = text.removesuffix(" =").split()
    found, now = [], int(total)
    for move in moves:
        now += int(move)
        if rng is not None and rng.random() < slip:
            now += rng.choice((-1, 1))
        found.append(str(now % 10))
    return found


def demonstration(text: str, rng: random.Random | None = None, slip: float = 0.0) -> str:
    """An answer of the form that is asked for: a thought and the answer that follows from it."""
    found = totals(text, rng, slip)
    return f"<think> {' '.join(found)} </think> <answer> {found[-1]} </answer>"


def document(rng: random.Random, slip: float = SLIP) -> str:
    """What somebody wrote: a puzzle, and what stands behind it. Answers without a thought are right: who writes them knows."""
    asked = puzzle(rng)
    kind = rng.choices(list(SHARES), list(SHARES.values()))[0]
    if kind == "work sheet":
        rest = f"; {' '.join(totals(asked.text, rng, slip))}"
    elif kind == "bare answer":
        rest = str(asked.truth)
    elif kind == "answer at once":
        rest = f"<answer> {asked.truth} </answer>"
    else:
        rest = demonstration(asked.text, rng, slip)
        if kind == "thought, bare answer":
            rest = rest.replace("<answer> ", "").removesuffix(" </answer>")
    return f"{asked.text} {rest}"


# --- Models


def new_model(seed: int, width: int = 64, layers: int = 2):
    """An untrained model of these words. torch's global random state is left alone."""
    return symbols.new_model(len(WORDS), seed, layers, width)


def encoded(texts: Sequence[str], side: str = "right") -> tuple[torch.Tensor, torch.Tensor]:
    """Ids of "<bos> text" and their mask, (batch, longest), padded on `side`."""
    return symbols.encoded(texts, IDS, side)


def words_of(tokens: torch.Tensor, mask: torch.Tensor) -> list[str]:
    """Sampled answers as texts, without their end marks. tokens, mask: (batch, new)."""
    rows = zip(tokens.tolist(), mask.tolist(), strict=True)
    return [" ".join(WORDS[t] for t, keep in zip(*row, strict=True) if keep and t != END) for row in rows]


def fit(model, documents, steps: int, batch: int, lr: float, seed: int, asked: bool = False) -> list[float]:
    """Train on documents by the ordinary loss; returns the losses. documents(rng) gives one.

    asked: a document is a pair (question, answer), and only the answer is learned from.
    """
    rng = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0, betas=(0.9, 0.95))
    losses, where = [], next(model.parameters()).device
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1, (step + 1) / 30, 0.05 + 2 * (1 - step / steps))
        drawn = [documents(rng) for _ in range(batch)]
        ids, _ = encoded([f"{' '.join(d) if asked else d} <end>" for d in drawn])
        ids = ids.to(where)
        labels = ids.masked_fill(ids == PAD, -100)
        if asked:
            for row, (question, _) in enumerate(drawn):
                labels[row, : 1 + len(question.split())] = -100
        logits = model(ids).logits[:, :-1]
        loss = F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses


def tokenizer():
    """The words as a transformers tokenizer, for libraries that want one."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel(IDS, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", bos_token="<bos>", eos_token="<end>")


# --- trl's trainers, for comparison


def trl_loss(model, batch: dict[str, torch.Tensor], trainer: str = "GRPO", **settings) -> float:
    """The loss of trl's GRPO or RLOO trainer on a batch. settings: of its config.

    batch: input_ids, attention_mask (rows, prompt), tokens, mask, logps, ref_logps (rows, new), advantages (rows,); logps are
    those of the policy that drew.
    """
    import copy
    import tempfile

    import trl
    from datasets import Dataset

    from course.quiet import hush_libraries

    hush_libraries()
    beta = settings.pop("beta", 0.0)  # set afterwards: with it the trainer would load a reference by name
    config = getattr(trl, f"{trainer}Config")(
        tempfile.mkdtemp(), beta=0.0, num_generations=4, report_to=[], per_device_train_batch_size=4, bf16=False,
        save_strategy="no", use_cpu=model.device.type == "cpu", gradient_checkpointing=False, disable_tqdm=True, **settings,
    )  # fmt: skip
    made = getattr(trl, f"{trainer}Trainer")(
        copy.deepcopy(model), args=config, processing_class=tokenizer(), reward_funcs=lambda completions, **_: [0.0] * 4,
        train_dataset=Dataset.from_list([{"prompt": "1 +1 ="}] * 4),
    )  # fmt: skip
    made.model.eval()
    made.beta = beta
    given = {
        "prompt_ids": batch["input_ids"], "prompt_mask": batch["attention_mask"], "completion_ids": batch["tokens"],
        "completion_mask": batch["mask"], "old_per_token_logps": batch["logps"], "ref_per_token_logps": batch["ref_logps"],
        "old_logps": (batch["logps"] * batch["mask"]).sum(1), "advantages": batch["advantages"],
        "num_items_in_batch": batch["mask"].sum(),
    }  # fmt: skip
    with torch.no_grad():
        return made.compute_loss(made.model, given).item()
