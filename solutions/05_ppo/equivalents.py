"""Changes in chapter 05's reference that no promise of the page can tell from it, with the reason why."""

_SAME_SIZE = "all of the arguments have as many rows and columns as this one"
_OVERWRITTEN = "every column is written before it is read"
_ZEROS = "a column of zeros, whichever argument its length and kind come from"
_PADDING = "on padding any small number will do: it is masked again in the end"

EQUIVALENTS = [
    ("token_rewards", "rewards[torch.arange(len(scores)), last] += scores.detach() -> rewards[torch.arange(len(logps)), last] += scores.detach()", _SAME_SIZE),
    ("token_rewards", "rewards[torch.arange(len(scores)), last] += scores.detach() -> rewards[torch.arange(len(ref_logps)), last] += scores.detach()", _SAME_SIZE),
    ("token_rewards", "rewards[torch.arange(len(scores)), last] += scores.detach() -> rewards[torch.arange(len(mask)), last] += scores.detach()", _SAME_SIZE),
    ("gae", "advantages = torch.zeros_like(rewards) -> advantages = -torch.zeros_like(rewards)", _OVERWRITTEN),
    ("gae", "advantages = torch.zeros_like(rewards) -> advantages = torch.ones_like(rewards)", _OVERWRITTEN),
    ("gae", "advantages = torch.zeros_like(rewards) -> advantages = rewards", _OVERWRITTEN),
    ("gae", "advantages = torch.zeros_like(rewards) -> advantages = torch.zeros_like(values)", _OVERWRITTEN),
    ("gae", "next_value = next_advantage = torch.zeros_like(rewards[:, 0]) -> next_value = next_advantage = -torch.zeros_like(rewards[:, 0])", _ZEROS),
    ("gae", "next_value = next_advantage = torch.zeros_like(rewards[:, 0]) -> next_value = next_advantage = torch.zeros_like(values[:, 0])", _ZEROS),
    ("gae", "next_value = next_advantage = torch.zeros_like(rewards[:, 0]) -> next_value = next_advantage = torch.zeros_like(mask[:, 0])", _ZEROS),
    ("gae", "next_value = next_advantage = torch.zeros_like(rewards[:, 0]) -> next_value = next_advantage = torch.zeros_like(rewards[:, 1])", _ZEROS),
    ("gae", "next_value = next_advantage = torch.zeros_like(rewards[:, 0]) -> next_value = next_advantage = torch.zeros_like(rewards[:, -1])", _ZEROS),
    ("gae", "for t in reversed(range(rewards.shape[1])): -> for t in reversed(range(values.shape[1])):", _SAME_SIZE),
    ("gae", "for t in reversed(range(rewards.shape[1])): -> for t in reversed(range(mask.shape[1])):", _SAME_SIZE),
    ("masked_whiten", "return whitened.masked_fill(mask == 0, 0.0) -> return whitened.masked_fill_(mask == 0, 0.0)", "whitened is the function's own"),
    ("clipped_policy_loss", "log_ratio = (logps - old_logps.detach()).masked_fill(mask == 0, 0.0) -> log_ratio = (logps - old_logps.detach()).masked_fill(mask == 0, 1.0)", _PADDING),
    ("clipped_policy_loss", "log_ratio = (logps - old_logps.detach()).masked_fill(mask == 0, 0.0) -> log_ratio = (logps - old_logps.detach()).masked_fill(mask == 0, -1.0)", _PADDING),
    ("value_loss", "clipped = old_values + (values - old_values).clamp(-clip_range, clip_range) -> clipped = old_values + (returns - old_values).clamp(-clip_range, clip_range)", "the larger of the two errors is the same number: the clipped one exceeds the plain one only where the value moved beyond the range towards a return beyond it, and there both are clipped to the same end"),
    ("value_loss", "errors = ((values - returns).square(), (clipped - returns).square()) -> errors = ((clipped - returns).square(), (values - returns).square())", "the larger of two numbers, whichever is named first"),
    ("ppo_update", "for rows in list(minibatches) * epochs: -> for rows in minibatches * epochs:", "minibatches is a list, the page says"),
    ("ppo_update", "loss = clipped_policy_loss(*policy_part) + value_coef * value_loss(*value_part); optimizer.zero_grad() -> optimizer.zero_grad(); loss = clipped_policy_loss(*policy_part) + value_coef * value_loss(*value_part)", "the gradients are set to zero before backward, either way"),
    ("ppo_update", "optimizer.step(); losses.append(loss.item()) -> losses.append(loss.item()); optimizer.step()", "the loss is a number by then"),
    ("ppo_update", "losses.append(loss.item()); stopped.append(float(clip_fraction(*policy_part))) -> stopped.append(float(clip_fraction(*policy_part))); losses.append(loss.item())", "two lists, whichever grows first"),
]  # fmt: skip
