"""The stages of chapter 11 on the nano model: given there, not taught. Each counts the tokens that it generates.

What learns (the loops, the losses) is handed in: it is what the reader wrote in the earlier chapters.
"""

import copy
import math
import random
from collections.abc import Callable, Sequence

import torch

from course import batches, comparisons, reward, rollouts
from course import pairs as rows_of_pairs
from data.utility import appraise, preference_probability

NEW = 32  # tokens an answer may have
SIZE = 256  # answers drawn at once


class Writer:
    """Draws answers from a policy, a text to each prompt, and counts the tokens."""

    def __init__(self, policy, seed: int):
        self.policy, self.tokens = policy, 0
        torch.manual_seed(seed)

    def __call__(self, asked: list[str]) -> list[str]:
        texts = []
        for i in range(0, len(asked), SIZE):
            batch = rollouts.draw(self.policy, asked[i : i + SIZE], NEW)
            self.tokens += int(batch["mask"].sum())
            texts += rollouts.texts(batch)
        return texts


class Annotator:
    """Prefers one of two answers with the probability of Bradley and Terry, by the true utility."""

    def __init__(self, seed: int):
        self._rng, self.asked = random.Random(seed), 0

    def __call__(self, prompt: str, first: str, second: str) -> bool:
        self.asked += 1
        utilities = (appraise(prompt, text).utility for text in (first, second))
        return self._rng.random() < preference_probability(*utilities)


# --- Stages


def fine_tune(base, records: Sequence[dict], tokenizer, train_sft: Callable, collate: Callable, updates: int, seed: int):
    """A copy of the base model, fine-tuned on records {prompt, answer}."""
    torch.manual_seed(seed)
    model = copy.deepcopy(base).requires_grad_()
    examples = rows_of_pairs.examples(records, "answer", tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0)
    pad = tokenizer.pad_token_id
    drawn = batches.updates_by_length(examples, updates, 32, 1, lambda some: collate(some, pad), seed, model.device)
    train_sft(model, drawn, optimizer, comparisons.warm_then_fall(updates, 2e-3))
    return model.eval().requires_grad_(False)


def fit_reward(
    reader, records: Sequence[dict], tokenizer, train_reward_model: Callable, last_token_rewards: Callable, updates: int,
    seed: int,
):
    """Chapter 04's reward model, learned from these pairs: a frozen reader, and a head on its surprises."""

    class OnSurprises(reward.SurpriseHead):
        def forward(self, input_ids, attention_mask, logps):
            return last_token_rewards(super().forward(input_ids, attention_mask, logps), attention_mask)

    torch.manual_seed(seed)
    read = _read(reader, tokenizer, [(r["prompt"], r[name]) for name in ("chosen", "rejected") for r in records])
    head = OnSurprises(reader.get_input_embeddings().weight).to(reader.device)
    optimizer = torch.optim.AdamW(head.parameters(), weight_decay=1.0)
    count = len(records)
    drawn = (torch.tensor(some) for some in comparisons.epochs(count, min(64, count), updates, seed))
    batched = ({name: x[torch.cat([some, some + count])] for name, x in read.items()} for some in drawn)
    train_reward_model(head, batched, optimizer, comparisons.warm_then_fall(updates, 5e-3))
    return reward.RewardModel.of(reader, head.eval()).to(reader.device).requires_grad_(False)


@torch.no_grad()
def _read(reader, tokenizer, texts: list[comparisons.Text]) -> dict[str, torch.Tensor]:
    """Texts as the reader sees them: input_ids, attention_mask, and log p of each word, all (texts, longest)."""
    rows = comparisons.Rows(tokenizer, reader.device)(texts)
    logps = torch.zeros(rows["input_ids"].shape, device=reader.device)
    for some in rows["attention_mask"].sum(1).argsort().split(SIZE):  # similar lengths together
        seq = int(rows["attention_mask"][some].sum(1).max())
        logps[some, :seq] = reward.expectations(reader, **{name: x[some, :seq] for name, x in rows.items()})
    return rows | {"logps": logps}


def ppo(start, reference, reward_model, questions: list[str], ppo_update: Callable, updates: int, seed: int):
    """PPO from `start` with chapter 05's settings, 64 answers an update. Returns the policy, and the tokens that it wrote."""
    torch.manual_seed(seed)
    rng, policy, tokens = random.Random(seed), copy.deepcopy(start).requires_grad_(), 0
    value_model = rollouts.new_value_model(start)
    learning = [{"params": policy.parameters(), "lr": 4e-4}, {"params": value_model.parameters(), "lr": 1e-3}]
    optimizer = torch.optim.AdamW(learning, weight_decay=0.0)
    for _ in range(updates):
        asked = rollouts.draw_questions(rng, questions, 16, 4)
        with torch.no_grad():
            batch = _answered(policy, reference, reward_model, asked)
            batch["values"] = rollouts.token_values(value_model, batch)
        tokens += int(batch["mask"].sum())
        minibatches = [rows.to(policy.device) for rows in torch.randperm(len(asked)).chunk(2)]
        ppo_update(rollouts.reader(policy, value_model, batch), batch, minibatches, optimizer, **rows_of_pairs.PPO)
    return policy.eval().requires_grad_(False), tokens


