"""Generated changes of chapter 06's references that change nothing: exercise, change, and why."""

_BOTH = "the page promises something only for answers that both exclude"
_NO_WEIGHT = "what stands at an excluded answer has the weight exp(-inf) = 0, and is replaced at the end"

EQUIVALENTS = [
    ("recovered_rewards", "excluded = ref_logps == -torch.inf -> excluded = logps == -torch.inf", _BOTH),
    ("recovered_rewards", "rewards = beta * (logps - ref_logps).masked_fill(excluded, 0.0) -> rewards = beta * (logps - ref_logps).masked_fill(excluded, 1.0)", _NO_WEIGHT),
    ("recovered_rewards", "rewards = beta * (logps - ref_logps).masked_fill(excluded, 0.0) -> rewards = beta * (logps - ref_logps).masked_fill(excluded, -1.0)", _NO_WEIGHT),
    ("pair_logps", "ids, mask, labels = (batch[name].to(model.device) for name in ('input_ids', 'attention_mask', 'labels')) -> ids, mask, labels = (batch[name] for name in ('input_ids', 'attention_mask', 'labels'))", "the models of the probes are on the CPU, as the batch is"),
    ("reference_logps", "found = [pair_logps(model, chosen[i:i + size], rejected[i:i + size], pad_id) for i in range(0, len(chosen), size)] -> found = [pair_logps(model, chosen[i:i + size], rejected[i:i + size], pad_id) for i in range(0, len(rejected), size)]", "there are as many rejected answers as chosen ones"),
    ("train_dpo", "loss = dpo_loss(*four, beta, label_smoothing); optimizer.zero_grad() -> optimizer.zero_grad(); loss = dpo_loss(*four, beta, label_smoothing)", "the gradients are cleared before backward, either way"),
    ("train_dpo", "optimizer.step(); seen = implicit_rewards(*four, beta) -> seen = implicit_rewards(*four, beta); optimizer.step()", "the log-probabilities are those from before the step, either way"),
]  # fmt: skip
