"""More of what the reader writes and chapter 11 calls again, as in `course.methods`: the loops of the stages, and their losses.

In a notebook: `train_grpo = earlier("train_grpo", stages.train_grpo)`. tests/test_c11_toolkit.py holds them against the answers
of the course.
"""

import torch
import torch.nn.functional as F

from course import methods


def _step(optimizer, model, longest: float) -> None:
    """Change the weights, by a gradient of at most that length."""
    torch.nn.utils.clip_grad_norm_(model.parameters(), longest)
    optimizer.step()


# --- Chapter 02: fine-tuning


def train_sft(model, updates, optimizer, lr_at, max_norm: float = 1.0, after_step=None) -> list[float]:
    """Fine-tune on updates, each a list of batches: the mean of -log p over all supervised tokens. Returns the losses."""
    losses = []
    model.train()
    for step, parts in enumerate(updates):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        optimizer.zero_grad()
        tokens = max(1, sum(int((part["labels"][:, 1:] != -100).sum()) for part in parts))
        total = 0.0
        for part in parts:
            read = model(input_ids=part["input_ids"], attention_mask=part["attention_mask"])
            loss = -methods.sequence_logprob(read.logits, part["labels"]).sum() / tokens
            loss.backward()
            total += loss.item()
        _step(optimizer, model, max_norm)
        losses.append(total)
        if after_step is not None:
            after_step(step, total)
    return losses


# --- Chapter 04: a reward model


def last_token_rewards(token_rewards: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """The head's output at each row's last real token, (batch,); padding may stand on either side."""
    columns = torch.arange(token_rewards.shape[1], device=token_rewards.device)
    last = torch.where(attention_mask.bool(), columns, -1).amax(1)
    return token_rewards[torch.arange(len(last), device=last.device), last]


def train_reward_model(model, batches, optimizer, lr_at, max_norm: float = 1.0, after_step=None) -> list[float]:
    """Train on batches whose rows are the chosen answers, then the rejected ones, with Bradley and Terry's loss."""
    losses = []
    model.train()
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step)
        scores = model(**batch)
        better, worse = scores.tensor_split(2)
        loss = F.softplus(worse - better).mean()  # -log sigmoid(better - worse)
        optimizer.zero_grad()
        loss.backward()
        _step(optimizer, model, max_norm)
        losses.append(loss.item())
        if after_step is not None:
            after_step(step, losses[-1])
    return losses


# --- Chapter 06: DPO


def dpo_loss(
    chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps, beta: float, label_smoothing: float = 0.0
) -> torch.Tensor:
    """The mean of DPO's loss over the pairs; each argument (pairs,), log-probabilities of whole answers."""
    margins = beta * ((chosen_logps - rejected_logps) - (ref_chosen_logps - ref_rejected_logps).detach())
    return -((1 - label_smoothing) * F.logsigmoid(margins) + label_smoothing * F.logsigmoid(-margins)).mean()


def pair_logps(model, chosen: list, rejected: list, pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """log p of the chosen and of the rejected answers, each (pairs,), by one pass through the model."""
    batch = {name: x.to(model.device) for name, x in methods.collate([*chosen, *rejected], pad_id).items()}
    read = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    logps = methods.sequence_logprob(read.logits, batch["labels"])
    return logps[: len(chosen)], logps[len(chosen) :]


# --- Chapter 10: GRPO


def train_grpo(
    policy, optimizer, sample, logps_of, updates: int, *, steps: int, clip_low: float, clip_high: float, per: str,
    max_tokens: int, beta: float, max_norm: float = 1.0,
) -> list[float]:  # fmt: skip
    """Train a policy on its own answers, compared within groups. Returns the mean reward of each update."""
    earned = []
    for _ in range(updates):
        batch = sample()
        rewards, mask = batch["rewards"], batch["mask"]
        compared = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
        advantages = compared.view(-1, 1)  # (answers, 1)
        for _ in range(steps):
            logps = logps_of(batch)
            ratio = (logps - batch["logps"]).masked_fill(mask == 0, 0.0).exp()
            gained = torch.minimum(ratio * advantages, ratio.clamp(1 - clip_low, 1 + clip_high) * advantages)
            away = (logps - batch["ref_logps"]).masked_fill(mask == 0, 0.0)
            terms = (beta * ratio * (torch.expm1(-away) + away) - gained).masked_fill(mask == 0, 0.0)
            if per == "answer":
                loss = (terms.sum(1) / mask.sum(1)).mean()
            else:
                loss = terms.sum() / (mask.sum() if per == "token" else len(mask) * max_tokens)
            optimizer.zero_grad()
            loss.backward()
            _step(optimizer, policy, max_norm)
        earned.append(float(rewards.mean()))
    return earned
