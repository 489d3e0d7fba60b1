"""More of what the reader writes and later chapters call again, as in `course.methods`: an optimum, and PPO's update.

In a notebook: `ppo_update = earlier("ppo_update", rewarded.ppo_update)`. tests/test_course_methods.py holds them against the
answers of the course.
"""

import torch
import torch.nn.functional as F


def optimal_policy(ref_logps: torch.Tensor, rewards: torch.Tensor, beta: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The policy that makes E[reward] - beta KL(policy || reference) largest, as probabilities (prompts, answers); and log Z.

    ref_logps (minus infinity where an answer is excluded), rewards: (prompts, answers). log Z: (prompts,).
    """
    scores = rewards / beta + ref_logps
    return scores.softmax(-1), torch.logsumexp(scores, dim=-1)


def ppo_update(
    evaluate, batch, minibatches, optimizer, *, beta, gamma, lam, clip_range, value_clip, value_coef, epochs, max_norm=1.0
) -> tuple[list[float], list[float]]:
    """Learn from one batch of judged answers, by PPO: the loss of each gradient step, and the share that its clip stopped.

    batch: "scores" (rows,), and "logps", "ref_logps", "values", "mask", (rows, seq), as they were when the answers were drawn.
    minibatches: row numbers, one gradient step each, gone through `epochs` times. evaluate(rows): the present logps and values.
    """
    mask, old_logps, old_values = batch["mask"], batch["logps"], batch["values"]
    raw = _advantages(batch, beta, gamma, lam)  # (rows, seq), and 0 on padding, as all below
    returns = (raw + old_values).masked_fill(mask == 0, 0.0)
    inside = raw[mask == 1]
    advantages = ((raw - inside.mean()) / (inside.var(unbiased=False) + 1e-8).sqrt()).masked_fill(mask == 0, 0.0)
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    losses, shares = [], []
    for _ in range(epochs):
        for rows in minibatches:
            logps, values = evaluate(rows)
            keep, gained = mask[rows] == 1, advantages[rows]
            ratio = torch.where(keep, logps - old_logps[rows].detach(), 0.0).exp()
            bounded = ratio.clamp(1 - clip_range, 1 + clip_range)
            policy_loss = -torch.minimum(ratio * gained, bounded * gained)[keep].mean()
            near = old_values[rows] + (values - old_values[rows]).clamp(-value_clip, value_clip)
            errors = torch.maximum((values - returns[rows]) ** 2, (near - returns[rows]) ** 2)
            loss = policy_loss + value_coef * 0.5 * errors[keep].mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, max_norm)
            optimizer.step()
            stopped = torch.where(gained > 0, ratio > 1 + clip_range, (gained < 0) & (ratio < 1 - clip_range))
            losses.append(loss.item())
            shares.append(stopped[keep].float().mean().item())
    return losses, shares


def _advantages(batch, beta: float, gamma: float, lam: float) -> torch.Tensor:
    """Generalised advantages of the KL-shaped rewards, (rows, seq): 0 on padding."""
    keep = batch["mask"] == 1
    values = torch.where(keep, batch["values"], 0.0)
    rewards = torch.where(keep, beta * (batch["ref_logps"] - batch["logps"]), 0.0).detach()
    rewards = rewards.scatter_add(1, keep.sum(1, keepdim=True) - 1, batch["scores"][:, None].to(rewards))
    surprises = rewards + gamma * F.pad(values[:, 1:], (0, 1)) - values
    advantages, ahead = torch.zeros_like(rewards), torch.zeros_like(rewards[:, 0])
    for t in range(rewards.shape[1] - 1, -1, -1):
        ahead = surprises[:, t] + gamma * lam * ahead
        advantages[:, t] = ahead
    return torch.where(keep, advantages, 0.0)
