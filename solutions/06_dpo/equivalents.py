"""Generated changes of chapter 06's references that change nothing: exercise, change, and why."""

_BOTH = "the page promises something only for answers that both exclude"
_NO_WEIGHT = "what stands at an excluded answer has the weight exp(-inf) = 0, and is replaced at the end"

EQUIVALENTS = [
    ("recovered_rewards", "excluded = ref_logps == -torch.inf -> excluded = logps == -torch.inf", _BOTH),
    ("recovered_rewards", "rewards = beta * (logps - ref_logps).masked_fill(excluded, 0.0) -> rewards = beta * (logps - ref_logps).masked_fill(excluded, 1.0)", _NO_WEIGHT),
    ("recovered_rewards", "rewards = beta * (logps - ref_logps).masked_fill(excluded, 0.0) -> rewards = beta * (logps - ref_logps).masked_fill(excluded, -1.0)", _NO_WEIGHT),
]  # fmt: skip