GRPO = dict(steps=2, clip_low=0.2, clip_high=0.28, per="token", max_tokens=NEW, beta=0.1)


def grpo(start, reference, reward_model, questions: list[str], train_grpo: Callable, updates: int, seed: int):
    """GRPO from `start`, 16 groups of 4 answers an update, paid by the score. Returns the policy, and its tokens."""
    torch.manual_seed(seed)
    rng, policy, tokens = random.Random(seed), copy.deepcopy(start).requires_grad_(), [0]
    optimizer = torch.optim.AdamW(policy.parameters(), lr=4e-4, weight_decay=0.0)

    def sample() -> dict:
        asked = rollouts.draw_questions(rng, questions, 16, 4)
        with torch.no_grad():
            batch = _answered(policy, reference, reward_model, asked)
        tokens[0] += int(batch["mask"].sum())
        return batch | {"rewards": batch["scores"].view(16, 4)}

    def logps_of(batch: dict) -> torch.Tensor:
        return rollouts.token_logps(rollouts.answer_logits(policy, batch), batch["tokens"])

    train_grpo(policy, optimizer, sample, logps_of, updates, **GRPO)
    return policy.eval().requires_grad_(False), tokens[0]


def _answered(policy, reference, reward_model, asked: list[str]) -> dict[str, torch.Tensor]:
    """An answer to each question, with what policy, reference and reward model say of it."""
    batch = rollouts.draw(policy, asked, NEW)
    for name, model in (("logps", policy), ("ref_logps", reference)):
        batch[name] = rollouts.token_logps(rollouts.answer_logits(model, batch), batch["tokens"])
    return batch | {"scores": rollouts.scores(reward_model, batch)}


# --- What a policy is like


@torch.no_grad()
def examine(policy, reference, questions: list[str], answers: int, seed: int) -> dict:
    """Several answers to each question: their utilities, (questions, answers), and what kl_with_error takes; and texts."""
    torch.manual_seed(seed)
    asked = [question for question in questions for _ in range(answers)]
    batch = rollouts.draw(policy, asked, NEW)
    return {
        "utilities": rollouts.utilities(asked, batch).view(len(questions), answers),
        "rollout": (
            rollouts.answer_logits(policy, batch).cpu(), rollouts.answer_logits(reference, batch).cpu(),
            batch["tokens"].cpu(), batch["mask"].cpu(),
        ),
        "texts": rollouts.texts(batch),
        "tokens": int(batch["mask"].sum()),
    }  # fmt: skip


@torch.no_grad()
def best_of(policy, reward_model, questions: list[str], answers: int, n: int, seed: int) -> dict:
    """Several answers to each question, each the best of n by the score. Its KL is at most log n - (n - 1) / n (chapter 04)."""
    torch.manual_seed(seed)
    asked = [question for question in questions for _ in range(answers * n)]
    found, scores, tokens = [], [], 0
    for i in range(0, len(asked), SIZE):
        batch = rollouts.draw(policy, asked[i : i + SIZE], NEW)
        found.append(rollouts.utilities(asked[i : i + SIZE], batch))
        scores.append(rollouts.scores(reward_model, batch).cpu())
        tokens += int(batch["mask"].sum())
    best = torch.cat(scores).view(-1, n).argmax(1, keepdim=True)
    utilities = torch.cat(found).view(-1, n).gather(1, best).view(len(questions), answers)
    return {"utilities": utilities, "kl": math.log(n) - (n - 1) / n, "tokens": tokens}


def megabytes(policy, ways: dict[str, tuple[int, int]]) -> dict[str, float]:
    """What each way holds at once, counted: so many models that learn (weights, gradients, AdamW's state) and frozen ones."""
    learner = copy.deepcopy(policy).requires_grad_()
    learning, frozen = rollouts.bytes_in_training(learner), rollouts.bytes_of(policy)
    return {name: (n * learning + m * frozen) / 1e6 for name, (n, m) in ways.items()}


def as_checkpoint(model) -> tuple[bytes, dict[str, tuple[int, ...]]]:
    """A policy as the bytes of a safetensors file in half precision, and the shapes that its tensors have."""
    from safetensors.torch import save

    weights = {name: p.detach().cpu().half().contiguous() for name, p in model.named_parameters()}
    return save(weights), {name: tuple(x.shape) for name, x in weights.items()}
