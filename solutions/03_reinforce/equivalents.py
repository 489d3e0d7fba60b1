"""Changes in chapter 03's references that no promise of the page tells from the original, each with the reason."""

EQUIVALENTS = [
    (
        "score_function_gradient",
        "probs, values = (logits.softmax(-1).detach(), values.detach()) -> probs, values = (logits.softmax(-1), values.detach())",
        "Whether the gradient that is returned carries a graph of its own, the page leaves open.",
    ),
    (
        "score_function_gradient",
        "probs, values = (logits.softmax(-1).detach(), values.detach()) -> probs, values = (logits.softmax(-1).detach(), values)",
        "As above.",
    ),
    (
        "score_function_gradient",
        "return probs * (values - expected) / len(logits) -> return probs * (values - expected) / len(values)",
        "Logits and values are of one shape.",
    ),
    (
        "policy_gradient_estimate",
        "probs = logits.softmax(-1).detach() -> probs = logits.softmax(-1)",
        "Whether the estimate carries a graph, the page leaves open.",
    ),
    (
        "policy_loss",
        "shaped = (rewards - beta * log_ratio).detach() -> shaped = rewards - beta * log_ratio",
        "reinforce_loss takes its advantages as constants anyway.",
    ),
    (
        "policy_loss",
        "return reinforce_loss(logps.flatten(0, 1), advantages, mask.flatten(0, 1)) -> return reinforce_loss(mask.flatten(0, 1), advantages, logps.flatten(0, 1))",
        "The loss multiplies log-probabilities and mask, and a product has no order.",
    ),
    (
        "train_on_reward",
        "loss = loss_of(logps, ref_logps, rewards, mask); optimizer.zero_grad() -> optimizer.zero_grad(); loss = loss_of(logps, ref_logps, rewards, mask)",
        "Gradients may be cleared before or after the loss is computed, as long as it is before backward.",
    ),
    (
        "train_on_reward",
        "optimizer.zero_grad() -> policy.zero_grad()",
        "The optimizer holds the policy's parameters: clearing either clears the same gradients.",
    ),
    (
        "train_on_reward",
        "optimizer.step(); earned.append(rewards.mean().item()) -> earned.append(rewards.mean().item()); optimizer.step()",
        "The rewards are what they are before the step and after it.",
    ),
    (
        "answer_mask",
        "is_end = (tokens == end_id).long() -> is_end = -(tokens == end_id).long()",
        "Ends are only asked whether there are any, which their sign does not change.",
    ),
    (
        "answer_mask",
        "is_end = (tokens == end_id).long() -> is_end = (tokens == end_id).float()",
        "As above: counted as floats they are as many.",
    ),
    (
        "answer_mask",
        "ends_before = is_end.cumsum(1) - is_end -> ends_before = -(is_end.cumsum(1) - is_end)",
        "As above.",
    ),
    (
        "answer_mask",
        "return (ends_before == 0).long() -> return (ends_before == 0).float()",
        "The page leaves the dtype of the mask open.",
    ),
    (
        "answer_mask",
        "return (ends_before == 0).long() -> return ends_before == 0",
        "The page leaves the dtype of the mask open.",
    ),
    (
        "rollout_logps",
        "seen = torch.cat([attention_mask, mask.to(attention_mask.dtype)], dim=1) -> seen = torch.cat([attention_mask, mask], dim=1)",
        "Attention masks are integers here, and torch.cat makes them of booleans beside integers.",
    ),
    (
        "rollout_logps",
        "seen = torch.cat([attention_mask, mask.to(attention_mask.dtype)], dim=1) -> seen = torch.cat([attention_mask, mask.to(input_ids.dtype)], dim=1)",
        "Attention masks are integers here, and torch.cat makes them of booleans beside integers.",
    ),
    (
        "rollout_logps",
        "seen = torch.cat([attention_mask, mask.to(attention_mask.dtype)], dim=1) -> seen = torch.cat([attention_mask, mask.to(tokens.dtype)], dim=1)",
        "Attention masks are integers here, and torch.cat makes them of booleans beside integers.",
    ),
    (
        "rollout_logps",
        "seen = torch.cat([attention_mask, mask.to(attention_mask.dtype)], dim=1) -> seen = torch.cat([attention_mask, mask.to(mask.dtype)], dim=1)",
        "Attention masks are integers here, and torch.cat makes them of booleans beside integers.",
    ),
    (
        "rollout_logps",
        "logits = logits[:, input_ids.shape[1] - 1:-1] -> logits = logits[:, input_ids.shape[1] - 1:]",
        "gather takes as many places as there are tokens, and leaves the one behind them.",
    ),
    (
        "rollout_logps",
        "logits = logits[:, input_ids.shape[1] - 1:-1] -> logits = logits[:, attention_mask.shape[1] - 1:-1]",
        "The mask of the prompts has the shape of their ids.",
    ),
]
